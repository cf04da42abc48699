"""What a person changed in a TextGrid (Praat) or an EAF file (ELAN)

The tiers of a file are compared with those that the result would be written as. An interval that is there
with the same label and times was not touched, whatever words it was made of.
"""

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from ecg_audio_nb.core.text import is_unspaced, one_line
from ecg_audio_nb.core.textgrid import TextGridError, read_textgrid
from ecg_audio_nb.results.corrections import CorrectionError, Draft, give_word, split_text
from ecg_audio_nb.results.edited_text import Row, apply_rows, match_rows
from ecg_audio_nb.results.edits import Edits, Names, move_word, replace_text
from ecg_audio_nb.results.tiers import Interval, Tier, TierKind, end_of_tiers, speaker_tiers
from ecg_audio_nb.schema import Analysis, Turn, Word

NEAR = 1.0  # seconds: a label that stands further away is another word's


@dataclass(frozen=True)
class FileTiers:
    "The tiers of a file"

    tiers: dict[str, list[Interval]]  # labelled intervals by the tier's name, in time order
    end_time: float | None  # of the recording, seconds; None: the file does not say


def read_tiers(path: str | Path) -> FileTiers:
    "Read a TextGrid or an EAF file; raises `CorrectionError`"
    if Path(path).suffix.lower() == ".eaf":
        return _read_eaf(path)
    try:
        grid = read_textgrid(path)
    except TextGridError as e:
        raise CorrectionError(str(e)) from None
    tiers = {
        name: [Interval(start, end, one_line(label)) for start, end, label in intervals]
        for name, intervals in grid.tiers.items()
    }
    return FileTiers(tiers, grid.end_time)


def _read_eaf(path):
    try:
        root = ElementTree.parse(path).getroot()
        slots = _time_slots(root)
        tiers = {tier.get("TIER_ID", ""): _annotations(tier, slots) for tier in root.iter("TIER")}
    except OSError as e:
        raise CorrectionError(f"can't read {path}: {e.strerror}") from None
    except (ElementTree.ParseError, KeyError, ValueError):
        raise CorrectionError(f"{path} is no annotation file as ELAN writes it, or is cut off") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise CorrectionError(f"{path} is no annotation file of ELAN: it begins with <{root.tag}>")
    return FileTiers(tiers, None)


def _time_slots(root):
    "Read the time slots, seconds; those that ELAN leaves open are spread between their neighbours"
    slots, open_slots, last = {}, [], 0.0
    for slot in root.iter("TIME_SLOT"):
        name, value = slot.attrib["TIME_SLOT_ID"], slot.get("TIME_VALUE")
        if value is None:
            open_slots.append(name)
            continue
        time = int(value) / 1000
        for place, name_of_open in enumerate(open_slots, 1):
            slots[name_of_open] = last + (time - last) * place / (len(open_slots) + 1)
        open_slots, last, slots[name] = [], time, time
    return slots | dict.fromkeys(open_slots, last)


def _annotations(tier, slots):
    intervals = []
    for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
        start, end = (slots[annotation.attrib[f"TIME_SLOT_REF{i}"]] for i in (1, 2))
        label = one_line(annotation.findtext("ANNOTATION_VALUE", ""))
        if label:
            intervals.append(Interval(start, end, label))
    return sorted(intervals, key=lambda i: i.start_time)


@dataclass
class _Pair:
    "A tier of the result beside the file's; what both have alike is taken out"

    kind: TierKind
    source: str | None  # speaker of the result's tier
    speaker: str | None  # of the file's tier
    expected: list[Interval]
    found: list[Interval]
    keeps_speaker: bool = False  # the file's tier names no speaker


def find_tier_edits(
    path: str | Path, analysis: Analysis, named: Analysis, names: Names, draft: Draft
) -> Edits:
    "Find out what was changed in the tiers of a file; raises `CorrectionError`"
    file = read_tiers(path)
    end = end_of_tiers(named)
    if file.end_time is not None and abs(file.end_time - end) > 0.1:
        raise CorrectionError(
            f"{path} is about {file.end_time:.2f} s, and the recording of the result lasts {end:.2f} s: "
            "name the result that the file was exported from"
        )
    edits = Edits(spaced=not is_unspaced(analysis.metadata.language_detected))
    pairs = _pair_tiers(path, speaker_tiers(named), file, names, edits)
    given = _take_out_equal(pairs)
    for number, speaker in given.items():
        if speaker != draft.words[number].speaker_id:
            edits.give(number, draft.words[number], speaker)
    for pair in pairs:
        if pair.kind == "words":
            _compare_words(pair, edits, draft)
    for pair in pairs:
        if pair.kind == "segments":
            _compare_segments(pair, edits, draft, analysis)
        elif pair.kind == "turns":
            _compare_turns(pair, edits, draft)
    return edits


def _parse_name(name: str) -> tuple[str | None, TierKind] | None:
    "Split a tier's name into speaker and kind; None for a tier of another kind"
    for kind in TierKind.__args__:
        if name == kind:
            return None, kind
        if name.endswith(f" {kind}"):
            return name.removesuffix(f" {kind}"), kind
    return None


def _pair_tiers(path, expected, file, names, edits) -> list[_Pair]:
    "Put the tiers of the result and of the file side by side"
    by_name = {tier.name: tier for tier in expected}
    parsed = {name: _parse_name(name) for name in file.tiers}
    ours = {name: kind for name, kind in parsed.items() if kind}
    if not ours:
        listed = ", ".join(file.tiers) or "none"
        raise CorrectionError(
            f"{path} has the tiers {listed}; a tier of words is called `SPEAKER words`, such as `Anna words`"
        )
    if others := [name for name in file.tiers if name not in ours]:
        edits.note(f"tiers that are not read: {', '.join(others)}")
    renamed = _renamed_tiers([t for t in expected if t.name not in ours], ours, file, by_name)
    pairs = [
        _pair(kind, speaker, by_name.get(name) or renamed.get(name), file.tiers[name], expected, names)
        for name, (speaker, kind) in ours.items()
    ]
    missing = [t.name for t in expected if t.name not in ours and t not in renamed.values()]
    if missing and not any(pair.keeps_speaker for pair in pairs):
        edits.note(f"tiers that are not in the file, so nothing of them was changed: {', '.join(missing)}")
    return pairs


def _pair(kind, speaker, tier, found, expected, names):  # tier: of the result, None: it has none of this name
    target = names.id_of(speaker)
    if tier is not None:
        return _Pair(kind, names.id_of(tier.speaker_id), target, list(tier.intervals), list(found))
    if speaker is None:
        return _Pair(kind, None, None, _of_kind(expected, kind), list(found), keeps_speaker=True)
    return _Pair(kind, target, target, [], list(found))


def _of_kind(tiers, kind):
    "Return the intervals of all speakers, for a tier that names none"
    return sorted((i for t in tiers if t.kind == kind for i in t.intervals), key=lambda i: i.start_time)


def _key(interval: Interval) -> tuple[str, int, int]:
    return interval.label, round(1000 * interval.start_time), round(1000 * interval.end_time)


def _renamed_tiers(missing: Sequence[Tier], ours, file, by_name) -> dict[str, Tier]:
    "Find tiers that have another name in the file, by what is on them: tier of the result by that name"
    renamed, free = {}, [name for name in ours if name not in by_name and ours[name][0] is not None]
    for tier in missing:
        keys = Counter(map(_key, tier.intervals))
        shared = {
            name: sum((keys & Counter(map(_key, file.tiers[name]))).values())
            for name in free
            if ours[name][1] == tier.kind
        }
        best = max(shared, key=shared.get, default=None)
        if best is not None and shared[best] * 2 >= len(tier.intervals) > 0:
            renamed[best] = tier
            free.remove(best)
    return renamed


def _take_out_equal(pairs: Sequence[_Pair]) -> dict[int, str | None]:  # speaker by number of a given word
    "Take out the intervals that both have alike: in the same tier, else on that of another speaker"
    given = {}
    for pair in pairs:
        for interval in _common(pair.expected, pair.found):
            if pair.kind == "words" and not pair.keeps_speaker:
                given.update(dict.fromkeys(interval.numbers, pair.speaker))
    words = [pair for pair in pairs if pair.kind == "words"]
    for source in words:
        for target in words:
            if source is not target:
                for interval in _common(source.expected, target.found):
                    given.update(dict.fromkeys(interval.numbers, target.speaker))
    return given


def _common(expected: list[Interval], found: list[Interval]) -> list[Interval]:  # those of `expected`
    "Remove from both lists what they have in common"
    places: dict[tuple, list[int]] = {}
    for place, interval in enumerate(found):
        places.setdefault(_key(interval), []).append(place)
    taken, common, rest = set(), [], []
    for interval in expected:
        same = places.get(_key(interval))
        (common if same else rest).append(interval)
        if same:
            taken.add(same.pop())
    expected[:] = rest
    found[:] = [interval for place, interval in enumerate(found) if place not in taken]
    return common


def _compare_words(pair, edits, draft):
    "Find changed, added and removed words of one tier"
    couples, coupled = _couples(pair.expected, pair.found)
    for old, new in couples:
        words = [draft.words[number] for number in old.numbers]
        edits.replace(old.numbers, _edited(words, old, new, pair))
    for new in (i for i in pair.found if id(i) not in coupled):
        speaker = _speaker_at(draft, new) if pair.keeps_speaker else pair.speaker
        template = Word(new.label, new.start_time, new.end_time, speaker_id=speaker, timing="measured")
        edits.add(split_text(new.label, template))
    for old in (i for i in pair.expected if id(i) not in coupled):
        edits.replace(old.numbers, ())


def _edited(words, old, new, pair) -> list[Word]:
    "Return the words of an interval that was changed"
    same_times = _key(old)[1:] == _key(new)[1:]
    if len(words) == 1:
        word = words[0] if same_times else move_word(words[0], new.start_time, new.end_time)
        result = replace_text(word, new.label) if new.label != old.label else [word]
    elif same_times and len(texts := new.label.split(" ")) == len(words):
        result = [w for word, text in zip(words, texts) for w in replace_text(word, text)]
    else:  # overlapping words that share an interval can't be told apart any more
        template = move_word(words[0], new.start_time, new.end_time)
        result = split_text(new.label, template)
    if pair.keeps_speaker:
        return result
    return [w if w.speaker_id == pair.speaker else give_word(w, pair.speaker) for w in result]


def _couples(
    expected, found
) -> tuple[list[tuple[Interval, Interval]], set[int]]:  # and the ids of all in them
    "Pair what is left over on both sides: by label where it is near, then by the time that both share"
    couples = []
    labels = [[i.label.casefold() for i in intervals] for intervals in (expected, found)]
    for a, b, size in difflib.SequenceMatcher(None, *labels, autojunk=False).get_matching_blocks():
        for old, new in zip(expected[a : a + size], found[b : b + size]):
            if abs(old.start_time - new.start_time) < NEAR:
                couples.append((old, new))
    coupled = {id(i) for couple in couples for i in couple}
    starts = [old.start_time for old in expected]
    for new in (i for i in found if id(i) not in coupled):
        first, stop = bisect_left(starts, new.start_time - NEAR), bisect_left(starts, new.end_time)
        free = [
            old for old in expected[max(first - 1, 0) : stop] if id(old) not in coupled and _shared(old, new)
        ]
        if free:
            old = max(free, key=lambda old: _shared(old, new))
            couples.append((old, new))
            coupled |= {id(old), id(new)}
    return couples, coupled


def _shared(a, b):
    "Return the part of the shorter interval that both share, 0 where it is less than half"
    seconds = min(a.end_time, b.end_time) - max(a.start_time, b.start_time)
    shorter = min(a.end_time - a.start_time, b.end_time - b.start_time)
    return seconds / shorter if shorter > 0 and seconds >= shorter / 2 else 0


def _speaker_at(draft, interval):
    "Return who talks in an interval, None where nobody does"
    middle = (interval.start_time + interval.end_time) / 2
    return next((t.speaker_id for t in draft.turns if t.start_time <= middle < t.end_time), None)


def _compare_segments(pair, edits, draft, analysis):
    "Take over the texts of segments whose words were left alone"
    couples, coupled = _couples(pair.expected, pair.found)
    by_segment = _words_by_segment(analysis)
    for old, new in couples:
        words = [(n, draft.words[n]) for place in old.numbers for n in by_segment[place]]
        if old.label == new.label:
            edits.note("borders of segments are not read: they follow from their words")
        elif any(number in edits.words for number, _ in words):
            edits.note(
                f"the segment at {new.start_time:.2f} s and its words were changed: the words are taken"
            )
        else:
            rows = [Row(new.label, old.start_time, old.end_time, pair.speaker)]
            found = match_rows(words, rows, analysis.metadata.language_detected)
            apply_rows(*found, rows, edits, draft)
    if any(id(i) not in coupled for i in pair.found) and pair.expected:
        edits.note("added segments are not read: add their words on the tier of words")


def _words_by_segment(analysis):
    "List the numbers of the words of each segment"
    by_segment, number = [], 0
    for segment in analysis.segments:
        count = sum(word.kind == "word" for word in segment.words)
        by_segment.append(range(number, number + count))
        number += count
    return by_segment


def _compare_turns(pair, edits, draft):
    "Take over the turns of a speaker of whom no words are known"
    if not pair.expected and not pair.found and pair.source == pair.speaker or pair.speaker is None:
        return
    kept = [
        replace(t, speaker_id=pair.speaker)
        for t in draft.turns
        if t.speaker_id == pair.source
        and not any(old.start_time <= t.start_time and t.end_time <= old.end_time for old in pair.expected)
    ]
    new = [Turn(round(i.start_time, 3), round(i.end_time, 3), pair.speaker) for i in pair.found]
    if pair.source != pair.speaker:
        edits.turns[pair.source] = []
    edits.turns[pair.speaker] = sorted([*kept, *new], key=lambda t: t.start_time)
