"""The wall clock steps by an hour, forward and back, under a running service"""
import pytest

from backend import Backend, Hasty, until
from ecg_audio_nb.batch.queue import Queue, attempts, get
from ecg_audio_nb.core.files import PACKAGE
from ecg_audio_nb.service.webhooks import messages
from stepped_clock import SteppedClock

SAMPLE = PACKAGE / "assets/sample.mp4"
HOUR = 3600


@pytest.mark.slow
def test_jobs_and_callbacks_go_on_while_the_clock_steps(tmp_path):
    stepped = SteppedClock(tmp_path / "clock")
    with Backend(answers=[503, 503]) as backend:
        served = Hasty(tmp_path, SAMPLE.parent, ECG_SERVER__ALLOW_PRIVATE="true", **stepped.env)
        served.start()
        try:
            for n, seconds in enumerate((HOUR, -HOUR, 24 * HOUR, 0)):
                assert served.post(f"job-{n}", SAMPLE, backend).status_code == 200
                until(lambda: served.state(f"job-{n}") != "queued")
                stepped.step(seconds)
                until(lambda: backend.last(f"job-{n}"), 120)
                assert backend.last(f"job-{n}")["status"] == "completed"
        finally: served.stop()
    queue = Queue(tmp_path / "service/.jobs/queue.sqlite")
    for n in range(4):
        assert [a["outcome"] for a in attempts(queue, get(queue, f"job-{n}"))] == ["done"]


@pytest.mark.slow
def test_a_callback_that_was_refused_arrives_in_time_though_the_clock_steps_back(tmp_path):
    stepped = SteppedClock(tmp_path / "clock")
    with Backend(answers=[503] * 1000) as backend:
        served = Hasty(tmp_path, SAMPLE.parent, ECG_SERVER__ALLOW_PRIVATE="true", **stepped.env)
        served.start()
        try:
            assert served.post("job", SAMPLE, backend).status_code == 200
            queue = Queue(tmp_path / "service/.jobs/queue.sqlite")
            until(lambda: [m for m in messages(queue, "waiting") if m.final and m.tries >= 2], 120)
            stepped.step(-HOUR)
            with backend.lock: backend.answers.clear()
            until(lambda: backend.last("job"), 100)
        finally: served.stop()
    assert backend.last("job")["status"] == "completed"
