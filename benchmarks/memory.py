"""Peak memory and cost of long files through the whole light chain

    python benchmarks/memory.py [--quick] [--hours 3] [--minutes 5,10] [--model tiny.en]

Real read speech (`../shared/data/librispeech`), spliced to the length and written as FLAC; each length runs
in a process of its own: detection, recognition with Whisper `base`, alignment, speakers, voices, all usual
files. `peak_mb_N` is the most that this process and all its children held together in N minutes of sound
(proportional set size, sampled ten times a second), models included; `seconds_N` is the whole command.
`growth` is the cost of a minute in the longest file to that in the shortest: 1 where cost is linear. Lengths
are 10, 30 and 60 minutes, with `--hours 3` also 180; with --quick half a minute, by tiny.en.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import keep, options
from _speech import write_talk


def held_mb(pid: int) -> float:
    "What a process and its descendants hold, MB; pages they share count once"
    total, todo = 0.0, [pid]
    while todo:
        pid = todo.pop()
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            todo += [
                int(c)
                for task in Path(f"/proc/{pid}/task").iterdir()
                for c in (task / "children").read_text().split()
            ]
        except (OSError, ProcessLookupError):
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
    return total


def run(path: Path, out: Path, model: str) -> dict:
    start, peak = time.perf_counter(), 0.0
    command = [
        sys.executable,
        "-m",
        "ecg_audio_nb",
        "analyze",
        str(path),
        "-o",
        str(out),
        "--engine",
        "whisper",
        f"--set=transcribe.model={model}",
        "--set=runtime.device=cpu",
        "--set=runtime.offline=true",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        peak = max(peak, held_mb(process.pid))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(
            f"{' '.join(command)} ended with status {process.returncode}: {process.stderr.read()[-800:]}"
        )
    timing = json.loads((out / f"{path.stem}.json").read_text(encoding="utf-8"))["metadata"]["timing"]
    return {
        "peak_mb": round(peak),
        "seconds": round(time.perf_counter() - start, 1),
        "stages": timing["stages"],
    }


def main():
    args = options(
        __doc__,
        minutes={"type": lambda s: [float(m) for m in s.split(",")], "help": "other lengths, such as 5,10"},
        hours={"type": float, "help": "one more length, such as 3"},
        model={"help": "a Whisper model; default base"},
    )
    model = args.model or ("tiny.en" if args.quick else "base")
    lengths = args.minutes or ([0.5] if args.quick else [10, 30, 60])
    lengths += [args.hours * 60] if args.hours else []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in lengths:
            path = Path(folder) / f"talk{minutes:g}.flac"
            write_talk(path, minutes)
            row = {"minutes": minutes, **run(path, Path(folder) / "out", model)}
            rows.append(row)
            print(
                f"{minutes:4g} min: {row['peak_mb']:5} MB, {row['seconds']:7.1f} s, {row['stages']}",
                flush=True,
            )
    figures = {f"{key}_{row['minutes']:g}": row[key] for key in ("peak_mb", "seconds") for row in rows}
    per_minute = [row["seconds"] / row["minutes"] for row in rows]
    figures |= {"growth": round(per_minute[-1] / per_minute[0], 2), "model": model}
    other = args.quick or args.minutes or args.model  # nothing else than the claim is kept
    keep("memory", figures, bool(other), rows)


if __name__ == "__main__":
    main()
