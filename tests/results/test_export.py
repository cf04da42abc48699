"""Files made of an analysis: what other tools read back, captions that hold their rules, and writing that is
whole or not at all"""
import csv, io, json, os, re, stat, subprocess, sys
from dataclasses import asdict, replace
from math import isclose
from pathlib import Path
import pytest
from hypothesis import given, settings, strategies as st
from made_results import analysis
from pyannote.database.util import load_rttm
from pympi.Elan import Eaf
from pysubs2 import SSAFile
from ecg_audio_nb.core.textgrid import TextGrid, read_textgrid
from ecg_audio_nb.core.html import PALETTE
from ecg_audio_nb.results.captions import caption_style, ensure_contrast, to_ass
from ecg_audio_nb.core.text import clean_text, one_line
from ecg_audio_nb.results.cues import ExportError, spoken_text
from ecg_audio_nb.results.export import (
    STYLED, WRITERS, export, render, render_files, segments_table, timed_words, words_table,
    write_files)
from ecg_audio_nb.schema import (
    AcousticFeatures,
    Analysis,
    FullFeatures,
    Metadata,
    Segment,
    Speaker,
    Turn,
    Word,
    from_dict,
)
from ecg_audio_nb.settings import (
    BOM_FORMATS, DEFAULT_FORMATS, FORMATS, NOT_IN_METADATA, SettingsError, load_settings)  # fmt: skip

def write(path, content): return write_files({path: content})[0]

def bare(text): return "".join(text.replace("\u2060", "").split())

def read_table(text, **options): # as Python's csv reads a file with a byte order mark
    assert text[0] == "\ufeff"
    return list(csv.reader(io.StringIO(text.encode().decode("utf-8-sig"), newline=""), **options))

@given(analysis())
@settings(max_examples=100, deadline=None)
def test_tables_are_read_back(a):
    rows = read_table(render(a, "tsv"), delimiter="\t")
    assert rows[0] == ["start", "end", "speaker", "text"]
    assert rows[1:] == [
        [*(str(round(t * 1000)) for t in (s.start_time, s.end_time)), s.speaker_id or "", one_line(spoken_text(s))]
        for s in a.segments
    ]
    assert render(a, "tsv").count("\n") == len(rows)
    assert render(a, "txt").count("\n") == len(a.segments)
    assert from_dict(json.loads(render(a, "json"))) == a

@given(analysis())
@settings(max_examples=30, deadline=None)
def test_turns_are_read_back(tmp_path_factory, a):
    path = write(tmp_path_factory.mktemp("rttm") / "a.rttm", render(a, "rttm"))
    read = load_rttm(str(path)).get("my_talk")
    found = sorted((s.start, s.end, who) for s, _, who in read.itertracks(yield_label=True)) if read else []
    expected = sorted((t.start_time, t.end_time, t.speaker_id) for t in a.turns if t.end_time > t.start_time)
    assert len(found) == len(expected)
    for f, e in zip(found, expected): assert f[2] == e[2] and f[:2] == pytest.approx(e[:2], abs=1e-6)

@given(analysis())
@settings(max_examples=100, deadline=None)
def test_ass_is_what_the_captions_write(a):
    assert render(a, "ass") == to_ass(a, "dynamic", (1920, 1080))
    back = SSAFile.from_string(render(a, "ass"), format_="ass")
    assert all(e.start < e.end and e.style == "Captions" for e in back)
    speakers = {s.speaker_id for s in a.segments if s.speaker_id}
    assert all(set(e.name.split()) <= speakers for e in back)
    shown = {c for e in back for c in bare(e.plaintext)}
    # a dash stands before each of two speakers, a mark of direction before a line
    assert shown <= {
        *"-\u200e\u200f",
        *(c for w in a.words for c in bare(clean_text(w.word)).replace("{", "❴").replace("}", "❵")),
    }

@given(analysis())
@settings(max_examples=100, deadline=None)
def test_words_of_a_ctm_are_read_back(a):
    a = replace(
        a,
        segments=tuple(
            replace(
                s, words=tuple(replace(w, confidence=(None, 0, 0.5, 1)[i % 4]) for i, w in enumerate(s.words))
            )
            for s in a.segments
        ),
    )
    said = sorted(
        ((w.start_time, w.duration, w) for w in a.words if w.kind == "word" and one_line(w.word)),
        key=lambda x: x[0],
    )
    rows = [line.split(" ") for line in render(a, "ctm").split("\n")[:-1]]
    assert len(rows) == len(said) == sum(len(timed_words(s)) for s in a.segments)
    for (name, channel, start, duration, word, *sure), (t, d, w) in zip(rows, said):
        assert (name, channel, word) == ("my_talk", "1", "_".join(one_line(w.word).split()))
        assert (float(start), float(duration)) == (t, d) and [float(x) for x in sure] == (
            [] if w.confidence is None else [w.confidence]
        )


@given(analysis())
@settings(max_examples=50, deadline=None)
def test_labels_are_read_back(a):
    rows = [line.split("\t") for line in render(a, "audacity").split("\n")[:-1]]
    assert [(float(x), float(y), label) for x, y, label in rows] == [
        (s.start_time, s.end_time, (f"{s.speaker_id}: " if s.speaker_id else "") + one_line(spoken_text(s)))
        for s in a.segments
    ]

def maybe(x): return st.one_of(st.none(), x)
NUMBER = st.floats(-1e5, 1e5)
BASIC = st.builds(AcousticFeatures, maybe(NUMBER), maybe(NUMBER), maybe(NUMBER))
FULL = st.builds(
    FullFeatures,
    maybe(NUMBER),
    pitch_slope=maybe(NUMBER),
    voiced_fraction=maybe(st.floats(0, 1)),
    emphasis=maybe(NUMBER),
    volume_category=maybe(st.sampled_from(["soft", "loud"])),
    mfcc=maybe(st.tuples(*[NUMBER] * 13)),
    jitter=maybe(st.floats(0, 1)),
    reasons=st.dictionaries(st.sampled_from(["f1_hz", "jitter"]), st.sampled_from(["too_short", "unvoiced"])),
)

@st.composite
def measured(draw):
    a, features = draw(analysis()), st.one_of(BASIC, FULL) if draw(st.booleans()) else BASIC
    def heard(x): return replace(x, acoustic_features=draw(features))
    def word(w):
        others = draw(st.sampled_from([(), ("SPEAKER_01",), ("Anna B", "SPEAKER_02")]))
        w = replace(w, other_speakers=others, speaker_confidence=draw(maybe(st.floats(0, 1))))
        return replace(
            heard(w),
            confidence=draw(maybe(st.floats(0, 1))),
            timing=draw(maybe(st.sampled_from(["aligned", "interpolated"]))),
        )

    return replace(a, segments=tuple(replace(heard(s), words=tuple(map(word, s.words))) for s in a.segments))

def expected(record, **more): # a row, as the schema has it
    d = asdict(record) | more
    if "other_speakers" in d: d["other_speakers"] = ";".join(d["other_speakers"]) or None
    features = d.pop("acoustic_features")
    if "reasons" in features:
        features["reasons"] = ";".join(f"{k}={v}" for k, v in features["reasons"].items()) or None
    return {k: v for k, v in (d | features).items() if k not in ("words", "mfcc", "id", "space_before")} | {
        f"mfcc_{i}": x for i, x in enumerate(features.get("mfcc") or ())
    }


TEXTS = dict.fromkeys(
    ["word", "text", "speaker_id", "other_speakers", "timing", "kind", "volume_category", "reasons"], str
)


@given(measured())
@settings(max_examples=40, deadline=None)
def test_tables_of_every_measure_are_read_back(a):
    import pandas as pd

    tables = {
        "words": [expected(w, segment_id=s.id) for s in a.segments for w in s.words],
        "segments": [expected(s, segment_id=s.id) for s in a.segments],
    }
    for name, rows in tables.items():
        text = render(a, "csv")[f"{name}.csv"]
        header, *cells = read_table(text)
        assert header == list((words_table if name == "words" else segments_table)(a)) and set(header) >= {
            k for r in rows for k in r
        }
        plain = [{k: "" if r.get(k) is None else clean_text(str(r[k])) for k in header} for r in rows]
        assert [dict(zip(header, c)) for c in cells] == plain
        asked = {"dtype": TEXTS, "keep_default_na": False, "na_values": [""]}
        framed = pd.read_csv(io.BytesIO(text.encode()), encoding="utf-8-sig", **asked)
        stored = pd.read_parquet(io.BytesIO(render(a, "parquet")[f"{name}.parquet"]))
        for frame, emptied in ((framed, True), (stored, False)):
            assert list(frame.columns) == header and len(frame) == len(rows)
            for row, r in zip(frame.to_dict("records"), rows):
                for k, x in row.items():
                    # csv can't tell an empty text from none
                    known = r.get(k)
                    if emptied and isinstance(known, str): known = clean_text(known) or None
                    assert (
                        pd.isna(x)
                        if known is None
                        else isclose(x, known, rel_tol=1e-14)
                        if isinstance(known, float)
                        else x == known
                    ), (k, x, known)


def test_excel_finds_a_byte_order_mark_in_tables_and_nobody_else_does(tmp_path):
    korean = Segment(0, 0, 1, text="안녕 세계", words=(Word("안녕", 0, .5), Word("세계", .5, 1)))
    files = {p.name: p.read_bytes() for p in export(of(korean), tmp_path, "한글", FORMATS)}
    marked = {name for name, content in files.items() if content[:3] == b"\xef\xbb\xbf"}
    assert marked == {"한글.tsv", "한글.words.csv", "한글.segments.csv"}
    assert "안녕" in files["한글.words.csv"].decode("utf-8-sig")


@pytest.mark.parametrize("format", BOM_FORMATS)
def test_the_mark_is_a_choice_for_every_format_that_may_have_one(tmp_path, format):
    for wanted in ((), (format,)):
        for path in export(of(), tmp_path, "x", [format], bom=wanted):
            assert (path.read_bytes()[:3] == b"\xef\xbb\xbf") == bool(wanted)


@pytest.mark.parametrize("format", sorted(set(FORMATS) - set(BOM_FORMATS)))
def test_a_format_that_may_have_no_mark_gets_none(format):
    content = render_files(of(), format, bom=FORMATS)
    assert not any(c.startswith("\ufeff") for c in content.values() if isinstance(c, str))


@pytest.mark.parametrize("format", STYLED)
def test_captions_follow_a_style(tmp_path, format):
    words = " ".join(["seven"] * 30)
    a = of(one(words, *((i / 4, i / 4 + .25) for i in range(30))))
    narrow = {"max_chars": 20}
    (tmp_path / "narrow.toml").write_text("max_chars = 20")
    by_file, = export(a, tmp_path, "x", [format], style=tmp_path / "narrow.toml")
    assert by_file.read_text() == render(a, format, narrow) != render(a, format)
    with pytest.raises(ExportError, match="nearest is netflix"): render(a, format, "netflx")


@pytest.mark.parametrize("name", ["stl", "STL"])
def test_ebu_stl_is_refused_with_a_way_out(tmp_path, name):
    with pytest.raises(ExportError, match="take ttml .* or srt"): render(of(), name)
    with pytest.raises(SettingsError, match="take ttml .* or srt"): load_settings({"export.formats": f"json,{name}"})


def test_settings_of_export():
    how = load_settings({"export.style": "netflix", "export.bom": "srt, csv"}).export
    assert (how.style, how.bom) == ("netflix", ("srt", "csv"))
    assert load_settings({"export.bom": "none"}).export.bom == load_settings({"export.bom": ""}).export.bom == ()
    assert load_settings().export.bom == ("csv", "tsv") and load_settings().export.style is None
    with pytest.raises(SettingsError, match="no byte order mark in 'json'"): load_settings({"export.bom": "json"})
    with pytest.raises(SettingsError, match="nearest: youtube"): load_settings({"export.style": "youtub"})
    with pytest.raises(SettingsError, match="nowhere.toml: No such file"): load_settings({"export.style": "nowhere.toml"})


def test_a_styles_path_is_no_part_of_a_result(tmp_path):
    (tmp_path / "own.toml").write_text("max_chars = 20")
    settings = load_settings({"export.style": str(tmp_path / "own.toml")})
    assert "style" not in settings.model_dump(exclude=NOT_IN_METADATA)["export"]


def test_a_recording_called_like_a_comment_is_none():
    "In CTM and STM a line that begins with ;; is a comment"
    assert render(of(one("yes", (0, 1)), filename=";;x.wav"), "ctm").startswith("_x 1 ")


def test_parquet_keeps_its_types_where_nothing_is_known():
    import pyarrow.parquet as pq
    for name, content in render(of(), "parquet").items():
        table = pq.read_table(io.BytesIO(content))
        kinds = {f.name: str(f.type) for f in table.schema}
        assert (
            table.num_rows == 0
            and kinds["segment_id"] == "int64"
            and kinds["start_time"] == kinds["volume_db"] == "double"
        )
        assert kinds["word" if name == "words.parquet" else "text"] == kinds["speaker_id"] == "string"

def test_columns_of_features_are_there_when_the_features_are():
    basic = of(one("yes", (0, 1)))
    assert list(words_table(basic))[-3:] == ["volume_db", "pitch_hz", "spectral_centroid"]
    full = of(
        one("yes", (0, 1)),
        replace(one("no", (2, 3)), words=(Word("no", 2, 3, acoustic_features=FullFeatures(mfcc=range(13))),)),
    )
    table = words_table(full)
    assert list(table)[-13:] == [f"mfcc_{i}" for i in range(13)] and [len(v) for v in table.values()] == [
        2
    ] * len(table)
    assert table["mfcc_12"] == [None, 12] and "mfcc_0" not in segments_table(full)

def test_cells_that_look_like_formulas_are_written_as_they_were_said():
    words = "=1+1 +1 -1 @me '=x".split()
    a = of(one(" ".join(words), *((i, i + 1) for i in range(5))))
    assert [r["word"] for r in csv.DictReader(io.StringIO(render(a, "csv")["words.csv"]))] == words

def test_parquet_without_pyarrow_names_the_extra_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"ecg-audio-nb\[lab\]"):
        export(of(), tmp_path, "x", ["json", "parquet"])
    assert left(tmp_path) == []
    assert len(export(of(), tmp_path, "x", ["csv"])) == 2

def test_a_speaker_has_one_colour_in_ass_and_a_name_without_commas():
    yes, no, who = (
        one("yes", (0, 1), speaker_id="B, the *first"),
        one("no", (2, 3), speaker_id="A"),
        one("hm", (4, 5)),
    )
    a = replace(of(yes, no, who), speakers=(Speaker("A"), Speaker("B, the *first")))
    back = SSAFile.from_string(render(a, "ass"), format_="ass")
    assert [(e.name, e.plaintext) for e in back] == [("B  the *first", "yes"), ("A", "no"), ("", "hm")]
    white = caption_style().base_colour
    said_in = [ensure_contrast(PALETTE[1], 6.5), ensure_contrast(PALETTE[0], 6.5), white]
    for event, colour in zip(back, said_in):
        assert f"\\1c&H{colour[5:7]}{colour[3:5]}{colour[1:3]}&)" in event.text


def test_ass_refuses_what_it_has_no_time_for():
    def late(t):
        return Analysis((Segment(0, t, t + 1, text="late"),), (), (), Metadata("a.wav", duration=50000))

    (event,) = SSAFile.from_string(render(late(35998), "ass"), format_="ass")
    assert (event.start, event.end) == (35_998_000, 35_999_000)
    with pytest.raises(ExportError, match="10 h"): render(late(36000), "ass")

def one(text, *times, **kwargs):
    words = tuple(Word(w, *t) for w, t in zip(text.split(), times))
    return Segment(0, words[0].start_time, words[-1].end_time, text=text, words=words, **kwargs)

def of(*segments, filename="talk.mp4"): return Analysis(segments, (), (), Metadata(filename, duration=100))

def test_silence_stands_in_json_alone():
    words = (Word("Oh,", 0, .5), Word("[SILENCE]", .5, 1, kind="silence"), Word("God.", 1, 2))
    a = of(Segment(0, 0, 2, text="Oh, [SILENCE] God.", words=words))
    assert "[SILENCE] God." in render(a, "json")
    assert words_table(a)["kind"] == ["word", "silence", "word"]
    assert [line.split()[4] for line in render(a, "ctm").splitlines()] == [
        "Oh,",
        "God.",
    ] and "SILENCE" not in render(a, "TextGrid")
    for format in ("srt", "vtt", "txt", "tsv", "TextGrid", "audacity"):
        assert "SILENCE" not in render(a, format) and "Oh, God." in render(a, format)
    shown = {e.plaintext for e in SSAFile.from_string(render(a, "ass"), format_="ass")}
    assert " ".join(sorted(shown, reverse=True)) == "Oh, God."

def test_one_speaker_is_not_named_in_srt_several_are_at_each_change():
    yes, no = one("yes", (0, 1), speaker_id="SPEAKER_00"), one("no", (2, 3), speaker_id="SPEAKER_01")
    assert "SPEAKER" not in render(of(yes), "srt")
    again = one("so", (4, 5), speaker_id="SPEAKER_01")
    assert re.findall(r"^.*[a-z].*$", render(of(yes, no, again), "srt"), re.M) == [
        "SPEAKER_00: yes",
        "SPEAKER_01: no",
        "so",
    ]
    assert "<v SPEAKER_01>no</v>" in render(of(yes, no), "vtt")

def test_vtt_escapes_what_would_be_markup():
    assert "&lt;v Fake&gt; --&gt; &amp;" in render(
        of(one("<v Fake> --> &", (0, 1), (1, 2), (2, 3), (3, 4))), "vtt"
    )


def test_awkward_text_stays_on_one_line_of_a_table():
    a = of(
        Segment(0, 0, 1, text="a\tb\nc\r\u2028d", words=(Word("a\tb\nc\r\u2028d", 0, 1),), speaker_id="S\n1")
    )
    assert list(csv.reader(io.StringIO(render(a, "tsv")), delimiter="\t"))[1][3] == "a b c d"
    assert render(a, "txt").splitlines() == ["[00:00:00.000 --> 00:00:01.000] S 1: a b c d"]
    assert render(a, "audacity") == "0.000\t1.000\tS 1: a b c d\n" and render(a, "ctm") == (
        "talk 1 0.000 1.000 a_b_c_d\n"
    )
    assert (
        "<v S 1>a b c d</v>" in render(a, "vtt")
        and len(SSAFile.from_string(render(a, "ass"), format_="ass")) == 1
    )
    assert 'name = "S 1 words"' in render(a, "TextGrid") and 'text = "a b c d"' in render(a, "TextGrid")
    header, row = read_table(render(a, "csv")["words.csv"])
    assert dict(zip(header, row))["word"] == "a\tb\nc\n\nd"


@pytest.mark.parametrize(
    "name, uri",
    [
        ("a b\tc.mp4", "a_b_c"),
        ("한글 이름.wav", "한글_이름"),
        ("", "audio"),
        (" .wav", "audio"),
        ('say "hi".mp4', "say_hi_"),
    ],
)
def test_the_recording_of_an_rttm_has_no_spaces(tmp_path, name, uri):
    a = Analysis((), (Turn(0, 1, "SPEAKER_00"), Turn(2, 2, "SPEAKER_00")), (), Metadata(name, duration=5))
    path = write(tmp_path / "t.rttm", render(a, "rttm"))
    assert len(path.read_text().splitlines()) == 1 and list(load_rttm(str(path))) == [uri]

@pytest.mark.parametrize("format", WRITERS)
def test_a_file_in_which_nobody_spoke_has_valid_files(tmp_path, format):
    paths = export(of(), tmp_path, "silent", [format])
    assert (
        left(tmp_path)
        == sorted(p.name for p in paths)
        == sorted(f"silent.{ending}" for ending in render_files(of(), format))
    )
    if format == "parquet": return
    text = paths[0].read_text()
    if format in ("srt", "vtt", "ass"): assert len(SSAFile.from_string(text, format_=format)) == 0
    if format == "rttm": assert load_rttm(str(paths[0])) == {}
    if format == "json": assert text.endswith("}\n") and json.loads(text)["segments"] == []
    if format == "tsv": assert text == "\ufeffstart\tend\tspeaker\ttext\n"
    if format == "TextGrid": assert read_textgrid(paths[0]) == TextGrid(100, {"words": []})
    if format == "eaf": assert Eaf(str(paths[0])).get_annotation_data_for_tier("words") == []
    if format == "ttml": assert "<div />" in text
    if format == "csv": assert [p.read_text().count("\n") for p in paths] == [1, 1]
    if format in ("txt", "ctm", "audacity"): assert text == ""

def test_every_format_of_the_settings_has_a_writer_and_no_two_share_a_file(tmp_path):
    assert tuple(WRITERS) == FORMATS
    names = [p.name for p in export(of(), tmp_path, "x", FORMATS)]
    assert len({n.lower() for n in names}) == len(names) == len(FORMATS) + 2
    assert "x.audacity.txt" in names and {
        "x.words.csv",
        "x.segments.csv",
        "x.words.parquet",
        "x.segments.parquet",
    } < set(names)


def test_the_usual_formats_are_written_where_none_are_asked_for(tmp_path):
    assert [p.name for p in export(of(), tmp_path, "x")] == [f"x.{f}" for f in DEFAULT_FORMATS]

# --- writing

def left(folder): return sorted(p.name for p in folder.rglob("*"))

def test_an_unknown_format_writes_nothing_and_names_the_nearest(tmp_path):
    with pytest.raises(ExportError, match="nearest is srt"):
        export(of(), tmp_path / "new", "x", ["json", "srtt"])
    with pytest.raises(ExportError, match="Known: json, srt"): render(of(), "?")
    assert left(tmp_path) == []

def test_formats_may_be_one_string_and_double_ones_count_once(tmp_path):
    assert [p.name for p in export(of(), tmp_path, "x", "srt, json,srt")] == ["x.srt", "x.json"]

@pytest.mark.parametrize("stem", ["", ".", "a/b", "../x", "/x"])
def test_a_stem_cannot_leave_the_folder(tmp_path, stem):
    with pytest.raises(ExportError, match="file's name"): export(of(), tmp_path, stem, ["txt"])

@pytest.mark.parametrize("stem", ["two words", "한국어", "..dots", "x" * 240, "a\\b", "\udcff"])
def test_unusual_stems_are_written(tmp_path, stem):
    assert (
        [p.name for p in export(of(), tmp_path, stem, ["json"])] == [stem + ".json"] == os.listdir(tmp_path)
    )


@pytest.mark.parametrize("stem", ["x" * 300, "null\0byte"])
def test_names_the_file_system_refuses_are_one_clear_error(tmp_path, stem):
    with pytest.raises(ExportError, match="can't write"): export(of(), tmp_path, stem, ["json"])
    assert left(tmp_path) == []

def test_text_that_is_no_unicode_still_makes_valid_utf8(tmp_path):
    path, = export(of(filename="bad\udcffname.mp4"), tmp_path, "x", ["json"])
    assert json.loads(path.read_bytes().decode("utf-8"))["metadata"]["filename"] == "bad\ufffdname.mp4"

def test_a_number_json_does_not_have_is_refused_before_anything_is_written(tmp_path):
    a = Analysis((), (), (), Metadata("a.mp4", settings={"x": float("nan")}))
    try: export(a, tmp_path, "x", ["txt", "json"])
    except ValueError: assert left(tmp_path) == []
    else: assert json.loads((tmp_path / "x.json").read_text())["metadata"]["settings"] == {"x": None}

@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), OSError(30, "Read-only file system"), KeyboardInterrupt()],
)
def test_a_failure_at_any_step_leaves_what_stood_there(tmp_path, monkeypatch, step, error):
    path = write(tmp_path / "a.json", "old")
    def fail(*args): raise error
    monkeypatch.setattr(os, step, fail)
    expected = (
        (KeyboardInterrupt, None)
        if isinstance(error, KeyboardInterrupt)
        else (ExportError, f"can't write .*a.json: {error.strerror}")
    )
    with pytest.raises(expected[0], match=expected[1]): write(path, "new" * 1000)
    assert (left(tmp_path), path.read_text()) == (["a.json"], "old")

def test_a_disk_that_fills_up_half_way_leaves_what_stood_there(tmp_path):
    (tmp_path / "a.json").write_text("old")
    code = """if True:
        import resource, sys
        from ecg_audio_nb.results.export import ExportError, write_files
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try: write_files({sys.argv[1]: b"x" * 10_000_000})
        except ExportError as e: print(e)"""
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.json"], capture_output=True, text=True, check=True
    )
    assert "can't write" in run.stdout and "too large" in run.stdout
    assert (left(tmp_path), (tmp_path / "a.json").read_text()) == (["a.json"], "old")

def test_nobody_sees_half_a_file(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt", "old")
    seen, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (fsync(fd), seen.append((path.read_text(), left(tmp_path)))))
    write(path, "new")
    (text, (hidden, name)), = seen
    assert text == "old" and name == "a.txt" and hidden.startswith(".") and hidden.endswith(".part")
    assert (path.read_text(), left(tmp_path)) == ("new", ["a.txt"])

def test_of_several_files_none_is_written_where_one_cannot_be(tmp_path, monkeypatch):
    write_files({tmp_path / "a": "old", tmp_path / "b": "old"})
    (tmp_path / "c").mkdir()
    with pytest.raises(ExportError, match="can't write .*/c: it is a folder"):
        write_files({tmp_path / n: "new" for n in "abcd"})
    assert (left(tmp_path), (tmp_path / "a").read_text()) == (["a", "b", "c"], "old")
    # one name is too long
    with pytest.raises(ExportError, match="can't write"):
        export(of(), tmp_path, "x" * 240, ["json", "parquet"])
    fsync, done = os.fsync, []
    def full(fd):
        if len(done) == 2: raise OSError(28, "No space left on device")
        done.append(fsync(fd))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match="can't write .*/d: No space"):
        write_files({tmp_path / n: "new" for n in "abd"})
    assert (left(tmp_path), (tmp_path / "a").read_text()) == (["a", "b", "c"], "old")

def test_a_folder_a_device_and_a_place_below_a_file_are_errors(tmp_path):
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ExportError, match="it is a folder"): write(tmp_path / "folder.json", "x")
    with pytest.raises(ExportError, match="it is a device"): write("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="can't write .*is a file, not a folder"):
        write(tmp_path / "file/a.json", "x")
    with pytest.raises(ExportError, match="can't write"): write("/proc/nowhere/a.json", "x")

def test_a_link_stays_a_link_and_the_usual_permissions_hold(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"
    (tmp_path / "plain.txt").touch()
    assert write(tmp_path / "made.txt", b"\xff").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode

def test_relative_paths_and_new_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        export(of(), "new/deeper", "x", ["txt"]) == [Path("new/deeper/x.txt")]
        and Path("new/deeper/x.txt").is_file()
    )
