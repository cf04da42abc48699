"""No dictionary, however strange, makes `normalize_word` raise anything but `WordError`; and what it returns
keeps the rules"""
import json, math, subprocess, sys, unicodedata
from collections import ChainMap, OrderedDict, defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
import jsonschema
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from pydantic import TypeAdapter
from ecg_audio_nb.schema import (
    AcousticFeatures,
    Analysis,
    AudioTrack,
    Chapter,
    MediaInfo,
    Metadata,
    ResultError,
    Segment,
    Speaker,
    Turn,
    VoiceMatch,
    Word,
    WordError,
    as_number,
    from_dict,
    json_schema,
    normalize_word,
    read_result,
    to_dict,
)

KNOWN = [
    "word",
    "text",
    "token",
    "speaker_id",
    "speaker",
    "start_time",
    "start",
    "begin",
    "end_time",
    "end",
    "stop",
    "duration",
    "confidence",
    "score",
    "probability",
    "prob",
    "timing",
    "kind",
    "acoustic_features",
]
ANY_TEXT = st.text(st.characters(exclude_categories=())) # lone surrogates among them
NUMBERS = st.one_of(st.integers(), st.integers(10**300, 10**320), st.floats(), st.decimals(), st.fractions(),
                    st.complex_numbers(), st.just(Decimal("sNaN")), st.floats(0, 100), st.floats(0, 1))
NUMPY = st.one_of(
    st.floats(width=32).map(np.float32),
    st.floats(width=16).map(np.float16),
    st.floats().map(np.float64),
    st.integers(-(2**63), 2**63 - 1).map(np.int64),
    st.booleans().map(np.bool_),
    st.floats().map(np.longdouble),
    st.just(np.array([])),
    st.just(np.array([1.0, 2.0])),
    st.just(np.array(["silence", "word"])),
    st.just(np.array(0.5)),
    st.just(np.datetime64("NaT")),
    st.text(st.characters(exclude_categories=("Cs",))).map(np.str_),
    st.just(np.bytes_(b"0.5")),
)
SPELLED = st.one_of(
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from([" 1.5 ", "1,5", "1e400", "nan", "-inf", "٣.٥", "1_000", "0x10", "9" * 5000]),
)

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    NUMPY,
    SPELLED,
    ANY_TEXT,
    st.binary(),
    st.just(b"0.5"),
    st.sampled_from(["silence", "word", "aligned"]),
    st.builds(object),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(ANY_TEXT, inner, max_size=3), st.tuples(inner)
    ),
    max_leaves=6,
)
KEYS = st.one_of(
    st.sampled_from(KNOWN),
    ANY_TEXT,
    st.integers(),
    st.none(),
    st.binary(),
    st.floats(),
    st.tuples(st.integers()),
)
ANY_DICT = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=8),
    st.dictionaries(st.sampled_from(KNOWN), VALUES, max_size=8),
    st.builds(
        lambda d, w: d | {"word": w}, st.dictionaries(st.sampled_from(KNOWN), VALUES, max_size=8), ANY_TEXT
    ),
)

def check(w):
    "What holds for every word"
    assert isinstance(w, Word) and w.word and w.word == " ".join(w.word.split()) and w.word.encode("utf-8")
    assert w.speaker_id is None or w.speaker_id.encode("utf-8")
    for t in (w.start_time, w.end_time):
        assert t is None or (type(t) is float and math.isfinite(t) and t >= 0 and t == round(t, 3))
    both = w.start_time is not None and w.end_time is not None
    assert not both or (w.end_time >= w.start_time and w.duration == round(w.end_time - w.start_time, 3))
    assert both or (w.duration is None and w.timing is None)
    assert w.confidence is None or 0 <= w.confidence <= 1
    assert w.kind in ("word", "silence") and w.timing in (
        "aligned",
        "recognized",
        "interpolated",
        "measured",
        None,
    )
    assert w.acoustic_features == AcousticFeatures() # nothing is measured by reading

def as_json(w):
    return json.dumps(TypeAdapter(Word).dump_python(w, mode="json"), ensure_ascii=False, allow_nan=False)


@given(ANY_DICT)
@settings(max_examples=500, deadline=None)
@example({"word": "a", "kind": np.array(["silence", "word"])})
@example({"word": "a", "speaker": "\ud800"})
def test_no_dict_raises_anything_but_word_error(d):
    try: w = normalize_word(d)
    except WordError as e: assert "needs text" in str(e)
    else:
        check(w)
        assert normalize_word(w) is w
        text = as_json(w).encode("utf-8").decode()
        assert TypeAdapter(Word).validate_python(json.loads(text)) == w
        assert normalize_word(json.loads(text)) == w # our own form is one of the known forms

class Nasty:
    "Raises at every touch"
    def _no(self, *args): raise ZeroDivisionError
    __float__ = __repr__ = __str__ = __eq__ = __bool__ = __len__ = __iter__ = _no
    __hash__ = object.__hash__

def deep():
    nest = []
    for _ in range(5000): nest = [nest]
    return nest

@pytest.mark.parametrize(
    "make", [Nasty, deep, lambda: 10**5000, lambda: -(10**5000)], ids=["nasty", "deep", "huge", "minus huge"]
)
@pytest.mark.parametrize("key", KNOWN)
def test_values_that_can_not_even_be_shown(make, key):
    if key not in ("word", "text", "token"):
        assert normalize_word({"word": "so", "start": 1, "end": 2} | {key: make()}).word == "so"
    with pytest.raises(WordError, match="needs text"): normalize_word({key: make(), 10**5000: 1, Nasty(): 2})

@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_what_is_no_mapping_is_one_clear_error(value):
    if isinstance(value, dict): return
    with pytest.raises(WordError, match="a word is a mapping"): normalize_word(value)

@given(st.one_of(LEAVES, VALUES))
@settings(max_examples=500, deadline=None)
def test_a_number_is_finite_or_none(value):
    number = as_number(value)
    assert number is None or (type(number) is float and math.isfinite(number))

@given(ANY_DICT)
@settings(max_examples=100, deadline=None)
def test_the_same_dict_gives_the_same_word_and_stays_as_it_was(d):
    before = dict(d)
    try: w = normalize_word(d)
    except WordError: return
    assert normalize_word(d) == w and list(d) == list(before) and all(d[k] is before[k] for k in d)

@given(
    st.integers(0, 10**7),
    st.integers(0, 10**6),
    st.sampled_from([float, str, np.float64, lambda x: Decimal(str(x)), lambda x: f" {x} "]),
    st.sampled_from(["start_time", "start", "begin"]),
    st.sampled_from(["end_time", "end", "stop"]),
    st.sampled_from(["confidence", "score", "probability", "prob"]),
    st.sampled_from(["word", "text", "token"]),
)
def test_every_spelling_of_one_word_is_that_word(ms, lasts, number, start, end, score, text):
    expected = Word("but", ms / 1000, (ms + lasts) / 1000, confidence=0.25, timing="recognized")
    known = {text: "but", start: number(ms / 1000), score: number(0.25)}
    assert normalize_word(known | {end: number((ms + lasts) / 1000)}) == expected
    assert normalize_word(known | {"duration": number(lasts / 1000)}) == expected

FORMS = {  # what recognizers and aligners were seen to give, and what it is
    "times and score": (
        {"word": "God.", "start": 1.2, "end": 1.5, "score": 0.9},
        Word("God.", 1.2, 1.5, confidence=0.9, timing="recognized"),
    ),
    "start_time, end_time, duration": (
        {"word": "God.", "start_time": 1.2, "end_time": 1.5, "duration": 0.3},
        Word("God.", 1.2, 1.5, timing="recognized"),
    ),
    "duration without end": (
        {"word": "God.", "start": 1.2, "duration": 0.3},
        Word("God.", 1.2, 1.5, timing="recognized"),
    ),
    "duration without start": (
        {"word": "God.", "end": 1.5, "duration": 0.3},
        Word("God.", 1.2, 1.5, timing="recognized"),
    ),
    "probability": (
        {"word": " God.", "start": 1.2, "end": 1.5, "probability": 0.9},
        Word("God.", 1.2, 1.5, confidence=0.9, timing="recognized"),
    ),
    "confidence, speaker": (
        {"word": "God.", "start": 1.2, "end": 1.5, "confidence": 0.9, "speaker": "SPEAKER_01"},
        Word("God.", 1.2, 1.5, confidence=0.9, speaker_id="SPEAKER_01", timing="recognized"),
    ),
    "no time at all": ({"word": "7,"}, Word("7,")),
    "None": ({"word": "$", "start": None, "end": None, "score": None, "speaker": None}, Word("$")),
    "NaN": ({"word": "7,", "start": float("nan"), "end": float("nan"), "score": float("nan")}, Word("7,")),
    "numbers as strings": (
        {"word": "God.", "start": "1.2", "end": "1.5", "score": "0.9"},
        Word("God.", 1.2, 1.5, confidence=0.9, timing="recognized"),
    ),
    "numpy": (
        {"word": np.str_("God."), "start": np.float32(1.2), "end": np.float64(1.5), "score": np.float16(0.5)},
        Word("God.", 1.2, 1.5, confidence=0.5, timing="recognized"),
    ),
    "two forms mixed in a table": (
        {
            "word": float("nan"),
            "text": "God.",
            "start_time": float("nan"),
            "start": 1.2,
            "end": float("nan"),
            "end_time": 1.5,
        },
        Word("God.", 1.2, 1.5, timing="recognized"),
    ),
    "start only": ({"word": "so", "start": 1.2}, Word("so", 1.2)),
    "end only": ({"word": "so", "end": 1.5}, Word("so", None, 1.5)),
    "end before start": ({"word": "so", "start": 5, "end": 2, "score": 0.5}, Word("so", confidence=0.5)),
    "negative start": ({"word": "so", "start": -0.02, "end": 2}, Word("so", None, 2)),
    "a score that is a logarithm": (
        {"word": "so", "start": 1, "end": 2, "score": -0.3},
        Word("so", 1, 2, timing="recognized"),
    ),
    "a percentage": (
        {"word": "so", "start": 1, "end": 2, "score": 93},
        Word("so", 1, 2, timing="recognized"),
    ),
    "booleans": ({"word": "so", "start": False, "end": True, "score": np.True_}, Word("so")),
    "bytes": ({"word": "so", "start": b"1", "end": b"2"}, Word("so")),
    "duration longer than end": ({"word": "so", "end": 1, "duration": 2}, Word("so", None, 1)),
    "a silence of ours": (
        {
            "word": "[SILENCE]",
            "kind": "silence",
            "start_time": 7.12,
            "end_time": 7.63,
            "duration": 0.51,
            "speaker_id": None,
            "confidence": None,
            "timing": "measured",
            "acoustic_features": {"volume_db": -58.0},
        },
        Word("[SILENCE]", 7.12, 7.63, kind="silence", timing="measured"),
    ),
    "interpolated": (
        {"word": "7,", "start_time": 8.02, "end_time": 8.2, "timing": "interpolated"},
        Word("7,", 8.02, 8.2, timing="interpolated"),
    ),
    "an unknown timing": (
        {"word": "7,", "start": 1, "end": 2, "timing": "guessed"},
        Word("7,", 1, 2, timing="recognized"),
    ),
    "a fraction": (
        {"word": "so", "start": Fraction(1, 2), "end": Decimal("1.5")},
        Word("so", 0.5, 1.5, timing="recognized"),
    ),
    "line breaks": ({"word": "two\r\n words\u2028"}, Word("two words")),
    "an empty speaker": ({"word": "so", "speaker": " "}, Word("so")),
}

@pytest.mark.parametrize("form", FORMS)
def test_every_known_form(form):
    given_form, expected = FORMS[form]
    assert normalize_word(given_form) == expected
    check(normalize_word(given_form))

@pytest.mark.parametrize(
    "wrap", [OrderedDict, MappingProxyType, ChainMap, lambda d: defaultdict(lambda: "made up", d)]
)
def test_any_mapping_will_do(wrap):
    assert normalize_word(wrap({"word": "so", "start": 1, "end": 2})) == Word("so", 1, 2, timing="recognized")


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"word": ""},
        {"word": " \n"},
        {"word": None},
        {"word": 7},
        {"word": b"so"},
        {"word": ["so"]},
        {"start": 1},
    ],
)
def test_what_has_no_text_is_no_word(bad):
    with pytest.raises(WordError, match="needs text under one of word, text, token"): normalize_word(bad)

def test_timing_is_as_the_caller_says_where_the_form_is_silent():
    assert normalize_word({"word": "so", "start": 1, "end": 2}, timing="aligned").timing == "aligned"
    assert normalize_word({"word": "so"}, timing="aligned").timing is None

# --- a result as a whole

RESULT = Analysis(
    (
        Segment(
            0,
            0.2,
            1.4,
            speaker_id="SPEAKER_00",
            text="yes, but",
            words=(Word("yes,", 0.2, 0.5, confidence=0.9, timing="aligned"), Word("but", 0.9, 1.4)),
        ),
    ),
    (Turn(0.1, 1.5, "SPEAKER_00"),),
    (Speaker("SPEAKER_00", 1.4, 1, 2, AcousticFeatures(-20.1, None, 1500)),),
    Metadata("한글 talk.mp4", duration=2.0, total_segments=1, unique_speakers=1, warnings=("one",)),
)

TIMED = st.fixed_dictionaries(
    {"word": ANY_TEXT, "start": st.floats(-1, 2e9), "duration": st.floats(0, 9)},
    optional={"speaker": ANY_TEXT, "score": LEAVES},
)
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

@given(st.lists(TIMED, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_words_make_a_result_that_follows_the_schema(dicts):
    words = []
    for d in dicts:
        try: w = normalize_word(d)
        except WordError: continue
        if w.start_time is not None and w.end_time is not None: words.append(w)
    words.sort(key=lambda w: w.start_time)
    end = max([w.end_time for w in words], default=1)
    a = Analysis(
        (Segment(0, 0, end, words=tuple(words), text=" ".join(w.word for w in words)),),
        (),
        (),
        Metadata("a.wav", duration=end),
    )
    text = json.dumps(to_dict(a), allow_nan=False)
    VALIDATOR.validate(json.loads(text))
    assert from_dict(json.loads(text)) == a

def test_the_example_follows_the_schema_and_comes_back():
    d = json.loads(json.dumps(to_dict(RESULT), allow_nan=False))
    VALIDATOR.validate(d)
    assert from_dict(d) == RESULT and list(d)[:3] == ["success", "schema_version", "segments"]
    assert list(d["segments"][0]["words"][0])[:4] == ["word", "start_time", "end_time", "duration"]

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)

@given(
    st.one_of(
        JSON, st.dictionaries(st.sampled_from(["segments", "turns", "speakers", "metadata", "success"]), JSON)
    )
)
@settings(max_examples=150, deadline=None)
def test_what_is_no_result_is_one_clear_error(d):
    with pytest.raises(ResultError, match="ecg analyze"): from_dict(d)

@given(st.sampled_from(["segments", "turns", "speakers", "metadata"]), JSON)
@settings(max_examples=150, deadline=None)
def test_a_result_with_one_part_replaced_is_read_or_refused(part, value):
    try: a = from_dict(to_dict(RESULT) | {part: value})
    except ResultError as e: assert str(e).startswith(part) or "the result" in str(e)
    else: assert from_dict(json.loads(json.dumps(to_dict(a)))) == a

@pytest.mark.parametrize("change, where", [
    (lambda d: d["segments"][0]["words"][0].update(end_time=9), "after its segment"),
    (lambda d: d["segments"][0]["words"][1].update(start_time=0.1), "comes before"),
    (lambda d: d["segments"][0]["words"][0].update(start_time=None), "has no time"),
    (lambda d: d["segments"][0].update(end_time=3), "after the file"),
    (lambda d: d["turns"][0].update(end_time=0), "before its start"),
    (lambda d: d["speakers"][0]["acoustic_features"].update(volume_db=float("-inf")), "finite"),
    (lambda d: d["segments"][0]["words"][0].update(confidence=1.5), "less than or equal to 1"),
    (lambda d: d.pop("metadata"), "metadata")])
def test_a_result_that_breaks_a_rule_is_refused_and_the_rule_named(change, where):
    d = to_dict(RESULT)
    change(d)
    with pytest.raises(ResultError, match=where): from_dict(d)


# What a result offers

OLD_RESULT = Path(__file__).parent / "fixtures/of_0.1.0/result.json"


def test_a_path_is_not_a_result_and_the_error_names_the_way_to_read_it():
    with pytest.raises(
        ResultError,
        match=(
            r"own\.json.*read_result\(path\) "
            r"reads the file"
        ),
    ):
        from_dict("own.json")


def test_every_format_is_a_method_and_a_file(tmp_path):
    from ecg_audio_nb.results.export import WRITERS, render
    result = read_result(OLD_RESULT)
    for name in ("json", "srt", "vtt", "txt", "tsv", "rttm", "ctm"):
        assert getattr(result, f"to_{name}")() == render(result, name)
    assert result.to_textgrid() == render(result, "TextGrid") and result.to_ass().startswith("[Script Info]")
    assert result.to_dict() == to_dict(result)
    for name in WRITERS:
        if name == "parquet": continue
        written = result.save(tmp_path / f"talk.{'audacity.txt' if name == 'audacity' else name}")
        assert written and all(p.exists() for p in written), name
    assert read_result(tmp_path / "talk.json") == result
    [page] = result.save(tmp_path / "talk.html")
    assert page.read_text().startswith("<!")
    with pytest.raises(ValueError, match="no ending says the format"): result.save(tmp_path / "talk")
    with pytest.raises(ValueError, match="no format 'srtt'; the nearest is srt"):
        result.save(tmp_path / "talk.srtt")


def test_a_result_is_a_table_and_a_picture():
    pytest.importorskip("pandas"), pytest.importorskip("matplotlib")
    result = read_result(OLD_RESULT)
    assert result.to_frame()["word"].tolist() == [w.word for w in result.words]
    assert len(result.to_frame("segments")) == len(result.segments)
    for kind in ("words", "talk_time", "speakers"): assert result.plot(kind) is not None
    with pytest.raises(ValueError, match="words, talk_time, speakers"): result.plot("waveform")


def test_the_schema_loads_no_results():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, ecg_audio_nb.schema; print([m for m in sys.modules if 'results' in m])",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]", done.stderr


# Texts

HANGUL = "한글"
APART = unicodedata.normalize("NFD", HANGUL)


def korean(name):
    "A result in which every text is this one"
    word = Word(name, 0, 1, speaker_id=name, other_speakers=(name,))
    media = MediaInfo(audio_tracks=(AudioTrack(0, title=name),), chapters=(Chapter(0, 1, name),))
    match = VoiceMatch("same", name, 0.9, 10)
    return Analysis(
        (Segment(0, 0, 1, speaker_id=name, text=name, words=(word,)),),
        (Turn(0, 1, name),),
        (Speaker(name, 1, 1, 1, name=name, match=match),),
        Metadata(f"{name}.wav", duration=1, warnings=(name,), media=media),
    )


def test_every_text_of_a_result_is_composed():
    from ecg_audio_nb.results.corrections import to_stm
    from ecg_audio_nb.results.export import WRITERS, render

    assert APART != HANGUL and korean(APART) == korean(HANGUL)
    assert APART not in json.dumps(to_dict(korean(APART)), ensure_ascii=False)
    for format in ("rttm", "ctm", "srt", "vtt", "txt", "tsv", "TextGrid", "audacity", "ass", "csv"):
        assert format in WRITERS and render(korean(APART), format) == render(korean(HANGUL), format)
    assert HANGUL in render(korean(APART), "rttm") and HANGUL in to_stm(korean(APART))


def test_a_decomposed_result_is_read_composed(tmp_path):
    "As a program on a Mac, or a person, may have written it"
    plain = to_dict(korean(HANGUL))
    text = json.dumps(plain, ensure_ascii=False).replace(HANGUL, APART)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert APART in text and read_result(tmp_path / "a.json") == korean(HANGUL)
    assert normalize_word({"text": APART, "speaker": APART}) == Word(HANGUL, speaker_id=HANGUL)


def test_joiners_stay_and_control_characters_go():
    words = ["می\u200cخواهم", "👨\u200d👩\u200d👧"]
    assert [Word(w).word for w in words] == words
    assert Word("\u202eabc\u202c\x00").word == "abc" and Word("a\ud800").word == "a\ufffd"
    with pytest.raises(WordError, match="needs text"): normalize_word({"word": "\x00\u202e"})


def test_a_space_before_a_word_is_written_only_where_there_is_one():
    words = (Word("はい", 0, 1), Word("そう", 1, 2, space_before=True))
    analysis = Analysis((Segment(0, 0, 2, text="はい そう", words=words),), (), (), Metadata("a.wav", duration=2))
    plain = to_dict(analysis)
    first, second = plain["segments"][0]["words"]
    assert "space_before" not in first and second["space_before"] is True
    assert from_dict(plain) == analysis and normalize_word(second).space_before is True
    jsonschema.validate(plain, json_schema())
