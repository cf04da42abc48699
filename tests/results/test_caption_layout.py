"""Captions as libass draws them: no word touches another or leaves the picture, loud words can be read, every
script is drawn in letters

Limits. Between words at least a thin space (U+2009), a sixth of the em of the smaller neighbour. Words stay in the
safe area, 90 % of the picture each way. At the design viewing distance of ITU-R BT.500 one pixel is a minute of
arc; ISO 9241-3 prefers letters of 20 to 22 minutes, and allows none below 16.
"""

import random
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from drawn_words import INK, draw_events, draw_words, has_font, ink_distance, neighbours
from pysubs2 import SSAEvent, SSAFile

from ecg_audio_nb import analyze
from ecg_audio_nb.results.caption_styles import CaptionError
from ecg_audio_nb.results.captions import burn, find_ffmpeg, frame_size, to_ass, write_captions
from ecg_audio_nb.schema import AcousticFeatures, Analysis, Metadata, Segment, Word

try:
    find_ffmpeg()
except CaptionError as e:
    pytest.skip(f"{e}: captions are not drawn", allow_module_level=True)

THIN = 0.86 / 6  # of the font size: its em is at most 0.9 of it in Arial and its substitutes
SIZES = [(640, 360), (854, 480), (640, 480), (1920, 1080), (480, 854)]
ENGLISH = "Well, why did fifty jolly wizards quickly fly over the very quiet valley of bells?"
LONG = "WHAT A MAGNIFICENT WORLD OF OVERWHELMING MOUNTAINS"
TEXTS = {
    "ko": "그래서 우리는 2024년에 서울에서 OpenAI 팀을 만났습니다.",
    "ja": "今日は 東京で GPT 4 を 使って います。",
    "ar": "قال إن شركة Open AI أعلنت عن 3 نماذج جديدة!",
    "he": "OpenAI היא חברה טובה, ואז הוא הלך הביתה.",
    "hi": "मैंने कहा कि हिन्दी में कैप्शन ठीक दिखना चाहिए।",
    "th": "ที่นี่ มีน้ำ และ ผู้คน ใช้ ภาษาไทย",
}
UNSPACED = "ja", "th"
FILM = Path(__file__).parents[1] / "fixtures/film/sintel_clip.mp4"
LINE = "What brings you to the land of the gatekeepers?"


def talk(text, language="en", seed=0, loudest=None):
    "A talk of words that differ in level by 40 dB and in pitch by two octaves, so that all bounds are met"
    texts, joined, words = text.split(), "" if language in UNSPACED else " ", []
    bounds = (-30, -50, -28, -5), (120, 60, 125, 240)
    levels, pitches = ([*values * len(texts)][: len(texts)] for values in bounds)
    random.Random(seed).shuffle(levels)
    random.Random(-seed - 1).shuffle(pitches)
    for i, word in enumerate(texts):
        heard = AcousticFeatures(levels[i], pitches[i])
        if loudest is not None:
            heard = AcousticFeatures(-10 if i == loudest else -20 - i % 3, 120)
        words.append(Word(word, i * 0.3, i * 0.3 + 0.3, speaker_id="A", acoustic_features=heard))
    end, text = words[-1].end_time, joined.join(texts)
    segment = Segment(0, 0, end, speaker_id="A", text=text, words=tuple(words))
    return Analysis((segment,), (), (), Metadata("a.mp4", duration=60, language_detected=language))


def check_layout(captions, size, thin=THIN):
    for words in captions:
        for a, b in neighbours(words):
            assert ink_distance(a.ink, b.ink) >= thin * min(a.size, b.size) - 1, (a.text, b.text)
        lines = {word.line: [] for word in words}
        for word in words:
            lines[word.line].append(word.ink)
        inks = [np.any(inks, axis=0) for inks in lines.values()]
        assert all(ink_distance(upper, lower) > 0 for upper, lower in pairwise(inks))
        left, top, right, bottom = np.array([word.box for word in words]).T
        assert left.min() >= 0.05 * size[0] and right.max() <= 0.95 * size[0]
        assert top.min() >= 0.05 * size[1] and bottom.max() <= 0.95 * size[1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", SIZES)
def test_words_of_any_size_and_slant_stand_apart_inside_the_safe_area(size, seed):
    for text in (ENGLISH, LONG):
        captions = draw_words(to_ass(talk(text, seed=seed), size=size), size)
        drawn = [word for words in captions for word in words]
        assert [word.text for word in drawn] == text.split()
        assert max(word.size for word in drawn) > 1.3 * min(word.size for word in drawn)
        assert {word.slant for word in drawn} >= {-0.25, 0.25}
        check_layout(captions, size)


@pytest.mark.parametrize("style", ["plain", "karaoke", "netflix", "bbc"])
def test_every_style_stays_inside_the_safe_area(style):
    for size in ((854, 480), (480, 854)):
        check_layout(draw_words(to_ass(talk(LONG), style, size), size), size)


def test_gaps_look_even():
    "A gap between any words is at most twice one between neutral words in the same letters"
    size, text = (854, 480), "ill " * 8
    gaps = []
    for analysis in (talk(text, loudest=0), *(talk(text, seed=seed) for seed in range(4))):
        style = {"inherits": "dynamic", "box": 0.0}
        for words in draw_words(to_ass(analysis, style, size), size):
            gaps += [ink_distance(a.ink, b.ink) / ((a.size + b.size) / 2) for a, b in neighbours(words)]
    assert len(gaps) > 20 and max(gaps) < 2 * min(gaps)


@pytest.mark.parametrize("language", TEXTS)
def test_every_script_is_laid_out_like_latin(language):
    if not has_font(language):
        pytest.skip(f"no font for {language} on this machine: its captions are not drawn")
    for size in ((854, 480), (480, 854)):
        captions = draw_words(to_ass(talk(TEXTS[language], language), size=size), size)
        check_layout(captions, size, thin=0.02 if language in UNSPACED else THIN)


def heights(loudest, size=(854, 480)):
    "Heights of the letters H that are spoken one louder than the others, pixels"
    (words,) = draw_words(to_ass(talk("H " * 12, loudest=loudest), size=size), size)
    return {i: word.height for i, word in enumerate(words)}


def test_a_loud_word_can_be_read_at_480_lines():
    found = heights(loudest=5)
    loud = found.pop(5)
    assert loud >= 20 and loud > 1.2 * max(found.values())
    # Arial, Liberation Sans and DejaVu Sans; Noto Sans has smaller letters in a line of the same height
    assert min(found.values()) >= 14


def test_a_loud_word_in_a_full_line_can_be_read_at_480_lines():
    text = "we have been telling everyone about MOUNTAINS"
    size, style = (854, 480), {"inherits": "dynamic", "lines": 1}
    captions = draw_words(to_ass(talk(text, loudest=6), style, size), size)
    (loud,) = [word for words in captions for word in words if word.text == "MOUNTAINS"]
    assert loud.height >= 20


# A film

@pytest.fixture(scope="module")
def film(real_whisper):
    "Four seconds of a film, a line over music, analyzed"
    real_whisper("base")
    return analyze(FILM, {"engine": "whisper", "runtime.device": "cpu", "runtime.offline": True})


@pytest.mark.parametrize("size", SIZES)
def test_a_line_of_a_film_is_laid_out_well(film, size):
    captions = draw_words(to_ass(film, size=size), size)
    assert " ".join(word.text for words in captions for word in words) == LINE
    check_layout(captions, size)


def test_a_film_is_captioned_in_time(film, tmp_path):
    "The caption is on the picture while the line is spoken, and its words turn blue one after the other"
    style = {"inherits": "dynamic", "box": 0.0}
    captions = write_captions(film, tmp_path / "film.ass", style, frame_size(FILM))
    with av.open(str(burn(FILM, captions, tmp_path / "film.mkv"))) as video:
        blue = {}
        for frame in video.decode(video=0):
            red, green, other = frame.to_ndarray(format="rgb24")[300:395].astype(int).transpose(2, 0, 1)
            blue[frame.time] = ((other > 150) & (other - red > 60)).sum()
    start, end = film.words[0].start_time, film.words[-1].start_time
    assert (start, end) == (pytest.approx(1.2, abs=0.1), pytest.approx(2.66, abs=0.1))
    assert max(value for time, value in blue.items() if time < start - 0.04) < 50
    counts = [max(v for t, v in blue.items() if w.start_time <= t < w.start_time + 0.16) for w in film.words]
    assert all(b > a for a, b in pairwise(counts))


# Right to left

def test_a_sentence_that_begins_in_latin_letters_runs_to_the_left():
    (words,) = draw_words(to_ass(talk("OpenAI היא חברה.", "he"), size=(854, 480)), (854, 480))
    latin, _, last = (word.box for word in words)
    assert latin[0] > last[2]  # the first word stands rightmost
    # what stands leftmost is low: the stop
    rows = np.flatnonzero(words[2].ink[:, last[0] : last[0] + 3].any(1))
    assert rows[0] > (last[1] + last[3]) / 2


# Letters, not boxes

LETTERS = {"ko": "한국", "ja": "かな", "zh": "汉语", "ar": "سم", "he": "שמ", "hi": "हम", "th": "กม", "ta": "தம"}


@pytest.mark.parametrize("language", LETTERS)
def test_a_script_is_drawn_in_letters_not_in_boxes(language):
    if not has_font(language):
        pytest.skip(f"no font for {language} on this machine: nothing says whether its letters are drawn")
    style = SSAFile.from_string(to_ass(talk("x"), size=(200, 200))).styles["Captions"]
    subtitles = SSAFile()
    subtitles.info |= {"PlayResX": "200", "PlayResY": "200"}
    subtitles.styles = {"S": style}
    style.borderstyle, style.outline, style.shadow, style.fontsize = 1, 0, 0, 100
    for i, letter in enumerate(LETTERS[language]):
        subtitles.append(SSAEvent(40 * i, 40 * i + 40, letter, style="S"))
    first, second = (frame > INK for frame in draw_events(subtitles, 2, (200, 200)))
    assert first.sum() > 100 and second.sum() > 100
    # boxes of letters that a font lacks are all the same
    assert (first ^ second).sum() > 0.2 * min(first.sum(), second.sum())
