"""Steps of the wall clock under the outbox: no message waits longer, none is sent twice"""
import time

import pytest

from ecg_audio_nb.batch.queue import owner_name
from ecg_audio_nb.service.webhooks import (
    Delivery,
    DeliveryResult,
    claim_due,
    enqueue,
    messages,
    record_results,
    replay,
)
from waiting import until

ME, ELSEWHERE = owner_name(), "otherhost/00000000.1/77/123"
HOUR = 3600
FAST = Delivery(time_scale=0.005, poll_interval=0.01)


@pytest.fixture
def step(monkeypatch):
    true = time.time
    def set_to(seconds): monkeypatch.setattr(time, "time", lambda: true() + seconds)
    return set_to


def say(queue, job="j", url="http://127.0.0.1:9/"):
    body = {"job_id": job, "status": "completed", "progress": 100}
    with queue.transaction() as db: enqueue(db, job, url, body, final=True)


def test_a_message_that_failed_before_a_step_back_is_tried_in_time(queue, step):
    say(queue)
    [m] = claim_due(queue, ME, 1)
    record_results(queue, ME, [(m, DeliveryResult(503))], FAST)
    step(-HOUR)
    until(lambda: claim_due(queue, ME, 1), 10)


def test_a_pause_of_a_host_is_as_long_as_it_was_asked_for(queue, step):
    say(queue)
    [m] = claim_due(queue, ME, 1)
    record_results(queue, ME, [(m, DeliveryResult(503, retry_after=1))], FAST)
    step(-HOUR)
    say(queue, "other")
    until(lambda: claim_due(queue, ME, 2), 20)


def test_a_message_in_flight_elsewhere_is_not_sent_twice(queue, step):
    say(queue)
    assert claim_due(queue, ELSEWHERE, 1)
    step(HOUR)
    assert claim_due(queue, ME, 1) == []


def test_the_lease_of_a_silent_machine_ends_all_the_same(queue, step):
    say(queue)
    assert claim_due(queue, ELSEWHERE, 1, Delivery(lease=0.05))
    step(-HOUR)
    until(lambda: claim_due(queue, ME, 1), 10)


def test_a_replay_is_due_at_once(queue, step):
    say(queue)
    [m] = claim_due(queue, ME, 1)
    record_results(queue, ME, [(m, DeliveryResult(permanent=True))])
    assert messages(queue, "dead")
    replay(queue, "j")
    step(-HOUR)
    assert claim_due(queue, ME, 1)
