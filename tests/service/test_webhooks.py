"""Callbacks over real sockets: receivers that are slow, busy, broken, moved, gone or down, and deliverers
that are killed"""
import json, logging, signal, socket, sqlite3, ssl, subprocess, sys, threading, time
from collections import Counter

import pytest
from standardwebhooks import Webhook
from typer.testing import CliRunner

from backend import SECRET, Receiver, check_told
from service_load import outbox_for_a_faulty_receiver
from certificates import write_certificate
from ecg_audio_nb.service.webhooks import (
    CallbackError,
    Deliverer,
    Delivery,
    DeliveryResult,
    _retry_after,
    backend_result,
    callback_url,
    claim_due,
    classify,
    enqueue,
    messages,
    outcome_text,
    prepare,
    prune,
    record_results,
    reopen,
    replay,
    sign,
    webhook_keys,
)
from ecg_audio_nb.cli import app
from ecg_audio_nb.batch.queue import Job, Queue, add, claim, fail, finish, owner_name
from ecg_audio_nb.pipeline import analyze
from ecg_audio_nb.schema import AcousticFeatures, Analysis, Metadata, Segment, Speaker, Turn, Word
from ecg_audio_nb.settings import load_settings

OTHER = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
# first wait 25 ms, the longest 18 s, given up after 22 minutes
FAST = Delivery(time_scale=0.005, poll_interval=0.01)
ME = owner_name()



def say(queue, job, url, progress=None, status="completed", **more):
    body = {
        "job_id": job,
        "status": "processing" if progress is not None else status,
        "progress": 100 if progress is None else progress,
        **more,
    }
    with queue.transaction() as db: return enqueue(db, job, url, body, final=progress is None)

def until(true, seconds=60):
    "Wait for something; a net under what never comes"
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
    return found

def settled(queue): return not messages(queue, "waiting", "sending")

def deliver(queue, settings=FAST, secret=SECRET, **kwargs):
    "Deliver until nothing waits"
    d = Deliverer(queue, settings, secret, **kwargs).start()
    try: until(lambda: settled(queue))
    finally: d.stop(0)

def only(queue):
    [m] = messages(queue)
    return m


# Answers

FAULTS = {
    "500": lambda n, body: 500 if n < 3 else 200,
    "408": lambda n, body: 408 if n < 3 else 200,
    "429": lambda n, body: (429, {"Retry-After": "0"}, b"slow down") if n < 3 else 200,
    "reset": lambda n, body: None if n < 3 else 200,
    "404 for a while": lambda n, body: 404 if n < 3 else 200,
    "302 for a while": lambda n, body: (302, {"Location": "/elsewhere"}, b"") if n < 3 else 200,
}

@pytest.mark.parametrize("fault", FAULTS)
def test_what_passes_is_tried_again_under_the_same_id(queue, fault):
    with Receiver(FAULTS[fault]) as r:
        id = say(queue, "j", r.url, result={"text": "네, 좋아요"})
        deliver(queue)
    assert r.tries == {id: 3} and not [t for t in r.took if t[0] == "GET"]
    assert r.bodies() == [
        {"job_id": "j", "status": "completed", "progress": 100, "result": {"text": "네, 좋아요"}}
    ]
    m = only(queue)
    assert (m.state, m.tries, m.status) == ("delivered", 3, 200)


def test_ignored_is_delivered(queue):
    with Receiver(lambda n, body: (200, {}, b'{"status":"ignored","reason":"no such job"}')) as r:
        say(queue, "j", r.url)
        deliver(queue)
    m = only(queue)
    assert (m.state, m.tries, m.answer) == ("delivered", 1, '{"status":"ignored","reason":"no such job"}')


@pytest.mark.parametrize(
    "status, headers", [(302, {"Location": "/elsewhere"}), (400, {}), (401, {}), (422, {})]
)
def test_what_stays_refused_is_dead_and_can_be_replayed(queue, status, headers, caplog):
    mended = []
    with Receiver(lambda n, body: 200 if mended else (status, headers, b"\x1b[31mno\nno")) as r:
        id = say(queue, "j", r.url + "?key=confidential")
        deliver(queue)
        m = only(queue)
        assert (m.state, m.tries, m.status, m.answer) == ("dead", 4, status, "[31mno no")
        assert f"replay {id}" in caplog.text and "confidential" not in caplog.text
        mended.append(True)
        assert [m.state for m in replay(queue, id[:12])] == ["waiting"]
        deliver(queue)
    assert only(queue).state == "delivered" and set(r.tries) == {id} and r.took[0][0] != "GET"


def test_410_stops_the_job_and_no_other(queue):
    with Receiver(lambda n, body: 410 if body["job_id"] == "a" else 200) as r:
        say(queue, "a", r.url, 10)
        say(queue, "b", r.url)
        deliver(queue)
        assert say(queue, "a", r.url, 20) is None
        last = say(queue, "a", r.url)
        deliver(queue)
        assert sum(r.tries.values()) == 2
        assert {m.job: m.state for m in messages(queue)} == {"a": "gone", "b": "delivered"}
        r.script = lambda n, body: 200
        replay(queue, last)
        deliver(queue)
    assert [b["job_id"] for b in r.bodies()] == ["b", "a"]


def test_a_pause_that_is_asked_for_holds_for_the_whole_host(queue):
    times = []
    def script(n, body):
        times.append(time.time())
        return (503, {"Retry-After": "1"}, b"") if len(times) == 1 else 200
    with Receiver(script) as r, Receiver() as other:
        say(queue, "first", r.url)
        d = Deliverer(queue, FAST, SECRET).start()
        until(lambda: [m for m in messages(queue, "waiting", job="first") if m.tries])
        for i in range(5): say(queue, f"later{i}", r.url)
        say(queue, "elsewhere", other.url)
        until(lambda: settled(queue))
        d.stop(0)
    assert len(times) == 7 and min(times[1:]) - times[0] >= 1
    assert messages(queue, job="elsewhere")[0].ended < min(times[1:])


def test_a_slow_receiver_is_cut_and_holds_up_nobody(queue):
    def drip(n, body):
        if body["job_id"].startswith("slow"): time.sleep(0.6)
        return 200
    with Receiver(drip) as r, Receiver() as quick:
        for i in range(8): say(queue, f"slow{i}", r.url)
        for i in range(4): say(queue, f"quick{i}", quick.url)
        d = Deliverer(queue, Delivery(time_scale=1, poll_interval=0.01, timeout=0.2), SECRET).start()
        until(
            lambda: (
                len(messages(queue, "delivered")) == 4
                and len([m for m in messages(queue, "waiting") if m.tries]) == 8
            )
        )
        d.stop(0)
    late = messages(queue, "waiting")
    assert {m.job[:4] for m in late} == {"slow"} and all(m.status is None and m.answer for m in late)


def test_one_host_leaves_room_for_others(queue):
    for i in range(20): say(queue, f"a{i}", "http://a/")
    say(queue, "b", "http://b/")
    assert [m.job for m in claim_due(queue, ME, 8)] == [*(f"a{i}" for i in range(6)), "b"]
    assert claim_due(queue, ME, 8) == []


def test_a_byte_now_and_then_does_not_keep_a_delivery_for_ever(queue):
    server = socket.create_server(("127.0.0.1", 0))
    def drip():
        line, _ = server.accept()
        try:
            while True: line.send(b"H"); time.sleep(0.05)
        except OSError: pass
    threading.Thread(target=drip, daemon=True).start()
    say(queue, "j", callback_url(f"http://127.0.0.1:{server.getsockname()[1]}"))
    d = Deliverer(queue, Delivery(poll_interval=0.01, timeout=0.3), SECRET).start()
    m = until(lambda: [m for m in messages(queue, "waiting") if m.tries])[0]
    d.stop(0)
    server.close()
    assert (m.status, m.answer) == (None, "cut off: no answer in time")


def test_what_follows_a_2xx_changes_nothing(queue):
    with Receiver(lambda n, body: (200, {"Content-Length": "1000"}, b"taken")) as r: # and then the line ends
        say(queue, "j", r.url)
        deliver(queue)
    assert (only(queue).state, only(queue).answer, only(queue).tries) == ("delivered", "taken", 1)


def test_the_wait_grows_to_an_hour_and_ends_after_three_days(queue):
    say(queue, "j", "http://h/")
    waits = []
    while (m := only(queue)).state == "waiting":
        queue.db.execute("update outbox set due=0")
        [m] = claim_due(queue, ME, 1)
        before = time.time()
        record_results(queue, ME, [(m, DeliveryResult(500))])
        waits.append(only(queue).due - before)
    assert m.state == "dead" and waits.pop() < 1
    assert all(0.8 * w <= got <= 1.2 * w + 0.5 for w, got in zip([5, 20, 80, 320, 1280, *[3600] * 99], waits))
    assert 60 < len(waits) < 90 and sum(waits) < 3 * 86400 < sum(waits) + 2 * 4320
    assert len(set(waits)) == len(waits) # jitter


def test_a_stop_of_the_service_does_not_use_up_the_three_days(queue):
    say(queue, "j", "http://h/")
    queue.db.execute("update outbox set created=created-864000, due=due-864000")
    record_results(queue, ME, [(claim_due(queue, ME, 1)[0], DeliveryResult(None, "refused"))])
    assert only(queue).state == "waiting"


def test_a_very_long_pause_with_many_tries_overflows_nothing(queue):
    say(queue, "j", "http://h/")
    queue.db.execute("update outbox set tries=100000")
    record_results(
        queue, ME, [(claim_due(queue, ME, 1)[0], DeliveryResult(429, "", 10.0))], Delivery(first_wait=5.0)
    )
    m = only(queue)
    assert m.state == "waiting" and 9 < m.due - time.time() <= 10


# Order and merging

def test_progress_is_merged_and_never_falls(queue):
    url = "http://h/"
    ids = [say(queue, "j", url, p) for p in (10, 30, 20, 40.5)]
    assert len(set(ids)) == 4 and only(queue).id == ids[-1]
    assert json.loads(only(queue).body)["progress"] == 40.5
    [m] = claim_due(queue, ME, 1)
    say(queue, "j", url, 5)  # in flight is not replaced
    assert [(json.loads(m.body)["progress"], m.state) for m in messages(queue)] == [
        (40.5, "sending"),
        (40.5, "waiting"),
    ]
    assert claim_due(queue, ME, 9) == []
    record_results(queue, ME, [(m, DeliveryResult(500))]) # the later one takes its place
    [m] = claim_due(queue, ME, 9)
    assert m.id != ids[-1] and only(queue).state == "sending"
    record_results(queue, ME, [(m, DeliveryResult(200))])
    last = say(queue, "j", url, status="failed", error_code="no_speech")
    assert say(queue, "j", url, 99) is None and say(queue, "j", url) is None
    assert [m.id for m in messages(queue, "waiting")] == [last]


def test_a_last_word_waits_for_what_is_in_flight_and_not_for_what_failed(queue):
    say(queue, "j", "http://h/", 10)
    [m] = claim_due(queue, ME, 1)
    last = say(queue, "j", "http://h/")
    assert claim_due(queue, ME, 1) == []
    record_results(queue, ME, [(m, DeliveryResult(None))])
    assert [m.id for m in claim_due(queue, ME, 9)] == [last]


def test_a_job_that_runs_again_has_another_last_word(queue):
    first = say(queue, "j", "http://h/", status="failed")
    with queue.transaction() as db: reopen(db, "j")
    say(queue, "j", "http://h/", 10)
    assert json.loads(messages(queue)[-1].body)["progress"] == 10
    second = say(queue, "j", "http://h/")
    assert [m.id for m in messages(queue)] == [first, second] and say(queue, "j", "http://h/") is None


def test_progress_is_merged_while_the_receiver_is_down_and_every_last_word_arrives_in_order(queue):
    with Receiver() as r: port = r.port
    d = Deliverer(queue, FAST, SECRET).start()
    for p in range(0, 100, 5):
        for j in range(10): say(queue, f"job{j}", r.url, p)
    until(lambda: all(m.tries for m in messages(queue, "waiting")))
    for j in range(5): say(queue, f"job{j}", r.url)
    held = len(messages(queue))
    assert held <= 20
    with Receiver(port=port) as r:
        for j in range(5, 10): say(queue, f"job{j}", r.url)
        until(lambda: settled(queue))
        d.stop(0)
    check_told(r, 10)
    assert len(r.bodies()) < 50


# 200 in tests/soak
def test_many_jobs_through_a_receiver_with_every_fault(tmp_path): outbox_for_a_faulty_receiver(tmp_path, 60)


# Kills and stops

DELIVER = """
import sys, time
from ecg_audio_nb.service.webhooks import *
from ecg_audio_nb.batch.queue import Queue
Deliverer(Queue(sys.argv[1]), Delivery(time_scale=0.005, poll_interval=0.01, lease=3600), sys.argv[2]).start()
print("started", flush=True)
time.sleep(600)
"""

def test_a_killed_deliverer_loses_no_last_word(queue):
    with Receiver(lambda n, body: time.sleep(0.03) or 200) as r:
        for j in range(60): say(queue, f"job{j}", r.url)
        for goal in (5, 20, 35):
            p = subprocess.Popen(
                [sys.executable, "-c", DELIVER, queue.path, SECRET], stdout=subprocess.PIPE, text=True
            )
            assert p.stdout.readline() == "started\n"
            until(lambda goal=goal: len(messages(queue, "delivered")) >= goal and messages(queue, "sending"))
            p.send_signal(signal.SIGKILL)
            p.wait()
        assert messages(queue, "waiting", "sending") # it was killed in the middle
        deliver(queue)
        check_told(r, 60)
    assert Counter(m.state for m in messages(queue)) == {"delivered": 60}


def test_the_lease_of_an_unseen_process_ends(queue):
    say(queue, "j", "http://h/")
    elsewhere = "otherhost/00000000.1/77/123"
    [m] = claim_due(queue, elsewhere, 1)
    assert claim_due(queue, ME, 1) == []
    queue.db.execute("update outbox set lease=lease-61")
    [again] = claim_due(queue, ME, 1)
    assert (again.id, again.tries) == (m.id, 2)
    record_results(queue, elsewhere, [(m, DeliveryResult(400))]) # too late
    assert only(queue).state == "sending"


def test_a_live_delivery_keeps_its_lease(queue):
    with Receiver(lambda n, body: time.sleep(1) or 200) as r:
        say(queue, "j", r.url)
        deliverers = [
            Deliverer(queue, Delivery(poll_interval=0.01, lease=0.3), SECRET).start() for _ in range(2)
        ]
        until(lambda: settled(queue))
        for d in deliverers: d.stop(0)
    assert sum(r.tries.values()) == 1 and only(queue).tries == 1


def test_stop_delivers_what_is_due_and_keeps_the_rest(queue):
    open_ = threading.Event()
    with Receiver(
        lambda n, body: (
            500
            if body["job_id"] == "later"
            else (open_.wait(20) and 200 if body["job_id"] == "slow" else 200)
        )
    ) as r:
        d = Deliverer(queue, Delivery(poll_interval=3600), SECRET)
        for job in ("later", *(f"job{i}" for i in range(20))): say(queue, job, r.url)
        d.start()
        assert d.stop(30) == 1 # what failed waits for the next start
        assert Counter(m.state for m in messages(queue)) == {"delivered": 20, "waiting": 1}
        say(queue, "slow", r.url)
        d.start()
        until(lambda: messages(queue, "sending"))
        assert d.stop(0.1) == 2 and not d._thread.is_alive() # cut in flight, and no sleep until the next look
        assert [m.answer for m in messages(queue, job="slow")] == ["cut off: its process was stopped"]
        open_.set()
        r.script = lambda n, body: 200
        replay(queue, "later")
        deliver(queue)
    assert {b["job_id"] for b in r.bodies()} == {"later", "slow", *(f"job{i}" for i in range(20))}


def test_a_locked_file_stops_delivery_only_while_it_is_locked(queue, monkeypatch):
    with Receiver() as r:
        faults = iter([sqlite3.OperationalError("database or disk is full")] * 3)
        real = Queue.transaction
        def transaction(self):
            if threading.current_thread().name == "callbacks" and (fault := next(faults, None)): raise fault
            return real(self)
        monkeypatch.setattr(Queue, "transaction", transaction)
        say(queue, "j", r.url)
        deliver(queue)
        assert next(faults, None) is None
    assert only(queue).state == "delivered"


# With the queue

def test_the_last_word_and_the_end_of_the_job_are_one(queue):
    [(job, _)] = add(queue, [Job("j1", "talk", "talk.mp4")])
    body = {"job_id": "j1", "status": "completed", "progress": 100}
    mine = claim(queue, ME)
    queue.db.execute("update jobs set attempt=attempt+1")  # the claim went to another
    with pytest.raises(Exception, match="talk"):
        finish(queue, mine, lambda db: enqueue(db, "j1", "http://h/", body, final=True))
    assert messages(queue) == []
    queue.db.execute("update jobs set attempt=attempt-1")
    fail(
        queue,
        mine,
        "user",
        "no speech",
        lambda db: enqueue(db, "j1", "http://h/", {**body, "status": "failed"}, final=True),
    )
    assert json.loads(only(queue).body)["status"] == "failed"
    with pytest.raises(CallbackError, match="no transaction"):
        enqueue(queue.db, "j2", "http://h/", body, final=True)


@pytest.mark.parametrize("wrong", [float("nan"), {1, 2}, b"bytes"])
def test_a_body_that_is_no_json_leaves_nothing(queue, wrong):
    with pytest.raises((ValueError, TypeError)): say(queue, "j", "http://h/", result=wrong)
    assert messages(queue) == []


def test_half_a_character_can_be_told(queue):
    with Receiver() as r:
        say(queue, "j", r.url, message="a\ud800b")
        deliver(queue)
    assert r.bodies()[0]["message"] == "a\ud800b"


def test_prune_forgets_what_was_delivered_alone(queue):
    for job, answer in (("a", 200), ("b", 410)):
        say(queue, job, "http://h/")
        record_results(queue, ME, [(claim_due(queue, ME, 1)[0], DeliveryResult(answer))])
    say(queue, "c", "http://h/")
    assert prune(queue, time.time() + 1) == 1 and [m.job for m in messages(queue)] == ["b", "c"]
    assert prune(queue, time.time() + 1, STATES_ALL) == 1 and [m.job for m in messages(queue)] == ["c"]

STATES_ALL = ("waiting", "sending", "delivered", "dead", "gone", "dropped")


def test_no_progress_is_lost_or_doubled_by_an_end_that_fails(queue):
    "The final message comes with the job's end, in one transaction, and nothing follows it"
    url = callback_url("http://127.0.0.1:9")
    def progress(percent): return {"job_id": "job-1", "status": "processing", "progress": percent}
    add(queue, [Job("job-1", "talk", "talk.mp4")])
    with queue.transaction() as db:
        for percent in (10, 40, 20): enqueue(db, "job-1", url, progress(percent), final=False)
    assert [json.loads(m.body)["progress"] for m in messages(queue)] == [40]
    with pytest.raises(CallbackError, match="no transaction is open"):
        enqueue(queue.db, "job-1", url, progress(50), final=False)

    def completed(db):
        enqueue(db, "job-1", url, {"job_id": "job-1", "status": "completed", "progress": 100}, final=True)

    def full(db):
        completed(db)
        raise OSError("No space left on device")
    mine = claim(queue, ME)
    with pytest.raises(OSError): finish(queue, mine, full)
    assert [m.final for m in messages(queue)] == [False]
    finish(queue, mine, completed)
    with queue.transaction() as db: assert enqueue(db, "job-1", url, progress(50), final=False) is None
    assert [m.final for m in messages(queue)] == [True]
    assert len(replay(queue, "job-1")) == 1
    with pytest.raises(CallbackError, match="no message of this id"): replay(queue, "job-7")
    assert prune(queue, time.time()) == 0


def test_a_claimed_message_is_nobody_elses_and_a_pause_is_kept(queue):
    say(queue, "job-1", "http://127.0.0.1:9/")
    [message] = claim_due(queue, f"me/{ME}", 9)
    assert (message.state, message.tries, claim_due(queue, f"other/{ME}", 9)) == ("sending", 1, [])
    record_results(queue, f"me/{ME}", [(message, DeliveryResult(503, "busy", retry_after=2))])
    m = only(queue)
    assert (m.state, m.status, m.answer, 4 < m.due - time.time() <= 5) == ("waiting", 503, "busy", True)
    say(queue, "job-2", "http://127.0.0.1:9/", status="failed")
    assert claim_due(queue, f"me/{ME}", 9) == []


def test_the_tables_are_made_once(queue):
    prepare(queue)
    assert queue.db.execute("select count(*) from outbox").fetchone()[0] == 0


def test_a_receiver_that_is_busy_at_first_takes_it_then(queue):
    with Receiver(lambda n, body: 500 if n == 1 else 200) as r:
        id = say(queue, "job-3", r.url)
        deliver(queue)
    assert r.tries == {id: 2} and [h["webhook-signature"][:3] for h, _ in r.took] == ["v1,"]
    assert [(m.job, m.state, m.tries, m.status) for m in messages(queue)] == [("job-3", "delivered", 2, 200)]


# Secrets and addresses

def test_signatures_verify_with_every_secret_of_a_rotation(queue):
    with Receiver() as r:
        say(queue, "j", r.url)
        deliver(queue, secret=f"{SECRET} {OTHER}")
    headers, raw = r.took[0]
    for secret in (SECRET, OTHER): assert Webhook(secret).verify(raw, headers)["job_id"] == "j"
    with pytest.raises(Exception, match="No matching signature"):
        Webhook("whsec_" + "A" * 32).verify(raw, headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(SECRET).verify(raw.replace("completed", "failed"), headers)


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), "whsec_QUJD", "whsec_QUI"])
def test_sign_agrees_with_the_library(secret):
    from datetime import datetime, timezone
    then = datetime.fromtimestamp(1700000000, tz=timezone.utc)
    assert sign(secret, "msg_1", 1700000000, '{"é":1}') == Webhook(secret).sign("msg_1", then, '{"é":1}')


def test_the_example_of_the_standard_has_its_signature():
    body = '{"test": 2432232314}'
    assert (
        sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
    assert (
        sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body.encode())
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
    with pytest.raises(CallbackError, match="secret 1 is not base64"):
        sign("päss wörd", "msg_1", 1614265330, body)


def test_a_backend_names_its_base_url():
    assert callback_url("http://backend:8000/") == "http://backend:8000/api/upload-video/result"
    for wrong in ("backend:8000", "ftp://backend", "http://", "http://backend:80a", "http://back end"):
        with pytest.raises(CallbackError, match="no URL to send results to"): callback_url(wrong)


@pytest.mark.parametrize("secret", ["p@ssword!", "whsec_", f"{SECRET} nämlich", "whsec_a"])
def test_an_unfit_secret_is_refused_and_not_shown(queue, secret):
    with pytest.raises(CallbackError) as e: Deliverer(queue, FAST, secret)
    assert not [
        part
        for part in secret.split()
        if part.removeprefix("whsec_")[1:] and part.removeprefix("whsec_") in str(e.value)
    ]
    assert webhook_keys(None) == webhook_keys("  ") == []


def test_no_secret_and_no_address_in_a_log(queue, caplog):
    caplog.set_level(logging.DEBUG)
    with Receiver(lambda n, body: 500 if n < 3 else 200) as r:
        say(queue, "j", r.url + "?key=confidential")
        deliver(queue)
    assert SECRET[6:] not in caplog.text
    told = [x.getMessage() for x in caplog.records if x.name.split(".")[0] in ("ecg_audio_nb", "httpx")]
    assert not [t for t in told if "confidential" in t]


def test_without_a_secret_it_is_unsigned_and_says_so_once(queue, caplog):
    with Receiver() as r:
        for j in range(5): say(queue, f"job{j}", r.url)
        deliver(queue, secret=None)
    assert [x.getMessage() for x in caplog.records].count(
        "callbacks are sent unsigned: ECG_WEBHOOK_SECRET is not set"
    ) == 1
    assert len(r.took) == 5 and all(
        "webhook-signature" not in {k.lower() for k in h} and h["webhook-id"] for h, _ in r.took
    )


@pytest.mark.parametrize("secret, which", [("whsec_QUJD", 1), ("QUJD", 1), (f"{SECRET} QUJD", 2)])
def test_a_short_secret_is_refused_and_not_shown(queue, secret, which):
    with pytest.raises(CallbackError, match=f"secret {which} has 3 bytes, and 24 to 64 are safe") as e:
        Deliverer(queue, FAST, secret)
    assert "QUJD" not in str(e.value)


def test_a_secret_of_16_bytes_works_as_before_with_a_warning(queue, caplog):
    Deliverer(queue, FAST, "MDEyMzQ1Njc4OWFiY2RlZg==")
    [said] = [x.getMessage() for x in caplog.records if "ECG_WEBHOOK_SECRET" in x.getMessage()]
    assert "secret 1 has 16 bytes, and 24 to 64 are safe" in said and "MDEy" not in said


def test_the_check_of_an_address_decides(queue, caplog):
    asked = []
    def check(url):
        asked.append(url)
        if "job0" in url and asked.count(url) < 4: raise ValueError("port 19000 is not among fetch.allow_ports")
        if "job1" in url and len(asked) < 5: raise OSError("Name or service not known")
    with Receiver() as r:
        ids = [say(queue, f"job{j}", f"{r.url}?job{j}") for j in range(3)]
        deliver(queue, check=check)
    found = {m.job: (m.state, m.tries) for m in messages(queue)}
    assert found["job0"] == ("delivered", 4), "not allowed now: it waits, and is sent once it is"
    assert found["job2"] == ("delivered", 1)
    assert found["job1"][0] == "delivered" and found["job1"][1] > 1
    told = [x.getMessage() for x in caplog.records if ids[0] in x.getMessage()]
    assert len(told) == 1 and "is not sent: port 19000 is not among fetch.allow_ports; it waits" in told[0]


def test_what_is_not_allowed_for_days_is_given_up_with_its_reason(queue, caplog, tmp_path):
    def refuse(url): raise ValueError("port 19000 is not among fetch.allow_ports")
    id = say(queue, "j", "http://127.0.0.1:19000/result")
    deliver(queue, Delivery(time_scale=0.005, poll_interval=0.01, give_up_after=60), check=refuse)
    assert only(queue).state == "dead" and only(queue).tries > 1
    assert f"tries (not sent: port 19000 is not among fetch.allow_ports); `ecg callbacks replay {id} -o " in (
        caplog.text
    )
    assert outcome_text(None, only(queue).answer) == "not sent: port 19000 is not among fetch.allow_ports"
    assert (outcome_text(None, "reset"), outcome_text(None, ""), outcome_text(404, "x")) == (
        "no answer: reset", "no answer", "404",
    )


def test_a_restart_with_other_settings_sends_what_was_not_allowed(queue):
    "At once, though its next try was an hour away"
    def refuse(url): raise ValueError("port 19000 is not among fetch.allow_ports")
    hourly = Delivery(first_wait=3600, poll_interval=0.01)
    with Receiver() as r:
        say(queue, "j", r.url)
        before = Deliverer(queue, hourly, SECRET, check=refuse).start()
        until(lambda: only(queue).answer)
        before.stop(0)
        assert (only(queue).state, only(queue).tries, r.took) == ("waiting", 1, [])
        deliver(queue, hourly)
    assert (only(queue).state, only(queue).tries) == ("delivered", 2)


def test_no_url_at_all_is_given_up_at_once(queue, caplog):
    def refuse(url): raise ValueError("this URL names no host")
    say(queue, "j", "http://")
    deliver(queue, check=refuse)
    assert (only(queue).state, only(queue).tries) == ("dead", 1) and "given up after 1 try (not sent" in caplog.text


@pytest.mark.parametrize("url", ["ftp://h/x", "backend", "", "http://", "http://[::1", "http://h:99999999/"])
def test_an_address_that_is_none_is_dead_at_once_or_given_up(queue, url):
    say(queue, "j", url)
    deliver(queue, Delivery(time_scale=0.005, poll_interval=0.01, give_up_after=60))
    assert only(queue).state == "dead" and only(queue).answer


def test_cookies_and_proxies_change_nothing(queue, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"): monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Receiver(lambda n, body: (200, {"Set-Cookie": "a=b"}, b"")) as r:
        for j in range(3):
            say(queue, f"job{j}", r.url)
            deliver(queue)
        d = Deliverer(queue, FAST, SECRET).start()
        for j in range(3, 6):
            say(queue, f"job{j}", r.url)
            until(lambda: settled(queue))
        d.stop(0)
    assert len(r.took) == 6 and not [h for h, _ in r.took if "cookie" in {k.lower() for k in h}]


def test_https_is_checked_and_can_be_cut(queue, tmp_path, monkeypatch):
    cert, key = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with Receiver(lambda n, body: (time.sleep(1) if body["job_id"] == "slow" else None) or 200) as r:
        r.server.socket = context.wrap_socket(r.server.socket, server_side=True)
        url = r.url.replace("http:", "https:")
        say(queue, "j", url)
        d = Deliverer(queue, Delivery(poll_interval=0.01), SECRET).start() # knows nothing of this authority
        m = until(lambda: [m for m in messages(queue, "waiting") if m.tries])[0]
        d.stop(0)
        assert m.status is None and "CERTIFICATE_VERIFY_FAILED" in m.answer and not r.took
        monkeypatch.setenv("SSL_CERT_FILE", cert)
        replay(queue, "j")
        deliver(queue)
        assert only(queue).state == "delivered" and len(r.took) == 1
        say(queue, "slow", url)
        d = Deliverer(queue, Delivery(poll_interval=0.01, timeout=0.3), SECRET).start()
        m = until(lambda: [m for m in messages(queue, "waiting") if m.tries])[0]
        d.stop(0)
    assert m.status is None and m.answer


# The shape, and the command

@pytest.mark.slow
def test_a_result_has_the_shape_that_the_backend_reads(sample):
    a = analyze(sample, load_settings(profile="demo"))
    told = backend_result(a)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert set(told) == {"segments", "word_segments", "speakers", "text", "language", "duration", "metadata"}
    assert told["segments"] and told["duration"] == a.metadata.duration and told["text"] == a.text
    for s in told["segments"]:
        assert {"start_time", "end_time", "speaker", "text", "words"} <= set(s) and set(s["speaker"]) == {
            "speaker_id"
        }
        for w in s["words"]: assert set(w) == {"word", "start", "end", "acoustic_features"}
    spoken = [w for w in a.words if w.kind == "word"]
    assert [(w["word"], w["start_time"], w["speaker_id"]) for w in told["word_segments"]] == [
        (w.word, w.start_time, w.speaker_id) for w in spoken
    ]
    assert [w["word"] for s in told["segments"] for w in s["words"]] == [w.word for w in spoken]


def test_unknown_values_are_null_for_the_backend():
    yes = Word("Yes.", 0.2, 0.5, speaker_id="A", acoustic_features=AcousticFeatures(-27.4, 231.7, 1184.2))
    hm = Word("Hm?", 1.0, 1.2)
    segments = (
        Segment(0, 0.2, 0.5, speaker_id="A", text="Yes.", words=(yes,)),
        Segment(1, 1.0, 1.2, text="Hm?", words=(hm,)),
    )
    told = backend_result(
        Analysis(
            segments,
            (Turn(0.2, 0.5, "A"),),
            (Speaker("A"),),
            Metadata("talk.mp4", duration=2.0, language_detected="en"),
        )
    )
    assert [s["speaker"] for s in told["segments"]] == [{"speaker_id": "A"}, {"speaker_id": None}]
    assert told["word_segments"][1] == {
        "word": "Hm?",
        "start_time": 1.0,
        "end_time": 1.2,
        "speaker_id": None,
        "confidence": None,
    }
    assert told["segments"][0]["words"][0]["acoustic_features"]["pitch_hz"] == 231.7


def test_a_pause_is_read_as_seconds_or_as_a_date():
    assert [
        _retry_after(v, 1445412470) for v in ("120", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", None)
    ] == [120, 10, None, None]


def test_answers_are_classified():
    for status in (200, 201, 204, 299): assert classify(DeliveryResult(status)) == "delivered"
    for status in (None, 408, 425, 429, 500, 502, 503, 504, 599):
        assert classify(DeliveryResult(status)) == "retry"
    for status in (301, 302, 307, 308, 400, 401, 403, 404, 409, 413, 422):
        assert classify(DeliveryResult(status)) == "refused"
    assert classify(DeliveryResult(410)) == "gone" and classify(DeliveryResult(permanent=True)) == "never"


def ecg(*args): return CliRunner().invoke(app, list(map(str, args)))

def test_the_command_lists_and_replays(tmp_path):
    assert ecg("callbacks", "list", "-o", tmp_path).exit_code == 1
    queue = Queue(tmp_path / ".jobs/queue.sqlite")
    assert (
        ecg("callbacks", "list", "-o", tmp_path).stdout,
        ecg("callbacks", "replay", "j", "-o", tmp_path).exit_code,
    ) == ("", 1)
    ids = [say(queue, job, "http://user:pw@h/x?key=confidential") for job in ("a", "b")]
    record_results(
        queue, ME, [(m, DeliveryResult(s, "no")) for m, s in zip(claim_due(queue, ME, 2), (410, 200))]
    )
    shown = ecg("callbacks", "list", "-o", tmp_path)
    assert ids[0] in shown.stdout and ids[1] not in shown.stdout and "410" in shown.stdout
    everything = ecg("callbacks", "list", "--all", "-o", tmp_path)
    assert ids[1] in everything.stdout and not [w for w in ("confidential", "pw") if w in everything.stdout]
    rows = json.loads(ecg("callbacks", "list", "--json", "-o", tmp_path).stdout)
    assert [(r["job"], r["state"], r["url"], r["body"]["status"]) for r in rows] == [
        ("a", "gone", "http://h/x", "completed")
    ]
    again = ecg("callbacks", "replay", ids[0], "-o", tmp_path)
    assert again.exit_code == 0 and "a" in again.stdout and messages(queue, job="a")[0].state == "waiting"
    missing = ecg("callbacks", "replay", "nothing", "-o", tmp_path).stderr
    assert "no message of this id" in missing and f"`ecg callbacks list --all -o {tmp_path}`" in missing
    record_results(
        queue, ME, [(m, DeliveryResult(text="not sent: port 1", allowed=False)) for m in claim_due(queue, ME, 1)]
    )
    assert "(not sent: port 1)" in ecg("callbacks", "list", "-o", tmp_path).stdout
    queue.close()
