"""Make ecg_audio_nb/assets/models/phones.npz from the acoustic model of pocketsphinx.

Usage: python scripts/make_phone_model.py MODEL [OUT]

MODEL is the folder `pocketsphinx/model/en-us/en-us` of the wheel pocketsphinx 5.1.1 (BSD 2-clause, Alpha
Cephei 2015). Only the 126 context-independent states are kept: 42 phones of 3 states each. Means and log
variances become 8 bit, with a range for each phone, stream and dimension. Prints the file's SHA-256 and size
for models.json, and checks that the states' scores stay those of the original parameters.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

PHONES, STREAMS, DENSITIES, DIMENSIONS, SENONES = 42, 3, 128, 13, 5126
VARIANCE_FLOOR = 1e-4
FOLDER = Path(__file__).resolve().parents[1] / "ecg_audio_nb/assets/models"


def read_parameters(path: Path, n_integers: int, n_values: int) -> np.ndarray:
    "Values of a Sphinx-3 parameter file: a text header, a byte-order word, integers, then float32"
    content = path.read_bytes()
    start = content.index(b"endhdr\n") + len(b"endhdr\n") + 4 * (1 + n_integers)
    return np.frombuffer(content, "<f4", n_values, start)


def read_mixtures(path: Path) -> np.ndarray:
    """Mixture weights of `sendump`, uint8, shape (streams, densities, states): counted strings up to a zero,
    then bytes"""
    content, at = path.read_bytes(), 0
    while size := int.from_bytes(content[at : at + 4], "little"):
        at += 4 + size
    weights = np.frombuffer(content, np.uint8, STREAMS * DENSITIES * SENONES, at + 12)
    return weights.reshape(STREAMS, DENSITIES, SENONES)[:, :, : 3 * PHONES]


def to_bytes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    "uint8 of values of shape (phones, streams, densities, dimensions), and their ranges over the densities"
    low, high = values.min(2, keepdims=True), values.max(2, keepdims=True)
    quantized = np.round((values - low) / (high - low) * 255).astype(np.uint8)
    return quantized, np.stack([low[:, :, 0], high[:, :, 0]]).astype(np.float32)


def parameters(model: Path) -> dict[str, np.ndarray]:
    "Means, log variances, mixture weights and transition probabilities of the context-independent phones"
    shape = PHONES, STREAMS, DENSITIES, DIMENSIONS
    n = int(np.prod(shape))
    means = read_parameters(model / "means", 7, n).reshape(shape)
    variances = read_parameters(model / "variances", 7, n).reshape(shape)
    moves = read_parameters(model / "transition_matrices", 4, PHONES * 12).reshape(PHONES, 3, 4).astype(float)
    moves /= moves.sum(2, keepdims=True)
    return {
        "means": means,
        "log_variances": np.log(np.maximum(variances, VARIANCE_FLOOR)),
        "mixtures": read_mixtures(model / "sendump"),
        "stay": moves[:, [0, 1, 2], [0, 1, 2]].astype(np.float32),
        "leave": moves[:, [0, 1, 2], [1, 2, 3]].astype(np.float32),
    }


def check(original: dict[str, np.ndarray]):
    "Compare the state scores of the sample's speech from 8 bit and from float32"
    from ecg_audio_nb.speech import forced_align
    from ecg_audio_nb.audio.media import load_audio

    sample = load_audio(FOLDER.parent / "sample.mp4").cut(0, 20).samples
    [found] = forced_align.features([sample])
    ours = forced_align.state_scores(found.cepstra)
    exact = forced_align.phone_model_of(
        original["means"],
        original["log_variances"],
        original["mixtures"],
        original["stay"],
        original["leave"],
    )
    theirs = forced_align.state_scores(found.cepstra, exact)
    difference = np.abs(ours - theirs)[theirs > theirs.max(1, keepdims=True) - 20]
    same = np.mean(ours.argmax(1) == theirs.argmax(1))
    print(
        f"scores within 20 of the best: {difference.mean():.3f} mean difference, "
        f"{np.percentile(difference, 99):.3f} p99; "
        f"same best state in {same:.1%} of the frames"
    )
    assert difference.mean() < 0.2 and same > 0.95


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    original = parameters(Path(sys.argv[1]))
    means, mean_range = to_bytes(original["means"])
    log_variances, log_variance_range = to_bytes(original["log_variances"])
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else FOLDER / "phones.npz"
    np.savez_compressed(
        out,
        means=means,
        mean_range=mean_range,
        log_variances=log_variances,
        log_variance_range=log_variance_range,
        **{k: original[k] for k in ("mixtures", "stay", "leave")},
    )
    content = out.read_bytes()
    print(json.dumps({"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}))
    if out.parent == FOLDER:
        check(original)


if __name__ == "__main__":
    main()
