"""The service as a whole, against all that a backend and an operator do to it: every job ends right, every
final message arrives

The long forms (200 jobs, 50 jobs through ten kills) are in tests/soak/test_service.py."""
import pytest

from service_load import jobs_for_a_faulty_backend, jobs_through_kills, make_clips

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def clips(sample, tmp_path_factory): return make_clips(tmp_path_factory.mktemp("clips"), sample)

def test_jobs_for_a_backend_with_every_fault(tmp_path, clips): jobs_for_a_faulty_backend(tmp_path, clips, 20)

def test_jobs_through_kills(tmp_path, clips): assert len(jobs_through_kills(tmp_path, clips, 6, 2)) == 2
