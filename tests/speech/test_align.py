"""Words to times without a download: what is trusted, what stands in for it, and which aligner is chosen."""
import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from ecg_audio_nb.speech.align import (
    ALIGNERS,
    CtcAligner,
    PhoneAligner,
    KeepTimes,
    choose_aligner,
    interpolate,
    take_recognized,
    text_fit,
)
from ecg_audio_nb.speech.ctc import words_from_frames
from ecg_audio_nb.speech.forced_align import align_phones
from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.models import ModelError, packaged_models
from ecg_audio_nb.speech.phones import pronounce
from ecg_audio_nb.schema import ModelInfo, Word
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import Transcript

MODEL = ModelInfo("whisper", "base")
INVENTED = "Please subscribe and leave a comment below this video, thank you for watching".split()


@pytest.fixture(scope="module")
def clips(root):
    "(audio, [(word, start, end)]) of clips with exact times"
    folder = root / "tests/fixtures/tiny/clips"
    truth = json.loads((folder / "clips.json").read_text())
    return [(load_audio(folder / f"{name}.flac"), [(w["word"], w["start"], w["end"]) for w in clip["words"]])
            for name, clip in list(truth.items())[:8]]


def transcript(words, duration, language="en", **more):
    words = tuple(w if isinstance(w, Word) else Word(w) for w in words)
    return Transcript(words, MODEL, language, **{"chunks": ((0.0, duration, len(words)),), **more})


def align(audio, said, regions=(), **settings):
    return PhoneAligner(load_settings(settings)).align(audio, said, list(regions))


def timings(found): return {w.timing for w in found.words}


# The phone aligner

def test_words_of_clips_get_their_times(clips):
    off = []
    for audio, truth in clips:
        found = align(audio, transcript([w for w, *_ in truth], audio.duration))
        off += [abs(w.start_time - start) for w, (_, start, _) in zip(found.words, truth)]
        assert timings(found) == {"aligned"} and not found.warnings
    assert np.mean(off) < 0.025


def test_the_result_says_which_model(clips):
    model = align(clips[0][0], transcript(["Anna"], clips[0][0].duration)).model
    assert (model.engine, model.name, model.device) == ("phones", "en-us-ptm", "cpu")
    assert model.sha256 == packaged_models()["phones"]["sha256"]


def test_chunks_are_placed_in_the_file_and_threads_change_nothing(clips):
    audio = Audio(np.concatenate([a.samples for a, _ in clips[:4]]))
    edges = np.cumsum([0.0, *(a.duration for a, _ in clips[:4])])
    words = [Word(w) for _, truth in clips[:4] for w, *_ in truth]
    chunks = tuple((a, b, len(truth)) for a, b, (_, truth) in zip(edges, edges[1:], clips))
    said = transcript(words, audio.duration, chunks=chunks)
    found = [align(audio, said, **{"runtime.threads": n}) for n in (1, 2)]
    assert found[0].words == found[1].words
    starts = np.array([w.start_time for w in found[0].words])
    truth = [edge + start for edge, (_, truth) in zip(edges[:4], clips) for _, start, _ in truth]
    assert np.abs(starts - truth).mean() < 0.025


def test_the_recognizers_confidence_stays(clips):
    audio, truth = clips[0]
    found = align(audio, transcript([Word(w, confidence=0.25) for w, *_ in truth], audio.duration))
    assert {w.confidence for w in found.words} == {0.25}


def test_text_that_was_not_said_has_the_recognizers_times_and_one_warning(clips):
    audio = Audio(np.concatenate([clips[0][0].samples, clips[1][0].samples]))
    edge, end = clips[0][0].duration, audio.duration
    rough = [Word(w, 0.3 * i, 0.3 * i + 0.25, timing="recognized") for i, w in enumerate(INVENTED)]
    right = [Word(w) for w, *_ in clips[1][1]]
    said = transcript([*rough, *right], end, chunks=((0.0, edge, len(rough)), (edge, end, len(right))))
    found = align(audio, said)
    assert [w.timing for w in found.words] == ["recognized"] * len(rough) + ["aligned"] * len(right)
    assert [w.start_time for w in found.words[:len(rough)]] == [w.start_time for w in rough]
    [warning] = found.warnings
    assert "1 of 2 chunks" in warning and f"{len(rough)} words" in warning and "does not fit" in warning


def test_an_untrusted_passage_never_lies_across_a_pause(clips):
    "30 s with speech at both ends: no word in the silence between"
    samples = np.zeros(30 * 16000, np.float32)
    for at in (0, 26): samples[at * 16000:at * 16000 + 40000] = clips[0][0].samples[8000:48000]
    speech = [(0.0, 2.5), (26.0, 28.5)]
    found = align(Audio(samples), transcript(INVENTED, 30.0), speech)
    assert timings(found) == {"interpolated"} and len(found.warnings) == 1
    for w in found.words: assert any(a - 1e-3 <= w.start_time <= w.end_time <= b + 1e-3 for a, b in speech), w


def test_noise_as_loud_as_speech_leaves_it_to_the_recognizer(clips):
    audio, truth = clips[0]
    rms = np.sqrt(np.mean(audio.samples**2))
    noisy = audio.samples + np.random.default_rng(0).normal(0, 1.6 * rms, len(audio.samples)).astype(
        np.float32
    )
    rough = [Word(w, s + 0.05, e + 0.05, timing="recognized") for w, s, e in truth]
    found = align(Audio(noisy.astype(np.float32)), transcript(rough, audio.duration))
    assert timings(found) == {"recognized"} and "noise" in found.warnings[0]
    without = align(Audio(noisy.astype(np.float32)), transcript([w for w, *_ in truth], audio.duration))
    assert all(w.start_time is not None for w in without.words)


def test_a_word_without_sound_gets_a_slice_between_its_neighbours(clips):
    audio, truth = clips[0]
    words = [w for w, *_ in truth]
    found = align(audio, transcript([*words[:4], "—", *words[4:]], audio.duration)).words
    before, dash, after = found[3:6]
    assert dash.timing == "interpolated" and dash.duration > 0.015
    assert before.end_time <= dash.start_time and dash.end_time <= after.start_time
    assert [w.timing for w in found if w.word != "—"] == ["aligned"] * len(words)


def test_words_with_times_and_no_chunks(clips):
    "Another recognizer's words, coarse times: aligned anew"
    audio, truth = clips[0]
    coarse = [Word(w, round(s, 1), round(e, 1), timing="recognized") for w, s, e in truth]
    found = align(audio, transcript(coarse, audio.duration, chunks=()))
    assert timings(found) == {"aligned"}
    assert np.mean([abs(w.start_time - s) for w, (_, s, _) in zip(found.words, truth)]) < 0.025


def test_words_without_anything(clips):
    audio, truth = clips[0]
    found = align(audio, transcript([w for w, *_ in truth], audio.duration, chunks=()))
    assert timings(found) == {"aligned"} and align(audio, transcript([], 1.0, chunks=())).words == ()


def test_a_translation_keeps_the_recognizers_times(clips):
    audio, truth = clips[0]
    found = align(
        audio, transcript([Word("Anne", 0.4, 0.6), Word("compte")], audio.duration, "fr", translated=True)
    )
    assert found.words[0].start_time == 0.4 and found.words[1].timing == "interpolated"
    assert "translation" in found.warnings[0] and found.model.engine == "whisper"


def test_a_passage_without_words(clips):
    audio, truth = clips[0]
    words = [w for w, *_ in truth]
    said = transcript(words, audio.duration, chunks=((0.0, 0.2, 0), (0.0, audio.duration, len(words))))
    found = align(audio, said)
    assert timings(found) == {"aligned"} and len(found.words) == len(words) and not found.warnings


def test_a_passage_too_short_for_its_words(clips):
    audio = clips[0][0].cut(0.4, 0.7)
    found = align(audio, transcript(INVENTED, audio.duration), [(0, 0.3)])
    assert timings(found) == {"interpolated"} and "too short" in found.warnings[0]


SCRIPTS = st.text("abz'ABZ 0123456789%$€-.,!?。안녕하세요日本語テスト中文éßжяआदم", min_size=1, max_size=60)


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=SCRIPTS,
    seconds=st.floats(0.01, 3),
    language=st.sampled_from(["en", "ko", "ja", "zh", "ru", "xx", None]),
)
def test_any_text_keeps_its_words_and_order(clips, text, seconds, language):
    words = text.split()
    if not words: return
    audio = clips[0][0].cut(0, seconds)
    found = align(audio, transcript(words, audio.duration, language), [(0.0, audio.duration)])
    assert [w.word for w in found.words] == words
    times = [t for w in found.words for t in (w.start_time, w.end_time)]
    assert times == sorted(times) and timings(found) <= {"aligned", "interpolated"}
    assert times[-1] <= audio.duration + 0.011


def test_wrong_text_is_told_on_speech_it_was_not_chosen_on(root):
    "LibriSpeech: each utterance with its own text and with another's"
    folder = root.parent / "shared/data/librispeech"
    if not folder.is_dir(): pytest.skip("needs ../shared/data/librispeech")
    texts = json.loads((folder / "transcripts.json").read_text())
    paths = sorted(p for p in folder.rglob("*.flac") if p.stem in texts)[::5]
    right, wrong = [], []
    for path, other in zip(paths, paths[3:] + paths[:3]):
        samples = load_audio(path).samples
        for text, fits in ((texts[path.stem], right), (texts[other.stem], wrong)):
            spelled = [p for p in (pronounce(w, "en") for w in text.split()) if p]
            try: fits.append(text_fit(align_phones(samples, spelled)))
            except ValueError: continue
    assert min(right) > 0.8 and max(wrong) < 0.5


# Stand-ins

def test_a_recognized_time_must_lie_between_its_neighbours():
    words = [Word("a", 0.0, 1.0), Word("b"), Word("c", 1.4, 2.0), Word("d")]
    known = [Word("a", 0.1, 0.9), Word("b", 0.2, 1.3), Word("c", 1.4, 2.0), Word("d", 1.9, 2.4)]
    found = take_recognized(words, known)
    assert found[1].start_time is None # most of it lies within a
    assert (found[3].start_time, found[3].end_time, found[3].timing) == (2.0, 2.4, "recognized")


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 3)), max_size=5), st.integers(1, 12))
def test_interpolated_words_are_in_order_and_in_speech(spans, n):
    speech, last = [], 0.0
    for gap, length in spans: speech.append((last + gap, last + gap + length)); last += gap + length
    end = last + 1
    found = interpolate([Word(str(i)) for i in range(n)], 0.0, end, speech)
    times = [t for w in found for t in (w.start_time, w.end_time)]
    assert times == sorted(times) and 0 <= times[0] and times[-1] <= end + 1e-3
    if speech:
        assert all(any(a - 2e-3 <= w.start_time and w.end_time <= b + 2e-3 for a, b in speech) for w in found)


def test_a_letter_network_keeps_the_recognizers_confidence():
    frames, probability = np.array([1, 3, 5]), np.array([.9, .8, 1])
    kept, new = words_from_frames(
        [Word("a", confidence=0.3), Word("b")], [0, 1, -1], frames, probability, 0, 0.02, 8
    )
    assert (kept.confidence, new.confidence) == (0.3, 0.8)


# The choice

CHOICES = [
    ({}, PhoneAligner),
    ({"engine": "whisper"}, PhoneAligner),
    ({"engine": "embedded"}, PhoneAligner),
    ({"align.engine": "whisper", "engine": "whisperx"}, PhoneAligner),
    ({"align.engine": "whisperx"}, CtcAligner),
]


@pytest.mark.parametrize("given, kind", CHOICES)
def test_which_aligner(given, kind):
    assert type(choose_aligner(load_settings(given), "whisper")[0]) is kind


def test_an_engine_of_the_registry_is_chosen_by_name(monkeypatch):
    monkeypatch.setitem(ALIGNERS, "whisper", lambda settings: KeepTimes("parrot"))
    aligner, reason = choose_aligner(load_settings({"align.engine": "whisper"}), "whisper")
    assert aligner.reason == "parrot" and reason == "align: the recognizer's times, as asked for"


def test_an_engine_that_can_not_run_leaves_it_to_the_packaged_one(monkeypatch):
    class Absent(KeepTimes):
        def check(self): raise ModelError("it is not here")
    monkeypatch.setitem(ALIGNERS, "whisperx", lambda settings: Absent())
    aligner, reason = choose_aligner(load_settings({"engine": "whisperx"}))
    assert type(aligner) is PhoneAligner and reason == (
        "align: the packaged phone aligner, because it is not here"
    )


def test_the_chain_without_its_extra_says_why(monkeypatch):
    from ecg_audio_nb.speech import align as module
    def missing(extra="whisperx"): raise ModelError("whisperx is not installed")
    monkeypatch.setattr(module, "require_extra", missing)
    aligner, why = choose_aligner(load_settings({"engine": "whisperx"}), "whisper")
    assert type(aligner) is PhoneAligner and "because whisperx is not installed" in why
    with pytest.raises(ModelError, match="not installed"):
        choose_aligner(
            load_settings({"engine": "whisperx", "align.model": "WAV2VEC2_ASR_BASE_960H"}), "whisper"
        )


def test_wav2vec2_that_is_not_at_hand_leaves_it_to_the_phones(clips, monkeypatch, tmp_path):
    "An empty cache and no network: words were spread evenly over the passage"
    for name in ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    audio, truth = clips[0]
    settings = load_settings({"align.engine": "whisperx", "runtime.offline": True, "runtime.device": "cpu"})
    found = CtcAligner(settings).align(audio, transcript([w for w, *_ in truth], audio.duration), [])
    assert timings(found) == {"aligned"} and found.model.engine == "phones" and len(found.warnings) == 1
    assert np.mean([abs(w.start_time - s) for w, (_, s, _) in zip(found.words, truth)]) < 0.025


def test_recognizer_times_stay_where_they_are_asked_for(clips):
    said = transcript([Word("a", 0.1, 0.4, timing="recognized"), Word("b")], 2.0)
    found = KeepTimes().align(clips[0][0], said, [(0, 1.0)])
    filled = replace(said.words[1], start_time=0.4, end_time=1.0, timing="interpolated")
    assert found.words == (said.words[0], filled)


@pytest.mark.skipif(not find_spec("whisperx"), reason="needs the extra [whisperx]")
def test_letters_the_network_can_not_place_take_the_recognizers_time(clips, root):
    audio, truth = clips[0]
    settings = load_settings(
        {"align.model": str(root / "tests/fixtures/tiny/wav2vec2"), "runtime.device": "cpu"}
    )
    words = [Word(w, s, e, timing="recognized") for w, s, e in truth]
    words[5] = replace(words[5], word="...")
    found = CtcAligner(settings).align(audio, transcript(words, audio.duration), [])
    assert found.words[5].timing == "recognized" and found.words[4].timing == "aligned"
