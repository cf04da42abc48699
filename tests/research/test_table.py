"""One table of many results: the same columns and types whatever was measured, files that appear whole"""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import fields, replace

import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
from hypothesis import HealthCheck, given, settings
from made_results import analysis, result, said
from typer.testing import CliRunner

from ecg_audio_nb.cli import app
from ecg_audio_nb.core.files import WriteError
from ecg_audio_nb.research import table as module
from ecg_audio_nb.research.table import (
    TableError,
    find_results,
    lobanov,
    semitones,
    table,
    table_columns,
    write_table,
)
from ecg_audio_nb.results.export import words_table
from ecg_audio_nb.schema import (
    AcousticFeatures,
    FullFeatures,
    LoudnessInfo,
    Range,
    ResultError,
    SignalInfo,
    Speaker,
    VoiceRanges,
    read_result,
)

FULL = FullFeatures(
    -20, None, 1200, f1_hz=500, volume_category="soft", mfcc=tuple(range(13)), reasons={"pitch_hz": "unvoiced", "jitter": "too_short"}
)  # fmt: skip
BASIC = AcousticFeatures(-30, 200, 1500)


def measured(features, text="one two", **about):
    "A result of two words with these features"
    segment = said(7, text)
    words = tuple(replace(w, acoustic_features=features) for w in segment.words)
    return result(replace(segment, words=words, acoustic_features=features), **about)


@pytest.fixture
def folder(tmp_path):
    "A result with full features, one with basic ones of the same name, one without words, and other files"
    for name, a in (
        ("b/talk", measured(BASIC)),
        ("a/talk", measured(FULL)),
        ("a/nothing", result(filename="empty.wav")),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        a.save(tmp_path / f"{name}.json")
    (tmp_path / ".jobs").mkdir()
    (tmp_path / ".jobs/left.json").write_text("{}")
    (tmp_path / "a/talk.txt").write_text("one two")
    return tmp_path


def quiet(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return table(*args, **options)


# What is in it

def test_results_of_one_name_stay_apart_and_order_is_that_of_paths(folder):
    words = quiet(folder)
    assert words.file.tolist() == ["a/talk.json"] * 2 + ["b/talk.json"] * 2
    assert words.word.tolist() == ["one", "two"] * 2 and words.segment_id.tolist() == [7] * 4
    assert words.f1_hz.tolist()[:2] == [500, 500] and words.f1_hz.isna().tolist()[2:] == [True, True]
    assert words.pitch_hz.isna().tolist() == [True, True, False, False]
    assert words.reasons.tolist()[:2] == ["pitch_hz=unvoiced;jitter=too_short"] * 2
    assert words.reasons.isna().tolist()[2:] == [True, True]
    assert words.loc[0, [f"mfcc_{i}" for i in range(13)]].tolist() == list(range(13))
    assert (words.start_time[1], words.duration[1], words.confidence[1]) == (0.4, 0.4, 0.8)


def test_it_has_what_the_table_of_one_result_has(folder):
    of_one = words_table(read_result(folder / "a/talk.json"))
    assert {name for name in of_one} <= set(table_columns())
    row = quiet(folder / "a/talk.json").iloc[1]
    for name, values in of_one.items():
        assert row[name] == values[1] or (values[1] is None and pd.isna(row[name])), name


@pytest.mark.parametrize("features", [BASIC, AcousticFeatures(), FULL, FullFeatures()], ids=str)
@pytest.mark.parametrize("rows", ["words", "segments", "speakers", "files"])
def test_types_do_not_depend_on_what_was_measured(tmp_path, features, rows):
    speakers = [Speaker("SPEAKER_00", acoustic_features=features)]
    measured(features, speakers=speakers).save(tmp_path / "talk.json")
    empty = result()
    empty.save(tmp_path / "empty/none.json")
    types = table(tmp_path, rows).dtypes.astype(str).to_dict()
    assert "object" not in types.values()
    assert types == table(tmp_path / "empty", rows).dtypes.astype(str).to_dict()
    numbers = {f.name for f in fields(FullFeatures)} - {"mfcc", "reasons", "volume_category"}
    assert {types[name] for name in numbers & set(types)} <= {"float64"}
    assert rows == "files" or numbers < set(types)


def test_every_field_of_a_measure_has_a_column():
    features = {f.name for f in fields(FullFeatures)} - {"mfcc"} | {f"mfcc_{i}" for i in range(13)}
    for rows in ("words", "segments", "speakers"):
        assert features <= set(table_columns(rows))
    facts = {f.name for record in (LoudnessInfo, SignalInfo) for f in fields(record)}
    assert facts <= set(table_columns("files")) and "loudness_lufs" in table_columns("speakers")


def test_names_ranges_and_facts(tmp_path):
    known = Speaker("SPEAKER_00", 12.5, 3, 40, FULL, VoiceRanges(pitch_hz=Range(90, 100, 120)), 1,
                    loudness_lufs=-23.1, name="Ada")  # fmt: skip
    a = result(said(0, "one"), said(1, "two", 5, speaker=None), speakers=[known])
    meta = replace(a.metadata, loudness=LoudnessInfo(-20.5), signal=SignalInfo(0.25, 0.0, -60, -20, 40), warnings=("x", "y"))
    replace(a, metadata=meta).save(tmp_path / "talk.json")
    words = quiet(tmp_path)
    assert words.speaker_id.tolist()[0] == "SPEAKER_00" and pd.isna(words.speaker_id[1])
    assert words.speaker_name.tolist()[0] == "Ada" and pd.isna(words.speaker_name[1])
    (speaker,) = quiet(tmp_path, "speakers").to_dict("records")
    assert (speaker["pitch_hz_low"], speaker["pitch_hz_high"], speaker["channel"]) == (90, 120, 1)
    assert (speaker["loudness_lufs"], speaker["word_count"], speaker["speaker_name"]) == (-23.1, 40, "Ada")
    (file,) = quiet(tmp_path, "files").to_dict("records")
    assert (file["integrated_lufs"], file["clipped_fraction"], file["snr_db"]) == (-20.5, 0.25, 40)
    assert file["warnings"] == "x\ny" and file["filename"] == "talk.mp4" and file["file"] == "talk.json"


@given(analysis())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_words_are_read_back(tmp_path_factory, a):
    folder = tmp_path_factory.mktemp("any")
    a.save(folder / "any.json")
    words = table(folder)
    assert words.word.tolist() == [w.word for w in a.words]
    assert [None if pd.isna(x) else x for x in words.speaker_id] == [w.speaker_id for w in a.words]
    again = pd.read_parquet(write_table(folder, folder / "any.parquet").path)
    pd.testing.assert_frame_equal(words, again, check_dtype=False, check_categorical=False)
    csv = write_table(folder, folder / "any.csv", columns=["word", "start_time"]).path
    back = pd.read_csv(csv, dtype={"word": str}, keep_default_na=False)
    assert back.word.tolist() == words.word.tolist() and back.start_time.tolist() == words.start_time.tolist()


# Which files

def test_other_files_are_left_out_and_said(folder):
    (folder / "notes.json").write_text('{"cake": 1}')
    (folder / "a/half.json").write_text('{"segments": [')
    with pytest.warns(UserWarning, match=r"^left out, no result: a/half.json, notes.json$"):
        assert len(table(folder)) == 4
    done = write_table(folder, folder / "w.csv")
    assert (done.rows, done.files, done.left_out) == (4, 3, ("a/half.json", "notes.json"))
    with pytest.raises(ResultError, match="notes.json"):
        table([folder / "a", folder / "notes.json"])


def test_names_are_paths_within_what_all_have_in_common(folder):
    def names(*given):
        return [f.name for f in find_results([folder / g for g in given])]

    assert names("a") == ["nothing.json", "talk.json"]
    assert names("b", "a") == ["a/nothing.json", "a/talk.json", "b/talk.json"]
    assert names("a/talk.json") == ["talk.json"]
    assert names("a/talk.json", "a") == ["nothing.json", "talk.json"]
    assert names("a/talk.json", "b/talk.json") == ["a/talk.json", "b/talk.json"]


def test_what_can_not_be_made(folder):
    for options, wanted in (
        ({"results": folder / "c"}, "c: no such file or folder"),
        ({"results": folder / ".jobs"}, "no result in it"),
        ({"results": []}, "no result"),
        ({"results": folder, "rows": "letters"}, "rows = 'letters': words, segments, speakers, files"),
        ({"results": folder, "columns": ["word", "f4_hz"]}, "no column f4_hz in a table of words: file, "),
    ):
        with pytest.raises(TableError, match=wanted), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table(**options)


def test_columns_are_those_wanted_in_their_order(folder):
    assert list(quiet(folder, columns=["pitch_hz", "file", "pitch_hz"])) == ["pitch_hz", "file"]


# Files

def test_a_file_appears_whole_or_not_at_all(folder, monkeypatch):
    path = folder / "out/words.parquet"
    write_table(folder, path)
    before = path.read_bytes()
    read, seen = module.read_result, []

    def breaks(path):
        if seen:
            raise OSError(28, "No space left on device")
        seen.append(path)
        return read(path)

    monkeypatch.setattr(module, "read_result", breaks)
    with pytest.raises(WriteError, match="No space left on device"):
        write_table(folder, path)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["words.parquet"]
    with pytest.raises(TableError, match=r"words.xlsx: the ending says the format: .parquet or .csv"):
        write_table(folder, folder / "words.xlsx")
    assert not (folder / "words.xlsx").exists()


def test_small_files_share_a_row_group(folder, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    path = write_table(folder, folder / "w.parquet").path
    assert pq.ParquetFile(path).num_row_groups == 1
    monkeypatch.setattr(module, "_ROW_GROUP", 2)
    groups = write_table(folder, path)
    assert pq.ParquetFile(path).num_row_groups >= 2
    assert pd.read_parquet(path).file.astype(str).tolist() == quiet(folder).file.astype(str).tolist() and groups.rows == 4


def test_it_holds_one_result_at_a_time(folder, monkeypatch):
    import gc
    import weakref

    alive, read = [], module.read_result

    def watched(path):
        gc.collect()
        assert sum(r() is not None for r in alive) <= 1
        a = read(path)
        alive.append(weakref.ref(a.metadata))
        return a

    monkeypatch.setattr(module, "read_result", watched)
    quiet(folder)
    assert len(alive) == 3


@pytest.mark.parametrize("name", ["pandas", "pyarrow"])
def test_a_missing_extra_is_named(folder, name):
    code = f"""
import sys
sys.modules[{name!r}] = None
from ecg_audio_nb.research.table import TableError, table
try: table({str(folder)!r})
except TableError as e: print(e)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"tables need {name}, which is not installed: pip install 'ecg-audio-nb[lab]'" in done.stdout, done.stderr


# The command

def ecg(*args):
    return CliRunner().invoke(app, ["table", *map(str, args)])


def test_command(folder, tmp_path):
    (folder / "notes.json").write_text('{"cake": 1}')
    out = tmp_path / "out/words.csv"
    done = ecg(folder, "-o", out, "--columns", "file, word")
    assert (done.exit_code, done.stdout) == (0, f"{out}: 4 rows of 3 results\n")
    assert done.stderr == "note: left out, no result: notes.json\n"
    assert out.read_text("utf-8-sig").splitlines()[:2] == ['"file","word"', '"a/talk.json","one"']
    parquet = tmp_path / "segments.parquet"
    assert ecg(folder / "a/talk.json", "-o", parquet, "--rows", "segments").stdout == f"{parquet}: 1 row of 1 result\n"


@pytest.mark.parametrize("args, status, wanted", [
    (["-o", "words.xlsx"], 2, "words.xlsx: the ending says the format"),
    (["-o", "w.csv", "--rows", "letters"], 2, "rows = 'letters'"),
    (["-o", "w.csv", "--columns", "word,f4_hz"], 2, "no column f4_hz"),
    (["nowhere", "-o", "w.csv"], 1, "nowhere: no such file or folder"),
])  # fmt: skip
def test_command_that_can_not_be(folder, tmp_path, monkeypatch, args, status, wanted):
    monkeypatch.chdir(tmp_path)
    done = ecg(folder, *args)
    assert done.exit_code == status and wanted in done.stderr and not (tmp_path / "w.csv").exists()


# Speakers made comparable

def test_semitones_and_lobanov_by_file_or_person():
    frame = pd.DataFrame({
        "file": ["a", "a", "b", "b"], "speaker_id": ["S0"] * 4, "speaker_name": ["Ada", "Ada", "Ada", None],
        "pitch_hz": [100.0, 400, 200, 200], "f1_hz": [400.0, 600, 500, float("nan")],
    })  # fmt: skip
    # of a: median 250; of b: median 200
    assert semitones(frame).round(3).tolist() == [-15.863, 8.137, 0, 0]
    assert semitones(frame, "speaker_name").round(3).tolist() == [-12, 12, 0, 0] # None: a group of its own
    z = lobanov(frame, ["f1_hz"], "speaker_name")
    assert list(z) == ["f1_z"] and z.f1_z.tolist()[:3] == [-1, 1, 0] and z.f1_z.isna()[3]


def test_json_of_any_kind_is_no_result(tmp_path):
    for i, content in enumerate(([], 3, "text", None, {"segments": 1}, {"metadata": {}})):
        (tmp_path / f"{i}.json").write_text(json.dumps(content))
    with pytest.raises(TableError, match="no result in it"):
        table(tmp_path)
