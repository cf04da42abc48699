"""Rows of an edited text against the words of a result: the same words keep their times

A text has only the time of its cue or segment. New words get a time between their neighbours and are marked
`interpolated`; where there is no room between them, they have no length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ecg_audio_nb.core.text import is_unspaced, one_line
from ecg_audio_nb.results.corrections import Draft, give_word, split_text
from ecg_audio_nb.results.edits import Edits, replace_text
from ecg_audio_nb.results.word_matching import Change, Match, Passage, match_words
from ecg_audio_nb.schema import Word

SECONDS_PER_LETTER = 0.07  # of a new word that stands before or after a long pause


@dataclass(frozen=True)
class Row:
    "What one speaker says in an edited text"

    text: str
    start_time: float  # of the cue or segment, seconds
    end_time: float
    speaker: str | None = None  # None: as it was


def match_rows(
    words: Sequence[tuple[int, Word]],  # of the result, with their numbers, in the order of the text
    rows: Sequence[Row],
    language: str | None,
) -> tuple[list[Match], list[Change]]:
    "Match the words of a result with rows of an edited text"
    passages = [Passage(row.text, row.start_time, row.end_time) for row in rows]
    return match_words(words, passages, not is_unspaced(language), language)


def apply_rows(
    matches: Sequence[Match],  # of `match_rows`
    changes: Sequence[Change],
    rows: Sequence[Row],
    edits: Edits,  # gets what was changed
    draft: Draft,
) -> None:
    "Collect what rows of an edited text changed"
    for match in matches:
        word = draft.words[match.number]
        if match.text != one_line(word.word):
            edits.replace([match.number], replace_text(word, match.text))
        _give(edits, match.number, word, rows[match.passage].speaker)
    row_of = {match.number: match.passage for match in matches}
    for change in changes:
        if not change.texts:
            edits.replace(change.numbers, ())
        elif change.numbers:
            _replace(change, rows[change.passage], edits, draft)
        else:
            _add(change, rows[change.passage], row_of, edits, draft)


def _give(edits, number, word, speaker):
    if speaker is not None and speaker != word.speaker_id:
        edits.give(number, word, speaker)


def _replace(change, row, edits, draft):
    "Replace words: one by one where there are as many, else the time of all is divided"
    words = [draft.words[number] for number in change.numbers]
    if len(words) == len(change.texts):
        for number, word, text in zip(change.numbers, words, change.texts):
            edits.replace([number], replace_text(word, text))
            _give(edits, number, word, row.speaker)
        return
    start, end = min(w.start_time for w in words), max(w.end_time for w in words)
    new = _spread(change, start, end, words[0].speaker_id, edits)
    if len(new) == 1 and len({w.timing for w in words}) == 1:
        new = [replace(new[0], timing=words[0].timing)]
    if row.speaker is not None:
        new = [give_word(w, row.speaker) for w in new]
    edits.replace(change.numbers, new)


def _spread(change, start, end, speaker, edits):
    "Divide a span among new words by their letters"
    template = Word("", start, end, speaker_id=speaker, timing="interpolated")
    words = split_text(" ".join(change.texts), template)
    if edits.spaced or len(words) != len(change.texts):
        return words
    return [replace(word, space_before=space or None) for word, space in zip(words, change.spaces)]


def _add(change, row, row_of, edits, draft):
    "Add words between their neighbours"
    before, after = (None if n is None else draft.words[n] for n in (change.before, change.after))
    same_row = [row_of.get(n) == change.passage for n in (change.before, change.after)]
    needed = sum(map(len, change.texts)) * SECONDS_PER_LETTER
    start, end = _room(before, after or _next_word(draft, before, row), same_row, row, needed)
    beside = [w for w, same in zip((before, after), same_row) if same]
    neighbours = beside or [w for w in (before, after) if w]
    speaker = row.speaker if row.speaker is not None else _speaker_of(draft, neighbours, start, any(same_row))
    end = min(end, draft.duration)
    edits.add(_spread(change, min(start, end), end, speaker, edits))


def _next_word(draft, before, row):
    "Return the first word that begins after another one, or in the row"
    time = row.start_time if before is None else before.end_time
    later = [w for w in draft.words if w.start_time >= time and w is not before]
    return min(later, key=lambda w: w.start_time, default=None)


def _room(before, after, same_row, row, needed):
    "Return the span between two neighbours that new words of a row get, seconds"
    start = 0.0 if before is None else before.end_time
    end = row.end_time if after is None else after.start_time
    if not any(same_row):  # a row of its own: it has the time of its cue, as far as that is free
        start = max(start, row.start_time)
        return start, max(start, min(end, row.end_time))
    end = max(start, end)
    if end - start <= needed:
        return start, end
    return (start, start + needed) if same_row[0] else (end - needed, end)


def _speaker_of(draft, neighbours, time, certain):  # certain: the neighbours stand in the same row
    "Return who says new words: their row's speaker, else who talks at the time"
    if certain and neighbours:
        return neighbours[0].speaker_id
    talking = [t.speaker_id for t in draft.turns if t.start_time <= time < t.end_time]
    return talking[0] if talking else neighbours[0].speaker_id if neighbours else None
