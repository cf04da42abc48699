"""LibriSpeech's readers in calls and conversations (benchmarks/_conversations.py), quickly"""
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.settings import DiarizeSettings
from ecg_audio_nb.speech.diarize import diarize
from ecg_audio_nb.speech.vad import detect_speech

ROOT = Path(__file__).resolve().parents[1]


def read_utterance(path):
    """`load_audio`, and the same samples of a FLAC file with 16 kHz without its decoding process, which takes longer
    than all else"""
    if Path(path).suffix == ".flac":
        samples, rate = soundfile.read(path, dtype="float32")
        if rate == 16000 and samples.ndim == 1: return Audio(samples)
    return load_audio(path)


@contextmanager
def conversations():
    "The module that puts conversations together"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import _conversations
        patch.setattr(_conversations, "load_audio", read_utterance)
        yield _conversations


def speakers(samples, **settings):
    "The speakers that the packaged diarizer finds"
    audio = Audio(np.ascontiguousarray(samples, dtype=np.float32))
    return {t.speaker_id for t in diarize(audio, detect_speech(audio), DiarizeSettings(**settings)).turns}


def speakers_of_a_talk(voices, channel, seconds):
    "Number of speakers that are found in a talk of so many voices"
    with conversations() as talk:
        people = talk.test_voices()
        audio, _ = talk.conversation(9000 + voices, people, voices, seconds, channel, turn=(3, 9))
    return len(speakers(audio.samples))
