"""From a request to a row of the queue: what may be asked for, who may see it, and whether there is room

A job's id is the caller's. The same id with the same parameters is the same job, answered as it stands. A URL
that was signed anew is the same URL: the job takes it, and runs again if it failed because the old one could
not be fetched. With other parameters the id is refused (409). A recording that is sent without an id, while
the same work of the same caller is in the queue, is that job; so is an upload whose job was done within the
last hour. A job that failed or was cancelled stays as it is; the answer names the way out.

The estimated time follows the size of local files and uploads: seconds per byte of the latest jobs whose
files end alike. For a URL it is the median time of a job.

| who asks for too much | answer |
| --- | --- |
| all callers: `server.max_queued` jobs wait | 503 with `Retry-After` |
| one caller: `server.max_queued_per_key` jobs wait or run | 429 with `Retry-After` |
| less than `server.min_free_mb` of disk is free | 503 with `Retry-After` |
| one caller: uploads beyond `server.upload_mb_per_hour` | 429 with `Retry-After` |

Local paths are read below `fetch.media_roots` alone.
"""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import statistics
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from ecg_audio_nb.audio.fetch import _check as check_fetch_rules
from ecg_audio_nb.audio.fetch import read_problem, source_stem, strip_signature
from ecg_audio_nb.batch.queue import Job, add, retry
from ecg_audio_nb.core.files import safe_name
from ecg_audio_nb.service.models import Accepted, job_status, way_out
from ecg_audio_nb.service.problems import Problem, invalid_request, redact_text
from ecg_audio_nb.service.state import Service, check_backend
from ecg_audio_nb.service.webhooks import callback_url
from ecg_audio_nb.settings import FetchSettings
from ecg_audio_nb.speech.transcribe import codes_to_write

# What may be asked for


def check_source(
    service: Service,
    source: str,  # as the caller wrote it
    job_id: str | None = None,  # of a job that may be known: its file may be gone by now
) -> str:  # a URL as it was written, a path without links
    "Refuse a source that must not be read; raises `Problem`"
    if "://" in source:
        try:
            check_url(source, service.settings.fetch)
        except ValueError as e:
            raise invalid_request(redact_text(str(e))) from None
        return source
    roots, shown = _media_roots(service), _last_part(source)
    if os.path.isabs(source) and "\0" not in source:
        path = os.path.realpath(source)
        if any(_lies_below(path, root) for root in roots):
            problem = read_problem(path)
            if problem and not (job_id and service.job(job_id)):
                raise invalid_request(f"{os.path.basename(path)[:100]}: {redact_text(problem)}")
            return path
    if not roots:
        reason = "this service reads no local paths, as fetch.media_roots is empty"
        raise invalid_request(f"{shown}: {reason}; write a URL, or send the file to POST /uploads")
    rule = "a local path is absolute and lies below one of fetch.media_roots"
    raise invalid_request(f"{shown}: {rule}; write such a path, or an http(s):// or s3:// URL")


def _last_part(source: str) -> str:
    "The end of a path, fit for an answer"
    name = "".join(c if c.isprintable() else "?" for c in source.rstrip("/").rpartition("/")[2])
    return redact_text(name, 100) or "/"


def check_language(service: Service, language: str) -> None:
    "Refuse a language that the loaded recognizer does not know; raises `Problem`"
    known = service.languages
    if language == "auto" or known is None or language in known:
        return
    problem = f"language: the model of this service does not know {language}"
    raise invalid_request(f"{problem}; {codes_to_write(known)}")


def _lies_below(path: str, root: str) -> bool:
    root = os.path.realpath(os.path.expanduser(root)).rstrip("/")
    return f"{path}/".startswith(f"{root}/")


def _media_roots(service: Service) -> list[str]:
    "The operator's folders: uploads are read by their own jobs alone"
    return [root for root in service.settings.fetch.media_roots if root != str(service.uploads)]


def check_url(url: str, settings: FetchSettings) -> None:
    "Refuse a URL that strangers must not name; raises `ValueError`"
    if url.partition("://")[0].lower() not in ("http", "https", "s3"):
        raise ValueError("only http(s):// and s3:// are fetched")
    check_fetch_rules(url, settings)


def callback_for(
    service: Service,
    base: str | None,  # the backend that a request names; None: the operator's
) -> str | None:  # None: nobody is notified
    "Return the URL at which a job's backend takes messages; raises `Problem`"
    if not base:
        return service.backend_url
    try:
        url = callback_url(base)
        check_backend(service, url)
    except (ValueError, OSError) as e:
        reason = redact_text(str(e), 350)
        way_out = (
            "the operator can name this backend in ECG_BACKEND_URL, or allow its host in fetch.callback_hosts"
        )
        raise invalid_request(f"fastapi_base_url: {reason}; {way_out}") from None
    return url


def visible_job(
    service: Service,
    job_id: str,
    caller: str,
    keyed: bool,  # the caller has a key, and sees the jobs of that key alone
) -> Job:
    "Return a job that this caller may see; raises `Problem`"
    job = service.job(job_id)
    if job is None or (keyed and job.task.get("caller") != caller):
        raise Problem(404, "no job of this id", job_id=job_id)
    return job


def to_job(
    service: Service,
    job_id: str | None,  # None: the caller gave none
    source: str,  # of `check_source`
    language: str = "auto",
    callback: str | None = None,  # URL of the backend that is notified
    caller: str = "local",
    silence_marks: bool = False,
    upload: str | None = None,  # folder of an uploaded file, below `uploads`
    content: str | None = None,  # digest of an uploaded file
    prefix: str = "",  # path below which the caller sees the service
    trace: str | None = None,  # of `read_traceparent`
    recognizer: dict | None = None,  # settings `transcribe.` that differ from the service's, JSON-ready
) -> Job:  # not in the queue yet
    "Make a job with all that the worker needs to know"
    what = content or (strip_signature(source) if "://" in source else source)
    parameters = [what, language, callback, silence_marks, caller]
    if recognizer:
        parameters.append(recognizer)
    written = json.dumps(parameters, sort_keys=True)
    task = {
        "digest": hashlib.sha256(written.encode()).hexdigest(),  # the same job has the same
        "language": language,
        "callback": callback,
        "caller": caller,
        "silence_marks": silence_marks,
        "upload": upload,
        "named": job_id is not None,
        "prefix": prefix,
        "trace": trace,
        "recognizer": recognizer or {},
        "size": _file_size(source),
    }
    job_id = job_id or uuid.uuid4().hex
    name = f"{safe_name(source_stem(source))[:60]}-{hashlib.sha256(job_id.encode()).hexdigest()[:16]}"
    return Job(job_id, name, source, task, max_tries=service.limits.max_attempts)


def _file_size(source: str) -> int | None:  # bytes; None: of a URL, or there is no such file
    if "://" in source:
        return None
    try:
        return os.path.getsize(source)
    except (OSError, ValueError):
        return None


# Into the queue


class _Room:
    "How many more jobs there is room for"

    def __init__(self, service: Service):
        rows = service.queue.db.execute(
            """select json_extract(task, '$.caller') caller, count(*) open,
            count(*) filter (where state='queued') waiting
            from jobs where state in ('queued', 'running') group by 1"""
        ).fetchall()
        self.limits = service.limits
        self.open = {row["caller"]: row["open"] for row in rows}  # by caller, waiting or running
        self.waiting = sum(row["waiting"] for row in rows)
        self.retry_after = estimate_seconds(service, 1) or 30
        self.disk_full = shutil.disk_usage(service.root).free < service.limits.min_free_mb * 1e6

    def take(self, job: Job) -> Problem | None:
        "Count a new job in: None; or return why there is no room for it"
        caller = job.task["caller"]
        open_jobs = self.open.get(caller, 0)
        if self.waiting >= self.limits.max_queued:
            most = f"{self.waiting} jobs wait, and server.max_queued = {self.limits.max_queued}"
            return Problem(503, f"{most}; send it again later", retry_after=self.retry_after)
        if open_jobs >= self.limits.max_queued_per_key:
            most = f"{open_jobs} jobs of yours wait or run, and server.max_queued_per_key"
            rule = f"{most} = {self.limits.max_queued_per_key}"
            return Problem(429, f"{rule}; send it again when one is done", retry_after=self.retry_after)
        if self.disk_full:
            least = f"less than server.min_free_mb = {self.limits.min_free_mb} MB of the disk is free"
            return Problem(503, f"{least}; send it again later", retry_after=300)
        self.waiting += 1
        self.open[caller] = open_jobs + 1
        return None


def submit(
    service: Service,
    jobs: list[Job],  # in the order in which they came
) -> list[
    tuple[Job, bool] | Problem
]:  # of each: the job in the queue and whether it is new; or why it is refused
    "Put jobs into the queue, all in one transaction"
    if service.stopping.is_set():
        return [
            Problem(503, "the service is stopping; send it again in a moment", retry_after=10) for _ in jobs
        ]
    with service.submit_lock:
        room, refused, renewed = _Room(service), {}, []
        for n, job in enumerate(jobs):
            known = service.job(job.id)
            is_renewed = known is not None and _is_mended(known, job)
            problem = room.take(job) if known is None or is_renewed else None
            if problem:
                refused[n] = problem
            elif is_renewed:
                renewed.append(known)
        taken = [job for n, job in enumerate(jobs) if n not in refused]
        added = add(service.queue, taken, takes_source=_is_signed_anew)
        again = {job.id: job for job in retry(service.queue, renewed)}
        stored = iter([(again.get(job.id, job), new) for job, new in added])
    service.job_added.set()
    return [
        refused[n] if n in refused else _same_or_conflict(job, *next(stored)) for n, job in enumerate(jobs)
    ]


def submit_or_attach(service: Service, job: Job) -> tuple[Job, bool] | Problem:
    "Put one job into the queue as `submit` does; one without an id of its own is the same work under any id"
    with service.attach_lock:
        known = None if job.task["named"] else _same_work(service, job)
        if known and _is_signed_anew(known, job):
            return submit(service, [replace(job, id=known.id)])[0]
        return (known, False) if known else submit(service, [job])[0]


_ATTACH_SECONDS = 3600  # after the end of an uploaded file's job


def _same_work(service: Service, job: Job) -> Job | None:
    "Find a job that does what this one would do, or has just done it"
    row = service.queue.db.execute(
        """select id from jobs where json_extract(task, '$.digest')=? and (state in ('queued', 'running')
        or (state='done' and ended>? and json_extract(task, '$.upload') is not null))
        order by created desc limit 1""",
        (job.task["digest"], max(service.started, time.time() - _ATTACH_SECONDS)),
    ).fetchone()
    return service.job(row["id"]) if row else None


def _is_signed_anew(known: Job, job: Job) -> bool:
    "Whether a job names the URL of a known one, with another signature"
    is_url = "://" in known.source and "://" in job.source
    return is_url and known.source != job.source and known.task.get("digest") == job.task["digest"]


def _is_mended(known: Job, job: Job) -> bool:
    "Whether a known job failed because its URL could not be fetched, and comes with a fresh one"
    failed = known.state == "failed" and (known.error or "").startswith("DOWNLOAD_ERROR")
    return failed and _is_signed_anew(known, job)


def _same_or_conflict(job: Job, stored: Job, new: bool) -> tuple[Job, bool] | Problem:
    if stored.task.get("digest") == job.task["digest"]:
        return stored, new
    return Problem(
        409, "a job of this id has other parameters; give the new one its own id", "INVALID_REQUEST"
    )


def estimate_seconds(
    service: Service,
    n_jobs: int,  # to be done
) -> int | None:  # None: no job was done yet
    "Estimate how long jobs take: as long as the median of the latest 20"
    rows = service.queue.db.execute(
        """select ended_at - began_at from attempts where outcome='done' and ended_at not null
        order by ended_at desc limit 20"""
    ).fetchall()
    if not rows:
        return None
    return round(n_jobs * statistics.median(row[0] for row in rows) / service.runners)


class _Pace:
    "How long jobs took that were done lately"

    def __init__(self, service: Service):
        rows = service.queue.db.execute(
            f"""select done.seconds, jobs.source, {_SIZE} size from
            (select job, ended_at, ended_at - began_at seconds from attempts
             where outcome='done' and ended_at not null order by ended_at desc limit {_LOOK_BACK}) done
            join jobs on jobs.id=done.job order by done.ended_at desc"""
        ).fetchall()
        by_suffix = {}
        for row in rows:
            if row["size"]:
                by_suffix.setdefault(_suffix(row["source"]), []).append(row["seconds"] / row["size"])
        self.per_byte = {suffix: statistics.median(p[:_LATEST]) for suffix, p in by_suffix.items()}
        self.per_job = statistics.median(row["seconds"] for row in rows[:_LATEST]) if rows else None

    def seconds(self, job: sqlite3.Row) -> float | None:  # None: no job was done yet
        "Estimate what is left of a job: by the size of its file, or as the median job"
        per_byte = self.per_byte.get(_suffix(job["source"])) if job["size"] else None
        whole = self.per_job if per_byte is None else per_byte * job["size"]
        return whole if whole is None else whole * (1 - (job["share"] or 0))


_LATEST = 20  # done jobs that a median is taken of
_LOOK_AHEAD = 500  # open jobs that are estimated; the end of those behind them is not known
_LOOK_BACK = 200  # done jobs among which those with the same suffix are looked for
_SIZE = "json_extract(jobs.task, '$.size')"  # bytes


def _suffix(source: str) -> str:
    return os.path.splitext(source)[1].lower()


def estimate_open(
    service: Service,
) -> dict[str, int]:  # by job id, seconds; empty while no job was done yet
    "Estimate when each job that runs, and those that wait next, will be done"
    pace, before, estimates = _Pace(service), 0.0, {}
    if pace.per_job is None:
        return {}
    rows = service.queue.db.execute(
        f"""select id, source, {_SIZE} size, case when state='running' then share end share
        from jobs where state in ('queued', 'running')
        order by state='queued', due, seq limit {_LOOK_AHEAD}"""
    ).fetchall()
    for row in rows:
        own = pace.seconds(row)
        waits = before / service.runners if len(estimates) >= service.runners else 0.0
        estimates[row["id"]] = max(1, round(own + waits))
        before += own
    return estimates


def accepted(
    service: Service,
    job: Job,  # as it stands in the queue
    estimates: Mapping[str, int],  # of `estimate_open`
    prefix: str = "",  # path below which the caller sees the service
) -> Accepted:
    "Build the answer to a submission"
    status = job_status(job, service.limits.language)
    is_open = job.state in ("queued", "running")
    again = way_out(job, service.limits.language)
    return Accepted(
        job_id=job.id,
        status=status.status,
        message=f"{status.message}. {again}" if again else status.message,
        status_url=f"{prefix}/jobs/{job.id}",
        estimated_time=estimates.get(job.id) if is_open else 0,
    )


class SubmitBatcher:
    """Writes submissions that come at the same time in one transaction.

    A transaction waits for the disk; what comes while one is written shares the next one."""

    def __init__(
        self,
        service: Service,
        in_thread: Callable,  # awaits a function in a thread: starlette's `run_in_threadpool`
    ):
        self.service, self.in_thread = service, in_thread
        self._waiting, self._task = [], None

    async def submit(
        self,
        make_job: Callable[[], Job],  # called in a thread; may raise `Problem`
    ) -> Accepted:
        "Submit a job; raises `Problem`"
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((make_job, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        outcome = await answer
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _write(self):
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                outcomes = await self.in_thread(
                    _submit_all, self.service, [make_job for make_job, _ in batch]
                )
            except Exception as e:
                outcomes = [e] * len(batch)
            for (_, answer), outcome in zip(batch, outcomes):
                if not answer.done():
                    answer.set_result(outcome)
        self._task = None


def _submit_all(service: Service, makers: list[Callable[[], Job]]) -> list[Accepted | Problem]:
    made = [_job_or_problem(make_job) for make_job in makers]
    stored = iter(submit(service, [job for job in made if isinstance(job, Job)]))
    estimates = estimate_open(service)
    answers = []
    for job in made:
        outcome = next(stored) if isinstance(job, Job) else job
        if isinstance(outcome, Problem):
            answers.append(outcome)
        else:
            answers.append(accepted(service, outcome[0], estimates, job.task["prefix"]))
    return answers


def _job_or_problem(make_job: Callable[[], Job]) -> Job | Problem:
    try:
        return make_job()
    except Problem as e:
        return e
