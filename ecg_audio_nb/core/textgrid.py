"""Read Praat's TextGrid, as a text file or a short text file

Praat itself takes only what stands by itself: quoted strings, numbers and flags. Everything else
(`intervals [1]:`) is a comment. So a label may hold anything.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_QUOTED, _NUMBER = r'"((?:[^"]|"")*)"', r"(?<!\S)(<exists>|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?!\S)"
_VALUE = re.compile(f"{_QUOTED}|{_NUMBER}")
_HEADER_VALUES = 6  # file type, object class, start, end, <exists>, number of tiers


class TextGridError(ValueError):
    "A file is no TextGrid, or is cut off"


@dataclass(frozen=True)
class TextGrid:
    "The interval tiers of a TextGrid; point tiers are left out"

    end_time: float  # seconds
    tiers: dict[str, list[tuple[float, float, str]]]  # by name: start, end and label; without empty intervals


def parse_textgrid(text: str) -> TextGrid:
    "Parse the text of a TextGrid; raises `TextGridError`"
    values = [number or label.replace('""', '"') for label, number in _VALUE.findall(text)]
    try:
        return _parse(values)
    except (IndexError, ValueError):
        raise TextGridError("is no TextGrid as Praat writes it, or is cut off") from None


def read_textgrid(path: str | Path) -> TextGrid:
    "Read a TextGrid in UTF-8 or UTF-16; raises `TextGridError`"
    text = _read_text(path)
    try:
        return parse_textgrid(text)
    except TextGridError as e:
        raise TextGridError(f"{path} {e}") from None


def _read_text(path):
    try:
        raw = Path(path).read_bytes()
    except OSError as e:
        raise TextGridError(f"can't read {path}: {e.strerror}") from None
    try:
        return raw.decode("utf-16" if raw[:2] in (b"\xfe\xff", b"\xff\xfe") else "utf-8-sig")
    except UnicodeDecodeError:
        raise TextGridError(f"{path} is neither UTF-8 nor UTF-16 text; save it again in Praat") from None


def _parse(values):
    "Raises `IndexError` or `ValueError` where the file is cut off"
    if values[1] != "TextGrid":
        raise ValueError
    tiers, position = {}, _HEADER_VALUES
    for _ in range(int(values[5])):
        kind, name, n_items = values[position], values[position + 1], int(values[position + 4])
        position += 5
        size = 3 if kind == "IntervalTier" else 2
        items = [values[i : i + size] for i in range(position, position + size * n_items, size)]
        position += size * n_items
        if kind == "IntervalTier":
            tiers[name] = [(float(start), float(end), text) for start, end, text in items if text.strip()]
    return TextGrid(float(values[3]), tiers)
