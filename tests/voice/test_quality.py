"""Voice quality: signals of known truth, Praat on real speech, spans and reasons"""
from pathlib import Path

import numpy as np
import parselmouth
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parselmouth.praat import call

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.voice.acoustics import frames
from ecg_audio_nb.voice.quality import (FEATURES, Reason, VoiceQuality, cepstral_peaks, feature_table, harmonicity,
    jitter, measure_quality, period_amplitudes, period_marks, pool_quality, shimmer, spectral_balance,
    syllable_nuclei)

DATA = Path(__file__).parents[3] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
RATE, HOP = 16000, 160


def pulses(periods, heights):
    "A damped wave from every pulse on; periods are whole samples"
    y, wave = np.zeros(int(sum(periods)) + 400), np.exp(-np.arange(300) / 40)
    wave *= np.cos(2 * np.pi * 600 * np.arange(300) / RATE)
    for at, height in zip(np.cumsum(periods), heights): y[at:at + 300] += 0.3 * height * wave
    return y


def harmonics(f0=150.0, seconds=2.0, top=4000):
    t = np.arange(round(seconds * RATE)) / RATE
    y = sum(np.sin(2 * np.pi * k * f0 * t + k) / k for k in range(1, int(top / f0)))
    return 0.3 * y / abs(y).max(), np.full(round(100 * seconds), f0)


def noise(n, seed=0): return np.random.default_rng(seed).normal(size=n)


# Periods

@pytest.mark.parametrize("period", [64, 100, 160, 220])
def test_marks_stand_a_period_apart(period):
    y = pulses(np.full(80, period), np.ones(80))
    marks = period_marks(y, np.full(len(y) // HOP, RATE / period), HOP)
    inner = np.diff(marks.position)[5:-8]
    assert inner == pytest.approx(period, abs=0.05)
    assert jitter(marks.position[5:-8]) < 0.0005


@pytest.mark.parametrize("step", [1, 2, 4])
def test_jitter_by_hand(step):
    y = pulses(160 + step * np.tile([1, -1], 60), np.ones(120))
    marks = period_marks(y, np.full(len(y) // HOP, 100.0), HOP).position[5:-8]
    assert jitter(marks) == pytest.approx(2 * step / 160, rel=0.05) # |T1 - T2| / mean T


@pytest.mark.parametrize("part", [0.01, 0.05, 0.1])
def test_shimmer_by_hand(part):
    y = pulses(np.full(120, 160), 1 + part * np.tile([1, -1], 60))
    marks = period_marks(y, np.full(len(y) // HOP, 100.0), HOP).position[5:-8]
    assert shimmer(marks, period_amplitudes(y, marks)) == pytest.approx(2 * part, rel=0.06)


def test_neighbours_of_another_factor_are_no_periods():
    position = np.cumsum([0, 100, 100, 100, 100, 150, 100, 100, 100, 100])
    assert jitter(position) == 0 # 150 is more than 1.3 times 100
    assert jitter(np.array([0, 100, 201])) is None
    assert shimmer(np.arange(4), np.ones(4)) is None


def test_stretches_do_not_walk_into_each_other():
    y, f0 = harmonics()
    f0[90:100] = np.nan
    marks = period_marks(y, f0, HOP)
    assert set(marks.stretch) == {0, 1}
    assert (np.diff(marks.position) > 0.7 * RATE / 150).all()
    assert (marks.position[marks.stretch == 0] < 90 * HOP + RATE / 150).all()


def test_nothing_voiced():
    f0 = np.full(100, np.nan)
    assert len(period_marks(noise(16000), f0, HOP).position) == 0
    assert np.isnan(harmonicity(noise(16000), f0, HOP)).all()
    quality, = pool_quality(measure_quality(noise(16000), f0, HOP), [(0, 1)])
    assert quality.jitter is None and quality.reasons["jitter"] is Reason.UNVOICED
    assert quality.syllable_rate == 0


def test_no_samples():
    quality = measure_quality(np.zeros(0), np.zeros(0), HOP)
    assert pool_quality(quality, [(0, 1)])[0].reasons["hnr_db"] is Reason.TOO_SHORT


# Noise

@pytest.mark.parametrize("snr", [0, 5, 10, 20, 30])
def test_harmonicity_is_the_ratio(snr):
    y, f0 = harmonics()
    y = y + noise(len(y)) * np.sqrt((y**2).mean()) * 10 ** (-snr / 20)
    assert np.median(harmonicity(y, f0, HOP)[10:-10]) == pytest.approx(snr, abs=1)


def test_noise_lowers_the_cepstral_peak():
    y, _ = harmonics()
    middles = np.arange(3200, 28000, 320)
    peaks = [np.median(cepstral_peaks(y + gain * noise(len(y)), middles)) for gain in (1e-4, 1e-2, 1e-1, 1)]
    assert peaks == sorted(peaks, reverse=True) and peaks[0] > peaks[-1] + 10


@given(gain=st.floats(0.01, 3), f0=st.floats(80, 300))
@settings(max_examples=15, deadline=None)
def test_level_does_not_matter(gain, f0):
    y, track = harmonics(f0, 1.0)
    y = y + 0.01 * noise(len(y))
    one, other = (pool_quality(measure_quality(g * y, track, HOP), [(0.2, 0.8)])[0] for g in (1, gain))
    for f in FEATURES:
        if f.name != "spectral_flux":
            assert getattr(other, f.name) == pytest.approx(getattr(one, f.name), rel=0.01, abs=0.01), f.name
    assert other.spectral_flux == pytest.approx(gain * one.spectral_flux, rel=0.01)


# Spectrum

def test_balance_by_hand():
    t = np.arange(RATE) / RATE
    y = np.sin(2 * np.pi * 500 * t) + 0.1 * np.sin(2 * np.pi * 1500 * t) + 0.01 * np.sin(2 * np.pi * 3000 * t)
    got = spectral_balance(y, 100, HOP)
    assert got.alpha_ratio[50] == pytest.approx(10 * np.log10(0.0101), abs=0.05)
    assert got.hammarberg[50] == pytest.approx(40, abs=0.1)


def test_slope_of_noise_that_falls():
    "A level that falls by 12 dB from 0 to 500 Hz and by 20 dB from 500 to 1500"
    hz = np.arange(RATE // 2 + 1)
    level = np.interp(hz, [0, 500, 1500, 8000], [0, -12, -32, -60])
    spectra = np.fft.rfft(noise(RATE)) * 10 ** (level / 20)
    got = spectral_balance(np.fft.irfft(spectra), 100, HOP)
    assert np.mean(got.slope_0_500) == pytest.approx(-0.024, abs=0.004)
    assert np.mean(got.slope_500_1500) == pytest.approx(-0.020, abs=0.002)


@given(wanted=st.sets(st.integers(0, 99)))
@settings(max_examples=20, deadline=None)
def test_frames_that_are_wanted(wanted):
    y, wanted = noise(RATE).astype(np.float32), np.array(sorted(wanted), int)
    every, some = spectral_balance(y, 100, HOP), spectral_balance(y, 100, HOP, wanted=wanted)
    for name in ("alpha_ratio", "hammarberg", "slope_0_500", "slope_500_1500", "flux"):
        expected = np.full(100, np.nan)
        expected[wanted] = getattr(every, name)[wanted]
        np.testing.assert_allclose(getattr(some, name), expected, rtol=1e-4, atol=1e-6)


def test_flux_is_zero_where_nothing_changes():
    y = np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE) # whole periods in a hop
    assert spectral_balance(y, 100, HOP).flux[5:95].max() < 1e-3


@pytest.mark.parametrize("per_second", [3, 5, 8])
def test_syllables(per_second):
    y, f0 = harmonics()
    t = np.arange(len(y)) / RATE
    nuclei = syllable_nuclei(y * (0.02 + np.sin(np.pi * per_second * t) ** 2), f0, HOP)
    assert len(nuclei) == 2 * per_second
    assert np.diff(nuclei) == pytest.approx(1 / per_second, abs=0.02)


def test_unvoiced_peaks_are_no_syllables():
    y, f0 = harmonics()
    y = y * (0.02 + np.sin(np.pi * 5 * np.arange(len(y)) / RATE) ** 2)
    f0[:100] = np.nan
    assert len(syllable_nuclei(y, f0, HOP)) == 5


# Spans

@pytest.fixture(scope="module")
def spoken():
    y, f0 = harmonics()
    f0[100:120] = np.nan
    return measure_quality((y + 0.01 * noise(len(y))).astype(np.float32), f0, HOP)


def test_reasons(spoken):
    whole, = pool_quality(spoken, [(0, 2)])
    assert whole.reasons == {}
    def reason(span, **keywords): return pool_quality(spoken, [span], **keywords)[0].reasons["jitter"].value
    assert reason((0.1, 0.11)) == "too_short"
    assert reason((1.02, 1.18)) == "unvoiced"
    assert reason((0, 1), clipped=[(0, 1)]) == "clipped"
    assert reason((0, 1), overlapped=[(0, 1)]) == "overlapped"
    assert pool_quality(spoken, [(0.2, 0.3)])[0].reasons == {"syllable_rate": Reason.TOO_SHORT}


def test_what_is_left_out_does_not_count(spoken):
    left_out, = pool_quality(spoken, [(0, 0.9)], clipped=[(0.3, 0.5)])
    assert left_out.reasons == {}
    part, = pool_quality(spoken, [(0.5, 0.9)])
    assert left_out.hnr_db == pytest.approx(part.hnr_db, abs=1)


@given(cut=st.floats(0.2, 0.8))
@settings(max_examples=20, deadline=None)
def test_a_span_is_the_mean_of_its_parts(spoken, cut):
    cut = round(cut, 2)
    whole, one, two = pool_quality(spoken, [(0, 0.9), (0, cut), (cut, 0.9)])
    for name in ("hnr_db", "alpha_ratio_db", "hammarberg_db", "spectral_flux"):
        known = np.isfinite(spoken.measures[name][:90]) # harmonicity: every second frame
        before, after = known[:round(100 * cut)].sum(), known[round(100 * cut):].sum()
        mean = (getattr(one, name) * before + getattr(two, name) * after) / known.sum()
        assert getattr(whole, name) == pytest.approx(mean, rel=1e-6)


def test_spans_in_any_order(spoken):
    spans = [(0.5, 0.9), (0, 0.4), (-3, 99), (1.5, 1.5)]
    assert pool_quality(spoken, spans) == [pool_quality(spoken, [s])[0] for s in spans]


def same(one, other, rel=1e-9):
    assert one.reasons == other.reasons
    for f in FEATURES:
        if f.name not in one.reasons:
            assert getattr(one, f.name) == pytest.approx(getattr(other, f.name), rel=rel), f.name


some_spans = st.lists(st.tuples(st.floats(-0.1, 2.1), st.floats(0, 0.6)).map(lambda x: (x[0], x[0] + x[1])),
                      max_size=6)


@given(spans=some_spans, overlapped=some_spans)
@settings(max_examples=50, deadline=None)
def test_a_list_of_one_span_is_the_span(spoken, spans, overlapped):
    alone = pool_quality(spoken, spans, overlapped=overlapped)
    assert pool_quality(spoken, [[s] for s in spans], overlapped=overlapped) == alone


@given(data=st.data(), spans=some_spans)
@settings(max_examples=50, deadline=None)
def test_the_order_of_turns_does_not_matter(spoken, data, spans):
    one, other = pool_quality(spoken, [spans, data.draw(st.permutations(spans))])
    same(one, other)
    twice, = pool_quality(spoken, [spans + spans])
    same(one, twice)


@given(start=st.floats(0, 0.9), end=st.floats(1.25, 2), cut=st.tuples(st.floats(1.03, 1.17), st.floats(1.03, 1.17)))
@settings(max_examples=50, deadline=None)
def test_turns_that_part_in_a_silence_are_one(spoken, start, end, cut):
    "What is measured with a voice; syllables are counted over the seconds of the turns"
    whole, parts = pool_quality(spoken, [(start, end), [(max(cut), end), (start, min(cut))]])
    for f in FEATURES:
        if f.name != "syllable_rate":
            assert getattr(whole, f.name) == pytest.approx(getattr(parts, f.name), rel=1e-9), f.name
    touching, = pool_quality(spoken, [[(start, cut[0]), (cut[0], end)]])
    same(whole, touching)


def test_no_period_reaches_from_turn_to_turn(spoken):
    "Two turns with 5 ms between them: their pairs of periods are counted apart"
    first, second, both = pool_quality(spoken, [(0.1, 0.5), (0.505, 0.9), [(0.1, 0.5), (0.505, 0.9)]])
    marks, hop = spoken.marks.position, spoken.hop
    parts = [marks[(marks >= a * hop) & (marks < b * hop)] for a, b in ((10, 50), (50, 90))]
    apart = np.concatenate([abs(np.diff(p, 2)) for p in parts])
    assert both.jitter == pytest.approx(apart.mean() / np.concatenate([np.diff(p) for p in parts]).mean(), rel=1e-6)
    assert min(first.hnr_db, second.hnr_db) <= both.hnr_db <= max(first.hnr_db, second.hnr_db)


@given(start=st.floats(0, 1.9), seconds=st.floats(0.02, 1))
@settings(max_examples=50, deadline=None)
def test_pooled_periods_are_those_of_jitter_and_shimmer(spoken, start, seconds):
    got, = pool_quality(spoken, [(start, start + seconds)])
    first, last = (int(np.ceil(np.round(t * 100, 6) - 0.5)) * HOP for t in (start, start + seconds))
    inside = (spoken.marks.position >= first) & (spoken.marks.position < last)
    position = spoken.marks.position[inside]
    if "f1_hz" in got.reasons: return # too few frames with a voice
    assert got.jitter == pytest.approx(jitter(position))
    assert got.shimmer == pytest.approx(shimmer(position, spoken.amplitude[inside]))


def test_speakers_without_turns(spoken):
    assert pool_quality(spoken, []) == []
    silent, = pool_quality(spoken, [[]])
    assert silent.reasons == {f.name: Reason.TOO_SHORT for f in FEATURES}


def test_speakers_have_their_own_ceiling():
    y, f0 = harmonics()
    y = (y + 0.01 * noise(len(y))).astype(np.float32)
    who = np.repeat([0, 1], 100)
    apart = measure_quality(y, f0, HOP, speakers=who).formants
    first = measure_quality(y, np.where(who == 0, f0, np.nan), HOP).formants
    np.testing.assert_array_equal(apart[:100], first[:100])


def test_every_measure_is_in_the_table():
    names = [f.name for f in FEATURES]
    assert names == [n for n in VoiceQuality.__dataclass_fields__ if n != "reasons"]
    assert all(f"| `{n}` |" in feature_table() for n in names)
    assert all(f.definition and f.unit and f.window and f.source for f in FEATURES)


# Praat

@needs_data
@pytest.mark.parametrize("name", ["librispeech/2414-128291-0005.flac", "librispeech/367-130732-0005.flac",
                                  "real/languages/leopard_test_de.wav"])
def test_like_praat(name):
    samples = load_audio(DATA / name).samples
    f = frames(samples)
    end = len(samples) / RATE
    ours, = pool_quality(measure_quality(samples, f.f0, f.hop), [(0, end)])
    sound = parselmouth.Sound(samples.astype(float), RATE)
    pitch = sound.to_pitch_ac(0.01, 65, 15, False, 0.03, 0.45, 0.01, 0.35, 0.14, 500)
    points = call([sound, pitch], "To PointProcess (cc)")
    assert ours.jitter == pytest.approx(call(points, "Get jitter (local)", 0, 0, 1e-4, 0.02, 1.3), rel=0.1)
    theirs = call([sound, points], "Get shimmer (local)", 0, 0, 1e-4, 0.02, 1.3, 1.6)
    assert ours.shimmer == pytest.approx(theirs, rel=0.1)
    theirs = sound.to_harmonicity_ac(0.01, 75, 0.1, 4.5)
    values = np.array([call(theirs, "Get value at time", t, "nearest") for t in f.times[f.f0 > 0]])
    assert ours.hnr_db == pytest.approx(values[values > -100].mean(), abs=1)
