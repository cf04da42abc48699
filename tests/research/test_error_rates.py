"""Scores: worked out by hand, the same as the libraries give directly, and clear errors for references that
can't be used"""
import importlib.util, json, os, random, subprocess, sys, unicodedata
from pathlib import Path
import jiwer
import pytest
from pyannote.core import Annotation, Segment as Stretch, Timeline
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate
from ecg_audio_nb.research import text_normalization
from ecg_audio_nb.research.error_rates import (
    Edit, TurnErrors, WordErrors, boundaries, cer, cp_wer, der, edits, jer, normalize_text, wer)
from ecg_audio_nb.research.metrics import Scores, evaluate
from ecg_audio_nb.research.references import EvaluateError, Utterance, read_transcript, read_turns
from ecg_audio_nb.research.text_normalization import describe_normalization
from ecg_audio_nb.results.export import export
from ecg_audio_nb.schema import Analysis, Metadata, Segment, Turn, Word
from needs import needs_whisperx

PYANNOTE = importlib.util.find_spec("pyannote.audio") # found, not imported
SAMPLE = PYANNOTE and Path(PYANNOTE.submodule_search_locations[0]) / "sample"

def result(turns=(), text="", duration=30.0, name="sample.wav", language="en", words=None):
    words = words or tuple(Word(w, 0, 1) for w in text.split())
    segments = (Segment(0, 0, duration, text=" ".join(w.word for w in words), words=words),) if words else ()
    return Analysis(segments, tuple(turns), (), Metadata(name, duration=duration, language_detected=language))

def annotation(turns):
    record = Annotation()
    for n, t in enumerate(turns): record[Stretch(t.start_time, t.end_time), n] = t.speaker_id
    return record

# --- words

@pytest.mark.parametrize("said, heard, expected", [
    ("the cat sat", "the cat sat", WordErrors(0, 0, 0, 0, 3, 3)),
    ("the cat sat", "the bat sat", WordErrors(1/3, 1, 0, 0, 2, 3)),
    ("the cat sat", "the sat", WordErrors(1/3, 0, 1, 0, 2, 3)),
    ("the cat sat", "the black cat sat", WordErrors(1/3, 0, 0, 1, 3, 3)),
    ("the cat sat", "", WordErrors(1, 0, 3, 0, 0, 3)),
    ("cat", "a dog and a cow", WordErrors(5, 1, 0, 4, 0, 1)), # more than everything wrong
    ("", "hello there", WordErrors(None, 0, 0, 2, 0, 0)), # no reference words, no rate
    ("", "", WordErrors(None, 0, 0, 0, 0, 0)),
    ("uh, [noise]", "um", WordErrors(None, 0, 0, 0, 0, 0)),
    ("It's twenty-one dollars, Mr. Grey!", "it is $21 mister gray", WordErrors(0, 0, 0, 0, 5, 5))])
def test_word_errors_by_hand(said, heard, expected): assert wer(said, heard) == expected

def test_word_errors_are_those_jiwer_gives_directly():
    random.seed(0)
    vocabulary = "the a cat sat on mat and dog ran home".split()
    for _ in range(50):
        said, heard = (" ".join(random.choices(vocabulary, k=random.randint(1, 30))) for _ in range(2))
        direct, ours = jiwer.process_words(said, heard), wer(said, heard)
        assert ours == WordErrors(
            direct.wer,
            direct.substitutions,
            direct.deletions,
            direct.insertions,
            direct.hits,
            len(said.split()),
        )


@needs_whisperx
def test_text_is_normalized_as_whisper_does():
    "Whisper's own normalizer, as transformers carries it, with the same spelling table"
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

    table = (
        importlib.util.find_spec("whisper_normalizer").submodule_search_locations[0]
        + "/normalizers/english.json"
    )
    english, basic = EnglishTextNormalizer(json.loads(Path(table).read_text())), BasicTextNormalizer()
    texts = [u.text for u in read_transcript(SAMPLE / "sample.stm")] + [
        "It's $20 million, won't you? The colour's twenty-one percent [noise] (cough)",
        "Mr. Smith's 1,000 one o'clock double oh seven",
        "she'd been gonna I'ma ain't 3.14 €5 5th one oh one Café naïve",
        "Ça va? 안녕하세요, 세계!",
    ]
    for text in texts:
        assert normalize_text(text).split() == unicodedata.normalize("NFC", english(text)).split()
        assert normalize_text(text, "fr").split() == basic(text).split()

def sclite(said, heard):
    "Errors as sclite aligns: a substitution weighs 4, a word left out or put in 3 (SCTK, `sclite -i`)"
    rows = [[(3 * j, j) for j in range(len(heard) + 1)]]
    for i, word in enumerate(said, 1):
        row = [(3 * i, i)]
        for j, other in enumerate(heard, 1):
            (w, e), wrong = rows[-1][j - 1], word != other
            steps = [(w + 4 * wrong, e + wrong), *((c[0] + 3, c[1] + 1) for c in (rows[-1][j], row[-1]))]
            row.append(min(steps))
        rows.append(row)
    return rows[-1][-1][1]

@pytest.mark.parametrize("said, heard, ours, theirs", [
    ("the cat sat on the mat", "the cat sat on a mat", 1, 1),
    ("the cat sat on the mat", "cat sat on the the mat", 2, 2),
    ("good morning are you ready", "morning are you", 2, 2),
    ("one two three", "four", 3, 3),
    # the fewest errors are five wrong words; sclite would rather keep two that are right, and counts six
    ("go on then we leave", "we leave right now please", 5, 6)])
def test_sclite_counts_the_same_but_where_its_weights_prefer_another_alignment(said, heard, ours, theirs):
    assert (wer(said, heard, "de").errors, sclite(said.split(), heard.split())) == (ours, theirs)

def test_sclite_never_counts_fewer_errors():
    rng = random.Random(5)
    for _ in range(200):
        said, heard = (rng.choices("the a cat sat on mat".split(), k=rng.randint(1, 12)) for _ in range(2))
        assert wer(" ".join(said), " ".join(heard), "de").errors <= sclite(said, heard)

def test_characters_are_those_jiwer_counts():
    "Code points of NFC, without spaces: as jiwer on text without spaces"
    for language, said, heard in (("th", "น้ำแข็ง", "นำแขง"), ("hi", "नमस्ते", "नमस्त"), ("ko", "안녕하세요", "안녕하새요"),
                                  ("ja", "東京へ行く", "京都へ行く"), ("de", "schon", "schön")):
        direct = jiwer.process_characters(said, heard)
        assert cer(said, heard, language) == (
            direct.substitutions + direct.deletions + direct.insertions, len(said))

def test_languages_without_spaces_are_compared_by_character():
    assert wer("今日は晴れ", "今日は雨", "ja").reference_words == 5
    assert wer("今日は晴れ", "今日は晴れ。", "ja").wer == 0
    assert wer("ភាសាខ្មែរ", "ភាសា ខ្មែរ", "km").errors == 0 # words there are somebody's choice

def test_speakers_and_boundaries_follow_the_same_rules():
    hindi = {"A": "की", "B": "का"}
    assert cp_wer(hindi, {"x": "का", "y": "की"}, "hi")[:2] == (0, 2)
    assert cp_wer(hindi, {"x": "की", "y": "की"}, "hi")[:2] == (1, 2)
    assert cp_wer({"A": "東京 です"}, {"x": "東京です。"}, "ja")[:2] == (0, 4)
    assert cp_wer({"A": "25 Leute"}, {"x": "fünfundzwanzig Leute"}, "de", numbers=True)[:2] == (0, 2)
    at = [(0, 1), (1, 2)]
    b = boundaries([Word(w, *t) for w, t in zip(("की", "25"), at)],
                   [Word(w, *t) for w, t in zip(("का", "25"), at)], language="hi")
    assert (b.correct, b.normalization.name) == (1, "Hindi")
    assert boundaries([Word("25", 0, 1)], [Word("fünfundzwanzig", 0, 1)], language="de", numbers=True).correct == 1

def test_edits_show_text_as_its_readers_write_it():
    assert edits("東京は晴れ", "大阪は晴れ", "ja") == [Edit("substitute", "東京", "大阪", 0)]
    assert edits("Hallo Welt", "Hallo schöne Welt", "de") == [Edit("insert", "", "schöne", 1)]
    assert edits("mit 25 Leuten", "mit fünfundzwanzig Leuten", "de", numbers=True) == []

def test_the_language_is_the_results_unless_said():
    ref = [Utterance("colour")]
    assert evaluate(result(text="color"), ref).wer == 0
    assert evaluate(result(text="color", language="fr"), ref).wer == 1
    assert evaluate(result(text="color", language="fr"), ref, language="en").wer == 0
    assert evaluate(result(text="color", language=None), ref).wer == 0

# --- turns

ANN_BOB = (Turn(0, 4, "Ann"), Turn(4, 8, "Bob"))

@pytest.mark.parametrize(
    "found, errors, jaccard",
    [
        ([Turn(0, 4, "X"), Turn(4, 8, "Y")], (0, 0, 0), 0),
        ([Turn(0, 5, "X"), Turn(5, 8, "Y")], (0, 0, 1), (1 / 5 + 1 / 4) / 2),
        ([Turn(0, 4, "X"), Turn(4, 7, "Y")], (1, 0, 0), (0 + 1 / 4) / 2),
        ([Turn(0, 4, "X"), Turn(4, 9, "Y")], (0, 1, 0), (0 + 1 / 5) / 2),
        ([Turn(0, 8, "X")], (0, 0, 4), (4 / 8 + 1) / 2),
        (
            [Turn(0, 4, "X"), Turn(0, 4, "Z"), Turn(4, 8, "Y")],
            (0, 4, 0),
            0,
        ),  # somebody who was not there, over Ann
        ([], (8, 0, 0), 1),
    ],
)
def test_turn_errors_by_hand(found, errors, jaccard):
    assert der(ANN_BOB, found, 10) == TurnErrors(
        pytest.approx(sum(errors) / 8), *map(pytest.approx, errors), pytest.approx(8)
    )
    assert jer(ANN_BOB, found, 10) == pytest.approx(jaccard)

def test_the_collar_is_forgiven_on_each_side():
    "Edges of the reference at 0, 4 and 8 s: 0.25 s on each side of each leave 7 of the 8 s of speech"
    late = der(ANN_BOB, [Turn(0, 4.25, "X"), Turn(4.25, 8, "Y")], 10, collar=0.25)
    assert late == TurnErrors(0, 0, 0, 0, pytest.approx(7))
    later = der(ANN_BOB, [Turn(0, 5, "X"), Turn(5, 8.5, "Y")], 10, collar=0.25)
    assert (later.confusion, later.false_alarm, later.der) == (
        pytest.approx(0.75),
        pytest.approx(0.25),
        pytest.approx(1 / 7),
    )
    assert der(ANN_BOB, [Turn(0, 5, "X"), Turn(5, 8.5, "Y")], 10).der == pytest.approx(1.5/8)

def test_overlapping_speech_counts_for_each_speaker():
    both = (Turn(0, 4, "Ann"), Turn(2, 4, "Bob"))
    assert der(both, [Turn(0, 4, "X")], 10) == TurnErrors(
        pytest.approx(2 / 6), pytest.approx(2), 0, 0, pytest.approx(6)
    )


def test_turns_of_one_speaker_that_touch_or_overlap_are_one():
    pieces = [Turn(0, 2, "Ann"), Turn(2, 3, "Ann"), Turn(2.5, 4, "Ann"), Turn(4, 4, "Ann"), Turn(4, 8, "Bob")]
    for collar in (0, 0.25):
        assert (
            der(pieces, ANN_BOB, 10, collar)
            == der(ANN_BOB, ANN_BOB, 10, collar)
            == TurnErrors(0, 0, 0, 0, pytest.approx(8 - 4 * collar))
        )
    assert der(ANN_BOB, pieces, 10).der == 0

def test_no_speech_in_the_reference_is_no_rate():
    assert (
        der([], [Turn(0, 1, "X")], 10) == TurnErrors(None, 0, pytest.approx(1), 0, 0)
        and jer([], [Turn(0, 1, "X")], 10) is None
    )
    assert der([], [], 10) == TurnErrors(None, 0, 0, 0, 0) and jer([], [], 10) is None

def test_what_lies_beyond_the_file_does_not_count():
    assert der([Turn(0, 12, "Ann")], [Turn(0, 10, "X")], 10) == TurnErrors(0, 0, 0, 0, pytest.approx(10))

@needs_whisperx
def test_turn_errors_are_those_pyannote_gives_directly():
    random.seed(1)
    reference = load_rttm(str(SAMPLE / "sample.rttm"))["sample"]
    turns, whole = read_turns(SAMPLE / "sample.rttm"), Timeline([Stretch(0, 30)])
    for _ in range(20):
        edges = sorted(random.uniform(0, 30) for _ in range(24))
        found = [Turn(a, b, f"SPEAKER_{random.randint(0, 3):02}") for a, b in zip(edges[::2], edges[1::2])]
        for collar in (0, .1, .25):
            direct = DiarizationErrorRate(collar=2 * collar, skip_overlap=False)(
                reference, annotation(found), uem=whole, detailed=True
            )
            ours = der(turns, found, 30, collar)
            assert ours.der == pytest.approx(direct["diarization error rate"], abs=1e-9)
            assert (ours.missed, ours.false_alarm, ours.confusion, ours.reference) == pytest.approx(
                [direct[k] for k in ("missed detection", "false alarm", "confusion", "total")], abs=1e-9)
        assert jer(turns, found, 30) == pytest.approx(
            JaccardErrorRate()(reference, annotation(found), uem=whole), abs=1e-9
        )


# --- all of it

@needs_whisperx
def test_the_truth_scores_zero(tmp_path):
    turns, said = read_turns(SAMPLE / "sample.rttm"), read_transcript(SAMPLE / "sample.stm")
    assert len(turns) == 10 and len(said) == 13 and said[0] == Utterance("Hello?", 6.68, 7.16, "Diane")
    a = result(turns, " ".join(u.text for u in said))
    scores = evaluate(a, SAMPLE / "sample.stm", str(SAMPLE / "sample.rttm"))
    assert (
        scores.wer,
        scores.der,
        scores.der_collar_025,
        scores.jer,
        scores.speakers_reference,
        scores.speakers_found,
    ) == (0, 0, 0, 0, 2, 2)
    assert scores.reference_words == scores.hits and scores.reference_seconds == pytest.approx(
        sum(t.end_time - t.start_time for t in turns)
    )
    path, = export(a, tmp_path, "ours", ["rttm"]) # what we write can be a reference
    assert evaluate(a, turns=path).der == 0

@pytest.mark.parametrize("language, said, heard, rows", [
    ("en", "the cat sat", "the bat sat", [
        ("WER", "33.3 %", "1 wrong, 0 left out, 0 put in; 3 in the reference"),
        ("CER", "11.1 %", "1 errors; 9 characters in the reference, without spaces")]),
    ("ko", "할 수 있습니다", "할수 있습니다", [
        ("CER", "0.0 %", "0 errors; 6 characters in the reference, without spaces"),
        ("WER", "66.7 %", "1 wrong, 1 left out, 0 put in; 3 in the reference")]),
    ("ja", "東京へ", "京へ", [
        ("CER", "33.3 %", "0 wrong, 1 left out, 0 put in; 3 characters in the reference")])])
def test_the_first_rate_is_the_languages(language, said, heard, rows):
    scores = evaluate(result(text=heard, language=language), [Utterance(said)])
    how = describe_normalization(language)
    assert scores.rows()[:len(rows) + 1] == [*rows, ("normalization", how.name, "; ".join(how.steps))]
    assert scores.first_rate[0] == rows[0][0]
    plain = json.loads(json.dumps(scores.as_dict()))
    assert plain["normalization"]["language"] == language and plain["normalization"]["steps"] == list(how.steps)
    assert plain["cer"] == scores.character_errors / scores.reference_characters

def test_numbers_in_words_count_where_that_is_asked_for():
    a, ref = result(text="Er hat 25 Bücher", language="de"), [Utterance("Er hat fünfundzwanzig Bücher.")]
    assert (evaluate(a, ref).wer, evaluate(a, ref, numbers=True).wer) == (1/4, 0)
    assert "numbers in words" in evaluate(a, ref, numbers=True).normalization.steps

def test_what_had_no_reference_is_none():
    scores = evaluate(result(ANN_BOB, "hello"))
    assert scores == Scores(speakers_found=2) and scores.wer is None and scores.der is None
    assert (
        evaluate(result(ANN_BOB), turns=ANN_BOB).wer is None
        and evaluate(result(text="a"), [Utterance("a")]).der is None
    )
    assert [value for _, value, _ in scores.rows()] == ["–", "–", "–", "–", "2"]

def test_scores_are_plain_data_and_a_table():
    scores = evaluate(result(ANN_BOB, "hello there"), [Utterance("hello")], ANN_BOB)
    d = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert {"wer", "der", "der_collar_025", "jer", "speakers_reference", "speakers_found"} <= set(d)
    assert (d["wer"], d["insertions"], d["reference_words"]) == (1, 1, 1)
    assert "100.0 %" in scores._repr_html_() and "0.0 %" in scores._repr_html_()

def test_a_result_without_words_or_turns_is_all_missed():
    scores = evaluate(result(duration=10), [Utterance("hello there")], ANN_BOB)
    assert (scores.wer, scores.deletions, scores.der, scores.jer, scores.speakers_found) == (1, 2, 1, 1, 0)

def test_silence_marks_are_no_words():
    words = (Word("Oh,", 0, 1), Word("[SILENCE]", 1, 2, kind="silence"), Word("God.", 2, 3))
    assert evaluate(result(words=words), [Utterance("Oh, God.")]).wer == 0

def test_stretches_the_reference_leaves_out_do_not_count(tmp_path):
    path = tmp_path / "t.stm"
    path.write_text(
        "t 1 A 0 2 <o,f0,male> good morning\nt 1 x 2 4 IGNORE_TIME_SEGMENT_IN_SCORING\nt 1 A 4 6 everyone\n"
    )
    words = (Word("good", 0, 1), Word("morning", 1, 2), Word("blah", 2, 3), Word("everyone", 4, 5))
    assert evaluate(result(words=words), path).wer == 0

def test_words_of_people_who_talk_at_once_stay_in_their_segments():
    a, b = (Word("one", 0, 1), Word("three", 2, 3)), (Word("two", 1, 2), Word("four", 3, 4))
    segments = (Segment(0, 0, 3, text="one three", words=a), Segment(1, 1, 4, text="two four", words=b))
    analysis = Analysis(segments, (), (), Metadata("t.wav", duration=5, language_detected="en"))
    assert evaluate(analysis, [Utterance("one three"), Utterance("two four")]).wer == 0

# --- references

@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path
    return write

def test_plain_text_is_one_utterance(file):
    assert read_transcript(file("a.txt", "\ufeffHello\r\nthere.\n".encode("utf-8"))) == [
        Utterance("Hello\nthere.\n")
    ]
    assert (
        read_transcript(file("a.TXT", "")) == [Utterance("")]
        and evaluate(result(text="a"), file("a.txt", "")).wer is None
    )


def test_stm_in_its_order_with_comments_and_empty_lines(file):
    path = file(
        "a.stm", ";; comment\r\n\r\na 1 B 5 6 world\r\na 1 A 1.5 2\r\na 1 A 0 1 <NA> hello   there\r\n"
    )
    assert [u.text for u in read_transcript(path)] == ["hello there", "", "world"]

def test_a_file_about_several_recordings_is_read_by_name(file):
    stm = file("a.stm", "one 1 A 0 1 first\nmy_talk 1 A 0 1 second\n")
    rttm = file(
        "a.rttm", "SPEAKER one 1 0 1 <NA> <NA> A <NA> <NA>\nSPEAKER my_talk 1 0 2 <NA> <NA> B <NA> <NA>\n"
    )
    scores = evaluate(result([Turn(0, 2, "X")], "second", name="my talk.mp4"), stm, rttm)
    assert (scores.wer, scores.der, scores.reference_seconds) == (0, 0, 2)
    for read, path in ((read_transcript, stm), (read_turns, rttm)):
        with pytest.raises(EvaluateError, match="about 2 recordings .* none of them 'other'"):
            read(path, "other")


def test_rttm_passes_over_what_is_no_turn(file):
    path = file(
        "a.rttm",
        ";; c\nSPKR-INFO a 1 <NA> <NA> <NA> unknown A <NA> <NA>\nLEXEME a 1 0 1 hi lex A 0.9\nSPEAKER a 1 "
        "0.5 1.25 <NA> <NA> A\n"
        "SPEAKER a 1 9 0 <NA> <NA> A <NA> <NA>\n",
    )
    assert read_turns(path) == [Turn(.5, 1.75, "A"), Turn(9, 9, "A")]
    assert read_turns(file("b.rttm", "")) == [] and evaluate(result(), turns=file("b.rttm", "")).der is None

@pytest.mark.parametrize("name, content, fault", [
    ("a.stm", "t 1 A 0 soon hello", "a.stm, line 1: 'soon' is no time"),
    ("a.stm", ";; c\nt 1 A -1 2 hello", "a.stm, line 2: '-1' is no time"),
    ("a.stm", "t 1 A nan 2 hello", "'nan' is no time"),
    ("a.stm", "t 1 A 5 2 hello", "ends at 2.0 s, before its start"),
    ("a.stm", "t 1 A 5", "line 1 is not `file channel speaker begin end text`"),
    ("a.stm", "Hello, this is plain text", "is no time"),
    ("a.stm", "t 1 A 0 1 { gray / grey } cat", "offers alternatives"),
    ("a.stm", b"t 1 A 0 1 caf\xe9", "neither UTF-8 nor UTF-16"),
    ("a.docx", "x", "ends in .stm or .txt, not .docx"),
    ("a", "x", "ends in .stm or .txt, not nothing")])
def test_a_faulty_transcript_is_one_clear_error(file, name, content, fault):
    with pytest.raises(EvaluateError, match=fault): evaluate(result(text="hello"), file(name, content))

@pytest.mark.parametrize("content, fault", [
    ("SPEAKER a 1 0 1", "line 1 is not `SPEAKER file channel"),
    ("SPEAKER", "line 1 is not `SPEAKER file channel"),
    ("SPEAKER a 1 zero 1 <NA> <NA> A", "'zero' is no time"),
    ("SPEAKER a 1 0 -1 <NA> <NA> A", "'-1' is no time"),
    ("SPEAKER a 1 0 <NA> <NA> <NA> A", "'<NA>' is no time"),
    ("a 1 A 0 1 hello", "begins with 'a'; RTTM turns with SPEAKER"),
    ("speaker a 1 0 1 <NA> <NA> A", "begins with 'speaker'"),
    ("SPEAKER a 1 40 1 <NA> <NA> A", "begins at 40.0 s, but sample.wav ends at 30.0 s"),
    (b"\xff\xfe\x00", "neither UTF-8 nor UTF-16")])
def test_faulty_turns_are_one_clear_error(file, content, fault):
    with pytest.raises(EvaluateError, match=fault): evaluate(result(ANN_BOB), turns=file("a.rttm", content))

@pytest.mark.parametrize("name", ["missing.stm", "missing.txt", "missing.rttm"])
def test_a_missing_file_and_a_folder_are_one_clear_error(tmp_path, name):
    read = read_turns if name.endswith("rttm") else read_transcript
    with pytest.raises(EvaluateError, match="can't read .*No such file"): read(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(EvaluateError, match="can't read .*directory"): read(tmp_path / name)

# --- the extra

@pytest.mark.parametrize(
    "missing, call",
    [
        ("jiwer", lambda: wer("a", "b")),
        ("whisper_normalizer", lambda: normalize_text("a")),
        ("pyannote.metrics", lambda: der(ANN_BOB, ANN_BOB, 10)),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, missing, call):
    def absent(module):
        if module.startswith(missing): raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return importlib.import_module(module)
    monkeypatch.setattr("ecg_audio_nb.core.extras.import_module", absent)
    text_normalization._whisper_english.cache_clear()
    with pytest.raises(
        EvaluateError,
        match=(
            rf"scores need {missing}.*pip "
            r"install 'ecg-audio-nb\[eval\]'"
        ),
    ):
        call()
    text_normalization._whisper_english.cache_clear()

def test_scoring_loads_no_torch_and_reports_to_nobody():
    code = """if True:
        import json, os, socket, sys
        def refuse(*args, **kwargs): raise RuntimeError("a connection was asked for")
        socket.socket.connect = socket.getaddrinfo = refuse
        from ecg_audio_nb.research import error_rates as e, metrics
        from ecg_audio_nb.schema import Turn
        light = sorted({m.split(".")[0] for m in sys.modules} & {"pyannote", "jiwer", "pandas", "matplotlib"})
        e.wer("a", "b"); e.der([Turn(0, 1, "A")], [], 1); e.jer([Turn(0, 1, "A")], [], 1)
        heavy = sorted({m.split(".")[0] for m in sys.modules} & {"torch", "transformers", "pytorch_lightning", "opentelemetry"})
        print(json.dumps([light, heavy, "pyannote.audio" in sys.modules, os.environ["PYANNOTE_METRICS_ENABLED"]]))"""
    env = {k: v for k, v in os.environ.items() if k != "PYANNOTE_METRICS_ENABLED"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert json.loads(run.stdout) == [[], [], False, "0"]

A4, A5, A6 = Turn(0, 4, "A"), Turn(0, 5, "A"), Turn(0, 6, "A")

# missed, false alarm, confusion, scored: seconds as NIST's md-eval-22 printed them for these turns, over a
# file of 10 s that its UEM scores whole
@pytest.mark.parametrize(
    "reference, found, printed, with_collar",
    [
        (
            [A4, Turn(4, 8, "B")],
            [Turn(0, 4.6, "x"), Turn(4.6, 8, "y")],
            (0, 0, 0.6, 8),
            (0, 0, 0.35, 7),
        ),  # a late change
        (
            [A5, Turn(3, 8, "B")],
            [Turn(0, 5, "x"), Turn(5, 8, "y")],
            (2, 0, 0, 10),
            (1.5, 0, 0, 8),
        ),  # overlap missed
        (
            [Turn(1, 3, "A"), Turn(6, 9, "B")],
            [Turn(1, 4.5, "x"), Turn(6, 9, "y")],
            (0, 1.5, 0, 5),
            (0, 1.25, 0, 4),
        ),  # a false alarm between turns
        (
            [Turn(2, 5, "A")],
            [Turn(0, 6, "x")],
            (0, 3, 0, 3),
            (0, 2.5, 0, 2.5),
        ),  # and outside of them: without a UEM md-eval counts none
        (
            [A6, Turn(6, 9, "B")],
            [Turn(0, 3, "x"), Turn(3, 6, "z"), Turn(6, 9, "y")],
            (0, 0, 3, 9),
            (0, 0, 2.75, 8),
        ),  # one taken for two
        (
            [A4, Turn(4, 7, "B"), Turn(7, 9, "A")],
            [Turn(0, 9, "x")],
            (0, 0, 3, 9),
            (0, 0, 2.5, 7.5),
        ),  # two taken for one
        (
            [Turn(0, 2, "A"), Turn(2, 5, "A"), Turn(5, 8, "B")],
            [Turn(0, 5.5, "x"), Turn(5.5, 8, "y")],
            (0, 0, 0.5, 8),
            None,
        ),  # see below
    ],
)
def test_der_is_md_eval_s(reference, found, printed, with_collar):
    def seconds(collar):
        return [
            getattr(der(reference, found, 10, collar), k)
            for k in ("missed", "false_alarm", "confusion", "reference")
        ]

    assert seconds(0) == pytest.approx(printed)
    if with_collar: assert seconds(0.25) == pytest.approx(with_collar)

def test_where_one_s_turns_touch_there_is_no_edge_to_forgive():
    touching = [Turn(0, 2, "A"), Turn(2, 5, "A"), Turn(5, 8, "B")]
    # md-eval forgives around 2 s too, and scores 6.5
    assert der(touching, [], 10, 0.25).reference == pytest.approx(7.0)
