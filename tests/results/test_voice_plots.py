"""Pictures of phonetics: each value stands where it belongs, what is missing is told, texts keep apart"""

import warnings
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pd = pytest.importorskip("pandas")
from matplotlib import colors
from made_results import result, said
from test_plots import notes, outside_or_overlapping, texts, tone

from ecg_audio_nb.core.html import PALETTE
from ecg_audio_nb.results.figures import PlotError
from ecg_audio_nb.results.voice_plots import (
    MAX_STRIPS,
    bark_to_hz,
    hz_to_bark,
    plot_prosody_strip,
    plot_voice_range,
    plot_vowel_space,
    sd_ellipse,
)
from ecg_audio_nb.schema import AcousticFeatures, Analysis, FullFeatures, Metadata, Turn
from ecg_audio_nb.voice.acoustics import frames

RATE = 16000


def voiced(n=12, speakers=2, text="word", step=0.4, **features):
    "A result whose words have formants, a segment a speaker"
    rng, segments = np.random.default_rng(1), []
    for i in range(speakers):
        s = said(i, " ".join([text] * n), i * (n * step + 0.5), step, f"SPEAKER_{i:02d}")
        words = [
            replace(w, acoustic_features=FullFeatures(
                -30 + 3 * rng.normal(), 110 * 2**(i / 2 + rng.normal() / 8), f1_hz=400 + 150 * i + 60 * rng.normal(),
                f2_hz=1500 + 200 * rng.normal(), **features))
            for w in s.words
        ]  # fmt: skip
        segments.append(replace(s, words=tuple(words)))
    return result(*segments, duration=speakers * (n * step + 0.5) + 1)


NOTHING = Analysis((), (), (), Metadata("nothing.wav"))
BASIC = result(said(0, "one two three"), duration=5)


def drawn(ax):
    return {c.get_gid(): np.asarray(c.get_offsets()) for c in ax.collections if c.get_gid()}


# Vowel space


def test_a_point_is_a_word_and_the_axes_run_backwards():
    a = voiced()
    ax = plot_vowel_space(a, scale="hz").axes[0]
    for speaker, points in drawn(ax).items():
        own = [w.acoustic_features for w in a.words if w.speaker_id == speaker]
        assert sorted(map(tuple, points)) == sorted((f.f2_hz, f.f1_hz) for f in own)
    assert set(drawn(ax)) == {"SPEAKER_00", "SPEAKER_01"}
    assert ax.get_xlim()[0] > ax.get_xlim()[1] and ax.get_ylim()[0] > ax.get_ylim()[1]
    in_bark = drawn(plot_vowel_space(a).axes[0])["SPEAKER_00"]
    assert bark_to_hz(in_bark) == pytest.approx(drawn(ax)["SPEAKER_00"])


def test_bark_is_traunmuellers():
    # Traunmüller (1990): z = 26.81 f/(1960 + f) - 0.53
    assert hz_to_bark(500.0) == pytest.approx(26.81 * 500 / 2460 - 0.53)
    assert bark_to_hz(hz_to_bark(np.array([200.0, 3000]))) == pytest.approx([200, 3000])


def test_the_ellipse_is_one_standard_deviation():
    x = np.array([-1, 1, 0, 0, 0.0]) * 3
    y = np.array([0, 0, -1, 1, 0.0])
    ring = sd_ellipse(x + 10, y - 5)
    assert ring.max(0) == pytest.approx([10 + 3 / 2**0.5, -5 + 0.5**0.5])
    assert ring.min(0) == pytest.approx([10 - 3 / 2**0.5, -5 - 0.5**0.5])
    assert sd_ellipse(x[:4], y[:4]) is None


def test_legend_counts_words_and_the_note_those_without_formants():
    a = voiced()
    first = a.segments[0]
    words = tuple(replace(w, acoustic_features=AcousticFeatures()) for w in first.words[:4]) + first.words[4:]
    fig = plot_vowel_space(replace(a, segments=(replace(first, words=words), a.segments[1])))
    labels = [t.get_text() for t in fig.axes[0].get_legend().get_texts()]
    assert labels == ["SPEAKER_00, 8", "SPEAKER_01, 12"] and "4 of 24 words have no formants" in notes(fig)
    shown = [colors.to_hex(c.get_facecolor()[0]).upper() for c in fig.axes[0].collections]
    assert shown == list(PALETTE[:2])


def test_a_table_of_many_files_and_a_column_of_its_own():
    a = voiced()
    table = pd.concat([a.to_frame().assign(file=f"{name}/talk.json") for name in ("x", "y")])
    table["vowel"] = ["i", "a"] * (len(table) // 2)
    with_kinds = pd.concat([table, table.head(1).assign(kind="silence")])
    assert len(drawn(plot_vowel_space(with_kinds, "vowel").axes[0])["i"]) == 24
    table["file"] = ["x.json"] * 24 + ["y.json"] * 24
    names = set(drawn(plot_vowel_space(table).axes[0]))
    assert names == {f"{f} SPEAKER_0{i}" for f in "xy" for i in (0, 1)}
    table["speaker_name"] = pd.array(["Ada"] * 24 + [None] * 24, "string")
    names = set(drawn(plot_vowel_space(table).axes[0]))
    assert names == {"Ada", "y SPEAKER_00", "y SPEAKER_01"}


def test_more_groups_than_colours_are_grey_and_told():
    table = voiced(200, 1).to_frame()
    table["reader"] = [f"r{i % 11:02d}" for i in range(200)]
    fig = plot_vowel_space(table, "reader")
    assert "grey: 3 more groups" in notes(fig) and len(fig.axes[0].get_legend().get_texts()) == 8


@pytest.mark.parametrize("draw", [plot_vowel_space, plot_voice_range])
def test_what_can_not_be_drawn_says_so(draw):
    with pytest.raises(TypeError, match="give an Analysis, or a table of words"):
        draw(["talk.json"])
    with pytest.raises(PlotError, match="no column"):
        draw(pd.DataFrame({"speaker_id": ["A"], "word": ["a"]}))
    for a in (NOTHING, BASIC):
        fig = draw(a)
        assert len(texts(fig)) == 1 and outside_or_overlapping(fig) == []
    with pytest.raises(PlotError, match="scale = 'mel': bark or hz"):
        plot_vowel_space(voiced(), scale="mel")


def test_features_without_formants_name_the_setting():
    table = BASIC.to_frame().drop(columns=["f1_hz", "f2_hz"], errors="ignore")
    with pytest.raises(PlotError, match="features = full"):
        plot_vowel_space(table)


# Voice range


def test_each_speaker_has_a_panel_with_all_of_its_frames():
    y = np.concatenate([tone(3, 110), np.zeros(8000, np.float32), 0.1 * tone(2, 220)])
    turns = (Turn(0, 3, "A"), Turn(3.5, 5.5, "B"))
    f = frames(y)
    fig = plot_voice_range(Analysis((), turns, (), Metadata("two.wav", duration=5.5)), f)
    panels = [ax for ax in fig.axes if ax.get_title(loc="left")]
    titles = [ax.get_title(loc="left") for ax in panels]
    inside = np.isfinite(f.f0) & np.isfinite(f.level)
    for title, (who, start, end, hz) in zip(titles, (("A", 0, 3, 110), ("B", 3.5, 5.5, 220))):
        n = int((inside & (f.times >= start) & (f.times < end)).sum())
        assert title.startswith(f"{who}: {n} frames\nmedian {hz} Hz, −")
    for ax in panels:
        (mesh,) = [c for c in ax.collections if c.get_array() is not None]
        assert np.ma.filled(mesh.get_array(), 0).sum() == pytest.approx(100)
    medians = [line.get_xdata()[0] for ax in panels for line in ax.lines if line.get_gid() == "median"]
    assert medians == pytest.approx([110, 220], rel=0.01)
    assert outside_or_overlapping(fig) == []


def test_words_of_a_table_make_panels_and_the_rest_is_told():
    table = voiced(20, 8).to_frame()
    fig = plot_voice_range(table)
    assert len([ax for ax in fig.axes if ax.get_title(loc="left")]) == 6
    assert "2 more speakers have less speech" in notes(fig) and outside_or_overlapping(fig) == []


# Prosody strip


def contour(ax):
    "F0 as drawn, by speaker"
    return {line.get_gid(): np.asarray(line.get_ydata()) for line in ax.lines if line.get_gid()}


def test_f0_is_in_semitones_from_each_speakers_median():
    y = np.concatenate([tone(1, 100), tone(1, 100), tone(1, 200), tone(2, 300), tone(1, 150)])
    turns = (Turn(0, 3, "A"), Turn(3, 6, "B"))
    a = Analysis((), turns, (), Metadata("two.wav", duration=6))
    pitch, level, _ = plot_prosody_strip(a, frames(y)).axes
    of = contour(pitch)
    assert np.nanmedian(of["A"][:150]) == pytest.approx(0, abs=0.05) and np.nanmedian(of["A"][220:290]) == pytest.approx(12, abs=0.05)
    assert np.nanmedian(of["B"][330:480]) == pytest.approx(0, abs=0.05) and np.nanmedian(of["B"][520:590]) == pytest.approx(-12, abs=0.05)
    assert np.isnan(of["A"][300:]).all() and np.isnan(of["B"][:300]).all()
    assert {c.get_gid() for c in level.collections} == {"A", "B"}


def test_a_gap_in_the_line_is_where_there_is_no_voice():
    y = tone(3, 150)
    y[RATE : 2 * RATE] = 0.02 * np.random.default_rng(0).normal(size=RATE)
    a = Analysis((), (Turn(0, 3, "A"),), (), Metadata("gap.wav", duration=3))
    line = contour(plot_prosody_strip(a, frames(y)).axes[0])["A"]
    assert np.isnan(line[115:185]).mean() > 0.9 and np.isfinite(line[10:90]).all()


def test_no_voice_creak_and_not_measurable_look_different():
    reasons = ["unvoiced", "overlapped", "too_short", "clipped", "silent"]
    features = [FullFeatures(reasons={"pitch_hz": r}) for r in reasons] + [FullFeatures(creak_fraction=0.6), FullFeatures(pitch_hz=100)]
    s = said(0, "no over short clip quiet creak voice")
    words = tuple(replace(w, acoustic_features=f) for w, f in zip(s.words, features))
    fig = plot_prosody_strip(result(replace(s, words=words), duration=4), frames(tone(4)))
    pitch = fig.axes[0]
    dotted = [line for line in pitch.lines if line.get_gid() == "not measurable" and len(line.get_xdata()) == 2]
    starts = [w.start_time for w in words]
    assert [line.get_xdata()[0] for line in dotted] == [starts[1], starts[2], starts[3]]
    (hatched,) = [p for p in pitch.patches if p.get_hatch()]
    assert hatched.get_extents() and hatched.get_x() == pytest.approx(starts[5])
    legend = [t.get_text() for t in fig.legends[0].get_texts()]
    assert legend[-2:] == ["F0: creak", "F0: not measurable"]
    plain = plot_prosody_strip(result(said(0, "a b"), duration=4), frames(tone(4)))
    assert not {"F0: creak", "F0: not measurable"} & {t.get_text() for t in plain.legends[0].get_texts()}


def test_every_word_is_written_once_where_it_begins():
    a = voiced(20, 2, step=0.6)
    fig = plot_prosody_strip(a, frames(tone(25)), seconds=5)
    shown = [(t.get_text(), t.get_position()[0]) for t in texts(fig)]
    assert [w for w, _ in shown] == [w.word for w in a.words]
    assert [x for _, x in shown] == pytest.approx([w.start_time for w in a.words])
    assert len(fig.axes) == 3 * 6 and outside_or_overlapping(fig) == []


@pytest.mark.parametrize("text", ["안녕하세요", "extraordinarily", "$5_x", "東京"])
def test_long_and_other_scripts(text):
    a = voiced(8, 2, text, step=0.5)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        fig = plot_prosody_strip(a, frames(tone(9.5)))
        assert outside_or_overlapping(fig) == [] and fig._repr_png_().startswith(b"\x89PNG")


def test_what_is_left_out_is_told():
    crowded = plot_prosody_strip(voiced(30, 1, "extraordinarily", 0.05), frames(tone(3)))
    assert "words have no room: choose a smaller `seconds`" in notes(crowded) and outside_or_overlapping(crowded) == []
    long = Analysis((), (Turn(0, 200, "A"),), (), Metadata("long.wav", duration=200))
    fig = plot_prosody_strip(long, frames(tone(200)))
    assert len(fig.axes) == 3 * MAX_STRIPS and "of 200 s: choose start and end" in notes(fig)


@pytest.mark.parametrize("n", [0, 1, 12])
def test_any_number_of_speakers(n):
    a = voiced(3, n) if n else NOTHING
    f = frames(tone(max(a.metadata.duration, 0.5)))
    for fig in (plot_prosody_strip(a, f), plot_voice_range(a, f), plot_vowel_space(a)):
        assert outside_or_overlapping(fig) == [] and len(fig._repr_png_()) < 60_000


def test_wrong_arguments():
    with pytest.raises(TypeError, match="frames is None"):
        plot_prosody_strip(voiced())
    with pytest.raises(PlotError, match="seconds = 0"):
        plot_prosody_strip(voiced(), frames(tone(2)), seconds=0)
    with pytest.raises(PlotError, match="no part of a file"):
        plot_prosody_strip(voiced(), frames(tone(2)), 5, 2)
