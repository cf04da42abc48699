"""The service over sockets: callbacks, identity, cancel, kill and restart, keys, limits, problem details, the
page"""
import asyncio, hashlib, json, os, signal, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import soundfile
from browsers import chromium_browser

from backend import Backend, Quick, Served, until
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.batch.queue import list_jobs
from ecg_audio_nb.service.limits import read_keys
from ecg_audio_nb.schema import json_schema
from ecg_audio_nb.service.app import ServerSettings, Service, build_app
from ecg_audio_nb.settings import load_settings
from service_load import requests_of_the_description

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "ecg_audio_nb/assets/sample.mp4"
pytestmark = pytest.mark.timeout(1800)
KEY, OTHER = "a-key-of-some-length", "another-key-of-some-length"


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    "Ten seconds of the sample, the whole of it, and what is no recording"
    folder, audio = tmp_path_factory.mktemp("media"), load_audio(SAMPLE)
    soundfile.write(folder / "talk.wav", audio.cut(0, 10).samples, audio.sample_rate)
    soundfile.write(folder / "long.wav", audio.samples, audio.sample_rate)
    (folder / "notes.mp4").write_text("no recording")
    return folder

@pytest.fixture(scope="module")
def served(tmp_path_factory, media):
    s = Served(tmp_path_factory.mktemp("served"), media, "--set", "server.allow_private=true").start()
    yield s
    assert s.stop() == 0

@pytest.fixture(scope="module")
def backend():
    with Backend() as b: yield b

@contextmanager
def another(tmp_path, media, *args, **env):
    s = Quick(tmp_path, media, "--set", "server.allow_private=true", *args, **env).start()
    try: yield s
    finally: s.stop(signal.SIGKILL)


# A job and its backend

def test_backend_is_told_from_start_to_end(served, media, backend):
    answer = served.post("talk", media / "talk.wav", backend)
    assert answer.status_code == 200
    assert {"job_id", "status", "message", "status_url", "estimated_time"} == set(answer.json())
    last = until(lambda: backend.last("talk"))
    told = backend.of("talk")
    assert [set(b) for b in told] == [
        {"job_id", "status", "progress", "message", "result", "error_message", "error_code"}
    ] * len(told)
    assert [b["progress"] for b in told] == sorted(b["progress"] for b in told) and len(told) > 2
    assert [b["status"] for b in told] == ["processing"] * (len(told) - 1) + ["completed"]
    assert (last["progress"], last["error_code"], last["error_message"]) == (100, None, None)
    result = last["result"]
    assert {"segments", "word_segments", "speakers", "text", "language", "duration", "metadata"} == set(
        result
    )
    word = result["segments"][0]["words"][0]
    assert {"word", "start", "end", "acoustic_features"} == set(word) and word["acoustic_features"][
        "volume_db"
    ] is not None
    assert "speaker_id" in result["segments"][0]["speaker"] and len(result["word_segments"]) > 3
    time.sleep(0.5)
    assert [b["status"] for b in backend.of("talk")].count("completed") == 1
    seen = served.http.get("/jobs/talk").json()
    assert (seen["status"], seen["progress"], seen["result_url"]) == ("completed", 100, "/jobs/talk/result")

def test_same_id_is_the_same_job(served, media, backend):
    until(lambda: backend.last("talk"))
    before = len(backend.of("talk"))
    assert served.post("talk", media / "talk.wav", backend).json()["status"] == "completed"
    refused = served.post("talk", media / "talk.wav", backend, language="ko")
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert len([r for r in served.lines() if r["message"] == "started" and r["job_id"] == "talk"]) == 1
    assert len(backend.of("talk")) == before

@pytest.mark.parametrize("name, code", [("gone.mp4", "DOWNLOAD_ERROR"), ("notes.mp4", "MEDIA_ERROR")])
def test_failures_have_codes(served, media, backend, name, code):
    source = f"{backend.url}/{name}" if code == "DOWNLOAD_ERROR" else media / name
    assert served.post(name, source, backend).status_code == 200
    last = until(lambda: backend.last(name))
    assert (last["status"], last["error_code"], last["result"]) == ("failed", code, None)
    assert str(media) not in json.dumps(last) and last["error_message"]
    assert served.http.get(f"/jobs/{name}/result").status_code == 409

def test_cancel_while_it_runs_and_while_it_waits(served, media, backend):
    for job in ("first", "second"): served.post(job, media / "long.wav", backend)
    until(lambda: served.state("first") == "processing")
    assert served.http.delete("/jobs/second").json()["status"] == "cancelled"
    assert served.http.delete("/jobs/first").json()["message"].startswith("Cancelling")
    for job in ("first", "second"):
        assert until(lambda job=job: backend.last(job))["error_code"] == "CANCELLED"
        assert served.state(job) == "cancelled"
    assert served.http.delete("/jobs/nobody").status_code == 404


# Answered at once

def test_transcribe_with_silence_marks(served, media):
    import jsonschema
    answer = served.http.post("/transcribe", json={"video_path": str(media / "talk.wav")})
    assert answer.status_code == 200, answer.text
    jsonschema.validate(answer.json(), json_schema())
    assert any(w["word"] == "[SILENCE]" for s in answer.json()["segments"] for w in s["words"])
    assert "[SILENCE]" not in json.dumps(served.http.get("/jobs/talk/result").json()["segments"])

def test_transcribe_an_upload_which_is_gone_then(served):
    with open(SAMPLE, "rb") as f:
        answer = served.http.post(
            "/transcribe", files={"file": ("my talk.mp4", f)}, data={"job_id": "up", "language": "en"}
        )
    assert answer.status_code == 200, answer.text
    assert "my talk.mp4" in answer.json()["metadata"].values()
    assert until(lambda: not list((served.data / "service/uploads").iterdir()))
    assert not list((served.data / "service/tmp").iterdir())
    page = served.http.get("/jobs/up/report")
    assert page.headers["content-type"].startswith("text/html") and "my talk" in page.text

def test_failed_transcription_is_a_problem(served, media):
    asked = {"audio_path": str(media / "notes.mp4"), "job_id": "bad"}
    answer, again = (served.http.post("/transcribe", json=asked) for _ in range(2))
    assert (answer.status_code, answer.json()["error_code"]) == (422, "MEDIA_ERROR")
    assert (again.status_code, again.json()["error_code"]) == (422, "MEDIA_ERROR")
    assert "job_id" not in answer.json()["detail"], "nothing but the cause at first"
    assert "A job runs once: post it under another job_id" in again.json()["detail"]

def test_events_end_with_the_job(served, media):
    served.post("seen", media / "talk.wav", language="en")
    with served.http.stream("GET", "/jobs/seen/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert told[-1]["status"] == "completed" and len(told) > 1
    assert [t["progress"] for t in told] == sorted(t["progress"] for t in told)


# Callers who go away

def starts(served, job): return sum(r["message"] == "started" and r["job_id"] == job for r in served.lines())

def cut_off(served, path, **asked):
    "Send a request and go away before its answer"
    with pytest.raises(httpx.TimeoutException):
        served.http.post(path, timeout=httpx.Timeout(60, read=0.3), **asked)

def test_a_job_goes_on_when_its_caller_goes_away_and_the_same_request_attaches(served, media):
    asked = {"json": {"job_id": "left", "video_path": str(media / "long.wav")}}
    cut_off(served, "/transcribe", **asked)
    until(lambda: served.state("left") == "processing")
    cut_off(served, "/transcribe", **asked)
    again = served.http.post("/transcribe", **asked)
    assert again.status_code == 200 and again.json()["segments"]
    assert served.http.get("/jobs/left/result").json() == again.json()
    assert starts(served, "left") == 1

def test_a_file_that_is_sent_again_without_an_id_attaches(served, media):
    def asked(): return {"files": {"file": ("cut.wav", (media / "talk.wav").read_bytes())}}
    before = {r.get("job_id") for r in served.lines() if r["message"] == "started"}
    cut_off(served, "/transcribe", **asked())
    answers = [served.http.post("/transcribe", **asked()) for _ in range(2)] # in work, and done
    assert [a.status_code for a in answers] == [200, 200] and answers[0].json() == answers[1].json()
    accepted = served.http.post("/uploads", **asked()).json()
    assert accepted["status"] == "completed"
    after = {r.get("job_id") for r in served.lines() if r["message"] == "started"}
    assert after - before == {accepted["job_id"]} and starts(served, accepted["job_id"]) == 1
    named = served.http.post("/uploads", **asked(), data={"job_id": "another"}).json()
    assert named["job_id"] == "another" # whoever names a job wants that one

def test_events_can_be_followed_again(served, media):
    served.post("followed", media / "talk.wav", language="en")
    with served.http.stream("GET", "/jobs/followed/events") as answer:
        assert next(line for line in answer.iter_lines() if line.startswith("data: "))
    with served.http.stream("GET", "/jobs/followed/events") as answer:
        told = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert told[-1]["status"] == "completed" and starts(served, "followed") == 1

def test_the_same_post_at_the_same_time_is_one_job(served, media):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: served.post("at-once", media / "talk.wav"), range(8)))
    assert {a.status_code for a in answers} == {200}
    until(lambda: served.state("at-once") == "completed")
    assert starts(served, "at-once") == 1


# What is refused, and how

@pytest.mark.parametrize(
    "body",
    [
        {},
        {"job_id": "x"},
        {"job_id": "a b", "video_url": "/x"},
        {"job_id": "x", "video_url": "/etc/passwd"},
        {"job_id": "x", "video_url": "file:///etc/passwd"},
        {"job_id": "x", "video_url": "ftp://x.org/a"},
        [],
        "text",
        None,
        {"job_id": "x", "video_url": "https://x.org/a", "fastapi_base_url": "backend:80"},
        {"job_id": "x", "video_url": "https://x.org/a", "language": "english"},
        {"job_id": "x", "video_url": "https://x.org/a", "language": "xx"},
    ],
)
def test_invalid_requests_are_problems(served, body):
    answer = served.http.post("/api/upload-video/process-video", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["error_code"] == "INVALID_REQUEST" and answer.json()["status"] == 422
    assert served.http.get("/jobs/x").status_code == 404

def test_what_can_be_known_at_once_is_said_at_once(served, media):
    "Not queued to fail later: a file that is not there, a folder, a language that the model does not know"
    until(lambda: served.http.get("/ready").status_code == 200)
    (media / "folder.wav").mkdir(exist_ok=True)
    (media / "empty.wav").touch()
    for name, said in (
        ("gone.wav", "gone.wav: no such file; check the spelling and the folder"),
        ("folder.wav", "folder.wav: this is a directory; name a file inside it"),
        ("empty.wav", "empty.wav: the file is empty (0 bytes); was its copy or download finished?"),
    ):
        answer = served.post("early", media / name)
        assert (answer.status_code, answer.json()["detail"]) == (422, said)
        answer = served.http.post("/transcribe", json={"audio_path": str(media / name)})
        assert (answer.status_code, answer.json()["detail"]) == (422, said)
    unknown = [
        served.post("early", media / "talk.wav", language="xx"),
        served.http.post("/transcribe", json={"audio_path": str(media / "talk.wav"), "language": "xx"}),
        served.http.post("/uploads", files={"file": ("a.wav", b"x")}, data={"language": "xx"}),
    ]
    for answer in unknown:
        assert (answer.status_code, answer.json()["error_code"]) == (422, "INVALID_REQUEST")
        assert answer.json()["detail"].startswith("language: the model of this service does not know xx; write")
        assert ", ko, " in answer.json()["detail"]
    assert served.http.get("/jobs/early").status_code == 404
    assert not list((served.data / "service/uploads").iterdir())

def test_a_job_is_answered_as_it_stands_when_its_file_is_gone(served, media):
    (media / "moved.wav").write_bytes((media / "talk.wav").read_bytes())
    served.post("moved", media / "moved.wav")
    until(lambda: served.state("moved") == "completed")
    (media / "moved.wav").unlink()
    assert served.post("moved", media / "moved.wav").json()["status"] == "completed"

def test_docs_show_every_path_and_a_command_for_each(served):
    page, described = served.http.get("/docs"), served.http.get("/openapi.json").json()
    assert page.headers["content-type"].startswith("text/html") and "default-src 'none'" in page.headers[
        "content-security-policy"
    ]
    for path in described["paths"]: assert f"</b> {path}</h3>" in page.text
    for posted in ("/api/upload-video/process-video", "/transcribe", "/uploads"):
        assert f"curl http://127.0.0.1:{served.port}{posted}" in page.text
    for part in page.text.split("<h3>")[1:]: assert f"http://127.0.0.1:{served.port}/" in part, part
    assert "No key is needed" in page.text and "job_id" in page.text and "```" not in page.text
    loaded = [a for a in ("src=", "@import", "url(") if a in page.text]
    assert not loaded # nothing comes from another site

def test_a_form_that_is_none_is_told_what_to_send(served):
    two = [("file", ("a.wav", b"x")), ("file", ("b.wav", b"x"))]
    asked = [
        served.http.post("/uploads", content=b"x", headers={"content-type": "application/x-www-form-urlencoded"}),
        served.http.post("/uploads", files=two),
        served.http.post("/uploads", data={"language": "en"}, files={"other": ("a.wav", b"x")}),
        served.http.post("/uploads", files={"file": ("a.wav", b"")}),
        *[
            served.http.post(path, files={"file": ("a.wav", b"x")}, data={"langage": "ko"})
            for path in ("/uploads", "/transcribe")
        ],
    ]
    assert [a.status_code for a in asked] == [415, 400, 422, 422, 422, 422]
    for a in asked[:3]: assert "multipart/form-data with the recording in the field file" in a.json()["detail"]
    assert asked[3].json()["detail"] == "file: a.wav is empty (0 bytes); was its copy or download finished?"
    for a in asked[4:]: assert a.json()["detail"] == "langage: no such field; did you mean language?"
    shape = served.http.get("/jobs/any/result", params={"shape": "foo"})
    assert (shape.status_code, shape.json()["detail"]) == (422, "shape: write full or backend")

def test_every_error_is_a_problem(served):
    asked = [
        served.http.get("/nothing"),
        served.http.get("/jobs/none"),
        served.http.post("/transcribe", content=b"\xff"),
        served.http.put("/health"),
        served.http.post("/transcribe", content="{", headers={"content-type": "application/json"}),
        served.http.post(
            "/transcribe", content="x", headers={"content-type": "multipart/form-data; boundary=b"}
        ),
        served.http.post(
            "/api/upload-video/process-video",
            content="x" * 70_000,
            headers={"content-type": "application/json"},
        ),
        served.http.post(
            "/api/upload-video/process-video",
            content=iter([b"x" * 40_000] * 2),
            headers={"content-type": "application/json"},
        ),
        served.http.get("/health", headers={"x-long": "x" * 20_000}),
        served.http.get("/health", headers={"host": "evil.example"}),
        served.http.post("/transcribe", json={}, headers={"origin": "https://evil.example"}),
    ]
    assert [a.status_code for a in asked] == [404, 404, 415, 405, 422, 400, 413, 413, 431, 421, 403]
    assert "/docs and /openapi.json" in asked[0].json()["detail"]
    assert (asked[3].headers["allow"], asked[3].json()["detail"]) == (
        "GET", "PUT is not served here; this path takes GET",
    )
    wrong = served.http.put("/jobs/talk")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "DELETE, GET")
    assert wrong.json()["detail"] == "PUT is not served here; this path takes DELETE and GET"
    for a in asked:
        assert a.headers["content-type"] == "application/problem+json" and a.json()["status"] == a.status_code
        assert "Traceback" not in a.text and str(ROOT) not in a.text and str(served.data) not in a.text

def test_ready_and_figures(served, media, backend):
    until(lambda: served.http.get("/ready").status_code == 200)
    assert served.http.get("/ready").json() == {
        "ready": True,
        "models": True,
        "disk": True,
        "queue": True,
        "worker": True,
    }
    until(lambda: backend.last("talk"))
    text = served.http.get("/metrics").text
    for name in (
        'ecg_jobs{state="done"}',
        "ecg_queue_depth",
        "ecg_queue_age_seconds",
        'ecg_stage_seconds_count{stage="transcribe"}',
        'ecg_callbacks{state="delivered"}',
        "ecg_callback_attempts",
    ): assert name in text
    assert (
        "access-control-allow-origin"
        not in served.http.get("/health", headers={"origin": f"http://127.0.0.1:{served.port}"}).headers
    )


@pytest.fixture
def quiet(tmp_path, media):
    "Makes the application without its threads: jobs wait for ever"
    made = []
    def make(keys=None, **limits):
        settings = load_settings({"runtime.data_dir": str(tmp_path), "fetch.media_roots": str(media)}, "demo")
        made.append(Service(settings, ServerSettings(allow_private=True, **limits)))
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(build_app(made[-1], read_keys(keys))), base_url="http://127.0.0.1"
        )

    make.made = made
    yield make
    for service in made: service.close()

def asked(client, *requests):
    "Answers to (method, path, more), one after the other"
    async def all_of_them():
        async with client:
            return [await client.request(method, path, **more) for method, path, more in requests]

    return asyncio.run(all_of_them())

def submission(job, media, **headers):
    return (
        "POST",
        "/api/upload-video/process-video",
        dict(json={"job_id": job, "video_url": str(media / "talk.wav")}, headers=headers),
    )


def test_keys_see_their_own_jobs_only(quiet, media, caplog):
    caplog.set_level("INFO")
    keys = f"one={KEY},sha256:{hashlib.sha256(OTHER.encode()).hexdigest()}"
    mine, theirs = {"authorization": f"Bearer {KEY}"}, {"x-api-key": OTHER}
    answers = asked(
        quiet(keys, max_queued_per_key=2, requests_per_minute=6),
        submission("a", media),
        ("GET", "/jobs/a", dict(headers={"x-api-key": "wrong"})),
        submission("a", media, **mine),
        ("GET", "/jobs/a", dict(headers=mine)),
        ("GET", "/jobs/a", dict(headers=theirs)),
        submission("a", media, **theirs),
        submission("b", media, **mine),
        submission("c", media, **mine),
        *[("GET", "/jobs/a", dict(headers=mine))] * 3,
        ("GET", "/health", {}),
        ("GET", "/jobs/a", dict(headers=theirs)),
    )
    assert [a.status_code for a in answers] == [
        401,
        401,
        200,
        200,
        404,
        409,
        200,
        429,
        200,
        200,
        429,
        200,
        404,
    ]
    assert "server.max_queued_per_key = 2" in answers[7].json()["detail"]
    assert "server.requests_per_minute = 6" in answers[10].json()["detail"]
    assert answers[1].headers["www-authenticate"] == "Bearer" and int(answers[10].headers["retry-after"]) >= 1
    assert KEY not in caplog.text and OTHER not in caplog.text

def test_full_queue_says_when(quiet, media):
    first, full, again = asked(
        quiet(max_queued=1), submission("a", media), submission("b", media), submission("a", media)
    )
    assert (first.status_code, full.status_code, again.status_code) == (200, 503, 200)
    assert "server.max_queued = 1" in full.json()["detail"]
    assert int(full.headers["retry-after"]) > 0 and full.headers["content-type"] == "application/problem+json"

def test_uploads_have_a_limit(quiet):
    big = ("POST", "/uploads", dict(files={"file": ("a.wav", b"x" * 1_100_000)}))
    small = ("POST", "/uploads", dict(files={"file": ("a.wav", b"\0" * 600_000)}, data={"job_id": "u"}))
    answers = asked(quiet(max_upload_mb=1, upload_mb_per_hour=1), big, small, small)
    assert [a.status_code for a in answers] == [413, 200, 429]
    assert "server.max_upload_mb = 1" in answers[0].json()["detail"]
    assert "server.upload_mb_per_hour = 1" in answers[2].json()["detail"]

@pytest.mark.parametrize("path", ["/uploads", "/transcribe"])
def test_an_upload_of_text_is_refused_at_once(quiet, path):
    for text in ("no recording", "Wort für Wort: 한국어\r\n" * 1000):
        [answer] = asked(quiet(), ("POST", path, dict(files={"file": ("t.mp4", text.encode())})))
        assert (answer.status_code, answer.json()["error_code"]) == (422, "MEDIA_ERROR")
        assert answer.json()["detail"].startswith("file: t.mp4 is text, not a recording; send audio or video")
        made = quiet.made[-1]
        assert not list(made.uploads.iterdir()) and not list_jobs(made.queue)
        made.close()

def test_beyond_loopback_a_key_is_needed(tmp_path):
    env = {**os.environ, "ECG_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "ecg_audio_nb", "serve", "--host", "0.0.0.0"],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "ECG_API_KEYS" in done.stderr


# Killed, and stopped

def test_killed_and_stopped_it_goes_on(tmp_path, media, backend):
    def at_work(attempt):
        begun = any(r["message"] == "started" and r["attempt"] == attempt for r in s.lines())
        return begun and s.http.get("/jobs/hard").json()["progress"] > 5
    with another(tmp_path, media) as s:
        s.post("hard", media / "long.wav", backend)
        until(lambda: at_work(1))
        s.stop(signal.SIGKILL)
        (s.data / "service/tmp/left.part").touch()
        s.start()
        assert not (s.data / "service/tmp/left.part").exists()
        until(lambda: at_work(2))
        assert s.stop() == 0
        assert any(r["message"] == "stopped before its end: queued" for r in s.lines())
        s.start()
        assert until(lambda: backend.last("hard"))["status"] == "completed"
        assert [b["progress"] for b in backend.of("hard")] == sorted(
            b["progress"] for b in backend.of("hard")
        )
        assert [r["attempt"] for r in s.lines() if r["message"] == "started"] == [1, 2, 3]
        assert s.stop() == 0

def test_log_is_json_with_jobs_and_without_folders(served, media, backend):
    until(lambda: backend.last("talk"))
    lines = served.lines()
    assert any(r.get("job_id") == "talk" for r in lines)
    assert not any(str(media) in json.dumps(r) or "Traceback" in r["message"] for r in lines)


# Called by its own description

@pytest.mark.slow
def test_no_request_of_the_description_breaks_it(tmp_path, media):
    "Three examples a request; twenty in tests/soak/test_service.py"
    limits = "server.requests_per_minute=1000000", "fetch.allow_hosts=media.example.org"
    with another(tmp_path, media, *[a for s in limits for a in ("--set", s)]) as s:
        until(lambda: s.http.get("/ready").status_code == 200)
        requests_of_the_description(s, tmp_path, 3)


# The page

@pytest.fixture(scope="module")
def chromium():
    with chromium_browser("the page is not driven", "--mute-audio") as found: yield found

@pytest.mark.slow
def test_page_takes_a_file_and_shows_what_came_of_it(served, media, chromium):
    context = chromium.new_context(viewport={"width": 900, "height": 900})
    page, said = context.new_page(), []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: said.append(str(e)))
    page.goto(f"{served.http.base_url}/")
    page.get_by_role("button", name="Transcribe").click()
    page.get_by_role("alert").get_by_text("Choose a file").wait_for()
    page.get_by_label("File").set_input_files(str(media / "talk.wav"))
    page.get_by_label("or URL").fill("https://example.org/a.mp4")
    page.get_by_role("button", name="Transcribe").click()
    page.get_by_role("alert").get_by_text("not both").wait_for()
    page.get_by_label("or URL").fill("")
    page.get_by_role("button", name="Transcribe").click()
    page.locator(".job.completed").wait_for(timeout=600_000)
    assert "SPEAKER_" in page.get_by_role("region", name="Transcript").inner_text()
    if picture := os.environ.get("PICTURE"): page.screenshot(path=picture)
    page.get_by_label("or URL").fill(str(media / "notes.mp4"))
    page.get_by_role("button", name="Transcribe").click()
    page.locator(".job.failed").wait_for(timeout=600_000)
    with context.expect_page() as opened: page.get_by_role("button", name="Open the report").click()
    opened.value.wait_for_selector("html[data-ready]")
    page.get_by_label("or URL").fill(str(media / "long.wav"))
    page.get_by_role("button", name="Transcribe").click()
    newest = page.locator(".job").first
    newest.get_by_text("%)").wait_for(timeout=600_000)
    newest.get_by_role("button", name="Cancel").click()
    newest.get_by_text("Cancel").first.wait_for()
    assert not newest.get_by_role("button", name="Cancel").is_enabled() or not newest.is_visible()
    page.locator(".job.cancelled").wait_for(timeout=600_000)
    assert said == []
    context.close()
