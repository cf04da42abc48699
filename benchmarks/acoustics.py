"""The measured voice: accuracy against Praat, and speed against Praat, pYIN and the way of the earlier
system, on one core.

    python benchmarks/acoustics.py [--quick]

- `voicing_agreement`, `gross_error`, `median_error`: F0 of the first pass against Praat (time step 10 ms,
  floor 65, ceiling 500), over the frames of the real speech at hand; gross: more than 20 % apart where both
  are voiced; in percent. `agreement_inside` leaves out the frames that Praat puts within 0.5 % of its bounds,
  where we say nothing, and AMI, where Praat takes the far speaker's voice for silence;
- `noisy_errors`: at 20, 10, 5 dB SNR the frames of synthetic vowels of known F0 that are off by more than 5 %
  or unvoiced,
  [ours, Praat's] of all;
- `full_over_basic`: time of every measure of `features = full` (F0, spectrum, voice quality, loudness, pooled
  over 240 segments and 1,800 words) over that of `basic`, both with the second pass of F0; times are
  processor time on one core;
- `ratio_praat`, `ratio_pyin`: how many times faster our F0, with level and centroid, is than Praat's and
  librosa's pYIN
  (pYIN over one minute, times ten);
- `ratio_earlier`: how many times faster level, F0 and centroid of 240 segments and 1,800 words are than the
  earlier system's way with the segments alone: each read from disk, piptrack, onset strength, three passes of
  RMS, centroid;
- `level_error_db`: largest difference from ffmpeg's astats, a tone and speech (null where there is no
  ffmpeg);
- `minutes`, `seconds`, `peak_mb`: 10, 60 and 180 minutes with every feature, each in a process of its own;
  null with --quick.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from _common import DATA, ROOT, keep, options, pyannote_sample

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.settings import AcousticsSettings
from ecg_audio_nb.voice.acoustics import add_detail, add_emphasis, frames, pool, refine_f0

BASIC, FULL, RATE = AcousticsSettings(), AcousticsSettings(features="full"), 16000


def one_core():
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def best_of(n, work):
    times = []
    for _ in range(n):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


# Accuracy


def praat(y):
    "F0 on our grid: index of each frame, Hz (0: unvoiced)"
    import parselmouth

    pitch = parselmouth.Sound(y.astype(np.float64), RATE).to_pitch_ac(
        0.01, 65, 15, False, 0.03, 0.45, 0.01, 0.35, 0.14, 500
    )
    return np.round(pitch.xs() * 100 - 0.5).astype(int), pitch.selected_array["frequency"]


def real_speech(quick):
    files = [
        f for folder in ("librispeech", "ami", "sentences") for f in sorted((DATA / folder).glob("*.flac"))
    ]
    files += [pyannote_sample()] if pyannote_sample() else []
    if quick:
        files = [*files[:3], *files[-1:]]
    files = files or [ROOT / "ecg_audio_nb/assets/sample.mp4"]
    return [(load_audio(f).samples, f.parent.name == "ami") for f in files]


def against_praat(signals):
    ours, theirs, far = [], [], []
    for y, is_ami in signals:
        y = y[: len(y) // 160 * 160]  # a file of whole hops has the same grid
        at, f0 = praat(y)
        ours.append(np.nan_to_num(frames(y).f0[at]))
        theirs.append(f0)
        far.append(np.full(len(f0), is_ami))
    ours, theirs, far = np.concatenate(ours), np.concatenate(theirs), np.concatenate(far)
    both, agree = (ours > 0) & (theirs > 0), (ours > 0) == (theirs > 0)
    at_bound = (theirs > 0) & ((theirs < 65 * 1.005) | (theirs > 500 * 0.995))
    error = np.abs(ours[both] / theirs[both] - 1)
    return {
        "frames": len(ours),
        "voicing_agreement": round(100 * float(agree.mean()), 3),
        "agreement_inside": round(100 * float(agree[~far & ~at_bound].mean()), 3),
        "gross_error": round(100 * float((error > 0.2).mean()), 3),
        "median_error": round(100 * float(np.median(error)), 4),
    }


def vowel(f0):
    "A voice of harmonics under three formants, F0 in Hz for each sample"
    phase, y = 2 * np.pi * np.cumsum(f0) / RATE, np.zeros(len(f0))
    for k in range(1, int(4000 / f0.max())):
        y += (
            sum(1 / (1 + ((k * f0 - f) / w) ** 2) for f, w in ((700, 130), (1220, 150), (2600, 200)))
            / k**0.5
            * np.sin(k * phase)
        )
    return 0.3 * y / abs(y).max()


def noisy(snr, n):
    rng, ours, theirs, total = np.random.default_rng(snr), 0, 0, 0
    for _ in range(n):
        f0 = rng.uniform(80, 300) * 2 ** np.cumsum(rng.normal(0, 0.0004, RATE))
        y = vowel(f0)
        y = (y + rng.normal(0, y.std() * 10 ** (-snr / 20), len(y))).astype(np.float32)
        at, heard = praat(y)
        truth, mine = f0[at * 160 + 80], np.nan_to_num(frames(y).f0[at])
        ours += int((np.abs(mine / truth - 1) > 0.05).sum())
        theirs += int((np.abs(heard / truth - 1) > 0.05).sum())
        total += len(at)
    return [ours, theirs, total]


# Level


def level_error(signals):
    "Largest difference in dB between a span's level and ffmpeg's"
    import soundfile

    if not shutil.which("ffmpeg"):
        return None
    errors = []
    for y in signals:
        with tempfile.TemporaryDirectory() as d:
            soundfile.write(f"{d}/x.wav", y, RATE, subtype="FLOAT")
            said = subprocess.run(
                ["ffmpeg", "-nostats", "-i", f"{d}/x.wav", "-af", "astats=metadata=0", "-f", "null", "-"],
                capture_output=True,
                text=True,
            ).stderr
        theirs = float(re.findall(r"RMS level dB: (\S+)", said)[-1])
        errors.append(abs(pool(frames(y), [(0, len(y) / RATE)])[0].volume_db - theirs))
    return round(max(errors), 4)


# Speed


def ten_minutes(seconds=600):
    import soundfile

    parts = (
        [soundfile.read(f, dtype="float32")[0] for f in sorted((DATA / "librispeech").glob("*.flac"))]
        if DATA.is_dir()
        else []
    )
    y = np.concatenate(parts or [load_audio(ROOT / "ecg_audio_nb/assets/sample.mp4").samples])
    return np.tile(y, seconds * RATE // len(y) + 1)[: seconds * RATE]


def spans(seconds):
    "240 segments of 2.5 s and 1,800 words of 0.25 s in 10 minutes, and so on in proportion"
    rng = np.random.default_rng(0)
    start = np.sort(rng.uniform(0, seconds - 0.3, 3 * seconds))
    at = np.arange(0, seconds - 2.4, 2.5)
    return list(zip(start, start + 0.25)), list(zip(at, at + 2.4))


def turns_of(segments):
    "Two speakers in turn"
    return [(start, end, "AB"[i % 2]) for i, (start, end) in enumerate(segments)]


def basic(y, words, segments):
    f = refine_f0(frames(y), y, turns_of(segments), BASIC)
    pool(f, words)
    pool(f, segments)


def everything(y, words, segments):
    turns = turns_of(segments)
    f = add_detail(refine_f0(frames(y, settings=FULL), y, turns, FULL), y, turns)
    add_emphasis(pool(f, words), ["A"] * len(words))
    pool(f, segments)


def earlier(path, segments):
    import librosa

    for start, end in segments:
        y, sr = librosa.load(path, sr=RATE, offset=start, duration=end - start)
        librosa.piptrack(y=y, sr=sr)
        librosa.onset.onset_strength(y=y, sr=sr)
        for _ in range(3):
            librosa.feature.rms(y=y)
        librosa.feature.spectral_centroid(y=y, sr=sr)


def speed(quick):
    import librosa
    import parselmouth
    import soundfile

    seconds = 120 if quick else 600
    y, runs = ten_minutes(seconds), 3
    words, segments = spans(seconds)
    sound = parselmouth.Sound(y.astype(np.float64), RATE)
    out = {
        "f0_s": best_of(runs, lambda: frames(y)),
        "basic_s": best_of(runs, lambda: basic(y, words, segments)),
        "all_s": best_of(runs, lambda: everything(y, words, segments)),
        "praat_s": best_of(
            runs, lambda: sound.to_pitch_ac(0.01, 65, 15, False, 0.03, 0.45, 0.01, 0.35, 0.14, 500)
        ),
    }
    with tempfile.TemporaryDirectory() as d, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        soundfile.write(f"{d}/x.wav", y, RATE)
        earlier(f"{d}/x.wav", segments[:3])
        out["earlier_s"] = best_of(1 if quick else 2, lambda: earlier(f"{d}/x.wav", segments))
        part = y[: (3 if quick else 60) * RATE]
        librosa.pyin(y[:RATE], fmin=65, fmax=500, sr=RATE, hop_length=160)
        pyin = best_of(1, lambda: librosa.pyin(part, fmin=65, fmax=500, sr=RATE, hop_length=160))
        out["pyin_s"] = pyin * len(y) / len(part)
    return out


# Length

LONG = """
import re, sys, time
sys.path.insert(0, sys.argv[2])
import acoustics
acoustics.one_core()
y = acoustics.ten_minutes(int(sys.argv[1]) * 60)
words, segments = acoustics.spans(int(sys.argv[1]) * 60)
start = time.process_time()
acoustics.everything(y, words, segments)
seconds = time.process_time() - start
print(seconds, int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def long_files(minutes):
    here = str(Path(__file__).parent)
    run = lambda m: (
        subprocess.run(
            [sys.executable, "-c", LONG, str(m), here], capture_output=True, text=True, check=True
        ).stdout
    )
    said = [run(m) for m in minutes]
    return zip(*(map(float, s.split()) for s in said))


def main():
    args = options(__doc__)
    one_core()
    signals = real_speech(args.quick)
    accuracy = against_praat(signals)
    print(json.dumps(accuracy), flush=True)
    noise = {str(snr): noisy(snr, 2 if args.quick else 12) for snr in (20, 10, 5)}
    tone = (10 ** (-23 / 20) * np.sqrt(2) * np.sin(2 * np.pi * 997 * np.arange(10 * RATE) / RATE)).astype(
        np.float32
    )
    level = level_error([tone, *(y for y, _ in signals[: 1 if args.quick else 3])])
    took = speed(args.quick)
    print(json.dumps({k: round(v, 3) for k, v in took.items()}), flush=True)
    minutes = [10, 60, 180]
    seconds, peaks = (None, None) if args.quick else map(list, long_files(minutes))
    keep(
        "acoustics",
        {
            **{k: v for k, v in accuracy.items() if k != "frames"},
            "noisy_errors": noise,
            "full_over_basic": round(took["all_s"] / took["basic_s"], 2),
            "ratio_earlier": round(took["earlier_s"] / took["basic_s"], 2),
            "ratio_pyin": round(took["pyin_s"] / took["f0_s"], 1),
            "ratio_praat": round(took["praat_s"] / took["f0_s"], 2),
            "level_error_db": level,
            "minutes": None if args.quick else minutes,
            "seconds": seconds and [round(s, 2) for s in seconds],
            "peak_mb": peaks and [round(p) for p in peaks],
        },
        args.quick,
        {"frames_compared": accuracy["frames"], **took},
    )


if __name__ == "__main__":
    main()
