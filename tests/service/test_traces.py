"""W3C Trace Context: a request's `traceparent` reaches its job's callbacks and lines of the log"""
import asyncio, io, json, logging

import httpx
import pytest

from backend import Receiver
from conftest import SAMPLE
from long_results import hour_long
from waiting import until
from ecg_audio_nb.batch.queue import owner_name
from ecg_audio_nb.service import jobs
from ecg_audio_nb.service.app import build_app
from ecg_audio_nb.service.logs import JsonLines, read_traceparent
from ecg_audio_nb.service.webhooks import messages

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01" # the example of the standard


@pytest.mark.parametrize(
    "text, read",
    [
        (GOOD, GOOD),
        (f" {GOOD} ", GOOD),
        (f"01-{TRACE}-{PARENT}-01-more", f"01-{TRACE}-{PARENT}-01-more"), # a version of the future
        (None, None),
        ("", None),
        (GOOD.upper(), None),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE[:-1]}-{PARENT}-01", None),
        (f"{GOOD}\nx: y", None),
    ],
)
def test_a_traceparent_is_checked(text, read): assert read_traceparent(text) == read


def post(service, job, url, trace):
    client = httpx.AsyncClient(transport=httpx.ASGITransport(build_app(service)), base_url="http://127.0.0.1")
    async def one():
        async with client:
            body = {"job_id": job, "video_url": SAMPLE, "fastapi_base_url": url.partition("/api")[0]}
            headers = {"traceparent": trace} if trace else {}
            return await client.post("/api/upload-video/process-video", json=body, headers=headers)
    assert asyncio.run(one()).status_code == 200


@pytest.fixture
def log():
    "Lines of the log, as the service writes them"
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("trace", [GOOD, "made up", None])
def test_a_trace_reaches_callbacks_and_log(make_service, monkeypatch, log, trace):
    service = make_service(allow_private=True)
    monkeypatch.setattr(jobs, "analyze", lambda source, settings, hook: hour_long())
    with Receiver() as r:
        post(service, "traced", r.url, trace)
        jobs._work_once(service, owner_name())
        service.deliverer.start()
        until(lambda: not messages(service.queue, "waiting", "sending"))
        service.deliverer.stop(0)
        sent = [{k.lower(): v for k, v in headers.items()} for headers, _ in r.took]
    known = trace == GOOD
    assert [h.get("traceparent") for h in sent] == [GOOD if known else None] * len(sent) and sent
    lines = [line for line in log() if line.get("job_id") == "traced"]
    assert {line["message"] for line in lines} == {"request", "started", "done"}
    assert {line.get("trace_id") for line in lines} == {TRACE if known else None}
