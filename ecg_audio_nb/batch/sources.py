"""Sources of a batch: which recordings are meant, and what identifies their content

| source | its recordings | its content key |
| --- | --- | --- |
| a file | itself | digest of its bytes, so that a renamed file is the same |
| a folder | the recordings below it, known by name or by content (`media_files`) | as files |
| a pattern (`talks/*.mp4`) | the files that match | as files |
| a list (`.txt`, `.lst`, `.list`) | one source a line, relative to the list; `#`: comment | as its lines |
| `http(s)://` | itself | the URL without its signature |
| `s3://bucket/prefix/` | the recordings below it, known by name alone | the URL and its ETag |
| an `s3://` pattern or object | the objects that match; itself | the URL and its ETag |

Nothing in a folder is skipped in silence, except the results of the same command. `describe_left_out` says in
one line what is no recording, hidden, unfinished or a result of another command. Errors name each folder that
can't be searched and each link that leads nowhere, because recordings may be behind them.

A linked folder is searched once, so loops end. A recording that is in the folder and behind a link is taken
once, without the link. Files come in the order of their names, then those of the subfolders, then what links
lead to.
"""

import glob
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ecg_audio_nb.audio.fetch import read_problem, redact, strip_signature
from ecg_audio_nb.batch.failures import BatchError
from ecg_audio_nb.batch.media_files import (
    NO_RECORDINGS,
    file_ending,
    is_hidden,
    is_media,
    is_media_file,
    is_unfinished,
)
from ecg_audio_nb.batch.queue import Queue, file_digest
from ecg_audio_nb.core.extras import require

__all__ = [
    "LeftOut",
    "Reason",
    "Sources",
    "content_key",
    "describe_left_out",
    "expand",
    "find_sources",
    "is_media",
]

_log = logging.getLogger("ecg_audio_nb")

_LISTS = (".txt", ".lst", ".list")
_BURNT = ".captions.mp4"  # what `ecg captions --burn` writes beside a recording
_MAX_NAMES, _MAX_ENDINGS = 3, 10  # in a message


class Reason(Enum):
    "Why something is left out: a noun in singular and plural, in the order of `describe_left_out`"

    FILE = ("file", "files")  # no recording
    OBJECT = ("object", "objects")  # of S3
    HIDDEN_FILE = ("hidden file", "hidden files")
    HIDDEN_FOLDER = ("hidden folder", "hidden folders")
    UNFINISHED = ("unfinished file", "unfinished files")
    UNREADABLE = ("file that can't be read", "files that can't be read")
    SPECIAL = ("FIFO, socket or device", "FIFOs, sockets or devices")
    CAPTIONED = ("video with burnt-in captions", "videos with burnt-in captions")
    RESULTS = ("folder of results", "folders of results")
    BROKEN = ("broken link", "broken links")
    TAKEN = ("link to a recording that is taken already", "links to recordings that are taken already")
    SEARCHED = ("linked folder that is searched already", "linked folders that are searched already")
    ABOVE = ("linked folder that contains this one", "linked folders that contain this one")


@dataclass(frozen=True)
class LeftOut:
    "Something in a folder, or below an S3 prefix, that is not processed"

    path: str  # absolute path or URL
    reason: Reason


@dataclass(frozen=True)
class Sources:
    "What the sources of a batch name"

    recordings: list[str] = field(default_factory=list)  # absolute paths and URLs, each once, in order
    missing: list[str] = field(default_factory=list)  # a message for each source without any recording
    unreadable: list[str] = field(default_factory=list)  # a message for each folder, list or link
    left_out: list[LeftOut] = field(default_factory=list)


def describe_left_out(
    left_out: Iterable[LeftOut],
) -> str:  # such as "left out: 3 files (.docx 2, .jpg 1); 1 hidden folder"; "" if nothing is left out
    "Say in one line what is not processed"
    paths = {reason: [] for reason in Reason}
    for item in left_out:
        paths[item.reason].append(item.path)
    groups = [_describe_group(reason, paths[reason]) for reason in Reason if paths[reason]]
    return f"left out: {'; '.join(groups)}" if groups else ""


def _describe_group(reason, paths):
    singular, plural = reason.value
    count = f"{len(paths)} {singular if len(paths) == 1 else plural}"
    if reason in (Reason.HIDDEN_FILE, Reason.HIDDEN_FOLDER):
        return count
    has_endings = reason in (Reason.FILE, Reason.OBJECT)
    details = _count_endings(paths) if has_endings else _list_names(paths)
    return f"{count} ({details})"


def _count_endings(paths):
    "Count files by their ending, the most frequent first"
    counts = Counter(_shown_ending(path) for path in paths)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    parts = [f"{ending} {n}" for ending, n in ranked[:_MAX_ENDINGS]]
    if others := sum(n for _, n in ranked[_MAX_ENDINGS:]):
        parts.append(f"others {others}")
    return ", ".join(parts)


def _shown_ending(path):
    "An ending fit for a message; one that is long or has spaces is a part of the name"
    ending = file_ending(path)
    return f".{ending}" if ending.isalnum() and len(ending) <= 10 else "no ending"


def _list_names(paths):
    names = [redact(path.rpartition("/")[2]) for path in paths[:_MAX_NAMES]]
    return ", ".join([*names, "…"] if len(paths) > _MAX_NAMES else names)


def s3_filesystem():  # an `s3fs.S3FileSystem`
    "Open S3 through s3fs; raises `BatchError` if it is not installed"
    return require("s3fs", "cluster", "s3:// URLs need", BatchError).S3FileSystem()


@dataclass(frozen=True)
class _Place:
    "A file, folder or link below a source"

    path: str  # as the source names it
    real: str  # the same file, its folder's path without links


class _Search:
    "Finds recordings in folders; remembers what is taken, and what is left out"

    def __init__(
        self,
        exclude: str | None,  # real path of the results' folder
    ):
        self.exclude = exclude
        self.left_out: dict[str, LeftOut] = {}  # by real path
        self.unreadable: dict[str, str] = {}  # messages by real path
        self._taken: dict[str, str] = {}  # paths of the recordings by real path

    def leave_out(self, place, reason):
        self.left_out.setdefault(place.real, LeftOut(place.path, reason))

    def in_folder(self, path) -> Iterator[str]:
        "Recordings below a folder; raises `OSError` if the folder can't be listed"
        root = _Place(os.path.abspath(path), os.path.realpath(path))
        os.scandir(root.path).close()
        searched, links, files = set(), deque(), []
        yield from self._without_links(root, searched, links)
        while links:  # linked folders add further links
            link = links.popleft()
            target = _Place(link.path, os.path.realpath(link.path))
            if not os.path.exists(target.real):
                self._broken_link(link)
            elif not os.path.isdir(target.real):
                files.append((link, target))
            elif reason := self._why_not_followed(root, link, target, searched):
                self.leave_out(link, reason)
            else:
                yield from self._without_links(target, searched, links)
        for link, target in files:
            yield from self._linked_file(link, target)

    def _without_links(self, root, searched, links):
        "Recordings below a folder; links are added to `links` and not followed"
        folders = [root]
        while folders:
            folder = folders.pop()
            if folder.real in searched:
                continue
            searched.add(folder.real)
            entries = self._list_folder(folder)
            yield from self._regular_files(folder, entries)
            links += [
                _place(folder, entry) for entry in entries if entry.is_symlink() and not is_hidden(entry.name)
            ]
            folders += reversed(list(self._subfolders(folder, entries)))

    def _list_folder(self, folder):
        "The entries of a folder, in order of their names"
        try:
            with os.scandir(folder.path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:  # removed a moment ago
            return []
        except OSError as e:
            self.unreadable[folder.real] = (
                f"{redact(folder.path)}: it can't be searched for recordings ({e.strerror}); "
                "change its permissions, or move it out of the folder"
            )
            return []

    def _regular_files(self, folder, entries):
        "Recordings among the entries of a folder that are no links"
        stems = {entry.name.rpartition(".")[0] for entry in entries if is_media(entry.name)}
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                continue
            file = _place(folder, entry)
            if is_hidden(entry.name):
                self.leave_out(file, Reason.HIDDEN_FILE)
            elif entry.is_symlink():
                continue
            elif entry.name.endswith(_BURNT) and entry.name.removesuffix(_BURNT) in stems:
                self.leave_out(file, Reason.CAPTIONED)
            elif reason := _why_no_recording(file.path, entry.is_file()):
                self.leave_out(file, reason)
            else:
                yield self._taken.setdefault(file.real, file.path)

    def _subfolders(self, folder, entries):
        "Folders to search among the entries of a folder"
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                continue
            subfolder = _place(folder, entry)
            if subfolder.real == self.exclude or (folder.real == self.exclude and _is_of_job(entry)):
                continue
            if is_hidden(entry.name):
                self.leave_out(subfolder, Reason.HIDDEN_FOLDER)
            elif _has_queue(entry.path):
                self.leave_out(subfolder, Reason.RESULTS)
            else:
                yield subfolder

    def _why_not_followed(self, root, link, target, searched):
        "Why a linked folder is not searched; None if it is"
        if target.real in searched:
            return Reason.SEARCHED
        if _contains(target.real, root.real) or _contains(target.real, link.real):
            return Reason.ABOVE
        if (self.exclude and _contains(self.exclude, target.real)) or _has_queue(target.real):
            return Reason.RESULTS
        return None

    def _broken_link(self, link):
        if file_ending(link.path) in NO_RECORDINGS:
            self.leave_out(link, Reason.BROKEN)
            return
        try:
            target = os.readlink(link.path)
        except OSError:  # removed a moment ago
            return
        self.unreadable[link.real] = (
            f"{redact(link.path)}: a link to {redact(target)}, which can't be reached; "
            "restore the target, or remove the link"
        )

    def _linked_file(self, link, target):
        "The recording that a link leads to, if it is one"
        taken = self._taken.get(target.real)
        if taken and taken != link.path:
            self.leave_out(link, Reason.TAKEN)
            yield taken
        elif reason := _why_no_recording(link.path, os.path.isfile(target.real)):
            self.leave_out(link, reason)
        else:
            yield self._taken.setdefault(target.real, link.path)


def _place(folder, entry):
    return _Place(entry.path, os.path.join(folder.real, entry.name))


def _contains(folder, path):
    "Whether a path lies below a folder, or is the folder; both without links"
    return f"{path}{os.sep}".startswith(f"{folder.rstrip(os.sep)}{os.sep}")


def _has_queue(folder):
    "Whether a folder holds the results of a batch"
    return os.path.isfile(os.path.join(folder, ".jobs", "queue.sqlite"))


def _is_of_job(entry):
    "Whether a batch made this subfolder of its results' folder"
    notebook = os.path.join(entry.path, f"{entry.name}.ipynb")
    return is_hidden(entry.name) or os.path.isfile(notebook)


def _why_no_recording(path, regular):
    "Why a file that is not hidden is left out; None if it is a recording"
    if is_unfinished(path):
        return Reason.UNFINISHED
    if not regular:  # what is called a recording becomes an error when it is read
        return None if is_media(path) else Reason.SPECIAL
    try:
        return None if is_media_file(path) else Reason.FILE
    except OSError:
        return Reason.UNREADABLE


def _in_list(path, search):
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        source = line.strip()
        if not source or source.startswith("#"):
            continue
        if "://" not in source:
            source = os.path.join(os.path.dirname(path), source)
        yield from _recordings(source, search)


def _in_s3(url, search):
    "The recordings below a prefix that ends in a slash; the objects of a pattern; else the object itself"
    fs = s3_filesystem()
    fs.invalidate_cache()  # without it, listings and ETags are those of an earlier call
    if glob.has_magic(url):
        yield from (f"s3://{name}" for name in sorted(fs.glob(url)))
    elif url.endswith("/"):
        yield from _below_prefix([f"s3://{name}" for name in sorted(fs.find(url))], search)
    else:
        yield url


def _below_prefix(urls, search):
    "The recordings among objects, by their names; to open one costs a request"
    for url in urls:
        if is_media(url):
            yield url
        elif is_hidden(url):
            search.leave_out(_Place(url, url), Reason.HIDDEN_FILE)
        else:
            search.leave_out(_Place(url, url), Reason.UNFINISHED if is_unfinished(url) else Reason.OBJECT)


def _recordings(source, search) -> Iterator[str]:
    "The recordings of one source"
    if source.startswith("s3://"):
        yield from _in_s3(source, search)
    elif "://" in source:
        yield source
    elif os.path.isdir(source):
        yield from search.in_folder(source)
    elif source.lower().endswith(_LISTS) and os.path.isfile(source):
        yield from _in_list(source, search)
    elif glob.has_magic(source) and not os.path.exists(source):
        yield from sorted(glob.glob(source, recursive=True))
    else:
        yield source


def find_sources(
    sources: Iterable[str],  # as a person writes them
    exclude: str | os.PathLike | None = None,  # a folder that is not searched, such as that of the results
) -> Sources:
    "Find all recordings that the sources name, and say what is left out"
    search = _Search(os.path.realpath(exclude) if exclude else None)
    recordings, missing, unreadable = {}, [], []
    for source in sources:
        try:
            names = [s if "://" in s else os.path.abspath(s) for s in _recordings(source, search)]
        except (OSError, UnicodeDecodeError) as e:
            unreadable.append(f"{redact(source)}: it can't be searched for recordings ({e}); check the path")
            continue
        if not names:
            missing.append(f"{redact(source)}: no recording found; check the spelling, or name the files")
        recordings |= dict.fromkeys(names)
    left_out = [item for item in search.left_out.values() if item.path not in recordings]
    return Sources(list(recordings), missing, unreadable + list(search.unreadable.values()), left_out)


def expand(
    sources: Iterable[str],  # as a person writes them
    exclude: str | os.PathLike | None = None,  # a folder that is not searched, such as that of the results
    log: Callable[[str], None] = _log.warning,  # called with one line if something is left out
) -> tuple[
    list[str], list[str]
]:  # absolute paths and URLs, each once, in order; a message for each source, folder and link without any
    "Find all recordings that the sources name"
    listing = find_sources(sources, exclude)
    if line := describe_left_out(listing.left_out):
        log(line)
    return listing.recordings, listing.missing + listing.unreadable


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
