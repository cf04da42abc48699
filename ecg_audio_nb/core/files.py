"""Files: written whole or not at all; and which ones are the package's code"""

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


_DEVICES = re.compile(r"^(con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³])(\.|$)", re.I)  # Windows keeps them
_MAX_STEM = 200  # bytes: with a digest and the longest ending it stays below the 255 of a file's name


def safe_name(stem: str) -> str:
    "A file name that is valid on every system and is none of the batch's own"
    name = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", stem).strip(" .")
    name = name.encode("utf-8", "replace")[:150].decode("utf-8", "ignore").rstrip(" .")
    name = _DEVICES.sub(r"\1_\2", name, count=1)
    return f"{name or 'result'}_" if name.lower() in ("", "failed", "index.html") else name


def short_stem(stem: str) -> str:
    "A stem to which every ending can be put; a long one is cut, and ends in digits that tell it apart"
    raw = stem.encode("utf-8", "surrogateescape")
    if len(raw) <= _MAX_STEM:
        return stem
    return f"{raw[:_MAX_STEM].decode('utf-8', 'ignore').rstrip(' .')}-{hashlib.sha256(raw).hexdigest()[:8]}"


class WriteError(OSError):
    "A file can't be written; the message names it, the reason and the way out"


def code_files() -> list[Path]:
    "Every Python module and settings file of the package, subpackages too, in a fixed order"
    code = [p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".ini")]
    return sorted(p for p in code if "assets" not in p.relative_to(PACKAGE).parts)


def resolved(path: str | os.PathLike) -> Path:
    "Return the file that a path or link leads to; raises `OSError` for a folder or a device"
    target = Path(path).resolve()
    try:
        mode = os.stat(target).st_mode  # Path.is_dir() of Python 3.14 says False where a name is too long
    except FileNotFoundError:
        return target
    except NotADirectoryError:
        raise OSError(f"{target.parent} is a file, not a folder") from None
    if stat.S_ISDIR(mode):
        raise OSError("it is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise OSError("it is a device, not a file")
    return target


def _part_of(target: Path, suffix: str = "") -> Path:
    return target.with_name(f".{secrets.token_hex(4)}.part{suffix}")


def write_part(path: str | os.PathLike, data: str | bytes, mode: int = 0o666, sync: bool = True) -> None:
    """Write a new file; text as UTF-8. Raises `OSError`, also where there is one of this name.

    `sync`: return once the disk has the content, so a power failure after a rename leaves no empty file."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
        f.write(data.encode("utf-8", "replace") if isinstance(data, str) else data)
        f.flush()
        if sync:
            os.fsync(f.fileno())


@contextmanager
def atomic_path(path: str | os.PathLike, suffix: str = "", sync: bool = True) -> Iterator[Path]:
    """Give a path to write to; it replaces `path` at the end of the block, or is removed after an error.

    `suffix` is put behind its name, for a writer that goes by it. Raises `OSError`."""
    target = resolved(path)
    part = _part_of(target, suffix)
    try:
        yield part
        if sync:
            with open(part, "rb") as f:
                os.fsync(f.fileno())
        os.replace(part, target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_all(contents: Mapping, mode: int = 0o666, sync: bool = True) -> list[Path]:
    """Write files, by path: all are on the disk before the first replaces another. Missing folders are made.

    Raises `WriteError`, and then leaves existing files as they were."""
    parts, path = [], None
    try:
        for path, data in contents.items():
            target = resolved(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            parts.append((_part_of(target), target, path))
            write_part(parts[-1][0], data, mode, sync)
        for part, target, path in parts:  # noqa: B007 - the message below names it
            os.replace(part, target)
    except (OSError, ValueError) as e:
        raise WriteError(
            f"can't write {path}: {getattr(e, 'strerror', None) or e}. What stood there is untouched; "
            "choose another folder, or make room or leave to write there"
        ) from e
    finally:
        for part, *_ in parts:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    return [Path(p) for p in contents]


def write_atomic(path: str | os.PathLike, data: str | bytes, mode: int = 0o666, sync: bool = True) -> Path:
    "Write one file as `write_all` does; raises `WriteError`"
    return write_all({path: data}, mode, sync)[0]
