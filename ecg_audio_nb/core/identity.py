"""Which recording a file belongs to: a recording is its content (SHA-256), never its file name

Recorders call every file `ZOOM0001` or `REC001`. So results and references carry the digest of the recording
that they are about, and whoever writes under a name asks `own_stem` whether another recording has it.

| file | where its digest stands |
| --- | --- |
| a result, `.json` | `metadata.source_sha256` |
| `.stm`, `.ctm`, `.rttm` | a comment: `;; source_sha256 HEX` |
| any other, such as `.txt` | `NAME.sha256` beside it, as `sha256sum REC.wav > NAME.sha256` writes it |

A file without a digest of its own has that of the files beside it with the same name.
"""

import os
import re
import unicodedata
from contextlib import suppress
from pathlib import Path

__all__ = ["digest_comment", "files_named", "folded", "own_stem", "owners_of", "recorded_digest"]

DIGITS = 8  # of a digest in a file's name, as the batch has them
SIDECAR = ".sha256"
_COMMENT = re.compile(rb"^;;[ \t]*source_sha256[ \t:=]+([0-9a-f]{64})\s*$", re.I | re.M)
_KEY = re.compile(rb'"source_sha256"\s*:\s*"([0-9a-f]{64})"')
_SUM = re.compile(rb"^\\?([0-9a-f]{64})(?:[ \t]|$)", re.I | re.M)
_PATTERNS = {".json": _KEY, SIDECAR: _SUM, ".stm": _COMMENT, ".ctm": _COMMENT, ".rttm": _COMMENT}


def digest_comment(sha256: str) -> str:
    "A comment for NIST's formats that names the recording"
    return f";; source_sha256 {sha256}\n"


def folded(name: str) -> str:
    "A name without what differs between file systems: Unicode's form and capitals"
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def recorded_digest(path: str | os.PathLike) -> str | None:
    "Return the SHA-256 of the recording that a file names in itself; None: none, or several"
    pattern = _PATTERNS.get(Path(path).suffix.lower())
    if pattern is None:
        return None
    try:
        found = {match.lower() for match in pattern.findall(Path(path).read_bytes())}
    except OSError:
        return None
    return found.pop().decode() if len(found) == 1 else None


def _entries(folder):
    with suppress(OSError):
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    return []


def files_named(folder: str | os.PathLike, stem: str) -> list[Path]:
    "List the files `STEM.*` of a folder, in whatever form of Unicode and capitals"
    begin = folded(stem) + "."
    names = [name for name in _entries(folder) if folded(name).startswith(begin)]
    return [path for path in (Path(folder, name) for name in names) if path.is_file()]


def owners_of(folder: str | os.PathLike, stem: str) -> set[str]:
    "Return the digests that the files `STEM.*` of a folder name"
    whole = [path for path in files_named(folder, stem) if folded(path.stem) == folded(stem)]
    return {digest for path in whole if (digest := recorded_digest(path))}


def own_stem(
    folder: str | os.PathLike,
    stem: str,  # of the recording's name
    sha256: str | None,  # of the recording; None: unknown, so the name is all there is
    proposed: str | None = None,  # name to take where the recording has none yet; None: `stem`
    taken: frozenset[str] | set[str] = frozenset(),  # names that are not to be used, folded
) -> str:
    """Choose the name of a recording's files: the one that it has already, or one that no other recording has.

    A name that another recording has gets the first digits of the digest appended, as in a batch."""
    proposed = proposed or stem
    if sha256 is None:
        return proposed
    hashed = f"{stem}-{sha256[:DIGITS]}"
    for name in dict.fromkeys([stem, hashed, *_numbered(folder, stem)]):
        if folded(name) not in taken and owners_of(folder, name) == {sha256}:
            return name
    if folded(proposed) not in taken and owners_of(folder, proposed) <= {sha256}:
        return proposed
    return hashed if owners_of(folder, hashed) <= {sha256} else f"{stem}-{sha256}"


def _numbered(folder, stem):
    "The names `STEM-2`, `STEM-3`, … of one command that are there"
    pattern = re.compile(re.escape(folded(stem)) + r"-\d+")
    stems = [Path(name).stem for name in _entries(folder)]
    return [name for name in dict.fromkeys(stems) if pattern.fullmatch(folded(name))]
