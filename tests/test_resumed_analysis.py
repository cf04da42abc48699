"""Voice and speakers that were stopped go on from what is done; the artifacts are the same, bit by bit"""
import numpy as np
import pytest

from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.checkpoints import Checkpoints, Parts
from ecg_audio_nb.core.files import PACKAGE
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
