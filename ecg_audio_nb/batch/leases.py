"""The lease of a running job: renewed while it runs, with its stage told to the queue

A job and its runner share a folder (in a notebook, `ECG_JOB_DIR`): the job writes the file `stage` there, and finds the
file `stop` there when it should end.
"""

import json
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

from ecg_audio_nb.batch.queue import LEASE, Job, LeaseLost, Queue, beat
from ecg_audio_nb.core.files import write_atomic

STAGE, STOP = "stage", "stop"  # files of the folder


def write_stage(folder: str | Path, stage: str, share: float | None = None) -> None:
    "Write down where a job is; `share` is the fraction of the stage that is done, 0 to 1"
    write_atomic(Path(folder) / STAGE, json.dumps([stage, share]), sync=False)


def read_stage(folder: str | Path) -> list | None:
    "What a job wrote down: stage and fraction done; None before it did"
    try:
        return json.loads((Path(folder) / STAGE).read_text())
    except (OSError, ValueError):
        return None


class LeaseKeeper:
    """Renews a job's lease while it runs, tells the queue its stage, and passes on the wish to stop.

    Attributes: `folder`, shared with the job; `stop`, an event that is set when the job should end; `lost`, whether the lease
    went to another runner."""

    def __init__(self, queue: Queue, job: Job, stopping: threading.Event, lease: float = LEASE):
        "`stopping` is set when the runner itself is asked to stop; `lease` in seconds"
        self.queue, self.job, self.stopping, self.lease = queue, job, stopping, lease
        self.stop, self.lost, self._ended = threading.Event(), False, threading.Event()
        self._last_stage, self._last_beat = None, time.monotonic()

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

    def say(self, stage: str, share: float | None = None) -> None:
        "Write down where the job is"
        write_stage(self.folder, stage, share)

    def _run(self):
        while not self._ended.wait(0.25):
            try:
                self._renew()
            except LeaseLost:
                self.lost = True
            except (sqlite3.OperationalError, OSError):
                continue  # no room or too busy: again in a moment
            if self.lost or self.stopping.is_set():
                self._ask_to_stop()
        self.queue.close()

    def _renew(self):
        "Renew when a third of the lease is over, and within a second of a change of stage"
        stage, since = read_stage(self.folder), time.monotonic() - self._last_beat
        changed = stage != self._last_stage
        if since < self.lease / 3 and not (changed and since >= 1):
            return
        if beat(self.queue, self.job, self.lease, *(stage or ())) == "cancel":
            self._ask_to_stop()
        self._last_stage, self._last_beat = stage, time.monotonic()

    def _ask_to_stop(self):
        if not self.stop.is_set():
            (self.folder / STOP).touch()
        self.stop.set()
