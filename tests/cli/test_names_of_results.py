"""Two recordings of one name: what `ecg analyze`, `export`, `correct` and `scores` write and read"""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from ecg_audio_nb.cli import analyze as cli_analyze
from ecg_audio_nb.cli import app
from ecg_audio_nb.core.identity import lock_names
from ecg_audio_nb.results import export
from ecg_audio_nb.results.export import to_json
from ecg_audio_nb.schema import Analysis, Metadata, Segment, Turn, Word, read_result
from ecg_audio_nb.settings import load_settings

SAMPLE = Path(str(files("ecg_audio_nb") / "assets/sample.mp4"))


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    "day1/rec.wav and day2/rec.wav, a second of two tones; the work is done in an empty folder"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path / "data"))
    for day, pitch in (("day1", 200), ("day2", 300)):
        (tmp_path / day).mkdir()
        sound = 0.3 * np.sin(2 * np.pi * pitch * np.arange(16000) / 16000)
        soundfile.write(tmp_path / day / "rec.wav", sound, 16000)
    return tmp_path


def analyze(*sources, formats="json"):
    done = CliRunner().invoke(
        app, ["analyze", *sources, "-o", "out", "--no-transcribe", "--no-diarize", "--formats", formats]
    )
    assert done.exit_code == 0, done.output
    return done


def digest(path):
    return read_result(path).metadata.source_sha256


def names(folder="out"):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_later_command_never_overwrites_another_recording_s_results(recordings):
    analyze("day1/rec.wav")
    first = Path("out/rec.json").read_text()
    done = analyze("day2/rec.wav")
    assert Path("out/rec.json").read_text() == first
    [other] = set(names()) - {"rec.json"}
    assert other == f"rec-{digest(f'out/{other}')[:8]}.json"
    assert f"the results are called {other.removesuffix('.json')}" in done.stderr


def test_commands_that_end_at_one_moment_do_not_take_one_name(recordings, monkeypatch):
    "Each has looked for a free name before any has written its files"
    analyze("day1/rec.wav")
    one, barrier, true = read_result("out/rec.json"), threading.Barrier(6), export.export
    Path("out/rec.json").unlink()

    def slow(*args):
        time.sleep(0.05)
        return true(*args)

    monkeypatch.setattr(export, "export", slow)
    def write(n):
        result = replace(one, metadata=replace(one.metadata, source_sha256=f"{n:064x}"))
        folder = cli_analyze._Folder(Path("out"), load_settings({"export.formats": "json"}))
        barrier.wait()
        folder.write("rec.wav", "rec", "rec", result)

    with ThreadPoolExecutor(6) as threads: list(threads.map(write, range(6)))
    assert sorted(digest(f"out/{name}") for name in names()) == [f"{n:064x}" for n in range(6)]


def test_a_data_folder_that_takes_no_lock_is_no_error(recordings):
    Path("data").write_text("a file")
    with lock_names("data", "out"): pass


def test_the_same_recording_is_written_over_as_before_whatever_the_order(recordings):
    for _ in range(2):
        analyze("day1/rec.wav", "day2/rec.wav")
        assert names() == ["rec-2.json", "rec.json"]
    of_day1, of_day2 = digest("out/rec.json"), digest("out/rec-2.json")
    assert of_day1 != of_day2
    for sources in (["day2/rec.wav"], ["day2/rec.wav", "day1/rec.wav"]):
        analyze(*sources)
        assert names() == ["rec-2.json", "rec.json"]
        assert (digest("out/rec.json"), digest("out/rec-2.json")) == (of_day1, of_day2)


def test_captions_alone_are_about_a_recording_too(recordings):
    analyze("day1/rec.wav", formats="rttm,ctm")
    analyze("day1/rec.wav", formats="rttm,ctm")
    assert names() == ["rec.ctm", "rec.rttm"]
    analyze("day2/rec.wav", formats="rttm")
    assert len(names()) == 3 and [name for name in names() if name.startswith("rec-")]


def test_a_file_of_which_nothing_is_known_is_not_replaced_without_a_word(recordings):
    Path("out").mkdir()
    Path("out/rec.rttm").write_text("mine")
    assert f"replaced {Path('out/rec.rttm')}" in analyze("day1/rec.wav", formats="rttm").stderr
    assert "replaced" not in analyze("day1/rec.wav", formats="rttm").stderr


def test_the_table_tells_two_sources_of_one_name_apart(recordings):
    shown = analyze("day1/rec.wav", "day2/rec.wav").stdout
    assert "day1/rec.wav" in shown and "day2/rec.wav" in shown


@pytest.mark.parametrize("stem", ["a" * 250, "조각" * 41])
def test_a_very_long_name_is_no_reason_to_lose_an_analysis(recordings, stem):
    shutil.copy("day1/rec.wav", f"{stem}.wav")
    analyze(f"{stem}.wav", formats="json,csv,TextGrid")
    assert len(names()) == 4 and len({name.split(".")[0] for name in names()}) == 1


@pytest.mark.parametrize("stem", ["take [1]", "100%", "-x", "a.b", " rec", "con"])
def test_awkward_names_are_names(recordings, stem):
    shutil.copy("day1/rec.wav", f"./{stem}.wav")
    analyze(f"./{stem}.wav")
    analyze(f"./{stem}.wav")
    assert names() == [f"{stem.strip()}.json"]


def made(text, sha256, filename="rec.wav"):
    words = [Word(w, n, n + 0.5, speaker_id="A") for n, w in enumerate(text.split())]
    end = len(words)
    return Analysis(
        (Segment(0, 0, end, speaker_id="A", text=text, words=tuple(words)),),
        (Turn(0, end, "A"),),
        (),
        Metadata(filename, duration=end, source_sha256=sha256, language_detected="en"),
    )


def put(path, analysis):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(to_json(analysis))


def ecg(*args):
    return CliRunner().invoke(app, [*map(str, args)])


def test_export_writes_over_no_other_recording_s_files(recordings):
    put("day1/rec.json", made("hello world", "1" * 64))
    put("day2/rec.json", made("good bye", "2" * 64))
    for _ in range(2):
        for day in ("day1", "day2"):
            assert ecg("export", f"{day}/rec.json", "-o", "out", "--formats", "txt").exit_code == 0
    assert names() == ["rec-22222222.txt", "rec.txt"]
    assert "hello" in Path("out/rec.txt").read_text()


def test_a_corrected_result_replaces_no_other_recording_s(recordings):
    put("day1/rec.json", made("hello world", "1" * 64))
    put("day2/rec.json", made("good bye", "2" * 64))
    ecg("export", "day2/rec.json", "--formats", "srt")
    before = Path("day1/rec.json").read_text()
    done = ecg("correct", "day2/rec.json", "--from", "day2/rec.srt", "-o", "day1/rec.json")
    assert done.exit_code == 1 and "another recording" in done.stderr
    assert Path("day1/rec.json").read_text() == before
    assert ecg("correct", "day2/rec.json", "--from", "day2/rec.srt", "-o", "day2/rec.json").exit_code == 0


@pytest.mark.parametrize("form", ["srt", "eaf", "TextGrid"])
def test_an_edited_file_of_another_recording_is_refused_though_its_words_are_alike(recordings, form):
    for day, digit in (("day1", "1"), ("day2", "2")):
        put(f"{day}/rec.json", made("hello world", digit * 64))
        assert ecg("export", f"{day}/rec.json", "--formats", form).exit_code == 0
    done = ecg("correct", "day2/rec.json", "--from", f"day1/rec.{form}")
    assert done.exit_code == 1 and "about another recording" in done.stderr and "--force" in done.stderr
    assert ecg("correct", "day2/rec.json", "--from", f"day1/rec.{form}", "--force").exit_code == 0
    assert ecg("correct", "day2/rec.json", "--from", f"day2/rec.{form}").exit_code == 0


def test_an_eaf_file_says_itself_which_recording_it_is_about(recordings):
    put("day1/rec.json", made("hello world", "1" * 64))
    put("day2/rec.json", made("hello world", "2" * 64))
    ecg("export", "day1/rec.json", "--formats", "eaf", "-o", "elsewhere")
    done = ecg("correct", "day2/rec.json", "--from", "elsewhere/rec.eaf")
    assert done.exit_code == 1 and "about another recording" in done.stderr


def test_scores_say_what_was_found_by_name_alone(recordings):
    put("results/day1/rec.json", made("hello world", "1" * 64))
    Path("references").mkdir()
    Path("references/REC.Txt").write_text("hello world")
    done = ecg("scores", "results", "--references", "references", "--page", "page.html")
    assert done.exit_code == 0 and "REC.Txt" in done.stderr and "REC.Txt" in Path("page.html").read_text()
    assert "REC.Txt" in json.loads(ecg("scores", "results", "--references", "references", "--json").stdout)["note"]
    Path("references/rec.sha256").write_text("1" * 64 + "  rec.wav\n")
    done = ecg("scores", "results", "--references", "references")
    assert done.exit_code == 0 and not done.stderr
    put("results/day2/rec.json", replace(made("good bye", "2" * 64)))
    done = ecg("scores", "results", "--references", "references")
    assert done.exit_code == 0 and "another recording" not in done.stdout and "1 files" in done.stdout
