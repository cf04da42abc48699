"""Hundreds of random recordings, and an hour whose clock is off; tests/audio/test_timeline.py has short forms"""
import numpy as np
import pytest
from audio.clock_files import drift, recordings, write
from audio.test_timeline import check_recording
from hypothesis import HealthCheck, given, settings

from ecg_audio_nb.audio.media import load_audio

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(recordings())
def test_any_combination(tmp_path, recording): check_recording(recording, tmp_path)


@pytest.mark.parametrize("scale", [0.99, 0.9995, 1.0005, 1.01])
def test_an_hour_whose_clock_is_off(tmp_path, scale):
    "A tone of 0.1 s every ten minutes"
    x = np.zeros((1, 3600 * 16000), np.float32)
    due = np.arange(300, 3600, 600)
    for t in due: x[0, t * 16000:][:1600] = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(1600) / 16000)
    audio = load_audio(write(tmp_path / "hour.mkv", x, "pcm_s16le", 16000, clock=drift(scale)))
    loud = np.flatnonzero(np.abs(audio.samples) > 0.1) / 16000
    first = loud[np.r_[True, np.diff(loud) > 1]]
    assert first == pytest.approx(due * scale, abs=0.010) and audio.duration == pytest.approx(3600 * scale, abs=0.1)
