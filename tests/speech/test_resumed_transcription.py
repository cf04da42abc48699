"""A transcription that was stopped goes on from the batches it has decoded; the words are the same"""
import pytest

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.checkpoints import Checkpoints, Parts
from ecg_audio_nb.core.files import PACKAGE
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech import transcribe as module
from ecg_audio_nb.speech.transcribe import make_whisper

REGIONS = [(0.5, 3.0), (3.0, 6.0), (8.0, 11.0), (11.0, 14.0), (16.0, 19.0), (19.0, 22.0)]


class Killed(Exception): pass


@pytest.fixture
def audio(): return load_audio(PACKAGE / "assets/sample.mp4")

@pytest.fixture
def engine():
    return make_whisper(load_settings({"transcribe.batch_size": 1, "transcribe.chunk_size": 3}, "demo"))

@pytest.fixture
def decoded(monkeypatch):
    "Counts the batches that are decoded; `[-1]` of the first item: after how many the run is killed"
    calls, decode_batch = {"n": 0, "most": 1000}, module._decode_batch
    def count(run, batch, code):
        if calls["n"] >= calls["most"]: raise Killed
        calls["n"] += 1
        return decode_batch(run, batch, code)
    monkeypatch.setattr(module, "_decode_batch", count)
    return calls


def test_killed_at_every_batch_it_goes_on_from_there(engine, audio, decoded, tmp_path):
    whole = engine.transcribe(audio, REGIONS)
    n, parts = decoded["n"], Parts(Checkpoints(tmp_path), "ab12")
    assert n >= 4
    decoded["n"] = 0
    for most in range(1, n):
        decoded["most"] = most
        with pytest.raises(Killed): engine.transcribe(audio, REGIONS, parts=parts)
    decoded["most"] = 1000
    assert engine.transcribe(audio, REGIONS, parts=parts) == whole
    assert decoded["n"] == n, "each batch is decoded once"
    parts.delete()
    assert not list(tmp_path.glob("??/*"))


def test_the_language_is_detected_once(engine, audio, tmp_path, monkeypatch):
    if not engine.whisper.multilingual: pytest.skip("the packaged model knows English only")
    parts = Parts(Checkpoints(tmp_path), "ab12")
    first = engine.transcribe(audio, REGIONS, parts=parts)
    monkeypatch.setattr(module, "vote_language", lambda detected: (detected[0][0][0][2:-2], 1.0))
    monkeypatch.setattr(module._Transcription, "encode", lambda *_: pytest.fail("it was encoded again"))
    assert engine.transcribe(audio, REGIONS, parts=parts).words == first.words


def test_other_regions_are_other_parts(engine, audio, decoded, tmp_path):
    parts = Parts(Checkpoints(tmp_path), "ab12")
    engine.transcribe(audio, REGIONS[:2], "en", parts=parts)
    n = decoded["n"]
    engine.transcribe(audio, REGIONS[:2], "en", parts=parts)
    assert decoded["n"] == n
    engine.transcribe(audio, REGIONS[2:4], "en", parts=parts)
    assert decoded["n"] > n
