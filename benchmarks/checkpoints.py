"""Measure what a changed setting costs with checkpoints: a whole run, then runs in which one setting differs.

    python benchmarks/checkpoints.py [--quick]

The packaged sample and a 10-minute splice of five readers (`../shared/data/librispeech`), embedded engines,
all in one process whose models are loaded. Seconds, median of five, of the longer recording:

- `full_s`: without checkpoints; `first_s`: the same while they are written.
- `threshold_s`: `diarize.threshold`, `diarize.num_speakers` or `export.min_silence` differs, the slowest of
  them.
- `pooling_s`: `segments.max_pause` differs, so segments are cut and pooled anew, or captions are made; the
  slower of them.
- `nothing_s`: nothing differs.
- `ratio_*`: `full_s` over each.

An answer of every kind is compared with that of a run without checkpoints. With --quick: half a minute, one
comparison.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from _common import ROOT, keep, options
from memory import write_talk

from ecg_audio_nb.pipeline import analyze
from ecg_audio_nb.reproduce import same_result
from ecg_audio_nb.results.captions import to_ass
from ecg_audio_nb.settings import load_settings

SAMPLE = ROOT / "ecg_audio_nb/assets/sample.mp4"
CHANGES = {
    "threshold": {"diarize.threshold": [0.6, 0.65, 0.72, 0.75, 0.8]},
    "speakers": {"diarize.num_speakers": [1, 2, 3, 4, 5]},
    "silence": {"export.min_silence": [0.2, 0.4, 0.5, 0.6, 0.8]},
    "pause": {"segments.max_pause": [0.3, 0.5, 0.7, 1.5, 2.0]},
}


def timed(work):
    "Seconds that some work takes, and its result"
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(path: Path, folder: str, compared: tuple) -> dict:
    "Seconds by the setting that changes"
    plain = {"export.silence_marks": True}
    on = plain | {"runtime.checkpoints": True, "runtime.data_dir": folder}
    run = lambda given: analyze(path, load_settings(given, "demo"))
    run(plain)  # models are loaded
    full, reference = timed(lambda: run(plain))
    first, cached = timed(lambda: run(on))
    if not same_result(cached, reference):
        sys.exit(f"{path.name}: another result while checkpoints are written")
    out = {
        "full": full,
        "first": first,
        "nothing": statistics.median(timed(lambda: run(on))[0] for _ in range(5)),
    }
    for name, change in CHANGES.items():
        [(key, values)] = change.items()
        runs = [timed(lambda v=v, key=key: run(on | {key: v})) for v in values]
        out[name] = statistics.median(seconds for seconds, _ in runs)
        if name in compared and not same_result(runs[-1][1], run(plain | {key: values[-1]})):
            sys.exit(f"{path.name}: {key} = {values[-1]} gives another result with checkpoints")
    out["captions"] = statistics.median(timed(lambda: to_ass(run(on)))[0] for _ in range(5))
    return {k: round(v, 3) for k, v in out.items()}


def main():
    args = options(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "talk.flac"
        write_talk(long, 0.5 if args.quick else 10)
        compared = ("threshold",) if args.quick else tuple(CHANGES)
        rows = {
            path.name: measure(path, folder, compared) for path in ([long] if args.quick else [SAMPLE, long])
        }
    row = rows[long.name]
    figures = {
        "threshold_s": max(row[k] for k in ("threshold", "speakers", "silence")),
        "pooling_s": max(row["pause"], row["captions"]),
        "nothing_s": row["nothing"],
        "full_s": row["full"],
        "first_s": row["first"],
    }
    ratios = {
        f"ratio_{k}": round(row["full"] / figures[f"{k}_s"], 1) for k in ("threshold", "pooling", "nothing")
    }
    keep("checkpoints", figures | ratios, args.quick, rows)


if __name__ == "__main__":
    main()
