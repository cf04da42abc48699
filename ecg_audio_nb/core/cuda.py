"""CUDA without torch: find cuBLAS, load it before CTranslate2 needs it, and read the GPU's free memory

CTranslate2 4.8 contains the CUDA runtime and opens one more library by name, `libcublas.so.12`, which needs
`libcublasLt.so.12`. NVIDIA's wheel puts both where the loader does not look. Once a process has loaded a
library by its path, the loader finds it by its name.
"""

import ctypes
import os
import sys
from pathlib import Path

CUBLAS = "libcublasLt.so.12", "libcublas.so.12"  # in loading order


def wheel_folders() -> list[Path]:
    "List the library folders of NVIDIA's wheels: `nvidia/cublas/lib`, or `nvidia/cu12/lib` of newer ones"
    roots = [Path(p) / "nvidia" for p in dict.fromkeys(sys.path) if p]
    return [folder for root in roots for folder in sorted(root.glob("*/lib")) if folder.is_dir()]


def toolkit_folders() -> list[Path]:
    "List the library folders of installed CUDA toolkits: CUDA_HOME, CUDA_PATH, /usr/local/cuda*"
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    homes += sorted(Path("/usr/local").glob("cuda*"), reverse=True)
    folders = [home / sub for home in homes for sub in ("lib64", "lib", "targets/x86_64-linux/lib")]
    return [folder for folder in folders if folder.is_dir()]


def _is_loaded(name: str) -> bool:
    "Whether this process has loaded a library of that name"
    try:
        ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return False
    return True


def _candidates(name: str) -> list[str]:
    "List what to try for a library, in order: NVIDIA's wheels, the loader's own search, CUDA toolkits"
    in_wheels = [str(f / name) for f in wheel_folders() if (f / name).exists()]
    in_toolkits = [str(f / name) for f in toolkit_folders() if (f / name).exists()]
    return [*in_wheels, name, *in_toolkits]


def _load(name: str) -> tuple[str | None, list[str]]:
    "Load the first candidate that works: (what was loaded, or None; the loader's errors on files that exist)"
    errors = []
    for candidate in _candidates(name):
        try:
            ctypes.CDLL(candidate, mode=ctypes.RTLD_GLOBAL)
        except OSError as e:
            if not str(e).startswith(f"{name}: cannot open shared object file"):
                errors.append(str(e))
        else:
            return candidate, errors
    return None, errors


def preload_cuda() -> tuple[list[str], str | None]:  # libraries loaded by this call; the problem, or None
    "Load cuBLAS into this process, so that CTranslate2 finds it; a second call loads nothing"
    if not sys.platform.startswith("linux"):
        return [], None
    loaded = []
    for name in CUBLAS:
        if _is_loaded(name):
            continue
        candidate, errors = _load(name)
        if candidate is None:
            reason = f"{name} does not load ({'; '.join(errors)})" if errors else f"{name} is not installed"
            install = "pip install 'ecg-audio-nb[cuda]'"
            return loaded, f"CTranslate2 needs cuBLAS on a GPU, and {reason}: {install}"
        loaded.append(candidate)
    return loaded, None


# Free memory, from the driver's library


class _Memory(ctypes.Structure):  # nvmlMemory_t
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def _visible(device: int) -> str | None:
    "The index or UUID that CUDA_VISIBLE_DEVICES has for CUDA's device number; None: there is no such device"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return str(device)
    names = [name.strip() for name in visible.split(",")]
    return names[device] if device < len(names) and names[device] else None


def _free_bytes(nvml, device: int) -> int | None:
    "Free memory of a GPU in bytes, or None; `nvml` is initialised"
    handle, memory, name = ctypes.c_void_p(), _Memory(), _visible(device)
    if name is None:
        return None
    if name.isdigit():
        status = nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(handle))
    else:
        status = nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle))
    if status or nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
        return None
    return memory.free


def cuda_free_mb(
    device: int = 0,  # CUDA's number of the GPU in this process
) -> float | None:  # MB (2**20 bytes); None where there is no GPU, or the driver does not say
    "Read the free memory of a GPU without torch"
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    if nvml.nvmlInit_v2():
        return None
    try:
        free = _free_bytes(nvml, device)
    finally:
        nvml.nvmlShutdown()
    return None if free is None else free / 2**20
