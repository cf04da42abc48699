"""Sources of a batch: which recordings are meant, and what identifies their content

| source | its recordings | its content key |
| --- | --- | --- |
| a file | itself | digest of its bytes, so that a renamed file is the same |
| a folder | media files below it, without hidden ones and the results' folder | as files |
| a pattern (`talks/*.mp4`) | the files that match | as files |
| a list (`.txt`, `.lst`, `.list`) | one source a line, relative to the list; `#`: comment | as its lines |
| `http(s)://` | itself | the URL without its signature |
| `s3://bucket/prefix/` | media files below it | the URL and its ETag |
| an `s3://` pattern or object | the objects that match; itself | the URL and its ETag |
"""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ecg_audio_nb.audio.fetch import read_problem, redact, strip_signature
from ecg_audio_nb.batch.failures import BatchError
from ecg_audio_nb.batch.queue import Queue, file_digest
from ecg_audio_nb.core.extras import require

MEDIA = frozenset(
    "3gp aac aif aiff amr avi flac flv m4a m4v mka mkv mov mp3 mp4 mpeg mpg "
    "oga ogg opus ts wav webm wma wmv".split()
)
_LISTS = (".txt", ".lst", ".list")


def is_media(
    name: str,  # of a file or an object, with or without its folder
) -> bool:
    "Whether a name has a media file's extension and is not hidden"
    hidden = name.rpartition("/")[2].startswith(".")
    return not hidden and name.rpartition(".")[2].lower() in MEDIA


def s3_filesystem():  # an `s3fs.S3FileSystem`
    "Open S3 through s3fs; raises `BatchError` if it is not installed"
    return require("s3fs", "cluster", "s3:// URLs need", BatchError).S3FileSystem()


def _in_folder(folder, exclude):
    for parent, folders, names in os.walk(folder):
        visible = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in visible if os.path.realpath(os.path.join(parent, name)) != exclude]
        for name in sorted(names):
            if is_media(name):
                yield os.path.join(parent, name)


def _in_list(path, exclude):
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        source = line.strip()
        if not source or source.startswith("#"):
            continue
        if "://" not in source:
            source = os.path.join(os.path.dirname(path), source)
        yield from _recordings(source, exclude)


def _in_s3(url):
    "The media files below a prefix that ends in a slash; the objects of a pattern; else the object itself"
    fs = s3_filesystem()
    fs.invalidate_cache()  # without it, listings and ETags are those of an earlier call
    if glob.has_magic(url):
        yield from (f"s3://{name}" for name in sorted(fs.glob(url)))
    elif url.endswith("/"):
        yield from (f"s3://{name}" for name in sorted(fs.find(url)) if is_media(name))
    else:
        yield url


def _recordings(source, exclude) -> Iterator[str]:
    "The recordings of one source"
    if source.startswith("s3://"):
        yield from _in_s3(source)
    elif "://" in source:
        yield source
    elif os.path.isdir(source):
        yield from _in_folder(source, exclude)
    elif source.lower().endswith(_LISTS) and os.path.isfile(source):
        yield from _in_list(source, exclude)
    elif glob.has_magic(source) and not os.path.exists(source):
        yield from sorted(glob.glob(source, recursive=True))
    else:
        yield source


def expand(
    sources: Iterable[str],  # as a person writes them
    exclude: str | os.PathLike | None = None,  # a folder that is not searched, such as that of the results
) -> tuple[
    list[str], list[str]
]:  # absolute paths and URLs, each once, in order; a message for each source without any
    "Find all recordings that the sources name"
    excluded = os.path.realpath(exclude) if exclude else None
    recordings, missing = {}, []
    for source in sources:
        try:
            names = [s if "://" in s else os.path.abspath(s) for s in _recordings(source, excluded)]
        except (OSError, UnicodeDecodeError) as e:
            missing.append(f"{redact(source)}: it can't be searched for recordings ({e}); check the path")
            continue
        if not names:
            missing.append(f"{redact(source)}: no recording found; check the spelling, or name the files")
        recordings |= dict.fromkeys(names)
    return list(recordings), missing


def content_key(
    queue: Queue,  # stores the digests of files
    source: str,  # absolute path or URL
) -> str:
    "Identify a source's content; raises `BatchError` for a source that can't be read"
    if source.startswith("s3://"):
        return f"s3:{source}@{_etag(source)}"
    if "://" in source and not source.startswith("file://"):
        return f"url:{strip_signature(source)}"
    printable = source.encode("utf-8", "replace").decode()
    if printable != source:
        raise BatchError(f"{redact(printable)}: its name is not UTF-8; rename it")
    if problem := read_problem(source):
        raise BatchError(f"{redact(source)}: {problem}")
    try:
        return f"sha256:{file_digest(queue, source)}"
    except OSError as e:
        raise BatchError(
            f"{redact(source)}: it can't be read ({e.strerror}); check its permissions"
        ) from None


def _etag(url):
    try:
        return s3_filesystem().info(url)["ETag"].strip('"')
    except (OSError, KeyError) as e:
        raise BatchError(
            f"{redact(url)}: S3 gives no information about it ({type(e).__name__}: {e}); "
            "check the name and the permissions"
        ) from None
