"""Results that a backend does not take whole: 413, compressed messages, a limit of one's own"""
import json
from dataclasses import replace

import pytest
from standardwebhooks import Webhook

from backend import SECRET, Receiver
from long_results import WORDS, hour_long
from waiting import until
from ecg_audio_nb.service.jobs import _finish
from ecg_audio_nb.service.models import short_callback
from ecg_audio_nb.service.state import shorten
from ecg_audio_nb.service.submission import submit, to_job
from ecg_audio_nb.service.webhooks import (
    Deliverer,
    Delivery,
    _accepts_gzip,
    backend_result,
    enqueue,
    messages,
    replay,
)
from ecg_audio_nb.batch.queue import claim, owner_name
from conftest import SAMPLE

NGINX = 1 << 20 # bytes of a body that nginx takes unless it is told otherwise
FAST = Delivery(time_scale=0.005, poll_interval=0.01)


@pytest.fixture(scope="module")
def hour(): return hour_long()


class Limited(Receiver):
    "Answers 413 to a body above its limit, and says whether it takes gzip"
    def __init__(self, limit=NGINX, **headers):
        self.sizes, self.codings = [], []
        super().__init__(secret=SECRET)
        self.limit, self.said = limit, headers

    def _post(self, h):
        size, coding = int(h.headers["content-length"]), h.headers["content-encoding"]
        self.sizes.append(size)
        self.codings.append(coding)
        if size > self.limit:
            h.rfile.read(size)
            h.send_response(413)
            for name, value in self.said.items(): h.send_header(name, value)
            h.end_headers()
            return
        self.script = lambda n, body: (200, self.said, b"")
        super()._post(h)


def finished(service, job, analysis, url, **more):
    "A job that ended with this analysis, its final message in the outbox"
    submit(service, [to_job(service, job, SAMPLE, callback=url, **more)])
    claimed = claim(service.queue, owner_name())
    _finish(service, claimed, analysis)

def deliver(service, settings=FAST):
    d = service.deliverer
    d.settings = replace(settings, compress=d.settings.compress, max_bytes=d.settings.max_bytes)
    d.start()
    until(lambda: not messages(service.queue, "waiting", "sending"))
    d.stop(0)

def made(make_service, **limits): return make_service(secret=SECRET, allow_private=True, **limits)


def test_after_a_413_the_end_is_told_in_short_and_ends_as_delivered(make_service, hour):
    with Limited() as r:
        service = made(make_service, public_url="https://transcripts.example.org/ecg")
        finished(service, "talk", hour, r.url)
        deliver(service)
        [body] = r.bodies()
    assert (body["job_id"], body["status"], body["progress"]) == ("talk", "completed", 100)
    assert (body["result"], body["error_code"], body["error_message"]) == (None, None, None)
    assert body["result_url"] == "https://transcripts.example.org/ecg/jobs/talk/result?shape=backend"
    assert body["result_counts"] == {
        "duration": 3600.0,
        "language": "en",
        "total_segments": 900,
        "total_words": WORDS,
        "total_speakers": 2,
    }
    [m] = messages(service.queue)
    assert (m.state, m.tries, m.status, m.refusals) == ("delivered", 2, 200, 0)
    assert r.sizes[0] > 2 * NGINX and r.sizes[1] < 1000
    assert r.verified == ["talk"] # the short form is signed like any other

def test_a_short_message_that_is_refused_too_is_given_up_and_can_be_replayed(make_service, hour):
    with Limited(limit=10) as r:
        service = made(make_service)
        finished(service, "talk", hour, r.url)
        deliver(service)
        [m] = messages(service.queue)
        assert (m.state, m.refusals, m.tries) == ("dead", 4, 5)
        r.limit = NGINX
        replay(service.queue, "talk")
        deliver(service)
        assert r.bodies()[0]["result_url"] == "/jobs/talk/result?shape=backend"
    assert [m.state for m in messages(service.queue)] == ["delivered"]

def test_a_failure_has_no_short_form(make_service):
    with Limited(limit=10) as r:
        service = made(make_service)
        body = {"job_id": "a", "status": "failed", "progress": 0, "result": None, "error_code": "TIMEOUT"}
        with service.queue.transaction() as db: enqueue(db, "a", r.url, body, final=True)
        deliver(service)
        [m] = messages(service.queue)
        assert shorten(service, m) is None and (m.state, m.tries) == ("dead", 4)

def test_a_limit_of_ones_own_sends_nothing_larger(make_service, hour):
    with Limited() as r:
        service = made(make_service, max_callback_kb=500)
        finished(service, "talk", hour, r.url)
        deliver(service)
        assert len(r.sizes) == 1 and r.bodies()[0]["result"] is None
    [m] = messages(service.queue)
    assert (m.state, m.tries) == ("delivered", 2)

def test_a_backend_that_takes_gzip_gets_it_and_checks_the_text(make_service, hour):
    with Limited(**{"Accept-Encoding": "gzip, identity;q=0.5"}) as r:
        service = made(make_service)
        with service.queue.transaction() as db:
            enqueue(db, "talk", r.url, {"job_id": "talk", "status": "processing", "progress": 1}, final=False)
        deliver(service) # its answer says what it takes
        finished(service, "talk", hour, r.url)
        deliver(service)
        whole = r.bodies()[-1]
        assert whole["result"] == json.loads(json.dumps(backend_result(hour)))
        assert r.codings == [None, "gzip"] and r.sizes[1] < NGINX
        assert r.verified == ["talk", "talk"] # the signature is that of the JSON
        headers, raw = r.took[-1]
        Webhook(SECRET).verify(raw, headers)
    assert service.queue.db.execute("select gzip from outbox_encodings").fetchone()[0] == 1

def test_a_413_can_say_so_too(make_service, hour):
    with Limited(limit=300, **{"Accept-Encoding": "gzip"}) as r:
        service = made(make_service)
        finished(service, "one", hour, r.url)
        deliver(service)
        r.limit = NGINX
        finished(service, "two", hour, r.url)
        deliver(service)
    assert r.codings[-1] == "gzip" and r.bodies()[-1]["result"]

@pytest.mark.parametrize("setting, codings", [("never", [None]), ("always", ["gzip"])])
def test_gzip_by_setting(make_service, hour, setting, codings):
    with Limited(limit=9e9, **{"Accept-Encoding": "gzip"}) as r:
        service = made(make_service, callback_gzip=setting)
        finished(service, "talk", hour, r.url)
        deliver(service)
    assert r.codings == codings and r.bodies()[0]["result"]

@pytest.mark.parametrize("status, tries", [(415, 2), (400, 2)])
def test_a_backend_that_changed_its_mind_gets_it_as_it_is(make_service, hour, status, tries):
    class Changed(Limited):
        def _post(self, h):
            if h.headers["content-encoding"]:
                h.rfile.read(int(h.headers["content-length"]))
                self.codings.append("gzip")
                h.send_response(status)
                h.end_headers()
                return
            super()._post(h)
    with Changed(limit=9e9) as r:
        service = made(make_service)
        service.queue.db.execute("insert into outbox_encodings values(?, 1)", (r.url.partition("/api")[0],))
        finished(service, "talk", hour, r.url)
        deliver(service)
    assert r.codings == ["gzip", None] and r.bodies()[0]["result"]
    [m] = messages(service.queue)
    assert (m.state, m.tries) == ("delivered", tries)
    known = service.queue.db.execute("select gzip from outbox_encodings").fetchone()[0]
    assert known == (0 if status == 415 else 1)

@pytest.mark.parametrize(
    "value, takes",
    [
        (None, None),
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.8", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, identity", False),
        ("identity", False),
    ],
)
def test_accept_encoding_is_read(value, takes): assert _accepts_gzip(value) is takes

def test_a_short_form_without_a_result_is_none():
    assert short_callback({"job_id": "a", "result": None}, "/x") is None

def test_an_outbox_of_before_is_carried_on(make_service):
    service = made(make_service)
    service.queue.db.execute("drop table outbox_encodings")
    assert Deliverer(service.queue, FAST) and service.queue.db.execute("select * from outbox_encodings")
