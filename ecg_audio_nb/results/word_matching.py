"""Match an edited text with the words of a result, so that what was not edited keeps its times

A text has no times of its own, but it stands in the order in which it was spoken. The words of the result
are matched with it by what they spell, without case and marks. What lies between two matches was replaced,
added or removed.
"""

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from ecg_audio_nb.core.text import graphemes, one_line, phrases
from ecg_audio_nb.schema import Word


@dataclass(frozen=True)
class Passage:
    "A passage of an edited text, with the time in which it lies"

    text: str
    start_time: float  # seconds
    end_time: float  # seconds


@dataclass(frozen=True)
class Change:
    "What a text says in the place of words"

    numbers: tuple[int, ...]  # of the words; empty: nothing stood there
    texts: tuple[str, ...]  # of the new words; empty: the words were removed
    spaces: tuple[bool, ...]  # whether a space stands before each of them; not at the passage's beginning
    passage: int | None  # number of the passage; None: the words were removed
    before: int | None  # number of the matched word before, None at the beginning
    after: int | None  # number of the matched word after, None at the end


@dataclass(frozen=True)
class Match:
    "A word that the text still has"

    number: int  # of the word
    text: str  # as the edited text spells it
    passage: int


@dataclass(frozen=True)
class _Token:
    "What is matched: a word, or in scripts without spaces a character"

    norm: str
    text: str
    owner: int  # number of the word, or of the passage
    begins: bool  # it begins a word of a text with spaces
    after_space: bool  # a space stands before it


def match_words(
    words: Sequence[tuple[int, Word]],  # of the result, with their numbers, in the order of the text
    passages: Sequence[Passage],
    spaced: bool,  # words are separated by spaces
    language: str | None = None,
) -> tuple[list[Match], list[Change]]:
    "Match words with an edited text"
    old = [token for number, word in words for token in _tokens(word.word, number, spaced)]
    new = [token for i, passage in enumerate(passages) for token in _tokens(passage.text, i, spaced)]
    partner = {}  # place in `old` -> place in `new`
    for a, b, size in _blocks([t.norm for t in old], [t.norm for t in new]):
        partner.update(zip(range(a, a + size), range(b, b + size)))
    targets: dict[int, list[int | None]] = {}  # number of a word -> places in `new` of its tokens
    for place, token in enumerate(old):
        targets.setdefault(token.owner, []).append(partner.get(place))
    found = {number: own for number, own in targets.items() if _side_by_side(own, new)}
    matches = [Match(n, _spelled(new, own), new[own[0]].owner) for n, own in found.items()]
    gaps = _gaps(list(targets), found, new)
    at = {number: (word.start_time + word.end_time) / 2 for number, word in words}
    return matches, [change for gap in gaps for change in _changes(gap, at, passages, spaced, language)]


def _spelled(tokens, places):
    "Join the tokens of a word as the edited text has them"
    return "".join(" " * (tokens[i].begins and i != places[0]) + tokens[i].text for i in places)


def _tokens(text, owner, spaced):
    tokens = []
    for number, word in enumerate(one_line(text).split(" ")):
        parts = [word] if spaced else _characters(word)
        for place, part in enumerate(part for part in parts if part):
            tokens.append(_Token(_norm(part), part, owner, place == 0, number > 0 and place == 0))
    return tokens


def _characters(word):
    "Split a word of a script without spaces into characters; Latin words and numbers stay whole"
    parts = re.split(r"([A-Za-z0-9]+)", word)
    return [c for i, part in enumerate(parts) for c in ([part] if i % 2 else graphemes(part))]


def _norm(text):
    "Fold case and drop marks, unless nothing else is there"
    bare = "".join(c for c in text.casefold() if unicodedata.category(c)[0] not in "PSC")
    return bare or text


def _side_by_side(places, tokens):
    "Whether all tokens of a word are matched, in a row and in one passage"
    if None in places or places != list(range(places[0], places[0] + len(places))):
        return False
    return len({tokens[place].owner for place in places}) == 1


def _blocks(a, b, n=3):
    "Find equal runs in order: first of runs that are nearly unique, then between them"
    if len(a) * len(b) <= 250_000:
        return _equal_runs(a, b)
    grams_a, grams_b = ([tuple(x[i : i + n]) for i in range(len(x) - n + 1)] for x in (a, b))
    runs, last_a, last_b = [], 0, 0
    anchors = [(i, j, size + n - 1) for i, j, size in _equal_runs(grams_a, grams_b)]
    for i, j, size in [*anchors, (len(a), len(b), 0)]:
        if i < last_a or j < last_b:
            overlap = max(last_a - i, last_b - j)
            i, j, size = i + overlap, j + overlap, size - overlap
        if size < 0:
            continue
        between = _equal_runs(a[last_a:i], b[last_b:j])
        runs += [(last_a + x, last_b + y, length) for x, y, length in between]
        runs.append((i, j, size))
        last_a, last_b = i + size, j + size
    return [run for run in runs if run[2]]


def _equal_runs(a, b):
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return [tuple(block) for block in matcher.get_matching_blocks() if block.size]


@dataclass
class _Gap:
    "What lies between two matched words"

    before: int | None  # number of the matched word before
    after: int | None = None  # number of the matched word after
    numbers: list[int] = field(default_factory=list)  # of the words in it
    tokens: list[_Token] = field(default_factory=list)  # of the edited text


def _gaps(numbers, found, tokens):
    "List the gaps between matched words that are not empty"
    gaps, gap, place = [], _Gap(None), 0
    for number in [*numbers, None]:
        if number is not None and number not in found:
            gap.numbers.append(number)
            continue
        stop = len(tokens) if number is None else found[number][0]
        gap.after, gap.tokens = number, tokens[place:stop]
        gaps.append(gap)
        if number is not None:
            gap, place = _Gap(number), found[number][-1] + 1
    return [gap for gap in gaps if gap.numbers or gap.tokens]


def _changes(gap, at, passages, spaced, language):  # at: middle of each word, seconds
    "Make the changes of a gap: one for each passage in it"
    texts: dict[int, list[tuple[bool, str]]] = {}  # by passage: is there a space before it; the text
    for token in gap.tokens:
        own = texts.setdefault(token.owner, [])
        if token.begins or not own:
            own.append((token.after_space, token.text))
        else:
            own[-1] = (own[-1][0], own[-1][1] + token.text)
    if not spaced:
        texts = {i: _phrases_of(own, language) for i, own in texts.items()}
    if not texts:
        return [Change(tuple(gap.numbers), (), (), None, gap.before, gap.after)]
    numbers = _by_passage(gap.numbers, texts, at, passages)
    changes = []
    for i, own in texts.items():
        spaces, words = zip(*own)
        changes.append(Change(tuple(numbers[i]), words, spaces, i, gap.before, gap.after))
    return changes


def _phrases_of(texts, language):
    "Split texts of a script without spaces into phrases"
    parts = []
    for space, text in texts:
        for place, part in enumerate(phrases(text, language)):
            parts.append((space and not place, part))
    return parts


def _by_passage(numbers, texts, at, passages):
    "Share words out to the passages that replace them: one by one, or by the time in which they lie"
    shares: dict[int, list[int]] = {i: [] for i in texts}
    one_by_one = [i for i, own in texts.items() for _ in own]
    if len(one_by_one) == len(numbers):
        for number, i in zip(numbers, one_by_one):
            shares[i].append(number)
        return shares

    def distance(i, time):
        return max(passages[i].start_time - time, time - passages[i].end_time, 0)

    for number in numbers:
        shares[min(texts, key=lambda i: distance(i, at[number]))].append(number)
    return shares
