"""Media files: what is a recording by its name, and what by its first bytes; tried on real speech"""
import os
import shutil
import subprocess
import sys

import av
import pytest

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.batch.media_files import (
    HEAD,
    NO_RECORDINGS,
    RECORDINGS,
    UNFINISHED,
    file_ending,
    is_media,
    is_media_content,
    is_media_file,
    is_unfinished,
)

# What FFmpeg lists, but mostly means something else: programs, numbered parts, data of games, raw samples
BY_CONTENT = set(
    "264 265 266 302 722 acm adf adp ads apc apv avs bit bitpacked bmv cdata dat dif dtk imx mac mca msf sb "
    "sds sdx sf son ss2 str svs sw tco ub uw v vb vpk wa way xl".split()
)

# container, codec and rate in which FFmpeg writes speech; by the ending that people know it by
WRITTEN = {
    "3g2": ("3g2", "aac", 16000),
    "aac": ("adts", "aac", 16000),
    "ac3": ("ac3", "ac3", 48000),
    "aif": ("aiff", "pcm_s16be", 16000),
    "amr": ("amr", "libopencore_amrnb", 8000),
    "asf": ("asf", "wmav2", 16000),
    "au": ("au", "pcm_s16be", 16000),
    "avi": ("avi", "libmp3lame", 16000),
    "caf": ("caf", "pcm_s16le", 16000),
    "eac3": ("eac3", "eac3", 48000),
    "flac": ("flac", "flac", 16000),
    "flv": ("flv", "aac", 44100),
    "m2ts": ("mpegts", "mp2", 48000),
    "m4b": ("ipod", "aac", 16000),
    "mka": ("matroska", "libopus", 48000),
    "mov": ("mov", "pcm_s16le", 16000),
    "mp2": ("mp2", "mp2", 48000),
    "mp3": ("mp3", "libmp3lame", 16000),
    "mts": ("mpegts", "ac3", 48000),
    "nut": ("nut", "pcm_s16le", 16000),
    "ogv": ("ogg", "libopus", 48000),
    "rm": ("rm", "ac3", 48000),
    "tta": ("tta", "tta", 16000),
    "voc": ("voc", "pcm_s16le", 16000),
    "vob": ("vob", "mp2", 48000),
    "w64": ("w64", "pcm_s16le", 16000),
    "wav": ("wav", "pcm_s16le", 16000),
    "weba": ("webm", "libopus", 48000),
    "wma": ("asf", "wmav2", 16000),
    "wtv": ("wtv", "mp2", 48000),
    "wv": ("wv", "wavpack", 16000),
}
BIT_RATES = {"wmav2": 32000, "libopencore_amrnb": 12200}  # of encoders that have no default


def convert(source, target, container, codec, rate, options=None):
    "Write the speech of a file in another container"
    with av.open(source) as speech, av.open(target, "w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        if codec in BIT_RATES: stream.bit_rate = BIT_RATES[codec]
        resampler = av.AudioResampler(stream.codec_context.format, "mono", rate)
        for frame in [*speech.decode(audio=0), None]:
            for piece in resampler.resample(frame): file.mux(stream.encode(piece))
        file.mux(stream.encode(None))


@pytest.fixture(scope="module")
def speech(shared_data): return str(shared_data / "sentences/spk1_snt1.flac")


def test_names():
    assert [is_media(n) for n in ("a.mp4", "b/.c.wav", "notes.md", "s3://b/x.MXF", "wav", "a. wav")] == [
        True,
        False,
        False,
        True,
        False,
        False,
    ]
    assert [file_ending(n) for n in ("a.WAV\n", "a.tar.gz", ".wav", "x.y/talk", "talk.", "Öl.é")] == [
        "wav",
        "gz",
        "",
        "",
        "",
        "é",
    ]
    assert [is_unfinished(n) for n in ("a.mp4.part", "a.crdownload", "a.mp4~", "a.TMP", "part.mp4")] == [
        True,
        True,
        True,
        True,
        False,
    ]


def test_each_ending_of_this_ffmpeg_is_judged():
    "A new FFmpeg may list a new ending: put it into one of the sets"
    listed = set()
    for name in av.formats_available:
        try: listed |= set(av.format.ContainerFormat(name, "r").extensions)
        except ValueError: continue  # a format that FFmpeg only writes
    assert not listed - RECORDINGS - NO_RECORDINGS - BY_CONTENT
    sets = [RECORDINGS, NO_RECORDINGS, UNFINISHED, BY_CONTENT]
    assert sum(map(len, sets)) == len(set().union(*sets))


@pytest.mark.parametrize("ending", WRITTEN)
def test_speech_in_each_container_is_known_by_name_and_by_content(ending, speech, tmp_path):
    named, nameless, odd = (tmp_path / n for n in (f"a.{ending.upper()}", "a", "a.wav.1"))
    convert(speech, str(named), *WRITTEN[ending])
    for copy in (nameless, odd): shutil.copy(named, copy)
    assert [is_media_file(str(p)) for p in (named, nameless, odd)] == [True] * 3
    assert load_audio(nameless).duration > 1  # and it is decoded without its ending


@pytest.mark.parametrize(
    "file",
    [
        "real/hard/bbb_mono_16kHz_23.05kbps_amrwb.3gp",
        "real/hard/DTMF_tones_44.1KHZ_stereo_24bit.flac",
        "real/hard/long_edit_list_audioonly.mp4",
        "real/hard/musanmix.mp3",
        "real/hard/sample_nb.amr",
        "real/hard/sintel_clip-408p-mpeg4-mp3.mp4",
        *(f"real/hard/sonnet.{e}" for e in ("aac", "mp3", "mp4", "ogg", "wav", "webm")),
        "real/languages/13697_11991_000000.opus",
        "real/languages/aeneas_de.mp3",
        "real/conversations/sintel_trailer-audio.ogg",
    ],
)
def test_a_real_recording_is_known_by_its_content(file, shared_data):
    with open(shared_data / file, "rb") as f: assert is_media_content(f.read(HEAD))


def test_all_real_files_are_told_apart_without_their_endings(shared_data, tmp_path):
    files = [p for p in shared_data.rglob("*") if p.is_file()]
    heads = {p: p.open("rb").read(HEAD) for p in files}
    assert {p.name for p in files if is_media_content(heads[p]) != is_media(p.name)} == set()


def test_a_transport_stream_that_begins_within_a_packet(speech, tmp_path):
    for kind, option in (("ts", {}), ("m2ts", {"mpegts_m2ts_mode": "1"})):
        path = tmp_path / f"a.{kind}"
        convert(speech, str(path), "mpegts", "mp2", 48000, option)
        cut = tmp_path / f"cut-{kind}"
        cut.write_bytes(path.read_bytes()[77:])
        assert is_media_file(str(cut)) and is_media_file(str(path))


def test_a_picture_a_text_and_a_playlist_are_no_recordings(tmp_path):
    contents = {
        "utf16": "\ufeffMinutes of the meeting".encode("utf-16-le"),
        "photo": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "webp": b"RIFF\x24\0\0\0WEBPVP8 ",
        "letter": b"The wide world, and the moov in it" * 90,
        "genome": b"G" * 4000,
        "list": b"#EXTM3U\n#EXTINF:9,\na.ts\n",
        "concat": b"ffconcat version 1.0\nfile a.wav\n",
        "page": b"<!doctype html><title>404</title>",
        "pdf": b"%PDF-1.7\n",
        "zip": b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0",
        "empty": b"",
        "part.ts": b"export const words: string[] = [];\n",
        "part.mts": b"import { words } from './part.ts';\n",
        "talk.m3u8": b"\0\0\0\x20ftypisom",
    }
    for name, content in contents.items(): (tmp_path / name).write_bytes(content)
    assert [name for name in contents if is_media_file(str(tmp_path / name))] == []


def test_a_changed_file_is_looked_at_again(tmp_path, sample):
    path = tmp_path / "upload"
    path.write_bytes(b"")
    assert not is_media_file(str(path))
    shutil.copy(sample, path)
    assert is_media_file(str(path))


def test_opening_never_waits_for_a_fifo(tmp_path):
    os.mkfifo(tmp_path / "x.xyz")
    assert not is_media_file(str(tmp_path / "x.xyz"))


def test_the_command_line_loads_no_decoder_for_this():
    code = "import sys, ecg_audio_nb.batch.runner; print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
