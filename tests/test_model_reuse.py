"""A folder of files through one command: models are loaded once."""
import json
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("whisperx", reason="needs the extra [whisperx]")

COUNTED = """
import sys
from ecg_audio_nb.speech import align, transcribe
from ecg_audio_nb import models
def counted(name, load):
    def work(*args): print("loaded", name, file=sys.stderr); return load(*args)
    return work
transcribe.load_whisper, align.load_ctc = counted("whisper", transcribe.load_whisper), counted("wav2vec2", align.load_ctc)
models._load_onnx = counted("onnx", models._load_onnx)
from ecg_audio_nb.cli import main
main()
"""


def load_each_model_once(root, tmp_path, n):
    "Analyze n files with one command, which counts what it loads"
    tiny = root / "tests/fixtures/tiny"
    for i in range(n): shutil.copy(tiny / f"clips/clip{i:02}.flac", tmp_path)
    files = sorted(map(str, tmp_path.glob("*.flac")))
    more = [
        f"--set={k}={v}"
        for k, v in {
            "transcribe.model": tiny / "whisper-ct2",
            "align.model": tiny / "wav2vec2",
            "transcribe.language": "en",
            "transcribe.chunk_size": 15,
            "runtime.device": "cpu",
            "diarize.enabled": "false",
        }.items()
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            COUNTED,
            "analyze",
            *files,
            "-o",
            str(tmp_path / "out"),
            "--engine",
            "whisperx",
            *more,
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("loaded")]
    # segmentation and silero; recognizer; aligner
    assert sorted(loaded) == ["onnx", "onnx", "wav2vec2", "whisper"]
    results = [json.loads(p.read_text()) for p in sorted((tmp_path / "out").glob("*.json"))]
    assert len(results) == n and all(r["metadata"]["models"]["align"]["engine"] == "ctc" for r in results)


@pytest.mark.slow
def test_three_files_load_each_model_once(root, tmp_path):
    "Twelve in tests/soak/test_speech.py"
    load_each_model_once(root, tmp_path, 3)
