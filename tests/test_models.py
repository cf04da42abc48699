"""Fetching weights from a hub that breaks off, is gated, is not there: one clear sentence, and nothing
half-written."""
import errno
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("huggingface_hub", reason="needs the extra [whisperx]")

from ecg_audio_nb.models import ModelError, _transfer_errors, cached, catalogue, find_weights, pull
from ecg_audio_nb.settings import RuntimeSettings
from needs import needs_whisperx

COMMIT = "a" * 40


class Hub(BaseHTTPRequestHandler):
    "As much of the Hugging Face hub as a download asks for"
    files, cut, gated = {}, False, False

    def log_message(self, *_): pass
    def do_HEAD(self): self.answer(body=False)
    def do_GET(self): self.answer(body=True)

    def answer(self, body):
        path = self.path.split("?")[0]
        if self.gated: return self.reply(401, {"X-Error-Code": "GatedRepo"}, b"gated", body)
        if path.startswith("/api/models/"):
            files = [
                {"rfilename": n, "size": len(b), "blobId": n.encode().hex()} for n, b in self.files.items()
            ]
            about = {
                "_id": "1",
                "id": "Systran/faster-whisper-tiny",
                "sha": COMMIT,
                "siblings": files,
                "private": False,
                "tags": [],
                "downloads": 0,
            }
            return self.reply(200, {"Content-Type": "application/json"}, json.dumps(about).encode(), body)
        data = self.files.get(path.rsplit("/", 1)[-1])
        if data is None: return self.reply(404, {"X-Error-Code": "EntryNotFound"}, b"", body)
        name = path.rsplit("/", 1)[-1]
        self.reply(
            200,
            {"ETag": f'"{name.encode().hex()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "none"},
            data,
            body,
            cut=self.cut and name == "model.bin",
        )

    def reply(self, status, headers, data, body, cut=False):
        self.send_response(status)
        for k, v in {**headers, "Content-Length": str(len(data))}.items(): self.send_header(k, v)
        self.end_headers()
        if body: self.wfile.write(data[:len(data) // 2] if cut else data)
        if cut: self.close_connection = True


@pytest.fixture
def hub(root):
    folder = root / "tests/fixtures/tiny/whisper-ct2"
    class Here(Hub): files = {p.name: p.read_bytes() for p in folder.iterdir()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Here)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Here, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def ecg(address, cache, *arguments):
    env = {**os.environ, "HF_ENDPOINT": address, "HF_HUB_CACHE": str(cache), "NO_PROXY": "*"}
    env.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-m", "ecg_audio_nb", "models", *arguments],
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
    )


def test_a_pull_says_the_size_and_lands_in_the_cache(hub, tmp_path):
    done = ecg(hub[1], tmp_path, "pull", "tiny")
    assert not done.returncode, done.stderr
    assert "tiny: 3.1 MB into" in done.stderr
    again = ecg("http://127.0.0.1:9", tmp_path, "path", "tiny")
    assert again.stdout.strip() == done.stdout.strip() and COMMIT in again.stdout
    listed = json.loads(ecg("http://127.0.0.1:9", tmp_path, "list", "--json").stdout)
    assert [m["name"] for m in listed if m["cached"]] == ["tiny"]


def test_a_transfer_cut_half_way_leaves_nothing_that_counts(hub, tmp_path, monkeypatch):
    handler, address = hub
    handler.cut = True
    broken = ecg(address, tmp_path, "pull", "tiny")
    assert broken.returncode == 1 and "ecg: tiny:" in broken.stderr and "Traceback" not in broken.stderr
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert cached("tiny", "transcribe") is None and not list(tmp_path.rglob("snapshots/*/model.bin"))
    handler.cut = False
    assert not ecg(address, tmp_path, "pull", "tiny").returncode
    assert cached("tiny", "transcribe").revision == COMMIT


@needs_whisperx
def test_a_gated_model_says_where_to_go(hub, tmp_path):
    hub[0].gated = True
    done = ecg(hub[1], tmp_path, "pull", "pyannote/speaker-diarization-community-1")
    assert done.returncode == 1
    assert (
        "https://huggingface.co/pyannote/speaker-diarization-community-1" in done.stderr
        and "HF_TOKEN" in done.stderr
    )


def test_no_network(tmp_path):
    done = ecg("http://127.0.0.1:9", tmp_path, "pull", "small")
    assert (
        done.returncode == 1 and "could not be downloaded" in done.stderr and "Traceback" not in done.stderr
    )
    reason = "could not be downloaded from 127.0.0.1 (Connection refused). Is there a network?"
    assert reason in done.stderr and "Error(" not in done.stderr


def test_an_unknown_name_points_to_the_list(tmp_path):
    done = ecg("http://127.0.0.1:9", tmp_path, "pull", "smal")
    assert done.returncode == 1 and "smal: the catalogue has no model of that name" in done.stderr
    assert "nearest: small" in done.stderr and "`ecg models list`" in done.stderr


def test_a_cache_that_can_not_be_written(tmp_path, monkeypatch):
    import huggingface_hub
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    def refuse(*_, **__): raise PermissionError(errno.EROFS, "Read-only file system")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(ModelError, match="can't be written to.*HF_HOME"): pull("small")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "fault, said",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no room left"),
        (ValueError("odd"), "could not be downloaded"),
    ],
)
def test_other_faults(fault, said, tmp_path):
    with pytest.raises(ModelError, match=said), _transfer_errors("m", tmp_path, {}): raise fault


def test_offline_names_model_folder_and_command(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as e:
        find_weights("large-v3-turbo", "transcribe", RuntimeSettings(offline=True))
    assert all(
        part in str(e.value)
        for part in ("large-v3-turbo", str(tmp_path), "ecg models pull large-v3-turbo", "ECG_OFFLINE=1")
    )


@needs_whisperx
def test_the_catalogue_is_what_the_libraries_list():
    from faster_whisper.utils import _MODELS
    from whisperx.alignment import DEFAULT_ALIGN_MODELS_HF, DEFAULT_ALIGN_MODELS_TORCH
    whisper = {n: m["repo"] for n, m in catalogue().items() if m["stage"] == "transcribe"}
    assert whisper == {n: r for n, r in _MODELS.items() if n not in ("large", "turbo")}
    align = {m["languages"][0]: n for n, m in catalogue().items() if m["stage"] == "align"}
    assert align == {**DEFAULT_ALIGN_MODELS_TORCH, **DEFAULT_ALIGN_MODELS_HF}
    assert all(isinstance(m["mb"], int) and "licence" in m for m in catalogue().values())


def test_onnxruntime_reports_nothing_to_anybody(tmp_path):
    "Since 1.32 it keeps a device's id and events in the home folder and sends them to its makers"
    script = "from ecg_audio_nb.models import onnx_session; onnx_session('silero_vad', 1, 'cpu')"
    environ = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environ |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name or path.name == "deviceid"]
