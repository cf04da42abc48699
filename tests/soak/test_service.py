"""The service for a long time: 200 jobs, ten kills, 10,000 requests of any shape, 200 jobs through the outbox

Shorter forms of each are in tests/service."""
import pytest
import soundfile
import numpy as np

from backend import Quick, until
from service_load import (
    OPEN_LIMITS,
    jobs_for_a_faulty_backend,
    jobs_through_kills,
    make_clips,
    outbox_for_a_faulty_receiver,
    requests_of_any_shape,
    requests_of_the_description,
)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def clips(sample, tmp_path_factory): return make_clips(tmp_path_factory.mktemp("clips"), sample)


def test_two_hundred_jobs_for_a_backend_with_every_fault(tmp_path, clips):
    jobs_for_a_faulty_backend(tmp_path, clips, 200)


def test_fifty_jobs_through_ten_kills(tmp_path, clips):
    at = jobs_through_kills(tmp_path, clips, 50, 10)
    assert at == sorted(at) and at[-1] > at[0] # it went on between the kills


def test_two_hundred_jobs_through_a_receiver_with_every_fault(tmp_path):
    outbox_for_a_faulty_receiver(tmp_path, 200)


@pytest.fixture
def served(tmp_path):
    "A service with open limits; no host of this machine's or the world's is asked for a recording"
    media = tmp_path / "media"
    media.mkdir()
    soundfile.write(media / "out.wav", np.sin(np.arange(32000) / 5), 16000)
    limits = *OPEN_LIMITS, "fetch.allow_hosts=media.example.org"
    s = Quick(tmp_path / "served", media, *[word for limit in limits for word in ("--set", limit)])
    s.data.mkdir()
    s.start()
    until(lambda: s.http.get("/ready").status_code == 200)
    yield s
    assert s.stop() == 0


def test_ten_thousand_requests_of_any_shape_and_no_500(served): requests_of_any_shape(served, 10_000)


def test_no_request_of_the_description_breaks_it_in_twenty_examples(served, tmp_path):
    requests_of_the_description(served, tmp_path, 20)
