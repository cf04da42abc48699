"""Measures against the field's own tools and cases counted by hand, references as others write them, and
intervals that hold"""
import itertools, json, random, unicodedata

import jiwer
import numpy as np
import pytest

from ecg_audio_nb.research.error_rates import boundaries, cer, cp_wer, edits, f0_gross_error, normalize_text
from ecg_audio_nb.research.metrics import (
    FileScores,
    UtteranceErrors,
    aggregate,
    compare_scores,
    score_file,
    score_report,
)
from ecg_audio_nb.research.references import EvaluateError, Utterance, read_words
from ecg_audio_nb.pipeline import analyze
from ecg_audio_nb.schema import Analysis, Metadata, Segment, Turn, Word

WORDS = "good morning are you ready to start the recording almost".split()


def some(rng, n): return " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, n)))


@pytest.mark.parametrize("seed", range(30))
def test_words_and_characters_are_jiwers(seed):
    rng = random.Random(seed)
    said, heard = some(rng, 12) or "good", some(rng, 12)
    words, chars = (
        jiwer.process_words(said, heard),
        jiwer.process_characters(said.replace(" ", ""), heard.replace(" ", "")),
    )

    def size(e): return max(len(e.reference.split()), len(e.hypothesis.split()))

    assert (
        sum(size(e) for e in edits(said, heard)) == words.substitutions + words.deletions + words.insertions
    )
    assert cer(said, heard) == (
        chars.substitutions + chars.deletions + chars.insertions,
        len(said.replace(" ", "")),
    )


@pytest.mark.parametrize("seed", range(30))
def test_cp_wer_is_the_best_of_all_permutations(seed):
    rng = random.Random(seed)
    said = {f"R{i}": some(rng, 8) for i in range(rng.randint(1, 4))}
    heard = {f"H{i}": some(rng, 8) for i in range(rng.randint(0, 4))}
    n = max(len(said), len(heard))
    def errors(a, b):
        if not a or not b: return len(a.split()) + len(b.split())
        w = jiwer.process_words(a, b)
        return w.substitutions + w.deletions + w.insertions
    r, h = [*said.values(), *[""] * (n - len(said))], [*heard.values(), *[""] * (n - len(heard))]
    best = min(sum(errors(a, b) for a, b in zip(r, p)) for p in itertools.permutations(h))
    found, over, given = cp_wer(said, heard)
    assert (found, over) == (best, sum(len(t.split()) for t in said.values())) and len(
        set(given.values())
    ) == len(given)


def test_boundaries_by_hand():
    """Ten words half a second long; in turn right, 0.19 late, 0.21 late, end alone late, another word, left
    out, put in"""
    truth = [Word(w, i / 2, i / 2 + 0.5) for i, w in enumerate(WORDS)]
    found = [
        truth[0],
        Word("morning", 0.69, 1.19),
        Word("are", 1.21, 1.71),
        Word("you", 1.5, 2.25),
        Word("steady", 2.0, 2.5),
        *truth[6:],
        Word("well", 5.0, 5.2),
    ]
    b = boundaries(truth, found)
    # good, morning, start, the, recording, almost
    assert (b.correct, b.hypothesis_words, b.reference_words) == (6, 10, 10)
    assert len(b.errors) == 16 and b.mean_error == pytest.approx((2 * 0.19 + 2 * 0.21 + 0.25) / 16)


def test_a_word_is_paired_once():
    twice = [Word("no", 0.0, 0.2), Word("no", 0.1, 0.3)]
    assert (
        boundaries(twice[:1], twice).correct == 1
        and boundaries(twice, twice[:1]).correct == 1
        and boundaries(twice, twice).correct == 2
    )
    assert boundaries([], twice).recall is None and boundaries(twice, []).mean_error is None


def test_words_are_compared_as_the_texts_are():
    assert normalize_text("I'm") == "i am"
    assert boundaries([Word("I'm", 0, 1), Word("-", 1, 1.1)], [Word("i'm,", 0.1, 1)]).correct == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("long", [True, False])
def test_textgrids_as_another_library_writes_them(tmp_path, encoding, long):
    praatio = pytest.importorskip("praatio.textgrid")
    grid = praatio.Textgrid()
    grid.addTier(praatio.IntervalTier("phones", [(0, 0.5, "a")], 0, 3))
    grid.addTier(praatio.PointTier("marks", [(0.7, "here [2] = 3")], 0, 3))
    grid.addTier(praatio.IntervalTier("words", [(0.25, 1, 'say "hi"'), (1, 2.5, "안녕 7")], 0, 3))
    path = tmp_path / "a.TextGrid"
    grid.save(str(path), format="long_textgrid" if long else "short_textgrid", includeBlankSpaces=True)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    assert [(w.word, w.start_time, w.end_time) for w in read_words(path)] == [
        ('say "hi"', 0.25, 1),
        ("안녕 7", 1, 2.5),
    ]


@pytest.mark.parametrize(
    "name, text, fault",
    [
        ("a.ctm", "talk 1 0.5\n", "line 1 is not `file channel begin"),
        ("a.ctm", "talk 1 x 0.2 hi\n", "is no time in seconds"),
        ("a.ctm", "b 1 0 1 x\nc 1 0 1 x\n", "is about 2 recordings"),
        ("a.TextGrid", "nothing", "is no TextGrid"),
        (
            "a.TextGrid",
            (
                'File type = "ooTextFile"\nObject class = '
                '"TextGrid"\n0\n1\n<exists>\n2\n"IntervalTier"\n"a"\n0\n1\n0\n"IntervalTier"\n"b"\n0\n1\n0\n'
            ),
            "has the tiers a, b",
        ),
        ("a.srt", "", "come as .ctm, .TextGrid or a result's .json"),
    ],
)
def test_unfit_references_are_named(tmp_path, name, text, fault):
    (tmp_path / name).write_text(text)
    with pytest.raises(EvaluateError, match=fault): read_words(tmp_path / name)


def test_a_result_is_perfect_against_itself(sample, tmp_path):
    from ecg_audio_nb.results.export import export
    result = analyze(sample, profile="demo")
    export(result, tmp_path, "sample", ["json", "ctm", "TextGrid"])
    said = [Utterance(s.text, s.start_time, s.end_time, s.speaker_id) for s in result.segments]
    for words in ("sample.json", "sample.ctm"):
        own = score_file(result, said, list(result.turns), tmp_path / words)
        assert {k: own.rate(k) for k in own.counts if k != "boundary_seconds"} == dict.fromkeys(
            [k for k in own.counts if k != "boundary_seconds"], 0
        ), words
        assert own.rate("boundary_seconds") < 0.01 and own.edits == () == own.worst # a CTM has hundredths


def in_language(language, *texts, speaker="A"):
    "A result whose segments are a second long, a word a text between spaces"
    segments = []
    for i, text in enumerate(texts):
        words = tuple(Word(w, i, i + 1, speaker_id=speaker) for w in text.split())
        segments.append(Segment(i, i, i + 1, speaker_id=speaker, text=text, words=words))
    return Analysis(tuple(segments), (), (), Metadata("talk.wav", duration=len(texts), language_detected=language))


def said(*texts): return [Utterance(text, i, i + 1, "A") for i, text in enumerate(texts)]


def test_measures_are_named_by_what_they_count():
    japanese = score_file(in_language("ja", "東京 です", "晴れ"), said("東京です。", "雨"))
    assert japanese.counts == {"cer": (2, 5), "cp_cer": (2, 5)}
    # asked for by the names of words, as a sweep may
    assert japanese.count("wer") == (2, 5) == japanese.count("cp_wer") and japanese.rate("wer") == 2 / 5
    assert [(u.errors, u.reference_words, u.unit) for u in japanese.worst] == [(2, 1, "character")]
    korean = score_file(in_language("ko", "할수 있습니다"), said("할 수 있습니다"))
    assert list(korean.counts) == ["cer", "wer", "cp_wer"] and korean.worst == ()
    assert (korean.counts["cer"], korean.counts["wer"]) == ((0, 6), (2, 3))
    english = score_file(in_language("en", "the bat"), said("the cat"))
    assert list(english.counts) == ["wer", "cer", "cp_wer"] and english.worst[0].unit == "word"


def test_files_of_several_languages_are_added_up_by_kind():
    files = [score_file(in_language(l, heard), said(true)) for l, heard, true in (
        ("ja", "東京", "東北"), ("en", "a cat", "a bat"), ("en", "a", "a"))]
    totals = aggregate(files)
    assert (totals["wer"].errors, totals["wer"].denominator, totals["wer"].files) == (1, 3, 2)
    assert (totals["cer"].errors, totals["cer"].denominator, totals["cer"].files) == (2, 7, 3)
    assert [how.split(":")[0] for how in totals["cer"].normalizations] == ["English", "Japanese"]
    assert json.loads(json.dumps(totals["wer"].as_dict()))["normalizations"] == [str(files[1].normalization)]
    page = score_report(files)
    assert "Japanese: NFKC" in page and "English: typographic marks folded" in page and "cpCER" in page
    assert score_file(in_language("en", "a"), turns=[Turn(0, 1, "A")]).normalization is None


def test_a_comparison_tells_that_the_texts_were_normalized_otherwise():
    said_so, taken_for_english = (score_file(in_language(l, "die Straße"), said("die Strasse")) for l in ("de", "en"))
    [difference] = [d for d in compare_scores([said_so], [taken_for_english]) if d.measure == "wer"]
    assert [how.split(":")[0] for how in difference.normalizations] == ["German", "English"]
    [turns] = compare_scores([FileScores("x", {"der": (1, 2)})], [FileScores("x", {"der": (0, 2)})])
    assert turns.normalizations == ()


def test_a_mark_alone_is_shown_on_a_circle():
    thai = score_file(in_language("th", "นำ"), said("น้ำ"))
    assert thai.edits[0].reference == "\u0e49" and "◌\u0e49" in score_report([thai])


def test_commands_tell_how_texts_were_normalized(tmp_path):
    from typer.testing import CliRunner
    from ecg_audio_nb.cli import app
    from ecg_audio_nb.results.export import export
    results, refs = tmp_path / "results", tmp_path / "refs"
    refs.mkdir()
    texts = {"한글 녹음": ("ko", "할수 있습니다", "할 수 있습니다"), "buch": ("de", "mit 25 Leuten", "mit fünfundzwanzig Leuten")}
    for name, (language, heard, true) in texts.items():
        export(in_language(language, heard), results, name, ["json"])
        refs.joinpath(unicodedata.normalize("NFD", name) + ".TXT").write_text(true, encoding="utf-16")
    def run(*args): return CliRunner().invoke(app, [*map(str, args)])
    korean, reference = results / "한글 녹음.json", refs / (unicodedata.normalize("NFD", "한글 녹음") + ".TXT")
    lines = run("evaluate", korean, "--transcript", reference).stdout.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["CER", "0.0"], ["WER", "66.7"], ["normalization", "Korean"]]
    folder = run("scores", results, "--references", refs)
    assert folder.exit_code == 0, folder.stderr
    assert {line.split()[1] for line in folder.stdout.splitlines() if "normalization" in line} == {"German:", "Korean:"}
    strict, lenient = (json.loads(run("scores", results, "--references", refs, "--json", *more).stdout)
                       for more in ([], ["--numbers"]))
    assert (strict["scores"]["wer"]["errors"], lenient["scores"]["wer"]["errors"]) == (3, 2)
    assert any("numbers in words" in how for how in lenient["normalization"])
    one = json.loads(run("evaluate", results / "buch.json", "--transcript", refs / "buch.TXT", "--numbers", "--json").stdout)
    assert one["wer"] == 0 and one["normalization"]["name"] == "German"


def test_gross_errors_by_hand():
    nan = float("nan")
    assert f0_gross_error(np.array([100, 100, 100, nan, 50]), np.array([120, 121, 50, 100, nan])) == (2, 3)
    with pytest.raises(ValueError, match="2 and 3 frames"): f0_gross_error(np.zeros(2), np.zeros(3))


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng, held = np.random.default_rng(3), 0
    for n in range(200):
        files = [
            FileScores(f"{i}", {"wer": (rng.binomial(50, min(1, max(0, rng.normal(0.3, 0.1)))), 50)})
            for i in range(30)
        ]
        p = aggregate(files, n_resamples=300, seed=n)["wer"]
        held += p.low <= 0.3 <= p.high
    assert 175 <= held <= 200 # 95 % of 200, less what the percentile bootstrap of 30 files falls short


def test_chance_is_called_chance():
    rng, told = np.random.default_rng(4), 0
    for n in range(100):
        a, b = (
            [FileScores(f"{i}", {"wer": (int(rng.integers(5, 40)), 100)}) for i in range(12)]
            for _ in range(2)
        )
        told += compare_scores(a, b, n_resamples=300, seed=n)[0].significant
    assert told <= 15


def test_files_are_paired_by_name_and_others_left_out():
    a = [
        FileScores("x", {"wer": (1, 10), "der": (1, 2)}),
        FileScores("y", {"wer": (2, 10)}),
        FileScores("only a", {"wer": (9, 10)}),
    ]
    b = [FileScores("y", {"wer": (1, 10)}), FileScores("x", {"wer": (1, 10)})]
    [d] = compare_scores(a, b)
    assert (d.measure, d.a, d.b, d.files) == ("wer", 0.15, 0.1, 2)


def test_what_is_counted_over_nothing_is_no_rate():
    assert (
        FileScores("x", {"wer": (3, 0)}).rate("wer") is None
        and aggregate([FileScores("x", {"wer": (3, 0)})])["wer"].value is None
    )
    [d] = compare_scores([FileScores("x", {"wer": (3, 0)})], [FileScores("x", {"wer": (0, 0)})])
    assert (d.difference, d.significant, str(d)) == (None, False, "wer: nothing to count over")


def test_speakers_who_are_confused_cost_cp_wer_alone(sample):
    result = analyze(sample, profile="demo")
    said = [
        Utterance(s.text, s.start_time, s.end_time, "A" if i % 2 else "B")
        for i, s in enumerate(result.segments)
    ]
    scores = score_file(result, said, [Turn(0, 1, "A")])
    assert scores.rate("wer") == 0 < scores.rate("cp_wer")


def test_the_page_names_all_and_trusts_nobody():
    evil = "<img src=x onerror=alert(1)>"
    worst = (UtteranceErrors(1.0, 2.0, evil, evil, "", errors=3, reference_words=4),)
    page = score_report(
        [
            FileScores(evil, {"wer": (1, 4)}, tuple(edits("one two", evil)), worst),
            FileScores("b", {"der": (1, 5)}),
        ],
        media={evil: '"><b>'},
    )
    assert "<img" not in page and '"><b>' not in page and "#t=1.00,2.00" in page and page.count("<h2>") == 3
    assert json.dumps("DER")[1:-1] in page


def test_the_command_scores_folders_and_compares_them(sample, tmp_path):
    import shutil
    from typer.testing import CliRunner
    from ecg_audio_nb.cli import app
    from ecg_audio_nb.results.export import export
    result, refs = analyze(sample, profile="demo"), tmp_path / "refs"
    refs.mkdir()
    for n in range(3):
        for ending in ("stm", "rttm"):
            shutil.copy(sample.with_suffix(f".{ending}"), refs / f"talk{n}.{ending}")
        for folder in ("a", "b"): export(result, tmp_path / folder, f"talk{n}", ["json"])
    command = [
        "scores",
        str(tmp_path / "a"),
        "--references",
        str(refs),
        "--against",
        str(tmp_path / "b"),
        "--page",
        str(tmp_path / "page.html"),
    ]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.stderr
    assert (
        "wer " in said.stdout
        and "3 files" in said.stdout
        and "not significant on these files" in said.stdout
    )
    assert "By file" in (tmp_path / "page.html").read_text()
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert found["scores"]["der"]["files"] == 3 and found["differences"][0]["difference"] == 0
    said = CliRunner().invoke(app, ["scores", str(refs), "--references", str(refs)])
    assert said.exit_code == 1 and "has a reference in" in said.stderr
