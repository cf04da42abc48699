"""A recording is its content: drafts, references and scores of two recordings of one name"""

import hashlib
import shutil
import unicodedata
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from ecg_audio_nb.research.explore import explore
from ecg_audio_nb.research.metrics import (
    FileScores,
    compare_scores,
    describe_matches,
    evaluate,
    score_folder,
    score_report,
)
from ecg_audio_nb.research.references import EvaluateError, ReferenceFolder, find_references, read_transcript
from ecg_audio_nb.research.session import find_draft, is_own_reference
from ecg_audio_nb.results.corrections import BY_HAND, CorrectionError, add_words, save_reference
from ecg_audio_nb.results.export import to_json
from ecg_audio_nb.schema import Analysis, Metadata, Segment, Turn, Word, read_result

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


def made(text, sha256, name="rec.wav", warnings=()):
    words = tuple(Word(w, n, n + 0.5, speaker_id="A") for n, w in enumerate(text.split()))
    end = len(words)
    return Analysis(
        (Segment(0, 0, end, speaker_id="A", text=text, words=words),),
        (Turn(0, end, "A"),),
        (),
        Metadata(name, duration=end, source_sha256=sha256, language_detected="en", warnings=warnings),
    )


def by_hand(text, sha256):
    return made(text, sha256, warnings=(BY_HAND,))


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(content) if isinstance(content, Analysis) else content, encoding="utf-8")
    return path


def scores_of(tmp_path):
    scored = score_folder(tmp_path / "results", tmp_path / "references")
    return {s.name: s.rate("wer") for s in scored}


@pytest.fixture
def two_days(tmp_path):
    put(tmp_path / "results/day1/rec.json", made("hello world", ONE))
    put(tmp_path / "results/day2/rec.json", made("good bye now", TWO))
    return tmp_path


# Corrections

def test_saved_corrections_of_another_recording_are_not_offered(tmp_path):
    folder = tmp_path / "references"
    save_reference(by_hand("hello world", ONE), folder, "rec")
    runtime = SimpleNamespace(runtime=SimpleNamespace(data_dir=tmp_path))
    def run(sha256): return SimpleNamespace(settings=runtime, analysis=made("good bye now", sha256))
    assert find_draft(run(TWO), folder, "rec") == (None, "")
    assert not is_own_reference(folder, "rec", TWO) and is_own_reference(folder, "rec", ONE)
    draft, state = find_draft(run(ONE), folder, "rec")
    assert (state, [w.word for w in draft.words]) == ("saved", ["hello", "world"])


@pytest.mark.parametrize("overwrite", [False, True])
def test_saving_leaves_another_recording_s_reference_alone(tmp_path, overwrite):
    first = save_reference(by_hand("hello world", ONE), tmp_path, "rec")
    before = [path.read_text() for path in first]
    second = save_reference(by_hand("good bye now", TWO), tmp_path, "rec", overwrite)
    assert [path.read_text() for path in first] == before
    assert [path.name for path in second] == [f"rec-22222222.{x}" for x in ("stm", "rttm", "json")]
    assert read_transcript(second[0])[0].text == "good bye now"
    with pytest.raises(CorrectionError, match="stands there already"):
        save_reference(by_hand("good bye", TWO), tmp_path, "rec")
    assert save_reference(by_hand("good bye", TWO), tmp_path, "rec", overwrite=True) == second


def test_references_that_say_nothing_are_somebody_s_and_are_not_replaced(tmp_path):
    put(tmp_path / "rec.stm", "rec 1 A 0 1 mine\n")
    with pytest.raises(CorrectionError, match="stands there already"):
        save_reference(by_hand("hello", ONE), tmp_path, "rec")
    put(tmp_path / "rec.sha256", TWO)
    assert save_reference(by_hand("hello", ONE), tmp_path, "rec")[0].name == "rec-11111111.stm"


@pytest.mark.parametrize("stem", ["take [1]", "what*", "한글", "Été"])
def test_saved_corrections_are_found_whatever_the_name(tmp_path, stem):
    folder = tmp_path / "references"
    save_reference(by_hand("hello world", ONE), folder, unicodedata.normalize("NFD", stem))
    runtime = SimpleNamespace(runtime=SimpleNamespace(data_dir=tmp_path))
    run = SimpleNamespace(settings=runtime, analysis=made("x", ONE))
    assert find_draft(run, folder, unicodedata.normalize("NFC", stem))[1] == "saved"


def test_an_old_saved_result_without_a_digest_is_found_by_its_name_with_a_note(tmp_path, caplog):
    put(tmp_path / "references/rec.json", by_hand("hello world", None))
    runtime = SimpleNamespace(runtime=SimpleNamespace(data_dir=tmp_path))
    run = SimpleNamespace(settings=runtime, analysis=made("x", ONE))
    assert find_draft(run, tmp_path / "references", "rec")[1] == "saved"
    assert "does not say which recording it is about" in caplog.text


def test_a_draft_of_unknown_content_is_nobody_s(tmp_path):
    put(tmp_path / "drafts/None.json", by_hand("hello", None))
    run = SimpleNamespace(
        settings=SimpleNamespace(runtime=SimpleNamespace(data_dir=tmp_path)), analysis=made("x", None)
    )
    assert find_draft(run, tmp_path, "rec") == (None, "")


def test_the_explorer_keeps_two_days_apart(tmp_path):
    pytest.importorskip("anywidget", reason="needs the extra [lab]")
    given = {"transcribe.enabled": False, "diarize.enabled": False, "runtime.data_dir": str(tmp_path / "data")}
    folder, saved = tmp_path / "references", {}
    for day, pitch in (("day1", 200), ("day2", 300)):
        (tmp_path / day).mkdir()
        sound = 0.3 * np.sin(2 * np.pi * pitch * np.arange(32000) / 16000)
        soundfile.write(tmp_path / day / "rec.wav", sound, 16000)
        explorer = explore(tmp_path / day / "rec.wav", given, folder=folder)
        assert not explorer.session.drafts and not explorer.overwrite
        explorer.correct(lambda draft, day=day: add_words(draft, f"of {day}", 0.2, 1.0, "Ben"))
        saved[day] = explorer.save()
    assert "another recording's references are called rec" in explorer.view.status
    assert not set(saved["day1"]) & set(saved["day2"])
    for day in saved:
        again = explore(tmp_path / day / "rec.wav", given, folder=folder, references=folder)
        assert [w.word for w in again.session.layers()["R"].words] == ["of", day] and again.overwrite
        assert again.session.references["transcript"] == saved[day][0]
        assert again.session.references["turns"] == saved[day][1]


# References of a folder of results

def test_two_results_of_one_name_are_not_scored_against_one_reference(two_days):
    reference = put(two_days / "references/rec.txt", "hello world")
    with pytest.raises(EvaluateError, match="2 recordings of this name") as e:
        scores_of(two_days)
    assert "sha256sum" in str(e.value) and "day1" in str(e.value) and "\n" not in str(e.value)
    put(reference.with_name("rec.sha256"), f"{ONE}  day1/rec.wav\n")
    assert scores_of(two_days) == {"rec": 0}


def test_a_reference_in_a_folder_belongs_to_the_result_in_a_folder_of_that_name(two_days):
    put(two_days / "references/day1/rec.txt", "hello world")
    assert scores_of(two_days) == {"rec": 0}
    put(two_days / "references/DAY2/REC.TXT", "good bye now")
    assert scores_of(two_days) == {"day1/rec": 0, "day2/rec": 0}
    put(two_days / "references/rec.txt", "neither of them")
    assert scores_of(two_days) == {"day1/rec": 0, "day2/rec": 0}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_folders_match_in_each_form_of_unicode(tmp_path, form):
    put(tmp_path / "results" / unicodedata.normalize("NFC", "첫날") / "rec.json", made("hello", ONE))
    put(tmp_path / "results/other/rec.json", made("bye", TWO))
    put(tmp_path / "references" / unicodedata.normalize(form, "첫날") / "rec.txt", "hello")
    assert scores_of(tmp_path) == {"rec": 0}


@pytest.mark.parametrize("name", ["rec.TXT", "REC.Txt", "Rec.STM", "rec.Rttm", "rec.CTM", "rec.textgrid"])
def test_endings_in_capitals_are_found(tmp_path, name):
    put(tmp_path / "results/rec.json", made("hello", ONE))
    lines = {
        "txt": "hello",
        "stm": "rec 1 A 0 1 hello\n",
        "rttm": "SPEAKER rec 1 0 1 <NA> <NA> A\n",
        "ctm": "rec 1 0 0.5 hello\n",
        "textgrid": 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n<exists>\n1\n'
        '"IntervalTier"\n"words"\n0\n1\n1\n0\n0.5\n"hello"\n',
    }
    put(tmp_path / "references" / name, lines[name.lower().partition(".")[2]])
    [scores] = score_folder(tmp_path / "results", tmp_path / "references")
    assert scores.matched_by_name == (name,)


def test_content_counts_more_than_name_and_place(two_days):
    for day, sha256, text in (("day1", TWO, "good bye now"), ("day2", ONE, "hello world")):
        put(two_days / f"references/{day}/rec.stm", f";; source_sha256 {sha256}\nrec 1 A 0 3 {text}\n")
    assert scores_of(two_days) == {"day1/rec": 0, "day2/rec": 0}
    assert describe_matches(score_folder(two_days / "results", two_days / "references")) == ""


def test_a_renamed_recording_finds_its_reference(tmp_path):
    put(tmp_path / "results/interview.json", made("hello world", ONE))
    put(tmp_path / "results/interview.corrected.json", by_hand("hello", ONE))
    save_reference(by_hand("hello world", ONE), tmp_path / "references", "ZOOM0001")
    assert scores_of(tmp_path) == {"interview": 0}


def test_a_reference_about_another_recording_is_left_out_with_a_word(tmp_path, caplog):
    put(tmp_path / "results/rec.json", made("hello world", ONE))
    put(tmp_path / "results/talk.json", made("good bye", TWO, "talk.wav"))
    save_reference(by_hand("something else", THREE), tmp_path / "references", "rec")
    put(tmp_path / "references/talk.txt", "good bye")
    assert scores_of(tmp_path) == {"talk": 0}
    assert "rec.stm is not used" in caplog.text and "another recording" in caplog.text


def test_what_a_result_wrote_beside_itself_in_a_subfolder_is_no_reference(tmp_path):
    put(tmp_path / "out/rec.json", made("hello world", ONE))
    put(tmp_path / "out/rec.txt", "hello world")
    put(tmp_path / "work/rec.json", made("hello there", ONE))
    with pytest.raises(EvaluateError, match="has a reference in"):
        score_folder(tmp_path / "out", tmp_path)
    with pytest.raises(EvaluateError, match="has a reference in"):
        score_folder(tmp_path / "work", tmp_path)


def test_old_references_are_used_and_named_in_a_note(tmp_path):
    put(tmp_path / "results/rec.json", made("hello world", ONE))
    put(tmp_path / "references/rec.txt", "hello world")
    put(tmp_path / "references/rec.rttm", "SPEAKER rec 1 0 2 <NA> <NA> A\n")
    scores = score_folder(tmp_path / "results", tmp_path / "references")
    assert describe_matches(scores).startswith("2 references are matched by name only (rec.txt, rec.rttm)")
    assert "matched by name only" in score_report(scores) and scores[0].sha256 == ONE


def test_a_reference_given_by_hand_is_used_and_a_clash_is_told(tmp_path, caplog):
    [stm, *_] = save_reference(by_hand("hello world", ONE), tmp_path, "rec")
    assert evaluate(made("hello world", ONE), stm).wer == 0 and not caplog.text
    assert evaluate(made("hello world", TWO), stm).wer == 0
    assert "is about another recording" in caplog.text


# References of a recording

def test_a_recording_finds_its_reference_by_content_then_by_folder(tmp_path):
    sounds = {"day1": b"one", "day2": b"two", "day3": b"three"}
    for day, sound in sounds.items():
        (tmp_path / day).mkdir()
        (tmp_path / day / "rec.wav").write_bytes(sound)
    digest = hashlib.sha256(sounds["day1"]).hexdigest()
    put(tmp_path / "references/rec.txt", "of day 1")
    put(tmp_path / "references/rec.sha256", f"{digest} *rec.wav\n")
    put(tmp_path / "references/day2/rec.txt", "of day 2")
    found = [find_references(tmp_path / day / "rec.wav", tmp_path / "references") for day in ("day1", "day2")]
    assert [f["transcript"].read_text() for f in found] == ["of day 1", "of day 2"]
    with pytest.raises(EvaluateError, match="rec.txt is about another recording of this name"):
        find_references(tmp_path / "day3/rec.wav", tmp_path / "references")
    put(tmp_path / "results/rec.json", made("x", digest))
    assert find_references(tmp_path / "results/rec.json", tmp_path / "references") == found[0]
    assert find_references("https://x.org/rec.wav", tmp_path / "references", sha256=digest) == found[0]


def test_two_references_of_one_recording_are_one_clear_error(tmp_path):
    for name in ("a/old.stm", "b/older.stm"):
        put(tmp_path / name, f";; source_sha256 {ONE}\nrec 1 A 0 1 hello\n")
    with pytest.raises(EvaluateError, match="both are about rec; keep one"):
        ReferenceFolder(tmp_path).find("rec", "stm", sha256=ONE)


def test_hidden_files_and_links_that_lead_in_circles_are_left_out(tmp_path):
    put(tmp_path / "references/.ipynb_checkpoints/rec.txt", "hello")
    put(tmp_path / "references/.rec.txt", "hello")
    (tmp_path / "references/loop").symlink_to(tmp_path / "references", target_is_directory=True)
    assert ReferenceFolder(tmp_path / "references").find("rec", "txt", source="x/rec.wav") is None


# Two runs

def test_runs_are_compared_by_content_whatever_the_names(two_days):
    for day, sha256, text in (("day1", ONE, "hello world"), ("day2", TWO, "good bye now")):
        put(two_days / f"references/{day}.txt", text)
        put(two_days / f"references/{day}.sha256", sha256)
    (two_days / "later").mkdir()
    for day, number in (("day1", "rec"), ("day2", "rec-22222222")):
        shutil.copy(two_days / f"results/{day}/rec.json", two_days / f"later/{number}.json")
    worse = read_result(two_days / "later/rec.json")
    put(two_days / "later/rec.json", replace(made("hello", ONE), metadata=worse.metadata))
    before, after = (score_folder(two_days / name, two_days / "references") for name in ("results", "later"))
    [wer] = [d for d in compare_scores(before, after) if d.measure == "wer"]
    assert (wer.files, wer.a, wer.b) == (2, 0, 0.2)


def test_two_recordings_of_one_name_are_no_pair(tmp_path):
    a, b = FileScores("rec", {"wer": (1, 2)}, sha256=ONE), FileScores("rec", {"wer": (1, 2)}, sha256=TWO)
    with pytest.raises(EvaluateError, match="nothing to compare"):
        compare_scores([a], [b])
    assert compare_scores([a], [replace(b, sha256=None)])[0].files == 1
    with pytest.raises(EvaluateError, match="rec: 2 files of the other run"):
        compare_scores([replace(a, sha256=None)], [a, b])
