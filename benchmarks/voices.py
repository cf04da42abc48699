"""The same person in every file: how often two recordings of one voice are known to be, and two voices taken
for one

    python benchmarks/voices.py [--quick] [--development]

- `eer_5`, `eer_10`, `eer_30`: equal-error rate, percent, of two stretches of 5, 10 and 30 s of speech (the
  last stretch of
  a voice may be as short as 60 % of that). Two stretches of one voice are of different utterances and of
  different
  channels (clean, telephone, a room); pairs of two people are of different channels too;
- `miss_10`, `false_10`: percent, of the answer *same* as the package gives it, 10 s; `perhaps_10`: of the
  pairs of one
  voice, those that are *perhaps*; `false_perhaps_10`: pairs of two people that are *perhaps* or *same*;
- `eer_10_before`: the same pairs by GE2E (resemblyzer), the voice encoder of before; null where it is not
  installed;
- `names_right`: of ten talks of two people (clean, telephone, room in turn), those in which both have their
  right name;
  five people are known, each from 20 s of clean speech of other utterances.

Voices: `_conversations.test_voices`; neither the channel directions nor the limits were learned on them. Only
LibriSpeech's
five readers have more than one utterance of enough length, so pairs of one voice are of these five. The
simulated
channels are of the kind that the directions were learned on, which flatters the figures; real telephones are
not here.

`--development` prints what the limits were taken from: comparisons of two people among the development
voices, without
the voices of `conversations`.
"""

import itertools
import statistics
import sys
import types

import numpy as np
from _common import keep, options
from _conversations import (
    RATE,
    conversation,
    development_voices,
    librispeech_voices,
    room,
    telephone,
    test_voices,
    utterance,
)

from ecg_audio_nb.speech.diarize import diarize
from ecg_audio_nb.audio.media import Audio
from ecg_audio_nb.speech.vad import detect_speech
from ecg_audio_nb.speech.person_embeddings import embed_spans, embed_speakers, similarity
from ecg_audio_nb.speech.voice_prints import (
    PERHAPS,
    SAME,
    Sample,
    VoicePrint,
    encoder_digest,
    match_prints,
)

LENGTHS, PART, TALKS = (5, 10, 30), 0.6, 10  # seconds; of a length that a voice's last stretch may have


def speech_of(path):
    "The speech of an utterance, pauses left out"
    y, spans = utterance(path)
    return np.concatenate([y[int(s * RATE) : int(e * RATE)] for s, e in spans] or [y[:0]])


def stretches(paths, seconds):
    "Stretches of speech of one voice, no two of one utterance: (samples, utterances)"
    found, said, names = [], [], []
    for path in paths:
        said.append(speech_of(path))
        names.append(path.name)
        if sum(map(len, said)) >= seconds * RATE:
            found.append((np.concatenate(said)[: int(seconds * RATE)], names))
            said, names = [], []
    if said and sum(map(len, said)) >= PART * seconds * RATE:
        found.append((np.concatenate(said), names))
    return found


def through(samples, channel, number):
    "The samples as a channel hands them on"
    random = np.random.default_rng(number)
    if channel == "clean":
        return samples
    if channel == "telephone":
        return telephone(samples)
    return (room(random)(samples) + random.normal(0, 1.5e-3, len(samples))).astype(np.float32)


def heard(bank, seconds, most=12):
    "(voice, utterances, channel, samples) of every stretch by every channel"
    out = []
    for voice, paths in bank.items():
        for n, (said, names) in enumerate(stretches(paths, seconds)[:most]):
            for channel in ("clean", "telephone", "room"):
                y = np.ascontiguousarray(through(said, channel, [seconds, n]), dtype=np.float32)
                out.append((voice, frozenset(names), channel, y))
    return out


def scores(stretches_, embed, score):
    "Scores of pairs of one voice, and of pairs of two"
    vectors = [embed(y) for *_, y in stretches_]
    one, two = [], []
    for (a, u), (b, v) in itertools.combinations(zip(stretches_, vectors, strict=True), 2):
        if a[2] == b[2] or a[0] == b[0] and a[1] & b[1]:
            continue
        (one if a[0] == b[0] else two).append(score(u, v))
    return np.array(one), np.array(two)


def equal_error_rate(one, two):
    "Percent, where as many pairs of one voice are missed as pairs of two let in"
    limits = np.unique(np.concatenate([one, two]))
    missed = np.searchsorted(np.sort(one), limits) / len(one)
    let_in = 1 - np.searchsorted(np.sort(two), limits) / len(two)
    at = np.abs(missed - let_in).argmin()
    return round(50 * float(missed[at] + let_in[at]), 2)


def voice(y):
    return embed_spans(Audio(y), [(0, len(y) / RATE)])


def before():
    """GE2E's embedding of samples, or None; its own detector of speech is not needed, for these are speech
    alone"""
    sys.modules.setdefault("webrtcvad", types.ModuleType("webrtcvad"))
    try:
        from resemblyzer import VoiceEncoder
        from resemblyzer.audio import normalize_volume
    except ImportError:
        return None
    encoder = VoiceEncoder("cpu", verbose=False)
    return lambda y: encoder.embed_utterance(normalize_volume(y, -30, increase_only=True))


def talks(n):
    "How many of n talks have both names right, and what was said of each"
    bank = librispeech_voices()
    prints = []
    for name, paths in bank.items():
        said = np.concatenate([speech_of(p) for p in paths[1::2]])[: 20 * RATE]
        sample = Sample(voice(np.ascontiguousarray(said)), "0" * 64, 0, 20, "")
        prints.append(VoicePrint(name, (sample,), encoder_digest()))
    right, lines = 0, []
    for number in range(n):
        channel = ("clean", "telephone", "room")[number % 3]
        audio, truth = conversation(700 + number, {k: v[::2] for k, v in bank.items()}, 2, 45, channel)
        turns = diarize(audio, detect_speech(audio)).turns
        answers = match_prints(embed_speakers(audio, turns), prints)
        found = {who: a.name if a.answer == "same" else None for who, a in answers.items()}
        real = {}
        for who in answers:
            shared = {
                name: sum(
                    max(0, min(t.end_time, e) - max(t.start_time, s))
                    for t in turns
                    if t.speaker_id == who
                    for s, e, w in truth
                    if w == name
                )
                for name in {w for *_, w in truth}
            }
            real[who] = max(shared, key=shared.get)
        people = {w for *_, w in truth}
        fine = {n for n in found.values() if n} == people and all(found[w] in (None, real[w]) for w in found)
        right += fine
        lines.append(
            {
                "talk": 700 + number,
                "channel": channel,
                "people": sorted(people),
                "answers": {w: [a.answer, a.name, a.score, a.seconds] for w, a in answers.items()},
            }
        )
    return right, lines


def development():
    "What two people score among the development voices"
    own = {k: v for k, v in development_voices().items() if not k.startswith("enrollment")}
    every = []
    for seconds in (3, 4, 5, 7, 10):
        found = []
        for name, paths in own.items():
            said = np.concatenate([speech_of(p) for p in paths])[: 40 * RATE]
            for n in range(min(6, len(said) // (seconds * RATE))):
                part = said[n * seconds * RATE : (n + 1) * seconds * RATE]
                for channel in ("clean", "telephone", "room"):
                    y = np.ascontiguousarray(through(part, channel, [seconds, n]), dtype=np.float32)
                    found.append((name, voice(y)))
        two = [similarity(a, b) for (n, a), (m, b) in itertools.combinations(found, 2) if n != m]
        every += two
        print(
            (
                f"{seconds} s: {len(two)} comparisons, mean {np.mean(two):.3f}, deviation {np.std(two):.3f}, "
                f"highest {max(two):.3f}"
            )
        )
    print(
        (
            f"all: {len(every)} comparisons, mean {np.mean(every):.3f}, deviation {np.std(every):.3f}, "
            "highest "
            f"{max(every):.3f}"
        )
    )


def main():
    asked = options(__doc__, development={"action": "store_true"})
    if asked.development:
        return development()
    figures, details = {}, {}
    bank = test_voices()
    if asked.quick:
        bank = {k: v for k, v in bank.items() if k in ("1688", "2033", "3005", "msajc", "OSR_us_000_0034_8k")}
    for seconds in LENGTHS[:2] if asked.quick else LENGTHS:
        found = heard(bank, seconds, 2 if asked.quick else 12)
        one, two = scores(found, voice, similarity)
        figures[f"eer_{seconds}"] = equal_error_rate(one, two)
        details[f"pairs_{seconds}"] = [len(one), len(two)]
        details[f"scores_{seconds}"] = {
            "one": [round(float(q), 3) for q in np.quantile(one, [0, 0.05, 0.5])],
            "two": [round(float(q), 3) for q in np.quantile(two, [0.5, 0.99, 1])],
        }
        if seconds == 10:
            percent = lambda x: round(100 * float(x.mean()), 2)  # noqa: E731
            figures |= {"miss_10": percent(one < SAME), "false_10": percent(two >= SAME)}
            figures |= {
                "perhaps_10": percent((one >= PERHAPS) & (one < SAME)),
                "false_perhaps_10": percent(two >= PERHAPS),
            }
            embed = None if asked.quick else before()
            figures["eer_10_before"] = embed and equal_error_rate(
                *scores(found, embed, lambda a, b: float(a @ b))
            )
    figures["names_right"], details["talks"] = talks(2 if asked.quick else TALKS)
    details["mean_score_of_names"] = round(
        statistics.mean(s for t in details["talks"] for *_, s, _ in t["answers"].values() if s), 3
    )
    keep("voices", figures, asked.quick, details)


if __name__ == "__main__":
    main()
