"""SubRip, WebVTT and TTML: what independent readers find in them is what was said, whatever it looks like"""
import io
import re
from dataclasses import replace
from fractions import Fraction
from html import unescape
from xml.etree import ElementTree

import av
import pytest
import ttconv.imsc.reader
import ttconv.srt.reader
import ttconv.vtt.reader
import webvtt
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_results import ANY_TEXT, AWKWARD, analysis, result, said
from pysubs2 import SSAFile
from ttconv import model
from ttconv.filters.doc.imsc11text import IMSC11TextFilter
from ttconv.style_properties import DirectionType, StyleProperties

from ecg_audio_nb.core.text import clean_text
from ecg_audio_nb.results.caption_styles import caption_cues
from ecg_audio_nb.results.subtitles import guard_breaks, guard_commands, restore_text, to_srt, to_ttml, to_vtt
from ecg_audio_nb.schema import MediaInfo, Speaker, VideoInfo


# Readers: each returns start and end in milliseconds, and the text

def by_pysubs2(text, kind):
    for event in SSAFile.from_string(text, format_=kind, keep_html_tags=True):
        shown = event.text.replace(r"\N", "\n")
        if kind == "vtt": shown = unescape(re.sub("</?v[^>]*>", "", shown))
        yield event.start, event.end, restore_text(shown, kind)


def by_webvtt(text, kind):
    for caption in webvtt.from_string(text):
        start, end = (sum(int(x) * k for x, k in zip(re.split("[:.]", t), (3_600_000, 60_000, 1000, 1)))
                      for t in (caption.start, caption.end))  # fmt: skip
        yield start, end, restore_text(unescape(caption.text), kind)


def paragraphs(document):
    for paragraph in document.get_body().dfs_iterator():
        if isinstance(paragraph, model.P): yield paragraph


def by_ttconv(text, kind):
    if kind == "ttml": document = ttconv.imsc.reader.to_model(ElementTree.parse(io.StringIO(text)))
    else: document = {"srt": ttconv.srt, "vtt": ttconv.vtt}[kind].reader.to_model(io.StringIO(text))
    for paragraph in paragraphs(document):
        parts = [
            element.get_text() if isinstance(element, model.Text) else "\n"
            for element in paragraph.dfs_iterator()
            if isinstance(element, (model.Text, model.Br))
        ]
        start, end = (round(1000 * (t or 0)) for t in (paragraph.get_begin(), paragraph.get_end()))
        yield start, end, restore_text("".join(parts), kind) if kind != "ttml" else "".join(parts)


def expected(a, kind):
    for cue in caption_cues(a):
        rows = [replace(row, name="") if kind == "vtt" else row for row in cue.rows]
        text = "\n".join("\n".join(row.texts).strip() for row in rows)
        yield round(cue.start_time * 1000), round(cue.end_time * 1000), text


WRITERS = {"srt": to_srt, "vtt": to_vtt, "ttml": to_ttml}
READERS = [
    ("srt", by_pysubs2), ("srt", by_ttconv), ("vtt", by_pysubs2), ("vtt", by_webvtt), ("vtt", by_ttconv),
    ("ttml", by_ttconv),
]  # fmt: skip


@pytest.mark.parametrize("kind, read", READERS, ids=lambda x: getattr(x, "__name__", x))
@given(a=analysis())
@example(a=result(said(0, " ".join(AWKWARD))))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(kind, read, a):
    wanted = list(expected(a, kind))
    assert list(read(WRITERS[kind](a), kind)) == wanted


@pytest.mark.parametrize("kind", WRITERS)
@given(text=st.lists(ANY_TEXT, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_letter_of_a_speaker_is_lost(kind, text):
    a = result(said(0, " ".join(text) + " end", speaker=None))
    read = "".join(shown for _, _, shown in by_ttconv(WRITERS[kind](a), kind))
    words = "".join(clean_text(w.word) for w in a.words)
    assert "".join(read.split()) == "".join(words.split())


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_ffmpeg_takes_no_word_for_a_command(tmp_path, kind):
    "FFmpeg turns captions into SubStation Alpha, in which it escapes a WebVTT text by word joiners of its own"
    a = result(*(said(i, text, 10 * i, speaker=None) for i, text in enumerate(AWKWARD) if text.split()), duration=1000)
    path = tmp_path / f"a.{kind}"
    path.write_text(WRITERS[kind](a), encoding="utf-8")
    with av.open(path) as file:
        lines = [s.ass.decode() for p in file.demux(file.streams.subtitles[0]) for s in p.decode()]
    shown = [line.split(",", 8)[8].replace(r"\N", "\n").replace(r"\{{}", "{") for line in lines]
    if kind == "vtt": shown = [text.replace("\\\u2060", "\\") for text in shown]
    assert [restore_text(text, kind) for text in shown] == [text for *_, text in expected(a, kind)]


@given(st.one_of(ANY_TEXT, st.text(st.sampled_from("<>/ab{}\\Nn&;-\u2060\n 1:,.")), st.sampled_from(AWKWARD)))
@settings(max_examples=500)
def test_what_guards_a_text_is_removed_again(text):
    text = "\n".join(line.strip() for line in text.split("\n"))
    if not re.search(r"\d:\d\d\u2060+[.,]\d|\d\u2060+$", text):  # joiners of its own that look like a guard
        assert restore_text(guard_commands(text)) == text
        assert restore_text(guard_breaks(text), "vtt") == text


def test_plain_text_is_written_as_it_is():
    text = "R&D, AT&T: 1 < 2 > 0 - - 50 %; {braces} (C:\\temp) at 12:30:15. It's \"fine\""
    assert guard_commands(text) == text
    a = result(said(0, text))
    assert "\u2060" not in to_srt(a) + to_vtt(a)


def test_a_last_line_of_digits_stays():
    "pysubs2 takes it for the number of a next cue"
    a, style = result(said(0, "It was 2024")), {"max_chars": 8}
    assert caption_cues(a, style)[-1].lines == ("It was", "2024")
    for kind, write in (("srt", to_srt), ("vtt", to_vtt)):
        assert [text for *_, text in by_pysubs2(write(a, style).replace("<v SPEAKER_00>", ""), kind)] == ["It was\n2024"]


def test_hours_and_milliseconds():
    a = result(said(0, "late", start=36_061.2344), duration=40_000)
    assert "10:01:01,234 --> 10:01:02,067" in to_srt(a)
    assert "10:01:01.234 --> 10:01:02.067" in to_vtt(a) and 'begin="10:01:01.234"' in to_ttml(a)


def test_webvtt_names_speakers_in_tags():
    a = result(said(0, "Yes.", speaker="R&D <team>"), said(1, "No.", 5, speaker="B"))
    assert "<v R&amp;D &lt;team&gt;>Yes.</v>" in to_vtt(a) and "R&D <team>: Yes." not in to_vtt(a)
    assert "R&D <\u2060team>: Yes." in to_srt(a)


# TTML

def document(a, style="plain"):
    return ttconv.imsc.reader.to_model(ElementTree.parse(io.StringIO(to_ttml(a, style))))


@pytest.mark.parametrize("style", ["plain", "netflix", "bbc", "dynamic", {"position": "top", "outline": 0.4}])
def test_ttml_keeps_the_rules_of_its_profile(style):
    a = result(said(0, "Well, I was going to the market yesterday."), said(1, "Oh.", 2, speaker="B"),
               language_detected="en")  # fmt: skip
    made = document(a, style)
    assert made.get_content_profiles() == {"http://www.w3.org/ns/ttml/profile/imsc1.1/text"}
    IMSC11TextFilter().process(made)  # raises ValueError


def test_ttml_of_a_file_in_which_nobody_spoke():
    assert list(paragraphs(document(result()))) == [] and document(result()).get_lang() == ""


def test_language_codes_are_those_of_bcp_47():
    assert document(result(language_detected="jw")).get_lang() == "jv"
    assert document(result(language_detected="ko")).get_lang() == "ko"


def directions(text, language):
    [paragraph] = paragraphs(document(result(said(0, text, speaker=None), language_detected=language)))
    return paragraph.get_style(StyleProperties.Direction)


@pytest.mark.parametrize("text, language, rtl", [
    ("مرحبا بالعالم!", "ar", True), ("שלום עולם.", "he", True), ("می‌خواهم بروم.", "fa", True),
    ("OpenAI یک شرکت است.", "fa", True), ("He said שלום.", "en", False), ("שלום he said.", None, True),
    ("Hello.", "ar", False), ("こんにちは。", "ja", False),
])  # fmt: skip
def test_direction_of_a_paragraph(text, language, rtl):
    assert directions(text, language) == (DirectionType.rtl if rtl else None)


def test_of_two_scripts_in_one_cue_each_line_has_its_own_direction():
    a = result(said(0, "שלום עולם.", speaker="A"), said(1, "Hello there.", 0.2, speaker="B"), language_detected="he")
    [paragraph] = paragraphs(document(a, {"speaker_names": False}))
    spans = [e for e in paragraph.dfs_iterator() if isinstance(e, model.Span) and e.parent() is paragraph]
    assert paragraph.get_style(StyleProperties.Direction) is None
    assert [s.get_style(StyleProperties.Direction) for s in spans] == [DirectionType.rtl, None]


def test_speakers_have_colours_where_the_style_says_so_and_names_elsewhere():
    a = result(said(0, "Yes."), said(1, "No.", 5, speaker="SPEAKER_01"), speakers=(Speaker("SPEAKER_00"), Speaker("SPEAKER_01")))
    coloured, plain = to_ttml(a, "dynamic"), to_ttml(a)
    assert len(set(re.findall('<span[^>]*tts:color="(#[0-9a-f]{6})"', coloured))) == 2 and "SPEAKER" not in coloured
    assert not re.search("<span[^>]*tts:color=", plain) and ">SPEAKER_01: No.<" in plain


def test_snapped_times_are_frames_of_the_exact_rate():
    video = VideoInfo(frame_rate="24000/1001", frames_per_second=23.976)
    a = result(said(0, "One two three.", start=1.0), media=MediaInfo(video=video))
    text = to_ttml(a, {"snap_to_frames": True})
    assert 'ttp:frameRate="24"' in text and 'ttp:frameRateMultiplier="1000 1001"' in text
    assert 'begin="24f"' in text and "frameRate" not in to_ttml(a)
    [paragraph] = paragraphs(document(a, {"snap_to_frames": True}))
    assert paragraph.get_begin() == Fraction(24) / Fraction("24000/1001")


def test_letters_fit_the_picture():
    "Font and line height give the style's line; a style with long lines gets smaller letters"
    assert 'tts:fontSize="5.6rh"' in to_ttml(result(said(0, "Yes.")))
    size = float(re.search(r'tts:fontSize="([\d.]+)rh"', to_ttml(result(said(0, "Yes.")), {"max_chars": 100}))[1])
    assert 100 * 0.53 * size <= 100 * 16 / 9 * 0.88 + 0.1 # percent, rounded
