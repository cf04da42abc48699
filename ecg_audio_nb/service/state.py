"""The state of a service: its folder, its queue, its limits, and the parts that its threads share

Everything that must last lies in `ECG_DATA_DIR/service`, a folder as `ecg batch` makes it: `ecg jobs` and
`ecg callbacks` work on it with `-o`.

| in the folder | what it is |
| --- | --- |
| `.jobs/queue.sqlite` | the queue and the outbox of callbacks |
| `results/HASH.json` | a result, under the SHA-256 of its job's id |
| `uploads/` | uploaded files, until their jobs have ended |
| `tmp/` | temporary files; emptied at each start |
| `checkpoints/` | what stages made, at most `runtime.checkpoints_max_mb`, no longer than `server.keep_days` |
| `lock` | held by the one process that serves from this folder |
"""

import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from ecg_audio_nb.audio.fetch import FetchError, check_callback
from ecg_audio_nb.batch.queue import Job, LEASE, Queue, get, list_jobs, prune
from ecg_audio_nb.checkpoints import Checkpoints, entries
from ecg_audio_nb.service.limits import RateLimit
from ecg_audio_nb.service.models import short_callback
from ecg_audio_nb.service.problems import redact_text
from ecg_audio_nb.service.settings import ServerSettings, server_settings
from ecg_audio_nb.service.webhooks import CallbackError, Deliverer, Delivery, Message, callback_url, prepare
from ecg_audio_nb.service.webhooks import prune as prune_messages
from ecg_audio_nb.settings import Settings


class ServerError(ValueError):
    "The service can't start; the message says why, and the way out"


class Service:
    "What a service holds: folders, queue, limits, and what its worker and deliverer share with the routes"

    def __init__(
        self,
        settings: Settings,  # how recordings are analyzed; all folders lie in `runtime.data_dir`
        limits: ServerSettings | None = None,  # None: of the environment
        backend: str | None = None,  # `ECG_BACKEND_URL`: notified of jobs that name no backend
        secret: str | None = None,  # `ECG_WEBHOOK_SECRET`: signs callbacks
        delivery: Delivery = Delivery(),
        lease: float = LEASE,  # seconds
        is_runner: bool = False,  # True: a process of `gpu_runners`, with the settings of its service
    ):
        self.limits, self.lease = limits or server_settings(), lease
        self.backend_url = _own_backend(backend)
        folder = Path(os.path.abspath(settings.runtime.data_dir))
        self.is_runner, self.root = is_runner, folder if is_runner else folder / "service"
        self.results, self.uploads, self.tmp = self.root / "results", self.root / "uploads", self.root / "tmp"
        self.settings = settings if is_runner else restrict(settings, self)
        self._lock_file = None if is_runner else _lock(self)
        self.queue = Queue(self.root / ".jobs/queue.sqlite")
        prepare(self.queue)
        self.runners = 1  # how many jobs are worked on at a time; see `gpu_runners`
        self.stopping = threading.Event()  # no more work is taken
        self.job_added = threading.Event()  # the worker looks at the queue now
        self.submit_lock = threading.Lock()
        self.attach_lock = threading.Lock()
        self.started = time.time()  # settings are the same since then
        self.worker: threading.Thread | None = None
        self.current_job: Job | None = None  # the worker's
        self.models_loaded: bool | None = None  # None: not tried yet
        self.languages: frozenset[str] | None = None  # codes that the recognizer knows; None: not known
        self.stage_seconds: dict[str, tuple[float, int]] = {}  # by stage: seconds in all, how many runs
        self.upload_limit = RateLimit(self.limits.upload_mb_per_hour * 1e6, 3600)  # bytes
        self.root_path = self.limits.root_path or urlsplit(self.limits.public_url).path
        self.deliverer = Deliverer(
            self.queue,
            replace(
                delivery,
                compress=self.limits.callback_gzip,
                max_bytes=1000 * self.limits.max_callback_kb or delivery.max_bytes,
            ),
            secret,
            check=lambda url: check_backend(self, url),
            shorten=lambda message: shorten(self, message),
            headers=lambda message: trace_headers(self, message),
        )

    def job(self, job_id: str) -> Job | None:
        "Return a job as it stands in the queue"
        return get(self.queue, job_id)

    def result_url(self, job_id: str) -> str:
        "Return where a backend reads a result in the shape of its messages; a path without `public_url`"
        job = self.job(job_id)
        prefix = job.task.get("prefix", "") if job else ""
        return f"{self.limits.public_url or prefix}/jobs/{job_id}/result?shape=backend"

    def result_path(self, job_id: str) -> Path:
        "Return where a job's result is, or will be"
        return self.results / f"{hashlib.sha256(job_id.encode()).hexdigest()}.json"

    def close(self) -> None:
        "Release the folder and this thread's connection to the queue"
        self.queue.close()
        if self._lock_file:
            self._lock_file.close()


def _own_backend(base: str | None) -> str | None:
    "Return the URL of the operator's backend; raises `ServerError`"
    if not base:
        return None
    try:
        return callback_url(base)
    except CallbackError as e:
        raise ServerError(f"ECG_BACKEND_URL: {e}") from None


def _lock(service: Service):
    "Make the folders, readable for this user only, and lock them; raises `ServerError`"
    try:
        for folder in (service.root, service.results, service.uploads, service.tmp):
            folder.mkdir(0o700, parents=True, exist_ok=True)
        file = open(service.root / "lock", "w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    except BlockingIOError:
        raise ServerError(
            f"{service.root}: another service works here; stop it, or set ECG_DATA_DIR"
        ) from None
    except OSError as e:
        raise ServerError(
            f"{service.root}: no service can be kept here ({e.strerror}); set ECG_DATA_DIR"
        ) from None


def restrict(settings: Settings, service: Service) -> Settings:
    "Adapt settings to strangers' sources: uploads are readable, temporary files and checkpoints in one place"
    fetch = settings.fetch.model_copy(
        update={
            "media_roots": (*settings.fetch.media_roots, str(service.uploads)),
            "public_only": not service.limits.allow_private,
        }
    )
    has_checkpoints = settings.runtime.checkpoints is not False  # a job that was killed goes on from them
    runtime = settings.runtime.model_copy(
        update={"data_dir": service.root, "checkpoints": has_checkpoints}
    )
    return settings.model_copy(update={"fetch": fetch, "runtime": runtime})


def check_backend(service: Service, url: str) -> tuple[list[str], int, str] | None:
    """Refuse a URL that the settings do not allow: raises `ValueError`, or `OSError` if it is not known now.

    Returns addresses, port and host of `check_callback`: a callback goes to one of these addresses, whatever
    a name server says later. None for the operator's own backend, and under `server.allow_private`: they may
    be called wherever they are, as those of `fetch.callback_hosts`."""
    if url == service.backend_url or service.limits.allow_private:
        return None
    try:
        return check_callback(url, service.settings.fetch)
    except FetchError as e:
        if "the network" in str(e):  # the name can't be resolved now
            raise OSError(redact_text(str(e))) from None
        raise


def shorten(service: Service, message: Message) -> str | None:
    "Return a message with its result's URL in the result's place; None if there is no result in it"
    short = short_callback(
        json.loads(message.body), service.result_url(message.job), service.limits.language
    )
    return json.dumps(short, ensure_ascii=False) if short else None


def trace_headers(service: Service, message: Message) -> dict[str, str]:
    "Return the `traceparent` of the request that asked for a message's job"
    job = service.job(message.job)
    trace = job.task.get("trace") if job else None
    return {"traceparent": trace} if trace else {}


def clean_up(
    service: Service,
    at_start: bool = True,  # False: jobs may run in other processes, so temporary files stay
) -> None:
    "Delete what a killed service left, and what is older than `server.keep_days`"
    queue, before = service.queue, time.time() - 86400 * service.limits.keep_days
    for path in service.tmp.iterdir() if at_start else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    prune(queue, before)
    prune_messages(queue, before)
    _delete_orphans(service)
    _delete_old_checkpoints(service, before)


def _delete_old_checkpoints(service: Service, before: float) -> None:
    "Delete checkpoints that nobody has used since a time: they hold what people said, as results do"
    folder = service.root / "checkpoints"
    for used, _, path in entries(Checkpoints(folder)):
        if used < before:
            with suppress(OSError):
                path.unlink()


def _delete_orphans(service: Service) -> None:
    "Delete uploads without an open job, and results without a finished one"
    open_uploads = {job.task.get("upload") for job in list_jobs(service.queue, "queued", "running")}
    for folder in service.uploads.iterdir():
        if folder.name not in open_uploads:
            shutil.rmtree(folder, ignore_errors=True)
    results = {service.result_path(job.id).name for job in list_jobs(service.queue, "done")}
    for path in service.results.iterdir():
        if path.name not in results:
            path.unlink(missing_ok=True)
