"""What a sweep costs beside the stages that differ: 48 points over 3 recordings.

    python benchmarks/sweep.py [--quick]

Three talks of a minute each (`../shared/data/librispeech`), embedded engines, as many workers as the machine
has cores. Of the four settings two lie before a model (`voice.onset`, `acoustics.f0_floor`), two after
(`diarize.num_speakers`, `diarize.min_turn`).

- `distinct_s`: the 4 points that differ before a model, with empty checkpoints: each stage once for each of
  its settings.
- `total_s`: all 48 points, with empty checkpoints again. `ratio`: over `distinct_s`.
- `again_s`: the same sweep once more, answered from its file.
- `stages`: how often each ran, of 144 runs.

The scores of both sweeps are compared where they have points in common. With --quick: talks of 6 to 8 s,
where 144 runs weigh more than the stages.
"""

import sys
import tempfile
import time
from pathlib import Path

from _common import keep, options
from memory import write_talk

from ecg_audio_nb.research.sweep import sweep

BEFORE = {"voice.onset": [0.5, 0.9], "acoustics.f0_floor": [60.0, 80.0]}
AFTER = {"diarize.num_speakers": [None, 2, 3, 4], "diarize.min_turn": [0.1, 0.5, 1.0]}
FIRST = {name: values[:1] for name, values in AFTER.items()}


def measured(analysis, reference):
    "Seconds of speech to a name; what it is does not matter here"
    return sum(t.end_time - t.start_time for t in analysis.turns) / len(analysis.speakers)


def timed(talks: list, space: dict, folder: Path):
    "(seconds, outcome)"
    began = time.perf_counter()
    outcome = sweep(
        talks, space, measured, None, {"engine": "embedded", "runtime.data_dir": str(folder)}, folder=folder
    )
    seconds = time.perf_counter() - began
    if failed := [r.error for r in outcome.trials if r.error]:
        sys.exit(failed[0])
    return seconds, outcome


def main():
    args = options(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        talks = [folder / f"talk{n}.flac" for n in range(3)]
        for n, talk in enumerate(talks):
            write_talk(talk, (0.1 if args.quick else 1) + 0.02 * n)
        distinct, few = timed(talks, BEFORE | FIRST, folder / "few")
        total, many = timed(talks, BEFORE | AFTER, folder / "many")
        again, same = timed(talks, BEFORE | AFTER, folder / "many")
    known = {(r.source, str(r.point)): r.value for r in many.trials}
    if same != many or any(known[r.source, str(r.point)] != r.value for r in few.trials):
        sys.exit("two sweeps gave the same point two scores")
    if few.stage_runs != many.stage_runs:
        sys.exit(
            (
                f"stages ran more than once for the same settings: {many.stage_runs}, where "
                f"{few.stage_runs} differ"
            )
        )
    seconds = {
        name: round(s, 2) for name, s in {"total_s": total, "distinct_s": distinct, "again_s": again}.items()
    }
    figures = seconds | {"ratio": round(total / distinct, 3)}
    keep("sweep", figures | {"stages": many.stage_runs}, args.quick)


if __name__ == "__main__":
    main()
