"""Do settings of the embedded diarization that were chosen on some voices serve others better than the
defaults before them?

    python benchmarks/tuning.py [--quick]

Five folds, split by speaker: no clip is scored with settings that were chosen on any of its voices.

- AMI cuts: dev00 and dev01 have their speakers in common; the other four have speakers of their own.
- Conversations spliced from LibriSpeech as in `diarization.py`: per fold four of two voices to score, and
  four of the
  other three voices to choose on; half of them through a telephone.

`sweep` runs a grid over all clips. In each fold the point with the least mean of both kinds' error rates on
one side is
scored on the other. `start` is what held before: `diarize.threshold = 0.6`, whatever the level.

- `der_start`, `der_heldout`: percent, all errors over all speech of the held-out clips, no collar; then by
  kind.
- `gain_low`, `gain_high`: 95 % of the differences (start less held-out) over draws of clips.
- `pauses`: the same where only the pauses are chosen, and the threshold stays as it was.
- `best`: the point with the least mean over all clips; `by_fold`: what each fold chose.
- `defaults`: the rates under the settings as they are now, which were decided with all of this in sight.

The truth of a splice comes from silero on the clean utterances (pauses under 0.3 s are bridged), that of AMI
from people.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from _common import keep, need_data, options
from _conversations import RATE, librispeech_voices
from diarization import splice

from ecg_audio_nb.settings import DiarizeSettings
from ecg_audio_nb.research.sweep import sweep

SPACE = {
    "diarize.threshold": [0.55, 0.6, 0.65],
    "diarize.silence_drop_db": [None, 25.0, 30.0, 35.0, 40.0],
    "diarize.min_silence": [0.2, 0.3, 0.5],
}
QUICK = {"diarize.threshold": [0.6], "diarize.silence_drop_db": [None, 35.0], "diarize.min_silence": [0.3]}
START = {"diarize.threshold": 0.6, "diarize.silence_drop_db": None, "diarize.min_silence": 0.3}
KINDS = {"": lambda s: True, "ami_": lambda s: meeting(s), "splices_": lambda s: not meeting(s)}
MEETINGS = [("dev00", "dev01"), ("trn01",), ("trn04",), ("trn05",), ("trn08",)]


def write(folder: Path, name: str, audio, turns: list) -> str:
    soundfile.write(folder / f"{name}.flac", audio.samples, RATE)
    rttm = [f"SPEAKER {name} 1 {s:.3f} {e - s:.3f} <NA> <NA> {who} <NA> <NA>\n" for s, e, who in turns]
    (folder / f"{name}.rttm").write_text("".join(rttm))
    return str(folder / f"{name}.flac")


def clips(folder: Path, quick: bool):
    "(recording -> references; folds: names to choose on, names to score)"
    data, readers = need_data("ami"), librispeech_voices()
    known = {p.stem: {"turns": p.with_suffix(".rttm")} for p in sorted(data.glob("*.flac"))}
    sources, folds = {str(data / f"{n}.flac"): r for n, r in known.items()}, []
    ids = sorted(readers)
    for k, own in enumerate(MEETINGS[:2] if quick else MEETINGS):
        pair = [ids[k], ids[(k + 1) % len(ids)]]
        made = {}
        for side, names in (("score", pair), ("choose", [i for i in ids if i not in pair])):
            voices = {i: readers[i] for i in names}
            for n in range(1 if quick else 4):
                seconds = 20 if quick else 60 + 20 * n
                audio, turns = splice(
                    voices, 1000 + 10 * k + n, 2 + n % (len(names) - 1), seconds, phone=n >= 2
                )
                path = write(folder, f"{side}{k}_{n}", audio, turns)
                made.setdefault(side, []).append(path)
                sources[path] = {"turns": Path(path).with_suffix(".rttm")}
        mine = [str(data / f"{n}.flac") for n in own]
        folds.append(
            ([str(data / f"{n}.flac") for n in known if n not in own] + made["choose"], mine + made["score"])
        )
    return sources, folds


def meeting(source: str) -> bool:
    return Path(source).stem in sum(MEETINGS, ())


def rate(rows: list) -> float:
    return 100 * sum(r.errors for r in rows) / sum(r.denominator for r in rows)


def mean_rate(rows: list) -> float:
    "Mean of the rates of meetings and of splices"
    return np.mean([rate([r for r in rows if meeting(r.source) is kind]) for kind in (True, False)])


def least(rows: list, sources: list) -> dict:
    "The point that serves these recordings best"
    points = {str(r.point): r.point for r in rows}
    return min(
        points.values(), key=lambda p: mean_rate([r for r in rows if r.point == p and r.source in sources])
    )


def rates(rows: list, name: str) -> dict:
    return {
        f"der_{kind}{name}": round(rate([r for r in rows if wanted(r.source)]), 2)
        for kind, wanted in KINDS.items()
    }


def short(point: dict) -> dict:
    return {k.partition(".")[2]: v for k, v in point.items()}


def gains(start: list, chosen: list) -> dict:
    "95 % of the differences of pooled rates, over draws of clips"
    counts = np.array([[a.errors, b.errors, a.denominator] for a, b in zip(start, chosen)])
    drawn = counts[np.random.default_rng(0).integers(len(counts), size=(10_000, len(counts)))].sum(1)
    low, high = np.percentile(100 * (drawn[:, 0] - drawn[:, 1]) / drawn[:, 2], [2.5, 97.5])
    return {"gain_low": round(float(low), 2), "gain_high": round(float(high), 2)}


def crossed(rows: list, folds: list) -> tuple:
    "(rows before, rows with what others chose, what was chosen)"
    start, chosen, by_fold = [], [], []
    for train, scored in folds:
        point = least(rows, train)
        by_fold.append(short(point))
        for source in scored:
            start += [r for r in rows if r.source == source and r.point == START]
            chosen += [r for r in rows if r.source == source and r.point == point]
    return start, chosen, by_fold


def main():
    args = options(__doc__)
    with tempfile.TemporaryDirectory() as name:
        sources, folds = clips(Path(name), args.quick)
        if args.quick:
            sources = {
                s: r for s, r in sources.items() if any(s in scored for _, scored in folds) or not meeting(s)
            }
            folds = [([s for s in chosen if s in sources], scored) for chosen, scored in folds]
        settings = {"engine": "embedded", "transcribe.enabled": False, "runtime.data_dir": name}
        rows = sweep(sources, QUICK if args.quick else SPACE, "der", None, settings, folder=name).trials
    if failed := [r.error for r in rows if r.error]:
        sys.exit(failed[0])
    start, chosen, by_fold = crossed(rows, folds)
    for a, b in zip(start, chosen):
        print(
            (
                f"{Path(a.source).stem:12} DER {100 * a.value:6.1f} %, with what others chose "
                f"{100 * b.value:6.1f} %"
            )
        )
    _, pauses, by_fold_pauses = crossed(
        [r for r in rows if r.point["diarize.threshold"] == START["diarize.threshold"]], folds
    )
    now = DiarizeSettings()
    usual = {
        "diarize.threshold": now.threshold,
        "diarize.silence_drop_db": now.silence_drop_db,
        "diarize.min_silence": now.min_silence,
    }
    scored = [s for _, held in folds for s in held]
    figures = (
        rates(start, "start")
        | rates(chosen, "heldout")
        | gains(start, chosen)
        | {
            "pauses": rates(pauses, "heldout") | gains(start, pauses),
            "best": short(least(rows, list(sources))),
            "by_fold": by_fold,
            "by_fold_pauses": by_fold_pauses,
            "defaults": rates([r for r in rows if r.point == usual and r.source in scored], "now"),
        }
    )
    details = [
        {"clip": Path(a.source).stem, "start": a.value, "heldout": b.value, "seconds": a.denominator}
        for a, b in zip(start, chosen)
    ]
    keep("tuning", figures, args.quick, details)


if __name__ == "__main__":
    main()
