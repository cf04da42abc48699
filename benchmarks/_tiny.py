"""The test fixture's tiny models: speech they know, and the wav2vec2 aligner against WhisperX's."""

import json
import time
from functools import cache

import numpy as np
from _common import ROOT
from _peers import quiet
from _speech import read_flac

from ecg_audio_nb.settings import load_settings

TINY = ROOT / "tests/fixtures/tiny"
CHUNK = 15  # seconds: what the tiny Whisper understands best


def speech(seconds: float, seed: int = 0):
    "(samples, [(word, start, end)]): the 16 clips in turn, with pauses of 0.1 to 0.4 s"
    truth, rng, parts, words, at = (
        json.loads((TINY / "clips/clips.json").read_text()),
        np.random.default_rng(seed),
        [],
        [],
        0.0,
    )
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
def _clips(names):
    return [read_flac(TINY / f"clips/{name}.flac").samples for name in names]


def settings(**more):
    return load_settings(
        {
            "engine": "whisperx",
            "runtime.device": "cpu",
            "diarize.enabled": False,
            "transcribe.language": "en",
            "transcribe.model": str(TINY / "whisper-ct2"),
            "align.model": str(TINY / "wav2vec2"),
            "transcribe.chunk_size": CHUNK,
            **more,
        }
    )


def without_nltk_data():
    "Replace the sentence splitter that NLTK downloads for WhisperX by an untrained one of its class"
    import whisperx.alignment
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    whisperx.alignment.nltk_load = lambda path: PunktSentenceTokenizer()


def segments_of(words, total, longest):
    "Consecutive words to segments of at most `longest` seconds, cut in the pauses: (start, end, words)"
    groups = [[words[0]]]
    for a, b in zip(words, words[1:]):
        if b[2] - groups[-1][0][1] > longest or b[1] - a[2] > 1.0:
            groups.append([])
        groups[-1].append(b)
    edges = [0.0] + [(a[-1][2] + b[0][1]) / 2 for a, b in zip(groups, groups[1:])] + [total]
    return [(max(s, g[0][1] - 0.2), min(e, g[-1][2] + 0.2), g) for s, e, g in zip(edges, edges[1:], groups)]


def best_of(n, work):
    "(seconds of the fastest run, its answer)"
    times = []
    for _ in range(n):
        start = time.perf_counter()
        out = work()
        times.append(time.perf_counter() - start)
    return min(times), out


def parity() -> dict:  # {"figures", "details"}
    "The wav2vec2 aligner and `whisperx.align`: speed, and where their words lie"
    with quiet():
        import whisperx.alignment as theirs

        without_nltk_data()
        peer, about = theirs.load_align_model("en", "cpu", model_name=str(TINY / "wav2vec2"))
    from ecg_audio_nb.speech.align import CtcAligner, align_words
    from ecg_audio_nb.speech.ctc import tokenize, viterbi_align
    from ecg_audio_nb.audio.media import Audio
    from ecg_audio_nb.models import AdaptiveBatch
    from ecg_audio_nb.schema import ModelInfo, Word
    from ecg_audio_nb.speech.transcribe import Transcript

    samples, words = speech(600)
    audio, parts, runs = Audio(samples), segments_of(words, len(samples) / 16000, 28), 3
    aligner = CtcAligner(settings())
    model = aligner.model(aligner.weights("en"))
    flat = tuple(Word(w) for _, _, g in parts for w, *_ in g)
    chunks = tuple((s, e, len(g)) for s, e, g in parts)
    given = Transcript(flat, ModelInfo("true text", "none"), "en", chunks=chunks)
    asked = [{"text": " " + " ".join(w for w, *_ in g), "start": s, "end": e} for s, e, g in parts]
    ours_s, ours = best_of(runs, lambda: align_words(model, audio, given, AdaptiveBatch("align", 1)))
    peer_s, found = best_of(runs, lambda: theirs.align(asked, peer, about, samples, "cpu"))

    emissions = [model.emissions([audio.cut(s, e).samples])[0] for s, e, _ in parts]
    tokens = [tokenize([w for w, *_ in g], model.labels, 10**6)[0] for _, _, g in parts]
    path_s, _ = best_of(runs, lambda: viterbi_align(emissions, tokens, model.blank))
    peer_path_s, _ = best_of(runs, lambda: _whisperx_search(theirs, emissions, tokens, model.blank))

    rows, first = [], 0
    for (_, _, g), segment in zip(parts, _by_segment(found, parts)):
        mine = ours[first : first + len(g)]
        rows += [(t, m, i, m is mine[-1]) for t, m, i in zip(g, mine, segment)]
        first += len(g)
    starts = np.array([abs(m.start_time - i["start"]) for _, m, i, _ in rows])
    ends = np.array([abs(m.end_time - i["end"]) for _, m, i, last in rows if not last])
    apart = [
        {
            "word": t[0],
            "truth": t[1:],
            "ours": (m.start_time, m.end_time),
            "whisperx": (float(i["start"]), float(i["end"])),
        }
        for t, m, i, last in rows
        if abs(m.start_time - i["start"]) > 0.0205 or not last and abs(m.end_time - i["end"]) > 0.0205
    ]
    figures = {
        "path_ratio": round(peer_path_s / path_s, 1),
        "whole_ratio": round(peer_s / ours_s, 2),
        "within_20ms": round(float(np.mean(starts <= 0.0205)), 4),
        "ends_within_20ms": round(float(np.mean(ends <= 0.0205)), 4),
    }
    return {
        "figures": figures,
        "details": {
            "ours_s": ours_s,
            "whisperx_s": peer_s,
            "path_s": path_s,
            "whisperx_path_s": peer_path_s,
            "words": len(rows),
            "segments": len(parts),
            "further_apart": apart,
        },
    }


def _whisperx_search(theirs, emissions, tokens, blank):
    import torch

    for e, t in zip(map(torch.from_numpy, emissions), tokens):
        theirs.backtrack(theirs.get_trellis(e, t, blank), e, t, blank)


def _by_segment(found, parts):
    "WhisperX cuts its answer into sentences: put its words back into the segments they came from"
    words = iter([w for s in found["segments"] for w in s["words"]])
    return [[next(words) for _ in g] for _, _, g in parts]
