"""Sound stands where its packet times have it, as loud as it was recorded, whatever the container did

Every burst of a tone in a written file is due at a known time. Three limits hold in the matrix:

| what | limit | where it is wider |
| --- | --- | --- |
| a burst, from where its packet time has it | 10 ms | 25 ms where the encoder puts samples before the sound and the container cannot tell: AAC, MP3, MP2 and AMR in WAV, AVI, MPEG-TS, ASF, FLV, VOB, raw AAC, raw AMR; 50 ms for WMA (see `clock_files.tolerance`) |
| the duration, from that of the presentation | 100 ms | nowhere |
| a burst, from where Debian's ffmpeg has it | 20 ms | where ffmpeg itself is off by a known figure (see `clock_files.peer_tolerance`) |

The presentation begins with the earliest packet of any stream, as in players and in ffmpeg; so sound alone begins at
0, whatever its first time.
"""
import json
import re
from contextlib import contextmanager
from importlib import import_module

import av
import numpy as np
import pytest
from audio.clock_files import (
    BURSTS,
    CONTAINERS,
    RATE,
    REFUSED,
    SECONDS,
    WRAP,
    CannotWrite,
    after,
    burst_times,
    bursts,
    channels,
    drift,
    gap,
    has_peer,
    join,
    offset,
    peer,
    peer_tolerance,
    plain,
    recordings,
    sample_rate,
    set_edit_list,
    tolerance,
    write,
    write_jump_back,
)
from hypothesis import HealthCheck, given, note, reject, settings

from ecg_audio_nb import analyze
from ecg_audio_nb.audio import media
from ecg_audio_nb.audio.media import ChannelAudio, load_audio
from ecg_audio_nb.research.error_rates import normalize_text, wer
from ecg_audio_nb.results.captions import burn, write_captions
from ecg_audio_nb.schema import Analysis, Metadata, Segment, Word

DUE = np.array(BURSTS)
needs_peer = pytest.mark.skipif(not has_peer(), reason="no ffmpeg on this machine to compare with")


# -- helpers

class DecoderHere:
    "Decodes in this process, and sends what the decoder's process would"
    def __init__(self, target):
        module, name = target.split(":")
        self.decode = getattr(import_module(module), name)

    def stream(self, request):
        for header, data in self.decode(request, None): yield json.loads(json.dumps(header)), bytes(data)


@pytest.fixture(autouse=True)
def no_process_for_each_file(monkeypatch):
    "The hundreds of files are ours, and sound; the start of a process for each would take most of the time"
    @contextmanager
    def here(target, *limits, **more): yield DecoderHere(target)
    monkeypatch.setattr(media, "fresh", here)


def assert_bursts(samples, due, limit, who="load_audio"):
    "Every burst is there, none twice, each where it is due"
    times = burst_times(samples)
    assert len(times) == len(due), f"{who}: bursts at {times.round(3)}, due at {np.round(due, 3)}"
    errors = 1000 * (times - due)
    assert np.abs(errors).max() <= 1000 * limit + 0.1, f"{who}: off by {errors.round(1)} ms, limit {1000 * limit:g}"


def check(path, due, seconds, limit=0.010, peer_limit=0.020, with_picture=False):
    "Compare a file's bursts and duration with what is due, and with ffmpeg's; returns the audio"
    audio = load_audio(path)
    assert_bursts(audio.samples, due, limit)
    assert audio.duration == pytest.approx(seconds, abs=0.1)
    if peer_limit is not None and has_peer():
        theirs = burst_times(peer(path, with_picture))
        assert_bursts(audio.samples, theirs, peer_limit, "against ffmpeg")
    return audio


def make(folder, ending, codec, rate=None, **clocks):
    "Write the bursts into a container; skips what this FFmpeg is known not to write"
    container, rate = CONTAINERS[ending], rate or sample_rate(codec)
    if container.needs_picture: clocks.setdefault("picture", (0, SECONDS))
    if (ending, codec) in REFUSED: pytest.skip(f"{codec} in .{ending}: {REFUSED[ending, codec]}")
    x = bursts(rate, channels=channels(codec))
    path = folder / f"{codec}.{ending}"
    return write(path, x, codec, rate, muxer=container.muxer, options=dict(container.options), **clocks)


def warned(audio, word): # -> the warnings that have it
    return [w for w in audio.warnings if word in w]


# -- the matrix

PAIRS = [(ending, codec) for ending, container in CONTAINERS.items() for codec in container.codecs.split()]


@pytest.mark.parametrize("ending, codec", PAIRS)
def test_every_codec_in_its_containers(tmp_path, ending, codec):
    audio = check(make(tmp_path, ending, codec), DUE, SECONDS, tolerance(ending, codec), peer_tolerance(ending, codec))
    assert audio.warnings == ()


@pytest.mark.parametrize("ending, codec", [p for p in PAIRS if p[0] in ("m4a", "mp4", "mov", "mkv", "3gp", "mp3")])
def test_priming_at_another_rate(tmp_path, ending, codec):
    if codec in ("libopus", "libopencore_amrnb"): pytest.skip("one rate only")
    check(make(tmp_path, ending, codec, rate=32000 if codec == "ac3" else 44100), DUE, SECONDS, 0.010,
          peer_tolerance(ending, codec))


TIMED = [("m4a", "alac"), ("mp4", "aac"), ("mp4", "libopus"), ("mov", "libmp3lame"), ("mov", "alac"), ("mkv", "aac"),
         ("mkv", "pcm_s16le"), ("mkv", "libopus"), ("mkv", "flac"), ("webm", "vorbis"), ("webm", "libopus"),
         ("ts", "aac"), ("ts", "mp2"), ("ts", "ac3"), ("ogg", "libopus"), ("ogg", "flac"), ("wma", "wmav2"),
         ("3gp", "aac"), ("3gp", "libopencore_amrnb"), ("flv", "libmp3lame"), ("vob", "ac3")]
WITH_PICTURE = [pair for pair in TIMED if pair[0] not in ("ogg", "m4a")]


@pytest.mark.parametrize("scale", [0.98, 1.02])
@pytest.mark.parametrize("ending, codec", TIMED)
def test_a_clock_that_is_not_the_sample_clock(tmp_path, ending, codec, scale):
    limit = tolerance(ending, codec)
    if ending == "ogg": limit = 0.015 # Ogg tells a time at the end of each page; these last 100 ms and more
    check(make(tmp_path, ending, codec, clock=drift(scale)), scale * DUE, scale * SECONDS, limit,
          peer_tolerance(ending, codec, scale))


@pytest.mark.parametrize("ending, codec", TIMED)
def test_a_gap_is_silence(tmp_path, ending, codec):
    due = np.where(DUE > 2.35, DUE + 1.5, DUE)
    check(make(tmp_path, ending, codec, clock=gap(2.35, 1.5)), due, SECONDS + 1.5, tolerance(ending, codec),
          peer_tolerance(ending, codec))


@pytest.mark.parametrize("ending, codec", WITH_PICTURE)
def test_sound_that_begins_after_the_picture(tmp_path, ending, codec):
    path = make(tmp_path, ending, codec, clock=offset(0.7), picture=(0, 7))
    audio = check(path, DUE + 0.7, SECONDS + 0.7, tolerance(ending, codec, late=0.7),
                  peer_tolerance(ending, codec, late=0.7), with_picture=True)
    assert audio.warnings == ()


@pytest.mark.parametrize("ending, codec", WITH_PICTURE)
def test_sound_that_begins_before_the_picture(tmp_path, ending, codec):
    check(make(tmp_path, ending, codec, picture=(0.7, 7)), DUE, SECONDS, tolerance(ending, codec),
          peer_tolerance(ending, codec), with_picture=True)


@pytest.mark.parametrize("ending, codec", [("mkv", "flac"), ("ts", "mp2"), ("mp4", "alac"), ("wma", "pcm_s16le")])
def test_offset_drift_and_gap_at_once(tmp_path, ending, codec):
    clock = after(gap(2.35, 1.5), drift(0.985), offset(0.7))
    path = make(tmp_path, ending, codec, clock=clock, picture=(0, 9))
    due = np.array([clock(t) for t in BURSTS])
    check(path, due, clock(SECONDS), tolerance(ending, codec, late=0.7), peer_tolerance(ending, codec, 0.985, late=0.7),
          with_picture=True)


# -- drift

@pytest.mark.parametrize("name, codec", [("d.mka", "libopus"), ("d.mkv", "pcm_s16le")])
@pytest.mark.parametrize("scale", [0.98, 0.99, 1.01, 1.02])
def test_a_drift_does_not_add_up(tmp_path, name, codec, scale):
    "A tone of 0.1 s after 55 s of silence"
    x = np.zeros((1, 60 * 48000), np.float32)
    x[0, 55 * 48000:][:4800] = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(4800) / 48000)
    audio = load_audio(write(tmp_path / name, x, codec, clock=drift(scale)))
    loud = np.flatnonzero(np.abs(audio.samples) > 0.1) / RATE
    assert loud[0] == pytest.approx(55 * scale, abs=0.010) and loud[-1] == pytest.approx(55.1 * scale, abs=0.010)
    assert audio.duration == pytest.approx(60 * scale, abs=0.1)


def deviation(samples, hz): # -> how far the frequency strays in the middle of a tone, Hz, 99.9 % of the time
    t = np.arange(len(samples)) / RATE
    moved = np.convolve(samples * np.exp(-2j * np.pi * hz * t), np.ones(160) / 160, "valid")[2 * RATE:-RATE]
    turn = np.angle(moved[160:] * moved[:-160].conj()) / (2 * np.pi * 0.01)
    return float(np.quantile(np.abs(turn), 0.999)), float(20 * np.log10(1e-9 + np.abs(moved).min() / np.median(np.abs(moved))))


@pytest.mark.parametrize("scale", [0.98, 0.995, 1.005, 1.02])
@pytest.mark.parametrize("name, codec", [("a.mkv", "pcm_s16le"), ("a.ts", "mp2"), ("a.mp4", "flac")])
def test_a_steady_drift_is_resampled_and_not_cut(tmp_path, name, codec, scale):
    "A tone of 20 s keeps one frequency, that of its clock, and its level: no sample is cut out, none put in"
    t = np.arange(20 * 48000) / 48000
    x = (0.3 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)[None]
    audio = load_audio(write(tmp_path / name, x, codec, clock=drift(scale)))
    hz, dip = deviation(audio.samples, 1000 / scale)
    assert hz < 4 and dip > -1, f"strays by {hz:.1f} Hz, falls by {dip:.1f} dB"


def test_times_that_are_only_rounded_leave_every_sample_as_it_is(tmp_path):
    "Matroska rounds times to milliseconds, FLV too: nothing is resampled for that"
    x = np.random.default_rng(0).normal(0, 0.1, (1, 10 * RATE)).clip(-0.99, 0.99).astype(np.float32)
    audio = load_audio(write(tmp_path / "a.mkv", x, "pcm_s16le", RATE))
    assert len(audio.samples) == x.shape[1] and np.abs(audio.samples - x[0]).max() < 1e-4


# -- jumps of the clock

@pytest.mark.parametrize("by", [600, 3600, 28800])
def test_a_jump_in_a_transport_stream_is_closed(tmp_path, by):
    "10 s of 440 Hz, the clock jumps, 10 s of 880 Hz"
    t = np.arange(10 * 48000) / 48000
    x = 0.3 * np.concatenate([np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 880 * t)]).astype(np.float32)[None]
    audio = load_audio(write(tmp_path / "j.ts", x, "mp2", muxer="mpegts", clock=gap(10, by)))
    assert audio.duration == pytest.approx(20, abs=0.2)
    for at, hz in ((5, 440), (9.8, 440), (10.2, 880), (15, 880)):
        part = audio.cut(at - 0.1, at + 0.1).samples
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), RATE))
        assert spectrum.argmax() == pytest.approx(hz, abs=5)
    told = warned(audio, "jump")
    assert len(told) == 1 and str(by) in re.sub(r"(?<=\d),(?=\d{3})", "", told[0])


@pytest.mark.parametrize("ending, codec", [("ts", "mp2"), ("ts", "aac"), ("ts", "ac3"), ("vob", "mp2")])
def test_a_jump_forward_leaves_every_burst_where_it_was(tmp_path, ending, codec):
    audio = check(make(tmp_path, ending, codec, clock=gap(2.35, 3600)), DUE, SECONDS, tolerance(ending, codec),
                  peer_tolerance(ending, codec))
    assert len(warned(audio, "jump")) == 1


def test_many_jumps_are_told_once(tmp_path):
    clock = after(gap(0.9, 100), gap(101.6, 2000), gap(2104.8, 70))
    audio = check(make(tmp_path, "ts", "mp2", clock=clock), DUE, SECONDS, tolerance("ts", "mp2"))
    assert len(warned(audio, "jump")) == 1


@pytest.mark.parametrize("codec", ["mp2", "aac"])
@pytest.mark.parametrize("begin, restart", [(0, 0), (0, 1), (100, 0), (50000, 3), (20, 30000)])
def test_a_clock_that_starts_again(tmp_path, codec, begin, restart):
    "Back by 2 s, 1 s, 102 s and 50,000 s; forward by 29,978 s"
    path = write_jump_back(tmp_path / "a.ts", bursts(), codec, 2.35, begin, restart)
    # of AAC's priming, 21.3 ms, ffmpeg keeps all where there is no picture
    peer_limit = 0.025 if codec == "aac" else 0.020
    audio = check(path, DUE, SECONDS, tolerance("ts", codec), peer_limit)
    jump = restart - begin - 2.35
    assert len(warned(audio, "jump")) == (1 if abs(jump) > 10 else len(warned(audio, "jump")))


@pytest.mark.parametrize("codec", ["mp2", "aac"])
@pytest.mark.parametrize("picture", [None, (0, SECONDS)])
def test_a_clock_of_33_bits_wraps_around(tmp_path, codec, picture):
    "After 26.5 hours the clock of a transport stream is 0 again; here when the sound is 3 s old"
    to_wrap = offset(WRAP - 3 - 1.4) # the muxer begins at 1.4 s
    path = make(tmp_path, "ts", codec, clock=to_wrap, picture=picture, picture_clock=to_wrap)
    check(path, DUE, SECONDS, tolerance("ts", codec), with_picture=picture is not None,
          peer_limit=peer_tolerance("ts", codec))


def test_picture_and_sound_jump_together(tmp_path):
    clock = after(offset(0.7), gap(3.1, 3600))
    path = make(tmp_path, "ts", "aac", clock=clock, picture=(0, 7), picture_clock=gap(3.1, 3600))
    check(path, DUE + 0.7, SECONDS + 0.7, with_picture=True)


@pytest.mark.parametrize("by", [1.0, 5, 9])
def test_a_small_jump_forward_in_a_transport_stream_is_a_gap(tmp_path, by):
    due = np.where(DUE > 2.35, DUE + by, DUE)
    check(make(tmp_path, "ts", "mp2", clock=gap(2.35, by)), due, SECONDS + by, tolerance("ts", "mp2"))


@pytest.mark.parametrize("ending, codec", [("mkv", "mp2"), ("mp4", "aac"), ("webm", "libopus"), ("mov", "alac")])
def test_a_long_gap_elsewhere_is_silence(tmp_path, ending, codec):
    "The clock of these containers does not jump: 50 s without a packet are 50 s"
    due = np.where(DUE > 2.35, DUE + 50, DUE)
    check(make(tmp_path, ending, codec, clock=gap(2.35, 50)), due, SECONDS + 50, tolerance(ending, codec))


# -- edit lists

EDITS = { # -> edits as (seconds, second of the media), the bursts' times
    "begins later": ([(5, 1.0)], DUE[1:] - 1),
    "ends early": ([(3, 0.0)], DUE[DUE < 3]),
    "leaves out the middle": ([(2.2, 0.0), (3, 3.0)], np.r_[DUE[DUE < 2.2], DUE[DUE > 3] - 0.8]),
}


@pytest.mark.parametrize("edits", EDITS)
@pytest.mark.parametrize("ending, codec", [("mp4", "aac"), ("mp4", "libopus"), ("mov", "aac"), ("m4a", "alac"),
                                           ("3gp", "aac")])
def test_an_edit_list(tmp_path, ending, codec, edits):
    entries, due = EDITS[edits]
    delay = {"aac": 1024, "libopus": 312}.get(codec, 0) / 48000
    path = set_edit_list(make(tmp_path, ending, codec), [(n, at + delay) for n, at in entries])
    # FFmpeg begins the second edit with a whole packet: one of ALAC lasts 85 ms, one of Opus 20 ms
    limit = {"alac": 0.090, "libopus": 0.020}.get(codec, 0.010) if edits == "leaves out the middle" else 0.010
    check(path, due, sum(n for n, _ in entries), limit,
          None if edits == "leaves out the middle" else 0.020) # ffmpeg 5.1 is off: AAC -8, Opus -12, ALAC -63 ms


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_an_empty_edit_delays_sound_beside_a_picture(tmp_path, ending):
    path = make(tmp_path, ending, "aac", clock=offset(1.2), picture=(0, 8))
    assert b"elst" in path.read_bytes()
    check(path, DUE + 1.2, SECONDS + 1.2)


# -- files put together

def both(first_seconds=SECONDS): return np.r_[DUE, DUE + first_seconds]


@pytest.mark.parametrize("codec", ["libopus", "vorbis", "flac"])
@pytest.mark.parametrize("first, second", [("mono", "stereo"), ("stereo", "mono"), ("stereo", "stereo")])
def test_a_chained_ogg_whose_layout_changes(tmp_path, codec, first, second):
    "ffmpeg 5.1 has the second half late by 6 ms (Opus), 13 ms (Vorbis) and 6 s (FLAC)"
    if codec == "vorbis" and "mono" in (first, second): pytest.skip("FFmpeg's Vorbis encoder takes stereo only")
    parts = [write(tmp_path / f"{i}.ogg", bursts(channels=1 if layout == "mono" else 2), codec)
             for i, layout in enumerate((first, second))]
    audio = check(join(tmp_path / "chain.ogg", *parts), both(), 2 * SECONDS, 0.025, peer_limit=None)
    assert not warned(audio, "damaged")


def test_a_chained_ogg_whose_rate_changes(tmp_path):
    parts = [write(tmp_path / f"{rate}.ogg", bursts(rate), "flac", rate) for rate in (48000, 44100)]
    check(join(tmp_path / "chain.ogg", *parts), both(), 2 * SECONDS, peer_limit=None)


GLUED = { # (ending, codec) -> seconds after which the second file's sound begins; its delay is told by none of them
    ("ts", "mp2"): SECONDS,
    ("ts", "aac"): 283 * 1024 / 48000, # the packets of the first, priming and filling included
    ("aac", "aac"): 283 * 1024 / 48000,
    ("mp3", "libmp3lame"): SECONDS,
    ("ogg", "libopus"): SECONDS,
    ("flac", "flac"): SECONDS,
    ("vob", "mp2"): SECONDS,
}


@pytest.mark.parametrize("ending, codec", GLUED)
def test_files_glued_by_cat_are_heard_to_the_end(tmp_path, ending, codec):
    first = make(tmp_path, ending, codec)
    path = join(tmp_path / f"glued.{ending}", first, first)
    second = GLUED[ending, codec]
    check(path, both(second), second + SECONDS, 0.025, peer_limit=None)


@pytest.mark.parametrize("ending, codec", [("wav", "pcm_s16le"), ("mp4", "aac"), ("m4a", "aac"), ("mov", "alac")])
def test_files_glued_by_cat_of_which_a_part_is_not_heard_are_told(tmp_path, ending, codec):
    "The header or index of the first says where it ends; ffmpeg reads no further either, and says nothing"
    first = make(tmp_path, ending, codec)
    audio = load_audio(join(tmp_path / f"glued.{ending}", first, first))
    times = burst_times(audio.samples)
    if len(times) == 2 * len(DUE): return # heard to the end: then there is nothing to tell
    assert len(times) == len(DUE) and len(warned(audio, "left out")) == 1, (times, audio.warnings)


@pytest.mark.parametrize("ending, codec", [("wav", "pcm_s16le"), ("mp4", "aac"), ("flac", "flac"), ("mp3", "libmp3lame")])
def test_nothing_is_said_to_be_left_out_of_one_file(tmp_path, ending, codec):
    assert load_audio(make(tmp_path, ending, codec)).warnings == ()


# -- random combinations

def check_recording(recording, folder):
    "Compare a random file's bursts and duration with what is due"
    try: path = recording.write(folder)
    except CannotWrite: reject() # two packets would have one time
    limit = tolerance(recording.ending, recording.codec, recording.late)
    if recording.ending in ("ogg", "opus") and recording.scale != 1: limit = 0.015 # a time a page
    due = np.array([recording.heard(t) for t in BURSTS])
    note(repr(recording))
    check(path, due, recording.heard(SECONDS), limit, peer_limit=None)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(recordings())
def test_any_combination(tmp_path, recording): check_recording(recording, tmp_path)


# -- real files

SONNETS = ("wav", "mp3", "mp4", "ogg", "webm", "aac")


def lag(a, b): # -> seconds by which a is later than b
    n = len(a) + len(b)
    product = np.fft.irfft(np.fft.rfft(a, n) * np.fft.rfft(b, n).conj(), n)
    best = int(product.argmax())
    return (best if best < len(a) else best - n) / RATE


@pytest.fixture(scope="module")
def sonnets(shared_data): return {ending: shared_data / f"real/hard/sonnet.{ending}" for ending in SONNETS}


@pytest.mark.parametrize("ending", SONNETS[1:])
def test_speech_stands_at_the_same_time_in_every_container(sonnets, ending):
    one, other = (load_audio(sonnets[e]).samples for e in ("wav", ending))
    assert abs(lag(other, one)) <= 0.020
    assert len(other) / RATE == pytest.approx(len(one) / RATE, abs=0.1)


@needs_peer
@pytest.mark.parametrize("name", ["bbb_mono_16kHz_23.05kbps_amrwb.3gp", "long_edit_list_audioonly.mp4", "sample_nb.amr",
                                  "sintel_clip-408p-mpeg4-mp3.mp4", "musanmix.mp3", "sonnet.mp4", "sonnet.webm"])
def test_real_files_against_ffmpeg(shared_data, name):
    path = shared_data / "real/hard" / name
    ours, theirs = load_audio(path).samples, peer(path)
    assert abs(lag(ours, theirs)) <= 0.020 and len(ours) / RATE == pytest.approx(len(theirs) / RATE, abs=0.1)


# -- channels

CLIP, OTHER_CLIP = "1688-142285-0007", "367-130732-0003"


def level(x): return 10 * np.log10(np.mean(np.square(x, dtype=float)) + 1e-30)


def read_clip(shared_data, name=CLIP, seconds=12): # -> float32, mono, 16 kHz
    x = load_audio(shared_data / f"librispeech/{name}.flac").samples[:seconds * RATE]
    return x * (np.float32(0.7) / np.abs(x).max())


@pytest.fixture(scope="module")
def talk(shared_data): return read_clip(shared_data)


def _placed(t, count, *where, gain=1.0): # -> shape (count, n)
    x = np.zeros((count, len(t)), np.float32)
    for i in where: x[i] = gain * t
    return x


WIRED = { # -> layout, how speech t is put into channels
    "mono": ("mono", lambda t: t[None]),
    "both": ("stereo", lambda t: np.stack([t, t])),
    "left": ("stereo", lambda t: _placed(t, 2, 0)),
    "right": ("stereo", lambda t: _placed(t, 2, 1)),
    "inverted": ("stereo", lambda t: np.stack([t, -t])),
    "half inverted": ("stereo", lambda t: np.stack([t, -0.9 * t])),
    "half inverted, right louder": ("stereo", lambda t: np.stack([-0.9 * t, t])),
    "right 20 dB down": ("stereo", lambda t: np.stack([t, 0.1 * t])),
    "left 20 dB down": ("stereo", lambda t: np.stack([0.1 * t, t])),
    "centre of 3.0": ("3.0", lambda t: _placed(t, 3, 2)),
    "centre of 5.1": ("5.1", lambda t: _placed(t, 6, 2)),
    "centre of 5.1(side)": ("5.1(side)", lambda t: _placed(t, 6, 2)),
    "centre of 7.1": ("7.1", lambda t: _placed(t, 8, 2)),
}
INVERTED = [name for name in WIRED if "inverted" in name]


def wire(folder, name, t, ending="wav", codec="pcm_s16le"):
    layout, channels_of = WIRED[name]
    return write(folder / f"wired.{ending}", channels_of(t), codec, RATE, layout=layout)


@pytest.mark.parametrize("ending, codec", [("wav", "pcm_s16le"), ("m4a", "aac"), ("mkv", "flac"), ("mov", "pcm_f32le")])
@pytest.mark.parametrize("name", WIRED)
def test_level_does_not_depend_on_the_wiring(tmp_path, talk, name, ending, codec):
    if (codec, WIRED[name][0]) in (("aac", "7.1"), ("aac", "5.1(side)")): pytest.skip("the encoder changes the layout")
    audio = load_audio(wire(tmp_path, name, talk, ending, codec))
    assert not isinstance(audio, ChannelAudio)
    assert level(audio.samples) == pytest.approx(level(talk), abs=0.5)
    assert abs(lag(audio.samples, talk * np.sign(np.dot(audio.samples[:len(talk)], talk[:len(audio.samples)])))) < 0.010
    assert len(warned(audio, "invert")) == (name in INVERTED)
    if name not in INVERTED: assert audio.warnings == ()


def test_wide_stereo_is_not_inverted(tmp_path):
    "Two noises that have nothing to do with each other, and a hall's sound with some of its side"
    random = np.random.default_rng(0)
    for middle, side in ((0, 1), (1, 1), (1, 0.5)):
        m, s = random.normal(0, 0.1, (2, 5 * RATE)).astype(np.float32)
        left, right = (m, s) if not middle else (m + side * s, m - side * s)
        x = np.stack([left, right]).clip(-0.99, 0.99)
        assert not warned(load_audio(write(tmp_path / "wide.wav", x, "pcm_s16le", RATE)), "invert")


def test_a_file_of_silence_is_not_inverted(tmp_path):
    audio = load_audio(write(tmp_path / "a.wav", np.zeros((2, RATE), np.float32), "pcm_s16le", RATE))
    assert not audio.samples.any() and audio.warnings == ()


def test_two_speakers_of_whom_each_has_a_channel_are_kept_apart(tmp_path, shared_data):
    "They take turns every four seconds"
    a, b = (read_clip(shared_data, name, 12) for name in (CLIP, OTHER_CLIP))
    n = min(len(a), len(b))
    turn = (np.arange(n) // (4 * RATE)) % 2
    audio = load_audio(write(tmp_path / "call.wav", np.stack([a[:n] * (turn == 0), b[:n] * (turn == 1)]), "pcm_s16le", RATE))
    assert isinstance(audio, ChannelAudio) and audio.count == 2
    for i, x in enumerate((a[:n], b[:n])):
        assert level(audio.channel(i).samples) == pytest.approx(level(x * (turn == i)), abs=0.5)
    assert not warned(audio, "invert")


def test_a_tone_in_every_layout_of_r07(tmp_path):
    t = (0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * 48000) / 48000)).astype(np.float32)
    files = {"m.wav": (t[None], "mono"), "one.wav": (_placed(t, 2, 0), "stereo"), "51.wav": (_placed(t, 6, 2), "5.1")}
    for name, (x, layout) in files.items():
        audio = load_audio(write(tmp_path / name, x, "pcm_s16le", layout=layout))
        assert level(audio.samples) == pytest.approx(-13.47, abs=0.5), name


# -- words, by the real recognizer

LIGHT = {"engine": "whisper", "runtime.device": "cpu", "runtime.offline": True, "diarize.enabled": False,
         "transcribe.language": "en"}


def words(path, model="tiny.en"): # -> words without case and punctuation, their times, the whole result
    found = analyze(path, LIGHT | {"transcribe.model": model})
    return [normalize_text(w.word, "en") for w in found.words], np.array([(w.start_time, w.end_time) for w in found.words]), found


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny.en", "base"])
def test_words_stand_at_the_same_time_in_every_container(real_whisper, sonnets, model):
    real_whisper(model)
    text, times, _ = words(sonnets["wav"], model)
    assert len(text) > 10
    for ending in SONNETS[1:]:
        other, other_times, _ = words(sonnets[ending], model)
        assert other == text, ending
        assert np.abs(other_times - times).max() <= 0.0205, (ending, (1000 * (other_times - times)).round().tolist())


@pytest.mark.slow
def test_words_and_their_level_do_not_depend_on_the_wiring(tmp_path, real_whisper, talk):
    real_whisper("tiny.en")
    text, _, mono = words(wire(tmp_path, "mono", talk))
    loud = np.array([w.acoustic_features.volume_db for w in mono.words])
    assert len(text) > 10 and mono.metadata.media.channel_gain_db == pytest.approx(0, abs=0.1)
    for name in WIRED:
        other, _, result = words(wire(tmp_path, name, talk))
        assert other == text, name
        assert [w.acoustic_features.volume_db for w in result.words] == pytest.approx(loud, abs=0.5), name
        assert isinstance(result.metadata.media.channel_gain_db, float), name
        assert any("invert" in w for w in result.metadata.warnings) == (name in INVERTED)


@pytest.mark.slow
def test_speech_in_the_centre_is_understood_between_louder_music(tmp_path, real_whisper, shared_data, talk):
    "Music in front left and right, 6 dB louder than the speech in front centre"
    real_whisper("tiny.en")
    music = load_audio(shared_data / "real/hard/musanmix.mp3").samples[2 * RATE:][:len(talk)]
    music = music * np.float32(10 ** ((level(talk) + 6 - level(music)) / 20))
    film = np.stack([music, music[::-1], talk, *np.zeros((3, len(talk)), np.float32)]).clip(-1, 1)
    alone, _, _ = words(wire(tmp_path, "mono", talk))
    between, _, _ = words(write(tmp_path / "film.wav", film, "pcm_s16le", RATE, layout="5.1"))
    assert wer(" ".join(alone), " ".join(between), "en").wer <= 0.02


# -- captions in the picture

CLOCKS = {
    "drifts": ("mkv", drift(0.98), plain),
    "drifts the other way": ("mkv", drift(1.02), plain),
    "jumps by an hour": ("ts", gap(2.35, 3600), gap(2.36, 3600)),
}

@pytest.mark.slow
@pytest.mark.skipif(not has_peer(), reason="no ffmpeg to burn captions with")
@pytest.mark.parametrize("clock", CLOCKS)
def test_a_burnt_word_is_on_the_screen_when_it_is_heard(tmp_path, clock):
    "A word where the sound has a burst; in the burnt film, the first picture that differs is not two off"
    ending, sound_clock, picture_clock = CLOCKS[clock]
    source = write(tmp_path / f"film.{ending}", bursts(), "aac", muxer=CONTAINERS[ending].muxer,
                   clock=sound_clock, picture=(0, SECONDS), picture_clock=picture_clock, size=320)
    audio = load_audio(source)
    word = burst_times(audio.samples)[5]
    spoken = Segment(0, word, word + 0.3, text="Here", words=(Word("Here", word, word + 0.3),))
    result = Analysis((spoken,), (), (), Metadata(source.name, duration=audio.duration))
    ass = write_captions(result, tmp_path / "a.ass", size=(320, 320))
    film = burn(source, ass, tmp_path / "burnt.mkv")
    heard = burst_times(peer(film, with_picture=True))[5]
    with av.open(str(film)) as container:
        start = container.start_time / 1e6
        pictures = [(f.time - start, f.to_ndarray(format="gray").astype(int)) for f in container.decode(video=0)]
    first = next(t for t, x in pictures if np.abs(x - pictures[0][1]).max() > 60)
    assert abs(first - heard) <= 2 / 25
