"""Netflix's rules for captions, checked in any SubRip text; it knows nothing of how our own cues are made.

Sources: Netflix Partner Help Center, Timed Text Style Guides
(https://partnerhelp.netflixstudios.com/hc/en-us/articles/ and a number):

- General Requirements (215758617): at least 5/6 s, at most 7 s, at most two lines;
- Subtitle Timing Guidelines (360051554394): at least two frames between cues, at every frame rate;
- English (217350977): 42 characters a line, 20 a second;
- Russian (215346638): 39 a line; other alphabets 42 a line, Thai 35; 17 a second, 20 in captions for the deaf
  and hard of hearing (SDH);
- Korean (216001127): 16 a line; Latin letters, spaces and punctuation count half; 12 a second, SDH 14;
- Simplified Chinese (215986007): 16 a line, SDH 18; 9 a second, SDH 11;
- Japanese (215767517): SDH 16 full-width characters a line and 7 a second; others count half.

The lines of English, Korean, Chinese and Russian, the durations and the gap were read on these pages.
Japanese and the figures for SDH are those on which Subtitle Edit's Netflix checks
(`NetflixQualityController.cs`) and notes that quote the pages agree. `STRICT` holds the stricter figure
where a language has two, but for Japanese: its four characters a second are for translators, who shorten;
no verbatim text keeps them. `SDH` holds the others.

Characters are counted with spaces and punctuation; a line break counts nothing, nor do combining marks.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from _caption_words import UNSPACED, Recording, TimedWord

RULES = ("length", "lines", "speed", "minimum", "maximum", "gap", "overlap", "inside")
MAX_LINES, MIN_SECONDS, MAX_SECONDS, GAP_FRAMES = 2, 5 / 6, 7.0, 2
FRAMES_PER_SECOND = 24  # where there is no picture
ROUNDING = 0.0011  # SubRip has milliseconds


@dataclass(frozen=True)
class Limits:
    "What a language allows"

    columns: int  # of a line
    speed: float  # characters a second
    halves: bool = False  # characters that are not wide count half


STRICT = {
    "en": Limits(42, 20),
    "ja": Limits(16, 7, True),
    "ko": Limits(16, 12, True),
    "zh": Limits(16, 9, True),
    "ru": Limits(39, 17),
    "th": Limits(35, 17),
}
SDH = {
    **STRICT,
    "ko": Limits(16, 14, True),
    "zh": Limits(18, 11, True),
    "ru": Limits(39, 20),
    "th": Limits(35, 20),
}
OTHERS = {"strict": Limits(42, 17), "sdh": Limits(42, 20)}


def limits_of(language: str, kind: str = "strict") -> Limits:
    "A language's limits, of STRICT or SDH"
    return (STRICT if kind == "strict" else SDH).get(language, OTHERS[kind])


def characters(text: str, limits: Limits) -> float:
    "Count a text as the language's guide does"
    composed = unicodedata.normalize("NFC", text)
    shown = [c for c in composed if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in shown)
    return wide + (len(shown) - wide) / 2 if limits.halves else len(shown) + wide


# ---- cues of a SubRip text


@dataclass(frozen=True)
class Cue:
    "What is shown at one time"

    start: float  # seconds
    end: float
    lines: tuple[str, ...]


def read_srt(text: str) -> list[Cue]:
    "Read cues, in time order"
    from pysubs2 import SSAFile

    events = SSAFile.from_string(text, format_="srt") if text.strip() else []
    cues = [
        Cue(event.start / 1000, event.end / 1000, tuple(event.plaintext.strip().split("\n")))
        for event in events
        if event.plaintext.strip()
    ]
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def broken_rules(cue: Cue, after: Cue | None, recording: Recording, limits: Limits) -> tuple[str, ...]:
    "List the rules that a cue breaks; the distance to the next cue is its own affair"
    shown = cue.end - cue.start
    width = max(characters(line, limits) for line in cue.lines)
    count = sum(characters(line, limits) for line in cue.lines)
    distance = after.start - cue.end if after else float("inf")
    broken = {
        "length": width > limits.columns,
        "lines": len(cue.lines) > MAX_LINES,
        "speed": count > limits.speed * (shown + ROUNDING),
        "minimum": shown < MIN_SECONDS - ROUNDING,
        "maximum": shown > MAX_SECONDS + ROUNDING,
        "gap": 0 <= distance < gap_of(recording) - ROUNDING,
        "overlap": distance < 0,
        "inside": cue.start < 0 or cue.end > recording.duration + ROUNDING,
    }
    return tuple(rule for rule in RULES if broken[rule])


def gap_of(recording: Recording) -> float:  # seconds
    "The least distance between two cues"
    return GAP_FRAMES / (recording.frames_per_second or FRAMES_PER_SECOND)


# ---- which words a cue shows


def _letters(text):
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def words_of_cues(cues: Sequence[Cue], words: Sequence[TimedWord]) -> tuple[list[list[int]], list[int]]:
    """Find the words of each cue and those that no cue shows: each word goes to the cue that has its letters
    left and is nearest in time; whole words are taken first"""
    left = [[_letters(token) for line in cue.lines for token in line.split()] for cue in cues]
    shown, missing = [[] for _ in cues], []
    for whole in (True, False):
        again = missing if not whole else range(len(words))
        missing = []
        for number in again:
            letters, at = _letters(words[number].text), words[number].start
            found = [i for i, tokens in enumerate(left) if _place(tokens, letters, whole) is not None]
            if letters and found:
                nearest = min(found, key=lambda i: (max(cues[i].start - at, at - cues[i].end, 0.0), i))
                place = _place(left[nearest], letters, whole)
                left[nearest][place] = left[nearest][place].replace(letters, "\0", 1)
                shown[nearest].append(number)
            elif letters:
                missing.append(number)
    return [sorted(numbers) for numbers in shown], missing


def _place(tokens, letters, whole):
    "The token that is the letters, or holds them"
    return next((i for i, t in enumerate(tokens) if (letters == t if whole else letters in t)), None)


# ---- what the speech allows


def _fits(run: Sequence[TimedWord], language: str, limits: Limits) -> float | None:
    "The characters of words in a cue; None if they need more than two lines"
    speakers = sorted({w.speaker or "" for w in run})
    if len(speakers) > 2 or len(speakers) == 2 and not _two_rows(run):
        return None
    if len(speakers) == 2:
        texts = ["-" + "".join(w.text for w in run if (w.speaker or "") == s).strip() for s in speakers]
        counts = [characters(t, limits) for t in texts]
        return sum(counts) if max(counts) <= limits.columns else None
    pieces = [w.text for w in run]
    text = "".join(pieces).strip()
    if characters(text, limits) <= limits.columns:
        return characters(text, limits)
    for i in range(1, len(pieces)):
        if language in UNSPACED or pieces[i].startswith(" "):
            lines = "".join(pieces[:i]).strip(), "".join(pieces[i:]).strip()
            counts = [characters(line, limits) for line in lines]
            if max(counts) <= limits.columns:
                return sum(counts)
    return None


def _two_rows(run):
    "Whether two speakers can have a line each: one follows the other, or they talk at once"
    changes = [(a, b) for a, b in zip(run, run[1:]) if a.speaker != b.speaker]
    return len(changes) == 1 or all(b.start < a.end for a, b in changes)


def _room(first: TimedWord, after: TimedWord | None, recording: Recording) -> float:  # seconds
    "How long a cue may stand: to the gap before the next word, the end of the file, or 7 s"
    ends = [first.start + MAX_SECONDS, recording.duration]
    if after:
        ends.append(after.start - gap_of(recording))
    return min(ends) - first.start


def _reach(run, recording, limits):
    "Whether a longer run can still be a cue"
    long = max(w.end for w in run) - run[0].start > MAX_SECONDS
    return not long and characters("".join(w.text for w in run).strip(), limits) <= 2 * limits.columns + 1


@cache
def readable_runs(recording: Recording, limits: Limits) -> list[tuple[int, int]]:
    """List all runs of consecutive words, first and last, that could be a cue that keeps every rule, whoever
    cuts it: it fits two lines and 7 s, and from its first word to the gap before the word after it (or the
    end of the file, or 7 s) there is time to read it, and 5/6 s"""
    words, runs = recording.words, []
    for i in range(len(words)):
        for j in range(i, len(words)):
            run = words[i : j + 1]
            if not _reach(run, recording, limits):
                break
            after = words[j + 1] if j + 1 < len(words) else None
            room, count = _room(run[0], after, recording), _fits(run, recording.language, limits)
            if count is not None and room >= MIN_SECONDS and count <= limits.speed * room:
                runs.append((i, j))
    return runs


def readable_words(runs: Sequence[tuple[int, int]]) -> set[int]:
    "The words that at least one such run holds; the speech is too fast for the others, whoever cuts it"
    return {n for i, j in runs for n in range(i, j + 1)}


def fewest_broken(recording: Recording, limits: Limits) -> int:
    """How many cues the best of all ways to cut into cues of two lines and 7 s breaks; those with words that
    nobody can show are not counted"""
    runs = readable_runs(recording, limits)
    kept, readable = set(runs), readable_words(runs)
    best = [0]
    for j in range(len(recording.words)):
        costs = [best[j] + 1]  # a word that is wider than two lines
        for i in range(j, -1, -1):
            run = recording.words[i : j + 1]
            if not _reach(run, recording, limits):
                break
            if _fits(run, recording.language, limits) is not None:
                apart = any(n not in readable for n in range(i, j + 1))
                costs.append(best[i] + ((i, j) not in kept and not apart))
        best.append(min(costs))
    return best[-1]


# ---- where cues end

CLAUSE_MARKS = set(".,;:!?…。、，；：？！｡､؟،؛۔।॥—–")
CLOSING = set("\"'”’»)]}」』）】＂")


def ends_clause(text: str) -> bool:
    "Whether a text ends with a mark of a sentence or clause; quotes and brackets may close after it"
    text = text.rstrip()
    while text and text[-1] in CLOSING:
        text = text[:-1].rstrip()
    return bool(text) and text[-1] in CLAUSE_MARKS
