"""Captions that show the voice: cut by their rules, drawn so that nothing jumps or injects, burnt into a
picture whole or not at all"""
import json, os, re, shutil, stat, tomllib
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from pysubs2 import SSAEvent, SSAFile
from ecg_audio_nb.core.html import PALETTE, contrast
from ecg_audio_nb.core.renamed import STYLE, RenamedKey
from ecg_audio_nb.results.ffmpeg import BACKGROUND
from ecg_audio_nb.results.caption_styles import (
    CaptionError,
    CaptionStyle,
    caption_cues,
    caption_presets,
    caption_style,
)
from ecg_audio_nb.results.captions import (
    SpeakerBaseline,
    ass_text,
    burn,
    caption_lines,
    find_ffmpeg,
    frame_size,
    intonation,
    ensure_contrast,
    loudness,
    to_ass,
    speaker_baselines,
    write_captions,
)
from ecg_audio_nb.results.cues import ExportError
from ecg_audio_nb.results.letter_widths import drawn_width
from ecg_audio_nb.schema import AcousticFeatures, Analysis, Metadata, Segment, Speaker, Word

try: FFMPEG = find_ffmpeg()
except CaptionError as e: FFMPEG, WHY = None, str(e)
else: WHY = ""
with_ffmpeg = pytest.mark.skipif(not FFMPEG, reason=WHY)
COLOUR = r"\\1c&H[0-9A-F]{6}&"
OURS = re.compile(
    rf"\{{{COLOUR}(?:\\t\(0,80,{COLOUR}\))?(?:\\fs[0-9.]+)?(?:\\fax-?[0-9.]+\\fsp0)?\}}"
    r"|\{(?:\\fs[0-9.]+)?(?:\\fsp-?[0-9.]+)?\}"
)


def talk(text, start=0.0, step=0.4, who="A", id=0, levels=(), pitches=(), joined=" "):
    "A segment whose words follow each other"
    words, at = [], start
    for i, w in enumerate(text.split()):
        heard = AcousticFeatures(
            levels[i] if i < len(levels) else None, pitches[i] if i < len(pitches) else None
        )
        words.append(Word(w, at, at + step, speaker_id=who, acoustic_features=heard))
        at = round(at + step, 3)
    return Segment(
        id, start, words[-1].end_time, speaker_id=who, text=joined.join(text.split()), words=tuple(words)
    )


def analysis(*segments, duration=1000, language="en", speakers=()):
    return Analysis(
        tuple(segments),
        (),
        tuple(Speaker(s) for s in speakers),
        Metadata("a.mp4", duration=duration, language_detected=language),
    )


def events(ass): return list(SSAFile.from_string(ass))

def at_once(a): return [c.text for c in caption_lines(a)]


# Styles

def test_every_preset_is_a_whole_style_and_dynamic_uses_all_there_is():
    assert set(caption_presets()["plain"]) == {f.name for f in fields(CaptionStyle)}
    d = caption_style("dynamic")
    assert d.size_per_sd and d.slant_per_semitone and d.colour == "speaker" and d.by_word
    assert not caption_style("plain").by_word and caption_style("karaoke").spoken_colour == "speaker"


def test_a_file_of_ones_own_inherits(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('inherits = "karaoke"\nmax_chars = 30\n')
    assert caption_style(mine) == caption_style(str(mine)) == replace(caption_style("karaoke"), max_chars=30)
    mine.write_text("max_chars = 30\n")
    assert caption_style(mine) == replace(caption_style("plain"), max_chars=30)


@pytest.mark.parametrize("text, said", [
    ("max_char = 30", "no key 'max_char'.*the nearest is max_chars"),
    ("[dynamic]\nmax_chars = 30", "no key 'dynamic'"),
    ("max_chars = '30'", "max_chars = '30': must be a whole number"),
    ("max_chars = true", "max_chars = True: must be a whole number"),
    ("font_size = nan", "font_size"),
    ("margin = 7", "margin = 7: must be at most 0.4"),
    ("colour = 'red'", "colour = 'red'"),
    ("font = 'Noto Sans, Arial'", "font = 'Noto Sans, Arial'"),
    ('font = "a\\nDialogue: "', "font ="),
    ("inherits = 'dynamik'", "inherits = 'dynamik' is no style; the nearest is dynamic"),
    ("inherits = ['dynamic']", "is no style"),
    ("max_chars 30", "not TOML"),
])
def test_a_mistake_in_a_style_is_one_clear_error(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(CaptionError, match=said) as e: caption_style(path)
    assert "mine.toml" in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("old, new", STYLE.items())
def test_a_key_of_an_older_version_works_everywhere_and_says_its_present_name(tmp_path, old, new):
    value, other = {
        "columns": (30, 31),
        "longest": (3.0, 4.0),
        "shortest": (0.5, 0.6),
        "rate": (15.0, 16.0),
        "pause": (0.7, 0.8),
        "neutral": ("#FFF4D6", "#FFF4D7"),
        "spoken": ("speaker", "neutral"),
        "upcoming": ("speaker", "neutral"),
        "smallest": (0.7, 0.6),
        "largest": (1.3, 1.4),
    }.get(old, (0.1, 0.2))
    wanted = replace(caption_style("dynamic"), **{new: value})
    mine = tmp_path / "mine.toml"
    mine.write_text(f'inherits = "dynamic"\n{old} = {json.dumps(value)}\n')
    whole = {f.name: getattr(wanted, f.name) for f in fields(CaptionStyle)}
    keywords = {old if k == new else k: v for k, v in whole.items()}
    said = f"^{old} is now called {new}; the old name still works"
    with pytest.warns(RenamedKey, match=said): assert caption_style(mine) == wanted
    with pytest.warns(RenamedKey, match=said):
        assert caption_style({"inherits": "dynamic", old: value}) == wanted
    with pytest.warns(RenamedKey, match=said): assert CaptionStyle(**keywords) == wanted
    with pytest.warns(RenamedKey, match=said):
        assert caption_style({"inherits": "dynamic", old: other, new: value}) == wanted


def test_the_old_styles_need_no_present_key(recwarn):
    for name in caption_presets(): caption_style(name)
    assert not [w for w in recwarn if issubclass(w.category, RenamedKey)]
    assert set(STYLE.values()) <= {f.name for f in fields(CaptionStyle)} and not set(STYLE) & {
        f.name for f in fields(CaptionStyle)
    }


def test_a_style_that_is_not_there(tmp_path):
    with pytest.raises(CaptionError, match="no caption style 'dinamic'; the nearest is dynamic"):
        caption_style("dinamic")
    with pytest.raises(CaptionError, match="no such file"): caption_style(tmp_path / "none.toml")


# Loudness and pitch, relative to the speaker

def test_a_quiet_speakers_loud_word_is_as_large_as_a_loud_speakers():
    loud, quiet = [-12, -12, -12, -12, -6], [-42, -42, -42, -42, -36]
    a = analysis(talk("a b c d e", levels=loud), talk("f g h i j", 10, who="B", id=1, levels=quiet))
    sizes = [[w.size for w in c.words] for c in caption_lines(a)]
    assert sizes[0] == sizes[1] and sizes[0][-1] > 1 > sizes[0][0]
    voices = speaker_baselines(a)
    assert loudness(a.words[4], voices["A"]) == pytest.approx(2) and loudness(
        a.words[9], voices["B"]
    ) == pytest.approx(2)


def test_what_is_not_known_is_neutral():
    few = talk("a b c d", levels=[-1, -50, -1, -50], pitches=[100, 400, 100, 400])
    unknown = talk("a b c d e f", 10, id=1, who=None, levels=[-1, -50, -1, -50, -1, -50])
    some = talk(
        "a b c d e f", 20, id=2, who="C", levels=[-10, -20, -10, -20, -15], pitches=[100, 200, 100, 200, 150]
    )
    first, nobody, third = caption_lines(analysis(few, unknown, some))
    assert {(w.size, w.slant) for w in first.words + nobody.words} == {(1.0, 0.0)}
    assert (third.words[-1].size, third.words[-1].slant) == (1.0, 0.0)
    assert all(w.size != 1 and w.slant for w in third.words[:4])
    assert speaker_baselines(analysis(few))["A"] == SpeakerBaseline()


def test_silence_is_no_word_and_equal_levels_are_neutral():
    s = talk("a b c d e", levels=[-20.0, -20.2, -20.1, -20.0, -20.1])
    marked = replace(
        s,
        text="",
        words=(
            *s.words,
            Word("[SILENCE]", 2, 2, kind="silence", speaker_id="A", acoustic_features=AcousticFeatures(-90)),
        ),
    )
    assert speaker_baselines(analysis(marked))["A"] == speaker_baselines(analysis(s))["A"]
    # a tenth of a dB is not heard
    assert all(abs(w.size - 1) < 0.03 for c in caption_lines(analysis(s)) for w in c.words)
    assert "SILENCE" not in to_ass(analysis(marked))


def test_size_and_slant_keep_their_bounds():
    s = talk("a b c d e f g", levels=[-20] * 6 + [0], pitches=[100] * 6 + [1000])
    d = caption_style("dynamic")
    last = caption_lines(analysis(s))[0].words[-1]
    assert last.size <= d.max_size and last.slant == d.max_slant
    assert intonation(s.words[6], SpeakerBaseline(pitch=100)) == pytest.approx(39.86, abs=0.01)


# Any analysis

TEXTS = st.one_of(
    st.sampled_from(
        [
            "a",
            "yes,",
            "Okay.",
            "market",
            "extraordinarily",
            "{\\an8}",
            "{",
            "}",
            "\\",
            "C:\\new",
            "\\N",
            "東京",
            "。",
            "--",
            "x" * 60,
            "{\\p1}m 0 0",
            "\\{b",
            "\u202eabc",
            "안녕하세요",
        ]
    ),
    st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=12),
)
FEATURES = st.builds(AcousticFeatures, st.none() | st.floats(-90, 0), st.none() | st.floats(0, 900))

@st.composite
def results(draw):
    found = []
    for n in range(draw(st.integers(0, 4))):
        start = at = draw(st.integers(0, 9000))
        words = []
        for text in draw(st.lists(TEXTS, max_size=20)):
            at += draw(st.sampled_from([0, 0, 3, 40, 200, 499, 2500]))
            end = at + draw(st.sampled_from([0, 1, 4, 80, 300, 3000]))
            words.append(
                Word(
                    text,
                    at / 1000,
                    end / 1000,
                    speaker_id=draw(st.sampled_from(["A", "B,{\\b1}", None])),
                    acoustic_features=draw(FEATURES),
                )
            )
            at = draw(st.integers(at, end))
        last = max([w.end_time for w in words], default=start / 1000)
        text = draw(st.sampled_from([" ", ""])).join(w.word for w in words)
        found.append(
            Segment(
                n,
                start / 1000,
                last,
                speaker_id=draw(st.sampled_from(["A", None])),
                text=text,
                words=tuple(words),
            )
        )
    found.sort(key=lambda s: s.start_time)
    return analysis(
        *found,
        duration=max([s.end_time for s in found], default=1),
        language=draw(st.sampled_from(["en", "ja", "ar", None])),
    )


STYLES = st.sampled_from(
    ["plain", "karaoke", "dynamic", {"inherits": "dynamic", "max_chars": 12, "lines": 1}]
)


def bare(text):
    return "".join(
        c for c in text.replace("\\N", "") if c.isprintable() and not c.isspace() and c != "\u2060"
    )


@given(results(), STYLES)
@settings(max_examples=60, deadline=None)
def test_what_pysubs2_reads_back(a, style):
    back, shown = events(to_ass(a, style)), caption_lines(a, style)
    assert all(isinstance(e, SSAEvent) and e.style == "Captions" for e in back)
    assert all(e.start < e.end for e in back)
    assert all(x.end <= y.start for x, y in zip(back, back[1:]))
    # the events of a caption follow each other without a gap, from its start to its end, and show the same text
    for c in shown:
        mine = [e for e in back if round(c.start_time * 1000) <= e.start < round(c.end_time * 1000)]
        assert mine[0].start == round(c.start_time * 1000) and mine[-1].end == round(c.end_time * 1000)
        assert all(x.end == y.start for x, y in zip(mine, mine[1:]))
        # nothing that moves differs
        assert len({tuple(re.findall(r"\\f(?:s|ax|sp)[-0-9.]+|\}[^{]*", e.text)) for e in mine}) == 1


@given(results())
@settings(max_examples=50, deadline=None)
def test_every_word_is_lit_from_its_time_until_the_next_of_its_row(a):
    style = {"inherits": "plain", "by_word": True, "spoken_colour": "#123456", "speaker_names": False}
    back = events(to_ass(a, style))
    for c in caption_lines(a, style):
        last = round(c.end_time - 0.01, 2)
        expected = []
        for row in c.rows:
            words = [w for line in row.lines for w in line]
            begins = [min(max(round(w.start_time, 2), c.start_time), last) for w in words]
            expected += [None] * bool(row.prefix) # a dash is never lit
            expected += zip(begins, [*begins[1:], c.end_time])
        for e in back:
            if not round(c.start_time * 1000) <= e.start < round(c.end_time * 1000): continue
            lit = ["563412" in part.split("}")[0] for part in e.text.split("{\\1c")[1:]]
            moment = e.start / 1000
            assert lit == [
                word is not None
                and word[0] <= moment + 1e-6
                and (word[1] > moment + 1e-6 or word[0] >= moment - 1e-6)
                for word in expected
            ]


@given(TEXTS | st.text(max_size=30), TEXTS)
@example("{\\b1}x", "}\\N{")
@example("a\\", "Nb")
@settings(max_examples=200, deadline=None)
def test_no_word_becomes_a_command(text, other):
    assert not set(ass_text(text)) & set("{}\n\r") and not re.search(r"\\(?!\u2060)", ass_text(text))
    word = text if text.strip() else "x"
    s = Segment(0, 0, 2, text="", speaker_id=f"S{text}", words=(Word(word, 0, 1), Word(other, 1, 2)))
    ass = to_ass(analysis(s))
    lines = [x for x in ass.splitlines() if x.startswith("Dialogue:")]
    assert len(lines) == len(events(ass)) and ass.count("Dialogue:") == len(lines) + sum(
        x.count("Dialogue:") - 1 for x in lines
    )
    for e in events(ass):
        rest = OURS.sub("", e.text).replace("\\N", "")
        assert not set(rest) & set("{}") and not re.search(r"\\(?!\u2060)", rest)
        assert e.marginl == 0 and e.effect == ""


# Drawing

def test_a_speaker_has_the_colour_of_every_other_picture():
    a = analysis(
        talk("hello there", who="B"),
        talk("good day", 5, id=1, who="A"),
        talk("hm", 9, id=2, who=None),
        speakers=["A", "B"],
    )
    first, *_ = events(to_ass(a, {"colour": "speaker", "contrast": 1}))
    r, g, b = PALETTE[1][1:3], PALETTE[1][3:5], PALETTE[1][5:7]
    assert f"\\1c&H{b}{g}{r}&" in first.text
    assert "\\1c&HFFFFFF&" in events(to_ass(a, "dynamic"))[-1].text


def test_every_colour_of_the_palette_stands_out_from_black():
    found = [ensure_contrast(c, caption_style().contrast) for c in PALETTE]
    assert len(set(found)) == len(PALETTE)
    assert all(contrast(c, "#000000") >= caption_style().contrast for c in found)


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (1920, 1080), (1080, 1920), (720, 720)])
def test_letters_are_as_high_as_the_style_says_or_as_a_full_line_allows(size):
    back = SSAFile.from_string(to_ass(analysis(talk("hello")), size=size))
    style = back.styles["Captions"]
    assert (back.info["PlayResX"], back.info["PlayResY"]) == tuple(map(str, size))
    assert style.fontsize == pytest.approx(0.07 * min(size), abs=0.06)
    assert (style.marginl, style.marginv) == (round(0.06 * size[0]), round(0.06 * size[1]))
    full = analysis(talk("a line of as many letters as there may be"))  # 41
    letter = SSAFile.from_string(to_ass(full, "plain", size)).styles["Captions"].fontsize
    widest = 0.88 * size[0] / drawn_width(full.segments[0].text)
    assert letter == pytest.approx(min(0.07 * min(size), widest), abs=0.06)


def test_loud_words_shrink_the_caption_and_keep_their_sizes_to_each_other():
    text = "as many letters as there may be in a line"
    loud = analysis(talk(text, step=0.1, levels=[-20, -20, -30, -20, -20, -20, -20, -10, -20, -20]))
    size, style = (640, 480), {"inherits": "dynamic", "by_word": False, "min_size": 1.0, "size_per_sd": 0.3}
    (normal,) = events(to_ass(analysis(talk(text, step=0.1)), style, size))
    (shrunk,) = events(to_ass(loud, style, size))
    sizes = [float(x) for x in re.findall(r"&\\fs([0-9.]+)", shrunk.text)]
    neutral = float(re.search(r"&\\fs([0-9.]+)", normal.text)[1])
    words = caption_lines(loud, style)[0].words
    assert sizes == [pytest.approx(sizes[0] / words[0].size * w.size, abs=0.11) for w in words]
    assert sizes[0] < neutral < max(sizes)


def test_plain_is_one_event_a_caption_and_a_top_style_hangs_from_the_top():
    a = analysis(talk("one two three"))
    assert [e.plaintext for e in events(to_ass(a, "plain"))] == ["one two three"]
    assert int(SSAFile.from_string(to_ass(a, {"position": "top"})).styles["Captions"].alignment) == 8


def test_a_line_runs_in_its_own_direction():
    a = analysis(talk("OpenAI היא חברה."), talk("We know.", 5, id=1), language="he")
    ass = to_ass(a, "plain")
    assert SSAFile.from_string(ass).styles["Captions"].encoding == -1
    # the marks say it: libass would take a line's first letter
    assert [OURS.sub("", e.text) for e in events(ass)] == ["\u200fOpenAI היא חברה.", "\u200eWe know."]
    two = analysis(talk("הלך"), talk("OpenAI כן", 0.2, who="Bob", id=1), language="he")
    for style in ("plain", {"inherits": "karaoke", "spoken_colour": "same"}):
        last = OURS.sub("", events(to_ass(two, style))[-1].text).split("\\N")[-1]
        assert last == "\u200f- Bob:\u200f OpenAI כן"  # the name keeps its place
    english = to_ass(analysis(talk("We know.")), "plain")
    assert SSAFile.from_string(english).styles["Captions"].encoding == 1
    assert not set(english) & {"\u200e", "\u200f"}


def test_spelling_stays_and_overrides_go():
    texts = ["می‌خواهم", "👨‍👩‍👧", "क्‍ष", "a\u202eb\u2066c\x07"]
    assert [ass_text(text) for text in texts] == [*texts[:3], "abc"]
    shown = [e.text for e in events(to_ass(analysis(talk(" ".join(texts[:3])), language="fa")))]
    assert all(text in OURS.sub("", x) for x in shown for text in texts[:3])


def test_nobody_speaking_is_a_file_too(): assert events(to_ass(analysis())) == []


def test_a_phrase_without_spaces_is_drawn_as_one_and_lit_word_by_word():
    levels = [-20, -30, -20, -10, -15, -20]
    a = analysis(talk("知 識 が 成 立 する", step=0.3, levels=levels, joined=""), language="ja")
    (shown,) = caption_lines(a)
    assert [w.text for w in shown.words] == ["知", "識", "が", "成", "立", "する"]
    assert len({w.size for w in shown.words[:3]}) == len({w.size for w in shown.words[3:5]}) == 1
    assert len(events(to_ass(a))) == 6


def test_a_caption_says_what_every_other_format_says():
    a = analysis(talk("We came late, and then we left again without a word to anybody.", step=0.2),
                 talk("Why?", 1.0, who="B", id=1), speakers=["A", "B"])
    cues, events_of = caption_cues(a, "plain"), events(to_ass(a, "plain"))
    assert [OURS.sub("", e.text).split("\\N") for e in events_of] == [list(cue.lines) for cue in cues]
    assert [(e.start, e.end) for e in events_of] == [
        (round(round(cue.start_time, 2) * 1000), round(round(cue.end_time, 2) * 1000)) for cue in cues]


def test_written_whole_or_not_at_all(tmp_path):
    a = analysis(talk("one two three"))
    path = write_captions(a, tmp_path / "new/talk.ass", "karaoke")
    assert path.read_text() == to_ass(a, "karaoke") and os.listdir(path.parent) == ["talk.ass"]
    with pytest.raises(CaptionError): write_captions(a, path, "karaok")
    with pytest.raises(ExportError): write_captions(a, tmp_path / "new", "plain")
    assert path.read_text() == to_ass(a, "karaoke")


# Burning in

def clip(path, seconds=2, size=(320, 180), picture=True, codec="mpeg4", sound="aac"):
    "A grey video with a tone"
    import av
    with av.open(str(path), "w") as container:
        if picture:
            video = container.add_stream(codec, rate=10)
            video.width, video.height, video.pix_fmt, video.bit_rate = *size, "yuv420p", 2_000_000
        audio = container.add_stream(sound, rate=16000, layout="mono")
        for i in range(10 * seconds if picture else 0):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 90, np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            container.mux(video.encode(frame))
        tone = (8000 * np.sin(np.arange(16000 * seconds) / 10)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        container.mux(audio.encode(frame))
        if picture: container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path

def pictures(path):
    import av

    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24").astype(int) for f in container.decode(video=0)]


def sound(path):
    import av
    with av.open(str(path)) as container: return [bytes(p) for p in container.demux(audio=0) if p.size]

SAID = analysis(talk("Loud words", 0.5, 0.4, levels=[]), duration=2) # on the screen from 0.5 to 1.5 s

@with_ffmpeg
@pytest.mark.parametrize("name", ["plain.mp4", "it's [0]; a:b,c=d %d 'x' \\ ü.mkv", "-y.mp4"])
def test_a_real_burn(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    source = clip(Path(name))
    ass = write_captions(SAID, Path("in, [x]:'.ass"), size=frame_size(source))
    told = []
    out = burn(source, ass, Path("out") / name, told.append)
    assert os.listdir(out.parent) == [name] and sorted(os.listdir()) == sorted([name, ass.name, "out"])
    before, after = pictures(source), pictures(out)
    assert len(before) == len(after) and sound(source) == sound(out)
    change = [abs(x - y) for x, y in zip(before, after)]
    assert change[10][120:].max() > 80 and change[10][:80].mean() < 4 # where captions are, and where none are
    assert max(change[i].mean() for i in (0, 2, 17, 19)) < 4 # when none are
    assert told[-1] == 1 and told == sorted(told)


@with_ffmpeg
def test_nothing_moves_from_word_to_word(tmp_path):
    source = clip(tmp_path / "a.mp4", size=(640, 360))
    words = analysis(
        talk(
            "Loud and soft high low",
            0.1,
            0.3,
            levels=[-10, -30, -20, -40, -15],
            pitches=[100, 200, 150, 80, 120],
        ),
        duration=2,
    )
    ass = write_captions(
        words,
        tmp_path / "a.ass",
        {"inherits": "dynamic", "box": 0.0, "upcoming_colour": "#F0F0F0", "colour": "#FFFFFF"},
        (640, 360),
    )
    # letters, halfway to their grey or white
    shown = [frame[..., 1] > 165 for frame in pictures(burn(source, ass, tmp_path / "b.mp4"))[2:15]]
    for other in shown[1:]: assert (shown[0] ^ other).sum() < 0.03 * shown[0].sum()


@with_ffmpeg
def test_sound_alone_gets_a_dark_picture(tmp_path):
    source = clip(tmp_path / "a.wav", picture=False, sound="pcm_s16le")
    assert frame_size(source) == BACKGROUND
    out = burn(source, write_captions(SAID, tmp_path / "a.ass", size=BACKGROUND), tmp_path / "b.mkv")
    frames = pictures(out)
    assert (
        frames[25].shape == (720, 1280, 3)
        and 48 <= len(frames) <= 52
        and b"".join(sound(out)) == b"".join(sound(source))
    )
    assert frames[2].max() < 60 and frames[25].max() > 150


@with_ffmpeg
def test_sound_that_does_not_fit_says_that_there_is_no_picture(tmp_path):
    source = clip(tmp_path / "talk.wav", picture=False, sound="pcm_s16le")
    ass = write_captions(SAID, tmp_path / "a.ass")
    with pytest.raises(
        CaptionError, match="talk.wav: it has no picture.*mp4 can't hold its sound.*mkv.*untouched"
    ) as caught:
        burn(source, ass, tmp_path / "talk.captions.mp4")
    assert "pcm_s16le" in str(caught.value) and "Error initializing" not in str(caught.value)
    with pytest.raises(CaptionError, match="captions are burnt into a video; its name ends in .mp4"):
        burn(source, ass, tmp_path / "b.wav")


@with_ffmpeg
def test_what_stood_there_stays_when_it_fails(tmp_path):
    source, out = clip(tmp_path / "a.mp4"), tmp_path / "b.webm"
    ass = write_captions(SAID, tmp_path / "a.ass")
    out.write_text("before")
    # webm takes no AAC
    with pytest.raises(CaptionError, match="can't burn captions into b.webm: .*untouched.*mkv"):
        burn(source, ass, out)
    with pytest.raises(RuntimeError, match="stop"):
        def stop(share): raise RuntimeError("stop")
        burn(source, ass, tmp_path / "c.mp4", stop)
    assert out.read_text() == "before" and sorted(os.listdir(tmp_path)) == ["a.ass", "a.mp4", "b.webm"]
    with pytest.raises(CaptionError, match="is the video itself"): burn(source, ass, source)
    with pytest.raises(CaptionError, match="ends in .mp4"): burn(source, ass, tmp_path / "b.txt")
    with pytest.raises(CaptionError, match="no such file"):
        burn(source, tmp_path / "none.ass", tmp_path / "b.mp4")
    with pytest.raises(CaptionError, match="no such file"):
        burn(tmp_path / "none.mp4", ass, tmp_path / "b.mp4")
    with pytest.raises(CaptionError, match="neither picture nor sound"): burn(ass, ass, tmp_path / "b.mp4")
    with pytest.raises(CaptionError, match="b.webm: no picture can be read"):
        burn(out, ass, tmp_path / "b.mp4")
    assert len(pictures(source)) == 20


@with_ffmpeg
def test_an_ffmpeg_without_libass_is_passed_over(tmp_path, monkeypatch):
    poor = tmp_path / "ffmpeg"
    poor.write_text("#!/bin/sh\necho ' T.. scale V->V'\n")
    poor.chmod(poor.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("ffmpeg") == str(poor) and find_ffmpeg() == FFMPEG
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CaptionError, match="built without libass.*apt install ffmpeg"): find_ffmpeg()


def test_no_ffmpeg_at_all_says_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CaptionError, match="there is none.*VLC and mpv"):
        burn("a.mp4", "a.ass", tmp_path / "b.mp4")


def test_the_preset_file_tells_of_every_key(root):
    text = (root / "ecg_audio_nb/assets/captions.toml").read_text()
    assert all(re.search(rf"^{key} = .+ # .+", text, re.M) for key in tomllib.loads(text)["plain"])
