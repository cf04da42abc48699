"""Every file is decoded right, or refused in one sentence; nothing a file holds takes this process down."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ecg_audio_nb.audio.media as media
from ecg_audio_nb.core.workers import Child, ChildError
from ecg_audio_nb.audio import packets
from ecg_audio_nb.audio.media import SAMPLE_RATE, Audio, MediaError, load_audio
from ecg_audio_nb.settings import MediaSettings

ROOT = Path(__file__).resolve().parents[2]


# -- making files

def tone(seconds, rate=48000, hz=440, channels=1, dbfs=-20.0):
    "A sine whose RMS level is `dbfs`; float32, shape (channels, n)"
    t = np.arange(round(seconds * rate)) / rate
    return np.tile(2**0.5 * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t), (channels, 1)).astype(np.float32)


def write(
    path, *tracks, rate=48000, codec="aac", layout=None, start=0.0, picture=0.0, pts=None, options=None
):
    """Float samples of shape (channels, n), a track each, to a media file; `pts(i)`: seconds at which sample
    i is heard"""
    pts = pts or (lambda i: start + i / rate)
    with av.open(path, "w", options=options or {}) as file:
        sounds = [
            file.add_stream(codec, rate=rate, layout=layout or ("mono", "stereo")[len(x) - 1]) for x in tracks
        ]
        video = file.add_stream("mpeg4", rate=25, width=64, height=64, pix_fmt="yuv420p") if picture else None
        grey = np.full((96, 64), 128, np.uint8) # 64 x 64 pixels in yuv420p; a new frame holds what was in memory
        for _ in range(round(25 * picture)):
            file.mux(video.encode(av.VideoFrame.from_ndarray(grey, "yuv420p")))
        for sound, x in zip(sounds, tracks):
            for i in range(0, x.shape[1], 1024):
                part = np.ascontiguousarray(x[:, i:i + 1024].T, np.float32).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(part, "flt", sound.layout.name)
                frame.rate, frame.pts, frame.time_base = rate, round(pts(i) * rate), Fraction(1, rate)
                file.mux(sound.encode(frame))
        for stream in filter(None, (*sounds, video)): file.mux(stream.encode(None))
    return path


def write_wav(path, x, rate=16000, width=2, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels), file.setsampwidth(width), file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(x).tobytes())
    return path


def write_float_wav(path, x, rate=16000):
    "Shape (n, channels), any float32 value; PyAV's encoders and `wave` would not write NaN as it is"
    x = np.ascontiguousarray(x, np.float32).reshape(len(x), -1)
    form = struct.pack("<HHIIHH", 3, x.shape[1], rate, 4 * x.shape[1] * rate, 4 * x.shape[1], 32)
    chunks = (
        b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", x.nbytes) + x.tobytes()
    )
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def level(x): return 10 * np.log10(np.mean(np.square(x, dtype=float)) + 1e-30)
def middle(x, edge=0.2): return x[int(edge * len(x)):int((1 - edge) * len(x))]
def onset(x, above=0.05): return np.flatnonzero(np.abs(x) > above)[0] / SAMPLE_RATE


def whole(audio):
    "What holds for every audio there is"
    assert isinstance(audio, Audio) and audio.samples.dtype == np.float32 and audio.samples.ndim == 1
    assert audio.sample_rate == SAMPLE_RATE and len(audio.samples) and np.isfinite(audio.samples).all()
    return audio


def refusal(path, **limits):
    with pytest.raises(MediaError) as caught: load_audio(path, MediaSettings(**limits))
    said = str(caught.value)
    assert said.startswith(f"{Path(path).name}: ") and "\n" not in said and caught.value.__cause__ is None
    return said.removeprefix(f"{Path(path).name}: ")


# -- level, rate, channels

ALIKE = {  # layout and what tells one from another -> codec
    "mono": "flac",
    "stereo": "flac",
    "stereo aac": "aac",
    "stereo opus": "libopus",
    "5.1": "flac",
    "5.1 aac": "aac",
    "2.1": "pcm_s16le",
    "quad": "pcm_s16le",
    "7.1 flac": "flac",
    "7.1 opus": "libopus",
    "7.1 s16": "pcm_s16le",
    "mono u8": "pcm_u8",
    "stereo s24": "pcm_s24le",
    "mono s32": "pcm_s32le",
    "stereo f32": "pcm_f32le",
    "mono f64": "pcm_f64le",
    "mono alaw": "pcm_alaw",
}
SUFFIX = {"flac": ".flac", "aac": ".m4a", "libopus": ".webm"}


@pytest.mark.parametrize(
    "kind, rate", [*((kind, 48000) for kind in ALIKE), ("mono", 96000), ("5.1", 96000), ("stereo", 44100)]
)
def test_channels_that_are_alike_keep_their_level(tmp_path, kind, rate):
    layout, codec = kind.split()[0], ALIKE[kind]
    x = tone(1.5, rate, channels=av.AudioLayout(layout).nb_channels)
    path = write(tmp_path / f"a{SUFFIX.get(codec, '.wav')}", x, rate=rate, codec=codec, layout=layout)
    audio = whole(load_audio(path))
    assert level(middle(audio.samples)) == pytest.approx(-20, abs=0.05)
    assert audio.duration == pytest.approx(1.5, abs=0.03) and audio.warnings == ()


@pytest.mark.parametrize("channels", [3, 6, 9, 24])
def test_channels_without_a_place_are_averaged(tmp_path, channels):
    x = (32767 * tone(1, 48000)[0, :, None] * np.ones(channels)).astype("<i2")
    audio = whole(load_audio(write_wav(tmp_path / "a.wav", x, 48000, channels=channels)))
    assert level(middle(audio.samples)) == pytest.approx(-20, abs=0.05)


def test_a_channel_that_is_silent_takes_nothing_from_the_level(tmp_path):
    x = tone(1, channels=2)
    x[1] = 0
    audio = load_audio(write(tmp_path / "a.flac", x, codec="flac"))
    assert level(middle(audio.samples)) == pytest.approx(-20, abs=0.05)
    assert (audio.media["channels_heard"], audio.media["channel_gain_db"]) == ("FL", 0.0)


def test_the_resampler_passes_7_khz_and_stops_10_khz(tmp_path):
    for rate in (48000, 44100, 96000):
        heard = {
            hz: level(
                middle(
                    load_audio(
                        write(tmp_path / f"{hz}.wav", tone(1, rate, hz), rate=rate, codec="pcm_f32le")
                    ).samples
                )
            )
            for hz in (50, 1000, 7000, 10000)
        }
        assert (
            abs(heard[50] + 20) < 0.05
            and abs(heard[1000] + 20) < 0.05
            and heard[7000] > -21
            and heard[10000] < -70
        )


def test_16_khz_mono_comes_through_untouched(tmp_path):
    x = np.random.default_rng(0).integers(-30000, 30000, 50000).astype("<i2")
    assert np.array_equal(load_audio(write_wav(tmp_path / "a.wav", x)).samples, x.astype(np.float32) / 32768)


def test_a_change_of_format_on_the_way(tmp_path):
    one, two = (
        write(tmp_path / f"{r}.aac", tone(2, r, channels=c), rate=r).read_bytes()
        for r, c in ((48000, 2), (32000, 1))
    )
    (tmp_path / "both.aac").write_bytes(one + two)
    audio = whole(load_audio(tmp_path / "both.aac"))
    assert audio.duration == pytest.approx(4, abs=0.2)
    assert (
        level(audio.cut(0.5, 1.5).samples)
        == pytest.approx(-20, abs=0.1)
        == level(audio.cut(2.7, 3.7).samples)
    )


# -- time

@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.mov", "late.ts"])
def test_sound_that_starts_late_is_where_the_picture_has_it(tmp_path, name):
    path = write(tmp_path / name, tone(2, 44100, channels=2), rate=44100, start=0.5, picture=3)
    audio = whole(load_audio(path))
    assert onset(audio.samples) == pytest.approx(0.5, abs=0.03) and audio.duration == pytest.approx(
        2.5, abs=0.05
    )


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "m4a", "aac", "mp3", "flv", "ogg"])
def test_nothing_comes_before_sound_that_starts_at_once(tmp_path, suffix):
    codec = {"mp3": "libmp3lame", "ogg": "libopus"}.get(suffix, "aac")
    audio = load_audio(write(tmp_path / f"a.{suffix}", tone(2, 48000, channels=2), codec=codec))
    assert (
        onset(audio.samples) < 0.03 and audio.duration == pytest.approx(2, abs=0.06) and audio.warnings == ()
    )


def test_presentation_begins_with_the_earlier_stream(tmp_path):
    """Both late by the same (as in a recorded broadcast): zero is where the file begins, not where its clock
    does"""
    path = write(tmp_path / "a.mka", tone(2), codec="flac", start=300)
    assert onset(load_audio(path).samples) < 0.01


def test_holes_are_filled_and_small_ones_too(tmp_path):
    x = tone(4)
    def pts(i): return i / 48000 + (1.25 if i >= 96256 else 0.05 if i >= 48128 else 0)
    audio = whole(load_audio(write(tmp_path / "a.mkv", x, codec="flac", pts=pts)))
    assert audio.duration == pytest.approx(5.25, abs=0.02)
    assert level(audio.cut(2.1, 3.2).samples) < -100 and level(audio.cut(3.3, 5.2).samples) == pytest.approx(
        -20, abs=0.1
    )
    assert level(audio.cut(0.5, 1.0).samples) == pytest.approx(-20, abs=0.1)
    silent = [n for n in range(900, 1200, 5) if level(audio.cut(n / 1000, n / 1000 + 0.005).samples) < -60]
    assert 40 <= 5 * len(silent) <= 50 # the 50 ms that are missing there
    assert level(audio.cut(1.2, 2.0).samples) == pytest.approx(-20, abs=0.1)


def test_a_clock_that_jumps_past_the_end_is_not_believed():
    def frames():
        for i, at in enumerate((0, 0.02, 5e8, 5e8 + 0.02)):
            frame = av.AudioFrame.from_ndarray(tone(0.02), "fltp", "mono")
            frame.rate, frame.time_base, frame.pts = 48000, Fraction(1, 48000), int(at * 48000)
            yield frame
    log = packets.StreamLog()
    clock = packets.Clock(0.0, 10.0, log)
    parts = list(media._resampled(packets.place_frames(frames(), clock, log), log))
    assert sum(len(p) for p in parts) == 4 * 320 and log.n_jumps == 1 and log.end == pytest.approx(0.08)
    assert "jumps past the file's end (1 x)" in media._warnings(log, None)[0]


def test_the_track_that_was_asked_for(tmp_path):
    path = write(tmp_path / "two.mkv", tone(1, dbfs=-20), tone(1, dbfs=-40), codec="flac")
    for track, dbfs in ((0, -20), (1, -40)):
        heard = load_audio(path, MediaSettings(audio_track=track)).samples
        assert level(middle(heard)) == pytest.approx(dbfs, abs=0.05)
    assert "it has 2 audio streams, numbered from 0: no media.audio_track = 2" in refusal(path, audio_track=2)


# -- faulty samples

def test_what_is_not_a_number_is_read_as_silence(tmp_path):
    x = np.stack([tone(2, 16000)[0]] * 2, 1)
    x[1000:1010, 0], x[20000, 1], x[25000:25003, 1], x[7, 0] = np.nan, np.inf, -np.inf, 1e30
    audio = whole(load_audio(write_float_wav(tmp_path / "a.wav", x)))
    assert audio.warnings == ("not numbers: 15 samples, read as silence",)
    good = np.where(np.abs(x) < 2, x, 0).mean(1)
    assert np.allclose(audio.samples, good, atol=1e-6)


def test_every_sample_may_be_bad(tmp_path):
    audio = whole(load_audio(write_float_wav(tmp_path / "a.wav", np.full(16000, np.nan), 44100)))
    assert not audio.samples.any() and audio.warnings == ("not numbers: 16000 samples, read as silence",)


def test_beyond_full_scale_is_left_as_it_is(tmp_path):
    audio = load_audio(write_float_wav(tmp_path / "a.wav", 3 * tone(1, 16000, dbfs=-3.01)[0]))
    assert np.abs(audio.samples).max() == pytest.approx(3, abs=0.01) and audio.warnings[0].startswith(
        "clipped: "
    )


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le", "flac", "aac"])
def test_clipping_is_told(tmp_path, codec):
    x = np.clip(tone(2, channels=2, dbfs=6), -1, 1)
    path = write(tmp_path / f"a{SUFFIX.get(codec, '.wav')}", x, codec=codec)
    told = load_audio(path).warnings
    assert (
        len(told) == 1
        and told[0].startswith("clipped: ")
        and told[0].endswith(" % of the samples sit at full scale")
    )


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le", "flac"])
def test_a_loud_tone_is_not_clipped(tmp_path, codec):
    path = write(tmp_path / f"a{SUFFIX.get(codec, '.wav')}", tone(2, hz=1000, dbfs=-3.0103), codec=codec)
    assert load_audio(path).warnings == ()


# -- the table of bad input

def cut(path, share):
    path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    return path


def mute(path):
    with av.open(path, "w") as file:
        video = file.add_stream("mpeg4", rate=25, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(25): file.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
        file.mux(video.encode(None))


def text(content): return lambda path: path.write_text(content)


CENC = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8"}
REFUSED = {  # -> how the file is made, what the message says
    "missing.mp4": (lambda p: None, "no such file; check the spelling"),
    "directory.mp4": (lambda p: p.mkdir(), "this is a directory; name a file inside it"),
    "fifo.wav": (lambda p: os.mkfifo(p), "this is a FIFO"),
    "device.wav": (lambda p: p.symlink_to("/dev/zero"), "this is a device"),
    "empty.mp4": (lambda p: p.touch(), "the file is empty (0 bytes)"),
    "text.mp4": (text("these are notes\n" * 99), "FFmpeg knows no media format like this"),
    "text.wav": (text("these are notes\n" * 99), "FFmpeg knows no media format like this"),
    "page.mp4": (text("<!DOCTYPE html><html><body>Sign in</body></html>"), "it is a web page or XML"),
    "random.mp4": (
        lambda p: p.write_bytes(np.random.default_rng(1).bytes(99999)),
        "FFmpeg knows no media format like this",
    ),
    "random.bin": (
        lambda p: p.write_bytes(np.random.default_rng(2).bytes(99999)),
        "FFmpeg knows no media format like this",
    ),
    "moov at the end cut.mp4": (
        lambda p: cut(write(p, tone(5)), 0.8),
        "it is cut off, its index (moov) is missing",
    ),
    "no sound.mp4": (mute, "it has no audio stream (only 1 video); choose a file with sound"),
    "encrypted.mp4": (lambda p: write(p, tone(2), options=CENC), "it is encrypted (DRM)"),
    "no samples.wav": (lambda p: write_wav(p, np.zeros(0, "<i2")), "its audio stream is empty"),
    "header only.mp4": (lambda p: cut(write(p, tone(5), options={"movflags": "faststart"}), 0.02), ""),
    "playlist.m3u8": (
        text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{wav}\n#EXT-X-ENDLIST\n"),
        "it is a list that names other",
    ),
    "playlist.mp4": (text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{wav}\n#EXT-X-ENDLIST\n"), ""),
    "concat.txt": (text("ffconcat version 1.0\nfile {wav}\n"), "it is a list that names other files"),
    "session.sdp": (
        text("v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n"),
        "FFmpeg knows no media format like this",
    ),
    "dash.mpd": (
        text('<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'),
        "it is a web page or XML",
    ),
    "subtitles.srt": (
        text("1\n00:00:01,000 --> 00:00:02,000\nHello\n"),
        "it has no audio stream (only 1 subtitle)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(tmp_path, name):
    make, fault = REFUSED[name]
    wav = write_wav(tmp_path / "other.wav", (9999 * tone(1, 16000)[0]).astype("<i2"))
    path = tmp_path / name
    make(path)
    if path.suffix in (".m3u8", ".txt", ".mp4") and name.split()[0].split(".")[0] in ("playlist", "concat"):
        path.write_text(path.read_text().format(wav=wav))
    assert fault in refusal(path)


WARNED = {
    "moov in front cut.mp4": (
        lambda p: cut(write(p, tone(20), options={"movflags": "faststart"}), 0.5),
        "truncated: ",
        (8, 12),
    ),
    "cut.mkv": (lambda p: cut(write(p, tone(20), picture=20), 0.5), "truncated: ", (5, 15)),
    "cut.wav": (lambda p: cut(write_wav(p, np.ones(320000, "<i2")), 0.5), "truncated: ", (9, 11)),
    "cut.flac": (
        lambda p: cut(write(p, tone(20) + tone(20, hz=99), codec="flac"), 0.5),
        "truncated: ",
        (5, 15),
    ),
    "holed.mp3": (lambda p: punched(write(p, tone(20), codec="libmp3lame")), "damaged: ", (18, 21)),
}


def punched(path):
    "Rubbish in the middle"
    data = bytearray(path.read_bytes())
    data[len(data) // 2:len(data) // 2 + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(data)


@pytest.mark.parametrize("name", WARNED)
def test_what_there_is_is_kept_with_a_warning(tmp_path, name):
    make, told, (low, high) = WARNED[name]
    make(tmp_path / name)
    audio = whole(load_audio(tmp_path / name))
    assert low < audio.duration < high and any(w.startswith(told) for w in audio.warnings), audio.warnings


FINE = { # -> how it is made, seconds
    "silence.wav": (lambda p: write_wav(p, np.zeros(32000, "<i2")), 2),
    "50 ms.wav": (lambda p: write_wav(p, np.ones(800, "<i2")), 0.05),
    "one sample.wav": (lambda p: write_wav(p, np.ones(1, "<i2")), 1 / 16000),
    "8 bit.wav": (lambda p: write_wav(p, np.full(16000, 200, "u1"), width=1), 1),
    "96 kHz.wav": (lambda p: write_wav(p, np.ones(96000, "<i2"), 96000), 1),
    "6 channels.wav": (lambda p: write_wav(p, np.ones((48000, 6), "<i2"), 48000, channels=6), 1),
    "DC.wav": (lambda p: write_wav(p, np.full(16000, 16384, "<i2")), 1),
    "이름에 빈칸 #1 %d [x] 회의.mp4": (lambda p: write(p, tone(1)), 1),
    "concat:x|y.wav": (lambda p: write_wav(p, np.ones(16000, "<i2")), 1),
    "http:̸x.wav": (lambda p: write_wav(p, np.ones(16000, "<i2")), 1),
    "img-%03d.wav": (lambda p: write_wav(p, np.ones(16000, "<i2")), 1),
    "wrong suffix.txt": (lambda p: write_wav(p, np.ones(16000, "<i2")), 1),
    "no suffix": (lambda p: write_wav(p, np.ones(16000, "<i2")), 1),
    "cover.m4a": (lambda p: write(p, tone(1), picture=0.04), 1),
}


@pytest.mark.parametrize("name", FINE)
def test_unusual_and_fine(tmp_path, name):
    make, seconds = FINE[name]
    make(tmp_path / name)
    audio = whole(load_audio(tmp_path / name))
    assert audio.duration == pytest.approx(seconds, abs=0.03) and audio.warnings == ()
    if name == "DC.wav": assert np.allclose(audio.samples, 0.5)


def test_a_name_that_is_no_text(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.wav"
    write_wav(tmp_path / "a.wav", np.ones(16000, "<i2")).rename(os.fsdecode(path))
    assert load_audio(path).duration == load_audio(os.fsdecode(path)).duration == 1


# -- limits

def test_a_file_that_declares_too_much_is_refused_at_once(tmp_path):
    path = write(tmp_path / "a.mp4", tone(12))
    assert "it lasts 12 s, over the limit media.max_seconds = 10; cut it, or raise the limit" in refusal(
        path, max_seconds=10
    )
    assert load_audio(path, MediaSettings(max_seconds=12)).duration == pytest.approx(12, abs=0.03)


def test_no_limit_at_all(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.ones(16000, "<i2"))
    assert load_audio(path, MediaSettings(max_seconds=float("inf"), timeout=float("inf"))).duration == 1


def test_a_file_that_declares_nothing_is_stopped(tmp_path):
    path = write(tmp_path / "a.aac", tone(12)) # ADTS: FFmpeg only guesses
    assert "it lasts longer, over the limit media.max_seconds = 10" in refusal(path, max_seconds=10)


def test_a_header_that_lies_costs_nothing(tmp_path):
    path = write_float_wav(tmp_path / "a.wav", np.zeros(16000))
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    data[4:8], data[at + 4:at + 8] = struct.pack("<I", 2**30), struct.pack("<I", 2**30 - at)
    path.write_bytes(data)
    assert "over the limit media.max_seconds = 3600" in refusal(path, max_seconds=3600)
    audio = load_audio(path)
    assert audio.duration == 1 and audio.samples.base is None
    assert audio.warnings[0].startswith("truncated: the file ends after 1.0 s of the 16")


@pytest.mark.parametrize("size", [0, 0x7FFFF024, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_does_not_know_its_length(tmp_path, size):
    path = write_float_wav(tmp_path / "a.wav", tone(2, 16000)[0])
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    data[4:8], data[at + 4:at + 8] = struct.pack("<I", size), struct.pack("<I", max(0, size - at))
    path.write_bytes(data)
    audio = load_audio(path)
    assert audio.duration == 2 and audio.warnings == ()


KIDS = '''
import ctypes
def hang(request, payload):
    yield {"seconds": 1}, b""
    ctypes.PyDLL(None).sleep(600)
def crash(request, payload):
    yield {"seconds": 1}, b""
    ctypes.string_at(0)
def early(request, payload):
    ctypes.string_at(0)
    yield {}, b""
def flood(request, payload):
    yield {"seconds": 1}, b""
    while True: yield {"silence": 10**9}, b""
def back(request, payload):
    yield {"seconds": 1}, b""
    yield {"silence": -5}, b""
def odd(request, payload):
    raise ZeroDivisionError("division by zero")
    yield
'''


@pytest.mark.parametrize(
    "what, fault",
    [
        ("hang", "it takes longer than media.timeout = 2 s"),
        ("crash", "the decoder crashed (the child"),
        ("early", "ended by SIGSEGV"),
        ("flood", "more than it may"),
        ("back", "more than it may"),
        ("odd", "it can't be decoded (Zero"),
    ],
)
def test_a_decoder_that_fails_is_an_error_like_any_other(tmp_path, monkeypatch, what, fault):
    (tmp_path / "kids.py").write_text(KIDS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(media, "fresh", lambda target, *args, **more: Child(f"kids:{what}", *args, **more))
    path = write_wav(tmp_path / "a.wav", np.ones(16000, "<i2"))
    assert fault in refusal(path, timeout=2)


def test_the_array_is_held_once(tmp_path):
    "In a process of its own, decoding adds little more than the array to what the process held at its peak"
    path = write_wav(tmp_path / "long.wav", np.ones((600 * 44100, 1), "<i2"), 44100)
    code = (
        "import json, resource, sys; from ecg_audio_nb.audio.media import load_audio; import numpy\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak(); a = load_audio(sys.argv[1]); print(json.dumps([a.samples.nbytes / 2**20, peak() "
        "- before, a.duration]))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=300
    )
    size, grown, duration = json.loads(out.stdout)
    assert duration == 600 and grown < 1.25 * size + 8, (grown, size)


# -- any bytes at all

def outcome(path):
    try: return whole(load_audio(path))
    except MediaError as e:
        assert str(e).startswith(f"{Path(path).name}: ")
        return None


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.binary(min_size=0, max_size=4000),
    st.sampled_from(["mp4", "wav", "mp3", "mkv", "ogg", "flac", "aac", "bin"]),
)
def test_random_bytes_raise_nothing_else(data, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        path.write_bytes(data)
        outcome(path)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    kinds = {
        "mp4": "aac",
        "mkv": "aac",
        "ts": "aac",
        "flv": "aac",
        "ogg": "libopus",
        "mp3": "libmp3lame",
        "flac": "flac",
        "wav": "pcm_f32le",
        "mov": "alac",
        "aiff": "pcm_s16be",
        "avi": "ac3",
    }
    return {
        suffix: write(folder / f"a.{suffix}", tone(0.5, channels=2), codec=codec).read_bytes()
        for suffix, codec in kinds.items()
    }


@pytest.fixture(scope="module")
def decoder():
    with Child("ecg_audio_nb.audio.media:_decode_stream", timeout=60, memory_mb=2048) as child: yield child


FROM_FFMPEG = {
    "MediaError",
    "ArgumentError",
    "MemoryError",
    "InvalidDataError",
    "PatchWelcomeError",
    "NotImplementedError",
    "OSError",
    "UnknownError",
    "BugError",
    "DecoderNotFoundError",
} # the latter: no fault of ours, and `load_audio` words them


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_raise_nothing_else(data, seeds, decoder, tmp_path):
    suffix = data.draw(st.sampled_from(sorted(seeds)))
    content = bytearray(seeds[suffix])
    if data.draw(st.booleans()): del content[data.draw(st.integers(1, len(content) - 1)):]
    for _ in range(data.draw(st.integers(1, 30))):
        content[
            data.draw(st.integers(0, min(len(content), data.draw(st.sampled_from([100, 1 << 20]))) - 1))
        ] = data.draw(st.integers(0, 255))
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    try:
        for header, samples in decoder.stream({"path": str(path), "audio_track": 0, "max_seconds": 3600}):
            assert np.isfinite(np.frombuffer(samples, np.float32)).all() and header.get("silence", 0) >= 0
    except ChildError as e: assert e.kind in FROM_FFMPEG, e


# -- Audio

def test_audio_shows_itself():
    audio = Audio(np.sin(np.arange(32000) / 9).astype(np.float32), warnings=("it's <odd>",))
    assert repr(audio) == "Audio(2.000 s, 16000 Hz, \"it's <odd>\")"
    shown = audio._repr_html_()
    assert "<svg" in shown and "&lt;odd&gt;" in shown and len(shown) < 10000
    assert (
        "<svg" not in Audio(np.zeros(0, np.float32))._repr_html_()
        and "<svg" in Audio(np.zeros(5, np.float32))._repr_html_()
    )


def test_cut_is_a_view():
    audio = Audio(np.arange(32000, dtype=np.float32))
    part = audio.cut(0.5, 1.0)
    assert part.samples[0] == 8000 and part.duration == 0.5 and np.shares_memory(part.samples, audio.samples)
    assert (
        audio.cut(-1, 0.5).duration == 0.5
        and audio.cut(1.5, 9).duration == 0.5
        and audio.cut(3, 4).duration == 0
    )


def test_light_to_import():
    code = (
        "import sys, ecg_audio_nb.audio.media; assert not {'av', 'scipy', 'fsspec', 'fastcore', "
        "'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
