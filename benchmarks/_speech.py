"""Real speech with its text, and files of any length made of it."""

import json
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from _common import need_data

from ecg_audio_nb.audio.media import Audio, load_audio

RATE = 16000


@dataclass(frozen=True, eq=False)
class Clip:
    "A recording and what is said in it"

    name: str
    audio: Audio  # 16 kHz mono
    text: str  # "" where nobody speaks
    language: str  # as Whisper names it


def write_wav(path: Path, samples: np.ndarray):  # float32, 16 kHz, shape (n,) or (channels, n)
    "Write 16-bit samples"
    channels = np.atleast_2d(samples)
    with wave.open(str(path), "wb") as f:
        f.setnchannels(len(channels))
        f.setsampwidth(2)
        f.setframerate(RATE)
        f.writeframes(np.clip(channels.T * 32767, -32768, 32767).astype("<i2").tobytes())


def read_wav(path: str | Path) -> np.ndarray:  # mono, float32, 16 kHz
    "Read 16-bit mono samples of 16 kHz, without a decoder's process"
    with wave.open(str(path)) as f:
        assert (f.getnchannels(), f.getsampwidth(), f.getframerate()) == (1, 2, RATE), path
        return np.frombuffer(f.readframes(f.getnframes()), "<i2").astype(np.float32) / 32768


def read_flac(path: Path) -> Audio:
    "Read a file that is mono at 16 kHz already, in this process"
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.layout.nb_channels) == (RATE, 1), path
        parts = [frame.to_ndarray()[0] for frame in container.decode(stream)]
    return Audio(np.concatenate(parts).astype(np.float32) / (32768 if parts[0].dtype == np.int16 else 2**31))


# ---- sets


@cache
def librispeech() -> tuple[Clip, ...]:
    "50 read utterances of 5 speakers (LibriSpeech test-other), official texts"
    folder = need_data("librispeech")
    texts = json.loads((folder / "transcripts.json").read_text(encoding="utf-8"))
    return tuple(Clip(name, read_flac(folder / f"{name}.flac"), texts[name], "en") for name in sorted(texts))


def _real(folder: str) -> Iterator[Clip]:
    path = need_data(f"real/{folder}")
    for name, truth in json.loads((path / "truth.json").read_text(encoding="utf-8")).items():
        if truth["text"] is not None:
            yield Clip(name, load_audio(path / name), truth["text"], (truth.get("language") or "en")[:2])


@cache
def english() -> tuple[Clip, ...]:
    "18 clips: read, at 8 kHz, children, accents, spontaneous, reverberant"
    return tuple(_real("english"))


@cache
def languages() -> tuple[Clip, ...]:
    "Read clips in de, es, fr, it, ja, pt, ru, zh"
    return tuple(_real("languages"))


@cache
def korean() -> tuple[Clip, ...]:
    "A read clip"
    return tuple(_real("korean"))


@cache
def nothing_said() -> tuple[Clip, ...]:
    "Silence, dialling tones, an empty recording, and the music and the noise of a mixed file"
    clips = [c for c in _real("hard") if not c.text]
    mixed = load_audio(need_data("real/hard") / "musanmix.mp3")
    truth = json.loads((need_data("real/hard") / "truth.json").read_text(encoding="utf-8"))["musanmix.mp3"]
    for part in truth["segments"]:
        if part["label"] in ("music", "noise"):
            clips.append(
                Clip(f"musanmix.mp3 {part['label']}", mixed.cut(part["start"], part["end"]), "", "en")
            )
    return tuple(clips)


@cache
def meetings() -> tuple[Clip, ...]:
    "Six 30 s cuts of real meetings recorded from afar (AMI); their text is not known"
    return tuple(Clip(p.stem, read_flac(p), "", "en") for p in sorted(need_data("ami").glob("*.flac")))


# ---- files made of utterances


def joined(clips: Sequence[Clip], pause: float = 0.6) -> Clip:  # seconds of digital silence after each
    "Utterances one after the other as one file"
    gap = np.zeros(round(pause * RATE), np.float32)
    samples = np.concatenate([part for c in clips for part in (c.audio.samples, gap)])
    return Clip("joined", Audio(samples), "\n".join(c.text for c in clips), clips[0].language)


# parts of the file, and the text of each
def splices(minutes: float, seed: int = 7) -> Iterator[tuple[np.ndarray, str]]:
    "Utterances of LibriSpeech drawn at random, with pauses of 0.2 to 1.5 s, to a length; the last may be cut"
    clips, random, left = librispeech(), np.random.default_rng(seed), int(minutes * 60 * RATE)
    while left > 0:
        pause = np.zeros(int(random.uniform(0.2, 1.5) * RATE), np.float32)
        clip = clips[random.integers(len(clips))]
        part = np.concatenate([clip.audio.samples, pause])[:left]
        left -= len(part)
        yield part, clip.text if len(part) >= len(clip.audio.samples) else ""


def talk(minutes: float) -> Clip:
    "A file of splices"
    parts, texts = zip(*splices(minutes))
    return Clip(f"{minutes:g} minutes", Audio(np.concatenate(parts)), "\n".join(t for t in texts if t), "en")


def write_talk(path: Path, minutes: float):
    "The same as FLAC, never whole in memory"
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        for part, _ in splices(minutes):
            frame = av.AudioFrame.from_ndarray(
                (part[None] * 32767).astype("<i2"), format="s16", layout="mono"
            )
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
