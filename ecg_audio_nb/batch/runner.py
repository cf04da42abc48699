"""The batch: sources in, executed notebooks and results out; the same command continues an interrupted one

```
sources ─ expand ─ enqueue ─► queue ─► workers with a warm kernel each ─► DIR/NAME/NAME.ipynb, .json, .srt …
```

| module of `batch` | subject |
| --- | --- |
| `sources`, `media_files` | which recordings are meant, and what identifies their content |
| `spec` | notebook, settings and parameters; jobs made from them |
| `queue`, `leases`, `failures` | states of jobs, leases, kinds of failure; shared with the service |
| `stores` | where results appear |
| `warm_kernel`, `kernel_reset` | notebooks in a kernel that stays |
| `workers`, `dask` | who runs the jobs: processes of this machine, or workers of a Dask cluster |
| `monitor`, `page` | what a person sees |

This module joins them, and gives the names that notebooks and commands use.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from ecg_audio_nb.audio.fetch import redact
from ecg_audio_nb.batch.failures import BatchError
from ecg_audio_nb.batch.leases import job_hook
from ecg_audio_nb.batch.monitor import (
    IndexPage,
    Monitor,
    Snapshot,
    describe_attempt,
    describe_job,
    describe_others,
    describe_stage,
    format_counts,
    format_settings,
)
from ecg_audio_nb.batch.queue import Job, Queue, get, list_jobs, owner_exited, retry
from ecg_audio_nb.batch.sources import (
    content_key,
    describe_left_out,
    expand,
    find_sources,
    is_media,
)
from ecg_audio_nb.batch.spec import (
    BatchSpec,
    check_recognizer_here,
    enqueue,
    job_notebook,
    job_parameters,
    notebook_digest,
    packaged_notebooks,
    parameter_names,
)
from ecg_audio_nb.batch.stores import FolderStore, S3Store, Store, open_store
from ecg_audio_nb.batch.workers import (
    Executor,
    LocalWorkers,
    has_open_jobs,
    run_job,
    run_locally,
    stop_on_signals,
    summarize_result,
    work,
)
from ecg_audio_nb.settings import load_settings

__all__ = [
    "BatchError",
    "BatchSpec",
    "Executor",
    "FolderStore",
    "IndexPage",
    "LocalWorkers",
    "Monitor",
    "S3Store",
    "Snapshot",
    "SourceWatcher",
    "Workers",
    "batch",
    "content_key",
    "describe_attempt",
    "describe_job",
    "describe_left_out",
    "describe_stage",
    "enqueue",
    "expand",
    "find_sources",
    "format_counts",
    "format_settings",
    "is_media",
    "job_hook",
    "job_notebook",
    "job_parameters",
    "notebook_digest",
    "open_store",
    "packaged_notebooks",
    "parameter_names",
    "run_job",
    "run_locally",
    "stop_on_signals",
    "summarize_result",
    "work",
]

_log = logging.getLogger("ecg_audio_nb")


class Workers(Protocol):
    "Who runs the jobs of a batch: `LocalWorkers` or `dask.DaskWorkers`"

    def start(self, queue: Queue, store: Store, data_dir: os.PathLike, forever: bool = False) -> None:
        "Begin to run jobs; raises `BatchError`"

    def poll(self) -> bool:
        "Keep the workers alive; False when all jobs have ended. Raises `BatchError`"

    def stop(self) -> None:
        "Let the current stages end, and release the jobs"


def batch(
    sources: Iterable[str],  # files, folders, patterns, lists, URLs, s3:// prefixes
    output: str | os.PathLike,  # a folder, or s3://bucket/prefix
    spec: BatchSpec,
    workers: Workers | None = None,  # None: one local worker
    watch: bool = False,  # run until stopped, also on files that come into the folders later
    retry_failed: bool = False,  # requeue failed and cancelled jobs
    log: Callable[[str], None] = _log.info,  # called with a line for each job that ended
    on_snapshot: Callable[[Snapshot], None] | None = None,  # called twice a second
    stopping: threading.Event | None = None,  # set it to stop gently
) -> tuple[list[Job], list[str]]:  # this command's jobs as they are at the end; errors of unreadable sources
    """Run the missing jobs and update `index.html`; raises `BatchError`, `QueueError` and `SettingsError`

    Raises `ModelError` and `TranscribeError` for settings that every job would fail with on this machine."""
    data_dir = load_settings(profile=spec.profile).runtime.data_dir
    stopping, workers = stopping or threading.Event(), workers or LocalWorkers()
    if isinstance(workers, LocalWorkers):
        check_recognizer_here(spec)
    store = open_store(output, data_dir)
    queue = Queue(store.queue_file())
    _sweep(queue, store)
    watcher = SourceWatcher(queue, spec, store, sources, retry_failed, log, watch)
    watcher.look()
    monitor, page = Monitor(queue), IndexPage(queue, store)
    report = _Reporter(log, on_snapshot)
    if line := describe_others(queue):
        log(f"note: {line}")
    if watch or has_open_jobs(queue):
        workers.start(queue, store, data_dir, forever=watch)
        try:
            while not stopping.wait(0.5) and workers.poll():
                if watch:
                    watcher.look()
                page.update(report(monitor.snapshot()))
            if stopping.is_set():
                log(
                    "stopping after the current stage; a second Ctrl-C stops at once. "
                    "Run the same command again to continue"
                )
        finally:
            workers.stop()
            report(monitor.snapshot())
            _sweep(queue, store)
    page.write()
    return _as_they_are(queue, watcher.ids), watcher.errors


def _as_they_are(queue, ids):
    "The jobs of these ids; one whose source changed before it ran has another id now"
    jobs = [get(queue, id) for id in ids]
    if None in jobs:
        later = {old: job for job in list_jobs(queue) for old in job.task.get("was", ())}
        jobs = [job or later.get(id) for id, job in zip(ids, jobs)]
    return list({job.id: job for job in jobs if job}.values())


def _sweep(queue, store):
    "Remove what killed runners left"
    store.sweep([job for job in list_jobs(queue, "running") if not owner_exited(job.owner)])


class _Reporter:
    "Logs the attempts that ended, and passes a snapshot on"

    def __init__(self, log, on_snapshot):
        self.log, self.on_snapshot = log, on_snapshot

    def __call__(self, snapshot):
        for attempt in snapshot.ended:
            self.log(f"{describe_attempt(attempt)} [{format_counts(snapshot)}]")
        if self.on_snapshot:
            self.on_snapshot(snapshot)
        return snapshot


class SourceWatcher:
    """Adds the jobs of a command's sources to the queue: once, or again and again for watched folders

    Attributes: `ids` of the command's jobs, in order; `errors`, a message for each unreadable source."""

    def __init__(
        self,
        queue: Queue,
        spec: BatchSpec,
        store: Store,
        sources: Iterable[str],
        retry_failed: bool = False,  # requeue failed and cancelled jobs
        log: Callable[[str], None] = _log.info,  # called with each note and error, once
        watch: bool = False,  # take a file only when it has stopped growing; a missing one is no error
        settle: float = 5.0,  # seconds in which a file must not have changed
    ):
        self.queue, self.spec, self.store, self.sources = queue, spec, store, list(sources)
        self.retry_failed, self.log, self.watch, self.settle = retry_failed, log, watch, settle
        self._ids, self.errors = {}, []
        self._logged, self._left_out = set(), set()
        self._taken = {}  # by source: its version; see `_version`
        self._seen = {}  # by path: its size and time, and since when they have been the same
        self._next_look = 0.0

    @property
    def ids(self) -> list[str]:
        return list(self._ids)

    def look(self) -> None:
        "Add the jobs of new sources; does nothing if the last look was less than two seconds ago"
        if time.monotonic() < self._next_look:
            return
        exclude = self.store.path if isinstance(self.store, FolderStore) else None
        listing = find_sources(self.sources, exclude)
        versions = {source: self._version(source) for source in listing.recordings}
        new = [s for s, version in versions.items() if self._is_new(s, version) and self._ready(s)]
        jobs, notes = enqueue(self.queue, self.spec, new, self.store) if new else ([], [])
        if self.retry_failed:
            retry(self.queue, [job for job in jobs if job.state in ("failed", "cancelled")])
        self._taken |= {source: versions[source] for source in new}
        self._ids |= dict.fromkeys(job.id for job in jobs)
        missing = [] if self.watch else listing.missing
        for note in missing + listing.unreadable + notes:
            self._note(note)
        self._note_left_out(listing.left_out)
        self._next_look = time.monotonic() + min(2.0, self.settle)

    def _note(self, note):
        if note in self._logged:
            return
        self._logged.add(note)
        self.log(note)
        if not note.startswith("note:"):
            self.errors.append(note)

    def _note_left_out(self, left_out):
        "Log in one line what is left out; of a watched folder, what has stopped growing"
        new = [item for item in left_out if item not in self._left_out and self._settled(item.path, False)]
        self._left_out |= set(new)
        if new:
            self._note(f"note: {describe_left_out(new)}")

    def _version(self, source):
        "What tells a recording of a watched folder from a later one under the same name"
        try:
            if self.watch and source.startswith("s3://"):
                return content_key(self.queue, source)
            if not self.watch or "://" in source:
                return None
            status = os.stat(source)
        except (OSError, BatchError):
            return None
        return status.st_size, status.st_mtime_ns, status.st_ino

    def _is_new(self, source, version):
        return source not in self._taken or (version is not None and self._taken[source] != version)

    def _ready(self, source):
        "Whether a file can be processed; an empty one of a watched folder waits for its content"
        if not self._settled(source):
            return False
        if source in self._seen and self._seen[source][0][0] == 0:
            self._note(f"note: {redact(source)}: the file is empty (0 bytes); it waits for its content")
            return False
        return True

    def _settled(self, path, follow_links=True):
        "Whether a file of a watched folder has stopped growing: its size and time stayed the same"
        if not self.watch or "://" in path:
            return True
        try:
            status = os.stat(path, follow_symlinks=follow_links)
        except OSError:
            return False
        now = status.st_size, status.st_mtime_ns
        before, since = self._seen.get(path, (None, 0.0))
        if now != before:
            self._seen[path] = now, time.monotonic()
            return False
        return time.monotonic() - since >= self.settle
