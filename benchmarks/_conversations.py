"""Conversations of known turns, put together from real utterances.

Each has its own number, from which everything follows. Speakers stay in their place: one level, one telephone
or
one position in a room for the whole conversation.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
from _common import need_data

from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.models import onnx_session
from ecg_audio_nb.speech.vad import SILERO_STEP, hysteresis, merge_spans, peak_gain, silero_scores

RATE = 16000
Turns = list[tuple[float, float, str]]  # start, end, seconds; speaker


@cache
def utterance(path: Path) -> tuple[np.ndarray, tuple]:
    """Samples of a clean recording, and where there is speech in it: spans in seconds, pauses under 0.3 s
    bridged"""
    y = load_audio(path).samples
    spans = hysteresis(silero_scores(y * peak_gain(y), onnx_session("silero_vad")), 0.5, 0.35) * SILERO_STEP
    spans = [(s, min(e, len(y) / RATE)) for s, e in merge_spans(spans, min_silence=0.3, min_speech=0.1)]
    return y, tuple(spans)


def librispeech_voices() -> dict[str, list[Path]]:
    "Five readers of LibriSpeech, ten utterances each"
    voices: dict[str, list[Path]] = {}
    for path in sorted(need_data("librispeech").glob("*.flac")):
        voices.setdefault(path.name.split("-")[0], []).append(path)
    return voices


def development_voices() -> dict[str, list[Path]]:
    "What the packaged diarizer was tuned on: every second one of the other voices"
    return dict(sorted(other_voices().items())[::2])


def test_voices() -> dict[str, list[Path]]:
    "LibriSpeech's readers, and the voices that are not for development"
    return dict(sorted(other_voices().items())[1::2]) | librispeech_voices()


def other_voices() -> dict[str, list[Path]]:
    "35 voices that are not in LibriSpeech's test set, in eleven languages; a clip or a few each"
    real = need_data("real")
    clips = [p for folder in ("languages", "korean", "english") for p in sorted((real / folder).glob("*.*"))]
    clips += sorted((real / "words").glob("*.wav")) + [real / "hard/sonnet.wav"]
    clips += sorted((real / "conversations").glob("enrollment*.wav"))
    clips += sorted((real.parent / "sentences").glob("*.*"))
    voices: dict[str, list[Path]] = {}
    for path in clips:
        if path.suffix not in (".json", ".rttm") and "_rvb" not in path.name and path.stem != OF_ANOTHER:
            voices.setdefault(_voice_of(path.stem), []).append(path)
    return voices


OF_ANOTHER = "cheetah_test_en_norm"  # not the man of cheetah_test_en: median F0 188 and 121 Hz
# Left out, since with one voice more every second voice would be another one.


def _voice_of(stem: str) -> str:  # recordings of one person have one beginning
    one = ("LJ001", "cmu_arctic_us_aew", "cheetah_test_en", "msajc", "spk1", "spk2")
    return next((start for start in one if stem.startswith(start)), stem)


# ---- channels


def telephone(samples: np.ndarray) -> np.ndarray:
    "300 to 3400 Hz, 8 kHz, mu-law with 8 bits"
    from scipy.signal import butter, resample_poly, sosfilt

    y = sosfilt(butter(4, [300, 3400], "band", fs=RATE, output="sos"), samples)
    y = resample_poly(resample_poly(y, 1, 2), 2, 1)[: len(samples)]
    peak = max(np.abs(y).max(), 1e-9)
    coded = np.round(np.sign(y) * np.log1p(255 * np.abs(y) / peak) / np.log1p(255) * 127) / 127
    return (np.sign(coded) * (256 ** np.abs(coded) - 1) / 255 * peak).astype(np.float32)


def room(random: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    "A position in a room: the direct sound and an exponentially decaying tail (0.25 to 0.6 s to -60 dB)"
    from scipy.signal import butter, fftconvolve, sosfilt

    seconds = random.uniform(0.25, 0.6)
    t = np.arange(int(seconds * RATE)) / RATE
    tail = random.normal(0, 1, len(t)) * 10 ** (-3 * t / seconds)
    tail = sosfilt(butter(1, 5000, fs=RATE, output="sos"), tail)
    tail[: int(0.004 * RATE)] = 0
    tail *= 10 ** (random.uniform(-6, 3) / 20) / np.sqrt(np.square(tail).sum())  # against the direct sound
    tail[0] = 1
    return lambda y: fftconvolve(y, tail)[: len(y)].astype(np.float32)


# ---- conversations


def conversation(
    number: int,
    bank: dict[str, list[Path]],
    voices: int,
    seconds: float,
    channel: str = "clean",  # clean, telephone, room
    turn: tuple[float, float] = (1.2, 9.0),  # seconds
    once: bool = False,  # each voice says one utterance
) -> tuple[Audio, Turns]:
    """Turns in random order, a quarter of them begun before the last one ends, levels within 5 dB, now and
    then a short word beside"""
    random = np.random.default_rng(number)
    names = [str(n) for n in random.permutation(sorted(bank))[:voices]]
    gain = {n: 10 ** (random.uniform(-5, 5) / 20) for n in names}
    place = {n: room(random) if channel == "room" else lambda y: y for n in names}
    parts: list[tuple[float, np.ndarray]] = []
    turns: Turns = []

    def add(who, start, said, spans):
        level = 0.05 / max(_rms(said, spans), 1e-6) * gain[who]
        parts.append((start, place[who](said * np.float32(level))))
        turns.extend((start + s, start + e, who) for s, e in spans)

    end, last = 0.0, ""
    for i in count():
        if i == len(names) if once else end >= seconds:
            break
        who = names[i] if i < len(names) else str(random.choice([n for n in names if n != last] or names))
        said, spans = _said(random, bank[who], random.uniform(*turn))
        overlap = random.uniform(0.2, 1.2) if last and who != last and random.random() < 0.25 else 0
        start = max(0.0, end - overlap) if overlap else end + random.uniform(0.1, 0.9)
        add(who, start, said, spans)
        length = len(said) / RATE
        if not once and len(names) > 1 and length > 4 and random.random() < 0.25:  # a backchannel
            other = str(random.choice([n for n in names if n != who]))
            short, short_spans = _said(random, bank[other], random.uniform(0.4, 0.8))
            add(other, start + random.uniform(1, length - 1.5), short, short_spans)
        end, last = max(end, start + length), who
    total = max(int(s * RATE) + len(y) for s, y in parts) + RATE // 2
    samples = np.zeros(total, np.float32)
    for s, y in parts:
        samples[int(s * RATE) : int(s * RATE) + len(y)] += y
    if channel == "telephone":
        samples = telephone(samples)
    noise = {"clean": 1e-4, "telephone": 3e-4, "room": 1.5e-3}[channel]
    samples = samples + random.normal(0, noise, total).astype(np.float32)
    return Audio((samples * np.float32(0.9 / np.abs(samples).max())).astype(np.float32)), _merged(turns)


def _said(
    random, paths: Sequence[Path], seconds: float
):  # samples and spans of speech, from where speech begins
    y, spans = utterance(paths[random.integers(len(paths))])
    longest = spans[-1][1] if spans else len(y) / RATE
    begins = [s for s, _ in spans if s + min(seconds, 1.0) <= longest] or [spans[0][0] if spans else 0.0]
    start = float(begins[random.integers(len(begins))])
    stop = min(start + seconds, len(y) / RATE)
    inside = [(max(s, start) - start, min(e, stop) - start) for s, e in spans if e > start and s < stop]
    fade = np.ones(int((stop - start) * RATE), np.float32)
    fade[-160:] = np.linspace(1, 0, 160, dtype=np.float32)[-len(fade) :]
    return y[int(start * RATE) : int(start * RATE) + len(fade)] * fade[: len(y) - int(start * RATE)], [
        s for s in inside if s[1] - s[0] > 0.05
    ]


def _rms(y, spans):
    x = np.concatenate([y[int(s * RATE) : int(e * RATE)] for s, e in spans] or [y])
    return float(np.sqrt(np.square(x).mean()))


def _merged(turns: Turns) -> Turns:  # of one speaker, what overlaps becomes one
    out: Turns = []
    for who in sorted({w for *_, w in turns}):
        out += [
            (s, e, who) for s, e in merge_spans([(s, e) for s, e, w in turns if w == who], min_silence=0.3)
        ]
    return sorted(out)


# ---- a call, a person a channel


def call(
    number: int,
    bank: dict[str, list[Path]],
    names: Sequence[str],  # two voices: left and right
    seconds: float = 60,
    cross_talk: float | None = -25.0,  # dB; None: no other voice in a channel
    backchannels: int = 6,
    noise: float = 1e-4,
    phone: bool = False,
) -> tuple[np.ndarray, Turns, Turns]:  # float32, shape (2, n); all turns; the backchannels among them
    """Four seconds of each in turn, every second one begun 30 % early; then 0.3 s of the listener while the
    other speaks"""
    random, length = np.random.default_rng(number), 4.0
    channels = np.zeros((2, int((seconds + 10) * RATE)), np.float32)
    gain = {n: 10 ** (random.uniform(-4, 4) / 20) for n in names}
    spoken: Turns = []  # from the first sound to the last
    turns: Turns = []  # as silero hears them in the source

    def add(who: str, start: float, said: np.ndarray, spans):
        first = int(start * RATE)
        channels[names.index(who)][first : first + len(said)] += said
        spoken.append((start, start + len(said) / RATE, who))
        turns.extend((start + s, start + e, who) for s, e in spans)

    def some(who: str, long: float):
        while True:
            y, spans = utterance(bank[who][random.integers(len(bank[who]))])
            begins = [s for s, _ in spans if spans[-1][1] - s >= long + 0.1]
            if begins:
                break
        start = begins[random.integers(len(begins))]
        inside = [
            (max(s, start) - start, min(e, start + long) - start)
            for s, e in spans
            if e > start + 0.05 and s < start + long - 0.05
        ]
        said = y[int(start * RATE) :][: int(inside[-1][1] * RATE)].copy()
        said[:80] *= np.linspace(0, 1, 80)
        said[-80:] *= np.linspace(1, 0, 80)
        return said * np.float32(0.05 / np.sqrt(np.square(said).mean()) * gain[who]), inside

    end, i = 0.3, 0
    while end < seconds:
        start = max(0.1, end - 0.3 * length) if i % 2 else end + 0.2
        add(names[i % 2], start, *some(names[i % 2], length))
        end, i = spoken[-1][1], i + 1
    short: Turns = []
    for _ in range(3000):
        who, at = names[len(short) % 2], random.uniform(0.5, end - 1)
        silent = not any(w == who and s - 0.5 < at + 0.3 and at < e + 0.5 for s, e, w in spoken)
        if (
            len(short) < backchannels
            and silent
            and any(w != who and s < at and at + 0.3 < e for s, e, w in spoken)
        ):
            add(who, at, *some(who, 0.3))
            short.append(spoken[-1])
    channels = channels[:, : int((end + 0.7) * RATE)]
    if cross_talk is not None:
        channels = channels + np.float32(10 ** (cross_talk / 20)) * np.roll(channels[::-1], 40, axis=1)
    if phone:
        channels = np.stack([telephone(c) for c in channels])
    return (channels + random.normal(0, noise, channels.shape)).astype(np.float32), sorted(turns), short
