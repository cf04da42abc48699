"""What the machine says of itself: cores, memory, disk, GPUs, caches; nothing heavy is imported"""

import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def probe(name: str, *args: object, limit: float = 60) -> dict:
    "Run a function of `probe.py` in a child process: its answer, or `error` (one line) if it ended badly"
    command = [sys.executable, "-P", str(Path(__file__).with_name("probe.py")), name, *map(str, args)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {limit:g} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    lines = done.stderr.strip().splitlines()
    return {"error": lines[-1] if lines else f"ended with status {done.returncode}"}


# Limits of control groups


def _control_groups() -> set[Path]:
    "Paths of the control groups this process is in, relative to a controller's folder"
    listing = Path("/proc/self/cgroup")
    lines = listing.read_text().splitlines() if listing.exists() else []
    return {Path(line.split(":", 2)[2].strip("/")) for line in lines} | {Path()}


def _group_files(root: Path, controller: str, *names: str) -> Iterator[list[list[str]]]:
    "Yield the words of control group files, from this process's group up to the root; versions 1 and 2"
    bases = ("", controller, "cpu,cpuacct", "unified")
    paths = {parent for path in _control_groups() for parent in (path, *path.parents)}
    for folder in sorted({root / base / path for base in bases for path in paths}):
        with suppress(OSError):
            yield [(folder / name).read_text().split() for name in names]


def threads() -> int:
    "Count the processors that this process may run on, as most libraries do"
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores(root: Path = CGROUP) -> float:
    "Count the processor cores this process may use; a container's limit may be a fraction"
    limits = [pair for [pair] in _group_files(root, "cpu", "cpu.max")]
    limits += [(q, p) for [[q], [p]] in _group_files(root, "cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
    allowed = [int(quota) / int(period) for quota, period in limits if quota != "max" and int(quota) > 0]
    return min([float(threads()), *allowed])


# Memory and processes


@dataclass(frozen=True)
class Memory:
    "Memory of the machine, MB (2**20 bytes)"

    total: float
    available: float  # without swapping
    swap: float  # size of the swap space


def memory() -> Memory:
    "Read how much memory the machine has"
    import psutil

    now = psutil.virtual_memory()
    return Memory(now.total / 2**20, now.available / 2**20, psutil.swap_memory().total / 2**20)


def memory_mb(root: Path = CGROUP) -> float:
    "Memory this process may use, MB: the machine's, or less where a container limits it"
    names = ("memory.max", "memory.limit_in_bytes")
    limits = [value for name in names for [[value]] in _group_files(root, "memory", name)]
    return min([memory().total] + [int(value) / 2**20 for value in limits if value != "max"])


def rss_mb() -> float | None:
    "Memory of this process and its children, MB; None where it can't be read"
    import psutil

    total = None
    with suppress(psutil.Error):
        process = psutil.Process()
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total = (total or 0) + one.memory_info().rss / 2**20
    return total


def die_with_parent(number: int, parent: int | None = None) -> None:
    "Send a signal to this process when its parent ends (Linux); `parent`: its id, if it may have ended"
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    parent = parent or os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, number)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended in between
        os.kill(os.getpid(), number)


def cpu_model() -> str:
    "Name of the processor"
    with suppress(OSError):
        if line := re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text()):
            return line[1]
    return platform.processor() or platform.machine()


# GPUs


def has_nvidia_driver() -> bool:
    "Whether NVIDIA's kernel driver is loaded"
    return Path("/proc/driver/nvidia/version").exists()


@lru_cache
def gpus() -> tuple[str | None, tuple[str, ...]]:
    "The driver's version and the GPUs' names; (None, ()) where there is no driver or no NVML package"
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        names = [_text(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
        return _text(pynvml.nvmlSystemGetDriverVersion()), tuple(names)
    except Exception:  # NVML's errors are many, and each means that nothing is known
        return None, ()


def visible_gpus() -> list[str]:
    "What CUDA_VISIBLE_DEVICES must say for each GPU that this process may use"
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(i) for i in range(len(gpus()[1]))]
    names = [name.strip() for name in given.split(",")]
    hidden = next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))
    return names[:hidden]  # CUDA reads no further


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else value


def gpu_usage() -> tuple[float | None, float | None]:
    "Memory in use (MB, of all GPUs) and the highest load (percent); None without a GPU"
    if not gpus()[1]:
        return None, None
    import pynvml

    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(len(gpus()[1]))]
        used = sum(pynvml.nvmlDeviceGetMemoryInfo(handle).used for handle in handles)
        load = max(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in handles)
    except pynvml.NVMLError:
        return None, None
    return used / 2**20, load


_THROTTLE = {  # NVML's reasons to slow a GPU down
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "heat",
    0x40: "heat",
    0x80: "power brake",
}


def describe_gpu(gpu: dict) -> str:
    "Describe a GPU of the probe `nvml` in a line"
    capability = ".".join(map(str, gpu["capability"] or ["?"]))
    return (
        f"{gpu['name']}, {gpu['total_mb']:,} MB ({gpu['free_mb']:,} free), compute capability {capability}, "
        f"{gpu['celsius']} °C, ECC {'on' if gpu['ecc'] else 'off'}"
    )


def gpu_problems(gpu: dict) -> Iterator[str]:
    "Yield what makes a GPU of the probe `nvml` slow or unfit"
    if gpu["processes"]:
        numbers = ", ".join(map(str, gpu["processes"]))
        yield f"{len(gpu['processes'])} other processes on the GPU: {numbers}"
    if gpu["free_mb"] < 0.5 * gpu["total_mb"]:
        yield "less than half of its memory is free"
    if gpu["errors"]:
        yield f"{gpu['errors']} memory errors that ECC could not correct"
    reasons = sorted({word for bit, word in _THROTTLE.items() if (gpu["throttle"] or 0) & bit})
    if reasons:
        yield f"slowed down by {', '.join(reasons)}"
    if (gpu["capability"] or [7])[0] < 5:
        yield "older than today's torch and CTranslate2 support"


# Caches and tokens


def cache_home() -> Path:
    "The folder of caches, as the Hugging Face libraries and torch choose it on every system"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def own_cache() -> Path:
    "The folder of this package's cache: the system's own for this user (XDG_CACHE_HOME on Linux)"
    from platformdirs import user_cache_path

    return user_cache_path("ecg_audio_nb", appauthor=False)


def pip_cache() -> Path:
    "The folder of pip's cache"
    from platformdirs import user_cache_path

    return Path(os.environ.get("PIP_CACHE_DIR") or user_cache_path("pip", appauthor=False))


def hub_home() -> Path:
    "The folder of the Hugging Face libraries"
    return Path(os.environ.get("HF_HOME") or cache_home() / "huggingface")


def hub_cache() -> Path:
    "The folder of the Hugging Face cache, as its own library reads the environment"
    return Path(os.environ.get("HF_HUB_CACHE") or hub_home() / "hub").expanduser()


def torch_cache() -> Path:
    "The folder that torch downloads into"
    return Path(os.environ.get("TORCH_HOME") or cache_home() / "torch").expanduser() / "hub/checkpoints"


def hub_token() -> tuple[str | None, str | None]:
    "Where the Hugging Face token is, or None; and what is wrong with it, or None"
    if any(os.environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")):
        return "in the environment", None
    path = Path(os.environ.get("HF_TOKEN_PATH") or hub_home() / "token").expanduser()
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except FileNotFoundError:
        return None, None
    except OSError as e:
        return str(path), f"can't be read: {e.strerror}"
    if not text:
        return str(path), "is empty"
    if not mode & 0o444:
        return str(path), "gives nobody the right to read it"
    return str(path), "can be read by every user of this machine" if mode & 0o044 else None


# Folders


def short_path(path: object) -> str | None:
    "A path for people: … for this environment, ~ for the home folder; None for None"
    if not path:
        return None
    packages = sysconfig.get_paths()["purelib"]
    return str(path).replace(packages, "…").replace(sys.prefix, "…").replace(str(Path.home()), "~")


def folder_mb(folder: Path, limit: float = 1.0) -> float:
    "Size of a folder, MB, each file counted once; a lower bound if `limit` seconds end first"
    end, sizes, waiting = time.monotonic() + limit, {}, [folder]
    while waiting and time.monotonic() < end:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values()) / 2**20


@dataclass(frozen=True)
class Space:
    "What was found of the room in a folder"

    status: str  # ok, warn or fail
    observed: str
    why: str = ""  # what breaks; empty if nothing does


def _existing(folder: Path) -> Path:
    "The folder, or the nearest one above it that exists"
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _write_problem(folder: Path) -> str | None:
    "Why nothing can be written into a folder, or None"
    if not folder.is_dir():
        return "it is no folder"
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as e:
        return e.strerror
    return None


def check_space(name: str, folder: Path, wanted: float) -> Space:
    "Check a folder: room for `wanted` MB, inodes, the right to write"
    existing = _existing(folder)
    disk, problem = os.statvfs(existing), _write_problem(existing)
    free = disk.f_bavail * disk.f_frsize / 2**20
    inodes = disk.f_favail / disk.f_files if disk.f_files else 1
    observed = f"{name} {short_path(folder)}: {free:,.0f} MB free"
    if free < wanted:
        why = f"{name}: {wanted:,.0f} MB are wanted; writing ends with `No space left on device`"
        return Space("fail", observed, why)
    if inodes < 0.001:
        why = f"{name}: no inodes left, which is reported as `No space left on device` too"
        return Space("fail", observed, why)
    if problem:
        return Space("fail", observed, f"{name} can't be written: {problem}")
    if free < wanted + 1024:
        return Space("warn", observed, f"{name}: little room")
    return Space("ok", observed)


# Threads of numpy's matrix products

_blas_lock, _blas_users, _blas_limit = threading.Lock(), 0, None


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Keep numpy's matrix products to one thread, in this process, while the block runs

    The stages run side by side and use all processors already; threads of small products only wait for each
    other.
    """
    global _blas_users, _blas_limit
    from threadpoolctl import threadpool_limits

    with _blas_lock:
        if not _blas_users:
            _blas_limit = threadpool_limits(1, user_api="blas")
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if not _blas_users:
                _blas_limit.restore_original_limits()
