"""Which recording a file belongs to: a recording is its content (SHA-256), never its file name

Recorders call every file `ZOOM0001` or `REC001`. So results and references carry the digest of the recording
that they are about, and whoever writes under a name asks `own_stem` whether another recording has it.

| file | where its digest stands |
| --- | --- |
| a result, `.json` | `metadata.source_sha256` |
| `.stm`, `.ctm`, `.rttm` | a comment: `;; source_sha256 HEX` |
| `.eaf` (ELAN) | a property of the header: `source_sha256` |
| any other, such as `.txt` | `NAME.sha256` beside it, as `sha256sum REC.wav > NAME.sha256` writes it |

A file without a digest of its own has that of the files beside it with the same name. Captions and tables say
nothing of their recording: `remember_owner` notes on this machine whose names a command wrote.
"""

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ecg_audio_nb.core.digests import digest_of
from ecg_audio_nb.core.files import WriteError, write_atomic

__all__ = [
    "digest_about",
    "digest_comment",
    "file_of",
    "files_named",
    "folded",
    "known_owners",
    "lock_names",
    "own_stem",
    "owners_of",
    "recorded_digest",
    "remember_owner",
]

DIGITS = 8  # of a digest in a file's name, as the batch has them
SIDECAR = ".sha256"
_COMMENT = re.compile(rb"^;;[ \t]*source_sha256[ \t:=]+([0-9a-f]{64})\s*$", re.I | re.M)
_KEY = re.compile(rb'"source_sha256"\s*:\s*"([0-9a-f]{64})"')
_SUM = re.compile(rb"^\\?([0-9a-f]{64})(?:[ \t]|$)", re.I | re.M)
_PROPERTY = re.compile(rb'<PROPERTY NAME="source_sha256">\s*([0-9a-f]{64})\s*</PROPERTY>')
_PATTERNS = dict.fromkeys((".stm", ".ctm", ".rttm"), _COMMENT)
_PATTERNS |= {".json": _KEY, ".eaf": _PROPERTY, SIDECAR: _SUM}


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


def owners_of(folder: str | os.PathLike, stem: str, exact: bool = False) -> set[str]:
    "Return the digests that the files `STEM.*` of a folder name; `exact`: of the very name alone"
    form = str if exact else folded
    whole = [path for path in files_named(folder, stem) if form(path.stem) == form(stem)]
    return {digest for path in whole if (digest := recorded_digest(path))}


def digest_about(path: str | os.PathLike) -> str | None:
    "Return the SHA-256 of the recording that a file, or those of its name beside it, are about"
    path = Path(path)
    beside = owners_of(path.parent, path.stem)
    digest = recorded_digest(path) or recorded_digest(path.with_suffix(SIDECAR))
    return digest or (beside.pop() if len(beside) == 1 else None)


def file_of(folder: str | os.PathLike, stem: str, suffix: str, sha256: str | None) -> Path | None:
    """Find `STEM.suffix` of a recording under the name that `own_stem` gives; None: there is none.

    A file that names no digest belongs to its name."""
    name = folded(own_stem(folder, stem, sha256) + suffix)
    files = [path for path in files_named(folder, Path(name).stem) if folded(path.name) == name]
    for path in sorted(files, key=lambda path: path.stem != stem):
        if sha256 is None or recorded_digest(path) in (None, sha256):
            return path
    return None


def own_stem(
    folder: str | os.PathLike,
    stem: str,  # of the recording's name
    sha256: str | None,  # of the recording; None: unknown, so the name is all there is
    proposed: str | None = None,  # name to take where the recording has none yet; None: `stem`
    taken: frozenset[str] | set[str] = frozenset(),  # names that are not to be used, folded
    known: Mapping[str, str] | None = None,  # of `known_owners`, for files that name no digest
) -> str:
    """Choose the name of a recording's files: the one that it has already, or one that no other has.

    A name that another recording has gets the first digits of the digest appended, as in a batch."""
    proposed, known = proposed or stem, known or {}
    if sha256 is None:
        return proposed
    hashed = f"{stem}-{sha256[:DIGITS]}"

    def own(name):
        owners = (_owners(folder, name, known), owners_of(folder, name, exact=True))
        return folded(name) not in taken and {sha256} in owners

    def free(name):
        return folded(name) not in taken and _owners(folder, name, known) <= {sha256}

    before = next((name for name in (stem, hashed) if own(name)), None)
    if before or free(proposed):
        return before or proposed
    numbered = next((name for name in _numbered(folder, stem) if own(name)), None)
    return numbered or (hashed if free(hashed) else f"{stem}-{sha256}")


def _owners(folder, stem, known):
    owners = owners_of(folder, stem)
    if owners or folded(stem) not in known or not files_named(folder, stem):
        return owners
    return {known[folded(stem)]}


def _numbered(folder, stem):
    "The names `STEM-2`, `STEM-3`, … of one command that are there"
    pattern = re.compile(re.escape(folded(stem)) + r"-\d+")
    stems = [name.partition(".")[0] if "." not in stem else Path(name).stem for name in _entries(folder)]
    return [name for name in dict.fromkeys(stems) if pattern.fullmatch(folded(name))]


@contextmanager
def lock_names(data_dir: str | os.PathLike, folder: str | os.PathLike) -> Iterator[None]:
    """Keep other processes of this machine from choosing names in a folder until the block ends

    Whoever chooses a name and writes under it does both in one block. Without a place for the lock, such as a
    data folder that can't be written, nothing is locked."""
    try:
        import fcntl

        path = _register(data_dir, folder).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except (ImportError, OSError):
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _register(data_dir, folder):
    return Path(data_dir, "names", f"{digest_of(os.path.realpath(folder))[:16]}.json")


def known_owners(data_dir: str | os.PathLike, folder: str | os.PathLike) -> dict[str, str]:
    "Return the digests of the recordings whose files were written into a folder, by folded name"
    with suppress(OSError, ValueError):
        known = json.loads(_register(data_dir, folder).read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in known.items()} if isinstance(known, dict) else {}
    return {}


def remember_owner(
    data_dir: str | os.PathLike, folder: str | os.PathLike, stem: str, sha256: str | None
) -> None:
    "Note on this machine that the files `STEM.*` of a folder are about a recording; a failure is no error"
    known = known_owners(data_dir, folder)
    if sha256 is None or known.get(folded(stem)) == sha256:
        return
    with suppress(WriteError):
        write_atomic(_register(data_dir, folder), json.dumps({**known, folded(stem): sha256}), sync=False)
