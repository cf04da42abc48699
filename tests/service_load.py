"""Load on a whole service: many jobs for a faulty backend, jobs through kills, requests of any shape

The lengths are the callers' choice: short in `tests/service/test_load.py`, long in
`tests/soak/test_service.py`."""
import json, random, signal, string, subprocess, sys, time, zlib
from collections import Counter
from urllib.parse import quote

import httpx
import soundfile
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from backend import SECRET, Hasty, Receiver, check_told, until
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.pipeline import analyze
from ecg_audio_nb.batch.queue import Queue
from ecg_audio_nb.service.webhooks import Deliverer, Delivery, backend_result, enqueue, messages, prepare
from ecg_audio_nb.settings import load_settings

CLIPS = 5
ROOMY = (
    "server.allow_private=true",
    "server.max_queued=1000",
    "server.max_queued_per_key=1000",
    "server.requests_per_minute=100000",
)

OPEN_LIMITS = (  # of a service that takes whatever comes
    "fetch.max_bytes=1000000",
    "fetch.timeout=1",
    "media.max_seconds=60",
    "server.max_queued=100000",
    "server.max_queued_per_key=100000",
    "server.requests_per_minute=100000000",
    "server.max_attempts=1",
    "server.max_upload_mb=1",
    "server.upload_mb_per_hour=100000",
)


def make_clips(folder, sample):
    "Short clips of the sample; by path, what a backend must be told of each"
    audio, expected = load_audio(sample), {}
    for n in range(CLIPS):
        path = folder / f"clip{n}.wav"
        soundfile.write(path, audio.cut(1.5 + 5 * n, 2.7 + 5 * n).samples, audio.sample_rate)
        expected[path] = lasting(backend_result(analyze(path, load_settings(profile="demo"))))
    assert len({json.dumps(t) for t in expected.values()}) == CLIPS and any(
        t["word_segments"] for t in expected.values()
    )
    return expected

def lasting(result):
    "The part of a result that is the same every time"
    return {k: v for k, v in json.loads(json.dumps(result)).items() if k != "metadata"}

def clip_of(clips, n): return list(clips)[n % CLIPS]

def finals(receiver): return sum(b["status"] != "processing" for b in receiver.bodies())

def check_results(receiver, clips, jobs):
    last = {b["job_id"]: b for b in receiver.bodies() if b["status"] != "processing"}
    assert Counter(b["status"] for b in last.values()) == {"completed": jobs}
    for n in range(jobs): assert lasting(last[f"job-{n}"]["result"]) == clips[clip_of(clips, n)], n

def hasty_service(folder, clips, *settings):
    options = [word for setting in (*ROOMY, *settings) for word in ("--set", setting)]
    return Hasty(folder, next(iter(clips)).parent, *options, ECG_WEBHOOK_SECRET=SECRET)


def faulty(n, body):
    """By message: late, 500, 429 with a pause, the line cut, redirected, ignored, or well, at its first
    deliveries"""
    kind = zlib.crc32(f"{body['job_id']} {body['progress']}".encode()) % 8
    if kind == 0: time.sleep(0.4)
    if n <= 1 + kind % 2:
        if kind == 1: return 500
        if kind == 2: return 429, {"Retry-After": "1"}, b"slow down"
        if kind == 3: return None
        if kind == 4: return 302, {"Location": "/elsewhere"}, b""
        if kind == 5: return 503
    return (200, {}, b'{"status": "ignored", "reason": "a test"}') if kind == 6 else 200


def jobs_for_a_faulty_backend(folder, clips, jobs):
    "Every job ends right and every final message arrives, though the backend fails and is down for a while"
    # five clips: what is tried is all around the models
    server = hasty_service(folder, clips, "runtime.checkpoints=true")
    with Receiver(faulty, secret=SECRET) as receiver:
        port, first = receiver.port, receiver
        server.env["ECG_BACKEND_URL"] = f"http://127.0.0.1:{port}"
        server.start()
        for n in range(jobs): assert server.post(f"job-{n}", clip_of(clips, n)).status_code == 200
        until(lambda: finals(receiver) >= jobs // 5, 1500)
    until(lambda: server.state(f"job-{jobs * 6 // 10}") == "completed", 1500) # meanwhile the backend is down
    assert server.http.get("/ready").status_code == 200
    with Receiver(faulty, port, SECRET) as receiver:
        # the same backend, up again
        receiver.took, receiver.tries, receiver.verified = first.took, first.tries, first.verified
        until(lambda: finals(receiver) >= jobs, 1500)
        assert server.stop() == 0
        check_told(receiver, jobs)
        check_results(receiver, clips, jobs)
    ids = [h["webhook-id"] for h, raw in receiver.took if json.loads(raw)["status"] != "processing"]
    assert len(set(ids)) == jobs and sum(receiver.tries.values()) > len(receiver.took) # faults there were


def jobs_through_kills(folder, clips, jobs, kills):
    "Every job ends right, and once, though the service is killed again and again"
    chance, server = random.Random(20), hasty_service(folder, clips, "server.max_attempts=20")
    with Receiver(secret=SECRET) as receiver:
        server.env["ECG_BACKEND_URL"] = f"http://127.0.0.1:{receiver.port}"
        server.start()
        for n in range(jobs): assert server.post(f"job-{n}", clip_of(clips, n)).status_code == 200
        at = []
        for _ in range(kills):
            until(lambda: server.http.get("/ready").status_code == 200, 120)
            time.sleep(chance.uniform(0, 2.5))
            at.append(finals(receiver))
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL
            server.start()
        until(lambda: finals(receiver) >= jobs, 1500)
        assert server.stop() == 0
        check_told(receiver, jobs)
        check_results(receiver, clips, jobs)
    results = [p.suffix for p in (folder / "service/results").iterdir()]
    assert results.count(".json") == jobs
    return at # final messages at each kill


# Requests of any shape

INNER = (
    "http://10.0.0.1/a",
    "http://192.168.1.1/a",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/a",
    "http://0251.0376.0251.0376/",
    "http://0xa9fea9fe/",
    "http://0xA9.0xFE.43518/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::1]/a",
    "http://[fd00:ec2::254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[fe80::1]/",
    "http://0.0.0.0/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://100.64.0.1/",
    "http://127.0.0.1:22/",
    "http://[fe80::1%25eth0]/",
    "http://ann:pw@93.184.215.14/",
)
SCHEMES = (
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "concat:/etc/passwd|/etc/hosts",
    "data:audio/wav;base64,UklGRg==",
    "subfile,,start,0,end,9,,:/etc/passwd",
    "pipe:0",
    "ftp://93.184.215.14/a",
    "gopher://127.0.0.1:6379/_x",
    "s3://secret/key",
    "rtsp://127.0.0.1/a",
    "https://youtu.be/x",
    "crypto:/etc/passwd",
)

words = st.text(max_size=30) | st.sampled_from(
    ["", "a", "talk", "hostile-1", "../..", "%00", "\0", "한국어", "a" * 200, "null", "-1", "1e999"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(words, v, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    ["job_id", "video_url", "fastapi_base_url", "language", "video_path", "audio_path", "extra"]
)
sources = st.sampled_from([*INNER[:6], *SCHEMES[:4], "/etc/passwd", "x" * 5000]) | words
near = st.fixed_dictionaries(
    {"job_id": words, "video_url": sources},
    optional={"language": words | st.just("auto"), "fastapi_base_url": sources},
)
json_bodies = st.one_of(near, st.dictionaries(keys, values | sources, max_size=5), values).map(
    lambda v: json.dumps(v).encode()
)
bodies = (
    json_bodies | st.binary(max_size=300) | st.builds(lambda b, n: b[:n], json_bodies, st.integers(0, 60))
)
paths = st.sampled_from(
    [
        "/api/upload-video/process-video",
        "/transcribe",
        "/uploads",
        "/jobs/{}",
        "/jobs/{}/result",
        "/jobs/{}/report",
        "/jobs/{}/events",
        "/health",
        "/ready",
        "/metrics",
        "/",
        "/openapi.json",
        "/v1/audio/transcriptions",
        "/v1/models/{}",
        "/v1/{}",
        "/{}",
        "/api/{}",
    ]
)
types = st.sampled_from(
    [
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "",
        'a/b; c="d',
    ]
)
token = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12)
headers = st.dictionaries(
    st.sampled_from(
        [
            "authorization",
            "origin",
            "x-api-key",
            "range",
            "accept",
            "cookie",
            "content-encoding",
            "last-event-id",
        ]
    )
    | token.map("x-{}".format),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip),
    max_size=3,
)
methods = st.sampled_from(["GET", "POST", "POST", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH"])


def requests_of_any_shape(served, n):
    "Whatever is sent, the answer is a problem or a result, and never a 500"
    seen, client = (
        Counter(),
        httpx.Client(base_url=f"http://127.0.0.1:{served.port}", timeout=300, trust_env=False),
    )

    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(methods, paths, words, bodies, types, headers)
    def ask(method, path, word, body, kind, more):
        answer = client.request(
            method,
            path.format(quote(word, safe="")),
            content=body if method not in ("GET", "HEAD", "OPTIONS") else None,
            headers={**more, "content-type": kind},
        )
        seen[answer.status_code] += 1
        assert answer.status_code < 500, (method, path, word, body, kind, more, answer.text)
        if answer.status_code >= 400 and method != "HEAD":
            if answer.request.url.path.startswith("/v1/"):
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            else:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["status"] == answer.status_code

    ask()
    assert sum(seen.values()) >= n and len(seen) >= 6 # of many kinds
    assert not [r for r in served.lines() if r["message"].startswith("unexpected")]
    assert served.http.get("/health").json() == {"status": "ok"}


def requests_of_the_description(served, folder, n):
    "What the service's own description allows and what it does not, n examples each: no answer breaks it"
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{served.http.base_url}/openapi.json"]
    options = {
        "checks": checks,
        "max-examples": n,
        "phases": "examples,fuzzing",
        "seed": 1,
        "request-timeout": 600,
        "suppress-health-check": "all",
    }
    command += [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    done = subprocess.run([*command, "--no-color"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert not [r for r in served.lines() if r["message"].startswith("unexpected")]


# The outbox alone

def outbox_for_a_faulty_receiver(folder, jobs):
    """Every final message arrives, in order; `n` is counted by id, so every message meets its fault once or
    twice and then passes"""
    faults = [500, None, (429, {"Retry-After": "0"}, b""), (302, {"Location": "/"}, b""), 404, 503, 200, 200]
    def script(n, body):
        seed = zlib.crc32(f"{body['job_id']} {body['progress']}".encode()) % len(faults)
        if n <= seed % 3: return faults[seed]
        time.sleep(0.002)
        return (200, {}, b'{"status":"ignored"}') if seed == 7 else 200
    queue = Queue(folder / "q/jobs.sqlite")
    prepare(queue)
    with Receiver(script) as r:
        fast = Delivery(time_scale=0.005, poll_interval=0.01)
        deliverers = [Deliverer(queue, fast, SECRET).start() for _ in range(2)] # as two processes would
        for p in (10, 60, None):
            for start in range(0, jobs, 20):
                with queue.transaction() as db:
                    for j in range(start, start + 20):
                        body = {
                            "job_id": f"job{j}",
                            "status": "processing" if p else "completed",
                            "progress": p or 100,
                        }
                        enqueue(db, f"job{j}", r.url, body, final=p is None)
        until(lambda: not messages(queue, "waiting", "sending"), 300)
        for d in deliverers: d.stop(0)
    check_told(r, jobs)
    assert Counter(m.state for m in messages(queue) if m.final) == {"delivered": jobs}
    assert len(messages(queue)) <= 2 * jobs # of a job's progress, the latest stays
    queue.close()
