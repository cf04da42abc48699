"""The service as a whole, against all that a backend, an operator and strangers do to it: every job ends right, every last word arrives"""
import json, random, signal, time, zlib
from collections import Counter

import pytest
import soundfile

from backend import SECRET, Hasty, Receiver, check_told, until
from ecg_audio_nb.service.webhooks import backend_result
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.pipeline import analyze
from ecg_audio_nb.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CLIPS = 5


@pytest.fixture(scope="module")
def clips(sample, tmp_path_factory):
    "Short clips of the sample, and what is to be told of each"
    folder, audio, told = tmp_path_factory.mktemp("clips"), load_audio(sample), {}
    for n in range(CLIPS):
        path = folder / f"clip{n}.wav"
        soundfile.write(path, audio.cut(1.5 + 5 * n, 2.7 + 5 * n).samples, audio.sample_rate)
        told[path] = lasting(backend_result(analyze(path, load_settings(profile="demo"))))
    assert len({json.dumps(t) for t in told.values()}) == CLIPS and any(t["word_segments"] for t in told.values())
    return told

def lasting(result):
    "Of a result, what is the same every time"
    return {k: v for k, v in json.loads(json.dumps(result)).items() if k != "metadata"}

def of_job(clips, n): return list(clips)[n % CLIPS]

def check_results(receiver, clips, jobs):
    last = {b["job_id"]: b for b in receiver.bodies() if b["status"] != "processing"}
    assert Counter(b["status"] for b in last.values()) == {"completed": jobs}
    for n in range(jobs): assert lasting(last[f"job-{n}"]["result"]) == clips[of_job(clips, n)], n

def service(tmp_path, clips, *args, **env):
    many = ("--set", "server.allow_private=true", "--set", "server.max_queued=1000", "--set", "server.max_queued_per_key=1000", "--set", "server.requests_per_minute=100000")
    return Hasty(tmp_path, next(iter(clips)).parent, *many, *args, ECG_WEBHOOK_SECRET=SECRET, **env)

def finals(receiver): return sum(b["status"] != "processing" for b in receiver.bodies())


def faulty(n, body):
    "By message: late, 500, 429 with a pause, the line cut, redirected, ignored, or well, at its first deliveries"
    kind = zlib.crc32(f"{body['job_id']} {body['progress']}".encode()) % 8
    if kind == 0: time.sleep(0.4)
    if n <= 1 + kind % 2:
        if kind == 1: return 500
        if kind == 2: return 429, {"Retry-After": "1"}, b"slow down"
        if kind == 3: return None
        if kind == 4: return 302, {"Location": "/elsewhere"}, b""
        if kind == 5: return 503
    return (200, {}, b'{"status": "ignored", "reason": "a test"}') if kind == 6 else 200


def test_two_hundred_jobs_for_a_backend_with_every_fault(tmp_path, clips):
    jobs, server = 200, service(tmp_path, clips, "--set", "runtime.checkpoints=true") # five clips: what is tried is all around the models
    with Receiver(faulty, secret=SECRET) as receiver:
        port, first = receiver.port, receiver
        server.env["ECG_BACKEND_URL"] = f"http://127.0.0.1:{port}"
        server.start()
        for n in range(jobs): assert server.post(f"job-{n}", of_job(clips, n)).status_code == 200
        until(lambda: finals(receiver) >= 40, 1500)
    done = lambda: json.loads(json.dumps(server.http.get("/ready").json())) and server.state("job-120") == "completed"
    until(done, 1500) # meanwhile the backend is down
    with Receiver(faulty, port, SECRET) as receiver:
        receiver.took, receiver.tries, receiver.verified = first.took, first.tries, first.verified # the same backend, up again
        until(lambda: finals(receiver) >= jobs, 1500)
        assert server.stop() == 0
        check_told(receiver, jobs)
        check_results(receiver, clips, jobs)
    ids = [h["webhook-id"] for h, raw in receiver.took if json.loads(raw)["status"] != "processing"]
    assert len(set(ids)) == jobs and sum(receiver.tries.values()) > len(receiver.took) # faults there were


def test_fifty_jobs_through_ten_kills(tmp_path, clips):
    jobs, chance, server = 50, random.Random(20), service(tmp_path, clips, "--set", "server.max_attempts=20")
    with Receiver(secret=SECRET) as receiver:
        server.env["ECG_BACKEND_URL"] = f"http://127.0.0.1:{receiver.port}"
        server.start()
        for n in range(jobs): assert server.post(f"job-{n}", of_job(clips, n)).status_code == 200
        at = []
        for _ in range(10):
            until(lambda: server.http.get("/ready").status_code == 200, 120)
            time.sleep(chance.uniform(0, 2.5))
            at.append(finals(receiver))
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL
            server.start()
        until(lambda: finals(receiver) >= jobs, 1500)
        assert server.stop() == 0
        check_told(receiver, jobs)
        check_results(receiver, clips, jobs)
    assert at == sorted(at) and at[-1] > at[0] # it went on between the kills
    files = sorted(p.suffix for p in (tmp_path / "service/results").iterdir())
    assert files.count(".json") == jobs
