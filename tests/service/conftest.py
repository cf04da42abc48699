"""A service of the packaged models, without threads, and a folder that it may read"""
from importlib.resources import files

import pytest

from ecg_audio_nb.batch.queue import Queue
from ecg_audio_nb.service.app import ServerSettings, Service
from ecg_audio_nb.service.webhooks import prepare
from ecg_audio_nb.settings import load_settings

ASSETS = files("ecg_audio_nb") / "assets"
SAMPLE = str(ASSETS / "sample.mp4")


@pytest.fixture
def make_service(tmp_path):
    "Makes services, by the settings of `server.`; each in a folder of its own"
    made = []
    def make(backend=None, secret=None, **limits):
        settings = load_settings(
            {"runtime.data_dir": str(tmp_path / str(len(made))), "fetch.media_roots": str(ASSETS)}, "demo"
        )
        made.append(Service(settings, ServerSettings(**limits), backend, secret))
        return made[-1]
    yield make
    for service in made: service.close()

@pytest.fixture
def service(make_service): return make_service()


@pytest.fixture
def queue(tmp_path):
    "A queue with an outbox"
    q = Queue(tmp_path / "q/jobs.sqlite")
    prepare(q)
    yield q
    q.close()
