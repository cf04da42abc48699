"""Formants: linear prediction, vowels of known resonances, Praat on real speech, the ceiling of a speaker"""
from pathlib import Path

import numpy as np
import parselmouth
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.voice.acoustics import frames
from ecg_audio_nb.voice.formants import (CEILINGS, cut_windows, fit_ceiling, gaussian_window, linear_prediction,
    measure_formants, quadratic_factors, resonances)

DATA = Path(__file__).parents[3] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")


def burg_of_the_textbook(x, order):
    a, ahead, back = np.ones(1), x.copy(), x.copy()
    for _ in range(order):
        ahead, back = ahead[1:], back[:-1]
        k = -2 * (ahead @ back) / (ahead @ ahead + back @ back)
        ahead, back = ahead + k * back, back + k * ahead
        a = np.append(a, 0) + k * np.append(a, 0)[::-1]
    return a


@given(seed=st.integers(0, 99), n=st.integers(400, 900), tone=st.floats(0, 3))
@settings(max_examples=40, deadline=None)
def test_burg_is_the_same_under_a_gaussian_window(seed, n, tone):
    x = np.random.default_rng(seed).normal(size=(2, n)) + tone * np.sin(np.arange(n))
    x *= gaussian_window(n)
    r = [np.correlate(row, row, "full")[n - 1:n + 10] for row in x]
    expected = np.array([burg_of_the_textbook(row, 10) for row in x])
    assert linear_prediction(np.array(r)) == pytest.approx(expected, abs=0.002)


@given(angles=st.lists(st.integers(1, 20), min_size=5, max_size=5, unique=True),
       radii=st.lists(st.floats(0.3, 0.99), min_size=5, max_size=5), real=st.booleans())
@settings(max_examples=200, deadline=None)
def test_factors_of_any_polynomial(angles, radii, real):
    "The factors' product is the polynomial, also where two roots are real"
    pairs = [np.poly([r * np.exp(1j * w), r * np.exp(-1j * w)]).real for r, w in zip(radii, 0.15 * np.array(angles))]
    if real: pairs[0] = np.poly([radii[0], -radii[1]])
    a = np.ones(1)
    for pair in pairs: a = np.convolve(a, pair)
    u, v = quadratic_factors(a[None])
    known = np.isfinite(u[0])
    assert known.sum() >= 5 - real
    z = np.concatenate([np.roots([1, *uv]) for uv in zip(u[0, known], v[0, known])])
    size = np.polyval(abs(a), abs(z)) # of what cancels
    assert (abs(np.polyval(a, z)) < 1e-5 * size).all()


def test_resonances_of_known_poles():
    poles = np.exp((-np.pi * np.array([50, 80, 120]) + 2j * np.pi * np.array([300, 2200, 3000])) / 10000)
    a = np.poly([*poles, *poles.conj()]).real[None]
    hz, bandwidth = resonances(a, 10000)
    assert hz[0] == pytest.approx([300, 2200, 3000])
    assert bandwidth[0] == pytest.approx([50, 80, 120])


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
@pytest.mark.parametrize("hz", [(300, 2300, 3000), (500, 1500, 2500), (700, 1100, 2400)])
def test_noise_through_resonances(hz, rate):
    "Whispered vowels: no harmonics pull the formants"
    bins = np.arange(8001) # Hz, of a second
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=16000)) / (50 + 1j * bins) # -6 dB an octave
    z = np.exp(-2j * np.pi * bins / 16000)
    for f, width in zip((*hz, 3500, 4500), (60, 80, 120, 200, 250)):
        pole = np.exp((-np.pi * width + 2j * np.pi * f) / 16000)
        spectrum /= (1 - pole * z) * (1 - pole.conjugate() * z)
    y = np.fft.irfft(np.pad(spectrum, (0, rate // 2 - 8000)))
    y /= abs(y).max()
    got = measure_formants(y, np.arange(rate // 10, 9 * rate // 10, rate // 100), rate, 5000)
    assert np.median(got.frequency, 0) == pytest.approx(hz, rel=0.04)


@given(starts=st.lists(st.integers(-30, 30), max_size=5), n=st.integers(1, 9), length=st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_windows_have_zeros_around_the_file(starts, n, length):
    y = np.arange(1.0, length + 1)
    wide = np.pad(y, 50)
    expected = [wide[s + 50:s + 50 + n].tolist() for s in starts]
    assert cut_windows(y, np.array(starts, int), n).tolist() == expected


def test_nothing_to_measure():
    assert np.isnan(measure_formants(np.zeros(1600), np.array([800])).frequency).all()
    assert measure_formants(np.zeros(0), np.array([], int)).frequency.shape == (0, 3)
    assert measure_formants(np.zeros(9), np.array([0, 8])).frequency.shape == (2, 3)
    assert fit_ceiling(np.zeros(1600), np.arange(49), np.zeros(49)) is None


def test_level_does_not_matter():
    y = np.random.default_rng(0).normal(size=8000)
    middles = np.arange(1000, 7000, 160)
    loud, soft = (measure_formants(gain * y, middles).frequency for gain in (1, 1e-4))
    assert soft == pytest.approx(loud, rel=1e-4)


def test_frames_do_not_depend_on_their_block():
    y = np.random.default_rng(0).normal(size=20000)
    middles = np.arange(1000, 19000, 12)
    alone = measure_formants(y, middles[1200:1210]).frequency
    assert measure_formants(y, middles).frequency[1200:1210] == pytest.approx(alone)


def voiced(samples):
    "Middles of the frames with a voice, and the stretch of each"
    f = frames(samples)
    at = np.flatnonzero(~np.isnan(f.f0))
    return at * f.hop + f.hop // 2, np.cumsum(np.diff(at, prepend=at[0]) > 1)


def difference_from_praat(samples, ceiling):
    "Median difference of F1, F2, F3 over voiced frames"
    middles, _ = voiced(samples)
    ours = measure_formants(samples, middles, ceiling=ceiling).frequency
    praat = parselmouth.Sound(samples.astype(float), 16000).to_formant_burg(0.0025, 5, ceiling, 0.025, 50)
    theirs = [[praat.get_value_at_time(i, t) for i in (1, 2, 3)] for t in (middles + 0.5) / 16000]
    return np.nanmedian(abs(ours / np.array(theirs) - 1), 0)


@needs_data
@pytest.mark.parametrize("ceiling", [4700, 5500])
@pytest.mark.parametrize("name", ["real/words/mary.wav", "real/english/so762_age6_m_000030012.wav",
                                  "librispeech/367-130732-0000.flac", "real/languages/ru.wav"])
def test_like_praat(name, ceiling):
    assert difference_from_praat(load_audio(DATA / name).samples, ceiling).max() < 0.01


@needs_data
def test_ceilings_of_a_child_and_of_a_man():
    ceilings = [fit_ceiling(samples, *voiced(samples)) for samples in
                (load_audio(DATA / f"{name}").samples for name in
                 ("real/english/so762_age7_f_000490002.wav", "librispeech/2414-128291-0005.flac"))]
    assert ceilings[0] >= 5500 and ceilings[1] <= 5000


def test_ceilings_end_at_half_the_rate():
    y = np.random.default_rng(0).normal(size=8000)
    middles = np.arange(500, 7500, 80)
    assert fit_ceiling(y, middles, np.arange(len(middles)) // 20, 8000) == 4000
    assert measure_formants(y, middles, 8000, CEILINGS[-1]).ceiling == 4000
