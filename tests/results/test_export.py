"""Files made of an analysis: what other tools read back, captions that hold their rules, and writing that is
whole or not at all"""
import csv, io, json, os, re, stat, subprocess, sys
from dataclasses import asdict, replace
from html import unescape
from math import isclose
from pathlib import Path
import pytest
from hypothesis import given, settings, strategies as st
from praatio import textgrid
from pyannote.database.util import load_rttm
from pysubs2 import SSAFile
from ecg_audio_nb.core.html import PALETTE
from ecg_audio_nb.results.captions import caption_style, ensure_contrast, to_ass
from ecg_audio_nb.results.caption_styles import caption_cues
from ecg_audio_nb.results.cues import spoken_text, spoken_words
from ecg_audio_nb.results.cues import ExportError
from ecg_audio_nb.results.export import (
    WRITERS, export, render, render_files, segments_table, timed_words, words_table,
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
from ecg_audio_nb.settings import FORMATS, DEFAULT_FORMATS

WORDS = st.one_of(
    st.sampled_from(
        [
            "a",
            "yes,",
            "Okay.",
            "market",
            "extraordinarily",
            "[noise]",
            "R&D",
            "<b>",
            "{\\an8}",
            "C:\\new",
            "7",
            "100%",
            "안녕하세요",
            "東京",
            "--",
            '"quoted"',
            "x" * 60,
            "😀",
            "👩‍👩‍👧",
            "{x}",
            "a\\N",
            "\\{",
            "}",
            "&amp;",
            "a,b",
            "=1+1",
            "+1",
            "-",
            "@me",
            "'",
            "NA",
            "null",
            "",
            "a b",
        ]
    ),
    st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=12),
)

@st.composite
def segment(draw, id, spaced=True):
    start = draw(st.integers(0, 20000))
    at, words = start, []
    for text in draw(st.lists(WORDS, max_size=25)):
        at += draw(st.sampled_from([0, 0, 40, 200, 900, 1000, 2500]))
        end = at + draw(st.sampled_from([0, 1, 80, 300, 700, 3000]))
        silent = draw(st.integers(0, 9)) == 0
        words.append(
            Word("[SILENCE]" if silent else text, at / 1000, end / 1000, kind="silence" if silent else "word")
        )
        at = draw(st.integers(at, end))
    last = max([w.end_time for w in words], default=start / 1000 + draw(st.sampled_from([0, 1])))
    text = (" " if spaced else "").join(w.word for w in words)
    return Segment(
        id,
        start / 1000,
        last,
        speaker_id=draw(st.sampled_from(["SPEAKER_00", "SPEAKER_01", "SPEAKER_02", None])),
        text=text,
        words=tuple(words),
    )

@st.composite
def analysis(draw):
    spaced = draw(st.booleans())
    found = sorted(
        (draw(segment(i, spaced)) for i in range(draw(st.integers(0, 4)))), key=lambda s: s.start_time
    )
    turns = tuple(Turn(s.start_time, s.end_time, s.speaker_id) for s in found if s.speaker_id)
    return Analysis(tuple(found), turns, (), Metadata("my talk.mp4", duration=1000))

def write(path, content): return write_files({path: content})[0]

def spoken(a):
    return [(w.start_time, n, text, w) for n, s in enumerate(a.segments) for text, w in spoken_words(s)]


def bare(text): return "".join(text.replace("\u2060", "").split())

# rows of people who talk at once keep their own order, so compare as a bag
def letters(text): return sorted(bare(text))

@given(analysis())
@settings(max_examples=150, deadline=None)
def test_captions_are_read_back_with_the_same_times_and_text(a):
    shown = caption_cues(a)
    for format in ("srt", "vtt"):
        # left as it is: pysubs2 takes a last line of digits alone for the number of a next cue, and <b> for a
        # style
        back = SSAFile.from_string(render(a, format) + "\n\n0\n", format_=format, keep_html_tags=True)
        assert [(e.start, e.end) for e in back] == [
            (round(c.start_time * 1000), round(c.end_time * 1000)) for c in shown
        ]
        for e, c in zip(back, shown):
            text = e.text.replace(r"\N", "\n")
            if format == "vtt": text = unescape(re.sub("</?v[^>]*>", "", text))
            rows = [replace(row, name="") if format == "vtt" else row for row in c.rows]
            assert text.replace("\u2060", "") == "\n".join(line for row in rows for line in row.texts)

@given(analysis())
@settings(max_examples=100, deadline=None)
def test_tables_are_read_back(a):
    rows = list(csv.reader(io.StringIO(render(a, "tsv")), delimiter="\t"))
    assert rows[0] == ["start", "end", "speaker", "text"]
    assert rows[1:] == [
        [str(round(s.start_time * 1000)), str(round(s.end_time * 1000)), s.speaker_id or "", spoken_text(s)]
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
    # a dash stands before each of two speakers
    assert shown <= {
        "-", *(c for s in a.segments for c in bare(spoken_text(s)).replace("{", "❴").replace("}", "❵"))
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
        ((w.start_time, w.duration, w) for s in a.segments for w in s.words if w.kind == "word" and w.word),
        key=lambda x: x[0],
    )
    rows = [line.split(" ") for line in render(a, "ctm").splitlines()]
    assert len(rows) == len(said) == sum(len(timed_words(s)) for s in a.segments)
    for (name, channel, start, duration, word, *sure), (t, d, w) in zip(rows, said):
        assert (name, channel, word) == ("my_talk", "1", w.word.replace(" ", "_"))
        assert (float(start), float(duration)) == (t, d) and [float(x) for x in sure] == (
            [] if w.confidence is None else [w.confidence]
        )


def grid(path, a):
    # raises where intervals overlap
    read = textgrid.openTextgrid(str(write(path, render(a, "TextGrid"))), includeEmptyIntervals=True)
    return read, {name: [tuple(e) for e in read.getTier(name).entries] for name in read.tierNames}

@given(analysis())
@settings(max_examples=100, deadline=None)
def test_tiers_are_read_back_whole_and_without_overlap(tmp_path_factory, a):
    read, tiers = grid(tmp_path_factory.mktemp("grid") / "a.TextGrid", a)
    assert (read.minTimestamp, read.maxTimestamp) == (0, a.metadata.duration)
    for spans in tiers.values():
        assert spans[0][0] == 0 and spans[-1][1] == a.metadata.duration
        assert all(start < end for start, end, _ in spans) and all(
            x[1] == y[0] for x, y in zip(spans, spans[1:])
        )
    for who in {s.speaker_id for s in a.segments}:
        own = [s for s in a.segments if s.speaker_id == who]
        words = sorted(
            ((w.start_time, w.end_time, w.word) for s in own for w in timed_words(s)), key=lambda w: w[0]
        )
        kept = tiers.get(f"{who or 'UNKNOWN'} words", [])
        # nothing lost, nothing twice, in order
        assert " ".join(label for *_, label in kept if label) == " ".join(w for *_, w in words)
        for i, (start, end, word) in enumerate(words):
            alone = all(y[1] <= start or y[0] >= end for j, y in enumerate(words) if j != i)
            # by a word of no length, which gets a millisecond
            touched = any(y[0] == y[1] == start for j, y in enumerate(words) if j != i)
            if start < end and alone and not touched: assert (start, end, word) in kept
            assert any(x <= start <= y and y >= end and word in label for x, y, label in kept)
        texts = [label for *_, label in tiers[f"{who or 'UNKNOWN'} segments"] if label]
        assert " ".join(texts) == " ".join(filter(None, map(spoken_text, own)))

@given(analysis())
@settings(max_examples=50, deadline=None)
def test_labels_are_read_back(a):
    rows = [line.split("\t") for line in render(a, "audacity").splitlines()]
    assert [(float(x), float(y), label) for x, y, label in rows] == [
        (s.start_time, s.end_time, (f"{s.speaker_id}: " if s.speaker_id else "") + spoken_text(s))
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
    return {k: v for k, v in (d | features).items() if k not in ("words", "mfcc", "id")} | {
        f"mfcc_{i}": x for i, x in enumerate(features.get("mfcc") or ())
    }


TEXTS = dict.fromkeys(
    ["word", "text", "speaker_id", "other_speakers", "timing", "kind", "volume_category"], str
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
        header, *cells = csv.reader(io.StringIO(text, newline=""))
        assert header == list((words_table if name == "words" else segments_table)(a)) and set(header) >= {
            k for r in rows for k in r
        }
        plain = [{k: "" if r.get(k) is None else str(r[k]) for k in header} for r in rows]
        assert [dict(zip(header, c)) for c in cells] == plain
        framed = pd.read_csv(io.StringIO(text), dtype=TEXTS, keep_default_na=False, na_values=[""])
        stored = pd.read_parquet(io.BytesIO(render(a, "parquet")[f"{name}.parquet"]))
        for frame, emptied in ((framed, True), (stored, False)):
            assert list(frame.columns) == header and len(frame) == len(rows)
            for row, r in zip(frame.to_dict("records"), rows):
                for k, x in row.items():
                    # csv can't tell an empty text from none
                    known = r.get(k) if not emptied or r.get(k) != "" else None
                    assert (
                        pd.isna(x)
                        if known is None
                        else isclose(x, known, rel_tol=1e-14)
                        if isinstance(known, float)
                        else x == known
                    ), (k, x, known)


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

def test_what_overlaps_in_one_voice_is_one_interval(tmp_path):
    turns = Turn(0, 2, "A"), Turn(1, 3, "A"), Turn(2, 4, "B"), Turn(5, 5, "B"), Turn(3, 3.5, "A")
    a = Analysis(
        (
            Segment(0, 6, 8, speaker_id='C "x"', text='say "hi"'),
            Segment(1, 7, 9, speaker_id='C "x"', text="oh"),
        ),
        turns,
        (),
        Metadata("a.wav", duration=10),
    )
    assert grid(tmp_path / "a.TextGrid", a)[1] == {
        'C "x" segments': [(0, 6, ""), (6, 9, 'say "hi" oh'), (9, 10, "")],
        "A turns": [(0, 3, "A"), (3, 3.5, "A"), (3.5, 10, "")],
        "B turns": [(0, 2, ""), (2, 4, "B"), (4, 5, ""), (5, 5.001, "B"), (5.001, 10, "")],
    }

def test_praat_itself_reads_the_grid(tmp_path):
    parselmouth = pytest.importorskip("parselmouth")
    said = [
        "say",
        '"hi"',
        '""',
        "안녕하세요",
        "😀",
        "a\\N",
        "{x}",
        "\\a:",
        "100%",
        "item",
        "[1]:",
        "<exists>",
        "!",
        "xmin",
        "=",
        "R&D",
    ]
    a = of(one(" ".join(said), *((i, i + .8) for i in range(len(said))), speaker_id='A "b"'))
    read = parselmouth.read(str(write(tmp_path / "a.TextGrid", render(a, "TextGrid"))))
    def ask(*question): return parselmouth.praat.call(read, *question)

    assert [ask("Get tier name...", i + 1) for i in range(int(ask("Get number of tiers")))] == [
        'A "b" segments',
        'A "b" words',
    ]
    words = [
        (ask("Get start time of interval...", 2, i + 1), ask("Get label of interval...", 2, i + 1))
        for i in range(int(ask("Get number of intervals...", 2)))
    ]
    assert [w for w in words if w[1]] == list(enumerate(said)) and ask("Get end time") == 100
    assert ask("Get label of interval...", 1, 1) == " ".join(said)

@pytest.mark.parametrize("duration", [0, 5])
def test_words_of_no_length_at_the_end_of_a_file_stay_inside(tmp_path, duration):
    words = Word("no", duration, duration), Word("way", duration, duration)
    a = Analysis(
        (Segment(0, duration, duration, text="no way", words=words),),
        (),
        (),
        Metadata("a.wav", duration=duration),
    )
    end = duration or .001
    assert grid(tmp_path / "a.TextGrid", a)[1]["UNKNOWN words"][-1] == (round(end - .001, 3), end, "no way")

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
    assert (
        next(csv.DictReader(io.StringIO(render(a, "csv")["words.csv"], newline="")))["word"]
        == "a\tb\nc\r\u2028d"
    )


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
    if format == "tsv": assert text == "start\tend\tspeaker\ttext\n"
    if format == "TextGrid": assert grid(paths[0], of())[1] == {"words": [(0, 100, "")]}
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
    assert json.loads(path.read_bytes().decode("utf-8"))["metadata"]["filename"] == "bad?name.mp4"

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
