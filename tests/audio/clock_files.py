"""Media files whose packet times are known: bursts of a tone at known times, in every container and codec
that this FFmpeg writes; and Debian's `ffmpeg`, which reads the same files by other code

`write` encodes samples into packets, whose times count samples from 0, and writes each packet at the time that a
function of its own time gives, a clock: an offset, one that runs fast or slow, a gap, a jump. So a burst at `t` seconds of the sound is heard at `clock(t)`
seconds of the file's time line, and nothing has to be read back from the file to know it.
"""
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 16000 # Hz, of what `load_audio` and `peer` return


# -- sounds

BURST = 0.03 # seconds
BURST_HZ = 1000
BURSTS = (0.5, 1.3, 1.9, 2.8, 3.3, 4.4, 5.2) # seconds; no two intervals are alike
SECONDS = 6.0 # of the sound that holds them


def _burst(rate):
    "A burst of a tone, which begins and ends softly, so that codecs keep its place"
    n = round(BURST * rate)
    return np.hanning(n) * np.exp(2j * np.pi * BURST_HZ * (np.arange(n) - n / 2) / rate)


def bursts(
    rate:int=48000, # Hz
    times=BURSTS, # seconds of the bursts' middles
    seconds:float=SECONDS,
    channels:int=1,
)->np.ndarray: # float32, shape (channels, n)
    "Make silence with short bursts of a tone"
    x, burst = np.zeros(round(seconds * rate)), 0.5 * _burst(rate).real
    for t in times:
        first = round(t * rate) - len(burst) // 2
        x[first:first + len(burst)] += burst
    return np.tile(x, (channels, 1)).astype(np.float32)


def burst_times(
    samples:np.ndarray, # shape (n,)
    rate:int=RATE, # Hz
)->np.ndarray: # seconds, shape (k,)
    "Find the middles of the bursts by a matched filter; exact to a millisecond, even where codecs add noise"
    burst = _burst(rate)
    n = 1 << (len(samples) + len(burst)).bit_length()
    spectrum = np.fft.fft(samples, n) * np.fft.fft(burst[::-1].conj(), n)
    envelope = np.abs(np.fft.ifft(spectrum))[:len(samples) + len(burst)]
    times = []
    threshold = 0.4 * envelope.max(initial=0)
    if threshold < 1e-3: return np.zeros(0)
    loud = np.flatnonzero(envelope > threshold)
    for part in np.split(loud, np.flatnonzero(np.diff(loud) > 0.05 * rate) + 1):
        peak = part[envelope[part].argmax()]
        times.append((peak - (len(burst) - 1) + len(burst) // 2) / rate)
    return np.array(times)


# -- containers and codecs

@dataclass(frozen=True)
class Container:
    "What a container can tell about the time of its sound"
    codecs:str # that its muxer is asked to take, or refuses (`REFUSED`)
    muxer:str|None=None # None: by the file's ending
    has_times:bool=True # False: only samples are counted; no offset, drift or gap can be written
    tells_delay:bool=True # whether the samples that an encoder puts before the sound are marked
    needs_picture:bool=False
    options:tuple=() # of the muxer, pairs


PAGES = (("page_duration", "100000"),) # microseconds; between the ends of pages Ogg tells no time
CONTAINERS = { # ending of the file -> Container
    "wav": Container("pcm_u8 pcm_s16le pcm_s24le pcm_s32le pcm_f32le pcm_f64le pcm_alaw pcm_mulaw adpcm_ms "
                     "adpcm_ima_wav flac libmp3lame mp2 ac3 aac", has_times=False, tells_delay=False),
    "m4a": Container("aac alac ac3 eac3 libmp3lame"),
    "mp4": Container("aac alac ac3 eac3 libmp3lame mp2 libopus flac vorbis pcm_s16le"),
    "mov": Container("aac alac pcm_s16le pcm_s24le pcm_f32le pcm_mulaw adpcm_ima_qt libmp3lame ac3 mp2 libopus "
                     "flac"),
    "mkv": Container("aac libopus flac libmp3lame mp2 ac3 eac3 pcm_s16le pcm_f32le vorbis wavpack tta alac wmav2 "
                     "adpcm_ms"),
    "webm": Container("libopus vorbis aac"),
    "ts": Container("aac mp2 libmp3lame ac3 eac3 libopus", "mpegts", tells_delay=False),
    "avi": Container("libmp3lame mp2 ac3 aac pcm_s16le adpcm_ms adpcm_ima_wav wmav2", has_times=False,
                     tells_delay=False),
    "ogg": Container("libopus vorbis flac", options=PAGES),
    "flac": Container("flac", has_times=False),
    "mp3": Container("libmp3lame", has_times=False),
    "wma": Container("wmav1 wmav2 libmp3lame pcm_s16le", "asf", tells_delay=False),
    "3gp": Container("aac libopencore_amrnb", "3gp"),
    "caf": Container("pcm_s16le pcm_s16be pcm_f32be pcm_mulaw alac adpcm_ima_qt aac libopus", has_times=False),
    "mxf": Container("pcm_s16le pcm_s24le", has_times=False, needs_picture=True),
    "flv": Container("aac libmp3lame adpcm_swf nellymoser", tells_delay=False),
    "vob": Container("mp2 ac3 libmp3lame", "vob", tells_delay=False),
    "aac": Container("aac", "adts", has_times=False, tells_delay=False),
    "opus": Container("libopus", options=PAGES),
    "amr": Container("libopencore_amrnb", has_times=False, tells_delay=False),
    "w64": Container("pcm_s16le", has_times=False),
    "aiff": Container("pcm_s16be", has_times=False),
    "wv": Container("wavpack", has_times=False),
}
REFUSED = { # (ending, codec) -> why this FFmpeg does not make such a file, or no right one
    ("wav", "aac"): "written, but not even ffmpeg reads it: packets are not kept apart",
    ("avi", "adpcm_ms"): "its header declares 6,266 s, as ffprobe finds too",
    ("avi", "adpcm_ima_wav"): "its header declares 6,299 s, as ffprobe finds too",
    ("m4a", "eac3"): "not in the muxer's list of codecs",
    ("m4a", "libmp3lame"): "not in the muxer's list of codecs",
    ("mov", "libopus"): "only supported in MP4",
    ("mov", "flac"): "only supported in MP4",
    ("mkv", "wmav2"): "not in the muxer's list of codecs",
    ("mkv", "adpcm_ms"): "not in the muxer's list of codecs",
    ("webm", "aac"): "WebM takes Opus and Vorbis",
    ("caf", "aac"): "the muxer writes no packet table",
    ("caf", "libopus"): "the muxer writes no packet table",
}
NO_TIMES = { # (ending, codec): the container has times for other codecs; for these it counts samples
    ("mp4", "pcm_s16le"), ("mov", "pcm_s16le"), ("mov", "pcm_s24le"), ("mov", "pcm_f32le"), ("mov", "pcm_mulaw"),
}
DELAY = { # encoder -> samples before the sound begins, which a decoder gives out unless the file marks them
    "aac": 1024, "libmp3lame": 1105, "mp2": 481, "ac3": 256, "eac3": 256, "libopus": 312, "wmav1": 2048,
    "wmav2": 2048, "libopencore_amrnb": 81, "nellymoser": 128,
}
# Which of them matter, at 48 kHz: AAC 21.3 ms, MP3 23.0 ms, MP2 10.0 ms and AMR 10.1 ms in WAV, MPEG-TS, AVI, ASF,
# FLV, VOB, raw AAC and raw AMR, which have no place to mark them; AC-3 5.3 ms and Opus 6.5 ms there are within 10 ms.
# WMA: 42.7 ms, a whole frame of FFmpeg's encoder; other encoders of WMA differ, so nobody can know.


def sample_rate(codec): # of the files that tests write, Hz
    return {"libopencore_amrnb": 8000, "nellymoser": 44100, "adpcm_swf": 44100}.get(codec, 48000)


def channels(codec): return 2 if codec == "vorbis" else 1 # FFmpeg's Vorbis encoder takes stereo only


def tolerance(
    ending:str,
    codec:str,
    late:float=0.0, # seconds by which the sound begins after a picture; then packet times count the delay
)->float: # seconds
    "How far a burst may stand from where its packet time has it"
    container = CONTAINERS[ending]
    if container.tells_delay or (late > 0.05 and container.has_times): return 0.010
    if codec.startswith("wmav"): return 0.050
    return 0.025 if DELAY.get(codec, 0) / sample_rate(codec) > 0.008 else 0.010


def peer_tolerance(
    ending:str,
    codec:str,
    scale:float=1.0, # of the clock
    late:float=0.0, # seconds by which the sound begins after a picture
)->float|None: # seconds; None: ffmpeg itself is off
    """How far a burst may stand from where ffmpeg 5.1 has it

    - `async` follows a steady drift late: by 10 ms at 1 %, by 20 ms at 2 %, as measured;
    - it reads over Matroska's CodecDelay, so sound that begins at 0 is late by the encoder's delay: AAC 21 ms,
      Vorbis 23 ms, MP3 23 ms (MP2 10 ms, Opus 7 ms and AC-3 5 ms are within the limit);
    - where no file can tell the delay (see `tolerance`), it does nothing, so who removes it differs by that.
    """
    if late < 0.05 and ending in ("mkv", "webm") and codec in ("aac", "vorbis", "libmp3lame"): return None
    if ending == "ogg" and codec == "vorbis" and scale != 1: return None # off by -10 to +14 ms around the drift
    return max(0.020, tolerance(ending, codec, late)) + abs(scale - 1)


# -- packets

def _frames(x, rate, layout, kind): # x: float, shape (channels, n)
    "Cut samples into frames of a sample format"
    bits = {"u8": 8, "s16": 16, "s32": 32}.get(kind.removesuffix("p"))
    for first in range(0, x.shape[1], 1024):
        part = x[:, first:first + 1024]
        if not kind.endswith("p"): part = part.T.reshape(1, -1)
        if bits == 8: part = (part * 127 + 128).astype(np.uint8)
        elif bits: part = (part * (2 ** (bits - 1) - 1)).astype(f"i{bits // 8}")
        else: part = part.astype(np.float64 if kind.startswith("dbl") else np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format=kind, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
        yield frame


def _every_packet(stream, x, rate, layout): # -> packets of the whole sound
    for frame in _frames(x, rate, layout, stream.codec_context.format.name): yield from stream.encode(frame)
    yield from stream.encode(None)


class CannotWrite(Exception):
    "This FFmpeg's muxer or encoder refuses the combination"


def _grey(size): return av.VideoFrame.from_ndarray(np.full((3 * size // 2, size), 128, np.uint8), "yuv420p")


def plain(t): return t


def write(
    path:Path,
    x:np.ndarray, # float, shape (channels, n)
    codec:str, # name of an encoder
    rate:int=48000, # Hz
    layout:str|None=None, # None: mono or stereo
    muxer:str|None=None, # None: by the file's ending
    clock:Callable=plain, # seconds of the sound -> seconds of the file's time line
    picture:tuple|None=None, # None, or the first and last second of a picture
    picture_clock:Callable=plain, # as `clock`, for the picture
    size:int=64, # of the picture, pixels
    options:dict|None=None, # of the muxer
    keep:Callable|None=None, # time of a packet, seconds -> whether it is written; None: all are
    codec_options:dict|None=None, # of the encoder
)->Path: # the path
    "Write a sound; raises `CannotWrite` if the container does not take the codec"
    layout = layout or ("mono", "stereo")[len(x) - 1]
    experimental = {"strict": "-2"}
    try:
        with av.open(str(path), "w", format=muxer, options={**experimental, **(options or {})}) as file:
            video = _add_picture(file, muxer or path.suffix[1:], size) if picture else None
            sound = file.add_stream(codec, rate=rate, options={**experimental, **(codec_options or {})})
            sound.layout = layout
            if codec in ("wmav1", "wmav2"): sound.bit_rate = 128000 # these have no usual one
            packets = list(_every_packet(sound, x, rate, layout))
            if keep: packets = [p for p in packets if keep(float(p.pts * p.time_base))]
            for packet in packets: _move(packet, clock)
            pictures = list(_encode_picture(video, *picture)) if picture else []
            for packet in pictures: _move(packet, picture_clock)
            for packet in sorted(packets + pictures, key=lambda p: p.dts * p.time_base): file.mux(packet)
    except (av.error.FFmpegError, ValueError, OSError) as e:
        path.unlink(missing_ok=True)
        raise CannotWrite(f"{codec} in {path.suffix}: {str(e).splitlines()[0][:90]}") from None
    return path


def _move(packet, clock):
    "Put a packet where a clock has it"
    shift = round((clock(float(packet.pts * packet.time_base)) / packet.time_base)) - packet.pts
    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift


def _add_picture(file, name, size):
    "Add a small picture, as the container takes it"
    if name in ("webm",): codec, rate = "libvpx", 25
    elif name in ("mxf", "vob", "mpg", "mpeg", "dvd"): codec, rate = "mpeg2video", 25
    elif name == "3gp": codec, rate = "mpeg4", 25
    elif name in ("flv",): codec, rate = "flv", 25
    elif name in ("wmv", "asf"): codec, rate = "msmpeg4", 25
    else: codec, rate = "mpeg4", 25
    return file.add_stream(codec, rate=rate, width=size, height=size, pix_fmt="yuv420p")


def _encode_picture(video, first, last): # seconds
    for n in range(round(25 * first), round(25 * last)):
        frame = _grey(video.width)
        frame.pts, frame.time_base = n, Fraction(1, 25)
        yield from video.encode(frame)
    yield from video.encode(None)


# -- clocks: seconds of the sound -> seconds of the file

def offset(by): return lambda t: t + by

def drift(scale): return lambda t: t * scale

def gap(at, by): return lambda t: t + by if t >= at - 1e-6 else t # also a jump forward

def after(*clocks): # each clock takes what the one before gives
    def clock(t):
        for c in clocks: t = c(t)
        return t
    return clock


# -- files put together

def write_jump_back(
    path,
    x, # float, shape (channels, n)
    codec,
    at, # second of the sound from which the clock starts again
    begin=0.0, # seconds that the clock shows at first
    restart=0.0, # seconds that it shows then
)->Path: # the path
    "Write a transport stream whose clock starts again, as a recorder's does that opens a new stream"
    parts = [path.with_suffix(f".{i}") for i in (0, 1)]
    write(parts[0], x, codec, muxer="mpegts", keep=lambda t: t < at, clock=offset(begin))
    write(parts[1], x, codec, muxer="mpegts", keep=lambda t: t >= at, clock=offset(restart - at))
    return join(path, *parts)


def join(path, *parts):
    "Write files one after the other into one, as `cat` does; returns the path"
    path.write_bytes(b"".join(Path(p).read_bytes() for p in parts))
    return path


WRAP = 2**33 / 90000 # seconds after which the clock of a transport stream starts again at 0


def set_edit_list(
    path:Path, # an MP4 or MOV that was written with an edit list of one track
    edits, # (seconds on the time line, second of the media from which it plays; None: nothing plays)
)->Path: # the path
    "Write other entries into the edit list of the first track that has one; the index stands at the end of the file"
    data = bytearray(path.read_bytes())
    moov = data.rindex(b"moov") - 4
    movie_scale = struct.unpack_from(">I", data, data.index(b"mvhd", moov) + 4 + 12)[0]
    media_scale = struct.unpack_from(">I", data, data.index(b"mdhd", moov) + 4 + 12)[0]
    entries = b"".join(
        struct.pack(">Iihh", round(length * movie_scale),
                    -1 if media is None else round(media * media_scale), 1, 0)
        for length, media in edits
    )
    body = b"elst" + struct.pack(">II", 0, len(edits)) + entries
    new = struct.pack(">I", len(body) + 4) + body
    at = data.index(b"elst", moov) - 4
    old = struct.unpack_from(">I", data, at)[0]
    grown = len(new) - old
    data[at:at + old] = new
    for name in (b"edts", b"trak", b"moov"): # the boxes that hold it are longer now
        box = data.rindex(name, 0, at + 4) - 4
        struct.pack_into(">I", data, box, struct.unpack_from(">I", data, box)[0] + grown)
    path.write_bytes(data)
    return path


# -- another program's answer

def has_peer(): return shutil.which("ffmpeg") is not None


def peer(
    path:Path,
    with_picture:bool=False, # a transport stream's time line begins with the first of the streams that are used
    seconds:float=600, # no more is read; a jump that is not closed would fill the memory
)->np.ndarray: # float32, mono, 16 kHz, shape (n,)
    """Decode with Debian's `ffmpeg`, sound placed by packet times (`async`), from the start of the presentation:
    the program subtracts the file's start time, `first_pts=0` fills up or cuts to it"""
    filters = "aresample=async=1000:first_pts=0"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(path), "-map", "0:a:0", "-af", filters,
               "-ar", str(RATE), "-ac", "1", "-t", str(seconds), "-f", "f32le", "-"]
    if with_picture: command += ["-map", "0:v:0", "-c", "copy", "-t", str(seconds), "-f", "null", "/dev/null"]
    done = subprocess.run(command, capture_output=True, timeout=120)
    return np.frombuffer(done.stdout, np.float32)


# -- random recordings

@dataclass(frozen=True)
class Recording:
    "A file with everything at once: sound beside a picture, an offset, a drift, a gap, a jump of the clock"
    ending:str
    codec:str
    rate:int # Hz
    late:float # seconds after the picture begins
    scale:float # seconds of the file per second of the sound
    gap_at:float # second of the sound
    gap_by:float # seconds of silence; 0: none
    jump_at:float # second of the sound; only in a container whose clock may jump
    jump_by:float # seconds that are no silence; 0: none

    def heard(self, t): # second of the sound -> second of the file's presentation
        return self.late + gap(self.gap_at, self.gap_by)(t) * self.scale

    def clock(self, t): # second of the sound -> seconds that the packet shows
        return self.heard(t) + (self.jump_by if t >= self.jump_at - 1e-6 else 0)

    def write(self, folder):
        "Write the file; returns its path"
        container, x = CONTAINERS[self.ending], bursts(self.rate, channels=channels(self.codec))
        path = Path(folder) / f"recording.{self.ending}"
        jump = self.heard(self.jump_at)
        return write(path, x, self.codec, self.rate, muxer=container.muxer, clock=self.clock,
                     picture=None if self.ending in SOUND_ONLY else (0, 12),
                     picture_clock=lambda t: t + self.jump_by if t >= jump else t,
                     options=dict(container.options))


SOUND_ONLY = {"ogg", "opus"} # of those with packet times; their picture would be Theora
LONG_PACKETS = {"wavpack", "tta"} # of half a second and more: a gap within one has no place
MAY_JUMP = {"ts", "vob"} # formats whose clock is allowed to


def timed_pairs(): # -> list of (ending, codec): where packet times are kept
    return [(ending, codec) for ending, container in CONTAINERS.items() for codec in container.codecs.split()
            if container.has_times and (ending, codec) not in {*REFUSED} | NO_TIMES and codec not in LONG_PACKETS]


def recordings(): # -> Hypothesis's strategy
    "Draw a `Recording`"
    from hypothesis import strategies as st

    @st.composite
    def draw_one(draw):
        ending, codec = draw(st.sampled_from(timed_pairs()))
        rates = RATES.get(codec, [sample_rate(codec)])
        jump_by = draw(st.sampled_from([0.0]) | st.floats(11, 40000)) if ending in MAY_JUMP else 0.0
        return Recording(
            ending, codec,
            rate=draw(st.sampled_from(rates)),
            late=0.0 if ending in SOUND_ONLY else draw(st.sampled_from([0.0]) | st.floats(0.1, 3)),
            scale=draw(st.sampled_from([1.0]) | st.floats(0.98, 1.02)),
            gap_at=draw(st.sampled_from([0.9, 2.35, 3.85])),
            gap_by=draw(st.sampled_from([0.0]) | st.floats(0.3, 4)),
            jump_at=draw(st.sampled_from([1.6, 4.8])),
            jump_by=jump_by,
        )

    return draw_one()


_ANY_RATE, _MPEG_RATES = [22050, 32000, 44100, 48000, 96000], [32000, 44100, 48000]
RATES = { # encoder -> sample rates, Hz; of others, their usual one
    **dict.fromkeys(["flac", "alac", "pcm_s16le", "pcm_f32le"], _ANY_RATE),
    **dict.fromkeys(["aac", "mp2", "libmp3lame", "ac3", "eac3"], _MPEG_RATES),
}
