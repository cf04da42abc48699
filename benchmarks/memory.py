"""Peak memory and cost of long files: 10, 30 and 60 minutes through the whole embedded chain.

    python benchmarks/memory.py [--quick]

Real read speech (`../shared/data/librispeech`), spliced to the length and written as FLAC; each length runs in a
process of its own. `peak_mb_N` is the most that this process and all its children held together (proportional set size,
sampled ten times a second), so that the recognizer's child processes count. `seconds_N` is the whole command.
`growth` is the cost of a minute in the longest file to that in the shortest. With --quick: half a minute and one.
"""
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import keep, need_data, options

from ecg_audio_nb.media import load_audio


def write_talk(path: Path, minutes: float):
    "Utterances of five readers in turn, with pauses, over and over"
    import av
    utterances = [load_audio(p).samples for p in sorted(need_data("librispeech").glob("*.flac"))]
    random, left = np.random.default_rng(7), int(minutes * 60 * 16000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=16000, layout="mono")
        while left > 0:
            pause = np.zeros(int(random.uniform(0.2, 1.5) * 16000), np.float32)
            part = np.concatenate([utterances[random.integers(len(utterances))], pause])[:left]
            frame = av.AudioFrame.from_ndarray((part[None] * 32767).astype("<i2"), format="s16", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            left -= len(part)
        container.mux(stream.encode())


def held_mb(pid: int) -> float:
    "What a process and its descendants hold, MB; pages they share count once"
    total, todo = 0.0, [pid]
    while todo:
        pid = todo.pop()
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            todo += [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
        except (OSError, ProcessLookupError):
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
    return total


def run(path: Path, out: Path) -> dict:
    start, peak = time.perf_counter(), 0.0
    command = [sys.executable, "-m", "ecg_audio_nb", "analyze", str(path), "-o", str(out), "--profile", "demo"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, held_mb(process.pid))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with status {process.returncode}")
    timing = json.loads((out / f"{path.stem}.json").read_text())["metadata"]["timing"]
    return {"peak_mb": round(peak), "seconds": round(time.perf_counter() - start, 1), "stages": timing["stages"]}


def main():
    args = options(__doc__, minutes={"type": lambda s: [float(m) for m in s.split(",")], "help": "other lengths, such as 5,10"})
    lengths = args.minutes or ([0.5, 1] if args.quick else [10, 30, 60])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in lengths:
            path = Path(folder) / f"talk{minutes:g}.flac"
            write_talk(path, minutes)
            rows.append({"minutes": minutes, **run(path, Path(folder) / "out")})
            print(f"{minutes:4g} min: {rows[-1]['peak_mb']:5} MB, {rows[-1]['seconds']:7.1f} s, {rows[-1]['stages']}", flush=True)
    figures = {f"{key}_{row['minutes']:g}": row[key] for key in ("peak_mb", "seconds") for row in rows}
    per_minute = [row["seconds"] / row["minutes"] for row in rows]
    keep("memory", {**figures, "growth": round(per_minute[-1] / per_minute[0], 2)}, args.quick or bool(args.minutes), rows)


if __name__ == "__main__":
    main()
