"""The whole chain with real weights on real speech: what is said is found, what is not said stays out, each
stage tells the truth of itself."""
import json
import re
from itertools import pairwise

import numpy as np
import pytest

from ecg_audio_nb import analyze
from ecg_audio_nb.research.error_rates import normalize_text, wer
from ecg_audio_nb.models import ModelError
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.speakers import choose_diarizer
from whisperx_texts import check_no_worse, check_same_text, long_utterances

CPU = {"engine": "whisper", "runtime.device": "cpu", "runtime.offline": True}
ALONE = CPU | {"diarize.enabled": False} # nobody is told from others


def cer(reference, hypothesis):
    "Character error rate over normalized text without spaces"
    import jiwer
    plain = [normalize_text(text, "ko").replace(" ", "") for text in (reference, hypothesis)]
    return jiwer.process_characters(*plain).cer


def text_of(result): return " ".join(w.word for w in result.words)


@pytest.fixture(scope="module")
def jfk(real_whisper, shared_data):
    real_whisper("base")
    return analyze(shared_data / "sentences/jfk.flac", CPU)


JFK = (
    "And so my fellow Americans ask not what your country can do for you, ask what you can do for your "
    "country."
)


# What is said

def test_a_speech_has_no_error(jfk):
    assert wer(JFK, text_of(jfk), "en").wer == 0
    assert text_of(jfk)[0] == "A" and text_of(jfk)[-1] == "." and jfk.metadata.language_detected == "en"


def test_korean_by_the_light_chain(real_whisper, shared_data):
    real_whisper("base")
    found = analyze(shared_data / "real/korean/leopard_test_ko.wav", CPU)
    truth = json.loads((shared_data / "real/korean/truth.json").read_text())["leopard_test_ko.wav"]["text"]
    assert found.metadata.language_detected == "ko" and found.metadata.language_probability > 0.5
    assert cer(truth, text_of(found)) < 0.35
    assert len(found.words) >= 5 and all(re.search("[가-힣]", w.word) for w in found.words)
    assert {w.speaker_id for w in found.words} == {"SPEAKER_00"} and np.mean(
        [w.timing == "aligned" for w in found.words]
    ) >= 0.8


@pytest.mark.parametrize(
    "clip, code, most", [("leopard_test_de.wav", "de", 0.15), ("leopard_test_ja.wav", "ja", 0.25)]
)
def test_other_languages(real_whisper, shared_data, clip, code, most):
    real_whisper("base")
    found = analyze(shared_data / "real/languages" / clip, ALONE)
    truth = json.loads((shared_data / "real/languages/truth.json").read_text())[clip]["text"]
    assert found.metadata.language_detected == code and cer(truth, text_of(found)) < most


@pytest.mark.parametrize("model, most", [("tiny.en", 0.2), ("base", 0.15)])
def test_read_sentences(real_whisper, shared_data, model, most):
    real_whisper(model)
    truth = json.loads((shared_data / "librispeech/transcripts.json").read_text())
    clips = ["2414-128291-0002", "367-130732-0003"]
    found = [
        text_of(analyze(shared_data / f"librispeech/{c}.flac", ALONE | {"transcribe.model": model}))
        for c in clips
    ]
    assert wer("\n".join(truth[c] for c in clips), "\n".join(found), "en").wer <= most


# What is not said

@pytest.mark.parametrize("model", ["tiny.en", "base"])
@pytest.mark.parametrize(
    "clip", ["silence2sec.wav", "DTMF_tones_44.1KHZ_stereo_24bit.flac", "leopard_empty.wav"]
)
def test_no_word_where_nobody_speaks(real_whisper, shared_data, clip, model):
    real_whisper(model)
    found = analyze(shared_data / "real/hard" / clip, ALONE | {"transcribe.model": model})
    assert not found.words, (text_of(found), found.metadata.warnings)


@pytest.mark.parametrize("model", ["tiny.en", "base"])
def test_no_word_in_music_or_noise(real_whisper, shared_data, model):
    "Twenty seconds of music, then noise, then speech: words in the speech alone"
    real_whisper(model)
    found = analyze(shared_data / "real/hard/musanmix.mp3", ALONE | {"transcribe.model": model})
    assert found.words and min(w.start_time for w in found.words) > 60


def test_a_long_silence_adds_no_words(real_whisper, shared_data):
    real_whisper("base")
    found = analyze(
        shared_data / "real/hard/was_der_mensch_saet_silence.flac", ALONE | {"transcribe.language": "de"}
    )
    assert wer("Was der Mensch sät, das wird er vielfach ernten.", text_of(found), "de").wer <= 0.3


def test_a_whole_result_of_silence(real_whisper, tmp_path):
    import soundfile
    real_whisper("base")
    soundfile.write(tmp_path / "silence.wav", np.zeros(5 * 16000), 16000)
    found = analyze(tmp_path / "silence.wav", CPU)
    assert not found.words and not found.segments and not found.speakers


# What the result tells of itself

def test_times_are_of_the_sound_and_not_spread_evenly(jfk):
    "Words of one length for all of them were the sign of times that nobody measured"
    assert len({round(w.duration, 2) for w in jfk.words}) > 10
    assert np.mean([w.timing == "aligned" for w in jfk.words]) >= 0.9
    gaps = [b.start_time - a.end_time for a, b in pairwise(jfk.words)]
    assert max(gaps) > 0.4, "he pauses"


def test_every_word_has_a_speaker_and_segments_are_sentences(jfk):
    assert {w.speaker_id for w in jfk.words} == {"SPEAKER_00"} and len(jfk.segments) <= 5
    assert all(0 < w.confidence <= 1 for w in jfk.words) and len({w.confidence for w in jfk.words}) > 15


def test_models_and_warnings_are_true(jfk):
    m = jfk.metadata.models
    assert (m["transcribe"].engine, m["transcribe"].name, m["transcribe"].compute_type) == (
        "whisper",
        "base",
        "int8",
    )
    assert m["align"].engine == "phones" and m["align"].name not in ("base", "tiny.en")
    assert all(len(x.sha256) == 64 for x in m.values())
    assert not [w for w in jfk.metadata.warnings if "recognizer's" in w or "dropped" in w]


def test_with_the_extra_but_without_its_aligner_times_are_measured_all_the_same(
    real_whisper, shared_data, monkeypatch, tmp_path
):
    """`transcribe.engine = whisperx` where no wav2vec2 is at hand: the packaged aligner, and the result says
    so"""
    real_whisper("tiny.en")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = analyze(
        shared_data / "sentences/jfk.flac",
        {
            "runtime.device": "cpu",
            "runtime.offline": True,
            "transcribe.engine": "whisperx",
            "transcribe.model": "tiny.en",
            "transcribe.language": "en",
        },
    )
    assert len(found.words) == 22 and len({round(w.duration, 2) for w in found.words}) > 10
    assert found.metadata.models["align"].engine == "phones" and all(w.speaker_id for w in found.words)


def test_without_pyannotes_weights_the_way_out_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="diarize.engine = whisper goes without"):
        choose_diarizer(load_settings({"engine": "whisperx", "runtime.offline": True}))


# Parity

@pytest.fixture(scope="module")
def utterances(shared_data): return long_utterances(shared_data, 5)


@pytest.mark.slow
def test_the_same_window_gives_whisperxs_text(real_whisper, utterances):
    "Of two; of all five in tests/soak/test_speech.py"
    check_same_text(real_whisper("tiny.en"), utterances[:2])


@pytest.mark.slow
def test_a_shorter_window_is_no_worse_than_whisperxs(real_whisper, utterances):
    check_no_worse(real_whisper("tiny.en"), utterances)
