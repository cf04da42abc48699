"""What an edited file says otherwise than a result, collected word by word and applied to a draft

`edited_tiers` and `edited_cues` find out what a person changed. Here it becomes a draft: words that were
not touched stay the very same records, with their times, confidence and measures; turns follow the words
that were given to another speaker.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ecg_audio_nb.core.text import one_line
from ecg_audio_nb.results.corrections import (
    CorrectionError,
    Draft,
    draft_of,
    give_word,
    middle_in,
    outside,
    split_text,
    with_turns,
    with_words,
)
from ecg_audio_nb.results.tiers import tier_name
from ecg_audio_nb.schema import Analysis, Turn, Word


@dataclass(frozen=True)
class Names:
    "How the speakers of a result are called in its files"

    ids: dict[str, str | None]  # by the name in files
    names: dict[str | None, str]  # by id

    def known(self, name: str) -> bool:
        return name.casefold() in {known.casefold() for known in self.ids}

    def id_of(self, name: str | None) -> str | None:  # a name that nobody has is a new speaker's id
        "Return the speaker of a name in a file"
        if name is None:
            return None
        by_case = {known.casefold(): speaker for known, speaker in self.ids.items()}
        plain = one_line(name)
        return by_case[plain.casefold()] if plain.casefold() in by_case else plain


def names_of(analysis: Analysis, named: Analysis) -> Names:  # named: the same with its speakers' names
    "List the names of a result's speakers"
    before = (*analysis.speakers, *analysis.segments, *analysis.turns)
    after = (*named.speakers, *named.segments, *named.turns)
    names = {old.speaker_id: tier_name(new.speaker_id) for old, new in zip(before, after)}
    ids = {tier_name(old): old for old in names} | {name: old for old, name in names.items()}
    return Names({**ids, tier_name(None): None}, names)


def draft_with_speakers(analysis: Analysis) -> Draft:
    "Make a draft in which a word without a speaker has that of its segment"
    words = [
        w if w.speaker_id is not None else replace(w, speaker_id=s.speaker_id)
        for s in analysis.segments
        for w in s.words
        if w.kind == "word"
    ]
    return replace(draft_of(analysis), words=tuple(words))


@dataclass
class Edits:
    "The changes of an edited file"

    words: dict[int, tuple[Word, ...]] = field(default_factory=dict)  # what replaces a word, by its number
    added: list[Word] = field(default_factory=list)
    turns: dict[str | None, list[Turn]] = field(default_factory=dict)  # all turns of a speaker, by speaker
    notes: list[str] = field(default_factory=list)
    spaced: bool = True  # words are separated by spaces
    n_changed: int = 0  # words with another text or other times
    n_added: int = 0
    n_removed: int = 0

    def replace(self, numbers: Sequence[int], words: Sequence[Word]) -> None:
        "Put words in the place of others"
        for number in numbers:
            self.words[number] = ()
        self.words[numbers[0]] = tuple(words)
        self.n_changed += min(len(numbers), len(words))
        self.n_added += max(0, len(words) - len(numbers))
        self.n_removed += max(0, len(numbers) - len(words))

    def add(self, words: Iterable[Word]) -> None:
        "Add words that the result has not"
        words = list(words)
        self.added += words
        self.n_added += len(words)

    def give(self, number: int, word: Word, speaker: str | None) -> None:  # word: as it is in the result
        "Give a word, and what replaces it, to a speaker"
        self.words[number] = tuple(give_word(w, speaker) for w in self.words.get(number, (word,)))

    def note(self, text: str) -> None:
        "Say what was not read, once"
        if text not in self.notes:
            self.notes.append(text)

    @property
    def found(self) -> bool:
        return bool(self.words or self.added or self.turns)

    def summary(self, draft: Draft) -> str:
        "Say what was changed, for a person"
        given = sum(
            new[0].speaker_id != draft.words[number].speaker_id for number, new in self.words.items() if new
        )
        counts = {
            "changed": self.n_changed,
            "added": self.n_added,
            "removed": self.n_removed,
            "given to another speaker": given,
        }
        parts = [f"{n} word{'s' if n > 1 else ''} {what}" for what, n in counts.items() if n]
        if self.turns:
            parts.append(f"turns of {', '.join(map(tier_name, self.turns))} changed")
        return ", ".join(parts) or "no corrections"


def replace_text(word: Word, text: str) -> list[Word]:
    "Replace a word's text at its place; several words divide its time"
    return split_text(text, replace(word, confidence=None)) if text != word.word else [word]


def move_word(word: Word, start: float, end: float) -> Word:  # seconds
    "Give a word the times that a person measured"
    start, end = round(start, 3), round(end, 3)
    if (start, end) == (word.start_time, word.end_time):
        return word
    return replace(word, start_time=start, end_time=end, timing="measured")


def apply_edits(draft: Draft, edits: Edits) -> Draft:
    "Apply edits to the draft of the result that they were found against; raises `CorrectionError`"
    if not edits.found:
        return draft
    new = [w for words in (*edits.words.values(), edits.added) for w in words]
    for word in new:
        if not 0 <= word.start_time <= word.end_time <= draft.duration:
            times = f"{word.start_time:g} to {word.end_time:g} s"
            raise CorrectionError(
                f"{word.word!r} at {times}: words lie between 0 and {draft.duration:g} s, the recording's end"
            )
    words = [w for number, old in enumerate(draft.words) for w in edits.words.get(number, (old,))]
    turns = _turns_of_words(draft, edits)
    if edits.turns:
        others = [t for t in turns if t.speaker_id not in edits.turns]
        turns = [*others, *(t for own in edits.turns.values() for t in own)]
    result = with_words(draft, [*words, *edits.added])
    return result if turns == list(draft.turns) else with_turns(result, turns)


def _turns_of_words(draft, edits):
    "Return the turns as the words need them: given ones change hands, new ones are covered"
    given = {}  # number of the word -> its new speaker
    for number, new in edits.words.items():
        if new and new[0].speaker_id != draft.words[number].speaker_id:
            given[number] = new[0].speaker_id
    turns = _give_turns(draft, given)
    for word in [w for words in (*edits.words.values(), edits.added) for w in words]:
        own = [t for t in turns if t.speaker_id == word.speaker_id]
        covered = any(middle_in(word, t.start_time, t.end_time) for t in own)
        if word.speaker_id is not None and word.end_time > word.start_time and not covered:
            turns.append(Turn(word.start_time, word.end_time, word.speaker_id))
    return turns


def _give_turns(draft, given):
    "Give turns to the new speakers of their words; a turn of which all words change hands goes as a whole"
    if not given:
        return list(draft.turns)
    everything = _given_speakers(draft, given)
    turns = []
    for turn in draft.turns:
        inside = [
            number
            for number, word in enumerate(draft.words)
            if word.speaker_id == turn.speaker_id and middle_in(word, turn.start_time, turn.end_time)
        ]
        receivers = {given.get(number) for number in inside} or {everything.get(turn.speaker_id)}
        if len(receivers) == 1 and None not in receivers:
            turns.append(replace(turn, speaker_id=receivers.pop(), speaker_confidence=None))
        else:
            turns += _divide_turn(draft, turn, inside, given)
    return turns


def _given_speakers(draft, given):
    "Find the speakers all of whose words go to one other speaker: they were renamed"
    receivers = {}
    for number, word in enumerate(draft.words):
        receivers.setdefault(word.speaker_id, set()).add(given.get(number))
    return {old: new.pop() for old, new in receivers.items() if len(new) == 1 and None not in new}


def _divide_turn(draft, turn, inside, given):
    "Cut the given words out of a turn, neighbours together; they are covered afterwards"
    parts, run = [turn], []
    for number in [*inside, None]:
        if run and (number is None or given.get(number) != given.get(run[-1])):
            if given.get(run[0]) is not None:
                start, end = draft.words[run[0]].start_time, draft.words[run[-1]].end_time
                parts = [part for whole in parts for part in outside(whole, start, end)]
                parts.append(Turn(start, end, given[run[0]]))
            run = []
        run.append(number)
    return parts
