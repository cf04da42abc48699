"""The measured voice: against signals of known truth, against Praat, and for any span and any length"""
import tracemalloc
from pathlib import Path

import numpy as np
import parselmouth
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecg_audio_nb.voice.acoustics import frames, pool
from ecg_audio_nb.voice.f0 import best_path
from ecg_audio_nb.settings import AcousticsSettings

DATA = Path(__file__).parents[3] / "shared/data"
RATES = [8000, 11025, 16000, 22050, 44100, 48000]


def tone(f0, seconds=1.0, level=-20.0, rate=16000, phase=0.0):
    "A sine whose RMS is `level` dBFS"
    t = np.arange(round(seconds * rate)) / rate
    return (np.sqrt(2) * 10 ** (level / 20) * np.sin(2 * np.pi * f0 * t + phase)).astype(np.float32)


def noise(seconds, level=-20.0, rate=16000, seed=0):
    return np.random.default_rng(seed).normal(0, 10 ** (level / 20), round(seconds * rate)).astype(np.float32)


def voice(f0, rate=16000):
    "Harmonics of `f0` (Hz, one a sample) up to 4 kHz, falling by 6 dB an octave"
    phase = 2 * np.pi * np.cumsum(f0) / rate
    y = sum(np.sin(k * phase + k) / k for k in range(1, int(min(4000, rate / 2) / f0.max())))
    return (0.3 * y / np.abs(y).max()).astype(np.float32)


def whole(y, rate=16000, **kwargs):
    return pool(frames(y, rate, AcousticsSettings(**kwargs)), [(0, len(y) / rate)])[0]


FULL = AcousticsSettings(features="full")


# Known truth

@settings(max_examples=60, deadline=None)
@given(
    f0=st.floats(80, 400),
    level=st.floats(-90, -3.02),
    rate=st.sampled_from(RATES),
    phase=st.floats(0, 6.3),
    dc=st.floats(-0.2, 0.2),
)
def test_tones(f0, level, rate, phase, dc):
    seconds = round(0.5 * f0) / f0 # whole periods, so that the mean is the DC
    # a level of -90 dBFS on a DC of 0.2 is at the resolution of float32
    y = tone(f0, seconds, level, rate, phase) + (np.float32(dc) if level > -60 else np.float32(0))
    got = whole(y, rate)
    assert got.volume_db == pytest.approx(level, abs=0.1)
    assert got.pitch_hz == pytest.approx(f0, rel=0.01)


@pytest.mark.parametrize("f0", [80, 100, 150, 220, 300, 400])
def test_voices(f0):
    assert whole(voice(np.full(16000, f0))).pitch_hz == pytest.approx(f0, rel=0.001)


def test_full_scale_sine():
    assert whole(tone(100, level=-3.0103)).volume_db == pytest.approx(-3.01, abs=0.001)


@pytest.mark.parametrize("value", [0.0, 0.1, -1.0])
@pytest.mark.parametrize("rate", RATES)
def test_silence_has_nothing(value, rate):
    got = whole(np.full(rate, value, np.float32), rate)
    assert (got.volume_db, got.pitch_hz, got.spectral_centroid) == (None, None, None)


@pytest.mark.parametrize("dc", [0.0, 0.05])
def test_silence_beside_sound_has_nothing(dc):
    y = np.concatenate([tone(190, 1.003), np.zeros(16000), noise(1)]).astype(np.float32) + np.float32(dc)
    got = pool(frames(y), [(1.01, 1.99), (1.5, 1.55)])
    assert all((g.volume_db, g.pitch_hz, g.spectral_centroid) == (None, None, None) for g in got)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_noise_has_no_pitch(rate):
    got = whole(noise(20, -30, rate), rate)
    assert got.pitch_hz is None
    assert got.volume_db == pytest.approx(-30, abs=0.1)
    assert got.spectral_centroid == pytest.approx(rate / 4, rel=0.02)


def test_chirp_has_its_median():
    f0 = np.linspace(100, 300, 48000)
    y = (0.3 * np.sin(2 * np.pi * np.cumsum(f0) / 16000)).astype(np.float32)
    got = pool(frames(y), [(0, 3), (1, 1.5)])
    assert got[0].pitch_hz == pytest.approx(200, rel=0.01)
    assert got[1].pitch_hz == pytest.approx(100 + 200 * 1.25 / 3, rel=0.01)


def test_clipped_voice_keeps_its_pitch():
    y = np.clip(20 * voice(np.full(16000, 130)), -1, 1)
    got = whole(y)
    assert got.pitch_hz == pytest.approx(130, rel=0.01)
    assert got.volume_db == pytest.approx(20 * np.log10(np.std(y)), abs=0.01)


def test_square_wave_is_no_silence():
    # 50 Hz: stands still for 10 ms at a time
    y = np.where(np.arange(32000) % 320 < 160, 0.5, 0).astype(np.float32)
    assert whole(y).volume_db == pytest.approx(20 * np.log10(0.25), abs=0.01)


def test_values_vary_with_the_voice():
    "No two different words get one constant"
    f0 = np.linspace(100, 250, 80000)
    y = voice(f0) * np.linspace(0.05, 1, 80000, dtype=np.float32)
    got = pool(frames(y), [(t, t + 0.3) for t in np.arange(0.2, 4.5, 0.4)])
    for name in ("volume_db", "pitch_hz", "spectral_centroid"):
        assert len({getattr(g, name) for g in got}) == len(got)


def test_centroid_of_tones_and_mixtures():
    assert whole(tone(1000)).spectral_centroid == pytest.approx(1000, rel=0.01)
    low_loud = np.concatenate([tone(500, 1, -20), tone(3000, 1, -50)])
    assert whole(low_loud).spectral_centroid == pytest.approx(500, rel=0.05) # weighted by energy, not by time
    got = pool(frames(low_loud), [(0, 2)], speech=[(1.1, 1.9)])[0]
    assert got.spectral_centroid == pytest.approx(3000, rel=0.05)
    assert pool(frames(low_loud), [(0, 1)], speech=[])[0].spectral_centroid is None


# Any span, any length

SPEECHLIKE = np.concatenate([voice(np.linspace(110, 180, 24000)), noise(0.5, -45), np.zeros(8000, np.float32),
                             voice(np.full(16000, 240)) * np.float32(0.1)])
MEASURED = frames(SPEECHLIKE)


@settings(max_examples=200, deadline=None)
@given(a=st.integers(0, 3499), length=st.integers(1, 3500))
@example(a=1999, length=35)
def test_level_of_a_span_is_that_of_its_samples(a, length):
    b = min(a + length, 3500)
    y = SPEECHLIKE.astype(np.float64) - SPEECHLIKE.mean(dtype=np.float64)
    y[32000:40000] = 0 # digital silence has no energy, though the file's mean is not 0
    got = pool(MEASURED, [(a / 1000, b / 1000)])[0].volume_db
    if 16 * a >= 32000 and 16 * b <= 40000: assert got is None
    else: assert got == pytest.approx(10 * np.log10(np.mean(y[16 * a:16 * b]**2)), abs=0.01)


def level(y, mean): return 10 * np.log10(np.mean((y - mean)**2))


@settings(max_examples=50, deadline=None)
@given(a=st.integers(0, 300), length=st.integers(12, 50))
@example(a=148, length=12)
@example(a=208, length=45)
def test_features_of_a_span_are_those_of_its_samples_cut_out(a, length):
    b = min(a + length, 350)
    cut = frames(SPEECHLIKE[160 * a:160 * b])
    inner = (0.03, (b - a) / 100 - 0.03) # within the window's reach of a cut there is no F0
    here = pool(MEASURED, [(a / 100 + inner[0], a / 100 + inner[1])])[0]
    there = pool(cut, [inner])[0]
    if here.volume_db is None or there.volume_db is None: assert here.volume_db == there.volume_db
    else: # each is about the mean of its own file, and a cut has another mean
        y = SPEECHLIKE[160 * a + 480:160 * b - 480].astype(np.float64)
        shift = level(y, SPEECHLIKE[160 * a:160 * b].mean()) - level(y, SPEECHLIKE.mean())
        assert there.volume_db - here.volume_db == pytest.approx(shift, abs=0.02)
    if here.spectral_centroid and there.spectral_centroid:
        assert here.spectral_centroid == pytest.approx(there.spectral_centroid, rel=0.02)
    if here.pitch_hz and there.pitch_hz: assert here.pitch_hz == pytest.approx(there.pitch_hz, rel=0.05)


times = st.none() | st.floats(-5, 10) | st.sampled_from([float("inf"), float("-inf"), float("nan")])
regions = st.lists(st.tuples(times, times), max_size=8)


@settings(max_examples=200, deadline=None)
@given(spans=regions, speech=st.none() | regions)
def test_no_span_is_an_exception(spans, speech):
    got = pool(MEASURED, spans, speech)
    assert len(got) == len(spans)
    for g in got:
        assert g.volume_db is None or -120 < g.volume_db < 0
        assert g.pitch_hz is None or 65 <= g.pitch_hz <= 500
        assert g.spectral_centroid is None or 0 < g.spectral_centroid < 8000


@settings(max_examples=60, deadline=None)
@given(n=st.integers(0, 3000), rate=st.sampled_from(RATES))
def test_no_length_is_an_exception(n, rate):
    y = tone(200, 1, -20, rate)[:n]
    f = frames(y, rate)
    got = pool(f, [(0, n / rate), (0, 0), (1, 2)])
    assert (got[0].volume_db is None) == (n < 2)
    assert got[1].volume_db is None and got[2].volume_db is None
    assert len(f.times) == len(f.level) == len(f.f0) == len(f.power) == len(f.centroid)


def test_short_words():
    y = tone(200, 0.05)
    assert whole(y).volume_db == pytest.approx(-20, abs=0.1) # ten whole periods
    assert whole(y).pitch_hz is None # not three frames with a whole window
    f = frames(tone(200, 1))
    assert pool(f, [(0.5, 0.53)])[0].pitch_hz == pytest.approx(200, rel=0.01)
    assert pool(f, [(0.5, 0.52)])[0].pitch_hz is None
    assert pool(f, [(0.5, 0.505)])[0].volume_db == pytest.approx(-20, abs=0.1) # a period


def test_order_and_number_of_spans_do_not_matter():
    spans = [(t, t + 0.3) for t in np.linspace(0, 3, 50)]
    one_by_one = [pool(MEASURED, [s])[0] for s in spans]
    assert pool(MEASURED, spans) == one_by_one
    assert pool(MEASURED, spans[::-1]) == one_by_one[::-1]
    assert pool(MEASURED, []) == []


def test_faint_after_loud():
    "Sums over a long loud file keep the level of one faint word"
    y = np.concatenate([np.tile(tone(200, 1, -3.02), 600), tone(200, 1, -90)])
    assert pool(frames(y), [(600.2, 600.25)])[0].volume_db == pytest.approx(-90, abs=0.1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_any_width(dtype):
    assert whole(tone(150).astype(dtype)).pitch_hz == pytest.approx(150, rel=0.01)


def test_samples_may_be_read_only_and_are_left_alone():
    y = tone(150) + np.float32(0.1)
    before = y.copy()
    y.setflags(write=False)
    frames(y)
    assert (y == before).all()


@pytest.mark.parametrize("bad, word", [
    (np.zeros(100, np.int16), "int16"), (np.zeros((2, 100), np.float32), "mono"),
    (np.array([0.1, np.nan], np.float32), "NaN"), (np.array([0.1, np.inf], np.float32), "infinity"),
])
def test_what_is_no_waveform_is_one_clear_error(bad, word):
    with pytest.raises(ValueError, match=word): frames(bad)


def test_bounds_that_leave_no_room():
    with pytest.raises(ValueError, match="f0_floor is 600"):
        frames(tone(100), settings=AcousticsSettings(f0_floor=600))
    with pytest.raises(ValueError, match="4000 Hz"): frames(tone(100), 4000)


@pytest.mark.parametrize("floor, ceiling, f0, rate", [
    (30, 100, 45, 16000), (300, 1000, 700, 16000), (900, 2000, 1500, 8000), (65, 2000, 1200, 48000)])
def test_other_bounds(floor, ceiling, f0, rate):
    got = whole(tone(f0, 1, -20, rate), rate, f0_floor=floor, f0_ceiling=ceiling)
    assert got.pitch_hz == pytest.approx(f0, rel=0.01)


# The path

def simple_path(gain, f0):
    "Viterbi's algorithm frame by frame, with Praat's costs"
    octave, score, origin = np.log2(f0), gain[0].astype(np.float64), []
    for t in range(1, len(gain)):
        cost = 0.35 * np.abs(octave[t - 1][:, None] - octave[t])
        cost[np.isnan(cost)] = 0.14
        cost[0, 0] = 0
        ways = score[:, None] - cost + gain[t]
        origin.append(ways.argmax(0))
        score = ways.max(0)
    path = [score.argmax()]
    for o in reversed(origin): path.append(o[path[-1]])
    return path[::-1]


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 400), states=st.integers(1, 7), seed=st.integers(0, 10**6))
def test_path_by_blocks_is_the_path_frame_by_frame(n, states, seed):
    rng = np.random.default_rng(seed)
    gain = rng.uniform(0.2, 1, (n, states)).astype(np.float32)
    f0 = rng.uniform(65, 500, (n, states)).astype(np.float32)
    gone = rng.random((n, states)) < 0.3
    gone[:, 0] = False
    gain[gone], f0[gone], f0[:, 0] = -np.inf, np.nan, np.nan
    assert best_path(gain, f0).tolist() == simple_path(gain, f0)


# Praat

def praat(y, rate=16000):
    "F0 of Praat's autocorrelation on our grid: index of each frame, Hz (0: unvoiced)"
    sound = parselmouth.Sound(y.astype(np.float64), rate)
    p = sound.to_pitch_ac(0.01, 65, 15, False, 0.03, 0.45, 0.01, 0.35, 0.14, 500)
    at = p.xs() * 100 - 0.5
    assert np.abs(at - np.round(at)).max() < 1e-6 # a file of whole hops has the same grid
    f0 = p.selected_array["frequency"]
    return np.round(at).astype(int), np.where((f0 > 65 * 1.005) & (f0 < 500 * 0.995), f0, 0) # at a bound: none


def compare(signals):
    "Agreement of voicing; fraction of Praat's voiced frames that ours lack; gross and median error"
    ours, theirs, creaky = [], [], 0
    for y in signals:
        y = y[:len(y) // 160 * 160]
        at, f0 = praat(y)
        mine = frames(y, settings=FULL)
        assert np.isnan(np.delete(mine.f0, at)).all() # where Praat has no frame, ours has no F0
        # in creak and right beside it, Praat follows the ringing of a formant
        creak = np.convolve(mine.creak, np.ones(7), "same")[at] > 0
        creaky += (creak & (f0 > 0)).sum()
        kept = ~creak
        ours.append(np.nan_to_num(mine.f0[at][kept]))
        theirs.append(f0[kept])
    ours, theirs = np.concatenate(ours), np.concatenate(theirs)
    assert creaky <= 0.03 * (theirs > 0).sum() # reached: 0.004; meetings 0.021
    both = (ours > 0) & (theirs > 0)
    error = np.abs(ours[both] / theirs[both] - 1)
    lacking = ((ours == 0) & (theirs > 0)).sum() / (theirs > 0).sum()
    return ((ours > 0) == (theirs > 0)).mean(), lacking, (error > 0.2).mean(), np.median(error)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"real speech is absent: no folder {DATA}")
@pytest.mark.parametrize("folder", ["librispeech", "ami", "sentences"])
def test_f0_is_that_of_praat(folder):
    files = sorted((DATA / folder).glob("*.flac"))[::2]
    assert files
    agreement, lacking, gross, median = compare(soundfile.read(f, dtype="float32")[0] for f in files)
    # in meetings, whoever sits far from the microphone has F0 here; Praat's one threshold for a file takes it away
    assert agreement >= (0.9 if folder == "ami" else 0.999) # reached: 0.9999
    assert lacking <= (0.003 if folder == "ami" else 0.002) # reached: 0.0010; meetings 0.0026
    assert gross <= (0.002 if folder == "ami" else 0.001) # reached: 0; meetings 0.0018
    assert median <= 0.0001 # reached: 0.00003


@pytest.mark.parametrize("peak", [0.05, 0.03, 0.01, 0.002])
def test_a_click_takes_nobodys_pitch(peak):
    y = np.concatenate([voice(np.full(32000, 120.0)) * peak, np.zeros(16000, np.float32)])
    y[-10:] = 1
    assert pool(frames(y), [(0, 2)])[0].pitch_hz == pytest.approx(120, rel=0.01)


@pytest.mark.parametrize("peak", [0.1, 0.02, 0.009])
def test_a_loud_speaker_takes_nobody_elses_pitch(peak):
    both = np.concatenate([voice(np.full(32000, 120.0)) * 0.9, voice(np.full(32000, 210.0)) * peak])
    low, high = (x.pitch_hz for x in pool(frames(both), [(0, 2), (2, 4)]))
    assert low == pytest.approx(120, rel=0.01) and high == pytest.approx(210, rel=0.01)


def test_noise_in_a_pause_stays_silent():
    rng = np.random.default_rng(0)
    loud = voice(np.full(48000, 150.0)) * 0.5
    y = np.concatenate([loud, np.zeros(64000, np.float32), loud])
    y += rng.normal(0, 0.002, len(y)).astype(np.float32)
    assert pool(frames(y), [(3.2, 6.8)])[0].pitch_hz is None


# of 1152 frames; at 0 dB Praat errs in 43
@pytest.mark.parametrize("snr, more", [(20, 0), (10, 0), (5, 0), (0, 10)])
def test_noisy_vowels_no_worse_than_praat(snr, more):
    rng = np.random.default_rng(snr)
    ours = theirs = 0
    for _ in range(12):
        f0 = rng.uniform(80, 300) * 2 ** np.cumsum(rng.normal(0, 0.0004, 16000))
        y = voice(f0)
        y += rng.normal(0, y.std() * 10 ** (-snr / 20), len(y)).astype(np.float32)
        at, heard = praat(y)
        truth = f0[at * 160 + 80]
        mine = np.nan_to_num(frames(y).f0[at])
        ours += (np.abs(mine / truth - 1) > 0.05).sum() # unvoiced counts too
        theirs += (np.abs(heard / truth - 1) > 0.05).sum()
    assert ours <= theirs + more


# Memory

def test_memory_stays_small_and_noise_unvoiced_on_ten_minutes():
    y = noise(600)
    frames(y[:16000]) # imports
    tracemalloc.start()
    try:
        measured = frames(y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        got = pool(measured, [(t, t + 0.3) for t in range(599)])
        pooling = tracemalloc.get_traced_memory()[1]
    finally: tracemalloc.stop()
    assert peak < 30e6 # reached: 14 MB beside the waveform's 38 MB
    assert pooling < 30e6
    assert {g.pitch_hz for g in got} == {None}


# All features

EVERY = frames(SPEECHLIKE, settings=FULL)


@settings(max_examples=60, deadline=None)
@given(a=st.integers(0, 300), length=st.integers(12, 300))
@example(a=148, length=12)
def test_all_features_of_a_span_are_those_of_its_samples_cut_out(a, length):
    b = min(a + length, 350)
    cut = frames(SPEECHLIKE[160 * a:160 * b], settings=FULL)
    inner = (0.03, (b - a) / 100 - 0.03)
    [here], [there] = pool(EVERY, [(a / 100 + inner[0], a / 100 + inner[1])]), pool(cut, [inner])
    # each is about the mean of its own file, and a short cut has another mean: faint noise crosses it, and
    # peaks over it, otherwise
    for name, close in (
        ("mfcc", dict(abs=0.1)),
        ("zero_crossing_rate", dict(abs=0.08)),
        ("volume_peak_db", dict(abs=1)),
        ("hnr_db", dict(abs=0.5)),
        ("pitch_slope", dict(abs=0.1)),
        ("voiced_fraction", dict(abs=0.05)),
    ):
        x, y = getattr(here, name), getattr(there, name)
        if x is not None and y is not None: assert x == pytest.approx(y, **close), name


def test_basic_has_the_three_and_full_all():
    basic, full = pool(MEASURED, [(0, 1)])[0], pool(EVERY, [(0, 1)])[0]
    assert type(basic).__name__ == "AcousticFeatures" and type(full).__name__ == "FullFeatures"
    assert (basic.volume_db, basic.pitch_hz, basic.spectral_centroid) == (
        full.volume_db,
        full.pitch_hz,
        full.spectral_centroid,
    )


def test_nothing_is_measured_of_nothing():
    silent = frames(np.zeros(16000, np.float32), settings=FULL)
    for f in pool(silent, [(0, 1), (None, None), (2, 3)]) + pool(
        frames(np.zeros(0, np.float32), settings=FULL), [(0, 1)]
    ):
        known = {k: v for k, v in vars(f).items() if v is not None and not k.startswith("_") and k != "reasons"}
        assert known in ({}, {"voiced_fraction": 0.0}), known


def test_two_thousand_words_cost_little_more_than_twenty():
    "Counted in work, not in seconds: the sums are made once"
    few, many = [(0.1, 0.4)] * 20, [(i * 0.001, i * 0.001 + 0.3) for i in range(2000)]
    assert len(pool(EVERY, few)) == 20 and len(pool(EVERY, many)) == 2000


def test_a_quiet_speakers_loud_word_is_loud():
    from ecg_audio_nb.voice.acoustics import add_emphasis
    from ecg_audio_nb.schema import FullFeatures
    levels, who = [-50, -51, -49, -50, -42] + [-20, -21, -19, -20, -12], ["A"] * 5 + ["B"] * 5
    out = add_emphasis([FullFeatures(volume_db=v) for v in levels], who)
    assert [f.volume_category for f in out] == ["normal"] * 4 + ["loud"] + ["normal"] * 4 + ["loud"]
    assert out[4].emphasis == pytest.approx(out[9].emphasis, abs=0.01) # 8 dB above each one's own
    assert add_emphasis([FullFeatures(volume_db=-20)] * 3, ["A"] * 3)[0].emphasis is None


def test_bounds_of_each_speakers_own_find_a_creaky_octave():
    """A voice at 100 Hz whose every second period is weak: with a wide reach it may be heard an octave low,
    never with its own"""
    from ecg_audio_nb.voice.acoustics import refine_f0
    y = np.concatenate([voice(np.full(32000, 200.0)), voice(np.full(32000, 90.0))])
    first = frames(y)
    second = refine_f0(first, y, [(0, 2, "A"), (2, 4, "B")])
    for part, f0 in (((0, 2), 200), ((2, 4), 90)):
        assert pool(second, [part])[0].pitch_hz == pytest.approx(f0, rel=0.01)
    assert np.array_equal(np.isnan(refine_f0(first, y, []).f0), np.isnan(first.f0))
