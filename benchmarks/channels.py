"""A person a channel: who spoke when, and what was said, against the same call as a mix

    python benchmarks/channels.py [--quick]

Calls of a minute (`_conversations.call`): two LibriSpeech voices, one left and one right, four seconds each
in turn, every
second turn begun 30 % early, six times 0.3 s of the listener while the other speaks, each voice 25 dB softer
in the other
channel. `der_channels` is the mean diarization error with `media.channels = auto`, `der_mix` with `mix` (no
collar,
percent). The truth is where silero hears speech in the clean source, pauses under 0.3 s bridged;
`der_no_cross_talk` is
the error of the same calls without any cross-talk: silero puts the edges of a cut utterance elsewhere than
those of the
whole one. `k_found` is how many of the calls have two speakers, `backchannels_found` the share that is a turn
of its own.
`wer_channels` counts the words of both channels (Whisper `tiny.en`), against what is heard in each channel's
clean signal
alone without any cross-talk;
`wer_alone` the same for each channel as a mono file of its own, with its cross-talk; percent. Nothing was
tuned on these voices.
"""

import statistics
import tempfile
import time
import warnings
from pathlib import Path

import jiwer
from _common import keep, options
from _conversations import call, librispeech_voices
from _speech import write_wav
from diarization import annotation, der, spans_of

from ecg_audio_nb.research.error_rates import normalize_text
from ecg_audio_nb.audio.media import Audio
from ecg_audio_nb.pipeline import analyze

PAIRS = (0, 1), (1, 3), (2, 0), (3, 2), (4, 0), (0, 1)  # left and right, of the readers in order
SETTINGS = {
    "engine": "whisper",
    "transcribe.model": "tiny.en",
    "runtime.offline": True,
    "runtime.device": "cpu",
}


def text(words) -> str:
    return normalize_text(" ".join(w.word for w in words), "en")


def is_it(turn, start: float, end: float, speaker: str | None) -> bool:
    "Whether a turn is a certain backchannel"
    shared = min(turn.end_time, end) - max(turn.start_time, start)
    return turn.speaker_id == speaker and shared > 0.15 and turn.end_time - turn.start_time < 1


def measured(number: int, names, folder: Path, bank) -> dict:
    made, turns, short = call(number, bank, names)
    clean, _, _ = call(number, bank, names, cross_talk=None)
    write_wav(folder / "clean.wav", clean)
    best = analyze(
        folder / "clean.wav", SETTINGS | {"transcribe.enabled": False, "media.channels": "speakers"}
    )
    write_wav(folder / "call.wav", made)
    start = time.perf_counter()
    apart = analyze(folder / "call.wav", SETTINGS)
    seconds = time.perf_counter() - start
    mix = analyze(folder / "call.wav", SETTINGS | {"media.channels": "mix", "transcribe.enabled": False})
    truth, audio = annotation(turns), Audio(made[0])
    who = {s.channel: s.speaker_id for s in apart.speakers}
    found = [any(is_it(t, s, e, who.get(names.index(n))) for t in apart.turns) for s, e, n in short]
    rows = []
    for i in range(2):
        write_wav(folder / "clean.wav", clean[i])
        write_wav(folder / "alone.wav", made[i])
        right = text(analyze(folder / "clean.wav", SETTINGS).words)
        alone = text(analyze(folder / "alone.wav", SETTINGS).words)
        rows.append((right, text(w for w in apart.words if w.speaker_id == who.get(i)), alone))
    return {
        "voices": list(names),
        "der_channels": der(audio, truth, annotation(spans_of(apart.turns))),
        "der_no_cross_talk": der(audio, truth, annotation(spans_of(best.turns))),
        "der_mix": der(audio, truth, annotation(spans_of(mix.turns))),
        "speakers": len(apart.speakers),
        "backchannels": found,
        "texts": rows,
        "seconds": seconds,
    }


def main():
    args, bank = options(__doc__), librispeech_voices()
    warnings.filterwarnings("ignore", module="pyannote")
    people = sorted(bank)
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(people[a], people[b]) for a, b in PAIRS[: 1 if args.quick else None]]
        rows = [measured(500 + i, pair, Path(folder), bank) for i, pair in enumerate(pairs)]
    texts = [t for r in rows for t in r.pop("texts")]
    mean = {
        key: round(statistics.mean(r[key] for r in rows), 2)
        for key in ("der_channels", "der_no_cross_talk", "der_mix", "seconds")
    }
    figures = mean | {
        "k_found": sum(r["speakers"] == 2 for r in rows),
        "calls": len(rows),
        "backchannels_found": round(statistics.mean(f for r in rows for f in r["backchannels"]), 3),
        "wer_channels": round(100 * jiwer.wer([t[0] for t in texts], [t[1] for t in texts]), 2),
        "wer_alone": round(100 * jiwer.wer([t[0] for t in texts], [t[2] for t in texts]), 2),
    }
    keep("channels", figures, args.quick, rows)


if __name__ == "__main__":
    main()
