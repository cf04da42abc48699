"""A GPU without torch: cuBLAS found and loaded by the real loader, each case in a process of its own; no GPU
is needed"""
import json, os, shutil, subprocess, sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ecg_audio_nb.core import cuda

CC = shutil.which("cc")
needs_cc = pytest.mark.skipif(not CC, reason="no C compiler to make libraries with")
CHILD = """
import ctypes, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("cuda", sys.argv[1])
cuda = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cuda)
sys.path += sys.argv[2:]
first, second = cuda.preload_cuda(), cuda.preload_cuda()
try: named = bool(ctypes.CDLL("libcublas.so.12"))
except OSError: named = False
print(json.dumps({"loaded": first[0], "problem": first[1], "again": second[0], "by_name": named, "free_mb": cuda.cuda_free_mb()}))
"""


def child(*path, **environment):
    "What `preload_cuda` and `cuda_free_mb` say in a process whose path for packages is `path` alone"
    plain = {
        k: v
        for k, v in os.environ.items()
        if k not in ("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES")
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", CHILD, cuda.__file__, *map(str, path)],
        capture_output=True,
        text=True,
        env=plain | environment,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def library(path, source="", *flags):
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        CC,
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{path.name}",
        "-x",
        "c",
        "-",
        "-o",
        path,
        "-x",
        "none",
        *flags,
    ]
    subprocess.run(command, input=source, text=True, check=True)
    return path


@pytest.fixture
def cublas():
    """Make both libraries in a folder, the first needing the second as NVIDIA's do, and hand back their paths
    in loading order"""
    def make(folder):
        lt = library(folder / "libcublasLt.so.12", "int cublas_lt(void) { return 1; }")
        return [
            str(lt),
            str(
                library(
                    folder / "libcublas.so.12",
                    "int cublas_lt(void); int cublas(void) { return cublas_lt(); }",
                    lt,
                )
            ),
        ]
    return make


@pytest.mark.skipif(bool(shutil.which("nvidia-smi")), reason="this machine may have cuBLAS of its own")
def test_without_cublas_one_message_names_the_extra():
    seen = child()
    assert seen["loaded"] == [] and not seen["by_name"]
    assert (
        "libcublasLt.so.12 is not installed" in seen["problem"]
        and "pip install 'ecg-audio-nb[cuda]'" in seen["problem"]
    )


@needs_cc
@pytest.mark.parametrize("layout", ["nvidia/cublas/lib", "nvidia/cu12/lib"])
def test_a_wheel_is_found_and_loaded_once(tmp_path, cublas, layout):
    files = cublas(tmp_path / layout)
    seen = child(tmp_path)
    assert (seen["loaded"], seen["problem"], seen["again"], seen["by_name"]) == (files, None, [], True)


@needs_cc
@pytest.mark.parametrize("name", ["CUDA_HOME", "CUDA_PATH"])
def test_a_toolkit_that_the_environment_names(tmp_path, cublas, name):
    files = cublas(tmp_path / "cuda/lib64")
    seen = child(**{name: str(tmp_path / "cuda")})
    assert (seen["loaded"], seen["problem"], seen["by_name"]) == (files, None, True)


@needs_cc
def test_what_the_loader_finds_by_itself(tmp_path, cublas):
    cublas(tmp_path)
    seen = child(LD_LIBRARY_PATH=str(tmp_path))
    assert (seen["loaded"], seen["problem"]) == (list(cuda.CUBLAS), None)


@needs_cc
def test_the_wheel_goes_before_an_older_toolkit(tmp_path, cublas):
    files = cublas(tmp_path / "site/nvidia/cublas/lib")
    cublas(tmp_path / "old")
    assert child(tmp_path / "site", LD_LIBRARY_PATH=str(tmp_path / "old"))["loaded"] == files


@needs_cc
def test_a_broken_file_is_passed_over_and_named_when_nothing_else_is_there(tmp_path, cublas):
    wheel = tmp_path / "nvidia/cublas/lib/libcublasLt.so.12"
    wheel.parent.mkdir(parents=True)
    wheel.write_text("an interrupted download")
    seen = child(tmp_path)
    assert seen["loaded"] == [] and str(wheel) in seen["problem"] and "does not load" in seen["problem"]
    files = cublas(tmp_path / "cuda/lib64")
    seen = child(tmp_path, CUDA_HOME=str(tmp_path / "cuda"))
    assert (seen["loaded"], seen["problem"]) == (files, None)


@needs_cc
def test_a_library_that_lacks_its_own_is_named(tmp_path, cublas):
    lt, main = map(Path, cublas(tmp_path / "nvidia/cublas/lib"))
    library(
        main,
        "int gone(void); int cublas(void) { return gone(); }",
        library(tmp_path / "libgone.so.1", "int gone(void) { return 1; }"),
    )
    seen = child(tmp_path)
    assert seen["loaded"] == [str(lt)] and "libgone.so.1: cannot open shared object file" in seen["problem"]


REAL = [f for f in cuda.wheel_folders() if (f / "libcublas.so.12").exists()]

@pytest.mark.skipif(not REAL, reason="NVIDIA's cuBLAS wheel is not installed")
def test_nvidias_own_wheel_loads_on_a_machine_without_a_gpu():
    seen = child(REAL[0].parents[2])
    assert (
        seen["loaded"] == [str(REAL[0] / n) for n in cuda.CUBLAS] and seen["by_name"] and not seen["problem"]
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of Linux libraries")
def test_ctranslate2_opens_cublas_and_no_cudnn():
    "What the extra `cuda` has to bring is what the installed CTranslate2 opens by name"
    folder = Path(find_spec("ctranslate2").origin).parents[1] / "ctranslate2.libs"
    names = b"".join(p.read_bytes() for p in folder.glob("libctranslate2*"))
    assert b"libcublas.so.12" in names and b"libcudnn" not in names


# Free memory

NVML = """
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory;
static long devices[] = {1, 2};
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { if (i > 1) return 2; *h = &devices[i]; return 0; }
int nvmlDeviceGetHandleByUUID(const char *u, void **h) { if (strcmp(u, "GPU-b")) return 6; *h = &devices[1]; return 0; }
int nvmlDeviceGetMemoryInfo(void *h, memory *m) { m->total = 1ull << 34; m->free = *(long *)h * 3ull << 30; m->used = 0; return 0; }
"""


@needs_cc
@pytest.mark.parametrize(
    "visible, free",
    [(None, 3072), ("1", 6144), ("1,0", 6144), ("GPU-b", 6144), ("GPU-c", None), ("7", None), ("", None)],
)
def test_free_memory_of_the_gpu_that_cuda_calls_0(tmp_path, visible, free):
    library(tmp_path / "libnvidia-ml.so.1", NVML.replace("INIT", "0"))
    more = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert child(LD_LIBRARY_PATH=str(tmp_path), **more)["free_mb"] == free


@needs_cc
def test_a_driver_that_does_not_answer_tells_no_memory(tmp_path):
    library(tmp_path / "libnvidia-ml.so.1", NVML.replace("INIT", "9"))
    assert child(LD_LIBRARY_PATH=str(tmp_path))["free_mb"] is None


@pytest.mark.gpu
def test_a_real_gpu():
    assert cuda.preload_cuda()[1] is None and cuda.cuda_free_mb() > 0
