"""The pictures: what is drawn is what was measured, in the shared colours, without pyplot; and no analysis is
too small or too large"""
import pickle, re, subprocess, sys, warnings
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib import colors
from matplotlib.figure import Figure

from ecg_audio_nb.results import figures, plots
from ecg_audio_nb.speech import voice_encoder
from ecg_audio_nb.core.html import PALETTE, colours
from ecg_audio_nb.voice.acoustics import Frames, frames
from ecg_audio_nb.audio.media import Audio
from ecg_audio_nb.results.plots import (
    PlotError,
    solo_spans,
    envelope,
    place_words,
    plot_similarity,
    plot_analysis,
    plot_speakers,
    plot_talk_time,
    plot_voice,
    plot_waveform,
    speaker_colours,
    downsample,
    voice_embeddings,
    voice_similarity,
    speaker_at,
)
from ecg_audio_nb.schema import (
    AcousticFeatures,
    Analysis,
    Metadata,
    Range,
    Segment,
    Speaker,
    Turn,
    VoiceRanges,
    Word,
)

RATE = 16000
IDS = [f"SPEAKER_{i:02d}" for i in range(12)]


def tone(seconds, hz=150.0):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def talk(n=2, seconds=2.0, words=4, text="word", **metadata):
    """`n` speakers, one after the other, each with one turn of `seconds` and a pause of half a second behind
    it"""
    segments, turns = [], []
    for i, who in enumerate(IDS[:n]):
        start, step = i*(seconds + 0.5), seconds/words
        said = tuple(Word(text, start + k*step, start + (k + 0.8)*step, speaker_id=who) for k in range(words))
        segments.append(
            Segment(i, start, start + seconds, speaker_id=who, text=" ".join([text] * words), words=said)
        )
        turns.append(Turn(start, start + seconds, who))
    speakers = tuple(
        Speaker(who, seconds, 1, words, AcousticFeatures(-20 - i, 100 + 20 * i, 900))
        for i, who in enumerate(IDS[:n])
    )
    return Analysis(
        tuple(segments),
        tuple(turns),
        speakers,
        Metadata("talk.wav", duration=n * (seconds + 0.5), **metadata),
    )


NOTHING = Analysis((), (), (), Metadata("nothing.wav"))


def five(a, audio):
    "All pictures of an analysis"
    ids = list(dict.fromkeys(t.speaker_id for t in a.turns))
    return [
        plot_analysis(a),
        plot_waveform(a, audio),
        plot_voice(a, frames(audio.samples)),
        plot_speakers(a),
        plot_talk_time(a),
        plot_similarity(a, (ids, np.eye(len(ids)))),
    ]


def texts(fig): return [t for ax in fig.axes for t in ax.texts]
def notes(fig): return " ".join(t.get_text() for t in fig.texts)
def lanes(fig): return {c.get_gid(): c for c in fig.axes[-1].collections if c.get_gid()}
def spans(collection): return [(p.get_extents().x0, p.get_extents().width) for p in collection.get_paths()]
def lines(ax): return {line.get_gid(): line for line in ax.lines}


def outside_or_overlapping(fig):
    "Texts of a figure that leave it, are too small, or lie over each other"
    fig.draw_without_rendering()
    labels = [t for ax in fig.axes for t in [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]]
    for ax in fig.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            seen = [tick for tick in axis.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
            labels += [t for tick in seen for t in (tick.label1, tick.label2)]
    labels = [t for t in [*labels, *fig.texts] if t.get_text() and t.get_visible()]
    boxes = [t.get_window_extent() for t in labels]
    faults = [f"small: {t.get_text()}" for t in labels if t.get_size() < 8]
    faults += [f"outside: {t.get_text()}" for t, b in zip(labels, boxes)
               if min(b.x0, b.y0) < -1 or b.x1 > fig.bbox.width + 1 or b.y1 > fig.bbox.height + 1]
    def over(a, b): return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 3
    straight = [(t, b) for t, b in zip(labels, boxes) if t.get_rotation() in (0, 90)]
    faults += [
        f"over: {t.get_text()} / {u.get_text()}"
        for i, (t, a) in enumerate(straight)
        for u, b in straight[:i]
        if over(a, b)
    ]
    return faults


# A figure, and only that

def test_they_are_figures_that_show_themselves_and_leave_nothing_open():
    for fig in five(talk(), Audio(tone(5))):
        assert isinstance(fig, Figure) and fig._repr_png_().startswith(b"\x89PNG")
        assert pickle.loads(pickle.dumps(fig))._repr_png_().startswith(b"\x89PNG")
    import matplotlib.pyplot as plt
    assert plt.get_fignums() == []


def test_pyplot_is_not_loaded_and_jupyter_shows_them_all_the_same():
    code = (
        "import sys; from IPython.core.formatters import DisplayFormatter; from ecg_audio_nb.results.plots "
        "import plot_talk_time; "
        "from ecg_audio_nb.schema import Analysis, Metadata; fig = plot_talk_time(Analysis((), (), (), "
        "Metadata('a.wav'))); "
        "print(sorted(DisplayFormatter().format(fig)[0]), 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("['image/png', 'text/plain'] False", "")


def test_a_readers_style_is_neither_used_nor_changed():
    import matplotlib as mpl
    plain = plot_talk_time(talk())._repr_png_()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 300}):
        before = dict(mpl.rcParams)
        assert plot_talk_time(talk())._repr_png_() == plain
        assert dict(mpl.rcParams) == before


def test_matplotlib_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (plot_speakers, plot_talk_time):
        with pytest.raises(PlotError, match=re.escape("pip install 'ecg-audio-nb[lab]'")): draw(talk())


def test_the_png_keeps_solid_colours():
    from io import BytesIO
    from PIL import Image
    shown = Image.open(BytesIO(plot_talk_time(talk(8))._repr_png_()))
    found = {rgb for _, rgb in shown.convert("RGB").getcolors(1 << 20)}
    assert (
        shown.mode == "P"
        and {tuple(round(255 * x) for x in colors.to_rgb(c)) for c in PALETTE} | {(255, 255, 255)} <= found
    )


# Nothing, too much, and names of all kinds

@pytest.mark.parametrize(
    "a, samples",
    [
        (NOTHING, np.zeros(0, np.float32)),
        (replace(NOTHING, metadata=Metadata("room.wav", duration=5)), np.zeros(5 * RATE, np.float32)),
        (talk(1), tone(2.5)),
        (talk(12), tone(30)),
        (replace(talk(), speakers=()), tone(5)),
        (replace(talk(), turns=()), tone(5)),
        (replace(talk(), segments=()), tone(5)),
        (replace(talk(3), speakers=talk().speakers[:1]), tone(7.5)),
        (talk(2, text="$5_x"), tone(5)),
        (replace(talk(), metadata=Metadata("$a$ long name " * 20, duration=5)), tone(5)),
    ],
    ids=[
        "nothing",
        "silence",
        "one",
        "twelve",
        "no speakers",
        "no turns",
        "no words",
        "fewer speakers",
        "dollars",
        "name",
    ],
)
def test_every_analysis_can_be_drawn_and_read(a, samples):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fig in five(a, Audio(samples)):
            assert fig._repr_png_() and outside_or_overlapping(fig) == []


def test_words_without_a_speaker_have_a_lane_of_their_own():
    a = talk()
    nobody = Segment(9, 4.6, 5, text="hm", words=(Word("hm", 4.6, 5),))
    a = replace(a, segments=(*a.segments, nobody))
    fig = plot_waveform(a, Audio(tone(5)))
    assert [t.get_text() for t in fig.axes[1].get_yticklabels()] == ["SPEAKER_00", "SPEAKER_01", "no speaker"]
    assert spans(lanes(fig)["no speaker"]) == [pytest.approx((4.6, 0.4))]
    for fig in five(a, Audio(tone(5))): assert outside_or_overlapping(fig) == []


def test_three_hours():
    hours, a = 3*3600, talk(4, 2700 - 0.5, words=6000)
    n = hours*100
    f0 = np.where(np.arange(n) % 3, 120, np.nan).astype(np.float32)
    measured = Frames(
        RATE, hours * RATE, 16, 160, np.full(10 * n, 0.1, np.float32), np.ones(n, np.float32), f0, f0
    )
    shown = (
        plot_waveform(a, Audio(np.broadcast_to(np.float32(0.1), hours * RATE))),
        plot_voice(a, measured),
        plot_talk_time(a),
    )
    assert "24000 words in 10800 s are too many" in notes(shown[0]) and "median of 3.6 s" in notes(shown[1])
    for fig in shown: assert outside_or_overlapping(fig) == [] and len(fig._repr_png_()) < 60_000
    assert "h:mm:ss" in shown[0].axes[1].get_xlabel()


@pytest.mark.parametrize("start, end", [(5, 2), (-1, 2), (9, None), (2, 2), (float("nan"), 2)])
def test_a_span_outside_the_file(start, end):
    with pytest.raises(PlotError, match="no part of a file of 5 s"):
        plot_waveform(talk(), Audio(tone(5)), start, end)


# One colour a speaker

def test_colours_are_the_shared_ones():
    a = talk(9)
    shared = colours(s.speaker_id for s in a.speakers)
    assert {k: v for k, v in speaker_colours(a).items() if k} == shared and list(speaker_colours(a))[
        -1
    ] is None
    audio = Audio(tone(22.5))
    for fig in (plot_waveform(a, audio), plot_voice(a, frames(audio.samples))):
        assert {who: colors.to_hex(c.get_facecolor()[0]).upper() for who, c in lanes(fig).items()} == shared
    drawn = {
        who: line.get_color()
        for who, line in lines(plot_voice(a, frames(audio.samples)).axes[0]).items()
        if who in shared
    }
    assert drawn == shared
    assert [colors.to_hex(b.get_facecolor()).upper() for b in plot_talk_time(a).axes[0].patches] == list(
        shared.values()
    )
    rings = [line.get_markeredgecolor() for line in plot_speakers(a).axes[0].lines]
    assert rings == list(shared.values())


def test_a_stranger_moves_no_colour():
    a = talk()
    with_guest = replace(a, turns=(Turn(0, 1, "guest"), *a.turns))
    assert list(speaker_colours(with_guest).items())[:2] == list(speaker_colours(a).items())[:2]


# Waveform, turns, words

def test_no_peak_is_lost():
    y = np.zeros(1_000_000, np.float32)
    y[[123_456, 900_001]] = 0.9, -0.7
    edges, low, high = envelope(y, 300)
    assert (len(edges), high.max(), low.min()) == (300, np.float32(0.9), np.float32(-0.7))
    assert edges[high.argmax()] <= 123_456 < edges[high.argmax() + 1]
    assert [len(x) for x in envelope(y[:5])] == [5]*3 and [len(x) for x in envelope(y[:0])] == [0]*3


def test_bars_are_as_long_as_turns():
    a = talk(3)
    fig = plot_waveform(a, Audio(tone(7.5)))
    assert {who: spans(c) for who, c in lanes(fig).items()} == {
        t.speaker_id: [(pytest.approx(t.start_time), pytest.approx(t.end_time - t.start_time))]
        for t in a.turns
    }
    assert fig.axes[0].get_xlim() == fig.axes[1].get_xlim() == (0, 7.5)


def test_words_begin_where_they_are_spoken_and_keep_apart():
    a = talk(2)
    fig = plot_waveform(a, Audio(tone(5)))
    shown = texts(fig)
    assert [t.get_text() for t in shown] == [w.word for w in a.words] and not notes(fig)
    assert [t.get_position()[0] for t in shown] == pytest.approx([w.start_time for w in a.words])
    part = plot_waveform(a, Audio(tone(5)), 0, 2.2)
    assert len(texts(part)) == 4 and part.axes[1].get_xlim() == (0, 2.2) and len(lanes(part)) == 1


def test_silence_is_not_written_and_filled_in_times_are_told():
    a = talk(1)
    first, second, *rest = a.segments[0].words
    words = replace(first, kind="silence", word="[SILENCE]"), replace(second, timing="interpolated"), *rest
    fig = plot_waveform(replace(a, segments=(replace(a.segments[0], words=words),)), Audio(tone(2.5)))
    assert [t.get_text() for t in texts(fig)] == ["word"]*3 and "interpolated" in notes(fig)
    assert texts(fig)[0].get_color() != texts(fig)[1].get_color()


def test_too_many_words_are_left_out_and_counted():
    crowded = plot_waveform(talk(1, 2, words=60, text="extraordinary"), Audio(tone(2.5)))
    assert texts(crowded) == [] and notes(crowded).startswith("60 words in 2 s are too many")
    a = talk(1, 60, words=100)
    fits = plot_waveform(a, Audio(tone(60.5)))
    assert len(texts(fits)) == 100 and outside_or_overlapping(fits) == []
    ten = tuple(Word("burst", 60 + k/20, 60 + k/20 + 0.04, speaker_id=IDS[0]) for k in range(10))
    burst = Segment(1, 60, 60.5, speaker_id=IDS[0], words=ten)
    some = plot_waveform(replace(a, segments=(*a.segments, burst)), Audio(tone(60.5)))
    assert 99 <= len(texts(some)) < 110 and f"{110 - len(texts(some))} of 110 words have no room" in notes(
        some
    )
    assert outside_or_overlapping(some) == []


def test_room_for_words():
    assert place_words([(0, 1), (0.5, 1), (1.1, 1), (1.2, 1), (8.8, 1)], 9, rows=2) == [
        (0, 0),
        (0.5, 1),
        (1.1, 0),
        None,
        (8, 0),
    ]
    assert place_words([], 9) == []


# F0 and level

def test_gaps_where_unvoiced_and_silent():
    y = np.concatenate([tone(1), np.zeros(RATE//2, np.float32), tone(1)])
    measured = frames(y)
    a = Analysis((), (Turn(0, 2.5, "A"),), (), Metadata("a.wav", duration=2.5))
    pitch, level, _ = plot_voice(a, measured).axes
    f0, db = lines(pitch)["A"], lines(level)["A"]
    assert np.array_equal(f0.get_ydata(), measured.f0, equal_nan=True) and np.array_equal(
        db.get_ydata(), measured.level, equal_nan=True
    )
    assert np.array_equal(f0.get_xdata(), measured.times)
    silent = (measured.times > 1.05) & (measured.times < 1.45)
    assert np.isnan(f0.get_ydata()[silent]).all() and np.isnan(db.get_ydata()[silent]).all()
    assert np.nanmedian(f0.get_ydata()) == pytest.approx(150, abs=1) and pitch.get_yscale() == "log"


def test_frames_belong_to_whoever_talks():
    turns = [Turn(0, 2, "A"), Turn(1, 3, "B"), Turn(1.5, 1.8, "A")]
    assert speaker_at(np.array([0.5, 1.2, 1.6, 2.5, 3.5]), turns, ["A", "B"]).tolist() == [0, -2, -2, 1, -1]
    a = Analysis((), tuple(turns), (), Metadata("a.wav", duration=4))
    fig = plot_voice(a, frames(tone(4)))
    covered = {who: np.isfinite(line.get_ydata()).sum() for who, line in lines(fig.axes[1]).items()}
    assert covered == {"A": 100, "B": 100, "several": 100, "nobody": 100}
    assert "black: several at once" in notes(fig)


def test_thinning_is_by_the_median_of_what_there_is():
    values = np.array([100, np.nan, 300, np.nan, np.nan, np.nan, 50])
    assert np.array_equal(downsample(values, 3), [200, np.nan, 50], equal_nan=True)
    assert downsample(values, 1) is values


# Speakers and talk time

def test_ranges_values_and_what_is_not_known():
    spread = VoiceRanges(Range(-30, -24, -20), Range(90, 110, 140), None)
    speakers = (Speaker("A", ranges=spread, acoustic_features=AcousticFeatures(-23, 111, 800)),
                Speaker("B", acoustic_features=AcousticFeatures(-25, None, 900)))
    level, pitch, brightness = plot_speakers(Analysis((), (), speakers, Metadata("a.wav"))).axes
    [bar] = level.patches
    assert (bar.get_x(), bar.get_width()) == (-30, 10)
    assert sorted(line.get_xdata()[0] for line in level.lines) == [-25, -24]
    assert [t.get_text() for t in level.texts] == ["−24", "−25"]
    [bar] = pitch.patches
    assert (bar.get_x(), bar.get_width()) == (90, 50) and [t.get_text() for t in pitch.texts] == [
        "110",
        "not known",
    ]
    assert not brightness.patches and [line.get_xdata()[0] for line in brightness.lines] == [800, 900]
    assert [ax.get_xlabel() for ax in (level, pitch, brightness)] == [
        "level (dBFS)",
        "F0 (Hz, log axis)",
        "spectral centroid (Hz)",
    ]


@pytest.mark.parametrize("a", [talk(2), replace(talk(2), speakers=())])
def test_talk_time_is_that_of_the_turns(a):
    fig = plot_talk_time(a)
    assert [b.get_width() for b in fig.axes[0].patches] == [2.0, 2.0]
    assert [t.get_text() for t in texts(fig)] == ["2.0 s · 50 % · 4 words"]*2


# Likeness of voices

class Encoder:
    "Stands in for the network: two voices in turn, a call each; seconds of sound heard are counted"
    def __init__(self): self.heard, self.calls = 0.0, 0

    def run(self, _, feeds):
        n = len(feeds["fbank"][0])
        self.heard, self.calls = self.heard + n / 100, self.calls + 1
        return [np.tile(np.eye(512, dtype=np.float32)[self.calls % 2], (1, -(-n // 2), 1))]


@pytest.fixture
def plain_head(monkeypatch):  # the direction is the mean of the frames
    monkeypatch.setattr(
        voice_encoder, "load_head", lambda: lambda mean, deviation: voice_encoder.unit(mean[:192])
    )


def test_only_speech_alone_counts():
    turns = [Turn(0, 2, "A"), Turn(1, 3, "B"), Turn(4, 9, "A"), Turn(1.2, 1.8, "C")]
    assert solo_spans(turns) == {"A": [(4, 9), (0, 1)], "B": [(2, 3)], "C": []} and solo_spans([]) == {}


def test_alike_and_not_alike(plain_head):
    audio = Audio(np.concatenate([tone(2, 300), tone(2, 2500), tone(2, 300)]))
    turns = [Turn(0, 2, "A"), Turn(2, 4, "B"), Turn(4, 6, "C"), Turn(6, 6.1, "D")]
    names, alike = voice_similarity(audio, turns, Encoder())
    assert names == ["A", "B", "C", "D"]
    assert (
        alike[:3, :3].tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
        and np.isnan(alike[3]).all()
        and np.isnan(alike[:, 3]).all()
    )
    fig = plot_similarity(Analysis((), tuple(turns), (), Metadata("a.wav", duration=6.1)), (names, alike))
    assert [t.get_text() for t in texts(fig)][:4] == ["1.00", "0.00", "1.00", "–"] and outside_or_overlapping(
        fig
    ) == []
    assert voice_similarity(audio, [], Encoder())[1].shape == (0, 0)


def test_a_long_voice_costs_a_minute():
    encoder = Encoder()
    voice_embeddings(Audio(np.tile(tone(1), 300)), [Turn(i, i + 50, "A") for i in range(0, 300, 60)], encoder)
    assert 60*3.5/3 - 3 < encoder.heard < 60*3.5/3 + 3 # 0.5 s of context to each 3 s


def test_another_sample_rate():
    with pytest.raises(PlotError, match="16000 Hz, not 8000 Hz"): voice_embeddings(Audio(tone(1), 8000), [])


def test_no_square_matrix():
    with pytest.raises(
        PlotError,
        match=(
            r"2 names and a matrix "
            r"of shape \(3, 3\)"
        ),
    ):
        plot_similarity(talk(), (IDS[:2], np.eye(3)))


def test_the_packaged_encoder_knows_a_voice_by_itself(monkeypatch):
    rng = np.random.default_rng(0)
    audio = Audio(np.concatenate([tone(4, 130), (0.1*rng.standard_normal(4*RATE)).astype(np.float32)]))
    turns = [Turn(0, 2, "A"), Turn(2, 4, "B"), Turn(4, 8, "C")]
    _, alike = voice_similarity(audio, turns)
    assert np.allclose(np.diag(alike), 1, atol=1e-3) and alike[0, 1] > 0.95 > alike[0, 2]


# The result alone

def test_words_have_their_level_and_f0():
    a = talk()
    measured = [
        replace(w, acoustic_features=AcousticFeatures(-20 - i, None if i == 1 else 100 + i))
        for i, w in enumerate(a.words)
    ]
    segments = tuple(replace(s, words=tuple(measured[4*i:4*i + 4])) for i, s in enumerate(a.segments))
    fig = plot_analysis(replace(a, segments=segments), 0, 4.5)
    pitch, level, _ = fig.axes
    drawn = {c.get_gid(): [(s[0][0], s[1][0], s[0][1]) for s in c.get_segments()] for c in level.collections}
    assert drawn == {
        who: [
            (w.start_time, w.end_time, w.acoustic_features.volume_db) for w in measured if w.speaker_id == who
        ]
        for who in IDS[:2]
    }
    assert [len(c.get_segments()) for c in pitch.collections] == [3, 4] and pitch.get_yscale() == "log"
    assert [t.get_text() for t in fig.axes[2].texts] == ["word"]*8 and outside_or_overlapping(fig) == []
    assert [t.get_text() for t in plot_analysis(a).axes[1].texts] == ["no level of a word is known"]


@pytest.mark.parametrize("draw, args, wanted", [
    (plot_waveform, (), "audio is None.*media import load_audio.*plot_analysis"),
    (plot_waveform, ("talk.mp4",), "audio is 'talk.mp4'.*load_audio"),
    (plot_voice, (), "frames is None.*acoustics import frames.*plot_analysis"),
    (plot_voice, (Audio(np.zeros(9, np.float32)),), "frames is Audio.*acoustics import frames")])
def test_what_is_missing_is_named_with_where_it_comes_from(draw, args, wanted):
    with pytest.raises(TypeError, match=wanted): draw(talk(), *args)


# The time axis

@pytest.mark.parametrize(
    "t, step, text",
    [
        (59.96, 1, "1:00"),
        (61.24, 0.1, "1:01.2"),
        (3723, 60, "1:02:03"),
        (4.25, 0.05, "0:04.25"),
        (0, 3600, "0:00"),
    ],
)
def test_clock(t, step, text): assert figures.time_text(t, step) == text


def test_names_stay_short():
    assert [figures.short_name(n) for n in (None, " a\nb ", "x"*30)] == ["no speaker", "a b", "x"*19 + "…"]
    assert "PlotError" in plots.__all__
