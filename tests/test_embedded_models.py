"""The networks inside the package: what `models.json` and NOTICE say of them is true"""
import hashlib, json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "ecg_audio_nb/assets/models"
MODELS = json.loads((FOLDER / "models.json").read_text(encoding="utf-8"))
PRONUNCIATIONS = {"english.txt.gz", "hanzi.txt.gz", "japanese.txt.gz"} # tests/speech/test_phones.py

each_model = pytest.mark.parametrize("name", MODELS)


def session(name):
    return onnxruntime.InferenceSession(
        str(FOLDER / MODELS[name]["file"]), providers=["CPUExecutionProvider"]
    )


@each_model
def test_hash_and_size_are_those_of_the_file(name):
    content = (FOLDER / MODELS[name]["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == MODELS[name]["sha256"]
    assert len(content) == MODELS[name]["bytes"]


@each_model
def test_notice_tells_origin_licence_and_hash(name):
    _, _, entry = (FOLDER / "NOTICE").read_text(encoding="utf-8").partition(f"\n{MODELS[name]['file']}\n")
    entry = entry.split("\n\n")[0]
    for key in ("source", "copyright", "licence", "sha256", "bytes", "changes"):
        assert str(MODELS[name][key]) in entry


def test_notice_carries_the_licences():
    notice = (FOLDER / "NOTICE").read_text(encoding="utf-8")
    assert notice.count("Permission is hereby granted, free of charge") == 2 # MIT, Unicode
    assert "www.apache.org/licenses/LICENSE-2.0" in notice


def test_nothing_else_lies_beside_them():
    assert {p.name for p in FOLDER.iterdir()} == {m["file"] for m in MODELS.values()} | PRONUNCIATIONS | {
        "models.json",
        "NOTICE",
    }
    assert sum(m["bytes"] for m in MODELS.values()) < 25e6


@each_model
def test_no_path_of_a_machine_is_in_the_file(name):
    content = (FOLDER / MODELS[name]["file"]).read_bytes()
    for sign in (b"site-packages", b"/home/", b"/root/"): assert sign not in content


@pytest.mark.parametrize(
    "name, lengths",
    [
        ("segmentation", {}),
        ("voice_encoder", {"bands": 300, "frames": 150}),
        ("voice_encoder", {"bands": 51, "frames": 26}),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_shapes_are_those_described(name, lengths, batch):
    m, s = MODELS[name], session(name)
    shape = lambda array: tuple({"batch": batch, **lengths}.get(n, n) for n in array["shape"])
    x = np.random.default_rng(0).normal(size=shape(m["input"])).astype(m["input"]["dtype"])
    (y,) = s.run([m["output"]["name"]], {m["input"]["name"]: x})
    assert y.shape == shape(m["output"]) and y.dtype == m["output"]["dtype"]
    assert 0 <= y.min() and (y.max() <= 1 or name == "voice_encoder")


def test_a_window_of_another_length_is_refused():
    with pytest.raises(Exception, match="(?i)invalid dimensions"):
        session("segmentation").run(None, {"x": np.zeros((1, 1, 16000), np.float32)})


def test_a_batch_changes_nothing():
    x = np.random.default_rng(0).normal(size=(4, 300, 80)).astype(np.float32)
    s = session("voice_encoder")
    alone = np.concatenate([s.run(None, {"fbank": w[None]})[0] for w in x])
    np.testing.assert_allclose(s.run(None, {"fbank": x})[0], alone, atol=1e-3)


def test_the_channel_directions_are_orthonormal():
    with np.load(FOLDER / "voice_head.npz") as f: channels = f["channels"]
    assert channels.shape == (5, 192)
    np.testing.assert_allclose(channels @ channels.T, np.eye(5), atol=1e-5)


def test_silero_carries_its_state_from_call_to_call():
    m, s = MODELS["silero_vad"], session("silero_vad")
    x = (
        np.random.default_rng(0)
        .normal(scale=0.1, size=(6, m["context"] + m["window"]["samples"]))
        .astype(np.float32)
    )
    zero = {a["name"]: np.zeros(a["shape"], np.float32) for a in m["state"]}
    whole, *_ = s.run(None, {"input": x, **zero})
    first, h, c = s.run(None, {"input": x[:3], **zero})
    second, *_ = s.run(None, {"input": x[3:], "h": h, "c": c})
    np.testing.assert_allclose(np.concatenate([first, second]), whole, atol=1e-6)


def test_frame_times_follow_from_the_strides():
    m = MODELS["segmentation"]
    frames, rate = m["frames"], m["sample_rate"]
    size, step = round(frames["duration"] * rate), round(frames["step"] * rate)
    assert frames["count"] == (m["window"]["samples"] - size) // step + 1 == m["output"]["shape"][1]
    assert frames["first_middle"] == frames["start"] + frames["duration"] / 2
    assert m["window"]["samples"] == m["window"]["seconds"] * rate


def test_silero_is_its_original_byte_for_byte():
    "The other two are made anew and compared with their originals in tests/soak/test_embedded_models_guide.py"
    spec = find_spec("faster_whisper")
    if not spec: pytest.skip("faster_whisper, which brings the original, is not installed")
    original = Path(spec.submodule_search_locations[0]) / "assets/silero_vad_v6.onnx"
    assert hashlib.sha256(original.read_bytes()).hexdigest() == MODELS["silero_vad"]["sha256"]
