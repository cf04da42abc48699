"""Cues: every word once and in time, limits held where the speech allows it, cuts where a reader would pause"""
import re
import unicodedata
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_audio_nb.core.text import clean_text, display_width, line_breaks
from ecg_audio_nb.results.caption_styles import CaptionStyle, caption_cues, caption_presets, caption_style
from ecg_audio_nb.results.cues import CueRules, build_cues, spoken_words
from ecg_audio_nb.results.export import to_srt
from ecg_audio_nb.schema import Analysis, MediaInfo, Metadata, Segment, VideoInfo, Word
from scripts_table import SCRIPTS


def said(id, text, start=0.0, step=0.3, speaker="A", joined=" ", pauses=()):
    "A segment with a word every `step` seconds; pauses: (number of the word, seconds before it)"
    words, at, extra = [], start, dict(pauses)
    for number, word in enumerate(text.split()):
        at = round(at + extra.get(number, 0), 3)
        words.append(Word(word, at, round(at + step, 3), speaker_id=speaker))
        at = round(at + step, 3)
    return Segment(
        id, start, at, speaker_id=speaker, text=joined.join(text.split()), words=tuple(words)
    )


def analysis(*segments, duration=1000.0, language="en", fps=None):
    media = MediaInfo(video=VideoInfo(frames_per_second=fps)) if fps else None
    return Analysis(
        tuple(segments), (), (), Metadata("a.mp4", duration=duration, language_detected=language, media=media)
    )


def texts(a, style="plain", **rules):
    cues = caption_cues(a, style) if not rules else build_cues(a, CueRules(**rules))
    return [cue.text for cue in cues]


# Where a cue ends


@pytest.mark.parametrize(
    "text, expected",
    [
        ("We came late. Then we left again.", ["We came late.", "Then we left again."]),
        # a long sentence: two cues at its comma
        (
            "When the first of the three trains had left the station that morning, nobody on the platform "
            "could tell us where it was going.",
            [
                "When the first of the three trains\nhad left the station that morning,",
                "nobody on the platform could tell us\nwhere it was going.",
            ],
        ),
        # an abbreviation ends no sentence
        ("We asked Dr. Miller about it.", ["We asked Dr. Miller about it."]),
        ("Is it? Yes, it is.", ["Is it? Yes, it is."]),
    ],
)
def test_a_cue_ends_where_a_sentence_or_clause_does(text, expected):
    assert texts(analysis(said(0, text))) == expected


def test_no_line_ends_with_an_article_or_parts_a_number_from_its_unit():
    lines = texts(analysis(said(0, "They had been walking along the road for about 25 kilometers now.")))
    assert lines == ["They had been walking along the road\nfor about 25 kilometers now."]
    for size in range(20, 42):
        for cue in texts(analysis(said(0, "He gave a book to the man with the hat of a king.")), max_chars=size):
            for line in cue.split("\n"):
                assert not re.search(r" (a|the)$", line), line


def test_a_pause_ends_a_cue_and_a_shorter_one_does_not():
    assert texts(analysis(said(0, "one two three four", pauses=[(2, 1.0)]))) == ["one two", "three four"]
    assert texts(analysis(said(0, "one two three four", pauses=[(2, 0.99)]))) == ["one two three four"]


def test_a_full_line_is_balanced_and_short_text_stays_on_one_line():
    assert texts(analysis(said(0, "a fairly long sentence that needs two lines of text here"))) == [
        "a fairly long sentence\nthat needs two lines of text here"
    ]
    assert texts(analysis(said(0, "this one fits a line as it is"))) == ["this one fits a line as it is"]


# Time


def test_words_of_80_ms_stay_to_be_read_but_not_past_the_next_or_the_end():
    words = (Word("Yes.", 0, 0.08), Word("No.", 1.5, 1.58))
    short = Segment(0, 0, 1.58, text="Yes. No.", words=words)
    first, second = caption_cues(analysis(short, duration=2.0))
    assert (first.start_time, round(first.end_time, 3)) == (0, 0.833)
    assert (second.start_time, second.end_time) == (1.5, 2.0)  # the file ends here
    # sixty words at 12 a second, then silence: the last cue takes what it needs
    fast = analysis(said(0, " ".join(["word"] * 60), step=0.08), duration=30)
    cues = caption_cues(fast)
    assert cues[-1].end_time - cues[-1].start_time >= sum(map(len, cues[-1].lines)) / 20.1
    assert all(b.start_time - a.end_time == 0 or b.start_time - a.end_time >= 0.5 for a, b in zip(cues, cues[1:]))


def test_gaps_are_two_frames_or_half_a_second_as_netflix_asks():
    a = analysis(said(0, "This is the first sentence."), said(1, "This is the second one.", 1.6), fps=24.0)
    first, second = caption_cues(a, "netflix")
    assert second.start_time - first.end_time == pytest.approx(2 / 24)
    snapped = caption_cues(a, {"inherits": "netflix", "snap_to_frames": True})
    for time in (t for cue in snapped for t in (cue.start_time, cue.end_time)):
        assert time * 24 == pytest.approx(round(time * 24), abs=1e-4)
    assert round((snapped[1].start_time - snapped[0].end_time) * 24) == 2


def test_the_films_own_frame_rate_counts_before_the_styles():
    a = said(0, "This is the first sentence."), said(1, "This is the second one.", 1.6)
    for fps, gap in ((50.0, 0.04), (None, 2 / 24)):
        first, second = caption_cues(analysis(*a, fps=fps), "netflix")
        assert second.start_time - first.end_time == pytest.approx(gap)
    first, second = caption_cues(analysis(*a, fps=50.0), "netflix", frame_rate=25.0)
    assert second.start_time - first.end_time == pytest.approx(0.08)


def test_a_sentence_that_would_flash_by_shares_its_cue():
    assert texts(analysis(said(0, "Yes. No. Who knows what they did?"))) == [
        "Yes. No. Who knows what they did?"
    ]


# Speakers


def test_names_once_a_turn_and_a_dash_before_each_of_two():
    a = analysis(
        said(0, "Did you really see it?"),
        said(1, "I did.", 2.0, speaker="B"),
        said(2, "And nobody else was there that night.", 4.5, speaker="B"),
        said(3, "So what?", 12.0),
    )
    assert texts(a) == [
        "A: Did you really see it?",
        "B: I did.",
        "And nobody else was there that night.",
        "A: So what?",
    ]
    quick = analysis(said(0, "Why?", step=0.3), said(1, "Because.", 0.35, speaker="B"))
    assert texts(quick) == ["- A: Why?\n- B: Because."]
    assert texts(quick, "netflix") == ["- Why?\n- Because."]


def test_people_who_talk_at_once_share_a_cue_of_two_lines():
    a = analysis(
        said(0, "and so we went on and on", step=0.4), said(1, "uh huh", 1, step=0.4, speaker="B")
    )
    [cue] = caption_cues(a, "netflix")
    assert cue.lines == ("- and so we went on and on", "- uh huh")
    assert [row.speaker_id for row in cue.rows] == ["A", "B"]


# Scripts


def test_limits_follow_the_script_of_the_text():
    rules = caption_style("netflix")
    assert [rules.limits(*x).columns for x in (("Hello", "en"), ("안녕", "ko"), ("さて", "ja"), ("привет", "ru"))] == [
        42, 32, 32, 39]
    assert [rules.limits(*x).columns_per_second for x in (("Hello", "en"), ("Hallo", "de"), ("안녕", "ko"), ("さて", "ja"))] == [
        20, 17, 24, 14]
    # English words in a Korean file are read as English
    assert rules.limits("Hello there", "ko").columns == 42


def characters(text, language, step=0.1):
    "A segment with a word a character"
    words = tuple(Word(c, round(i * step, 3), round((i + 1) * step, 3)) for i, c in enumerate(text))
    return analysis(Segment(0, 0, len(text) * step, text=text, words=words), language=language)


FORBIDDEN_STARTS = "、。」！？ー…っゃゅょッャュョ"


@pytest.mark.parametrize("k", range(3, 25))
def test_japanese_lines_begin_with_no_mark_and_part_no_latin_word(k):
    latin = "あ" * k + "東京のOpenAI本社でGPTを使っているInternationalization部門"
    marks = "あ" * k + "、" + "い" * 15 + "。" + "う" * 20 + "」"
    for text in (latin, marks):
        cues = caption_cues(characters(text, "ja"))
        lines = [line for cue in cues for line in cue.lines]
        assert "".join(lines) == text
        for line in lines:
            assert line[0] not in FORBIDDEN_STARTS, lines
            assert display_width(line) <= 34, lines
        for before, after in zip(lines, lines[1:]):
            assert not (before[-1].isascii() and after[0].isascii()), lines


def test_japanese_gains_no_space_even_where_its_text_does_not_spell_its_words():
    words = "東京 の 天気 は 晴れ です 。 明日 は 雨 が 降る でしょう 、 たぶん ね 。"
    spelled = said(0, words, step=0.2, joined="")
    for s in (spelled, replace(spelled, text="not what was said")):
        shown = texts(analysis(s, language="ja"), {"max_chars": 10})
        assert "".join(cue.replace("\n", "") for cue in shown) == words.replace(" ", "")
        lines = [line for cue in shown for line in cue.split("\n")]
        assert all(line[0] not in "。、" for line in lines)
        # a phrase of up to 16 columns is not cut, though it is wider than these narrow lines
        assert [line for line in lines if display_width(line) > 10] == ["降るでしょう、"]


def test_thai_is_never_cut_before_a_mark():
    for cue in caption_cues(characters("ที่นี่มีน้ำ" * 6, "th")):
        for line in cue.lines:
            assert unicodedata.category(line[0]) != "Mn"


def test_korean_is_cut_between_words_and_decomposed_text_alike():
    text = "오늘은 날씨가 아주 좋아서 우리는 공원에 산책을 하러 갈 수 있습니다"
    a = analysis(said(0, text, step=0.5), language="ko")
    b = analysis(said(0, unicodedata.normalize("NFD", text), step=0.5), language="ko")
    assert texts(a) == texts(b)
    for cue in caption_cues(a):
        for line in cue.lines:
            assert display_width(line) <= 32
            assert not line.endswith("갈"), "갈 수 stays together"


def test_a_segment_without_words_is_cut_too():
    text = "nobody knows when each of these words was said but the captions still fit the screen " * 3
    s = Segment(0, 0, 20, speaker_id="A", text=text)
    cues = caption_cues(analysis(s))
    assert len(cues) > 2 and all(display_width(line) <= 42 for cue in cues for line in cue.lines)
    assert " ".join(line for cue in cues for line in cue.lines) == text.strip()
    japanese = caption_cues(analysis(Segment(0, 0, 40, text="東京特許許可局" * 20), language="ja"))
    assert all(display_width(line) <= 32 for cue in japanese for line in cue.lines)
    assert "".join(line for cue in japanese for line in cue.lines) == "東京特許許可局" * 20


def test_joiners_and_marks_of_spelling_stay_and_overrides_go():
    words = ("می‌خواهم", "👨‍👩‍👧", "\u202ebad\u202c")
    s = Segment(0, 0, 3, text=" ".join(words), words=tuple(Word(w, i, i + 1) for i, w in enumerate(words)))
    assert texts(analysis(s, language="fa")) == ["می‌خواهم 👨‍👩‍👧 bad"]


# The table of scripts, cut at 20 columns

CUES = {
    "Korean": ["2024년/한국어(Korean)로", "50%의 사람들이/말했다."],
    "Japanese with English": ["今日はOpen AIの/GPT 4です。", "2024年。"],
    "Japanese marks": ["「すみません」と/言った。", "データを使っていた…"],
    "Halfwidth katakana": ["ﾃﾞｰﾀを使う"],
    "Chinese with digits": ["因为2024年的/GPT-4模型非常强大，", "所以用户超过1.5亿。"],
    "Traditional Chinese": ["今天天氣很好，/我們去公園散步吧。"],
    "Thai": ["สวัสดีครับ วันนี้มีน้ำ"],
    "Hindi": ["नमस्ते हिन्दी भाषा ।"],
    "Tamil": ["நான் பள்ளிக்குச் சென்றேன்."],
    "Arabic": ["مَرْحَبًا بكم،/كيف الحال؟"],
    "Persian": ["می\u200cخواهم/کتاب\u200cها را بخوانم."],
    "Hebrew": ["שָׁלוֹם עולם,/בית־ספר טוב!"],
    "Vietnamese, decomposed": ["Tiếng Việt rất đẹp."],
    "Korean, decomposed": ["안녕하세요 여러분."],
    "German": ["Die", "Donaudampfschifffahrtsgesellschaft", "fährt zur U-Bahn/im Nord-Süd-Netz."],
    "French": ["Où est-il ?", "« Là ! » ;", "à 2 h 30 ou 12,5 %/de 150 000 € …"],
    "Russian": ["Он сказал: «Да»,/что-то в 10:30."],
    "English": ["See", "https:~~ex.org~a-b?c=1,", "AT&T at 90 km~h", "and 1,234.5/(well-known)."],
    "Emoji": ["👨\u200d👩\u200d👧 🇰🇷 1\ufe0f\u20e3 👍🏽 ok ❤️"],
    "Emoji in Japanese": ["すごい👍🏽です"],
}  # a stroke parts lines; ~ is a stroke of the text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_cues_of_every_script(script):
    words = tuple(Word(word, 0.4 * i, 0.4 * (i + 1)) for i, word in enumerate(script.words))
    s = Segment(0, 0, words[-1].end_time, text=script.spelled, words=words)
    shown = texts(analysis(s, language=script.language), {"max_chars": 20})
    expected = [unicodedata.normalize("NFC", cue) for cue in CUES[script.name]]
    assert [cue.replace("/", "~").replace("\n", "/") for cue in shown] == expected


# Presets


def test_presets_hold_every_rule_and_plain_is_the_default():
    assert list(caption_presets()) == ["plain", "netflix", "bbc", "youtube", "karaoke", "dynamic"]
    plain = caption_style("plain")
    for key, value in vars(CueRules()).items():
        assert getattr(plain, key) == value, key
    assert isinstance(plain, CaptionStyle) and isinstance(plain, CueRules)


def test_a_style_of_older_versions_keeps_its_meaning():
    "A file of one's own with the keys of before: 24 characters a line, 12 of them wide"
    style = caption_style({"max_chars": 24, "lines": 1})
    assert style.limits("안녕").columns == 24
    a = analysis(said(0, "one two three four five six seven eight nine ten"))
    assert all(len(cue.lines) == 1 and display_width(cue.text) <= 24 for cue in caption_cues(a, style))


# Any analysis

WORDS = st.one_of(
    st.sampled_from(
        ["a", "yes,", "Okay.", "market", "extraordinarily", "안녕하세요", "東京", "。", "--", "x" * 60, "😀",
         "👩‍👩‍👧", "1,000", "km", "«", "»", "é", "हिन्दी", "السلام"]
    ),
    st.text(st.characters(categories=("L", "N", "P", "S", "M")), min_size=1, max_size=12),
)


@st.composite
def results(draw):
    segments = []
    for number in range(draw(st.integers(0, 4))):
        start = at = draw(st.integers(0, 9000))
        words = []
        for text in draw(st.lists(WORDS, max_size=20)):
            at += draw(st.sampled_from([0, 0, 3, 40, 200, 499, 2500]))
            end = at + draw(st.sampled_from([0, 1, 4, 80, 300, 3000]))
            words.append(Word(text, at / 1000, end / 1000))
            at = draw(st.integers(at, end))
        last = max([w.end_time for w in words], default=start / 1000)
        text = draw(st.sampled_from([" ", ""])).join(w.word for w in words)
        speaker = draw(st.sampled_from(["A", "B", None]))
        segments.append(Segment(number, start / 1000, last, speaker_id=speaker, text=text, words=tuple(words)))
    segments.sort(key=lambda s: s.start_time)
    duration = max([s.end_time for s in segments], default=1)
    return analysis(*segments, duration=duration, language=draw(st.sampled_from(["en", "ja", "th", "ar", None])))


def widest_block(cue, language):
    "Columns of the widest run of words that no cut can part: they start together or no line may end between them"
    allowed = line_breaks("".join(word.text for word in cue.words), language)
    widths, position, before = [], 0, None
    for word in cue.words:
        apart = before is not None and word.start_time > before and position + word.lead in allowed
        if apart or not widths: widths.append(0)
        widths[-1] += word.width
        position, before = position + len(word.text), word.start_time
    return max(widths)


def letters(text): return Counter(c for c in clean_text(text) if not c.isspace())


@given(results(), st.sampled_from(["plain", "netflix", "bbc", {"max_chars": 12, "lines": 1}]))
@settings(max_examples=4000, deadline=None)
def test_cues_hold_every_word_once_and_follow_each_other(a, style):
    cues = caption_cues(a, style)
    spoken = [(text, word) for s in a.segments for text, word in spoken_words(s)]
    shown = letters("".join(word.text for cue in cues for word in cue.words))
    assert shown == letters("".join(text for text, _ in spoken))
    end_of_file = max([a.metadata.duration, *(word.end_time for _, word in spoken)])
    for cue, following in zip(cues, [*cues[1:], None]):
        assert cue.start_time < cue.end_time
        assert cue.end_time <= max(following.start_time if following else end_of_file, cue.start_time + 0.0011)
        assert min(word.start_time for word in cue.words) == cue.start_time
    for number, _ in enumerate(a.segments): # the words of a segment stay in order
        texts = [w.text.strip() for cue in cues for w in cue.words if w.segment == number]
        assert "".join(texts).replace(" ", "") == "".join(
            clean_text(text) for text, _ in spoken_words(a.segments[number])
        ).replace(" ", "")


@st.composite
def unhurried(draw):
    "One segment whose words take the time that their reading takes"
    at, words = 0, []
    for text in draw(st.lists(WORDS, min_size=1, max_size=25)):
        end = at + 80*display_width(text) + draw(st.sampled_from([60, 200, 400]))
        words.append(Word(text, at / 1000, end / 1000))
        at = end + draw(st.sampled_from([0, 0, 100, 600]))
    s = Segment(0, 0, words[-1].end_time, text=" ".join(word.word for word in words), words=tuple(words))
    return analysis(s, language=draw(st.sampled_from(["en", "ja", "ko", None])))


@given(unhurried(), st.sampled_from(["plain", "netflix", "bbc"]))
@settings(max_examples=4000, deadline=None)
def test_cues_never_have_too_many_lines_where_there_is_time(a, style):
    rules, language = caption_style(style), a.metadata.language_detected
    columns = rules.limits(a.segments[0].text, language).columns
    for cue in caption_cues(a, style):
        if widest_block(cue, language) <= columns: assert len(cue.lines) <= rules.lines


def test_every_format_shows_the_same_cues():
    from pysubs2 import SSAFile

    from ecg_audio_nb.results.captions import caption_lines, to_ass

    a = analysis(said(0, "We came, we saw, and we have been telling everyone about it ever since, as people do."),
                 said(1, "Nobody listened.", 8, speaker="B"))
    srt = [(e.start, e.end, e.plaintext) for e in SSAFile.from_string(to_srt(a))]
    ass = [(e.start, e.end, e.plaintext) for e in SSAFile.from_string(to_ass(a, "plain"))]
    assert [(round(x, -1), round(y, -1), text) for x, y, text in srt] == ass
    for style in ("karaoke", "dynamic"):
        drawn = caption_lines(a, style)
        assert [re.sub("^[AB]: ", "", text) for *_, text in srt] == [cue.text for cue in drawn]
