"""The peers, on the same weights: WhisperX, faster-whisper, pocketsphinx."""

import contextlib
import io
import logging
import os
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from _common import cores

MODELS = ("base", "tiny.en")

# The `whisperx` command without the ffmpeg program: samples come from the wav file.
WHISPERX = """
import wave, numpy as np, whisperx.alignment, whisperx.transcribe
def load_audio(path):
    with wave.open(path) as f: samples = np.frombuffer(f.readframes(f.getnframes()), "<i2")
    return samples.astype(np.float32) / 32768
whisperx.transcribe.load_audio = whisperx.alignment.load_audio = load_audio
from whisperx.__main__ import cli
cli()
"""


@cache
def weights(model: str) -> Path:
    "The folder of a Whisper model's weights, the very one that the product loads"
    from ecg_audio_nb.models import find_weights

    return find_weights(model, "transcribe").folder


@contextlib.contextmanager
def quiet():
    "Without the chatter of libraries"
    logging.disable(logging.WARNING)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


@dataclass
class WhisperX:
    "WhisperX 3.8 with its defaults: pyannote's speech activity, chunks of 30 s, batches of 8, beam 5, int8"

    model: str
    language: str | None = "en"  # None: detected for each file
    pipe: object = field(init=False)

    def __post_init__(self):
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
        with quiet():
            import torch
            from whisperx.asr import load_model

            torch.set_num_threads(cores())
            self.pipe = load_model(
                str(weights(self.model)), "cpu", compute_type="int8", language=self.language, threads=cores()
            )

    def __call__(self, samples: np.ndarray, language: str | None = None) -> str:  # mono, float32, 16 kHz
        "The text"
        with quiet():
            try:
                found = self.pipe.transcribe(samples, batch_size=8, language=language)
            except IndexError:  # no speech at all
                return ""
        return " ".join(s["text"].strip() for s in found["segments"])


@dataclass
class FasterWhisper:
    "faster-whisper with silero's speech activity and its defaults, in sequence or batches of 8; beam 5, int8"

    model: str
    batched: bool = True
    network: object = field(init=False)

    def __post_init__(self):
        with quiet():
            from faster_whisper import BatchedInferencePipeline, WhisperModel

            self.network = WhisperModel(
                str(weights(self.model)), "cpu", compute_type="int8", cpu_threads=cores()
            )
            self.pipe = BatchedInferencePipeline(self.network) if self.batched else self.network

    def __call__(self, samples: np.ndarray, language: str = "en") -> str:
        "The text"
        more = {"batch_size": 8} if self.batched else {"vad_filter": True}
        segments, _ = self.pipe.transcribe(samples, language=language, beam_size=5, **more)
        return " ".join(s.text.strip() for s in segments)

    def word_times(
        self, samples: np.ndarray, words: list[str], language: str = "en"
    ) -> list[tuple[float, float]]:
        "Times of a known text by dynamic time warping of the cross-attention, as they come; at most 30 s"
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.tokenizer import Tokenizer

        tokenizer = Tokenizer(
            self.network.hf_tokenizer, self.network.model.is_multilingual, "transcribe", language
        )
        encoded = self.network.encode(pad_or_trim(self.network.feature_extractor(samples)))
        space = "" if language in ("ja", "zh") else " "
        parts = [tokenizer.encode(space + w) for w in words]
        (result,) = self.network.model.align(
            encoded,
            tokenizer.sot_sequence,
            [[t for p in parts for t in p]],
            min(3000, len(samples) // 160),
            median_filter_width=7,
        )
        token, frame = np.array(result.alignments).T
        first = np.concatenate([[True], np.diff(token) > 0])  # the path enters a token
        begins = dict(zip(token[first].tolist(), (frame[first] * 0.02).tolist()))
        edges = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).tolist()
        last = len(samples) / 16000
        at = [begins.get(e, last) for e in edges]
        return list(zip(at[:-1], at[1:]))


# None: no path
def pocketsphinx_times(samples: np.ndarray, pronunciations) -> list[tuple[float, float]] | None:
    "Forced alignment by pocketsphinx 5.1, whole search (no lattice, no pruning), a new decoder each time"
    from pocketsphinx import Decoder

    wide = {"bestpath": False, "silprob": 0.1, "beam": 1e-300, "pbeam": 1e-300, "wbeam": 1e-300}
    decoder, names = Decoder(loglevel="FATAL", lm=None, dict=None, **wide), []
    for alternatives in pronunciations:
        name = "w" + "_".join(".".join(phones) for phones in alternatives)
        if decoder.lookup_word(name) is None:
            for i, phones in enumerate(alternatives):
                decoder.add_word(f"{name}({i + 1})" if i else name, " ".join(phones), True)
        names.append(name)
    rms = np.sqrt(np.mean(np.square(samples, dtype=np.float64)) + 1e-12)
    noise = np.random.default_rng(0).normal(0, 0.05 * 10 ** (-45 / 20), len(samples))
    pcm = np.clip((samples * (0.05 / rms) + noise) * 32767, -32768, 32767).astype("<i2").tobytes()
    decoder.set_align_text(" ".join(names))
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    found = [(s.start_frame / 100, (s.end_frame + 1) / 100) for s in decoder.seg() or () if s.word[0] == "w"]
    return found if len(found) == len(names) else None
