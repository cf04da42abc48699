"""F0 of voices that are too high, too low, creaky, quiet or beside a louder one: a true number or none"""
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.settings import AcousticsSettings
from ecg_audio_nb.voice.acoustics import frames, pool, refine_f0
from ecg_audio_nb.voice.f0 import Candidates
from ecg_audio_nb.voice.pulses import slow_pulses
from ecg_audio_nb.voice.speaker_f0 import continue_octaves

HARD = Path(__file__).parents[3] / "shared/data/real/hard"
ENGLISH = HARD.parent / "english"
FULL = AcousticsSettings(features="full", adaptive=True)


def voice(f0, seconds=2, rate=16000):
    "Harmonics of a steady voice up to 4 kHz, or to half the rate, falling by 6 dB an octave"
    t = np.arange(round(seconds * rate)) / rate
    y = sum(np.sin(2 * np.pi * k * f0 * t + k) / k for k in range(1, int(min(4000, 0.49 * rate) / f0) + 1))
    return (0.3 * y / np.abs(y).max()).astype(np.float32)


def pulse_voice(f0, seconds=2, rate=16000, jitter=0.0, seed=0):
    "Pulses through resonances at 500, 1500 and 2500 Hz; `jitter`: deviation of the periods, as a fraction"
    rng, at = np.random.default_rng(seed), 0.0
    t, y = np.arange(rate // 10) / rate, np.zeros(round(seconds * rate) + rate // 10)
    ringing = sum(
        np.exp(-np.pi * width * t) * np.sin(2 * np.pi * hz * t) for hz, width in ((500, 80), (1500, 120), (2500, 160)))
    while at < seconds:
        y[round(at * rate):][:len(t)] += ringing
        at += (1 + jitter * rng.normal()) / f0
    y = y[:round(seconds * rate)]
    return (0.3 * y / np.abs(y).max()).astype(np.float32)


def both(y, rate=16000, turns=None):
    first = frames(y, rate, FULL)
    return first, refine_f0(first, y, turns or [(0, len(y) / rate, "A")], FULL)


# Above the ceiling

@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("f0", [501, 520, 600, 700, 900, 1200, 1500, 1900])
def test_a_voice_above_the_ceiling_has_no_f0_and_its_true_one_by_speaker(f0, rate):
    first, second = both(voice(f0, rate=rate), rate)
    assert np.isnan(first.f0).all()
    assert pool(second, [(0, 2)])[0].pitch_hz == pytest.approx(f0, rel=0.007) # 1900 Hz at 8 kHz: 4.2 samples a period


@settings(max_examples=40, deadline=None)
@given(f0=st.floats(66, 1990), rate=st.sampled_from([8000, 16000, 22050, 48000]))
def test_no_steady_voice_has_a_wrong_number(f0, rate):
    for measured in both(voice(f0, 0.5, rate), rate):
        given = measured.f0[measured.f0 > 0]
        assert (np.abs(given / f0 - 1) < 0.01).all()


@pytest.mark.parametrize("f0", [2100, 2500, 3200])
def test_a_whistle_is_no_voice(f0):
    t = np.arange(32000) / 16000
    for measured in both((0.3 * np.sin(2 * np.pi * f0 * t)).astype(np.float32)):
        assert np.isnan(measured.f0).all()


def test_a_glide_over_the_ceiling_goes_on_by_speaker():
    f0 = np.linspace(350, 700, 48000)
    y = sum(np.sin(2 * np.pi * k * np.cumsum(f0) / 16000 + k) / k for k in range(1, 6))
    first, second = both((0.2 * y).astype(np.float32))
    k = np.arange(5, 290)
    truth = f0[80 + 160 * k]
    assert np.abs(second.f0[k] / truth - 1).max() < 0.005
    given = first.f0[k] > 0
    assert np.abs(first.f0[k][given] / truth[given] - 1).max() < 0.005
    assert given[truth < 490].all() and not given[truth > 510].any()


def test_bounds_of_ones_own_hold_the_second_pass():
    y = voice(150)
    settings = AcousticsSettings(f0_floor=200, f0_ceiling=400)
    assert pool(refine_f0(frames(y, settings=settings), y, [(0, 2, "A")], settings), [(0, 2)])[0].pitch_hz is None


# Creak

@pytest.mark.parametrize("jitter", [0, 0.1])
@pytest.mark.parametrize("f0", [30, 45, 62])
def test_slow_pulses_are_creak_and_no_pitch(f0, jitter):
    for measured in both(pulse_voice(f0, jitter=jitter)):
        assert np.mean(measured.creak[5:-5]) > 0.75
        assert not (measured.f0 > 1.2 * f0).any()
        if not jitter: assert np.isnan(measured.f0).all() and measured.creak[5:-5].all()


@pytest.mark.parametrize("snr", [30, 20, 15])
def test_creak_in_noise(snr):
    y = pulse_voice(50)
    y = y + np.random.default_rng(snr).normal(0, y.std() * 10 ** (-snr / 20), len(y))
    assert frames(y.astype(np.float32), settings=FULL).creak.mean() > 0.9


@pytest.mark.parametrize("f0", [85, 100, 150, 250])
def test_a_modal_voice_is_not_creak(f0):
    measured = frames(pulse_voice(f0), settings=FULL)
    assert not measured.creak.any()
    assert np.median(measured.f0[measured.f0 > 0]) == pytest.approx(f0, rel=0.01)


def test_noise_breath_and_clicks_are_not_creak():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 160000)
    breath = noise * (0.1 + np.abs(np.sin(np.arange(160000) / 16000 * 2 * np.pi * 2)))
    clicks = np.zeros(160000)
    clicks[rng.integers(0, 160000, 30)] = 1 # three a second, at random
    for y in (noise, breath, clicks + 0.001 * noise):
        assert frames(y.astype(np.float32), settings=FULL).creak.mean() < 0.01


@pytest.mark.skipif(not HARD.is_dir(), reason=f"real speech is absent: no folder {HARD}")
def test_creak_of_real_voices():
    def fraction(path):
        f = frames(load_audio(path).samples, settings=FULL)
        return f.creak.sum() / (f.creak.sum() + (f.f0 > 0).sum())
    assert fraction(HARD / "mfa_creaky.flac") > 0.6 # reached: 0.81
    for quality in ("whisper", "falsetto", "breaths"): assert fraction(HARD / f"mfa_{quality}.flac") == 0
    assert fraction(HARD / "mfa_laughter.flac") < 0.1
    assert all(fraction(path) < 0.02 for path in ENGLISH.glob("so762_age*.wav"))


@given(st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_no_length_is_an_exception_for_pulses(n):
    y = pulse_voice(40, 0.4)[:16 * n]
    pulses = slow_pulses(y, (y.reshape(-1, 16)**2).sum(1), n // 10 + 1)
    assert len(pulses.rate) == len(pulses.in_a_row) == n // 10 + 1


# Speakers

@pytest.mark.parametrize("down", [20, 30, 40])
def test_a_quiet_speaker_between_loud_ones_has_f0(down):
    "Turns of 0.8 s: every 2 s around hold the loud voice"
    loud, quiet = voice(110, 0.8), voice(210, 0.8) * np.float32(10 ** (-down / 20))
    y = np.concatenate([loud, quiet] * 4)
    turns = [(0.8 * k, 0.8 * k + 0.8, "AB"[k % 2]) for k in range(8)]
    _, second = both(y, turns=turns)
    for k, (start, end, _) in enumerate(turns):
        f0 = pool(second, [(start + 0.1, end - 0.1)])[0]
        assert f0.pitch_hz == pytest.approx((110, 210)[k % 2], rel=0.01)
        assert f0.voiced_fraction == 1


@pytest.mark.skipif(not HARD.is_dir(), reason=f"real speech is absent: no folder {HARD}")
@pytest.mark.parametrize("down", [30, 40])
def test_a_quiet_real_speaker_keeps_f0(down):
    a, b = (load_audio(ENGLISH / f"cmu_arctic_us_aew_a000{k}.wav").samples[:57600] for k in (1, 2))
    a, b = (x * (0.9 / np.abs(x).max()) for x in (a, b))
    parts = [x[k:k + 19200] for k in range(0, 57600, 19200) for x in (a, b)]
    turns = [(1.2 * k, 1.2 * k + 1.2, "AB"[k % 2]) for k in range(6)]
    of_b = np.tile(np.repeat([False, True], 120), 3)
    even = frames(np.concatenate(parts).astype(np.float32), settings=FULL).f0[:720]
    uneven = np.concatenate([x * (10 ** (-down / 20) if k % 2 else 1) for k, x in enumerate(parts)])
    first, second = both(uneven.astype(np.float32), turns=turns)
    truth = of_b & (even > 0)
    kept = truth & (np.abs(second.f0[:720] / even - 1) < 0.2)
    assert kept.sum() > 0.9 * truth.sum()
    assert (truth & (first.f0[:720] > 0)).sum() < 0.5 * truth.sum() # the first pass can't


def test_turns_in_any_order_overlapping_or_outside_are_no_exception():
    y = voice(120)
    first = frames(y, settings=FULL)
    for turns in ([], [(5, 6, "A")], [(1, 0.5, "A")], [(0.5, 1.5, "B"), (0, 1, "A")], [(0, 0.004, "A")],
                  [(0, 2, "A"), (0, 2, "B")]):
        second = refine_f0(first, y, turns, FULL)
        assert len(second.f0) == len(first.f0) and second.candidates is None
        voiced = second.f0[second.f0 > 0]
        assert np.abs(voiced / 120 - 1).max() < 0.01


def test_frames_without_candidates_are_measured_again():
    y = np.concatenate([voice(110, 1), voice(210, 1)])
    turns = [(0, 1, "A"), (1, 2, "B")]
    kept = refine_f0(frames(y, settings=FULL), y, turns, FULL)
    bare = frames(y, settings=AcousticsSettings(features="full", adaptive=False))
    assert bare.candidates is None
    np.testing.assert_array_equal(refine_f0(bare, y, turns, FULL).f0, kept.f0)


def test_frames_of_creak_lie_outside_the_voiced():
    y = np.concatenate([voice(120, 1), pulse_voice(40, 1)])
    for measured in both(y):
        assert measured.creak.dtype == bool and not (measured.creak & (measured.f0 > 0)).any()
        assert np.array_equal(np.isnan(measured.strength), np.isnan(measured.f0))
        assert (measured.strength[measured.f0 > 0] > 0.45).all() and np.nanmax(measured.strength) <= 1


# Octaves

def choices(*strengths): # of 100 and 200 Hz
    gain = np.tile(np.float32([0.45, *strengths]), (60, 1))
    return Candidates(np.tile(np.float32([np.nan, 100, 200]), (60, 1)), gain)


@pytest.mark.parametrize("strengths, length, gap, taken", [
    ((0.9, 0.9), 6, 3, True), ((0.85, 0.9), 6, 3, True),
    ((0.7, 0.9), 6, 3, False), # its own is much stronger
    ((0.9, 0.9), 9, 3, False), # long enough to be meant
    ((0.9, 0.9), 6, 35, False)]) # too far from the voice before
def test_a_short_stretch_an_octave_away_is_continued(strengths, length, gap, taken):
    states = np.repeat([1, 0, 2, 0, 1], [8, gap, length, 2, 60 - 10 - gap - length])
    got = continue_octaves(choices(*strengths), states)
    wanted = np.where(states == 2, 1, states) if taken else states
    np.testing.assert_array_equal(got, wanted)


def test_an_octave_that_lasts_to_the_end_is_believed():
    states = np.repeat([1, 0, 2, 0], [20, 3, 6, 31])
    np.testing.assert_array_equal(continue_octaves(choices(0.9, 0.9), states), states)


# Real voices

@pytest.mark.skipif(not HARD.is_dir(), reason=f"real speech is absent: no folder {HARD}")
def test_falsetto_is_not_an_octave_too_low():
    y = soundfile.read(HARD / "mfa_falsetto.flac", dtype="float32")[0]
    first, second = both(y)
    middle = slice(147, 165) # "forced": about 570 Hz
    assert np.isnan(first.f0[middle]).all()
    assert ((second.f0[middle] > 550) & (second.f0[middle] < 600)).all()
