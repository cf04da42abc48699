"""Captions by Netflix's rules: the share of cues that keep them all, ours, WhisperX's and stable-ts's

    python benchmarks/captions.py [--quick] [--recognize]

Each writer of SubRip gets the same words. They are those of our own pipeline with the packaged Whisper base:
nine languages and, in English, readings, talks, telephone, meetings and a film (`_caption_words.py`). They
are kept; `--recognize` makes them again, in some minutes on 2 cores. Each recording belongs to one part:
`dev`, which the cue builder may be tuned on, or `test`, which the figures are of; `details` hold all. A third
part is `synthetic`: 22 languages read by espeak-ng. The rules, their sources and the checker are in
`_caption_rules.py`, the writers and their options in `_caption_writers.py`. Of a peer, the configuration that
keeps the rules best on the test part counts; `whisperx` and `stable_ts` name it.

The keys end in `_ours`, `_whisperx` or `_stable_ts`; shares of cues, from 0 to 1:

- `conform`: cues that keep every rule; `length` (of each line), `lines`, `speed`, `minimum`, `maximum`, `gap`
  (two frames), `overlap`, `inside` (of the file): cues that keep this rule; `but_gap`: every rule but
  the gap, which the peers have no option for;
- `fast`: cues counted apart, in none of these: they hold a word that is too fast for the rules whoever cuts
  (`readable_runs` says when), the same words for all writers;
- `clause_ends`: cues, but the last of a recording, that end with a mark of a sentence or clause;
  `natural_ends`: or at a change of speaker, or before a pause of half a second;
- `in_time`: cues that begin with their first word and last to the end of their last one, but for two frames;
- `cues`: how many; `missing_words`: words that no cue shows;
- `synthetic`: `conform` of the synthetic part;
- `broken`: cues that break a rule, none of them `fast`.

Without an ending: `fewest_broken`, how many cues the best of all ways to cut breaks, so that no writer can do
better (two words may be readable in cues of which only one can be); `words`, and `fast_words`, the share that
is too fast; `languages`, how many.

stable-ts is optional: `pip install --no-deps stable-ts openai-whisper`, and more-itertools and tiktoken.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from _caption_rules import (
    ROUNDING,
    RULES,
    broken_rules,
    ends_clause,
    fewest_broken,
    gap_of,
    limits_of,
    read_srt,
    readable_runs,
    readable_words,
    words_of_cues,
)
from _caption_words import Recording, recordings
from _caption_writers import INSTALL, Writer, our_writers, stable_ts_writers, whisperx_writers
from _common import keep, options

PARTS = ("dev", "test", "synthetic")
PAUSE = 0.5  # seconds; a cue that ends before one ends where the speaker does


@dataclass(frozen=True)
class Judged:
    "A cue with what is wrong with it"

    recording: str
    language: str
    start: float
    end: float
    text: str  # lines joined by " / "
    broken: tuple[str, ...]
    fast: bool  # it holds a word that nobody could show by the rules
    last: bool  # of its recording
    clause: bool  # ends with a mark
    natural: bool  # or where the speaker changes or pauses
    in_time: bool  # stands while its words are said


@dataclass(frozen=True)
class Sheet:
    "A writer's cues of some recordings"

    cues: tuple[Judged, ...]
    missing: int  # words that no cue shows


def judge(recording: Recording, srt: str, kind: str = "strict") -> Sheet:
    "Judge a SubRip text of a recording's words"
    limits = limits_of(recording.language, kind)
    readable = readable_words(readable_runs(recording, limits))
    cues = read_srt(srt)
    shown, missing = words_of_cues(cues, recording.words)
    judged = []
    for i, (cue, own) in enumerate(zip(cues, shown)):
        after = cues[i + 1] if i + 1 < len(cues) else None
        clause = ends_clause(cue.lines[-1])
        judged.append(
            Judged(
                recording.name,
                recording.language,
                cue.start,
                cue.end,
                " / ".join(cue.lines),
                broken_rules(cue, after, recording, limits),
                any(n not in readable for n in own),
                after is None,
                clause,
                clause or _stops(recording, own, shown[i + 1] if after else []),
                _in_time(recording, cue, own),
            )
        )
    return Sheet(tuple(judged), len(missing))


def _stops(recording, own, following):
    "Whether the speaker changes or pauses between two cues"
    if not own or not following:
        return True
    last, first = recording.words[max(own)], recording.words[min(following)]
    return last.speaker != first.speaker or first.start - last.end >= PAUSE


def _in_time(recording, cue, own):
    "Whether a cue begins with its first word and lasts to its last, but for two frames"
    if not own:
        return False
    slack = gap_of(recording) + ROUNDING
    first, last = recording.words[min(own)].start, max(recording.words[n].end for n in own)
    return abs(cue.start - first) <= slack and cue.end >= last - slack


def _share(flags) -> float | None:
    flags = list(flags)
    return round(sum(flags) / len(flags), 4) if flags else None


def figures(sheets: Sequence[Sheet]) -> dict:
    "Count the cues of several recordings together"
    cues = [cue for sheet in sheets for cue in sheet.cues]
    slow = [cue for cue in cues if not cue.fast]
    ends = [cue for cue in cues if not cue.last]
    return {
        "conform": _share(not cue.broken for cue in slow),
        "but_gap": _share(not set(cue.broken) - {"gap"} for cue in slow),
        **{rule: _share(rule not in cue.broken for cue in slow) for rule in RULES},
        "clause_ends": _share(cue.clause for cue in ends),
        "natural_ends": _share(cue.natural for cue in ends),
        "in_time": _share(cue.in_time for cue in cues),
        "cues": len(cues),
        "broken": sum(bool(cue.broken) for cue in slow),
        "fast": _share(cue.fast for cue in cues),
        "missing_words": sum(sheet.missing for sheet in sheets),
    }


def measure(writers: dict[str, Writer], talks: Sequence[Recording]) -> dict[str, dict]:
    "Figures of each configuration: of each half, each language of the test half, and with the limits for SDH"
    found = {}
    for name, write in writers.items():
        srt = {talk.name: write(talk) for talk in talks}

        def of(chosen, kind="strict", srt=srt):
            return figures([judge(talk, srt[talk.name], kind) for talk in chosen])

        parts = {part: [t for t in talks if t.part == part] for part in PARTS}
        languages = dict.fromkeys(t.language for t in parts["test"])
        found[name] = {
            **{part: of(chosen) for part, chosen in parts.items()},
            "test_sdh": of(parts["test"], "sdh"),
            "by_language": {x: of([t for t in parts["test"] if t.language == x]) for x in languages},
        }
        print(f"{name:52}", *(f"{part} {found[name][part]['conform']}" for part in PARTS), flush=True)
    return found


def ceiling(talks: Sequence[Recording]) -> dict:
    "What the speech itself allows, whoever cuts"
    words = fast = fewest = 0
    for talk in talks:
        limits = limits_of(talk.language)
        readable = readable_words(readable_runs(talk, limits))
        words, fast = words + len(talk.words), fast + len(talk.words) - len(readable)
        fewest += fewest_broken(talk, limits)
    return {"words": words, "fast_words": round(fast / words, 4), "fewest_broken": fewest}


def broken_cues(writer: Writer, talks: Sequence[Recording]) -> list[str]:
    "Say which cues break what"
    rows = []
    for talk in talks:
        for cue in judge(talk, writer(talk)).cues:
            if cue.broken and not cue.fast:
                rows.append(
                    f"{cue.recording} {cue.start:.3f}-{cue.end:.3f} {'+'.join(cue.broken)}: {cue.text}"
                )
    return rows


def writers_of(name: str, make) -> dict[str, Writer]:
    "A peer's configurations; none, with a word on how to install it, where it is not installed"
    try:
        return make()
    except ImportError:
        print(f"{name} is not measured, it is not installed: {INSTALL[name]}", flush=True)
        return {}


def main():
    args = options(__doc__, recognize={"action": "store_true", "help": "make the words again"})
    start = time.perf_counter()
    talks = recordings(args.recognize)
    if args.quick:  # a recording of each language and part
        talks = list({(t.language, t.part): t for t in talks}.values())
    for part in PARTS:
        own = [t for t in talks if t.part == part]
        names, minutes = ", ".join(t.name for t in own), sum(t.duration for t in own) / 60
        print(f"{part}: {len(own)} recordings, {minutes:.1f} min: {names}", flush=True)
    peers = {
        "ours": our_writers(),
        "whisperx": writers_of("whisperx", whisperx_writers),
        "stable_ts": writers_of("stable_whisper", stable_ts_writers),
    }
    kept, details = {}, {"parts": {t.name: t.part for t in talks}}
    for who, writers in peers.items():
        if not writers:
            continue
        found = measure(writers, talks)
        details[who] = found
        best = "netflix" if who == "ours" else max(found, key=lambda name: found[name]["test"]["conform"])
        kept |= {f"{key}_{who}": value for key, value in found[best]["test"].items()}
        kept[f"synthetic_{who}"] = found[best]["synthetic"]["conform"]
        kept[who] = best
    test = [t for t in talks if t.part == "test"]
    kept |= ceiling(test) | {"languages": len({t.language for t in test})}
    details["ceiling"] = {part: ceiling([t for t in talks if t.part == part]) for part in PARTS}
    written = our_writers()["netflix"]
    details["by_recording"] = {t.name: figures([judge(t, written(t))]) for t in talks}
    details["broken"] = broken_cues(written, talks)
    print("\n".join(details["broken"]))
    programs = ["pysubs2"] + ["stable-ts"] * ("stable_ts" in details)
    details["versions"] = {program: version(program) for program in programs}
    details["seconds"] = round(time.perf_counter() - start, 1)
    keep("captions", kept, args.quick, details)


if __name__ == "__main__":
    main()
