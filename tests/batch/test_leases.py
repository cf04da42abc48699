"""The lease of a running job: renewed in time, its stage passed on, and the wish to stop heard"""
import threading
import time
from types import SimpleNamespace

import pytest
from waiting import until

from ecg_audio_nb.batch.failures import JobStopped
from ecg_audio_nb.batch.leases import STAGE, STOP, LeaseKeeper, job_hook, read_stage, write_stage
from ecg_audio_nb.batch.queue import Job, Queue, add, cancel, claim, get


@pytest.fixture
def job(tmp_path):
    queue = Queue(tmp_path / "queue.sqlite")
    add(queue, [Job("1", "talk", "/talk.wav", {})])
    yield queue, claim(queue, "me", lease=0.6)
    queue.close()


def test_a_stage_is_read_as_it_was_written(tmp_path):
    assert read_stage(tmp_path) is None
    write_stage(tmp_path, "diarize", 0.5)
    assert read_stage(tmp_path) == ["diarize", 0.5, 0]
    (tmp_path / "stage").write_text("[half")
    assert read_stage(tmp_path) is None


def test_the_lease_is_renewed_and_the_stage_told(job):
    queue, mine = job
    with LeaseKeeper(queue, mine, threading.Event(), lease=0.6) as keeper:
        keeper.report("transcribe", 0.25, 7)
        until(lambda: (found := get(queue, mine.id)).stage == "transcribe" and found.progress == 0.25)
        assert get(queue, mine.id).stored == 7
        time.sleep(1)
        assert get(queue, mine.id).state == "running" and not keeper.lost and not keeper.stop.is_set()


def test_a_cancelled_job_is_asked_to_stop(job):
    queue, mine = job
    with LeaseKeeper(queue, mine, threading.Event(), lease=0.6) as keeper:
        cancel(queue, get(queue, mine.id))
        assert keeper.stop.wait(10) and (keeper.folder / STOP).exists()


def test_a_runner_that_stops_asks_its_job(job):
    queue, mine = job
    stopping = threading.Event()
    with LeaseKeeper(queue, mine, stopping) as keeper:
        stopping.set()
        assert keeper.stop.wait(10)


def test_the_hook_reports_each_stage_and_stops_between_two(tmp_path, monkeypatch):
    monkeypatch.setenv("ECG_JOB_DIR", str(tmp_path))
    seen = []
    hook = job_hook(seen.append)

    def event(stage, status, fraction=None):
        return SimpleNamespace(stage=stage, status=status, fraction=fraction, stored=2)

    hook(event("voice", "start"))
    assert read_stage(tmp_path) == ["voice", None, 2]
    hook(event("voice", "progress", 0.5)) # half a second has not passed: nothing is written
    assert read_stage(tmp_path) == ["voice", None, 2] and len(seen) == 2
    (tmp_path / STOP).touch()
    hook(event("voice", "progress", 0.7)) # a stage is not cut
    with pytest.raises(JobStopped, match="asked to stop; the last stage was voice"):
        hook(event("voice", "done"))
    assert (tmp_path / STAGE).exists()
