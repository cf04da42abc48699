"""Make the packaged sample: a talk between three synthetic voices, with its picture and its truth.

    python scripts/make_sample.py [--out DIR]

Needs the `[dev,lab]` extras and, on the system, flite and espeak-ng
(Debian and Ubuntu: apt install flite espeak-ng). Writes into DIR, by default the package's assets:

    sample.mp4         the video: AAC sound, H.264 picture
    sample.truth.json  every word and every turn with its times, and how they are known
    sample.rttm        who spoke when
    sample.stm         the transcript, one line a turn

Both synthesizers say at which sample they begin each phone or word, so the times are read off
the voices, not estimated from the sound.
"""

import argparse
import ctypes
import json
import re
import subprocess
from ctypes.util import find_library
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import matplotlib
import numpy as np
import scipy
from PIL import Image, ImageDraw, ImageFont
from scipy.signal import resample_poly

ASSETS = Path(__file__).parents[1] / "ecg_audio_nb/assets"
RATE = 48_000  # samples a second of the finished sound
FPS = 12  # pictures a second
SIZE = (640, 360)  # pixels
LEAD_IN, LEAD_OUT = 0.6, 0.9  # seconds without speech at either end
AUDIBLE_DB = -45.0  # a turn starts and ends where its level passes this, re the line's loudest 10 ms
ROOM_DB = -66.0  # dBFS of the quiet noise under everything
TITLE = "Planning the captions"

LEVELS = "level_db of a turn: dBFS, RMS of that voice alone over the turn, in the mean of both channels."
WORD_TIMES = (
    "Read off the synthesizer, at its own sample rate: flite's Segment relation (the ends of each word's "
    "first and last phone), espeak-ng's word and phoneme events. Clipped to the turn, which runs from the "
    "first to the last 10 ms of the line that are within 45 dB of its loudest 10 ms."
)


# ---------------------------------------------------------------- the talk


@dataclass(frozen=True)
class Voice:
    engine: str  # "flite" or "espeak-ng"
    name: str  # the engine's name of the voice
    level_db: float  # dBFS, RMS of what is audible
    pan: float  # -1 left, +1 right; the mean of both sides is always the whole voice
    colour: str  # on the picture
    rate: int = 0  # words a minute (espeak-ng)
    pitch: int = 0  # 0 to 99 (espeak-ng)


@dataclass(frozen=True)
class Line:
    speaker: str
    gap: float  # seconds after the end of the line before; below zero: they overlap
    text: str
    gain_db: float = 0  # louder or softer than this speaker's level


@dataclass
class Spoken:
    line: Line
    samples: np.ndarray  # float64, shape (n,), at RATE, in [-1, 1], trimmed to what is audible
    words: list  # (word, start, end), seconds from the first sample
    start: float = 0.0  # seconds, in the finished sound

    @property
    def end(self):
        return self.start + len(self.samples) / RATE


CAST = {
    "Ben": Voice("flite", "rms", -23, -0.25, "#4cc2ff"),
    "Ada": Voice("flite", "slt", -26, 0.25, "#ffb454"),
    "Echo": Voice("espeak-ng", "en-us+f2", -26, 0.0, "#7fe08a", rate=140, pitch=55),
}
TALK = [
    Line("Ben", 0, "Good morning. Are you ready to start the recording?"),
    Line("Ada", 0.35, "Almost. The captions were too small last week, and people could not read them."),
    Line("Ben", 0.30, "I think we should make the words bigger when someone is speaking loudly.", gain_db=4),
    Line("Ada", -0.75, "That is a good idea, and every speaker should have a different color."),
    Line("Ben", 1.5, "Can you hear the difference between the two voices?"),
    Line("Echo", 0.40, "I know who is talking, and I can hear how loud you are."),
    Line("Ada", 0.40, "So when I speak softly, the words will be small.", gain_db=-5),
    Line("Echo", 0.45, "Thank you. The recording is finished."),
]


# ---------------------------------------------------------------- the voices


@cache
def library(name):
    "The system's shared library `name`"
    path = find_library(name)
    if path is None:
        raise SystemExit(f"{name}: the library is not on this system; apt install flite espeak-ng")
    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


class FliteWave(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("n", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    ]


def speak_flite(text, voice):
    "Samples, their rate, and (word, start, end) in seconds, of `text` by a flite voice"
    flite, ptr, name = library("flite"), ctypes.c_void_p, ctypes.c_char_p

    def function(fn, returns, *takes):
        fn = getattr(flite, fn)
        fn.restype, fn.argtypes = returns, takes
        return fn

    register = getattr(library(f"flite_cmu_us_{voice.name}"), f"register_cmu_us_{voice.name}")
    register.restype, register.argtypes = ptr, [name]
    feature = function("ffeature_string", name, ptr, name)
    number = function("ffeature_float", ctypes.c_float, ptr, name)
    following = function("item_next", ptr, ptr)

    function("flite_init", ctypes.c_int)()
    utterance = function("flite_synth_text", ptr, name, ptr)(text.encode(), register(None))
    wave = function("utt_wave", ctypes.POINTER(FliteWave), ptr)(utterance).contents
    samples = np.ctypeslib.as_array(wave.samples, (wave.n,)) / 32768
    words, before, start = [], None, 0.0
    phone = function("relation_head", ptr, ptr)(
        function("utt_relation", ptr, ptr, name)(utterance, b"Segment")
    )
    while phone:
        end = number(phone, b"end")
        word = feature(phone, b"R:SylStructure.parent.parent.R:Token.parent.name").decode()  # "0" in a pause
        if word != "0" and word == before:
            words[-1] = (word, words[-1][1], end)
        elif word != "0":
            words.append((word, start, end))
        before, start, phone = word, end, following(phone)
    rate = wave.rate
    function("delete_utterance", None, ptr)(utterance)
    return samples, rate, words


class EspeakEvent(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("id", ctypes.c_uint),
        ("position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("phoneme", ctypes.c_char * 8),
    ]


@cache
def espeak_rate():
    "espeak-ng made ready (it can be only once in a process), and its samples a second"
    # 2: hand the samples over; 1: with phoneme events
    return library("espeak-ng").espeak_Initialize(2, 0, None, 1)


def speak_espeak(text, voice):
    "Samples, their rate, and (word, start, end) in seconds, of `text` by an espeak-ng voice"
    espeak, blocks, marks = library("espeak-ng"), [], []
    WORD, PHONEME, RATE_PARAMETER, PITCH_PARAMETER = 1, 7, 1, 3

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(EspeakEvent))
    def collect(block, n, events):
        if n > 0:
            blocks.append(np.ctypeslib.as_array(block, (n,)).copy())
        i = 0
        while events[i].type:
            event = events[i]
            if event.type == WORD:
                marks.append((event.sample, text[event.position - 1 :][: event.length]))
            if event.type == PHONEME and event.phoneme.startswith(b"_"):
                marks.append((event.sample, None))  # a pause
            i += 1
        return 0

    rate = espeak_rate()
    espeak.espeak_SetSynthCallback(collect)
    if espeak.espeak_SetVoiceByName(voice.name.encode()):
        raise SystemExit(f"espeak-ng has no voice {voice.name!r}")
    espeak.espeak_SetParameter(RATE_PARAMETER, voice.rate, 0)
    espeak.espeak_SetParameter(PITCH_PARAMETER, voice.pitch, 0)
    data = text.encode() + b"\0"
    espeak.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, 1, None, None)
    espeak.espeak_Synchronize()
    samples = np.concatenate(blocks) / 32768
    marks.append((len(samples), None))
    words = [(word, at / rate, until / rate) for (at, word), (until, _) in zip(marks, marks[1:]) if word]
    return samples, rate, words


def audible(samples, rate):
    "First and last sample of what is heard: frames of 10 ms within AUDIBLE_DB of the loudest"
    hop = rate // 100
    frames = np.pad(samples, (0, -len(samples) % hop)).reshape(-1, hop)
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-12)
    heard = np.flatnonzero(level > level.max() + AUDIBLE_DB)
    return heard[0] * hop, min((heard[-1] + 1) * hop, len(samples))


def speak(line):
    "One line, spoken: trimmed to what is audible, at its speaker's level, with its words' times"
    voice = CAST[line.speaker]
    samples, rate, words = (speak_flite if voice.engine == "flite" else speak_espeak)(line.text, voice)
    if [w for w, _, _ in words] != plain_words(line.text):
        raise SystemExit(
            f"{voice.name} spoke {[w for w, _, _ in words]} for {line.text!r}: choose other words"
        )
    first, last = audible(samples, rate)
    clip = lambda t: float(np.clip(t - first / rate, 0, (last - first) / rate))
    ratio = Fraction(RATE, rate)
    samples = resample_poly(samples[first:last], ratio.numerator, ratio.denominator)
    edge = np.minimum(1, np.arange(1, len(samples) + 1) / (0.003 * RATE))  # 3 ms, so that no cut clicks
    samples *= edge * edge[::-1]
    samples *= 10 ** (level_db(line) / 20) / np.sqrt((samples**2).mean())
    return Spoken(line, samples, [(w, clip(s), clip(e)) for w, s, e in words])


def level_db(line):
    "dBFS, RMS, at which `line` is spoken"
    return CAST[line.speaker].level_db + line.gain_db


def plain_words(text):
    "The words of `text` without punctuation"
    return re.findall(r"[A-Za-z']+", text)


# ---------------------------------------------------------------- the sound


def perform():
    "Every line of TALK in its place, and the length of the whole in seconds"
    spoken, end = [], LEAD_IN
    for line in TALK:
        one = speak(line)
        one.start = round((end + line.gap) * RATE) / RATE
        end = one.end
        spoken.append(one)
    return spoken, round((max(s.end for s in spoken) + LEAD_OUT) * FPS) / FPS


def mix(spoken, seconds):
    "Stereo sound of the whole, float32, shape (2, n), and each speaker alone, {speaker: (n,)}"
    n = round(seconds * RATE)
    alone = {name: np.zeros(n) for name in CAST}
    for s in spoken:
        alone[s.line.speaker][round(s.start * RATE) :][: len(s.samples)] += s.samples
    stereo = np.stack([sum((1 + side * CAST[name].pan) * y for name, y in alone.items()) for side in (-1, 1)])
    stereo += np.random.default_rng(7).normal(0, 10 ** (ROOM_DB / 20), n)
    if np.abs(stereo).max() >= 0.98:
        raise SystemExit(f"the mix peaks at {np.abs(stereo).max():.2f}: lower a level_db")
    return stereo.astype(np.float32), alone


# ---------------------------------------------------------------- the picture

BACK, LANE, DIM, INK = "#12161f", "#1b2130", "#7c87a3", "#f4f6fb"
LANE_TOP, LANE_HEIGHT, STRIP_TOP = 58, 84, 322
SCALE = 2  # drawn twice as large, then reduced: smooth edges


@cache
def font(size, bold=True):
    "DejaVu Sans of matplotlib's own, `size` in finished pixels"
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}", round(size * SCALE))


def loudness(alone):
    "How loud each speaker is at each picture: {speaker: (n,)}, 0 at -50 dBFS, 1 at -10 dBFS"

    def level(y):
        frames = y[: len(y) // (RATE // FPS) * (RATE // FPS)].reshape(-1, RATE // FPS)
        return np.clip((10 * np.log10((frames**2).mean(axis=1) + 1e-9) + 50) / 40, 0, 1)

    return {name: level(y) for name, y in alone.items()}


def draw_caption(draw, spoken, now, left, middle):
    "One line's words: said ones bright, the one being said coloured, the rest dim; louder is larger"
    face = font(17 + 0.8 * spoken.line.gain_db)
    written, space, room = spoken.line.text.split(), draw.textlength(" ", face), (SIZE[0] - 24) * SCALE - left
    whole = draw.textlength(spoken.line.text, face)
    room = min(room, 1.12 * whole / np.ceil(whole / room))  # rows of about the same length
    rows, x = [[]], 0
    for text, (_, start, end) in zip(written, spoken.words):
        width = draw.textlength(text, face)
        if x + width > room:
            rows, x = rows + [[]], 0
        colour = DIM if now < start else CAST[spoken.line.speaker].colour if now < end else INK
        rows[-1].append((x, text, colour))
        x += width + space
    for i, row in enumerate(rows):
        y = middle + (i - (len(rows) - 1) / 2) * face.size * 1.3
        for x, text, colour in row:
            draw.text((left + x, y), text, colour, face, anchor="lm")


def draw_picture(now, heard, spoken, seconds):
    """The picture at `now`: a lane a speaker with a lamp that pulses and the words, and the whole talk as a
    strip"""
    picture = Image.new("RGB", (SIZE[0] * SCALE, SIZE[1] * SCALE), BACK)
    draw, full = ImageDraw.Draw(picture), lambda *values: [v * SCALE for v in values]
    draw.text(full(24, 29), TITLE, INK, font(21), anchor="lm")
    draw.text(full(SIZE[0] - 24, 30), "three synthetic voices", DIM, font(13, bold=False), anchor="rm")
    for row, (name, voice) in enumerate(CAST.items()):
        top = LANE_TOP + row * LANE_HEIGHT
        middle = top + LANE_HEIGHT / 2 - 3
        lit = [s for s in spoken if s.line.speaker == name and s.start <= now < s.end]
        draw.rounded_rectangle(full(16, top, SIZE[0] - 16, top + LANE_HEIGHT - 8), 10 * SCALE, LANE)
        if lit:
            draw.rounded_rectangle(full(16, top, 20, top + LANE_HEIGHT - 8), 2 * SCALE, voice.colour)
            halo = 19 + 14 * heard[name]
            glow = tuple(round(0.35 * a + 0.65 * b) for a, b in zip(rgb(voice.colour), rgb(LANE)))
            draw.ellipse(full(64 - halo, middle - halo, 64 + halo, middle + halo), glow)
        draw.ellipse(
            full(45, middle - 19, 83, middle + 19), voice.colour if lit else LANE, voice.colour, 2 * SCALE
        )
        draw.text(full(64, middle), name, BACK if lit else voice.colour, font(12), anchor="mm")
        for s in lit:
            draw_caption(draw, s, now - s.start, 112 * SCALE, middle * SCALE)
    at = lambda t: 24 + t / seconds * (SIZE[0] - 48)
    draw.rounded_rectangle(full(16, STRIP_TOP - 6, SIZE[0] - 16, STRIP_TOP + 24), 6 * SCALE, LANE)
    for s in spoken:
        y = STRIP_TOP + 7 * list(CAST).index(s.line.speaker)
        draw.rounded_rectangle(full(at(s.start), y, at(s.end), y + 4), 2 * SCALE, CAST[s.line.speaker].colour)
    draw.rectangle(full(at(now) - 1, STRIP_TOP - 6, at(now) + 1, STRIP_TOP + 24), INK)
    return picture.resize(SIZE, Image.Resampling.LANCZOS)


def rgb(colour):
    "`#rrggbb` as three numbers"
    return tuple(bytes.fromhex(colour[1:]))


# ---------------------------------------------------------------- the files


def write_video(path, stereo, alone, spoken, seconds):
    "Sound and picture into one MP4, in one thread and without stamps, so that every run gives the same"
    heard = loudness(alone)
    with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as file:
        video = file.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        video.options = {
            "crf": "25",
            "preset": "slow",
            "tune": "animation",
            "threads": "1",
            "flags": "+bitexact",
        }
        audio = file.add_stream("aac", rate=RATE, layout="stereo")
        audio.bit_rate, audio.options = 96_000, {"flags": "+bitexact"}
        for i in range(round(seconds * FPS)):
            now = {name: level[i] for name, level in heard.items()}
            frame = av.VideoFrame.from_image(draw_picture((i + 0.5) / FPS, now, spoken, seconds))
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            file.mux(video.encode(frame))
            sound = np.ascontiguousarray(stereo[:, i * RATE // FPS : (i + 1) * RATE // FPS])
            block = av.AudioFrame.from_ndarray(sound, format="fltp", layout="stereo")
            block.rate, block.pts, block.time_base = RATE, i * RATE // FPS, Fraction(1, RATE)
            file.mux(audio.encode(block))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))


def truth(spoken, seconds):
    "What is true of the sample: text, turns, words, and what made it"
    turns = [
        {
            "speaker_id": s.line.speaker,
            "start_time": round(s.start, 3),
            "end_time": round(s.end, 3),
            "level_db": level_db(s.line),
            "text": s.line.text,
        }
        for s in spoken
    ]
    words = [
        {
            "word": word,
            "start_time": round(s.start + start, 3),
            "end_time": round(s.start + end, 3),
            "speaker_id": s.line.speaker,
        }
        for s in spoken
        for word, start, end in s.words
    ]
    version = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout
    return {
        "file": "sample.mp4",
        "duration": round(seconds, 3),
        "language": "en",
        "text": " ".join(s.line.text for s in spoken),
        "turns": turns,
        "words": sorted(words, key=lambda w: (w["start_time"], w["end_time"])),
        "made_with": {
            "script": "scripts/make_sample.py",
            "word_times": WORD_TIMES,
            "levels": LEVELS,
            "voices": {name: f"{voice.engine} {voice.name}" for name, voice in CAST.items()},
            "flite": re.search(r"flite-\S+", version("flite", "--version"))[0],
            "espeak-ng": re.search(r"\d[\d.]+", version("espeak-ng", "--version"))[0],
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "av": av.__version__,
        },
    }


def main(out):
    "Make the four files of the sample in `out`"
    out.mkdir(parents=True, exist_ok=True)
    spoken, seconds = perform()
    stereo, alone = mix(spoken, seconds)
    write_video(out / "sample.mp4", stereo, alone, spoken, seconds)
    known = truth(spoken, seconds)
    (out / "sample.truth.json").write_text(json.dumps(known, indent=1) + "\n")
    rows = [(t["speaker_id"], t["start_time"], t["end_time"], t["text"]) for t in known["turns"]]
    (out / "sample.rttm").write_text(
        "".join(
            f"SPEAKER sample 1 {start:.3f} {end - start:.3f} <NA> <NA> {who} <NA> <NA>\n"
            for who, start, end, _ in rows
        )
    )
    (out / "sample.stm").write_text(
        "".join(f"sample 1 {who} {start:.3f} {end:.3f} {text}\n" for who, start, end, text in rows)
    )
    print(
        f"{out}/sample.mp4: {seconds:.1f} s, {(out / 'sample.mp4').stat().st_size / 1000:.0f} kB, "
        f"{len(known['words'])} words, {len(rows)} turns, {len(CAST)} voices"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=ASSETS, help="folder to write into (default: the package's assets)"
    )
    main(parser.parse_args().out)
