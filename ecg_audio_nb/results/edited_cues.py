"""What a person changed in captions: SubRip, WebVTT or SubStation Alpha

The cues of a file are compared with those that the result would be written as, in the style in which most
of them are alike. A cue with the same text was not touched. The times of cues are for reading: they do not
change the times of words.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from html import unescape
from pathlib import Path

from ecg_audio_nb.core.text import clean_text, is_unspaced, one_line
from ecg_audio_nb.results.caption_styles import Style, caption_cues, caption_presets, caption_style
from ecg_audio_nb.results.captions import caption_lines
from ecg_audio_nb.results.corrections import CorrectionError, Draft
from ecg_audio_nb.results.cues import Cue, CueRules, wide_script
from ecg_audio_nb.results.edited_text import Row, apply_rows, match_rows
from ecg_audio_nb.results.edits import Edits, Names
from ecg_audio_nb.results.subtitles import restore_text
from ecg_audio_nb.schema import Analysis

FORMATS = (".srt", ".vtt", ".ass")
MOST = 0.7  # of the cues: with more that are alike, the style is found


@dataclass(frozen=True)
class FileCue:
    "A cue of a file"

    start_time: float  # seconds
    end_time: float
    lines: tuple[str, ...]  # without tags
    voices: tuple[str | None, ...] = ()  # WebVTT: the speaker of each line

    @property
    def key(self) -> tuple:  # what is compared
        text = one_line(" ".join(self.lines)).replace("\u2060", "")
        return text, tuple(dict.fromkeys(self.voices))


def read_cues(path: str | Path) -> list[FileCue]:
    "Read the cues of a file, in time order; raises `CorrectionError`"
    from pysubs2 import SSAFile
    from pysubs2.exceptions import Pysubs2Error

    kind = Path(path).suffix.lower()[1:]
    try:
        text = Path(path).read_text("utf-8-sig")
        file = SSAFile.from_string(text, format_=kind, **({} if kind == "ass" else {"keep_html_tags": True}))
    except OSError as e:
        raise CorrectionError(f"can't read {path}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise CorrectionError(f"{path} is not UTF-8 text; save it again as UTF-8") from None
    except (Pysubs2Error, ValueError) as e:
        raise CorrectionError(f"{path} can't be read as {kind}: {e}") from None
    events = [e for e in file.events if not e.is_comment]
    if kind == "ass":
        events = _whole_events(path, events)
    cues = [_cue(event, kind) for event in sorted(events, key=lambda e: (e.start, e.end))]
    if not cues and text.strip() and kind == "srt":
        raise CorrectionError(f"{path} has no cues as SubRip writes them")
    return cues


def _whole_events(path, events):
    "Refuse captions whose words light up one by one: each word stands in several events"
    repeated = sum(
        a.plaintext == b.plaintext and abs(a.end - b.start) <= 20 and _drawn_by_word(a.text)
        for a, b in zip(events, events[1:])
    )
    if repeated * 3 > len(events):
        raise CorrectionError(
            f"{path} has an event for each word, which can't be edited as text: "
            "`ecg export RESULT.json --formats ass --style plain` writes one that can, or take --formats srt"
        )
    return events


def _drawn_by_word(text):
    "Whether commands stand inside the lines of an event, not only before them"
    return any("{" in re.sub(r"^(\{[^}]*\})+", "", line) for line in text.split(r"\N"))


def _cue(event, kind):
    text = event.text.replace(r"\N", "\n")
    if kind == "ass":
        plain = re.sub(r"\{[^}]*\}", "", text)
        text = plain.replace("❴", "{").replace("❵", "}").replace("\\\u2060", "\\")
        lines, voices = [_without_direction(line) for line in text.split("\n")], []
    elif kind == "vtt":
        lines, voices = _voiced_lines(text)
    else:
        lines, voices = text.split("\n"), []
    if kind != "ass":
        lines = restore_text("\n".join(_without_tags(line, kind) for line in lines), kind).split("\n")
    shown = [one_line(line) for line in lines]
    voices = [voice for line, voice in zip(shown, voices) if line]
    return FileCue(event.start / 1000, event.end / 1000, tuple(filter(None, shown)), tuple(voices))


def _without_direction(line):
    "Remove the marks of direction that an .ass file has before a line and after a dash or name"
    return re.sub(r"(?<=[:-])[\u200e\u200f](?= |$)", "", line.lstrip("\u200e\u200f"))


def _voiced_lines(text):
    "Split the text of a WebVTT cue into lines, each with the speaker of its voice tag"
    lines, voices, voice = [], [], None
    for line in text.split("\n"):
        if tag := re.search(r"<v(?:\.\S+)?\s+([^>]*)>", line):
            voice = one_line(unescape(tag[1]))
        lines.append(line)
        voices.append(voice)
        if "</v>" in line:
            voice = None
    return lines, voices


def _without_tags(text, kind):
    plain = re.sub(r"</?[A-Za-z][^<>]*>", "", text)
    if kind == "vtt":
        return unescape(re.sub(r"<\d[\d:.]*>", "", plain))
    return re.sub(r"\{\\[^}]*\}", "", plain)


def find_cue_edits(
    path: str | Path,
    analysis: Analysis,
    named: Analysis,  # the same with its speakers' names
    names: Names,
    draft: Draft,
    style: Style | None,  # that the file was exported in; None: the one in which most cues are alike
) -> Edits:
    "Find out what was changed in the captions of a file; raises `CorrectionError`"
    found, kind = read_cues(path), Path(path).suffix.lower()[1:]
    end = draft.duration
    if late := next((cue for cue in found if cue.start_time > end + 0.5), None):
        raise CorrectionError(
            f"{path} has a cue at {late.start_time:.2f} s, and the recording of the result lasts "
            f"{end:.2f} s: name the result that the file was exported from"
        )
    expected = _expected_cues(found, named, kind, style)
    parts = _parts(found, expected, word_numbers(named, expected), kind, names, draft)
    language = analysis.metadata.language_detected
    edits = Edits(spaced=not is_unspaced(language))
    for part in parts:
        part.match(draft, language)
    _find_speakers([row for part in parts for row in part.rows], names, draft)
    for part in parts:
        part.apply(edits, draft)
    return edits


@dataclass
class _Part:
    "Cues in a row of file and result: all alike, or all different"

    alike: bool
    rows: list["_OpenRow"]
    words: list[int]  # numbers, in the order in which the cues of the result show them
    found: tuple = ((), ())  # matches and changes

    def match(self, draft, language):
        "Find the words of each row"
        if self.alike:
            return
        self.found = match_rows([(n, draft.words[n]) for n in self.words], self._rows(), language)
        matches, changes = self.found
        for match in matches:
            self.rows[match.passage].numbers.append(match.number)
        for change in changes:
            if change.passage is not None:
                self.rows[change.passage].numbers += change.numbers

    def _rows(self):
        return [Row(r.text, r.cue.start_time, r.cue.end_time, r.speaker) for r in self.rows]

    def apply(self, edits, draft):
        "Collect what was changed"
        if not self.alike:
            apply_rows(*self.found, self._rows(), edits, draft)
            return
        for row in self.rows:
            for number in row.numbers:
                if row.speaker is not None and row.speaker != draft.words[number].speaker_id:
                    edits.give(number, draft.words[number], row.speaker)


@dataclass
class _OpenRow:
    "A row of a cue of the file"

    text: str
    label: str | None  # the speaker's name that the file gives it
    cue: FileCue
    numbers: list[int] = field(default_factory=list)  # of the words of the result that it holds
    speaker: str | None = None  # whose words it holds now; None: as it was


def _parts(found, expected, numbers, kind, names, draft) -> list[_Part]:  # numbers: by cue and row
    "Divide the cues into those that are alike and the others"
    keys = [_key(cue, kind) for cue in expected]
    named = kind == "vtt" or any(row.name for cue in expected for row in cue.rows)
    matcher = difflib.SequenceMatcher(None, keys, [cue.key for cue in found], autojunk=False)
    parts = []
    for tag, a, b, c, d in matcher.get_opcodes():
        words = [n for cue in numbers[a:b] for row in cue for n in row]
        if tag == "equal":
            rows = [
                _OpenRow("", _label(row, kind), shown, list(own))
                for cue, shown, by_row in zip(expected[a:b], found[c:d], numbers[a:b])
                for row, own in zip(cue.rows, by_row)
            ]
        else:
            old = {token for n in words for token in one_line(draft.words[n].word).split(" ")}
            rows = [row for cue in found[c:d] for row in _split_rows(cue, names, named, old)]
        parts.append(_Part(tag == "equal", rows, words))
    return parts


def _label(row, kind):
    "Return the name that a file gives to a row of a cue"
    if kind == "vtt":
        return row.speaker_id
    return row.name.rstrip(": ") or None


def _key(cue: Cue, kind: str) -> tuple:
    "What is compared of a cue of the result"
    if kind == "vtt":
        lines = [line for row in cue.rows for line in replace(row, name="").texts]
        voices = tuple(dict.fromkeys(one_line(row.speaker_id) or None for row in cue.rows))
    else:
        lines, voices = map(_without_direction, cue.lines) if kind == "ass" else cue.lines, ()
    return one_line(" ".join(lines)).replace("\u2060", ""), voices


def _expected_cues(found, named, kind, style) -> list[Cue]:
    "Cut the result into cues in the file's style: the first in which most cues are alike"
    theirs, best, most = Counter(cue.key for cue in found), [], -1
    for candidate in _candidates(style, kind):
        cues = caption_lines(named, candidate) if kind == "ass" else caption_cues(named, candidate)
        alike = sum((theirs & Counter(_key(cue, kind) for cue in cues)).values())
        if alike > most:
            best, most = cues, alike
        if most > MOST * len(found):
            break
    return best


def _candidates(style, kind):
    "Return the styles that a file may be in, each way to cut cues once"
    if style:
        return [style]
    rules = {}
    for name in caption_presets():
        preset = caption_style(name)
        cut = [getattr(preset, f.name) for f in fields(CueRules)]
        rules.setdefault(repr([*cut, kind == "ass" and name]), name)
    return list(rules.values())


def word_numbers(analysis: Analysis, cues: Iterable[Cue]) -> list[list[list[int]]]:  # by cue and row
    "Find which words of a result the rows of its cues show; a word that is divided stands in the first"
    letters = _letters(analysis)  # by segment: the word of each letter
    places, shown, numbers = Counter(), set(), []
    for cue in cues:
        rows = []
        for row in cue.rows:
            own = []
            for word in (word for line in row.lines for word in line):
                count, start = len("".join(word.text.split())), places[word.segment]
                own += letters[word.segment][start : start + count]
                places[word.segment] += count
            rows.append([n for n in dict.fromkeys(own) if n not in shown])
            shown.update(own)
        numbers.append(rows)
    return numbers


def _letters(analysis):
    "List, for each segment, the number of the word to which each letter belongs"
    letters, number = [], 0
    for segment in analysis.segments:
        own = []
        for word in segment.words:
            if word.kind != "word":
                continue
            own += [number] * len("".join(clean_text(" ".join(word.word.split())).split()))
            number += 1
        letters.append(own)
    return letters


_DASH = re.compile(r"[-‐‑–—]\s*(?=\S)")
_LABEL = re.compile(r"([^:：]{1,60})[:：](?:\s+|$)")


def _split_rows(cue: FileCue, names: Names, named: bool, old: set[str]) -> list[_OpenRow]:
    "Split the lines of a cue by who speaks: by dashes, names or voice tags"
    dashes = sum(bool(_DASH.match(line)) for line in cue.lines)
    rows: list[_OpenRow] = []
    for place, line in enumerate(cue.lines):
        voice = cue.voices[place] if cue.voices else None
        dash = _DASH.match(line) if dashes > 1 or not old & {"-", "–", "—"} else None
        text = line[dash.end() :] if dash else line
        label, text = (voice, text) if cue.voices else _split_label(text, names, named, old)
        if not rows or dash or (label is not None and label != rows[-1].label):
            rows.append(_OpenRow(text, label, cue))
        else:
            rows[-1].text += _space(rows[-1].text, text) + text
    return [row for row in rows if row.text]


def _split_label(text, names, named, old):
    "Split a speaker's name from what is said; a new name is understood where names stand in the file"
    label = _LABEL.match(text)
    if not label:
        return None, text
    is_said = f"{label[1].split()[-1]}:" in old if label[1].split() else True
    if names.known(one_line(label[1])) or (named and not is_said and _looks_like_a_name(label[1])):
        return one_line(label[1]), text[label.end() :]
    return None, text


def _looks_like_a_name(text):
    words = text.split()
    ends_sentence = re.search(r"[?!,;]|\w{4}\.\s", text)  # Dr. and Prof. are none
    return len(words) <= 4 and all(not word[0].islower() for word in words) and not ends_sentence


def _space(before, after):
    "Return what joins two lines: nothing between characters of scripts without spaces"
    wide = wide_script(before[-1:]) in ("ja", "zh") and wide_script(after[:1]) in ("ja", "zh")
    return "" if wide else " "


def _find_speakers(rows: Sequence[_OpenRow], names: Names, draft: Draft) -> None:
    "Find the speaker of each row whose name was changed; a name holds until the same speaker is named again"
    changed: dict[str | None, str | None] = {}  # speaker of the result -> of the file
    for row in rows:
        old = {draft.words[n].speaker_id for n in row.numbers[:1]}
        if row.label is not None:
            row.speaker = names.id_of(row.label)
            for speaker in old:
                changed[speaker] = row.speaker
        else:
            row.speaker = next((changed[s] for s in old if s in changed), None)
