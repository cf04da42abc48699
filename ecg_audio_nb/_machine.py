"""What the machine says of itself, read from the system's own files; nothing heavy is imported"""
import glob, json, os, platform, re, subprocess, sys, time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def probe(name:str, *args, limit:float=60)->dict:
    "A function of `_probe.py` in a child: what it printed, or `error` (one line) if it ended badly"
    command = [sys.executable, str(Path(__file__).with_name("_probe.py")), name, *map(str, args)]
    try: done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit)
    except subprocess.TimeoutExpired: return {"error": f"no answer within {limit:g} s"}
    if done.returncode == 0: return json.loads(done.stdout.strip().splitlines()[-1])
    said = done.stderr.strip().splitlines()
    return {"error": said[-1] if said else f"ended with status {done.returncode}"}


# Control groups

def _group_files(root, controller, *names):
    "The words of a control group's files, from this process's own group up to the root; both versions, and both at once"
    own = Path("/proc/self/cgroup")
    paths = {Path(line.split(":", 2)[2].strip("/")) for line in (own.read_text() if own.exists() else "").splitlines()} | {Path()}
    folders = {root / base / p for base in ("", controller, "cpu,cpuacct", "unified") for path in paths for p in (path, *path.parents)}
    for folder in sorted(folders):
        with suppress(OSError): yield [(folder / n).read_text().split() for n in names]


def cores(root:Path=CGROUP)->float:
    "Processor cores that this process may use; may be a fraction"
    found = [float(threads())]
    pairs = [pair for [pair] in _group_files(root, "cpu", "cpu.max")]
    pairs += [(q, p) for [[q], [p]] in _group_files(root, "cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
    return min(found + [int(q) / int(p) for q, p in pairs if q != "max" and int(q) > 0])


def threads()->int:
    "What libraries take for the number of processors"
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def meminfo()->dict[str, float]:
    "/proc/meminfo in MB; empty where there is none"
    path = Path("/proc/meminfo")
    return {k: int(v) / 1024 for k, v in re.findall(r"(\w+):\s+(\d+)", path.read_text())} if path.exists() else {}


def memory_mb(root:Path=CGROUP)->float|None:
    "Memory this process may use, MB; None where it can't be told"
    if not (info := meminfo()): return None
    said = [v for n in ("memory.max", "memory.limit_in_bytes") for [[v]] in _group_files(root, "memory", n)]
    return min([info["MemTotal"]] + [int(v) / 2**20 for v in said if v != "max"])


# Disk

def folder_mb(folder:Path, limit:float=1.0)->float:
    "What a folder holds, MB, each file once however many links lead to it; at least that, if `limit` seconds are not enough"
    end, seen, todo = time.monotonic() + limit, {}, [folder]
    while todo and time.monotonic() < end:
        with suppress(OSError), os.scandir(todo.pop()) as entries:
            for e in entries:
                if e.is_dir(follow_symlinks=False):
                    todo.append(e.path)
                    continue
                with suppress(OSError):
                    s = e.stat(follow_symlinks=False)
                    seen[s.st_dev, s.st_ino] = s.st_blocks * 512
    return sum(seen.values()) / 2**20


# The loader

_SET_IN = "/etc/profile.d/*", "/etc/environment", "/etc/profile", "/etc/bash.bashrc", "~/.bashrc", "~/.profile"


def set_in(entry:str):
    "Files that put an entry into `LD_LIBRARY_PATH`"
    for path in (Path(p) for pattern in _SET_IN for p in sorted(glob.glob(os.path.expanduser(pattern)))):
        with suppress(OSError):
            lines = [x for x in path.read_text(errors="replace").splitlines() if "LD_LIBRARY_PATH" in x and not x.lstrip().startswith("#")]
            if any(entry.rstrip("/") in x for x in lines): yield path


def without(entries):
    "Commands that take entries out of `LD_LIBRARY_PATH`"
    rest = [e for e in os.environ.get("LD_LIBRARY_PATH", "").split(":") if e and e not in entries]
    yield f"export LD_LIBRARY_PATH={':'.join(rest)}" if rest else "unset LD_LIBRARY_PATH"
    for entry in entries:
        for file in set_in(entry): yield f"sed -i '\\#{entry.rstrip('/')}#s/^/# /' {file}  # it is set there for every login"


# The card and the process

@lru_cache
def cards()->tuple[str|None, tuple[str, ...]]:
    "The driver's version and the cards' names; (None, ()) where there is no driver or no NVML package"
    try:
        import pynvml as nv
        nv.nvmlInit()
        text = lambda s: s.decode() if isinstance(s, bytes) else s
        names = [text(nv.nvmlDeviceGetName(nv.nvmlDeviceGetHandleByIndex(i))) for i in range(nv.nvmlDeviceGetCount())]
        return text(nv.nvmlSystemGetDriverVersion()), tuple(names)
    except Exception: return None, () # NVML's errors are many, and each means that nothing is known


def card_now()->tuple:
    "(MB in use, percent busy) of all cards; None without one"
    if not cards()[1]: return None, None
    import pynvml as nv
    handles = [nv.nvmlDeviceGetHandleByIndex(i) for i in range(len(cards()[1]))]
    try: return (sum(nv.nvmlDeviceGetMemoryInfo(h).used for h in handles) / 2**20,
                 max(nv.nvmlDeviceGetUtilizationRates(h).gpu for h in handles))
    except nv.NVMLError: return None, None


def cpu_model()->str:
    "The processor's name"
    with suppress(OSError):
        if said := re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text()): return said[1]
    return platform.processor() or platform.machine()


def rss_mb()->float|None:
    "Memory of this process and its children, MB; None where it can't be told"
    total, todo = None, [os.getpid()]
    while todo:
        at = Path(f"/proc/{todo.pop()}")
        with suppress(OSError, ValueError, IndexError):
            total = (total or 0) + int((at / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            for task in (at / "task").iterdir(): todo += map(int, (task / "children").read_text().split())
    return total
