"""Text as its readers see it: characters, columns, phrases, and where a line may end

Follows Unicode: grapheme clusters (UAX #29), line breaks (UAX #14), width (UAX #11); phrases of Japanese, Chinese
and Thai come from BudouX.
"""

import re
import unicodedata
from functools import lru_cache

BIDI_OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

_NONCHARACTERS = re.compile(  # no text has them; FFmpeg refuses a file with U+FFFE
    "[\ufdd0-\ufdef" + "".join(chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000)) + "]"
)


def clean_text(text: str) -> str:
    "Normalize a text to NFC without control characters, noncharacters and bidi overrides; joiners stay: they spell"
    kept = (c for c in text if c in "\t\n" or not (unicodedata.category(c) == "Cc" or c in BIDI_OVERRIDES))
    return unicodedata.normalize("NFC", _NONCHARACTERS.sub("", "".join(kept)))


def one_line(text: str | None) -> str:
    "Clean a text and put it on one line: white space becomes single spaces, no-break spaces stay"
    spaced = re.sub(r"[^\S\u00a0\u2007\u202f]+", " ", text or "")  # before control characters go
    return re.sub(" +", " ", clean_text(spaced)).strip(" ")


def xml_text(text: str) -> str:
    "Clean a text for XML 1.0; a lone surrogate, for which it has no place, becomes `?`"
    return clean_text(text).encode("utf-8", "replace").decode()


def graphemes(text: str) -> list[str]:
    "Split a text into what readers see as characters (UAX #29)"
    if text.isascii():
        return list(text)
    from uniseg.graphemecluster import grapheme_clusters

    return list(grapheme_clusters(text))


@lru_cache(4096)
def display_width(text: str) -> int:
    "Measure a text's width on the screen in columns; a Chinese, Japanese or Korean character or emoji takes two"
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in graphemes(text))


def _character_width(character: str) -> int:
    wide = any(unicodedata.east_asian_width(c) in "WF" for c in character) or "\ufe0f" in character
    if wide:
        return 2
    return 0 if all(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in character) else 1


@lru_cache
def _phrase_parser(language):
    import budoux

    load = {
        "ja": budoux.load_default_japanese_parser,
        "zh": budoux.load_default_simplified_chinese_parser,
        "yue": budoux.load_default_traditional_chinese_parser,
        "th": budoux.load_default_thai_parser,
    }.get(language)
    return load and load()


def phrases(text: str, language: str | None) -> list[str]:
    "Split a text of Japanese, Chinese or Thai into phrases that a line should not cut; else the text is one"
    parser = _phrase_parser(language)
    return parser.parse(text) if parser and text else [text] * bool(text)


def line_breaks(text: str, language: str | None) -> list[int]:
    "Find the positions at which a line may end, the text's end included: UAX #14, and only between phrases"
    from uniseg.linebreak import line_break_boundaries

    allowed = [position for position in line_break_boundaries(text) if position]
    parts = phrases(text, language)
    if len(parts) < 2:
        return allowed
    ends, position = set(), 0
    for part in parts:
        position += len(part)
        ends.add(position)
    spaces = {position for position in allowed if text[position - 1].isspace()}
    return [position for position in allowed if position in ends or position in spaces]
