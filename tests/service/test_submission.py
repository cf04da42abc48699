"""The service's folder, and from a request to a row of the queue"""
import os

import pytest

from ecg_audio_nb.audio.fetch import FetchError
from ecg_audio_nb.batch.queue import claim, fail, owner_name
from ecg_audio_nb.core.files import PACKAGE
from ecg_audio_nb.service import jobs
from ecg_audio_nb.service.app import ServerError, Service, serve
from ecg_audio_nb.service.jobs import work_on
from ecg_audio_nb.service.models import SENTENCES, ProcessRequest, status_message, explain_invalid, job_status
from ecg_audio_nb.service.problems import Problem
from ecg_audio_nb.service.state import clean_up
from ecg_audio_nb.service.submission import callback_for, check_source, estimate_seconds, submit, to_job
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
        ("[]", "the body: Input should be an object"),
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
        ({"ECG_API_KEYS": "short"}, "ECG_API_KEYS: entry 1 is no key"),
    ],
)
def test_bad_secrets_and_urls_are_told_at_the_start(environ, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        serve(load_settings({"runtime.data_dir": str(tmp_path)}), environ=environ)


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
