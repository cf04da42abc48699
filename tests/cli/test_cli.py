"""`ecg` as a person calls it: bad input beside good, exit statuses, names of results, what is printed
where"""
import json
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ecg_audio_nb.cli import app
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import TranscribeError, check_recognizer

RATE = 16000


def ecg(*args, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "ecg_audio_nb", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        stdin=subprocess.DEVNULL,
        timeout=300,
    )


def wav(path, samples, rate=RATE, width=2, channels=1):
    "Integer PCM of floats; `samples` of shape (n,), repeated for every channel"
    full = {1: 127, 2: 32767, 3: 8388607}[width]
    ints = np.repeat(
        np.clip(np.round(np.asarray(samples) * full), -full - 1, full).astype(np.int64), channels
    )
    data = (
        (ints + 128).astype(np.uint8).tobytes()
        if width == 1
        else ints.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    )
    with wave.open(str(path), "wb") as f:
        f.setnchannels(channels), f.setsampwidth(width), f.setframerate(rate)
        f.writeframes(data)


def float_wav(path, samples, rate=RATE):
    "WAV of 32-bit floats, which the wave module can't write"
    data = np.asarray(samples, "<f4").tobytes()
    fmt = (
        np.array([3, 1], "<u2").tobytes()
        + np.array([rate, rate * 4], "<u4").tobytes()
        + np.array([4, 32], "<u2").tobytes()
    )
    body = b"WAVEfmt " + np.uint32(16).tobytes() + fmt + b"data" + np.uint32(len(data)).tobytes() + data
    Path(path).write_bytes(b"RIFF" + np.uint32(len(body)).tobytes() + body)


def picture_only(path):
    import av
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24"))
            )
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def speech(sample):
    from ecg_audio_nb.audio.media import load_audio
    return load_audio(sample).samples[:6 * RATE]


# name -> (how to make it, what must come of it: a word of the error, or a check of the result)
def silent(r): return not r["words"] and not r["segments"] and not r["turns"] and r["speakers"] == []
def spoken(r): return len(r["turns"]) >= 1 and r["segments"][0]["acoustic_features"]["volume_db"] is not None
def warned(word): return lambda r: any(word in w for w in r["metadata"]["warnings"])
def both(*checks): return lambda r: all(c(r) for c in checks)


BAD = {
    "empty.mp4": (lambda p, y, s: p.write_bytes(b""), "empty"),
    "text.mp4": (lambda p, y, s: p.write_text("this is no video\n" * 100), "FFmpeg knows no media format"),
    "truncated.mp4": (lambda p, y, s: p.write_bytes(s.read_bytes()[: s.stat().st_size // 2]), None),
    "picture.mp4": (lambda p, y, s: picture_only(p), "no audio stream"),
    "silence.wav": (lambda p, y, s: wav(p, np.zeros(5 * RATE)), silent),
    "short.wav": (
        lambda p, y, s: wav(p, y[2 * RATE : 2 * RATE + 800]),
        lambda r: r["metadata"]["duration"] == 0.05,
    ),
    "eight.wav": (lambda p, y, s: wav(p, y, width=1), spoken),
    "ninety-six.wav": (
        lambda p, y, s: wav(p, np.repeat(y, 6), rate=96000),
        both(spoken, lambda r: abs(r["metadata"]["duration"] - 6) < 0.01),
    ),
    "six.wav": (lambda p, y, s: wav(p, y, channels=6), spoken),
    "nan.wav": (
        lambda p, y, s: float_wav(p, np.where(np.arange(len(y)) % 1000 == 0, np.nan, y)),
        both(spoken, warned("not numbers")),
    ),
    "infinite.wav": (
        lambda p, y, s: float_wav(p, np.where(np.arange(len(y)) == 99, np.inf, y)),
        both(spoken, warned("not number")),
    ),
    "dc.wav": (lambda p, y, s: wav(p, 0.4 + y * 0.5), spoken),
    "clipped.wav": (lambda p, y, s: wav(p, np.clip(y * 12, -1, 1)), both(spoken, warned("clipped"))),
    "folder.mp4": (lambda p, y, s: p.mkdir(), "directory"),
    "missing.mp4": (lambda p, y, s: None, "no such file"),
    "pipe.wav": (lambda p, y, s: os.mkfifo(p), "FIFO"),
    "an 인터뷰 (최종).mp4": (lambda p, y, s: shutil.copy(s, p), spoken),
    "noise.bin": (
        lambda p, y, s: p.write_bytes(np.random.default_rng(0).bytes(50000)),
        "FFmpeg knows no media format",
    ),
    "list.m3u8": (
        lambda p, y, s: p.write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"),
        "FFmpeg knows no media format",
    ),
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory, sample, speech):
    "All bad files and a good one in one command"
    folder, out = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("out")
    for name, (make, _) in BAD.items(): make(folder / name, speech, sample)
    shutil.copy(sample, folder / "good.mp4")
    names = [*BAD, "good.mp4"]
    # no words: recognition is the same for all of them, and slow; tests/test_pipeline.py recognizes
    return (
        ecg("analyze", *(folder / n for n in names), "-o", out, "--profile", "demo", "--no-transcribe"),
        out,
        folder,
    )


def test_a_batch_with_bad_files_does_the_rest(batch):
    done, out, _ = batch
    assert done.returncode == 1
    assert spoken_turns(out / "good.json") > 3
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr


def spoken_turns(path): return len(json.loads(path.read_text())["turns"])


@pytest.mark.parametrize("name", BAD)
def test_bad_input(batch, name):
    "A clear error that names the file, or a right result"
    done, out, folder = batch
    result, expected = out / f"{Path(name).stem}.json", BAD[name][1]
    lines = [
        line for line in done.stderr.splitlines() if line.startswith("failed:") and str(folder / name) in line
    ]
    if name == "truncated.mp4": # what a cut leaves depends on where the index stands
        assert result.exists() != bool(lines)
        return
    if isinstance(expected, str):
        assert len(lines) == 1 and expected in lines[0], done.stderr
        assert not result.exists()
    else:
        assert not lines and result.exists(), done.stderr
        found = json.loads(result.read_text())
        assert expected({**found, "words": [w for s in found["segments"] for w in s["words"]]}), found[
            "metadata"
        ]["warnings"]


def test_dc_is_no_loudness(batch):
    _, out, _ = batch
    level = json.loads((out / "dc.json").read_text())["segments"][0]["acoustic_features"]["volume_db"]
    assert level < -15, "an offset of 0.4 alone would be -8 dBFS"


def test_the_level_does_not_depend_on_the_file_format(batch):
    _, out, _ = batch
    levels = [
        json.loads((out / f"{n}.json").read_text())["segments"][0]["acoustic_features"]["volume_db"]
        for n in ("six", "ninety-six")
    ]
    assert levels[0] == pytest.approx(levels[1], abs=0.3)


def test_all_formats_are_written_and_nothing_half(sample, tmp_path):
    done = ecg("analyze", sample, "-o", tmp_path / "out", "--profile", "demo", "--no-transcribe")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"sample.{f}" for f in ("json", "rttm", "srt", "tsv", "txt", "vtt")
    ]
    assert "sample.mp4" in done.stdout and "speakers" in done.stdout


def test_same_stems_do_not_overwrite_each_other(sample, tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        shutil.copy(sample, tmp_path / folder / "talk.mp4")
    done = ecg(
        "analyze",
        tmp_path / "a/talk.mp4",
        tmp_path / "b/talk.mp4",
        "-o",
        tmp_path / "out",
        "--profile",
        "demo",
        "--no-transcribe",
        "--formats",
        "json",
    )
    assert done.returncode == 0 and sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "talk-2.json",
        "talk.json",
    ]


@pytest.mark.parametrize("args, said", [
    (["analyze"], "Missing argument"),
    (["analyze", "x.mp4", "--profil", "demo"], "No such option"),
    (["analyze", "x.mp4", "--profile", "dem"], "nearest: demo"),
    (["analyze", "x.mp4", "--engine", "wisper"], "engine = 'wisper'"),
    (["analyze", "x.mp4", "--set", "voice.onset"], "write it as stage.key=value"),
    (["analyze", "x.mp4", "--set", "voice.onst=0.4"], "nearest is voice.onset"),
    (["analyze", "x.mp4", "--set", "voice.onset=4"], "must be at most 1"),
    (["analyze", "x.mp4", "--set", "diarize.num_speakers=two"], "'two': must be a whole number"),
    (["analyze", "x.mp4", "--set", "transcribe.enabled=perhaps"], "must be true or false"),
    (["analyze", "x.mp4", "--set", "runtime.device=gpu"], "must be auto, cpu or cuda"),
    (["analyze", "x.mp4", "--num-speakers", "two"], "'--num-speakers': two: must be a whole number"),
    (["jobs", "prune", "--days", "soon"], "'--days': soon: must be a number"),
    (["batch", "x.mp4", "-o", "o", "--timeout", "nan"], "more than 0 seconds"),
    (["analyze", "x.mp4", "--formats", "jsn"], "nearest: json"),
    (["analyze", "x.mp4", "--num-speakers", "0"], "must be at least 1"),
    (["evaluate", "x.json"], "give a reference"),
    (["evalute", "x.json"], "No such command"),
])
def test_wrong_usage_is_status_2(args, said):
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 2 and said in done.output, done.output
    assert "Traceback" not in done.output and "Input should" not in done.output


@pytest.mark.parametrize("command", [["analyze"], ["batch"]])
@pytest.mark.parametrize("given, said", [
    (["--set", "transcribe.language=xx"], "base knows no such language; write auto, or one of its 99 codes"),
    (["--profile", "fast", "--set", "transcribe.language=ko"], "tiny.en knows English only"),
    (["--set", "transcribe.task=translate", "--set", "transcribe.model=tiny.en"], "can't translate"),
    (["--set", "runtime.device=cuda"], "runtime.device is cuda, but no CUDA device can be used here"),
])
def test_what_no_recording_can_be_served_with_is_refused_at_once(tmp_path, monkeypatch, command, given, said):
    monkeypatch.setattr("ecg_audio_nb.models._cuda_devices", lambda: 0)
    args = [*command, "a.wav", "b.wav", "-o", str(tmp_path / "out"), *given]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 1 and done.output.count(said) == 1, done.output
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_known_is_not_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    given = {"transcribe.model": "somebody/else", "transcribe.language": "xx", "runtime.device": "cpu"}
    check_recognizer(load_settings(given))
    check_recognizer(load_settings({**given, "transcribe.model": "tiny"}))
    check_recognizer(load_settings({**given, "transcribe.model": None, "transcribe.enabled": False}))
    with pytest.raises(TranscribeError, match="small.en knows English only"):
        check_recognizer(load_settings({**given, "transcribe.model": "small.en"}))


def test_wrong_usage_is_the_status_of_the_process():
    done = ecg("analyze", "x.mp4", "--profile", "dem")
    assert done.returncode == 2 and "nearest: demo" in done.stderr and "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_one_line(sample, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = ecg("analyze", sample, "-o", tmp_path / "file/out", "--profile", "demo", "--no-transcribe")
    assert done.returncode == 1 and done.stderr.count("failed:") == 1 and "can't write" in done.stderr
    assert (tmp_path / "file").read_text() == "in the way"


def test_evaluate_scores_the_sample(sample, tmp_path):
    pytest.importorskip("pyannote.metrics")
    ecg = lambda *args: CliRunner().invoke(app, [*map(str, args)]) # in this process: one import of what scores
    ecg("analyze", sample, "-o", tmp_path, "--profile", "demo", "--formats", "json")
    done = ecg(
        "evaluate",
        tmp_path / "sample.json",
        "--transcript",
        sample.with_suffix(".stm"),
        "--turns",
        sample.with_suffix(".rttm"),
        "--json",
    )
    assert done.exit_code == 0, done.stderr
    scores = json.loads(done.stdout)
    assert (
        scores["wer"] <= 0.04
        and scores["der"] <= 0.15
        and scores["speakers_found"] == scores["speakers_reference"]
    )
    table = ecg("evaluate", tmp_path / "sample.json", "--turns", sample.with_suffix(".rttm"))
    assert table.exit_code == 0 and "DER" in table.stdout
    wrong = ecg("evaluate", tmp_path / "nowhere.json", "--turns", sample.with_suffix(".rttm"))
    assert wrong.exit_code == 1 and "nowhere.json" in wrong.stderr and "Traceback" not in wrong.stderr


def test_help_and_version_are_quick_to_load():
    "No heavy library is imported to answer --help"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['ecg', '--help']\n"
            "try:\n from ecg_audio_nb.cli import main; main()\nexcept SystemExit: pass\n"
            "print([m for m in ('numpy', 'scipy', 'av', 'onnxruntime', 'pydantic', 'torch', 'ctranslate2', "
            "'tokenizers', 'huggingface_hub') if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("[]"), done.stdout
    assert ecg("--version").stdout.strip()[0].isdigit()
