"""What a person sees of a batch: counts, jobs that run or ended, one job with its attempts, `index.html`"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from ecg_audio_nb.audio.fetch import redact
from ecg_audio_nb.batch.page import index_html
from ecg_audio_nb.batch.clock import steady_now
from ecg_audio_nb.batch.queue import (
    ENDED,
    Job,
    Queue,
    counts,
    list_jobs,
    owner_exited,
    seconds_until_due,
)
from ecg_audio_nb.batch.stores import Store

_log = logging.getLogger("ecg_audio_nb")


@dataclass(frozen=True)
class Snapshot:
    "A batch at one moment"

    counts: dict[str, int]  # jobs by state
    running: list[Job]
    ended: list[dict]  # attempts since the snapshot before: name, n, outcome, error, seconds, state
    per_minute: float | None  # jobs done in a minute, since the monitor began; None: none is done
    seconds_left: float | None  # until all jobs have ended; None: unknown
    due_in: float | None = None  # seconds until the next try, where jobs wait and none runs


class Monitor:
    "Takes snapshots of a queue"

    def __init__(self, queue: Queue):
        self.queue, self.began, self.since = queue, time.monotonic(), steady_now(queue.db)
        self.done = counts(queue)["done"]

    def snapshot(self) -> Snapshot:
        "Look at the queue; each attempt that ends is in one snapshot"
        seconds, number = time.monotonic() - self.began, counts(self.queue)
        rows = self.queue.db.execute(
            """select name, n, outcome, a.error, a.ended_at - began_at as seconds, state, a.ended, ended_at
            from attempts a join jobs on id=job where ended_at>? order by ended_at""",
            (self.since,),
        ).fetchall()
        self.since = max([self.since, *(row["ended_at"] for row in rows)])
        per_minute = (number["done"] - self.done) / max(seconds, 1e-9) * 60 or None
        seconds_left = None
        if per_minute:
            seconds_left = (number["queued"] + number["running"]) / per_minute * 60
        running = list_jobs(self.queue, "running")
        due_in = None if running else first_wait(self.queue)
        return Snapshot(number, running, [dict(row) for row in rows], per_minute, seconds_left, due_in)


def first_wait(
    queue: Queue,
) -> float | None:  # seconds; None: no job waits
    "How long it is until a queued job is due"
    return min((seconds_until_due(queue, job) for job in list_jobs(queue, "queued")), default=None)


def why_nothing_runs(
    queue: Queue,
) -> str | None:  # one line; None: a job runs, or none waits
    "Say why jobs wait and none runs"
    waiting = list_jobs(queue, "queued")
    if not waiting or counts(queue)["running"]:
        return None
    first = min(waiting, key=lambda job: (job.not_before, job.created))
    seconds = seconds_until_due(queue, first)
    if not seconds:
        return "nothing runs: the queued jobs are due, and no runner takes them"
    why = f" after this error: {first.error}" if first.error else ""
    return f"nothing runs: the next try, of {first.name}, is due in {_format_duration(seconds)}{why}"


_OUTCOMES = {"done": "done", "returned": "requeued", "lost": "lost"}


def describe_attempt(
    attempt: Mapping,  # of `Snapshot.ended`
) -> str:  # one line
    "Describe an attempt that ended"
    outcome = _OUTCOMES.get(attempt["outcome"], "failed")
    if outcome == "requeued" and attempt["state"] == "cancelled":
        outcome = "cancelled"
    line = f"{outcome} {attempt['name']} ({attempt['seconds']:.1f} s)"
    if outcome == "done" or not attempt["error"]:
        return line
    will_retry = outcome in ("failed", "lost") and attempt["state"] not in ENDED
    return f"{line}: {attempt['error']}" + ("; it will be tried again" if will_retry else "")


def format_counts(
    snapshot: Snapshot,
) -> str:
    "Describe a batch in one line: jobs done, failed and cancelled, speed, time left"
    number = snapshot.counts
    parts = [f"{number['done']} of {sum(number.values())} done"]
    parts += [f"{number[state]} {state}" for state in ("failed", "cancelled") if number[state]]
    if snapshot.per_minute:
        parts.append(f"{snapshot.per_minute:.1f} a minute")
    if snapshot.due_in:
        parts.append(f"next try in {_format_duration(snapshot.due_in)}")
    if snapshot.seconds_left:
        parts.append(f"about {_format_duration(snapshot.seconds_left)} left")
    return ", ".join(parts)


def _format_duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def describe_stage(
    job: Job,  # a running one
) -> str:
    "Describe where a running job is: name, stage, percent of the stage"
    percent = "" if job.progress is None else f" {100 * job.progress:.0f} %"
    return f"{job.name}: {job.stage or 'starting'}{percent}"


def describe_others(
    queue: Queue,
) -> str | None:  # one line; None: no other command's process runs a job
    "Say which processes of other commands run jobs of a queue, before a command starts its own"
    now = steady_now(queue.db)
    jobs = [j for j in list_jobs(queue, "running") if j.lease > now and not owner_exited(j.owner)]
    if not jobs:
        return None
    parts = [f"{describe_stage(job)} ({_describe_owner(job.owner)})" for job in jobs[:3]]
    if len(jobs) > 3:
        parts.append(f"{len(jobs) - 3} more")
    return (
        f"at work for another command: {'; '.join(parts)}. This command waits for that. A process whose "
        "command was killed ends with its current stage and gives the job back"
    )


def _format_time(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def is_of_service(job: Job) -> bool:
    "Whether the service runs this job, with its own settings; else a batch, with a notebook's parameters"
    return bool(job.task) and "parameters" not in job.task


def changed_settings(
    job: Job,
) -> dict[str, object]:  # empty: the defaults; of a service's job: the service's
    "Collect what a job was given beside its source: profile, settings and parameters of the notebook"
    if is_of_service(job):
        return _asked_of_service(job.task)
    parameters = job.task.get("parameters") or {}
    changed = {"profile": parameters["profile"]} if parameters.get("profile") else {}
    changed |= parameters.get("overrides") or {}
    usual = ("source", "output_dir", "profile", "overrides", "seed")
    return changed | {name: value for name, value in parameters.items() if name not in usual}


def _asked_of_service(task):
    "The settings that a request named"
    language = task.get("language") or "auto"
    asked = {} if language == "auto" else {"transcribe.language": language}
    asked |= {f"transcribe.{key}": value for key, value in (task.get("recognizer") or {}).items()}
    return asked | ({"export.silence_marks": True} if task.get("silence_marks") else {})


def format_settings(job: Job) -> str:  # empty: the defaults
    "Format the changed settings of a job in one line, each as `--set` takes it"
    return ", ".join(f"{key}={value}" for key, value in changed_settings(job).items())


def describe_job(
    job: Job,
    attempts: Iterable[Mapping] = (),  # of `queue.attempts`
    due_in: float | None = None,  # of a queued job: seconds until its next try, see `queue.seconds_until_due`
) -> str:  # several lines
    "Describe a job for a person: state, error, source, settings, times, and every attempt"
    rows = [("id", job.id), ("state", _describe_state(job)), ("error", job.error)]
    rows += [("source", redact(job.source)), ("settings", _describe_settings(job))]
    for title, seconds in (("added", job.created), ("started", job.started), ("ended", job.ended)):
        rows.append((title, _format_time(seconds) if seconds else None))
    if job.state == "queued" and due_in:
        rows.append(("due in", _format_duration(due_in)))
    rows += [_describe_result(name, value) for name, value in (job.result or {}).items()]
    lines = [job.name, *(f"  {title:<10}  {value}" for title, value in rows if value not in ("", None))]
    lines += [_describe_try(attempt, _was_cancelled(job, attempt)) for attempt in attempts]
    return "\n".join(lines)


def _describe_settings(job):
    settings = format_settings(job)
    if not is_of_service(job):
        return settings or "the defaults"
    return f"{settings}; the others are the service's" if settings else "the service's"


_TITLES = {"duration": "length", "total_segments": "segments", "unique_speakers": "speakers"}


def _describe_result(name, value):
    "Title and text of a part of a job's result"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    elif name == "duration" and value is not None:
        value = f"{value:.1f} s"
    return _TITLES.get(name, name), value


def _was_cancelled(job, attempt):
    "Whether a job was cancelled in this attempt, and not when it waited after it"
    if job.state != "cancelled" or attempt["n"] != job.attempt or attempt["outcome"] != "returned":
        return False
    return abs(attempt["ended"] - job.ended) < 1


def _describe_state(job):
    tries = f"{job.tries} of {job.max_tries} tries"
    if job.state == "running":
        return f"running ({tries}), stage {job.stage or 'starting'}"
    if job.state == "failed":
        return f"failed ({tries}), kind {job.failure_kind}"
    return f"{job.state} ({tries})"


def _describe_try(attempt, cancelled):
    line = f"  attempt {attempt['n']:<2}  {_format_time(attempt['began'])}"
    if attempt["ended"]:
        seconds = attempt.get("seconds")
        if seconds is None:  # of an older release
            seconds = attempt["ended"] - attempt["began"]
        outcome = "cancelled" if cancelled else _OUTCOMES.get(attempt["outcome"], attempt["outcome"])
        line += f", {seconds:.1f} s, {outcome}"
    else:
        line += ", running"
    line += f", by {_describe_owner(attempt['owner'])}"
    return line + (f": {attempt['error']}" if attempt["error"] else "")


def _describe_owner(owner):
    "A runner's name for a person: its process and host"
    parts = owner.rsplit("/", 3)
    return f"process {parts[2]} on {parts[0]}" if len(parts) == 4 else owner


class IndexPage:
    "A batch's `index.html`, written again while jobs end"

    def __init__(
        self,
        queue: Queue,
        store: Store,
        interval: float = 30.0,  # seconds between two writes, at least
    ):
        self.queue, self.store, self.interval = queue, store, interval
        self.stale, self.last = False, time.monotonic()

    def write(self) -> None:
        "Write the page; raises `OSError`"
        self.store.write("index.html", index_html(list_jobs(self.queue), self.store, redact))

    def update(self, snapshot: Snapshot) -> None:
        "Write the page if jobs have ended since the last one, at most once in `interval`"
        self.stale |= bool(snapshot.ended)
        if not self.stale or time.monotonic() - self.last < self.interval:
            return
        self.last, self.stale = time.monotonic(), False
        try:
            self.write()
        except OSError as e:
            self.stale = True
            _log.warning("index.html can't be written now (%s); the batch goes on without it", e)
