"""Jobs on many machines: workers of a Dask cluster run the notebooks, and the queue stays on the coordinator

The coordinator is the `ecg batch --cluster` command. It claims a job when a worker is free, renews its lease
while the worker runs it, and publishes the result inside the finishing transaction, as for a local worker.
Dask carries the notebook to the worker and the files back; it retries nothing. So a kill costs at most the
running job:

| killed | what follows |
| --- | --- |
| a worker | the job is tried again elsewhere, and the try counts: the job may have killed the worker |
| the scheduler | its jobs are queued again and no try counts; the coordinator connects again |
| the coordinator | run the command again: its claims end at once on this machine, else with their leases |
| the network between them | as a killed worker: Dask gives up the worker, and it joins again later |

A worker is started with Dask's own command, one thread and one `GPU` (or `CPU`) each:

dask worker tcp://scheduler:8786 --nthreads 1 --nworkers 1 --resources "GPU=1" --no-dashboard

It keeps one warm kernel, started when it joins. It shares no disk with the coordinator. A source must be
readable from the worker: `s3://`, `http(s)://`, or a path on a disk that all machines mount.
"""

import secrets
import tempfile
import threading
import time
from asyncio import CancelledError
from concurrent.futures import CancelledError as CancelledFuture
from pathlib import Path

import ecg_audio_nb
from ecg_audio_nb.batch.failures import BatchError, Failure, classify_error
from ecg_audio_nb.batch.leases import STOP, LeaseKeeper, read_stage
from ecg_audio_nb.batch.queue import LEASE, Job, Queue, claim, owner_name
from ecg_audio_nb.batch.spec import kept_notebook
from ecg_audio_nb.batch.stores import Store, job_files
from ecg_audio_nb.batch.warm_kernel import close_kernels, run_notebook, warm_up
from ecg_audio_nb.batch.workers import PRELOAD, has_open_jobs, run_job
from ecg_audio_nb.core.extras import require

__all__ = ["DaskWorkers"]

FETCH_TIMEOUT = 300  # seconds in which the files of a job that ended must arrive
STOP_TIMEOUT = 60  # seconds in which a worker that was told to stop must answer
_STAGES = "ecg-stages"  # Dask's topic for the stages that jobs report
_LOST = (CancelledError, CancelledFuture)  # the scheduler is gone, and its tasks with it
_TLS = "DASK_DISTRIBUTED__COMM__TLS__"
_stops: dict[str, threading.Event] = {}  # of the jobs that run in this process, by task key


def _distributed():
    return require("distributed", "jobs,cluster", "jobs on many machines need")


def package_version() -> str:
    "The package's version on the machine where this is called"
    return ecg_audio_nb.__version__


def _version_error(theirs, ours):
    return f"the worker runs ecg_audio_nb {theirs}, the coordinator {ours}: install the same version on both"


# On a worker


def run_remote(
    key: str,  # of the Dask task, one for each attempt
    name: str,  # of the job
    task: dict,  # of the job
    notebook: bytes,
    version: str,  # of the coordinator's package
) -> dict:  # `failure`: None, or its kind and error; `files`: contents by name
    "Run a job's notebook in this worker's warm kernel"
    if version != ecg_audio_nb.__version__:
        return {"failure": ("infra", _version_error(ecg_audio_nb.__version__, version)), "files": {}}
    stop = _stops.setdefault(key, threading.Event())
    with tempfile.TemporaryDirectory(prefix="ecg-there-", ignore_cleanup_errors=True) as top:
        folder, shared, source = Path(top) / "job", Path(top) / "shared", Path(top) / "notebook.ipynb"
        folder.mkdir()
        shared.mkdir()
        source.write_bytes(notebook)
        failure = None
        with _StageSender(key, shared, stop):
            try:
                run_notebook(
                    source,
                    folder / f"{name}.ipynb",
                    task["parameters"],
                    timeout=task["timeout"],
                    stop=stop,
                    cwd=folder,
                    env={"ECG_JOB_DIR": str(shared)},
                    seed=task["parameters"].get("seed"),
                )
            except Exception as e:
                found = classify_error(e)
                failure = found.kind, found.error
        _stops.pop(key, None)
        contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in job_files(folder)}
        return {"failure": failure, "files": contents}


def stop_remote(
    key: str,  # of a Dask task
) -> None:
    "Ask a job to stop after its current stage; called on every worker, and ignored by those without the job"
    if key in _stops:
        _stops[key].set()


class _StageSender:
    "Sends a job's stage to the coordinator, and passes the request to stop on to the notebook"

    def __init__(
        self,
        key,  # of the Dask task
        folder,  # shared with the notebook
        stop,  # an event, set here too when nobody waits for the job any more
    ):
        self.key, self.folder, self.stop = key, folder, stop
        self.ended = threading.Event()
        self.worker = _distributed().get_worker()

    def __enter__(self):
        self.thread = threading.Thread(target=self._run, daemon=True, name="stages")
        self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def _is_wanted(self):
        "Whether somebody waits for this task; Dask forgets it when the coordinator is gone"
        task = self.worker.state.tasks.get(self.key)
        return task is not None and task.state != "cancelled"

    def _run(self):
        sent = None
        while not self.ended.wait(0.5):
            if not self._is_wanted():
                self.stop.set()
            if self.stop.is_set():
                (self.folder / STOP).touch()
            stage = read_stage(self.folder)
            if stage != sent:
                self.worker.log_event(_STAGES, {"key": self.key, "stage": stage})
                sent = stage


def _kernel_plugin():
    "A plugin for Dask's workers: starts the warm kernel when a worker joins, in the thread that will use it"

    class Warm(_distributed().WorkerPlugin):
        name = "ecg-warm"
        idempotent = True

        def setup(self, worker):
            worker.executors["default"].submit(warm_up, PRELOAD)

        def teardown(self, worker):
            worker.executors["default"].submit(close_kernels).result(10)

    return Warm()


# On the coordinator


class DaskWorkers:
    "The workers of a Dask scheduler; as many jobs are claimed at a time as there are workers"

    def __init__(
        self,
        address: str,  # of the scheduler, tcp:// or tls://
        lease: float = LEASE,  # seconds
        connect_timeout: float = 10,  # seconds to wait for the scheduler's first answer
    ):
        self.address, self.lease, self.connect_timeout = address, lease, connect_timeout
        self.client, self.error = None, None
        self.stopping = threading.Event()
        self.keepers = {}  # of running jobs, by task key
        self._threads = {}  # of running jobs, by job id
        self._dispatcher = None

    def start(self, queue: Queue, store: Store, data_dir: Path, forever: bool = False) -> None:
        "Connect, and begin to hand out jobs; raises `BatchError`"
        self.queue, self.store, self.forever = queue, store, forever
        if self.address.startswith("tls://") and not _distributed().Security().tls_client_cert:
            names = f"{_TLS}CA_FILE, {_TLS}CLIENT__CERT and {_TLS}CLIENT__KEY"
            raise BatchError(f"{self.address}: a tls:// address needs certificates; set {names}")
        try:
            self._connect()
        except (OSError, TimeoutError) as e:
            raise BatchError(
                f"{self.address}: no Dask scheduler answers ({e}); check that it runs, and that its firewall "
                "and certificates admit this machine"
            ) from None
        self._dispatcher = threading.Thread(target=self._dispatch, name="dispatch", daemon=True)
        self._dispatcher.start()

    def poll(self) -> bool:  # False when all jobs have ended
        "Raise the error that stopped the dispatcher, if there is one"
        if self.error:
            raise self.error
        return self._dispatcher.is_alive()

    def stop(self) -> None:
        "Let the current stages end, and release the jobs"
        self.stopping.set()
        if self._dispatcher:
            self._dispatcher.join()
        if self.client:
            self.client.close(timeout=5)

    def _connect(self):
        client = _distributed().Client(self.address, timeout=self.connect_timeout, set_as_default=False)
        for version in set(client.run(package_version).values()) - {ecg_audio_nb.__version__}:
            client.close()
            raise BatchError(_version_error(version, ecg_audio_nb.__version__))
        client.register_plugin(_kernel_plugin())
        client.subscribe_topic(_STAGES, self._on_stage)
        self.client = client

    def _is_connected(self):
        "Whether the scheduler is there; connects again to one that came back"
        if self.client and self.client.status == "running":
            return True
        if self.client:
            self.client.close(timeout=1)
        self.client = None
        try:
            self._connect()
        except (OSError, TimeoutError):
            self.stopping.wait(1)
        return self.client is not None

    def _on_stage(self, event):
        "A worker sent the stage of its job"
        _, message = event
        keeper = self.keepers.get(message["key"])
        if keeper and message["stage"]:
            keeper.report(*message["stage"])

    def _resource(self, client):
        "The resource that a job takes of a worker (None: any), and the number of workers that have it"
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        for name in ("GPU", "CPU"):
            number = sum(worker["resources"].get(name, 0) >= 1 for worker in workers)
            if number:
                return name, number
        return None, len(workers)

    def _dispatch(self):
        "Claim jobs while workers are free, until all jobs have ended or the batch is asked to stop"
        owner = owner_name()
        try:
            while not self.stopping.is_set():
                self._threads = {id: thread for id, thread in self._threads.items() if thread.is_alive()}
                if not self._is_connected() or len(self._threads) >= self._resource(self.client)[1]:
                    self.stopping.wait(0.1)
                elif job := claim(self.queue, owner, self.lease):
                    self._start_job(job)
                elif self.forever or has_open_jobs(self.queue):
                    self.stopping.wait(0.2)
                else:
                    break
        except Exception as e:
            self.error = e
        for thread in self._threads.values():
            thread.join()
        self.queue.close()

    def _start_job(self, job):
        def run():
            run_job(self.queue, self.store, job, self._execute, self.stopping, self.lease)
            self.queue.close()

        self._threads[job.id] = threading.Thread(target=run, name=job.name, daemon=True)
        self._threads[job.id].start()

    def _execute(self, job: Job, folder: Path, keeper: LeaseKeeper) -> Failure | None:
        "Run a job on a worker and write its files into the folder; an `Executor`"
        client = self.client
        if client is None:
            return Failure("stopped", "the scheduler was lost")
        key = f"ecg-{job.id[:16]}-{job.attempt}-{secrets.token_hex(4)}"
        self.keepers[key] = keeper
        try:
            answer = self._wait(client, self._submit(client, job, key), key, keeper)
        except _LOST:
            return Failure("stopped", "the scheduler was lost")
        except Exception as e:
            return Failure("infra", f"{type(e).__name__}: {' '.join(str(e).split())}"[:500])
        finally:
            del self.keepers[key]
        if answer is None:
            return Failure("stopped", "asked to stop; its worker did not answer")
        for name, content in answer["files"].items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return Failure(*answer["failure"]) if answer["failure"] else None

    def _submit(self, client, job, key):
        resource, _ = self._resource(client)
        notebook = kept_notebook(self.queue, job.task["notebook"]).read_bytes()
        return client.submit(
            run_remote,
            key,
            job.name,
            job.task,
            notebook,
            ecg_audio_nb.__version__,
            key=key,
            pure=False,
            retries=0,
            resources={resource: 1} if resource else None,
        )

    def _wait(self, client, future, key, keeper):
        "The worker's answer; None if it was told to stop and did not answer"
        told = None
        while True:
            ended = future.done()  # before the call: a job may end, and its files travel, while it waits
            try:
                return future.result(timeout=FETCH_TIMEOUT if ended else 0.5)
            except TimeoutError as e:
                if ended:
                    raise RuntimeError(f"the worker's answer did not arrive: {e}") from None
            if client.status != "running":
                raise CancelledError
            if told is None and keeper.stop.is_set():
                told = time.monotonic()
                client.run(stop_remote, key)
            if told and time.monotonic() - told > STOP_TIMEOUT:
                future.cancel()
                return None
