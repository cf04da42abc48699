"""What a person sees of a batch: lines, a job, the page kept up to date"""
import os
import time

import pytest

from batch_helpers import notebook
from ecg_audio_nb.batch.monitor import (
    IndexPage,
    Monitor,
    Snapshot,
    describe_attempt,
    describe_job,
    format_settings,
    describe_stage,
    format_counts,
)
from ecg_audio_nb.batch.queue import (
    Job,
    add,
    attempts,
    claim,
    fail,
    finish,
    get,
    heartbeat,
    owner_name,
    release,
)
from ecg_audio_nb.batch.spec import BatchSpec, enqueue


def test_the_counts_of_a_queue(queue):
    add(queue, [Job("1", "talk", "talk.wav")])
    assert format_counts(Monitor(queue).snapshot()) == "0 of 1 done"


@pytest.mark.parametrize("seconds, left", [(40, "40 s"), (600, "10 min"), (7200, "2.0 h")])
def test_speed_and_time_left(seconds, left):
    number = {"queued": 3, "running": 1, "done": 5, "failed": 1, "cancelled": 0}
    assert format_counts(Snapshot(number, [], [], 6.0, seconds)) == (
        f"5 of 10 done, 1 failed, 6.0 a minute, about {left} left"
    )


@pytest.mark.parametrize(
    "outcome, state, error, line",
    [
        (
            "infra",
            "queued",
            "the kernel died",
            "failed talk (61.2 s): the kernel died; it will be tried again",
        ),
        ("user", "failed", "no such file", "failed talk (61.2 s): no such file"),
        ("done", "done", None, "done talk (61.2 s)"),
        (
            "returned",
            "queued",
            "its runner was asked to stop",
            "requeued talk (61.2 s): its runner was asked to stop",
        ),
        ("returned", "cancelled", "asked to stop", "cancelled talk (61.2 s): asked to stop"),
        ("lost", "queued", "its runner died", "lost talk (61.2 s): its runner died; it will be tried again"),
    ],
)
def test_an_attempt_in_a_line(outcome, state, error, line):
    assert (
        describe_attempt(
            {"name": "talk", "outcome": outcome, "state": state, "seconds": 61.2, "error": error}
        )
        == line
    )


def test_a_monitor_tells_each_attempt_once(queue):
    add(queue, [Job("1", "talk", "talk.wav")])
    monitor = Monitor(queue)
    fail(queue, claim(queue, owner_name()), "infra", "the kernel died", wait=0)
    job = claim(queue, owner_name())
    heartbeat(queue, job, stage="diarize", progress=0.25)
    seen = monitor.snapshot()
    assert [a["outcome"] for a in seen.ended] == ["infra"] and describe_stage(
        seen.running[0]
    ) == "talk: diarize 25 %"
    time.sleep(0.01)
    finish(queue, job)
    seen = monitor.snapshot()
    assert [a["outcome"] for a in seen.ended] == ["done"] and not seen.running and seen.per_minute > 0


def test_a_job_for_a_person(queue):
    task = {
        "parameters": {
            "source": "x",
            "profile": "t4",
            "overrides": {"diarize.num_speakers": 2},
            "floor": -30,
            "seed": 1,
        }
    }
    add(queue, [Job("1f", "talk", "https://me:secret@x.org/talk.mp4", task)])
    release(queue, claim(queue, owner_name()))
    fail(queue, claim(queue, owner_name()), "user", "MediaError: no sound in it")
    job = get(queue, "1f")
    text = describe_job(job, attempts(queue, job))
    assert format_settings(job) == "profile=t4, diarize.num_speakers=2, floor=-30"
    for part in (
        "talk\n",
        "failed (1 of 3 tries), kind user",
        "no sound in it",
        "x.org/talk.mp4",
        "profile=t4",
        "attempt 1 ",
        "attempt 2 ",
        " UTC",
        f"by process {os.getpid()} on ",
    ):
        assert part in text, part
    assert "secret" not in text and str(int(job.created)) not in text
    assert "the defaults" in describe_job(
        Job("1", "talk", "talk.wav", state="running", stage="media", attempt=1, tries=1)
    )


def test_the_page_is_kept_while_jobs_end(tmp_path, inbox, queue, store):
    enqueue(queue, BatchSpec(notebook(tmp_path / "toy.ipynb")), [str(inbox[0])], store)
    page, monitor, written = IndexPage(queue, store, interval=0), Monitor(queue), store.path / "index.html"
    page.update(monitor.snapshot())
    assert not written.exists(), "nothing has ended"
    fail(queue, claim(queue, "me"), "user", "no good")
    store.write = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    page.update(last := monitor.snapshot())
    assert last.ended and page.stale and not written.exists(), "a full disk ends nothing"
    del store.write
    page.update(monitor.snapshot())
    assert "no good" in written.read_text() and not page.stale
    page.interval = 1e9
    page.stale = True
    written.unlink()
    page.update(last)
    assert not written.exists(), "not again so soon"
