"""Loudness: the signals of EBU Tech 3341 and 3342, FFmpeg's ebur128 on real speech, blocks of any size"""
import re
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_audio_nb.audio.loudness import (LoudnessMeter, clipped_runs, interpolated_peak, k_weighting,
    measure_loudness, signal_facts, signal_warnings)

DATA = Path(__file__).parents[3] / "shared/data"


def tone(*parts, rate=48000, hz=1000):
    "Stereo sines of (peak in dBFS, seconds), without a jump between them"
    level = np.concatenate([np.full(round(seconds * rate), 10 ** (db / 20)) for db, seconds in parts])
    y = level * np.sin(2 * np.pi * hz * np.arange(len(level)) / rate)
    return np.repeat(y[:, None], 2, 1).astype(np.float32)


SILENCE = -300

# EBU Tech 3341, table 1

CASES = {
    1: [(-23, 20)],
    2: [(-33, 20)],
    3: [(-36, 10), (-23, 60), (-36, 10)],
    4: [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)],
    5: [(-26, 20), (-20, 20.1), (-26, 20)],
}


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("case", CASES)
def test_integrated(case, rate):
    got = measure_loudness(tone(*CASES[case], rate=rate), rate)
    assert got.integrated == pytest.approx(-33 if case == 2 else -23, abs=0.1)
    if case < 3:
        assert got.max_momentary == pytest.approx(got.integrated, abs=0.1)
        assert got.max_short_term == pytest.approx(got.integrated, abs=0.1)


def test_five_channels():
    left, centre, behind = (tone((db, 20))[:, 0] for db in (-28, -24, -30))
    x = np.stack([left, left, centre, behind, behind], 1)
    assert measure_loudness(x, 48000, (1, 1, 1, 1.41, 1.41)).integrated == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("rate", [11025, 16000, 48000])
def test_short_term_is_three_seconds(rate):
    got = measure_loudness(tone(*[(-20, 1.34), (-30, 1.66)] * 5, rate=rate), rate).short_term
    assert np.abs(got[:-1] + 23).max() < 0.1 # case 9


@pytest.mark.parametrize("i", range(0, 20, 3))
def test_short_term_wherever_it_begins(i):
    got = measure_loudness(tone((SILENCE, 0.15 * i), (-23, 3), (SILENCE, 1)), 48000)
    assert got.max_short_term == pytest.approx(-23, abs=0.1) # case 10


def test_short_term_follows():
    levels = range(-38, -18)
    x = tone(*[part for i, db in enumerate(levels) for part in ((SILENCE, 3), (db, 3), (SILENCE, 0.15 * i))], rate=16000)
    got = measure_loudness(x, 16000).short_term # case 11
    begins = np.cumsum([3] + [6 + 0.15 * i for i in range(19)])
    for db, at in zip(levels, begins):
        assert got[round(100 * at)] == pytest.approx(db, abs=0.1)


@pytest.mark.parametrize("rate", [11025, 16000, 48000])
def test_momentary_is_400_ms(rate):
    got = measure_loudness(tone(*[(-20, 0.18), (-30, 0.22)] * 25, rate=rate), rate).momentary
    assert np.abs(got[60:-1] + 23).max() < 0.1 # case 12, after the first second


@pytest.mark.parametrize("i", range(20))
def test_momentary_wherever_it_begins(i):
    got = measure_loudness(tone((SILENCE, 0.02 * i), (-23, 0.4), (SILENCE, 1), rate=16000), 16000)
    assert got.max_momentary == pytest.approx(-23, abs=0.1) # case 13


@pytest.mark.parametrize("i, db", [(i, i - 38) for i in range(20)])
def test_momentary_follows(i, db):
    got = measure_loudness(tone((SILENCE, 0.02 * i), (db, 0.4), (SILENCE, 1), rate=16000), 16000)
    assert got.max_momentary == pytest.approx(db, abs=0.1) # case 14, one level at a time


@pytest.mark.parametrize("parts, phase, amplitude, want", [
    (4, 0, 0.5, -6), (4, 45, 0.5, -6), (6, 60, 0.5, -6), (8, 67.5, 0.5, -6), (4, 45, 1.41, 3)])
def test_true_peak(parts, phase, amplitude, want): # cases 15 to 19
    x = amplitude * np.sin(2 * np.pi * np.arange(48000) / parts + np.radians(phase))
    x *= np.minimum(1, np.minimum(np.arange(48000), np.arange(48000)[::-1]) / 4800) # no click at the ends
    assert want - 0.4 <= measure_loudness(x, 48000).true_peak_db <= want + 0.2


@pytest.mark.parametrize("levels, want", [
    ((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)])
def test_loudness_range(levels, want): # EBU Tech 3342, cases 1 to 4
    assert measure_loudness(tone(*[(db, 20) for db in levels], rate=16000), 16000).range == pytest.approx(want, abs=0.3)


# Other properties

def test_a_channel_alone_is_3_lu_below_both():
    x = tone((-20, 2))
    assert measure_loudness(x, 48000).integrated - measure_loudness(x[:, 0], 48000).integrated == pytest.approx(3.01, abs=0.01)


@given(sizes=st.lists(st.integers(0, 40000), min_size=1, max_size=6), rate=st.sampled_from([8000, 11025, 16000]))
@settings(max_examples=20, deadline=None)
def test_blocks_of_any_size(sizes, rate):
    x = np.random.default_rng(0).normal(0, 0.1, (sum(sizes), 2)).astype(np.float32)
    meter, at = LoudnessMeter(rate, (1, 1)), 0
    for n in sizes:
        meter.add(x[at:at + n])
        at += n
    got, want = meter.finish(), measure_loudness(x, rate)
    assert got.duration == pytest.approx(len(x) / rate)
    assert got.energy == pytest.approx(want.energy, rel=1e-4)
    assert got.true_peak_db == pytest.approx(want.true_peak_db, abs=1e-4) if len(x) else got.true_peak_db is None


def test_speakers_are_apart():
    x = tone((-20, 5), (-40, 5), rate=16000)[:, 0]
    got = measure_loudness(x)
    assert got.over([(0, 2), (3, 5)]) == pytest.approx(-23.01, abs=0.05)
    assert got.over([(5, 10)]) == pytest.approx(-43.01, abs=0.05)
    assert got.over([]) is None
    assert got.over([(9.9, 11)]) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_peak_is_that_of_the_whole_wave(seed):
    "Stretches that cannot hold it are left out: the same as a plain interpolation of everything"
    steps = np.repeat(np.random.default_rng(seed).uniform(0, 1, 50), 100)
    x = np.random.default_rng(seed).normal(0, 0.2, 5000) * steps
    spectrum = np.fft.rfft(np.pad(x, 60)) # nothing in the top tenth of the band, where short filters differ
    spectrum[9 * len(spectrum) // 10:] = 0
    dense = np.fft.irfft(np.pad(spectrum, (0, 3 * len(spectrum) - 3))) * 4 # exact, four times the rate
    assert interpolated_peak(dense[::4].astype(np.float32)) == pytest.approx(abs(dense).max(), rel=0.02)


def test_filter_is_short_and_blocks_offset():
    for rate in (8000, 16000, 48000):
        assert abs(k_weighting(rate).sum()) < 1e-6 # an offset has no loudness
    assert measure_loudness(np.full(32000, 0.5, np.float32)).momentary[-1] < -90


def test_rates_too_low_are_refused():
    with pytest.raises(ValueError, match="loudness needs 8000 Hz"):
        LoudnessMeter(4000)


def test_memory_does_not_grow():
    block = np.random.default_rng(0).normal(0, 0.1, 160000).astype(np.float32)
    peaks = []
    for seconds in (30, 300):
        tracemalloc.start()
        meter = LoudnessMeter(16000)
        for _ in range(seconds // 10): meter.add(block)
        meter.finish()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000


# FFmpeg

def ffmpeg_loudness(path, before=""):
    run = subprocess.run(["ffmpeg", "-nostats", "-v", "error", "-i", path, "-af",
                          before + "ebur128=metadata=1,ametadata=print:file=-", "-f", "null", "-"],
                         capture_output=True, text=True, check=True).stdout
    series = {k: np.array(re.findall(rf"r128\.{k}=(\S+)", run), float) for k in "MSI"}
    return series["M"], series["S"], series["I"][-1]


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs Debian's ffmpeg")
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
@pytest.mark.parametrize("name", ["ami/trn01.flac", "real/conversations/falcon_3spk.wav",
                                  "real/conversations/stereo_diarization.wav"])
def test_like_ffmpeg(name):
    samples, rate = soundfile.read(DATA / name, dtype="float32")
    got = measure_loudness(samples, rate)
    M, S, integrated = ffmpeg_loudness(DATA / name, "aresample=48000:filter_size=64,") # the standard's rate
    assert got.integrated == pytest.approx(integrated, abs=0.02)
    assert got.integrated == pytest.approx(ffmpeg_loudness(DATA / name)[2], abs=0.1) # its formulas at 16 kHz
    for ours, theirs, cells in ((got.momentary, M, 40), (got.short_term, S, 300)):
        at = np.arange(1, len(theirs) + 1) * 10 - cells
        inside = (at >= 0) & (at < len(ours)) & (theirs > -60)
        assert np.abs(ours[at[inside]] - theirs[inside]).max() < 0.1


# Facts of a recording

def test_runs_across_blocks():
    x = np.zeros((1 << 20) + 10, np.float32)
    x[-12:-7] = 1
    assert clipped_runs(x).tolist() == [[len(x) - 12, len(x) - 7]]
    x[:] = -1
    assert clipped_runs(x).tolist() == [[0, len(x)]]


def test_facts_of_nothing():
    assert signal_facts(np.zeros(0)).speech_db is None
    facts = signal_facts(np.zeros(16000, np.float32))
    assert (facts.clipped_fraction, facts.dc_offset, facts.noise_floor_db, facts.snr_db) == (0, 0, None, None)
    assert signal_warnings(facts) == []


def test_warnings_name_value_and_way_out():
    x = np.concatenate([np.zeros(8000), 2 * tone((0, 1), rate=16000)[:, 0]]) + 0.02
    facts = signal_facts(np.clip(x, -1, 1), speech=[(0.5, 1.5)])
    warned = signal_warnings(facts)
    assert [w.split(":")[0] for w in warned] == ["clipped", "offset"]
    assert f"{100 * facts.clipped_fraction:.2f} %" in warned[0] and "less gain" in warned[0]
    assert facts.clipped_fraction == pytest.approx(2 / 3 * 2 / 3, abs=0.05) # a sine of 2 is above 1 for 2/3
