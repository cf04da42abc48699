"""Text of the light recognizer beside WhisperX's, on the longest utterances of LibriSpeech"""
import json

import pytest

from ecg_audio_nb.research.error_rates import wer
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech import transcribe, whisper
from ecg_audio_nb.speech.transcribe import WhisperTranscriber
from readers import read_utterance

# of the 50: 15 to 18 s
LONGEST = "2414-128291-0002", "2033-164914-0006", "2033-164914-0008", "367-130732-0003", "367-130732-0005"


def long_utterances(shared_data, n):
    "(sound, what is said) of each"
    truth = json.loads((shared_data / "librispeech/transcripts.json").read_text())
    return [(read_utterance(shared_data / f"librispeech/{name}.flac"), truth[name]) for name in LONGEST[:n]]


def their_texts(weights, utterances, compute):
    "WhisperX's text of each utterance as one chunk"
    load_model = pytest.importorskip("whisperx.asr", reason="needs the extra [whisperx]").load_model
    pipe, out = (
        load_model(
            str(weights.folder), "cpu", compute_type=compute, language="en", vad_model=lambda *_: None
        ),
        [],
    )
    for audio, _ in utterances:
        [found] = pipe([{"inputs": audio.samples}], batch_size=1)
        out.append(found["text"] if isinstance(found["text"], str) else found["text"][0])
    return out


def our_texts(weights, utterances, compute):
    chosen = {"runtime.device": "cpu", "transcribe.compute_type": compute, "transcribe.chunk_size": 30}
    engine = WhisperTranscriber(weights, load_settings(chosen))
    return [
        " ".join(w.word for w in engine.transcribe(audio, [(0.0, audio.duration)], "en").words)
        for audio, _ in utterances
    ]


def check_same_text(weights, utterances):
    """Spectrogram, prompt, search and decoding are WhisperX's: the same text, marks and case included

    In float32. In int8 the spectrograms' difference of 1e-5 is enough to round some activation the other way,
    which changed a word or a comma in three of these five (with WhisperX's spectrogram: in none).
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whisper, "TRAILING_SILENCE", 30.0) # the encoder is given 30 s, as there
        patch.setattr(transcribe, "MIN_UNCOVERED", 60.0) # nothing is decoded again
        ours, theirs = (texts(weights, utterances, "float32") for texts in (our_texts, their_texts))
    assert [t.split() for t in ours] == [t.split() for t in theirs]


def check_no_worse(weights, utterances):
    """In int8, as a processor computes by default: word error rate over the utterances within 2 points of
    WhisperX's

    Not equal, because the encoder sees a chunk and 5 s, not 30 s (that is where the speed comes from), and
    differs in a word here and there, either way.
    """
    truth = "\n".join(text for _, text in utterances)
    ours, theirs = ("\n".join(texts(weights, utterances, "int8")) for texts in (our_texts, their_texts))
    assert wer(truth, ours, "en").wer - wer(truth, theirs, "en").wer <= 0.02
