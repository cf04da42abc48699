"""Cost of decoding a plain file to 16 kHz mono, against Debian's `ffmpeg` doing the same

    python benchmarks/media.py [--quick] [--minutes 10] [--baseline REF]

Read speech, spliced to ten minutes (two with --quick), as stereo at 44.1 kHz in WAV, MP3 and M4A. Every
decoding runs in a process of its own, on one core, in turn, and the fastest of several counts:

- `seconds_X`: `load_audio`, without the start of Python; the start of the decoder's process is included;
- `seconds_ffmpeg_X`: the whole of `ffmpeg -i X -af aresample=async=1000 -ar 16000 -ac 1 -f f32le`;
- `decode_ratio_vs_ffmpeg`: the sum of ours to the sum of theirs;
- `peak_mb_X`: the most that the process and its decoder held together, arrays of the sound included;
- `seconds_baseline_X`, `ratio_vs_baseline`: with `--baseline REF`, the same by the package as of a git
  revision, in turn with today's: over 1.05 decoding has become more than 5 % slower.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import ROOT, keep, need_data, options
from _speech import RATE, read_flac, write_wav

ENDINGS = {"wav": "pcm_s16le", "mp3": "libmp3lame", "m4a": "aac"}

_DECODE = """
import json, sys, time
from ecg_audio_nb.audio.media import load_audio
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    audio = load_audio(sys.argv[1])
    times.append(time.perf_counter() - start)
print(json.dumps([min(times), audio.duration]))
"""


def held_mb(pid: int) -> float:
    "What a process and its children hold, MB; pages they share count once"
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (OSError, ProcessLookupError):
        return 0.0
    own = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0) / 1024
    return own + sum(held_mb(int(child)) for child in children)


def decode(path: Path, package: Path, repeats: int) -> tuple[float, float, float]:
    "Decode by the package in a folder: seconds of the fastest, seconds of sound, peak memory (MB)"
    env = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-c", _DECODE, str(path), str(repeats)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=package)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, held_mb(process.pid))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"decoding {path.name} by {package} failed")
    return *json.loads(process.stdout.read()), peak


def decode_by_ffmpeg(path: Path) -> float:
    "The whole command, seconds"
    start = time.perf_counter()
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", str(path), "-af", "aresample=async=1000"]
        + ["-ar", "16000", "-ac", "1", "-f", "f32le", "-y", os.devnull],
        check=True,
    )
    return time.perf_counter() - start


def write_files(folder: Path, minutes: float) -> dict[str, Path]:
    "The same speech in each container, stereo at 44.1 kHz, written by ffmpeg"
    speech = folder / "speech.wav"
    clips = [read_flac(path).samples for path in sorted(need_data("librispeech").glob("*.flac"))[:10]]
    write_wav(speech, np.resize(np.concatenate(clips), round(60 * minutes * RATE)))
    paths = {}
    for ending, codec in ENDINGS.items():
        paths[ending] = folder / f"talk.{ending}"
        command = ["ffmpeg", "-v", "error", "-i", str(speech), "-ar", "44100", "-ac", "2", "-c:a", codec]
        subprocess.run([*command, str(paths[ending])], check=True)
    return paths


def checkout(folder: Path, revision: str) -> Path:
    "The package as of a revision, without touching the working tree"
    archive = subprocess.run(
        ["git", "archive", revision, "ecg_audio_nb"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def main():
    args = options(
        __doc__,
        minutes={"type": float, "help": "length of the sound; default 10, with --quick 2"},
        baseline={"help": "a git revision to compare with, such as v0.2.0"},
    )
    if not shutil.which("ffmpeg"):
        sys.exit("no ffmpeg on this machine, and this benchmark compares with it")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    minutes = args.minutes or (2 if args.quick else 10)
    rounds, repeats = (2, 1) if args.quick else (5, 3)
    figures: dict = {"minutes": minutes}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder), minutes)
        packages = {"": ROOT}
        if args.baseline:
            packages["baseline_"] = checkout(Path(folder) / "baseline", args.baseline)
        times: dict = {}
        for _ in range(rounds):
            for ending, path in paths.items():
                times.setdefault(f"ffmpeg_{ending}", []).append(decode_by_ffmpeg(path))
                for who, package in packages.items():
                    seconds, _, peak = decode(path, package, repeats)
                    times.setdefault(who + ending, []).append(seconds)
                    key = f"peak_mb_{who}{ending}"
                    figures[key] = max(figures.get(key, 0), round(peak))
    best = {who: min(seconds) for who, seconds in times.items()}

    def total(prefix): return float(np.sum([best[prefix + ending] for ending in ENDINGS]))

    figures |= {f"seconds_{who}": round(seconds, 3) for who, seconds in best.items()}
    figures["decode_ratio_vs_ffmpeg"] = round(total("") / total("ffmpeg_"), 2)
    if args.baseline:
        figures["ratio_vs_baseline"] = round(total("") / total("baseline_"), 3)
    keep("media", figures, args.quick, details={"times": times, "baseline": args.baseline})


if __name__ == "__main__":
    main()
