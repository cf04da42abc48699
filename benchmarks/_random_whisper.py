"""A Whisper of any size with random weights, in CTranslate2's form: it takes the time of the real one."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _peers import weights


@dataclass(frozen=True)
class Shape:
    "The size of a Whisper model"

    encoder: int  # layers
    decoder: int  # layers
    heads: int  # of 64 dimensions
    mels: int = 128

    @property
    def width(self) -> int:
        return 64 * self.heads


TURBO = Shape(encoder=32, decoder=4, heads=20)  # large-v3-turbo: 809 million parameters


def _put(spec, path, array):
    "Set a variable of a specification by its path"
    *parents, name = path.split("/")
    for part in parents:
        kind, _, index = part.partition("_")
        spec = getattr(spec, part) if hasattr(spec, part) else getattr(spec, kind)[int(index)]
    setattr(spec, name, array)


def _size(path, shape, vocabulary):
    "Dimensions of a variable"
    n = shape.width
    if path.endswith(("gamma", "beta")):
        return (n,)
    if path.endswith("encodings/encodings"):
        return (1500 if path.startswith("encoder") else 448, n)
    if "conv" in path:
        return (n, shape.mels if "conv1" in path else n, 3)
    if path.endswith(("embeddings/weight", "projection/weight")):
        return (vocabulary, n)
    if "ffn" in path:
        return (4 * n, n) if "linear_0" in path else (n, 4 * n)
    if "self_attention/linear_0" in path:
        return (3 * n, n)
    return (2 * n, n) if "attention/linear_1" in path and "self" not in path else (n, n)


def write_model(folder: Path, shape: Shape = TURBO, seed: int = 0):
    "Write a model with float16 weights and the tokens of large-v3"
    from ctranslate2.specs.whisper_spec import WhisperSpec

    folder.mkdir(parents=True, exist_ok=True)
    source = weights("base")
    tokens = (source / "vocabulary.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    tokens.insert(tokens.index("<|translate|>"), "<|yue|>")
    spec, random = (
        WhisperSpec(shape.encoder, shape.heads, shape.decoder, shape.heads),
        np.random.default_rng(seed),
    )
    missing = [path for path, value in spec.variables().items() if value is None]
    for path in [*missing, "encoder/position_encodings/encodings", "decoder/position_encodings/encodings"]:
        size = _size(path, shape, len(tokens))
        values = np.ones(size) if path.endswith("gamma") else random.standard_normal(size, np.float32) * 0.02
        _put(spec, path, values.astype(np.float16))
    spec.register_vocabulary(tokens)
    config = json.loads((source / "config.json").read_text())
    spec.config.alignment_heads = [(shape.decoder - 1, head) for head in range(min(6, shape.heads))]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = (
        config["suppress_ids"],
        config["suppress_ids_begin"],
    )
    first, last = tokens.index("<|en|>"), tokens.index("<|translate|>")
    spec.config.lang_ids = list(range(first, last))
    spec.validate()
    spec.save(str(folder))
    shutil.copy(source / "tokenizer.json", folder)
