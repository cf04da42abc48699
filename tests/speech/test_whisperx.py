"""Whisper on CTranslate2 and the wav2vec2 aligner, by words and times, on models that know 47 words; parity
with WhisperX."""
import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

pytest.importorskip("whisperx", reason="needs the extra [whisperx]")

from ecg_audio_nb import analyze, models
from ecg_audio_nb.speech.align import CtcAligner, choose_aligner
from ecg_audio_nb.speech.ctc import viterbi_paths
from ecg_audio_nb.research.error_rates import wer
from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.models import ModelError, find_weights
from ecg_audio_nb.schema import ModelInfo, Word
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import Transcript, TranscribeError, WhisperTranscriber, choose_transcriber
from ecg_audio_nb.speech.whisper import DecodedChunk
from ecg_audio_nb.speech.vad import detect_speech


@pytest.fixture(scope="module")
def tiny(root): return root / "tests/fixtures/tiny"


def own(tiny, **more):
    return load_settings(
        {
            "engine": "whisperx",
            "runtime.device": "cpu",
            "diarize.enabled": False,
            "transcribe.model": str(tiny / "whisper-ct2"),
            "align.model": str(tiny / "wav2vec2"),
            "transcribe.chunk_size": 15,
            **{k.replace("__", "."): v for k, v in more.items()},
        }
    )


@pytest.fixture(scope="module")
def clips(tiny):
    "(audio, [(word, start, end)]) of each clip"
    truth = json.loads((tiny / "clips/clips.json").read_text())
    return [
        (load_audio(tiny / f"clips/{n}.flac"), [(w["word"], w["start"], w["end"]) for w in c["words"]])
        for n, c in truth.items()
    ]


@pytest.fixture(scope="module")
def heard(tiny, clips):
    "(transcript, aligned) of each clip"
    settings = own(tiny)
    engine, aligner = choose_transcriber(settings)[0], CtcAligner(settings)
    out = []
    for audio, _ in clips:
        speech = detect_speech(audio).speech
        said = engine.transcribe(audio, speech, "en")
        out.append((said, aligner.align(audio, said, speech)))
    return out


def plain(word): return word.strip(".,!?").lower()


def answer(text, log_prob, no_speech, span, temperature=0.0):
    "A chunk whose words lie evenly over its span, so that no speech is without words"
    start, end = span
    texts = text.split()
    edges = np.linspace(start, end, len(texts) + 1)
    words = tuple(Word(w, float(a), float(b)) for w, a, b in zip(texts, edges, edges[1:]))
    return DecodedChunk(text, log_prob, no_speech, temperature, words)


def test_words_of_the_clips(clips, heard):
    said = "\n".join(" ".join(w for w, *_ in truth) for _, truth in clips)
    assert wer(said, "\n".join(" ".join(w.word for w in a.words) for _, a in heard), "en").wer <= 0.05


def test_times_of_the_clips(clips, heard):
    starts, ends, lasts = [], [], []
    for (_, truth), (_, aligned) in zip(clips, heard):
        if [plain(w.word) for w in aligned.words] != [w.lower() for w, *_ in truth]: continue
        starts += [w.start_time - s for w, (_, s, _) in zip(aligned.words, truth)]
        ends += [w.end_time - e for w, (_, _, e) in zip(aligned.words[:-1], truth)]
        lasts.append(aligned.words[-1].end_time - truth[-1][2])
        assert {w.timing for w in aligned.words} == {"aligned"} and all(
            0 < w.confidence <= 1 for w in aligned.words
        )
    assert len(starts) > 100
    assert np.mean(np.abs(starts) <= 0.1) >= 0.99 and np.mean(np.abs(ends) <= 0.1) >= 0.99
    assert abs(np.median(lasts)) < 0.03, "WhisperX ends the last word of a segment 60 to 90 ms early"


def test_later_by_five_seconds(tiny, clips, heard):
    audio = Audio(np.concatenate([np.zeros(5 * 16000, np.float32), clips[0][0].samples]))
    said = Transcript(
        heard[0][0].words,
        ModelInfo("x", "y"),
        "en",
        chunks=tuple((s + 5, e + 5, n) for s, e, n in heard[0][0].chunks),
    )
    moved = CtcAligner(own(tiny)).align(audio, said, [])
    assert [w.start_time for w in moved.words] == pytest.approx(
        [w.start_time + 5 for w in heard[0][1].words], abs=0.021
    )


def test_parity_with_whisperx(tiny, clips, heard):
    "Same regions, same text chunk by chunk; words start where WhisperX starts them, and end so, but the last"
    import whisperx.alignment as theirs
    from nltk.tokenize.punkt import PunktSentenceTokenizer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "nltk_load", lambda path: PunktSentenceTokenizer())
        model, about = theirs.load_align_model("en", "cpu", model_name=str(tiny / "wav2vec2"))
        starts, ends = [], []
        for (audio, _), (said, aligned) in zip(clips, heard):
            first = 0
            for start, end, n in said.chunks:
                text = " ".join(w.word for w in said.words[first:first + n])
                found = theirs.align(
                    [{"text": " " + text, "start": start, "end": end}], model, about, audio.samples, "cpu"
                )
                pairs = list(
                    zip(aligned.words[first : first + n], [w for s in found["segments"] for w in s["words"]])
                )
                starts += [a.start_time - b["start"] for a, b in pairs]
                ends += [a.end_time - b["end"] for a, b in pairs[:-1]]
                first += n
    assert np.mean(np.abs(starts) <= 0.0205) >= 0.99 and np.mean(np.abs(ends) <= 0.0205) >= 0.99


def test_the_text_is_whisperx_s_own(tiny, clips):
    "Chunk by chunk, on the same regions"
    from whisperx.asr import load_model
    audio = clips[10][0]
    said = choose_transcriber(own(tiny))[0].transcribe(audio, detect_speech(audio).speech, "en")
    pipe = load_model(
        str(tiny / "whisper-ct2"), "cpu", compute_type="int8", language="en", vad_model=lambda *_: None
    )
    first = 0
    for start, end, n in said.chunks:
        [out] = pipe([{"inputs": audio.cut(start, end).samples}], batch_size=1)
        text = out["text"] if isinstance(out["text"], str) else out["text"][0]
        assert text.split() == [w.word for w in said.words[first:first + n]]
        first += n


def test_the_whole_chain_and_what_it_says_of_itself(tiny):
    result = analyze(tiny / "clips/clip10.flac", own(tiny))
    m = result.metadata.models
    assert (m["transcribe"].engine, m["transcribe"].compute_type, m["align"].engine) == (
        "whisper",
        "int8",
        "ctc",
    )
    assert len(m["transcribe"].sha256) == len(m["align"].sha256) == 64
    assert {"whisperx", "ctranslate2", "torch"} <= set(result.metadata.versions)
    assert result.words and all(w.acoustic_features.volume_db is not None for w in result.words)
    assert not [w for w in result.metadata.warnings if "dropped" in w]


def test_models_load_once(tiny, clips):
    models.release()
    analyze(tiny / "clips/clip00.flac", own(tiny))
    before = {k: s.model for k, s in models._slots.items()}
    analyze(tiny / "clips/clip01.flac", own(tiny))
    assert {k: s.model for k, s in models._slots.items()} == before and any(
        k[0] == "transcribe" for k in before
    )
    models.release()
    assert not models._slots


# Options

def test_no_speech_no_words(tiny):
    assert (
        choose_transcriber(own(tiny))[0].transcribe(Audio(np.zeros(16000, np.float32)), [], "en").words == ()
    )


def test_what_an_english_model_can_not(tiny, clips):
    engine = choose_transcriber(own(tiny))[0]
    with pytest.raises(TranscribeError, match="knows English only"):
        engine.transcribe(clips[0][0], [(0, 2)], "ko")
    with pytest.raises(TranscribeError, match="can't translate"):
        choose_transcriber(own(tiny, transcribe__task="translate"))[0].transcribe(clips[0][0], [(0, 2)], "en")


def test_what_a_model_can_not_that_was_not_trained_to_translate(clips, real_whisper, monkeypatch):
    "As large-v3-turbo: it would write the language that is spoken"
    from ecg_audio_nb import catalogue
    real_whisper("base")
    monkeypatch.setitem(catalogue.catalogue()["base"], "translates", False)
    settings = {"transcribe.model": "base", "transcribe.task": "translate", "runtime.device": "cpu"}
    with pytest.raises(TranscribeError, match="base can't translate: it was not trained to. Name another"):
        choose_transcriber(load_settings(settings))[0].transcribe(clips[0][0], [(0, 2)], "ko")
    assert [name for name, m in catalogue.catalogue().items() if not m.get("translates", True)] == [
        "base", "large-v3-turbo"
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"transcribe__initial_prompt": "Anna"},
        {"transcribe__hotwords": "apples"},
        {"transcribe__suppress_numerals": True},
        {"transcribe__beam_size": 1},
        {"transcribe__batch_size": 1},
    ],
)
def test_options_reach_the_model(tiny, clips, more):
    said = choose_transcriber(own(tiny, **more))[0].transcribe(
        clips[0][0], [(0.0, clips[0][0].duration)], "en"
    )
    assert isinstance(said.words, tuple) and said.language == "en"


def test_invented_text_is_dropped_with_a_note(tiny, clips, monkeypatch):
    from ecg_audio_nb.speech import transcribe

    answers = {
        0: ("thank you " * 40, -0.2, 0.1),
        2: ("Thanks for watching", -0.5, 0.9),
        5: ("You", -1.3, 0.1),
        8: ("Anna has two cats.", -0.1, 0.0),
    }
    monkeypatch.setattr(
        transcribe,
        "decode",
        lambda whisper, encoded, spans, *_: [answer(*answers[int(s[0])], s) for s in spans],
    )
    monkeypatch.setattr(transcribe, "MIN_HALF", 9) # a loop is not decoded in halves
    regions = [(0, 2.9), (3, 5.9), (6, 8.9), (9, 11.9)]
    engine = choose_transcriber(own(tiny, transcribe__temperatures="0", transcribe__chunk_size=3.3))[0]
    said = engine.transcribe(Audio(np.resize(clips[13][0].samples, 12 * 16000)), regions, "en")
    assert [w.word for w in said.words] == ["Anna", "has", "two", "cats."]
    dropped = [w for w in said.warnings if "dropped" in w]
    assert len(dropped) == 3 and "0.00 to 2.95 s" in dropped[0]
    assert (
        "repeats itself" in dropped[0]
        and "nobody speaks" in dropped[1]
        and "improbable (log-probability -1.30)" in dropped[2]
    )


def test_a_loop_is_decoded_again_in_halves(tiny, clips, monkeypatch):
    from ecg_audio_nb.speech import transcribe
    asked = []
    def decode(whisper, encoded, spans, *_):
        asked.append(len(spans))
        return [
            answer("thank you " * 40 if len(asked) == 1 else f"part {len(asked)}.{i}", -0.2, 0.1, s)
            for i, s in enumerate(spans)
        ]

    monkeypatch.setattr(transcribe, "decode", decode)
    monkeypatch.setattr(transcribe, "MIN_UNCOVERED", 9.0)
    said = choose_transcriber(own(tiny))[0].transcribe(clips[0][0], [(0.0, 4.3)], "en")
    assert (
        asked == [1, 2]
        and [w.word for w in said.words] == ["part", "2.0", "part", "2.1"]
        and not said.warnings
    )
    (a, b, _), (c, d, _) = said.chunks
    assert a == 0 and b == c and d == clips[0][0].duration and 1.4 <= b <= 3


def test_a_loop_that_stays_one_ends(tiny, clips, monkeypatch):
    from ecg_audio_nb.speech import transcribe

    monkeypatch.setattr(
        transcribe,
        "decode",
        lambda whisper, encoded, spans, *_: [answer("thank you " * 40, -0.2, 0.1, s) for s in spans],
    )
    said = choose_transcriber(own(tiny))[0].transcribe(clips[0][0], [(0.0, 4.5)], "en")
    assert not said.words and len(said.warnings) == 2 and all("repeats itself" in w for w in said.warnings)


def test_improbable_text_is_decoded_again_at_the_temperatures_asked_for(tiny, clips, monkeypatch):
    from ecg_audio_nb.speech import transcribe
    asked = []
    def decode(whisper, encoded, spans, language, s, temperature=0.0):
        asked.append(temperature)
        return [
            answer("Anna has two cats.", -0.2 if temperature >= 0.4 else -1.4, 0.1, span, temperature)
            for span in spans
        ]

    monkeypatch.setattr(transcribe, "decode", decode)
    engine = choose_transcriber(own(tiny, transcribe__temperatures="0,0.2,0.4,0.6"))[0]
    said = engine.transcribe(clips[0][0], [(0.0, 3.0)], "en")
    assert asked == [0.0, 0.2, 0.4] and len(said.words) == 4
    assert "at random" in said.warnings[0] and "0.00 to 3.20 s at 0.4" in said.warnings[0]


def test_the_first_temperature_is_the_first_try(tiny, clips, monkeypatch):
    from ecg_audio_nb.speech import transcribe
    asked = []
    def decode(whisper, encoded, spans, language, s, temperature=0.0):
        asked.append(temperature)
        return [answer("Anna has two cats.", -1.4, 0.1, span, temperature) for span in spans]

    monkeypatch.setattr(transcribe, "decode", decode)
    for temperatures in ("0.3", "0.3,0.6", "0"):
        engine = choose_transcriber(own(tiny, transcribe__temperatures=temperatures))[0]
        engine.transcribe(clips[0][0], [(0.0, 3.0)], "en")
    assert asked == [0.3, 0.3, 0.6, 0.0]


def test_a_real_draw_at_a_temperature(tiny, clips, monkeypatch):
    "As if the text without a draw were improbable"
    from ecg_audio_nb.speech import transcribe
    monkeypatch.setattr(transcribe, "needs_retry", lambda chunk, s: not chunk.temperature)
    engine = choose_transcriber(own(tiny, transcribe__temperatures="0,0.2"))[0]
    said = engine.transcribe(clips[0][0], [(0.0, clips[0][0].duration)], "en")
    assert "at 0.2" in said.warnings[0] and len(said.words) > 5


# Failures on purpose

@pytest.mark.parametrize(
    "model, missing",
    [("whisper-ct2", "model.bin"), ("whisper-ct2", "tokenizer.json"), ("wav2vec2", "vocab.json")],
)
def test_a_folder_that_lacks_a_file(tiny, tmp_path, model, missing):
    shutil.copytree(tiny / model, tmp_path / "m")
    (tmp_path / "m" / missing).unlink()
    with pytest.raises(ModelError, match=missing) as e:
        find_weights(str(tmp_path / "m"), "align" if model == "wav2vec2" else "transcribe")
    assert str(tmp_path / "m") in str(e.value)


def test_the_wrong_vocabulary(tiny, tmp_path):
    shutil.copytree(tiny / "whisper-ct2", tmp_path / "w")
    (tmp_path / "w/vocabulary.json").write_text('["a", "b"]')
    with pytest.raises(ModelError, match="wrong vocabulary"):
        assert WhisperTranscriber(find_weights(str(tmp_path / "w"), "transcribe"), own(tiny)).whisper
    shutil.copytree(tiny / "wav2vec2", tmp_path / "a")
    (tmp_path / "a/vocab.json").write_text('{"<pad>": 0, "a": 900}')
    with pytest.raises(ModelError, match="wrong tokenizer"):
        aligner = CtcAligner(own(tiny, align__model=str(tmp_path / "a")))
        aligner.model(aligner.weights("en"))


def test_weights_that_are_no_weights(tiny, tmp_path):
    shutil.copytree(tiny / "whisper-ct2", tmp_path / "w")
    (tmp_path / "w/model.bin").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="can't be loaded"):
        assert WhisperTranscriber(find_weights(str(tmp_path / "w"), "transcribe"), own(tiny)).whisper


def test_out_of_memory_goes_on_with_2(tiny, clips, monkeypatch):
    from ecg_audio_nb.speech import transcribe
    real, sizes = transcribe.decode, []
    def crowded(whisper, encoded, spans, *rest):
        sizes.append(len(spans))
        if len(spans) > 2: raise RuntimeError("CUDA failed with error out of memory")
        return real(whisper, encoded, spans, *rest)
    monkeypatch.setattr(transcribe, "decode", crowded)
    audio = Audio(np.concatenate([a.samples for a, _ in clips[:8]]))
    edges = np.cumsum([0, *(a.duration for a, _ in clips[:8])])
    engine = choose_transcriber(own(tiny, transcribe__batch_size=8, transcribe__chunk_size=5))[0]
    said = engine.transcribe(audio, [(s, e - 0.01) for s, e in zip(edges, edges[1:])], "en")
    # how many come first depends on the workers
    assert sizes[0] > 2 and sizes[-1] <= 2 and len(said.words) > 30
    assert sum(n for n in sizes if n <= 2) == 8 and sum(n > 2 for n in sizes) <= 3 # each chunk once
    assert any("out of memory at batch 8, went on with 2" in w for w in said.warnings)
    monkeypatch.setattr(transcribe, "decode", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(ModelError, match="even for one piece"): engine.transcribe(audio, [(0, 4)], "en")


# Any text

SCRIPTS = st.text("abz'ABZ 0123456789%$€-.,!?。안녕하세요日本語テスト中文éß", min_size=1, max_size=80)


@pytest.fixture(scope="module")
def aligner(tiny): return CtcAligner(own(tiny))


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=SCRIPTS, seconds=st.floats(0.01, 4))
def test_any_text_keeps_its_words_and_order(aligner, clips, text, seconds):
    words = tuple(Word(w) for w in text.split())
    if not words: return
    audio = clips[0][0].cut(0, seconds)
    said = Transcript(words, ModelInfo("x", "y"), "en", chunks=((0.0, audio.duration, len(words)),))
    out = aligner.align(audio, said, [])
    assert [w.word for w in out.words] == [w.word for w in words]
    starts = [w.start_time for w in out.words]
    assert starts == sorted(starts) and all(
        w.start_time <= w.end_time and w.timing in ("aligned", "interpolated") for w in out.words
    )
    assert out.words[-1].end_time <= audio.duration + 0.002


def test_a_language_without_a_model(tiny, clips):
    said = Transcript((Word("ĝis"), Word("revido")), ModelInfo("whisper", "m"), "eo", chunks=((1.0, 3.0, 2),))
    bare = load_settings({"runtime.offline": True, "runtime.device": "cpu"})
    out = choose_aligner(bare, "whisperx")[0].align(clips[0][0], said, [])
    assert [(w.start_time, w.timing) for w in out.words] == [(1.0, "interpolated"), (2.0, "interpolated")]
    # nor is this text said there
    assert "no aligner is known for eo" in out.warnings[0] and "could not be aligned" in out.warnings[1]


def brute(gain):
    "Every way to say the labels in order, one frame each"
    from itertools import combinations
    frames, labels = gain.shape
    return max(sum(gain[t, j] for j, t in enumerate(ts)) for ts in combinations(range(frames), labels))


@given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 2**31))
def test_the_search_is_exact(labels, frames, seed):
    gain = np.random.default_rng(seed).normal(size=(frames, 1, labels)).astype(np.float32)
    [found] = viterbi_paths(gain, np.array([labels]))
    if labels > frames: assert (found == -1).all()
    else:
        assert (np.diff(found) > 0).all()
        assert sum(gain[t, 0, j] for j, t in enumerate(found)) == pytest.approx(brute(gain[:, 0]), abs=1e-4)


def test_the_lightest_words_can_be_aligned_by_wav2vec2(tiny, clips):
    found = analyze(
        tiny / "clips/clip00.flac",
        {
            "engine": "whisper",
            "align.engine": "whisperx",
            "align.model": str(tiny / "wav2vec2"),
            "transcribe.model": str(tiny / "whisper-ct2"),
            "runtime.device": "cpu",
            "diarize.enabled": False,
            "transcribe.language": "en",
        },
    )
    assert (
        found.metadata.models["transcribe"].engine == "whisper"
        and found.metadata.models["align"].engine == "ctc"
    )
    assert {w.timing for w in found.words} == {"aligned"} and len(found.words) > 3
