"""Voice and speakers that were stopped go on from what is done; the artifacts are the same, bit by bit"""
import numpy as np
import pytest
import soundfile

from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.checkpoints import Checkpoints, Parts
from ecg_audio_nb.core.files import PACKAGE
from ecg_audio_nb.pipeline import analyze
from ecg_audio_nb.reproduce import same_result
from ecg_audio_nb.speech import transcribe
from ecg_audio_nb.speech.speaker_embeddings import extract_embeddings
from ecg_audio_nb.speech.vad import binarize, run_networks


class Killed(Exception): pass


class OneAtATime(Parts):
    "Stores one more part than the run before, and then the run is killed"
    def get_or_compute(self, name, work):
        made = []
        part = super().get_or_compute(name, lambda: made.append(1) or work())
        if made: raise Killed
        return part


@pytest.fixture(scope="module")
def audio():
    "More than two minutes: three blocks of the diarizer"
    sample = load_audio(PACKAGE / "assets/sample.mp4").samples
    return Audio(np.tile(sample, -(-150 * 16000 // len(sample)))[:150 * 16000])


def resume(tmp_path, work):
    "Run work again and again, killed after every part; returns what it makes, and how often it was killed"
    kills, parts = 0, OneAtATime(Checkpoints(tmp_path), "ab12")
    while True:
        try: return work(parts), kills
        except Killed: kills += 1


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") if isinstance(x, np.ndarray) else x == y
               for x, y in zip(vars(a).values(), vars(b).values()))  # fmt: skip


def test_killed_after_every_part_voice_and_speakers_are_the_same(audio, tmp_path):
    whole = run_networks(audio)
    resumed, kills = resume(tmp_path / "voice", lambda parts: run_networks(audio, parts=parts))
    assert same(whole, resumed) and kills >= 5
    activity = binarize(whole)
    embedded = extract_embeddings(audio, activity)
    again, kills = resume(tmp_path / "speakers", lambda parts: extract_embeddings(audio, activity, parts=parts))
    assert same(embedded, again) and kills == 3


def test_channels_have_checkpoints_too(audio, tmp_path):
    "A speaker a channel, who take turns every five seconds"
    left, right = audio.samples[:20 * 16000].copy(), audio.samples[:20 * 16000].copy()
    for n in range(4): (left, right)[n % 2][n * 80000:(n + 1) * 80000] = 0
    soundfile.write(tmp_path / "call.wav", np.stack([left, right], 1), 16000)
    given = {"media.channels": "speakers", "runtime.data_dir": str(tmp_path)}
    without = analyze(tmp_path / "call.wav", given | {"runtime.checkpoints": False}, profile="demo")
    for _ in range(2):
        result = analyze(tmp_path / "call.wav", given | {"runtime.checkpoints": True}, profile="demo")
        assert same_result(result, without)
    assert result.metadata.unique_speakers == 2
    assert not [path for path in (tmp_path / "checkpoints").glob("??/*") if "-" in path.stem], "parts are deleted"


def test_a_transcription_that_is_killed_again_and_again_decodes_each_batch_once(tmp_path, monkeypatch):
    calls, decode_batch = {"n": 0, "most": 1000}, transcribe._decode_batch
    def count(*args, **kwargs):
        if calls["n"] >= calls["most"]: raise Killed
        calls["n"] += 1
        return decode_batch(*args, **kwargs)
    monkeypatch.setattr(transcribe, "_decode_batch", count)
    given = {"transcribe.batch_size": 1, "transcribe.chunk_size": 5, "diarize.enabled": False}
    def run(folder):
        own = given | {"runtime.data_dir": str(tmp_path / folder), "runtime.checkpoints": True}
        return analyze(PACKAGE / "assets/sample.mp4", own, profile="demo")
    whole = run("undisturbed")
    batches, calls["n"] = calls["n"], 0
    assert batches >= 3
    for calls["most"] in range(1, batches):
        with pytest.raises(Killed): run("killed")
    calls["most"] = 1000
    assert [w.word for w in run("killed").words] == [w.word for w in whole.words]
    assert calls["n"] == batches
