"""Speech with the true times of its words, real and synthetic, under noise, babble, telephone and tempo."""

import ctypes
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from _common import ROOT, need_data
from _sentences import ENGLISH, sentences
from _speech import RATE, librispeech, read_flac, read_wav

from ecg_audio_nb.audio.media import load_audio

Span = tuple[float, float]  # start, end, seconds


@dataclass(frozen=True, eq=False)
class Passage:
    "Some seconds of speech, its words, and their true times"

    name: str
    samples: np.ndarray  # mono, float32, shape (n,), 16 kHz
    words: tuple[str, ...]
    # start, end of each word, seconds; None where the truth is silent
    times: tuple[tuple[float | None, float | None], ...]
    language: str = "en"

    @property
    def duration(self) -> float:
        return len(self.samples) / RATE


def moved(times, shift: float = 0.0, scale: float = 1.0):
    "A word's times elsewhere; None stays None"
    return tuple(None if t is None else t * scale + shift for t in times)


# ---- real


def hand_labelled() -> list[Passage]:
    "8 English utterances, 51 words with borders set by hand"
    folder, found = need_data("real/words"), []
    for row in json.loads((folder / "truth.json").read_text(encoding="utf-8")):
        words = row["words"]
        times = tuple((w["start"], w["end"]) for w in words)
        samples = load_audio(folder / row["file"]).samples
        found.append(Passage(row["file"], samples, tuple(w["word"] for w in words), times))
    return found


# seconds; RMS of each
def joined(passages: Sequence[Passage], pause: float = 0.5, level: float = 0.05) -> Passage:
    "Passages one after the other as one file"
    parts, words, times, at = [], [], [], 0.0
    gap = np.random.default_rng(0).normal(0, 1e-4, round(pause * RATE)).astype(np.float32)
    for p in passages:
        scale = level / np.sqrt(np.mean(np.square(p.samples)))
        parts += [p.samples * np.float32(scale), gap]
        words += p.words
        times += [moved(t, shift=at) for t in p.times]
        at += (len(p.samples) + len(gap)) / RATE
    return Passage("joined", np.concatenate(parts), tuple(words), tuple(times), passages[0].language)


# ---- synthetic, exact


def tiny_clips() -> list[Passage]:
    "16 clips of the test fixtures (flite and espeak-ng voices), 47 different words"
    folder = ROOT / "tests/fixtures/tiny/clips"
    truth, found = json.loads((folder / "clips.json").read_text()), []
    for name in sorted(truth):
        words = truth[name]["words"]
        times = tuple((w["start"], w["end"]) for w in words)
        found.append(
            Passage(name, read_flac(folder / f"{name}.flac").samples, tuple(w["word"] for w in words), times)
        )
    return found


VOICES = ("slt", "rms", "awb", "kal16")


def _phone_counts(voice, words):
    "How many phones flite says of each word, from the words said one by one"
    command = ["flite", "-voice", voice, "-ps", "-t", ". ".join(words) + ".", "-o", "none"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [len(part.split()) for part in out.replace("pau", "|").split("|") if part.strip()]


# None where words and phones do not match
def flite(sentence: str, voice: str, stretch: float = 1.0) -> Passage | None:
    "A sentence by flite, with the exact times that it synthesized"
    words = sentence.split()
    with tempfile.NamedTemporaryFile(suffix=".wav") as f:
        command = [
            "flite",
            "-voice",
            voice,
            "--setf",
            f"duration_stretch={stretch}",
            "-psdur",
            "-t",
            sentence,
            "-o",
            f.name,
        ]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        samples = read_wav(f.name)
    ends = [float(p.split(":")[1]) for p in out]
    # the diphone voice cuts 0.11 s off the last pause, so the length of the sound says nothing about the
    # times
    phones = [(a, b) for a, b, p in zip([0.0, *ends], ends, out) if not p.startswith("pau")]
    counts = _phone_counts(voice, words)
    if len(counts) != len(words) or sum(counts) != len(phones):
        return None
    edges = np.concatenate([[0], np.cumsum(counts)])
    times = tuple((phones[a][0], phones[b - 1][1]) for a, b in zip(edges, edges[1:]))
    return Passage(f"{voice}: {sentence}", samples, tuple(words), times)


def flite_sentences(stretch: float = 1.0, every: int = 1) -> list[Passage]:
    "Harvard sentences by four voices; those in which flite joins words differently are left out"
    if not shutil.which("flite"):
        return []
    made = [flite(s, VOICES[i % len(VOICES)], stretch) for i, s in enumerate(ENGLISH)]
    return [p for p in made if p][::every]


# ---- synthetic, espeak-ng


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_WORD, _PHONE = 1, 7  # types of events
_SYNCHRONOUS, _PHONE_EVENTS, _UTF8 = 2, 1, 1


class _Espeak:
    "libespeak-ng: samples and events of a text"

    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate = self.library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONE_EVENTS)
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self.callback = kind(self._take)  # kept: the library calls it
        self.library.espeak_SetSynthCallback(self.callback)

    def _take(self, samples, n, events):
        if samples and n > 0:
            self.samples.append(np.ctypeslib.as_array(samples, (n,)).copy())
        i = 0
        while events[i].type:
            e = events[i]
            self.events.append((e.type, e.text_position, e.sample / self.rate, e.id))
            i += 1
        return 0

    def say(self, text: str, voice: str):
        self.samples, self.events = [], []
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice}")
        data = text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        self.library.espeak_Synchronize()
        return np.concatenate(self.samples).astype(np.float32) / 32768, self.events


@cache
def _espeak() -> _Espeak | None:
    try:
        return _Espeak()
    except OSError:
        return None


def _resampled(samples, rate):
    from math import gcd

    from scipy.signal import resample_poly

    k = gcd(RATE, rate)
    return resample_poly(samples, RATE // k, rate // k).astype(np.float32)


def espeak(words: Sequence[str], language: str, voice: str) -> Passage:
    """A sentence by espeak-ng. Starts are those of its word events; a second word that it says together with
    the first has no time, nor has a word whose event comes after that of a later one. A word ends where the
    next begins, or where a pause begins before that, drawn in to the last frame that sounds; a word before
    one without a time has no end."""
    samples, events = _espeak().say(" ".join(words), voice)
    samples = _resampled(samples, _espeak().rate)
    places = 1 + np.concatenate([[0], np.cumsum([len(w) + 1 for w in words])])  # characters count from 1
    starts: dict[int, float] = {}
    for _, position, at, _ in (e for e in events if e[0] == _WORD):
        starts.setdefault(int(np.searchsorted(places, position, side="right")) - 1, at)
    starts = {i: at for i, at in starts.items() if all(at < later for k, later in starts.items() if k > i)}
    pauses = [at for kind, _, at, name in events if kind == _PHONE and (name.startswith(b"_") or not name)]
    times = []
    for i in range(len(words)):
        start, after = starts.get(i), starts.get(i + 1) if i + 1 < len(words) else len(samples) / RATE
        end = None
        if start is not None and after is not None:
            end = next((p for p in pauses if start + 0.03 < p < after), after)
            end = _last_sound(samples, start, end)
        times.append((start, end))
    return Passage(f"{voice}: {' '.join(words)}", samples, tuple(words), tuple(times), language)


def _last_sound(samples, start, end):
    "The end of the last 10 ms before `end` that are less than 40 dB below the loudest of the sentence"
    hop = RATE // 100
    level = np.square(samples[: len(samples) // hop * hop].reshape(-1, hop)).mean(1)
    loud = np.flatnonzero(level[int(start * 100) : round(end * 100)] > level.max() * 1e-4)
    return min(end, (int(start * 100) + loud[-1] + 1) / 100) if len(loud) else end


VARIANTS = ("", "+f2")  # a man's voice, a woman's


def espeak_passages(language: str, variants: Sequence[str] = VARIANTS) -> list[Passage]:
    "A language's sentences by espeak-ng, each voice's joined to one passage of at most 30 s"
    if _espeak() is None:
        return []
    name, found = {"pt": "pt-BR"}.get(language, language), []
    for variant in variants:
        said = [espeak(words, language, name + variant) for words in sentences(language)]
        while sum(p.duration + 0.5 for p in said) > 30:
            said.pop()
        found.append(replace(joined(said), name=f"{language}{variant}"))
    return found


# ---- conditions


def _power(samples):
    return float(np.mean(np.square(samples, dtype=np.float64)))


# dB, of the mean powers of the whole passage
def with_noise(p: Passage, noise: np.ndarray, snr: float) -> Passage:
    "Add noise at a signal-to-noise ratio"
    scale = np.sqrt(_power(p.samples) / _power(noise) / 10 ** (snr / 10))
    return replace(p, samples=(p.samples + scale * noise).astype(np.float32))


def white(p: Passage, snr: float, seed: int = 1) -> Passage:
    "Add white noise"
    return with_noise(p, np.random.default_rng(seed).normal(0, 1, len(p.samples)), snr)


def babble(p: Passage, snr: float, voices: int = 4) -> Passage:
    "Add four readers who talk at once"
    total, speakers = np.zeros(len(p.samples)), sorted({c.name.split("-")[0] for c in librispeech()})
    for i in range(voices):
        own = np.concatenate([c.audio.samples for c in librispeech() if c.name.startswith(speakers[i])])
        part = np.resize(np.roll(own, -i * 7 * RATE), len(p.samples))
        total += part / np.sqrt(_power(part))
    return with_noise(p, total, snr)


def telephone(p: Passage) -> Passage:
    "300 to 3400 Hz, 8 kHz, 8-bit mu-law, and back"
    from scipy.signal import butter, resample_poly, sosfiltfilt

    narrow = resample_poly(
        sosfiltfilt(butter(4, (300, 3400), "bandpass", fs=RATE, output="sos"), p.samples), 1, 2
    )
    x = np.clip(narrow / max(np.abs(narrow).max(), 1e-9), -1, 1)
    code = np.round(np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256) * 127) / 127
    heard = np.sign(code) * (256 ** np.abs(code) - 1) / 255
    samples = resample_poly(heard, 2, 1)[: len(p.samples)]
    return replace(p, samples=np.pad(samples, (0, len(p.samples) - len(samples))).astype(np.float32))


def faster(p: Passage, tempo: float) -> Passage:
    "Change the tempo and keep the pitch (FFmpeg's atempo); times scale with it"
    import av

    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="flt", layout="mono")
    change, sink = graph.add("atempo", f"{tempo}"), graph.add("abuffersink")
    source.link_to(change)
    change.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(p.samples[None], format="flt", layout="mono")
    frame.sample_rate = RATE
    source.push(frame)
    source.push(None)
    parts = []
    while True:
        try:
            parts.append(sink.pull().to_ndarray()[0])
        except (av.error.EOFError, av.error.BlockingIOError):
            break
    times = tuple(moved(t, scale=1 / tempo) for t in p.times)
    return replace(p, samples=np.concatenate(parts).astype(np.float32), times=times)


# ---- errors


def errors(passages: Sequence[Passage], found: Sequence[Sequence[Span] | None]) -> dict:
    "Mean, median, 90th percentile of the errors of starts and ends, ms; passages without an answer apart"
    starts, ends, missing = [], [], 0
    for p, spans in zip(passages, found):
        if spans is None:
            missing += 1
            continue
        starts += [abs(a - s) for (s, _), (a, _) in zip(p.times, spans) if s is not None]
        ends += [abs(b - e) for (_, e), (_, b) in zip(p.times, spans) if e is not None]
    return {
        "words": len(starts),
        "start_ms": summary(starts),
        "end_ms": summary(ends),
        "passages_without": missing,
    }


def summary(seconds: Sequence[float]) -> list[float] | None:  # ms
    "Mean, median, 90th percentile"
    if not len(seconds):
        return None
    ms = 1000 * np.asarray(seconds)
    return [round(float(v), 1) for v in (ms.mean(), np.median(ms), np.percentile(ms, 90))]
