"""Metrics, readiness and the description of the paths"""
from ecg_audio_nb.service.app import build_app
from ecg_audio_nb.service.monitoring import metrics, readiness
from ecg_audio_nb.service.submission import submit, to_job


def test_metrics_and_readiness_without_threads(service):
    submit(service, [to_job(service, "a", "https://x.org/a.mp4")])
    text = metrics(service).decode()
    assert 'ecg_jobs{state="queued"} 1.0' in text and "ecg_queue_depth 1.0" in text
    assert readiness(service) == {"models": False, "disk": True, "queue": True, "worker": False}

def test_every_path_is_described_with_an_example_to_type(service):
    description = build_app(service).openapi()
    assert sorted(description["paths"]) == [
        "/api/upload-video/process-video",
        "/health",
        "/jobs/{job_id}",
        "/jobs/{job_id}/events",
        "/jobs/{job_id}/report",
        "/jobs/{job_id}/result",
        "/metrics",
        "/ready",
        "/transcribe",
        "/uploads",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/models",
        "/v1/models/{model}",
    ]
    posts = [path["post"] for path in description["paths"].values() if "post" in path]
    assert len(posts) == 5 and all("curl http://127.0.0.1:8080/" in post["description"] for post in posts)
