"""The lease of a running job: renewed while the job runs, with its stage reported to the queue

A job and its runner share a folder (a notebook finds it in `ECG_JOB_DIR`):

| file | written by | read by | meaning |
| --- | --- | --- | --- |
| `stage` | the job (`job_hook`) | the runner (`LeaseKeeper`) | stage, fraction done, number of checkpoints |
| `stop` | the runner | the job | end when the current stage has ended |
"""

import json
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ecg_audio_nb.batch.failures import JobStopped
from ecg_audio_nb.batch.network_folder import OtherMachine
from ecg_audio_nb.batch.queue import LEASE, Job, LeaseLost, Queue, heartbeat
from ecg_audio_nb.core.files import write_atomic

__all__ = ["job_hook", "read_stage", "write_stage"]

STAGE, STOP = "stage", "stop"  # files of the folder
HOOK_INTERVAL = 0.5  # seconds between two reports of progress


def write_stage(
    folder: str | Path,  # shared with the runner
    stage: str,
    fraction: float | None = None,  # of the stage that is done, 0 to 1
    stored: int = 0,  # checkpoints that this attempt has written
) -> None:
    "Report the stage that a job is in"
    write_atomic(Path(folder) / STAGE, json.dumps([stage, fraction, stored]), sync=False)


def read_stage(
    folder: str | Path,  # shared with the job
) -> list | None:  # [stage, fraction done, checkpoints]; None before the job's first report
    "Read what a job reported"
    try:
        return json.loads((Path(folder) / STAGE).read_text())
    except (OSError, ValueError):
        return None


def job_hook(
    then: Callable | None = None,  # another hook, called with every event too
) -> Callable:  # for the argument `on_event` of `analyze`
    "Make a hook that reports each stage to the runner, and stops between two stages when asked to"
    folder, last_report = os.environ.get("ECG_JOB_DIR"), 0.0

    def on_event(event):
        nonlocal last_report
        if then is not None:
            then(event)
        if not folder:
            return  # not run by a batch
        now = time.monotonic()
        if event.status == "progress" and now - last_report < HOOK_INTERVAL:
            return
        last_report = now
        if event.status != "done":
            write_stage(folder, event.stage, event.fraction, getattr(event, "stored", 0))
        if event.status != "progress" and Path(folder, STOP).exists():
            raise JobStopped(f"asked to stop; the last stage was {event.stage}")

    return on_event


class LeaseKeeper:
    """Renews a job's lease while it runs, reports its stage to the queue, and passes on the request to stop

    Attributes: `folder`, shared with the job; `stop`, an event that is set when the job should end; `lost`,
    whether the lease went to another runner."""

    def __init__(
        self,
        queue: Queue,
        job: Job,  # as it was claimed
        stopping: threading.Event,  # set when the runner itself is asked to stop
        lease: float = LEASE,  # seconds
    ):
        self.queue, self.job, self.stopping, self.lease = queue, job, stopping, lease
        self.stop = threading.Event()
        self.lost = False
        self._ended = threading.Event()
        self._reported, self._last_heartbeat = None, time.monotonic()

    def __enter__(self):
        self._temporary = tempfile.TemporaryDirectory(prefix="ecg-job-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self._temporary.cleanup()

    def report(
        self,
        stage: str,
        fraction: float | None = None,  # of the stage that is done, 0 to 1
        stored: int = 0,  # checkpoints that this attempt has written
    ) -> None:
        "Report the stage that the job is in, for a job that runs in this process"
        write_stage(self.folder, stage, fraction, stored)

    def _run(self):
        while not self._ended.wait(0.25):
            try:
                self._renew()
            except (LeaseLost, OtherMachine):
                self.lost = True
            except (sqlite3.OperationalError, OSError):
                continue  # the disk is full or the database is locked: try again in a moment
            if self.lost or self.stopping.is_set():
                self._ask_to_stop()
        self.queue.close()

    def _renew(self):
        "Renew when a third of the lease is over, and within a second of a change of stage"
        stage = read_stage(self.folder)
        since = time.monotonic() - self._last_heartbeat
        changed = stage != self._reported and since >= 1
        if since < self.lease / 3 and not changed:
            return
        if heartbeat(self.queue, self.job, self.lease, *(stage or ())) == "cancel":
            self._ask_to_stop()
        self._reported, self._last_heartbeat = stage, time.monotonic()

    def _ask_to_stop(self):
        if not self.stop.is_set():
            (self.folder / STOP).touch()
        self.stop.set()
