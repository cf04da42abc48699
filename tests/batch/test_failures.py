"""Which errors are the user's, which ones may pass by themselves"""
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from ecg_audio_nb.batch.failures import Failure, Stopped, TimedOut, classify_error, is_temporary


def raised(name, text): return SimpleNamespace(ename=name, evalue=text)

@pytest.mark.parametrize(
    "error, kind",
    [
        (raised("ValueError", "no speech"), "user"),
        (raised("FetchError", "a.mp4: no such file; check the spelling"), "user"),
        (raised("OSError", "[Errno 28] No space left on device"), "infra"),
        (raised("ExportError", "can't write x: No space left on device."), "infra"),
        (raised("FetchError", "https://x.org/a: the connection ended early; try again"), "infra"),
        (raised("FetchError", "https://x.org/a: the server answered 404; it may have expired"), "user"),
        (raised("MemoryError", ""), "infra"),
        (raised("OutOfMemoryError", "CUDA out of memory"), "infra"),
        (raised("RuntimeError", "CUDA error: an illegal memory access was encountered"), "infra"),
        (raised("JobStopped", "asked to stop"), "stopped"),
        (Stopped("x"), "stopped"),
        (TimedOut("x"), "timeout"),
        (OSError(28, "No space left on device"), "infra"),
        (RuntimeError("Kernel died"), "infra"),
    ],
)
def test_whose_fault_an_error_is(error, kind): assert classify_error(error).kind == kind


@pytest.mark.parametrize(
    "name, text, fetching, temporary",
    [
        ("FetchError", "the connection ended early; try again", True, True),
        ("FetchError", "the connection ended early; try again", False, False),
        ("MediaError", "no sound in it", True, False),
        ("MemoryError", "", False, True),
        ("OSError", "[Errno 28] No space left", False, True),
    ],
)
def test_what_may_pass_is_the_same_for_batch_and_service(name, text, fetching, temporary):
    assert is_temporary(name, text, fetching) == temporary


def test_a_missing_gpu_is_the_machines():
    from ecg_audio_nb.models import ModelError, pick_device
    with patch("ecg_audio_nb.models._cuda_devices", lambda: 0), pytest.raises(ModelError) as caught:
        pick_device("cuda")
    assert classify_error(raised("ModelError", str(caught.value))).kind == "infra"


def test_a_failure_is_a_kind_and_a_line():
    assert classify_error(OSError(28, "No space left on device")) == Failure(
        "infra", "OSError: [Errno 28] No space left on device"
    )
    assert classify_error(TimedOut("it took longer than 60 s")) == Failure(
        "timeout", "it took longer than 60 s"
    )
