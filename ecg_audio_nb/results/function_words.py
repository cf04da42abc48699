"""Words that a line should not be cut beside: articles, prepositions, units, conjunctions, by language

The table is `assets/function_words.toml`; a language that it does not hold has none.
"""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True)
class FunctionWords:
    "The words of one language that keep to a neighbour, in lower case"

    opens: frozenset[str] = frozenset()  # belongs to the word after it: an article, a preposition
    closes: frozenset[str] = frozenset()  # belongs to the word before it: a unit, a postposition
    joins: frozenset[str] = frozenset()  # begins a clause: a conjunction


@lru_cache
def _table() -> dict:
    path = files("ecg_audio_nb") / "assets/function_words.toml"
    return tomllib.loads(path.read_text("utf-8"))


@lru_cache
def function_words(
    language: str | None,  # Whisper's code
) -> FunctionWords:
    "Return the words of a language that keep to a neighbour; none for a language that is not known"
    lists = _table().get(language, {})
    return FunctionWords(**{kind: frozenset(words.split()) for kind, words in lists.items()})


MARKS = "\"'“”‘’«»()[]¿¡,;:!?"


def bare_word(text: str) -> str:
    "Return a word in lower case without the marks around it; a dot stays, which tells an abbreviation"
    return text.strip().strip(MARKS).casefold().replace("’", "'")
