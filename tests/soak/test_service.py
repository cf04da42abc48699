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


def test_ten_thousand_requests_of_any_shape_and_no_500(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    soundfile.write(media / "out.wav", np.sin(np.arange(32000) / 5), 16000)
    served = Quick(tmp_path / "served", media, *[word for s in OPEN_LIMITS for word in ("--set", s)])
    served.data.mkdir()
    served.start()
    until(lambda: served.http.get("/ready").status_code == 200)
    try: requests_of_any_shape(served, 10_000)
    finally: assert served.stop() == 0
