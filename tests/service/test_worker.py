"""What becomes of a job: progress, failures, one job done here and now, a worker that lives on"""
import json, os, sqlite3, threading, time

import pytest


from ecg_audio_nb.core.files import PACKAGE
from ecg_audio_nb.audio.fetch import FetchError
from ecg_audio_nb.audio.media import MediaError
from ecg_audio_nb.batch.queue import claim, owner_name
from ecg_audio_nb.pipeline import StageEvent
from ecg_audio_nb.schema import Analysis, from_dict
from ecg_audio_nb.service import jobs
from ecg_audio_nb.service.app import ServerSettings
from ecg_audio_nb.service.jobs import Progress, classify_failure, work_on
from ecg_audio_nb.service.models import job_status
from ecg_audio_nb.service.state import clean_up
from ecg_audio_nb.service.submission import estimate_seconds, submit, to_job
from waiting import until


def test_progress_adds_up_and_never_falls():
    progress = Progress()
    events = [
        ("fetch", "done", None),
        ("transcribe", "progress", 0.5),
        ("transcribe", "progress", 0.2),
        ("diarize", "done", None),
    ]
    assert [progress(StageEvent(*e)) for e in events] == [5, 30, 30, 50]

def test_failures_are_classified():
    assert classify_failure(MediaError("talk.mp4: it has no audio stream")).kind == "user"
    assert (
        classify_failure(FetchError("https://x.org/a?key=1: no connection to the host; try again")).code
        == "DOWNLOAD_ERROR"
    )
    unforeseen = classify_failure(RuntimeError("/srv/someone/secret.txt"))
    assert (unforeseen.kind, unforeseen.code) == (
        "infra",
        "PROCESSING_ERROR",
    ) and "secret" not in unforeseen.error


def test_a_job_is_done_here_and_now(service):
    submit(service, [to_job(service, "talk-1", str(PACKAGE / "assets/sample.mp4"))])
    work_on(service, claim(service.queue, owner_name()))
    job = service.job("talk-1")
    assert (job.state, job_status(job).progress, estimate_seconds(service, 2) is not None) == (
        "done",
        100,
        True,
    )
    assert isinstance(from_dict(json.loads(service.result_path("talk-1").read_text())), Analysis)

def test_a_job_that_was_given_back_goes_on_from_its_checkpoints(service, monkeypatch):
    seen, true = [], jobs.analyze
    def analyze(source, settings, hook):
        def on_event(event):
            if event.status == "done":
                seen.append((event.stage, event.from_cache))
                if event.stage == "align": service.stopping.set()
                if event.stage == "align": hook.keeper.stop.set()
            hook(event)
        return true(source, settings, on_event)
    monkeypatch.setattr(jobs, "analyze", analyze)
    submit(service, [to_job(service, "talk-1", str(PACKAGE / "assets/sample.mp4"))])
    work_on(service, claim(service.queue, owner_name()))
    assert service.job("talk-1").state == "queued" and ("transcribe", False) in seen
    seen.clear()
    service.stopping.clear()
    monkeypatch.setattr(jobs, "analyze", lambda source, settings, hook: true(
        source, settings, lambda e: (e.status == "done" and seen.append((e.stage, e.from_cache)), hook(e))))
    work_on(service, claim(service.queue, owner_name()))
    job = service.job("talk-1")
    assert (job.state, job.tries) == ("done", 1)
    assert {("transcribe", True), ("align", True), ("voice", True)} <= set(seen)

@pytest.mark.parametrize("stored, state, finals", [(3, "queued", 0), (0, "failed", 1)])
def test_a_third_failure_is_final_only_where_nothing_was_stored(make_service, monkeypatch, stored, state, finals):
    service = make_service()
    def analyze(source, settings, hook):
        hook(StageEvent("transcribe", "start", stored=stored))
        until(lambda: service.job("talk-1").stage == "transcribe")
        raise MemoryError("no memory")
    monkeypatch.setattr(jobs, "analyze", analyze)
    job = to_job(service, "talk-1", str(PACKAGE / "assets/sample.mp4"), callback="https://backend.example/")
    submit(service, [job])
    service.queue.db.execute("update jobs set tries=2")
    work_on(service, claim(service.queue, owner_name()))
    assert service.job("talk-1").state == state
    assert service.queue.db.execute("select count(*) from outbox where closes").fetchone()[0] == finals

def test_checkpoints_can_be_switched_off_and_end_with_the_results(service, make_service, monkeypatch):
    folder = service.root / "checkpoints/ab"
    folder.mkdir(parents=True)
    for name, seconds in (("old.npz", 31 * 86400), ("new.npz", 29 * 86400)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - seconds,) * 2)
    clean_up(service)
    assert [path.name for path in folder.iterdir()] == ["new.npz"]
    assert service.settings.runtime.checkpoints is True
    monkeypatch.setenv("ECG_RUNTIME__CHECKPOINTS", "false")
    assert make_service().settings.runtime.checkpoints is False

def test_a_locked_file_at_the_first_claim_does_not_end_the_worker(service, monkeypatch):
    errors, asked = iter([sqlite3.OperationalError("database is locked")]), threading.Event()
    def claim_later(*args):
        if error := next(errors, None): raise error
        asked.set()
    monkeypatch.setattr(jobs, "claim", claim_later)
    monkeypatch.setattr(jobs, "_load_models", lambda service: None)
    monkeypatch.setattr(service.stopping, "wait", lambda seconds: None)
    worker = threading.Thread(target=jobs.run_worker, args=(service,), daemon=True)
    worker.start()
    try: assert asked.wait(30) and worker.is_alive()
    finally:
        service.stopping.set()
        worker.join(30)

def test_a_stage_that_outlasts_the_stop_gives_its_job_back_and_says_so(service, caplog):
    caplog.set_level("INFO")
    submit(service, [to_job(service, "slow", str(PACKAGE / "assets/sample.mp4"))])
    service.current_job = claim(service.queue, owner_name())
    at_work = threading.Event()
    service.worker = threading.Thread(target=at_work.wait, daemon=True)
    service.worker.start()
    service.limits = ServerSettings(shutdown_timeout=0.01)
    jobs.stop(service)
    at_work.set()
    assert service.job("slow").state == "queued" and "stopped before its end: queued" in caplog.text
