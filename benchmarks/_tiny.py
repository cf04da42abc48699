"""The tiny models' speech, for the benchmarks that compare with WhisperX: clips joined to a file of any length, with its truth."""
import json
from functools import cache

import numpy as np
from _common import ROOT

from ecg_audio_nb.media import load_audio
from ecg_audio_nb.settings import load_settings

TINY = ROOT / "tests/fixtures/tiny"
CHUNK = 15 # seconds: what the tiny Whisper understands best, for both tools


def speech(seconds: float, seed: int = 0):
    "(samples, [(word, start, end)]): the 16 clips in turn, with pauses of 0.1 to 0.4 s"
    truth, rng, parts, words, at = json.loads((TINY / "clips/clips.json").read_text()), np.random.default_rng(seed), [], [], 0.0
    names = sorted(truth)
    clips = _clips(tuple(names))
    for i in range(10**6):
        if at >= seconds:
            break
        clip = clips[i % len(names)]
        pause = rng.normal(0, 1e-4, int(rng.uniform(0.1, 0.4) * 16000)).astype(np.float32)
        at += len(pause) / 16000
        words += [(w["word"], w["start"] + at, w["end"] + at) for w in truth[names[i % len(names)]]["words"]]
        at += len(clip) / 16000
        parts += [pause, clip]
    return np.concatenate(parts), words


@cache
def _clips(names): return [load_audio(TINY / f"clips/{name}.flac").samples for name in names]


def settings(**more):
    return load_settings({"engine": "whisperx", "runtime.device": "cpu", "diarize.enabled": False, "transcribe.language": "en",
                          "transcribe.model": str(TINY / "whisper-ct2"), "align.model": str(TINY / "wav2vec2"),
                          "transcribe.chunk_size": CHUNK, **more})


def plain(text: str) -> list[str]:
    return [w.strip(".,!?").lower() for w in text.split()]


def found(said: list[str], heard: list[str]) -> float:
    "Share of the words that were found, in order (Levenshtein alignment)"
    from jiwer import process_words
    return process_words(" ".join(said), " ".join(heard)).hits / len(said)


def without_nltk_data():
    "WhisperX splits sentences with a model that NLTK downloads; an untrained splitter of the same class takes its place"
    import whisperx.alignment
    from nltk.tokenize.punkt import PunktSentenceTokenizer
    whisperx.alignment.nltk_load = lambda path: PunktSentenceTokenizer()
