"""Jobs at work: one thread analyzes them with models that stay loaded, and notifies the backend

```
POST -- checked --> row of the queue --> worker: analyze --> results/HASH.json --> outbox --> backend
                         ^                    |
                         GET, events, DELETE --+------ stage, progress --+
```

| what happens | what the queue does | message to the backend |
| --- | --- | --- |
| a worker claims the job | `running`, attempt + 1 | `processing`, 0 % |
| a stage starts, ends or goes on | stage and progress are stored | `processing`, percent of the whole |
| the analysis succeeds | `done`, when the result is in place | `completed`, with the result |
| the recording or the request is at fault | `failed` | `failed`, with code and cause |
| the infrastructure fails, or it takes too long | as when the process is killed | the last failure |
| it is cancelled | at once while it waits; when its stage ends while it runs | `failed`, `CANCELLED` |
| the service stops | `queued` again, the attempt does not count | nothing |
| the process is killed | `queued` again; after `server.max_attempts` `failed` | the failure |

A job that runs again goes on from its checkpoints: stages that were done, and chunks that were transcribed,
are not done again. Only attempts that wrote no checkpoint count for `server.max_attempts`.

Any moment is a good one for `kill -9`: a job goes on when the service is back, and its final message is
written in the transaction that ends it. For a job that ended outside of the worker (cancelled while it
waited, lost three times), the final message is written afterwards, and once more at the start.
"""

import gc
import json
import logging
import os
import shutil
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files

from ecg_audio_nb.audio.fetch import FetchError
from ecg_audio_nb.audio.media import MediaError
from ecg_audio_nb.batch.failures import JobStopped, TimedOut, is_temporary
from ecg_audio_nb.batch.leases import LeaseKeeper
from ecg_audio_nb.batch.queue import (
    Job,
    LeaseLost,
    cancel,
    claim,
    fail,
    finish,
    is_tried_again,
    owner_name,
    release,
)
from ecg_audio_nb.core.files import write_part
from ecg_audio_nb.pipeline import StageEvent, analyze
from ecg_audio_nb.schema import Analysis, to_dict
from ecg_audio_nb.service.logs import job_of_log, trace_of_log
from ecg_audio_nb.service.models import callback_body, status_message, job_error
from ecg_audio_nb.service.problems import redact_text
from ecg_audio_nb.service.state import Service, clean_up
from ecg_audio_nb.service.webhooks import backend_result, enqueue, reopen
from ecg_audio_nb.settings import Settings, SettingsError
from ecg_audio_nb.speech.transcribe import TranscribeError, choose_transcriber

_log = logging.getLogger(__name__)
_DAY = 86400


# Progress

_STAGE_WEIGHTS = {  # percent of the whole
    "fetch": 5,
    "media": 5,
    "voice": 5,
    "transcribe": 50,
    "align": 10,
    "diarize": 20,
    "acoustics": 4,
    "adapt": 1,
}


class Progress:
    """Percent of the whole, from the events of stages.

    Branches run at the same time, so the stages' fractions add up, each by its weight. The number never
    falls, and 100 is kept for the end."""

    def __init__(self):
        self.fractions = dict.fromkeys(_STAGE_WEIGHTS, 0.0)  # by stage
        self.percent = 0

    def __call__(self, event: StageEvent) -> int:
        "Add an event and return the percent"
        fraction = 1.0 if event.status == "done" else event.fraction or 0.0
        if event.stage in self.fractions:
            self.fractions[event.stage] = max(self.fractions[event.stage], min(fraction, 1.0))
        whole = sum(weight * self.fractions[stage] for stage, weight in _STAGE_WEIGHTS.items())
        self.percent = max(self.percent, min(99, int(whole)))
        return self.percent


# Failures

_CODES_BY_ERROR = (
    (FetchError, "DOWNLOAD_ERROR"),
    (MediaError, "MEDIA_ERROR"),
    (SettingsError, "INVALID_REQUEST"),
    (TranscribeError, "INVALID_REQUEST"),
)


@dataclass(frozen=True)
class AnalysisFailure:
    "Why an analysis did not succeed"

    kind: str  # as the queue's: user, infra, timeout; or stopped
    code: str  # one of `models.CODES`
    error: str  # one line, fit for strangers


def classify_failure(error: Exception) -> AnalysisFailure:
    """Tell whether the recording, the infrastructure or a request to stop ended an analysis.

    Of an error that nobody foresaw only the class is named: its text may hold anything."""
    if isinstance(error, JobStopped):
        return AnalysisFailure("stopped", "CANCELLED", str(error))
    if isinstance(error, TimedOut):
        return AnalysisFailure("timeout", "TIMEOUT", str(error))
    name, text = type(error).__name__, str(error)
    code = next((code for kind, code in _CODES_BY_ERROR if isinstance(error, kind)), "PROCESSING_ERROR")
    temporary = is_temporary(name, text, fetching=code == "DOWNLOAD_ERROR")
    if isinstance(error, ValueError) and text:
        return AnalysisFailure("infra" if temporary else "user", code, redact_text(text))
    return AnalysisFailure("infra", code, f"{name} inside of the service; its log has this job's id")


# Messages to the backend


def notify_progress(service: Service, job: Job, percent: int, event: str) -> None:
    "Notify the backend how far a job is; if that can't be written now, the next message will do"
    url = job.task.get("callback")
    if not url:
        return
    body = callback_body(job.id, "processing", percent, status_message(event, service.limits.language))
    try:
        with service.queue.transaction() as db:
            enqueue(db, job.id, url, body, final=False)
    except sqlite3.OperationalError as e:
        _log.warning("progress is not written down (%s)", type(e).__name__)
    service.deliverer.wake()


def notify_failed(service: Service, db: sqlite3.Connection, job: Job, code: str, error: str) -> None:
    "Write the final message of a job that failed or was cancelled, in the open transaction"
    url = job.task.get("callback")
    if not url:
        return
    message = status_message(code, service.limits.language)
    body = callback_body(job.id, "failed", 0, message, error=error, code=code)
    enqueue(db, job.id, url, body, final=True)


def send_missing_finals(
    service: Service,
    since: float = 0,  # jobs that ended before are skipped; seconds since 1970
) -> int:  # how many were written
    "Write final messages for jobs that ended outside of the worker"
    rows = service.queue.db.execute(
        """select id from jobs where state in ('failed', 'cancelled') and ended>=?
        and json_extract(task, '$.callback') is not null
        and not exists(select 1 from outbox where job=jobs.id and closes)""",
        (since,),
    ).fetchall()
    for row in rows:
        with service.queue.transaction() as db:
            job = service.job(row["id"])
            if job.state in ("failed", "cancelled"):
                notify_failed(service, db, job, *job_error(job))
    return len(rows)


# One job


class JobHook:
    "Follows the stages of one job: reports its progress, and ends it between stages if that is asked for"

    def __init__(self, service: Service, job: Job, keeper: LeaseKeeper):
        self.service, self.job, self.keeper = service, job, keeper
        self.progress = Progress()
        self.deadline = time.monotonic() + service.limits.timeout
        self.last_notice = 0.0  # monotonic time

    def __call__(self, event: StageEvent) -> None:
        "Take an event of the analysis; raises `JobStopped` or `TimedOut`"
        percent, now = self.progress(event), time.monotonic()
        if event.status == "done":
            self._count(event)
        if event.status != "progress" and self.keeper.stop.is_set():
            raise JobStopped(f"asked to stop at stage {event.stage}")
        if now > self.deadline:
            raise TimedOut(f"it took longer than server.timeout = {self.service.limits.timeout:g} s")
        if event.status == "progress" and now - self.last_notice < 1:
            return
        self.last_notice = now
        self.keeper.report(event.stage, percent / 100, event.stored)
        notify_progress(self.service, self.job, percent, event.stage)

    def _count(self, event: StageEvent) -> None:
        seconds, runs = self.service.stage_seconds.get(event.stage, (0.0, 0))
        self.service.stage_seconds[event.stage] = seconds + event.seconds, runs + 1


def job_settings(service: Service, job: Job) -> Settings:
    "Return the service's settings with what the request asks for"
    transcribe, export = service.settings.transcribe, service.settings.export
    if job.task["language"] != "auto":
        transcribe = transcribe.model_copy(update={"language": job.task["language"]})
    if recognizer := job.task.get("recognizer"):
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in recognizer.items()}
        transcribe = transcribe.model_copy(update=values)
    if job.task["silence_marks"]:
        export = export.model_copy(update={"silence_marks": True})
    return service.settings.model_copy(update={"transcribe": transcribe, "export": export})


def work_on(service: Service, job: Job) -> None:
    "Analyze a claimed job and end it in the queue, whatever happens"
    _start(service, job)
    try:
        with LeaseKeeper(service.queue, job, service.stopping, service.lease) as keeper:
            try:
                analysis = analyze(job.source, job_settings(service, job), JobHook(service, job, keeper))
                _finish(service, job, analysis)
            except LeaseLost:
                raise
            except Exception as e:
                _end_badly(service, job, classify_failure(e))
    except LeaseLost:
        _log.warning("another process took this job over", extra={"job": job.id})
    send_missing_finals(service, time.time() - _DAY)
    forget_upload(service, job.id)
    service.deliverer.wake()


def _start(service: Service, job: Job) -> None:
    _log.info("started", extra={"job": job.id, "more": {"attempt": job.attempt}})
    if job.attempt > 1:
        with service.queue.transaction() as db:
            reopen(db, job.id)
    notify_progress(service, job, 0, "start")


def _finish(service: Service, job: Job, analysis: Analysis) -> None:
    "Put result and final message in place with the end of the job, or none of the three"
    target = service.result_path(job.id)
    part = target.with_suffix(f".{job.attempt}.part")
    part.unlink(missing_ok=True)  # of a process that was killed
    write_part(part, json.dumps(to_dict(analysis), ensure_ascii=False, allow_nan=False))
    message = status_message("done", service.limits.language)
    body = callback_body(job.id, "completed", 100, message, backend_result(analysis))

    def publish(db):
        os.replace(part, target)
        url = job.task.get("callback")
        if url:
            enqueue(db, job.id, url, body, final=True)

    metadata = analysis.metadata
    summary = {
        "duration": metadata.duration,
        "total_segments": metadata.total_segments,
        "unique_speakers": metadata.unique_speakers,
    }
    finish(service.queue, job, publish, summary)
    more = {"seconds": round(metadata.timing.processing_time, 2), "duration": metadata.duration}
    _log.info("done", extra={"job": job.id, "more": more})


def _end_badly(service: Service, job: Job, failure: AnalysisFailure) -> None:
    "End an attempt that did not succeed: the job waits again, or fails"
    about = {"job": job.id}
    if failure.kind == "stopped":
        _return_to_queue(service, job)
        return

    def publish(db):
        if not is_tried_again(service.job(job.id), failure.kind, job.source):
            notify_failed(service, db, job, failure.code, failure.error)

    again = fail(service.queue, job, failure.kind, f"{failure.code}: {failure.error}", publish)
    _log.warning(
        "failed: %s: %s%s", failure.code, failure.error, "; will be tried again" if again else "", extra=about
    )


def _return_to_queue(service: Service, job: Job) -> None:
    "End an attempt that was stopped: it does not count"
    state = release(service.queue, job)
    _log.info("stopped before its end: %s", state, extra={"job": job.id})


def forget_upload(service: Service, job_id: str) -> None:
    "Delete the uploaded file of a job that has ended"
    job = service.job(job_id)
    if job and job.task.get("upload") and job.state in ("done", "failed", "cancelled"):
        shutil.rmtree(service.uploads / job.task["upload"], ignore_errors=True)


def cancel_job(service: Service, job_id: str) -> Job:  # as it is now
    "Cancel a job and notify its backend"
    cancel(service.queue, service.job(job_id))
    send_missing_finals(service, time.time() - _DAY)
    forget_upload(service, job_id)
    service.deliverer.wake()
    return service.job(job_id)


# The worker's thread


def start(service: Service) -> None:
    "Clean up, then start the worker and the deliverer"
    clean_up(service)
    send_missing_finals(service)
    service.deliverer.start()
    service.worker = threading.Thread(target=run_worker, args=(service,), name="worker", daemon=True)
    service.worker.start()


def stop(service: Service) -> None:
    "Take no more work, wait `server.shutdown_timeout` for the current stage, deliver callbacks that are due"
    stop_worker(service)
    with suppress(sqlite3.Error):
        send_missing_finals(service, time.time() - _DAY)
    waiting = service.deliverer.stop(5)
    _log.info("stopped", extra={"more": {"callbacks_waiting": waiting}})


def stop_worker(service: Service) -> None:
    "Take no more work, wait `server.shutdown_timeout` for the current stage, and give its job back"
    service.stopping.set()
    service.job_added.set()
    if service.worker:
        service.worker.join(service.limits.shutdown_timeout)
        job = service.current_job
        if service.worker.is_alive() and job:
            with suppress(LeaseLost, sqlite3.Error):
                _return_to_queue(service, job)


def run_worker(service: Service) -> None:
    "Load the models, then work on jobs until the service stops; answers to callers come first"
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    _load_models(service)
    owner, cleaned_up = owner_name(), time.monotonic()
    while not service.stopping.is_set():
        service.job_added.clear()
        try:
            _work_once(service, owner)
            if time.monotonic() - cleaned_up > _DAY:
                cleaned_up = time.monotonic()
                if not service.is_runner:
                    clean_up(service, at_start=service.runners == 1)
        except Exception as e:
            _log.error("the worker waits: %s", type(e).__name__)  # a full disk, a locked file: it passes
            service.stopping.wait(2)
    service.queue.close()


def _work_once(service: Service, owner: str) -> None:
    "Work on the next job, or wait for one"
    job = claim(service.queue, owner, service.lease)
    if job is None:
        send_missing_finals(service, time.time() - _DAY)  # the clock may have been set forward since
        service.job_added.wait(0.5)
        return
    service.current_job = job
    job_of_log.set(job.id)
    trace_of_log.set(job.task.get("trace"))
    try:
        work_on(service, job)
    finally:
        job_of_log.set(None)
        trace_of_log.set(None)
        service.current_job = None


def known_languages(settings: Settings) -> frozenset[str] | None:  # None: the recognizer does not tell
    "Return the codes of the languages that the recognizer knows; loads it"
    whisper = getattr(choose_transcriber(settings)[0], "whisper", None)
    return None if whisper is None else whisper.languages


def _load_models(service: Service) -> None:
    "Load the models by analyzing the packaged sample; an error shows in the log and in /ready"
    assets = files("ecg_audio_nb") / "assets"
    fetch = service.settings.fetch.model_copy(update={"media_roots": (str(assets),)})
    try:
        runtime = service.settings.runtime.model_copy(update={"checkpoints": False})  # all models shall run
        settings = service.settings.model_copy(update={"fetch": fetch, "runtime": runtime})
        analyze(str(assets / "sample.mp4"), settings)
        service.models_loaded = True
        service.languages = known_languages(service.settings)
    except Exception as e:
        service.models_loaded = False
        _log.error("models can't be loaded: %s", classify_failure(e).error)
    gc.collect()
    gc.freeze()  # the models' objects are not searched again while callers wait
