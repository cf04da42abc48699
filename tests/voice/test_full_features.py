"Every measure of `acoustics.features = full`, pooled over spans and turns, and the reason of each that is missing"
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_audio_nb.schema import FullFeatures
from ecg_audio_nb.settings import AcousticsSettings
from ecg_audio_nb.voice.acoustics import add_detail, add_emphasis, frames, pool, pool_turns

RATE = 16000
FULL = AcousticsSettings(features="full")
ELSEWHERE = {"speaking_rate", "volume_category", "emphasis", "reasons"} # of words and segments, not of frames
MEASURES = {f.name for f in fields(FullFeatures)} - ELSEWHERE


def vowel(f0, seconds, level=0.1):
    "A voice of 30 harmonics"
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * k * f0 * t) / k for k in range(1, int(7000 / f0)))
    return (level * wave / abs(wave).max()).astype(np.float32)


def hiss(seconds, level=0.01):
    return np.random.default_rng(0).normal(0, level, round(seconds * RATE)).astype(np.float32)


def creak(seconds, rate=45):
    "Pulses through the resonances of a vowel, too slow for a pitch"
    from scipy.signal import lfilter

    y = np.zeros(round(seconds * RATE))
    y[:: RATE // rate] = 1
    for hz, width in ((500, 80), (1500, 120), (2500, 160)):
        r = np.exp(-np.pi * width / RATE)
        y = lfilter([1], [1, -2 * r * np.cos(2 * np.pi * hz / RATE), r * r], y)
    return (0.3 * y / abs(y).max()).astype(np.float32)


def test_creak_is_told_as_creak_and_not_as_a_pitch():
    y = np.concatenate([vowel(120, 1), creak(1)])
    voiced, creaky = pool(add_detail(frames(y, settings=FULL), y), [(0.1, 0.9), (1.1, 1.9)])
    assert voiced.creak_fraction == 0 and voiced.pitch_hz == pytest.approx(120, abs=1)
    assert creaky.creak_fraction > 0.9 and creaky.pitch_hz is None
    assert creaky.reasons["pitch_hz"] == creaky.reasons["jitter"] == "creak"


# 0 to 2 s a voice, 2 to 3 digital silence, 3 to 4 noise, 4 to 6 another voice, of which the last second clips
CLIPPED = np.clip(6 * vowel(220, 1, 0.5), -1, 1)
SCENE = np.concatenate([vowel(120, 2), np.zeros(RATE, np.float32), hiss(1), vowel(220, 1), CLIPPED])
TURNS = [(0, 2, "A"), (1.5, 2, "B"), (4, 6, "B")] # both talk from 1.5 to 2
MEASURED = add_detail(frames(SCENE, settings=FULL), SCENE, TURNS)


def missing(features): return {m for m in MEASURES if getattr(features, m) is None}


@pytest.mark.parametrize(
    "span, measure, reason",
    [
        ((0.5, 1.0), "jitter", None),
        ((0.5, 0.52), "jitter", "too_short"),
        ((0.5, 0.5), "volume_db", "too_short"),
        ((1.6, 1.9), "f1_hz", "overlapped"),
        ((2.2, 2.8), "volume_db", "silent"),
        ((2.2, 2.8), "mfcc", "silent"),
        ((2.2, 2.8), "pitch_hz", "unvoiced"),
        ((3.2, 3.8), "pitch_hz", "unvoiced"),
        ((3.2, 3.8), "cpps_db", "unvoiced"),
        ((3.2, 3.8), "volume_db", None),
        ((3.2, 3.8), "spectral_centroid", "no_speech"),
        ((5.1, 5.9), "shimmer", "clipped"),
        ((5.1, 5.9), "pitch_hz", None),
        ((None, None), "volume_db", "no_time"),
        ((None, None), "f2_hz", "no_time"),
        ((0.5, 0.9), "syllable_rate", "too_short"),
    ],
)
def test_a_reader_can_tell_why_a_measure_is_missing(span, measure, reason):
    [features] = pool(MEASURED, [span], speech=[(0, 2), (4, 6)])
    assert (getattr(features, measure) is None) == (reason is not None)
    assert features.reasons.get(measure) == reason


@given(st.lists(st.tuples(st.floats(0, 6.5), st.floats(0, 3)).map(lambda t: (t[0], t[0] + t[1])), max_size=6))
@settings(max_examples=60, deadline=None)
def test_every_missing_measure_has_a_reason_and_no_other_has(spans):
    for features in pool(MEASURED, spans, speech=[(0, 2), (4, 6)]):
        assert set(features.reasons) == missing(features)


@given(st.lists(st.tuples(st.floats(0, 6), st.floats(0.05, 2)), min_size=1, max_size=5), st.randoms())
@settings(max_examples=40, deadline=None)
def test_a_span_is_measured_alike_in_any_company_and_order(pairs, random):
    spans = [(start, start + length) for start, length in pairs]
    shuffled = random.sample(spans, len(spans))
    alone = {span: pool(MEASURED, [span])[0] for span in spans}
    for span, features in zip(shuffled, pool(MEASURED, shuffled)): assert features == alone[span]


def test_a_speakers_turns_are_measured_as_one():
    one, two = pool_turns(MEASURED, [(0, 1.4)]), pool_turns(MEASURED, [(0, 0.7), (0.7, 1.4)])
    assert asdict(one) == asdict(two)
    with_noise = pool_turns(MEASURED, [(0.2, 1.2), (3, 4)]) # noise has no voice to measure
    alone = pool_turns(MEASURED, [(0.2, 1.2)])
    for measure in ("pitch_hz", "f1_hz", "jitter", "cpps_db", "alpha_ratio_db"):
        assert getattr(with_noise, measure) == pytest.approx(getattr(alone, measure), rel=0.02), measure
    assert with_noise.voiced_fraction < alone.voiced_fraction


def test_frames_that_are_cut_or_basic_say_nothing_of_quality():
    assert MEASURED.cut([(0, 1)]).detail is None
    [features] = pool(frames(SCENE, settings=FULL), [(0.5, 1)])
    assert features.jitter is None and "jitter" not in features.reasons # it was not tried


def test_loudness_of_a_speaker_leaves_the_others_out():
    loud = MEASURED.detail.loudness
    assert loud.over([(0, 1.4)]) == pytest.approx(loud.over([(0, 0.7), (0.7, 1.4)]), abs=0.1)
    assert loud.over([(5, 6)]) > loud.over([(0, 1.4)]) + 10
    assert loud.over([(2.1, 2.9)]) is None


def test_too_few_words_are_no_norm():
    [word] = add_emphasis([FullFeatures(volume_db=-20, pitch_hz=100)], ["A"])
    assert word.reasons == {"volume_category": "few_words", "emphasis": "few_words"}
    five = add_emphasis([FullFeatures(volume_db=v) for v in (-20, -21, -22, -23, -24)], ["A"] * 5)
    assert all(w.reasons == {} for w in five)


def test_old_results_have_no_reasons():
    assert FullFeatures(volume_db=-20).reasons == {} and replace(FullFeatures(), jitter=0.01).jitter == 0.01
