"""Workers: processes that claim jobs, run their notebooks in a warm kernel, and publish the results

A local worker is a process: papermill runs one notebook at a time in a process. For each job it

1. claims it (`queue.claim`) and keeps its lease (`leases.LeaseKeeper`), 2. creates the job's folder
(`stores`) and runs the notebook there (`warm_kernel.run_notebook`), 3. publishes the folder inside the
transaction that finishes the job, or records the failure (`failures`).

| a job ends as | because | its next state |
| --- | --- | --- |
| `done` | the notebook ran and its files were published | `done` |
| `failed` | an error of the user's, or no tries are left | `failed` |
| `again` | an error of the infrastructure or a timeout; tries are left | `queued` |
| `queued`, `cancelled` | the worker was asked to stop; the job was cancelled | `queued`, `cancelled` |
| `cancelled` | its file was replaced by that of another job | `cancelled` |
| `lost` | its lease went to another runner | as that runner decides |

A worker stops at SIGTERM, SIGINT or the end of the process that started it: the current stage ends and the
claim is released. A second signal ends it at once.
"""

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ecg_audio_nb.audio.fetch import redact
from ecg_audio_nb.batch.failures import BatchError, Failure, classify_error
from ecg_audio_nb.batch.leases import LeaseKeeper
from ecg_audio_nb.batch.queue import (
    LEASE,
    Job,
    LeaseLost,
    Queue,
    claim,
    counts,
    exchange,
    fail,
    finish,
    owner_name,
    release,
)
from ecg_audio_nb.batch.spec import BatchSpec, job_of_changed_source, job_parameters, kept_notebook
from ecg_audio_nb.batch.stores import Store, job_files, open_store
from ecg_audio_nb.batch.warm_kernel import close_kernels, run_notebook, warm_up
from ecg_audio_nb.core.system import die_with_parent, visible_gpus
from ecg_audio_nb.settings import load_settings

__all__ = ["LocalWorkers"]

PRELOAD = (  # what our notebooks import
    "import ecg_audio_nb.results.export, ecg_audio_nb.batch.runner, ecg_audio_nb.pipeline, "
    "ecg_audio_nb.results.report"
)
# papermill and jsonschema import these where they are installed; a worker uses none and starts 2 s sooner
_UNUSED = {"boto3", "pyarrow", "rfc3987_syntax"}
_log = logging.getLogger("ecg_audio_nb")

Executor = Callable[[Job, Path, LeaseKeeper], Failure | None]  # runs a job in a folder; None: it went well


def run_locally(
    queue: Queue,
    engine: str | None = "warm",  # papermill's name; None: a new kernel for each job
) -> Executor:
    "Make the executor that runs a job's notebook in this process's kernel"

    def execute(job, folder, keeper):
        task = job.task
        try:
            run_notebook(
                kept_notebook(queue, task["notebook"]),
                folder / f"{job.name}.ipynb",
                task["parameters"],
                engine=engine,
                timeout=task["timeout"],
                stop=keeper.stop,
                env={"ECG_JOB_DIR": str(keeper.folder)},
                cwd=folder,
                seed=task["parameters"].get("seed"),
            )
        except Exception as e:
            return classify_error(e)
        return None

    return execute


def run_job(
    queue: Queue,
    store: Store,
    job: Job,  # as it was claimed
    execute: Executor,
    stopping: threading.Event,  # set when the runner is asked to stop
    lease: float = LEASE,  # seconds
) -> str:  # done, failed, again, queued, cancelled or lost; see the module's table
    "Run a claimed job to its end"
    try:
        job = _as_it_is_now(queue, job)
    except LeaseLost:
        return "lost"
    if job is None:
        return "cancelled"
    with LeaseKeeper(queue, job, stopping, lease) as keeper, ExitStack() as stack:
        folder = None
        try:
            folder = stack.enter_context(store.job_folder(job))
            failure = execute(job, folder, keeper)
            if failure is None:
                store.upload(job, folder)
        except Exception as e:
            failure = classify_error(e)
        try:
            if failure is None:
                failure = _publish(queue, store, job, folder)
            if failure is None:
                return "done"
            return _wait_for_room(lambda: _end_failed(queue, store, job, folder, failure), stopping)
        except LeaseLost:
            return "lost"


def _as_it_is_now(queue, job):
    "The claimed job, under the id of what its source is now; None if that is a job of its own"
    changed = job_of_changed_source(queue, job)
    if changed is None:
        return job
    _log.warning("%s: %s has changed while the job waited", job.name, redact(job.source))
    return exchange(queue, job, changed)


def _publish(queue, store, job, folder):
    "Finish a job; a disk that is full at this moment is a failure like any other"
    try:
        finish(queue, job, lambda db: store.publish(job, folder), summarize_result(folder))
    except (OSError, sqlite3.OperationalError) as e:
        return classify_error(e)
    return None


def _end_failed(queue, store, job, folder, failure):
    "End an attempt that failed or was stopped; returns how the job ended"
    if failure.kind == "stopped":
        return release(queue, job, failure.error)

    def publish(db):
        try:
            store.publish_failed(job, folder)
        except OSError as e:
            _log.warning(
                "the notebook of %s can't be kept: %s", job.name, e
            )  # the failure is recorded all the same

    will_retry = fail(queue, job, failure.kind, failure.error, publish if folder else None)
    return "again" if will_retry else "failed"


def _wait_for_room(act, stopping, pause=2.0):
    "Call a function again until the queue can be written: its disk may be full too"
    while True:
        try:
            return act()
        except sqlite3.OperationalError as e:
            if stopping.is_set():
                raise
            _log.warning("the queue can't be written (%s); waiting for room on its disk", e)
            stopping.wait(pause)


def summarize_result(
    folder: Path,  # a job ran in it
) -> dict:  # files; of an analysis duration (s), total_segments, unique_speakers, warnings
    "Summarize a job's result for lists of jobs"
    summary = {"files": [path.relative_to(folder).as_posix() for path in job_files(folder)]}
    for path in sorted(folder.glob("*.json")):
        try:
            metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
            keys = ("duration", "total_segments", "unique_speakers", "warnings")
            return summary | {key: metadata.get(key) for key in keys}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # another kind of JSON file
    return summary


def work(
    queue: Queue,
    store: Store,
    execute: Executor,
    stopping: threading.Event,  # set to ask for the end
    forever: bool = False,  # wait for more jobs when all are done
    lease: float = LEASE,  # seconds
) -> dict[str, int]:  # number of jobs by how they ended
    "Claim and run jobs until none is left, or until asked to stop"
    ended, owner = {}, owner_name()
    while not stopping.is_set():
        job = _wait_for_room(lambda: claim(queue, owner, lease), stopping)
        if job:
            outcome = run_job(queue, store, job, execute, stopping, lease)
            ended[outcome] = ended.get(outcome, 0) + 1
        elif forever or has_open_jobs(queue):
            stopping.wait(0.25)
        else:
            break
    return ended


def has_open_jobs(queue: Queue) -> bool:
    "Whether a job is queued or running"
    number = counts(queue)
    return number["queued"] + number["running"] > 0


def stop_on_signals(
    stopping: threading.Event,  # set by the first signal
) -> None:
    "Stop gently at the first SIGTERM or SIGINT, and at once at the second"

    def on_signal(number, frame):
        if stopping.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def worker_main() -> None:
    "Run a worker process; its options are JSON in the first argument, written by `LocalWorkers.start`"
    options, stopping = json.loads(sys.argv[1]), threading.Event()
    sys.modules.update(dict.fromkeys(_UNUSED - sys.modules.keys()))
    stop_on_signals(stopping)
    die_with_parent(signal.SIGTERM)
    if options["engine"] == "warm":
        warm_up(PRELOAD)
    queue, store = Queue(options["queue"]), open_store(options["output"], Path(options["data_dir"]))
    try:
        work(
            queue,
            store,
            run_locally(queue, options["engine"]),
            stopping,
            options["forever"],
            options["lease"],
        )
    finally:
        close_kernels()


class LocalWorkers:
    "The worker processes of one batch command; one that dies is started again"

    def __init__(
        self,
        n: int = 1,  # processes
        engine: str | None = "warm",  # papermill's name; None: a new kernel for each job
        lease: float = LEASE,  # seconds
        max_deaths: int = 20,  # in a row without a finished job, then the batch ends with an error
    ):
        self.n, self.engine, self.lease, self.max_deaths = n, engine, lease, max_deaths
        self.processes, self.deaths, self.done = [], 0, 0

    def start(
        self,
        queue: Queue,
        store: Store,
        data_dir: Path,  # `runtime.data_dir`
        forever: bool = False,  # whether they wait for more jobs when all are done
    ) -> None:
        "Start all processes"
        options = {
            "queue": str(queue.path),
            "output": str(store),
            "data_dir": str(data_dir),
            "forever": forever,
            "engine": self.engine,
            "lease": self.lease,
        }
        self.queue, self.options, self.log = queue, json.dumps(options), queue.path.parent / "runners.log"
        self.done = counts(queue)["done"]
        self.processes = [self._start_process(i) for i in range(self.n)]

    def _start_process(self, i):
        code = "from ecg_audio_nb.batch.workers import worker_main; worker_main()"
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-c", code, self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_worker_env(i),
            )

    def poll(self) -> bool:  # False when all have ended
        "Start again the processes that died; raises `BatchError` if they die as soon as they start"
        alive = False
        for i, process in enumerate(self.processes):
            status = process.poll()  # asked once: a process may die at any moment
            if status == 0:
                continue
            alive = True
            if status is not None:
                self._count_death()
                self.processes[i] = self._start_process(i)
        return alive

    def _count_death(self):
        done = counts(self.queue)["done"]
        if done > self.done:
            self.deaths, self.done = 0, done
        self.deaths += 1
        if self.deaths > self.max_deaths:
            raise BatchError(f"workers die as soon as they start; the end of {self.log}:\n{_tail(self.log)}")

    def stop(self) -> None:
        "Ask all processes to stop, and wait until they have"
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            process.wait()


def _worker_env(i):
    "Variables of the worker number i: where `settings.ini` is, and one GPU of several"
    env = {}
    if os.path.exists("settings.ini"):
        env["ECG_SETTINGS"] = os.path.abspath("settings.ini")  # a job runs in another folder
    env |= os.environ
    devices = visible_gpus()
    if len(devices) > 1:
        env["CUDA_VISIBLE_DEVICES"] = devices[i % len(devices)]
    return env


def default_number(
    spec: BatchSpec,
) -> int:
    "Number of worker processes: one for each GPU, or one"
    settings = load_settings(job_parameters(spec).get("overrides"), spec.profile)
    return 1 if settings.runtime.device == "cpu" else max(1, len(visible_gpus()))


def _tail(path, size=1500):
    return path.read_bytes()[-size:].decode("utf-8", "replace").strip()
