"""Failures of jobs: one classification for the batch and the service

| kind | what it is | what the queue does |
| --- | --- | --- |
| `user` | the input, a setting or the notebook's own code | fails at once |
| `infra` | a full disk, a lost GPU, memory, a broken connection | tries again, later each time |
| `timeout` | the job took longer than it may | tries again |
| `stopped` | somebody asked for the end | back to the queue, or cancelled |
"""

import re
from dataclasses import dataclass


class JobError(RuntimeError):
    "Not the notebook's fault: the job may be run again"


class KernelDied(JobError):
    "The kernel's process ended under the notebook, or never started"


class TimedOut(JobError):
    "The job took longer than it may"


class Stopped(JobError):
    "Somebody asked for the end"


class JobStopped(Exception):
    "The runner was asked to stop; raised in the notebook, or in the service, when a stage has ended"


@dataclass(frozen=True)
class Failure:
    "Why a job did not end well"

    kind: str  # user, infra, timeout or stopped
    error: str  # one line


MACHINE = re.compile(r"CUDA error|No space left|Errno (28|122|5|12|24|30)\b|disk I/O|quota exceeded", re.I)
NETWORK = re.compile(r"try again|no connection to the host|took longer than fetch\.timeout|process that fetched it died")
INFRASTRUCTURE = ("MemoryError", "OutOfMemoryError", "AcceleratorError", "BrokenProcessPool", "ChildCrashed")


def is_temporary(name: str, text: str, fetching: bool = False) -> bool:
    "Whether an error, by its class's name and its message, may pass by itself; `fetching`: while the source was fetched"
    return bool(name in INFRASTRUCTURE or MACHINE.search(text) or (fetching and NETWORK.search(text)))


def classify_error(e: Exception) -> Failure:
    """Classify what a job's run raised.

    An error of the notebook (papermill's, with `ename` and `evalue`) is the user's, unless it is temporary; any other
    error is the infrastructure's."""
    if isinstance(e, Stopped):
        return Failure("stopped", str(e))
    if isinstance(e, TimedOut):
        return Failure("timeout", str(e))
    name, text = getattr(e, "ename", type(e).__name__), str(getattr(e, "evalue", e)) or type(e).__name__
    if name == JobStopped.__name__:
        return Failure("stopped", text)
    of_notebook = hasattr(e, "ename") and not is_temporary(name, text, fetching=name == "FetchError")
    return Failure("user" if of_notebook else "infra", f"{name}: {' '.join(text.split())}"[:500])
