"""The service's folder, and from a request to a row of the queue"""
import os, socket

import pytest

from backend import free_port
from ecg_audio_nb.audio.fetch import FetchError
from ecg_audio_nb.batch.queue import claim, fail, finish, owner_name
from ecg_audio_nb.core.files import PACKAGE
from ecg_audio_nb.service import app as service_app
from ecg_audio_nb.service import jobs
from ecg_audio_nb.service.app import ServerError, Service, serve
from ecg_audio_nb.service.jobs import work_on
from ecg_audio_nb.service.models import (
    SENTENCES,
    ProcessRequest,
    explain_invalid,
    job_status,
    misspelt_field,
    status_message,
)
from ecg_audio_nb.service.problems import Problem
from ecg_audio_nb.service.state import clean_up
from ecg_audio_nb.service.submission import (
    accepted,
    callback_for,
    check_source,
    estimate_open,
    estimate_seconds,
    submit,
    to_job,
)
from ecg_audio_nb.settings import load_settings

SAMPLE = str(PACKAGE / "assets/sample.mp4")


def test_clean_up_empties_the_temporary_folder_and_one_service_has_it(service):
    (service.tmp / "left.part").touch()
    clean_up(service)
    assert list(service.tmp.iterdir()) == []
    again = load_settings({"runtime.data_dir": str(service.root.parent)})
    with pytest.raises(ServerError, match="another service works here"): Service(again)

def test_sources_lie_below_the_media_roots(service):
    assert check_source(service, SAMPLE) == os.path.realpath(SAMPLE)
    for wrong in ("/etc/passwd", "sample.mp4", "file:///etc/passwd", "\0"):
        with pytest.raises(Problem): check_source(service, wrong)

def test_a_url_signed_anew_is_the_same_job(service):
    one, two = (to_job(service, "a", f"https://x.org/a.mp4?X-Amz-Signature={n}") for n in (1, 2))
    assert (one.task["digest"] == two.task["digest"], one.task["upload"]) == (True, None)

def test_the_same_id_is_the_same_job_or_a_conflict(service):
    asked = [
        to_job(service, "talk-1", SAMPLE),
        to_job(service, "talk-1", SAMPLE),
        to_job(service, "talk-1", SAMPLE, language="ko"),
    ]
    [(job, new), (_, again), other] = submit(service, asked)
    assert (job.state, new, again) == ("queued", True, False)
    assert (other.status, "other parameters" in str(other)) == (409, True)
    assert estimate_seconds(service, 1) is None
    assert job_status(job).status == "queued"

def test_every_sentence_is_there_in_both_languages():
    assert set(SENTENCES["en"]) == set(SENTENCES["ko"])
    assert status_message("TIMEOUT", "ko") == "분석 시간이 초과되었습니다"

@pytest.mark.parametrize(
    "body, said",
    [
        (
            '{"job_id": "a b", "video_url": "x"}',
            "job_id: write 1 to 128 letters, digits and ._:@-, beginning with a letter or a digit",
        ),
        (
            '{"job_id": "a", "video_url": "x", "language": "english"}',
            "language: write auto, or a code of two or three small letters such as en or ko",
        ),
        ('{"job_id": "a"}', "video_url: it is missing"),
        ("[]", 'the body: send a JSON object, such as {"job_id": "video-42"}'),
        ('{"job_id":', "the body: it is no valid JSON, see line 1 column 10; check its quotes and braces"),
        (
            '{"job_id": "a", "video_url": ""}',
            "video_url: write an http(s):// or s3:// URL, or a path below the setting fetch.media_roots",
        ),
        ('{"job_id": "a", "video_url": "x", "langage": "ko"}', "langage: no such field; did you mean language?"),
        ('{"job_id": "a", "videoUrl": "x"}', "videoUrl: no such field; did you mean video_url?"),
    ],
)
def test_an_invalid_request_is_told_its_rule_and_no_pattern(body, said):
    from pydantic import ValidationError
    with pytest.raises(ValidationError) as e: ProcessRequest.model_validate_json(body)
    assert explain_invalid(e.value.errors()) == said and "pattern" not in said


# At the start

def test_without_keys_it_listens_on_loopback_alone(service):
    with pytest.raises(
        ServerError,
        match="Refusing to listen on 0.0.0.0 without API keys. Set ECG_API_KEYS or pass --without-keys.",
    ):
        serve(service.settings, host="0.0.0.0", environ={})

@pytest.mark.parametrize(
    "environ, said",
    [
        ({"ECG_BACKEND_URL": "backend:8000"}, "ECG_BACKEND_URL: backend:8000: no URL to send results to"),
        ({"ECG_WEBHOOK_SECRET": "p@ssword"}, "ECG_WEBHOOK_SECRET: secret 1 is not base64"),
        ({"ECG_WEBHOOK_SECRET": "foo"}, "ECG_WEBHOOK_SECRET: secret 1 has 2 bytes, and 24 to 64 are safe"),
        ({"ECG_API_KEYS": "short"}, "ECG_API_KEYS: entry 1 is no key"),
        ({"ECG_API_KEYS": "backend=sha256:zz"}, "ECG_API_KEYS: the digest of the entry backend is not"),
    ],
)
def test_bad_secrets_and_urls_are_told_at_the_start(environ, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        serve(load_settings({"runtime.data_dir": str(tmp_path)}), environ=environ)


@pytest.mark.parametrize("port", [0, -1, 65536, 99999])
def test_a_port_that_is_none_is_told(service, port):
    with pytest.raises(ServerError, match=f"--port {port}: a port is a number from 1 to 65535"):
        serve(service.settings, port=port, environ={})

def test_a_host_that_is_none_is_told(service):
    with pytest.raises(ServerError, match="--host 300.1.1.1: no address of this machine"):
        serve(service.settings, host="300.1.1.1", environ={})

def test_a_media_folder_that_is_not_there_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(service_app, "GpuRunners", lambda *_: 1 / 0) # it goes no further
    settings = load_settings({"runtime.data_dir": str(tmp_path), "fetch.media_roots": f"{tmp_path},/srv/nowhere"})
    with pytest.raises(ZeroDivisionError): serve(settings, port=free_port(), environ={})
    assert "there is no folder nowhere; local paths below it are refused" in caplog.text
    assert caplog.text.count("fetch.media_roots") == 1

def test_a_busy_port_is_told_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(service_app, "build_app", lambda *_: pytest.fail("it went on to load the models"))
    settings = load_settings({"runtime.data_dir": str(tmp_path)})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for _ in range(2): # and it gives the folder back
            with pytest.raises(ServerError, match="Stop the program that has this port, or pass --port"):
                serve(settings, port=taken.getsockname()[1], environ={})


def test_a_refused_backend_is_told_the_way_out(make_service):
    service = make_service(backend="http://127.0.0.1:8000")
    assert (
        callback_for(service, None)
        == callback_for(service, "http://127.0.0.1:8000")
        == "http://127.0.0.1:8000/api/upload-video/result"
    )
    with pytest.raises(Problem, match="ECG_BACKEND_URL.*fetch.callback_hosts") as e:
        callback_for(service, "http://127.0.0.1:9000")
    assert e.value.status == 422


# What is said to callers

def test_fields_that_are_no_slips_are_ignored():
    sent = {"job_id": "a", "video_url": "x", "s3_video_url": "y", "user_id": 1, "priority": 2, "video_id": 3}
    assert ProcessRequest.model_validate(sent).language == "auto"
    assert misspelt_field(["video_path", "languag"], ["video_path", "language"]) == ("languag", "language")
    assert misspelt_field(["language", "languag"], ["language"]) is None

def test_a_local_path_is_told_which_and_whether_there_are_folders(service, tmp_path):
    with pytest.raises(Problem, match="^talk.mp4: a local path is absolute and lies below"):
        check_source(service, "/secret/folder/talk.mp4")
    service.settings = load_settings({"runtime.data_dir": str(tmp_path)})
    with pytest.raises(Problem, match="^talk.mp4: this service reads no local paths, as fetch.media_roots is empty"):
        check_source(service, "talk.mp4")

def test_a_running_job_that_is_being_cancelled_says_so(service):
    submit(service, [to_job(service, "a", SAMPLE)])
    claim(service.queue, owner_name())
    job = jobs.cancel_job(service, "a")
    assert (job_status(job).status, job_status(job).message) == (
        "processing", "Cancelling: it ends with the stage that runs",
    )
    assert "취소하는 중입니다" in job_status(job, "ko").message

@pytest.mark.parametrize("language, said", [("en", "post it under another job_id"), ("ko", "다른 job_id로")])
def test_a_job_that_failed_is_answered_with_the_way_out(make_service, language, said):
    service = make_service(language=language)
    submit(service, [to_job(service, "a", SAMPLE)])
    fail(service.queue, claim(service.queue, owner_name()), "user", "MEDIA_ERROR: it has no audio stream")
    [(again, _)] = submit(service, [to_job(service, "a", SAMPLE)])
    answer = accepted(service, again, {})
    assert (answer.status, answer.estimated_time) == ("failed", 0)
    assert said in answer.message and "`ecg jobs retry a -o FOLDER`" in answer.message
    assert str(service.root) not in answer.message

def test_a_failed_upload_is_to_be_sent_again(service):
    submit(service, [to_job(service, "up", SAMPLE, upload="folder")])
    fail(service.queue, claim(service.queue, owner_name()), "user", "MEDIA_ERROR: it has no audio stream")
    answer = accepted(service, service.job("up"), {})
    assert "send the file again under another job_id" in answer.message and "retry" not in answer.message


# The estimated time

def recording(tmp_path, name, size):
    (tmp_path / name).write_bytes(b"\0" * size)
    return str(tmp_path / name)

def done(service, job, seconds):
    "Put a job into the queue as one that took these seconds"
    submit(service, [job])
    finish(service.queue, claim(service.queue, owner_name()))
    service.queue.db.execute("update attempts set ended_at=began_at+? where job=?", (seconds, job.id))

def test_the_estimate_follows_the_size_of_the_file(service, tmp_path):
    for n, seconds in enumerate((2, 3, 4)):
        done(service, to_job(service, f"short-{n}", recording(tmp_path, f"{n}.wav", 1000)), seconds)
    done(service, to_job(service, "other", recording(tmp_path, "x.mp3", 1000)), 50)
    submit(service, [to_job(service, "long", recording(tmp_path, "long.WAV", 100_000))])
    assert estimate_open(service) == {"long": 300}
    claim(service.queue, owner_name())
    submit(service, [
        to_job(service, "mp3", recording(tmp_path, "y.mp3", 2000)),
        to_job(service, "url", "https://x.org/a.wav"), # of unknown size: the median of all, 3.5 s
    ])
    assert estimate_open(service) == {"long": 300, "mp3": 400, "url": 404}
    service.runners = 2
    assert estimate_open(service) == {"long": 300, "mp3": 100, "url": 204}
    service.queue.db.execute("update jobs set share=0.5 where id='long'")
    assert estimate_open(service)["long"] == 150

def test_without_a_done_job_there_is_no_estimate(service):
    [(job, _)] = submit(service, [to_job(service, "a", SAMPLE)])
    assert job.task["size"] == os.path.getsize(SAMPLE) and estimate_open(service) == {}
    assert accepted(service, job, {}).estimated_time is None


# A URL that was signed anew

URL = "https://x.org/a.mp4?v=2&X-Amz-Signature="

def post(service, signature, language="auto"):
    [answer] = submit(service, [to_job(service, "talk-1", f"{URL}{signature}", language)])
    return answer

def test_a_job_that_waits_takes_the_fresh_url(service):
    post(service, "OLD")
    job, new = post(service, "NEW")
    assert (job.source, job.state, new) == (f"{URL}NEW", "queued", False)
    assert post(service, "OTHER", "ko").status == 409
    assert service.job("talk-1").source == f"{URL}NEW", "another job's URL changes nothing"

def test_a_job_whose_url_expired_runs_again_with_the_fresh_one(service):
    post(service, "OLD")
    fail(service.queue, claim(service.queue, owner_name()), "user", "DOWNLOAD_ERROR: the signed URL has expired")
    assert post(service, "OLD")[0].state == "failed", "the same URL is the same answer"
    job, new = post(service, "NEW")
    assert (job.state, job.source, job.tries, new) == ("queued", f"{URL}NEW", 0, False)

def test_a_job_whose_recording_is_bad_does_not_run_again(service):
    post(service, "OLD")
    fail(service.queue, claim(service.queue, owner_name()), "user", "MEDIA_ERROR: it has no audio stream")
    assert post(service, "NEW")[0].state == "failed"

def test_a_fresh_url_that_comes_during_the_attempt_is_tried(service, monkeypatch):
    "The final message waits for it too"
    seen = []
    def post_with(signature):
        job = to_job(service, "talk-1", URL + signature, callback=service.backend_url)
        return submit(service, [job])
    def analyze(source, *_):
        seen.append(source)
        if len(seen) == 1: post_with("NEW")
        raise FetchError("https://x.org/a.mp4: the signed URL has expired (403); sign it again")
    monkeypatch.setattr(jobs, "analyze", analyze)
    service.backend_url = "http://127.0.0.1:1/api/upload-video/result"
    post_with("OLD")
    def final(): return service.queue.db.execute("select count(*) from outbox where closes").fetchone()[0]
    work_on(service, claim(service.queue, owner_name()))
    assert (service.job("talk-1").state, final()) == ("queued", 0)
    work_on(service, claim(service.queue, owner_name()))
    assert (service.job("talk-1").state, final(), seen) == ("failed", 1, [f"{URL}OLD", f"{URL}NEW"])
