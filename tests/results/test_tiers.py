"""TextGrid and EAF: what Praat's and ELAN's own readers, or their doubles, find on the tiers"""
import mimetypes
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from made_results import AWKWARD, analysis, result, said
from praatio import textgrid
from pympi.Elan import Eaf

from ecg_audio_nb.core.text import one_line
from ecg_audio_nb.core.textgrid import TextGridError, read_textgrid
from ecg_audio_nb.results.export import write_files
from ecg_audio_nb.results.tiers import (
    Interval, separate, speaker_tiers, tier_name, timed_words, to_eaf, to_textgrid)  # fmt: skip
from ecg_audio_nb.schema import Analysis, Metadata, RunTiming, Segment, Speaker, Turn, Word, with_names


def grid(path, a):
    "The tiers as praatio reads them; it raises where intervals overlap"
    write_files({path: to_textgrid(a)})
    read = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    return read, {name: [tuple(e) for e in read.getTier(name).entries] for name in read.tierNames}


def elan(path, a):
    "The tiers as pympi reads them"
    write_files({path: to_eaf(a)})
    read = Eaf(str(path))
    return {name: sorted(read.get_annotation_data_for_tier(name)) for name in read.get_tier_names()}


def ours(a): return {t.name: [(i.start_time, i.end_time, i.label) for i in t.intervals] for t in speaker_tiers(a)}


# praatio splits a file at what looks like the head of an item: such a label is Praat's business alone
def readable(a): return not any("item [" in w.word or 'text = "' in w.word for w in a.words)


@given(analysis().filter(readable))
@settings(max_examples=80, deadline=None)
def test_tiers_of_a_textgrid_are_read_back_whole_and_without_overlap(tmp_path_factory, a):
    read, tiers = grid(tmp_path_factory.mktemp("grid") / "a.TextGrid", a)
    assert (read.minTimestamp, read.maxTimestamp) == (0, a.metadata.duration)
    for spans in tiers.values():
        assert spans[0][0] == 0 and spans[-1][1] == a.metadata.duration
        assert all(start < end for start, end, _ in spans)
        assert all(x[1] == y[0] for x, y in zip(spans, spans[1:]))
    assert {name: [s for s in spans if s[2]] for name, spans in tiers.items()} == {
        name: [s for s in spans if s[2]] for name, spans in ours(a).items()
    }


@given(analysis())
@example(result(said(0, " ".join(AWKWARD))))
@settings(max_examples=80, deadline=None)
def test_our_own_reader_reads_every_label(tmp_path_factory, a):
    path = tmp_path_factory.mktemp("grid") / "a.TextGrid"
    write_files({path: to_textgrid(a)})
    read = read_textgrid(path)
    assert read.end_time == a.metadata.duration
    assert read.tiers == {name: [s for s in spans if s[2].strip()] for name, spans in ours(a).items()}


@given(analysis())
@example(result(said(0, " ".join(AWKWARD))))
@settings(max_examples=80, deadline=None)
def test_annotations_of_an_eaf_are_read_back(tmp_path_factory, a):
    read = elan(tmp_path_factory.mktemp("eaf") / "a.eaf", a)
    assert read == {
        name: [(round(1000 * start), round(1000 * end), label) for start, end, label in spans]
        for name, spans in ours(a).items()
    }


@given(analysis())
@settings(max_examples=60, deadline=None)
def test_every_word_stands_on_its_speakers_tier_once_and_in_order(a):
    tiers = {t.name: t for t in speaker_tiers(a)}
    for who in {s.speaker_id for s in a.segments}:
        own = [s for s in a.segments if s.speaker_id == who]
        words = sorted(((w.start_time, one_line(w.word)) for s in own for w in timed_words(s)), key=lambda w: w[0])
        labels = [i.label for i in tiers[f"{tier_name(who)} words"].intervals] if words else []
        assert " ".join(labels).split() == " ".join(word for _, word in words).split()
    spoken = [w for w in a.words if w.kind == "word"]
    for tier in speaker_tiers(a):
        if tier.kind == "words":
            for interval in tier.intervals:
                assert interval.label.split() == " ".join(one_line(spoken[n].word) for n in interval.numbers).split()
                assert all(interval.start_time <= spoken[n].start_time <= interval.end_time for n in interval.numbers)


def test_a_label_that_looks_like_the_file_itself_is_a_label(tmp_path):
    label = 'item [2]: class = "IntervalTier" 0 100 <exists>'
    a = result(Segment(0, 1, 2, text=label, words=(Word(label, 1, 2),)))
    write_files({tmp_path / "a.TextGrid": to_textgrid(a)})
    assert read_textgrid(tmp_path / "a.TextGrid").tiers["UNKNOWN words"] == [(1, 2, label)]


def test_praat_itself_reads_the_grid(tmp_path):
    parselmouth = pytest.importorskip("parselmouth")
    said_words = ["say", '"hi"', '""', "안녕하세요", "😀", "a\\N", "{x}", "\\a:", "100%", "item", "[1]:", "<exists>", "!",
                  "xmin", "=", "R&D"]  # fmt: skip
    words = tuple(Word(w, i, i + .8) for i, w in enumerate(said_words))
    a = result(Segment(0, 0, 15.8, speaker_id='A "b"', text=" ".join(said_words), words=words))
    write_files({tmp_path / "a.TextGrid": to_textgrid(a)})
    read = parselmouth.read(str(tmp_path / "a.TextGrid"))
    def ask(*question): return parselmouth.praat.call(read, *question)

    count = int(ask("Get number of tiers"))
    assert [ask("Get tier name...", i + 1) for i in range(count)] == ['A "b" segments', 'A "b" words']
    words = [
        (ask("Get start time of interval...", 2, i + 1), ask("Get label of interval...", 2, i + 1))
        for i in range(int(ask("Get number of intervals...", 2)))
    ]
    assert [w for w in words if w[1]] == list(enumerate(said_words)) and ask("Get end time") == 100
    assert ask("Get label of interval...", 1, 1) == " ".join(said_words)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_praat_saves_in_several_encodings(tmp_path, encoding):
    path = tmp_path / "a.TextGrid"
    path.write_text(to_textgrid(result(said(0, "안녕 세계"))), encoding=encoding)
    assert [label for *_, label in read_textgrid(path).tiers["SPEAKER_00 words"]] == ["안녕", "세계"]


def test_short_files_and_point_tiers_are_read(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2.5\n<exists>\n2\n"TextTier"\n"clicks"\n0\n2.5\n1\n'
        '0.5\n"a ""click"""\n"IntervalTier"\n"words"\n0\n2.5\n3\n0\n1e-1\n""\n0.1\n0.75\n"so"\n0.75\n2.5\n" "\n'
    )
    assert read_textgrid(path).tiers == {"words": [(0.1, 0.75, "so")]} and read_textgrid(path).end_time == 2.5


@pytest.mark.parametrize("content", ["", "hello", 'File type = "ooTextFile"\nObject class = "Pitch"\n',
                                     'File type = "ooTextFile"\nObject class = "TextGrid"\n0\n1\n<exists>\n1\n"Inter'])  # fmt: skip
def test_other_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "a.TextGrid").write_text(content)
    with pytest.raises(TextGridError, match="a.TextGrid"): read_textgrid(tmp_path / "a.TextGrid")


def test_what_overlaps_in_one_voice_is_one_interval(tmp_path):
    turns = Turn(0, 2, "A"), Turn(1, 3, "A"), Turn(2, 4, "B"), Turn(5, 5, "B"), Turn(3, 3.5, "A")
    segments = (Segment(0, 6, 8, speaker_id='C "x"', text='say "hi"'), Segment(1, 7, 9, speaker_id='C "x"', text="oh"))
    a = Analysis(segments, turns, (), Metadata("a.wav", duration=10))
    assert grid(tmp_path / "a.TextGrid", a)[1] == {
        'C "x" segments': [(0, 6, ""), (6, 9, 'say "hi" oh'), (9, 10, "")],
        "A turns": [(0, 3, "A"), (3, 3.5, "A"), (3.5, 10, "")],
        "B turns": [(0, 2, ""), (2, 4, "B"), (4, 5, ""), (5, 5.001, "B"), (5.001, 10, "")],
    }
    assert elan(tmp_path / "a.eaf", a)["A turns"] == [(0, 3000, "A"), (3000, 3500, "A")]
    joined = separate([Interval(0, 2, "a", (0,)), Interval(1, 3, "b", (1,))], 10)
    assert joined == [Interval(0, 3, "a b", (0, 1))]


@pytest.mark.parametrize("duration", [0, 5])
def test_words_of_no_length_at_the_end_of_a_file_stay_inside(tmp_path, duration):
    words = Word("no", duration, duration), Word("way", duration, duration)
    a = Analysis((Segment(0, duration, duration, text="no way", words=words),), (), (), Metadata("a.wav", duration=duration))
    end = duration or .001
    assert grid(tmp_path / "a.TextGrid", a)[1]["UNKNOWN words"][-1] == (round(end - .001, 3), end, "no way")


# EAF

def tree(a): return ElementTree.fromstring(to_eaf(a))


def test_an_eaf_has_what_its_schema_asks_for():
    "EAF 3.0: the order of elements, required attributes, names that are unique and lead somewhere"
    a = result(said(0, "to the market"), said(1, "uh-huh", 5, speaker="B"))
    a = replace(a, metadata=replace(a.metadata, timing=RunTiming(processed_at="2026-01-02T03:04:05+00:00")))
    root = tree(a)
    assert root.tag == "ANNOTATION_DOCUMENT" and root.get("VERSION") == root.get("FORMAT") == "3.0"
    assert root.get("DATE") == "2026-01-02T03:04:05+00:00" and root.get("AUTHOR")
    assert [e.tag for e in root] == ["HEADER", "TIME_ORDER", *["TIER"] * 4, "LINGUISTIC_TYPE"]
    assert [e.tag for e in root[0]] == ["MEDIA_DESCRIPTOR", "PROPERTY"] and root[0].get("TIME_UNITS") == "milliseconds"
    slots = {s.get("TIME_SLOT_ID"): int(s.get("TIME_VALUE")) for s in root.iter("TIME_SLOT")}
    values = list(slots.values())
    assert values == sorted(values) and len(slots) == len(list(root.iter("TIME_SLOT")))
    annotations = list(root.iter("ALIGNABLE_ANNOTATION"))
    assert len({x.get("ANNOTATION_ID") for x in annotations}) == len(annotations) == 6
    assert all(slots[x.get("TIME_SLOT_REF1")] < slots[x.get("TIME_SLOT_REF2")] for x in annotations)
    assert {t.get("LINGUISTIC_TYPE_REF") for t in root.iter("TIER")} == {root[-1].get("LINGUISTIC_TYPE_ID")}
    assert [t.get("PARTICIPANT") for t in root.iter("TIER")] == ["B", "B", "SPEAKER_00", "SPEAKER_00"]


@pytest.mark.parametrize("name, kind", [("market day.mp4", "video/mp4"), ("한글 100%.wav", None), ("talk", "unknown")])
def test_an_eaf_names_its_recording_as_elan_does(name, kind):
    "ELAN looks for the name as it is written: %20 would be another file"
    media = tree(result(filename=name))[0][0]
    assert media.get("MEDIA_URL") == f"file:///{name}" and media.get("RELATIVE_MEDIA_URL") == f"./{name}"
    assert media.get("MIME_TYPE") == (kind or mimetypes.guess_type("a.wav")[0])


def test_known_names_stand_on_the_tiers():
    a = result(said(0, "hello"), speakers=(Speaker("SPEAKER_00", name="Anna Lee"),))
    assert list(ours(with_names(a))) == ["Anna Lee segments", "Anna Lee words"] and "Anna Lee words" in to_textgrid(a)
    assert [t.get("PARTICIPANT") for t in tree(a).iter("TIER")] == ["Anna Lee", "Anna Lee"]
