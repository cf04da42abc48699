"""Failures of jobs: one classification for the batch and the service

| kind | cause | what the queue does |
| --- | --- | --- |
| `user` | the input, a setting, or the notebook's own code | the job fails at once |
| `infra` | a full disk, no memory, no GPU, a lost connection, a dead kernel | tries again, later each time |
| `timeout` | the job took longer than its time limit | tries again |
| `crash` | the runner died during every try (set by the queue itself) | the job fails |
| `stopped` | the runner or the job was asked to stop | back to the queue, or cancelled |
"""

import re
from dataclasses import dataclass

__all__ = ["BatchError", "KernelDied", "KernelError", "Stopped", "TimedOut"]


class BatchError(ValueError):
    "A batch can't be planned or started: the message names the value, the rule and the way out"


class KernelError(RuntimeError):
    "The kernel failed, not the notebook's code: the job may be run again"


class KernelDied(KernelError):
    "The kernel's process ended while the notebook ran, or never started"


class TimedOut(KernelError):
    "The job took longer than its time limit"


class Stopped(KernelError):
    "The job was asked to stop"


class JobStopped(Exception):
    "The job was asked to stop; raised by the job itself when a stage has ended"


@dataclass(frozen=True)
class Failure:
    "Why a job was not done"

    kind: str  # user, infra, timeout or stopped
    error: str  # one line


MACHINE = re.compile(
    r"CUDA (error|failed)|runtime\.device is cuda, but|No space left|Errno (28|122|5|12|24|30)\b|disk I/O|"
    r"quota exceeded",
    re.IGNORECASE,
)
NETWORK = re.compile(
    r"try again|no connection to the host|took longer than fetch\.timeout|process that fetched it died"
)
INFRASTRUCTURE = ("MemoryError", "OutOfMemoryError", "AcceleratorError", "BrokenProcessPool", "ChildCrashed")


def is_temporary(
    name: str,  # name of the error's class
    text: str,  # its message
    fetching: bool = False,  # whether it was raised while the source was fetched
) -> bool:
    "Whether an error may pass by itself"
    if name in INFRASTRUCTURE or MACHINE.search(text):
        return True
    return fetching and NETWORK.search(text) is not None


def classify_error(
    e: Exception,  # raised by a job's run; papermill's error of a notebook has `ename` and `evalue`
) -> Failure:
    "Classify an error: a notebook's is the user's unless it is temporary, any other is the infrastructure's"
    if isinstance(e, Stopped):
        return Failure("stopped", str(e))
    if isinstance(e, TimedOut):
        return Failure("timeout", str(e))
    from_notebook = hasattr(e, "ename")
    if from_notebook:
        name, text = e.ename, str(e.evalue) or type(e).__name__
    else:
        name, text = type(e).__name__, str(e) or type(e).__name__
    if name == JobStopped.__name__:
        return Failure("stopped", text)
    temporary = is_temporary(name, text, fetching=name == "FetchError")
    kind = "user" if from_notebook and not temporary else "infra"
    return Failure(kind, f"{name}: {' '.join(text.split())}"[:500])
