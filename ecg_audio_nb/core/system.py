"""What the machine says of itself, read from the system's own files; nothing heavy is imported"""
import glob, html, json, os, platform, re, shutil, subprocess, sys, sysconfig, tempfile, threading, time
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def probe(name:str, *args, limit:float=60)->dict:
    "A function of `probe.py` in a child: what it printed, or `error` (one line) if it ended badly"
    command = [sys.executable, "-P", str(Path(__file__).with_name("probe.py")), name, *map(str, args)]
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


def die_with_parent(number:int, parent:int|None=None):
    "Have this signal sent to this process when its parent ends (Linux only); `parent`: its id, if this may have ended already"
    if not sys.platform.startswith("linux"): return
    import ctypes
    parent = parent or os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, number) # PR_SET_PDEATHSIG
    if os.getppid() != parent: os.kill(os.getpid(), number) # it ended in between


# Caches

def cache_home(): return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def hub_home():
    "The folder of the Hugging Face libraries"
    return Path(os.environ.get("HF_HOME") or cache_home() / "huggingface")


def hub_cache()->Path:
    "The folder of the Hugging Face cache, as its own library reads the environment"
    return Path(os.environ.get("HF_HUB_CACHE") or hub_home() / "hub").expanduser()


def torch_cache()->Path:
    "The folder torch keeps what it downloaded in"
    return Path(os.environ.get("TORCH_HOME") or cache_home() / "torch").expanduser() / "hub/checkpoints"


# How findings look

_TINT = {"ok": "#2a9d5c", "warn": "#c77f0a", "fail": "#c8323c", "skip": "#8a8f98"}


def table_html(findings):
    cell = '<td style="text-align:left;vertical-align:top">{}</td>'
    def row(f):
        cure = "".join(f"<br><code>{html.escape(c)}</code>" for c in f.cure)
        mark = f'<b style="color:{_TINT[f.status]}">{f.status}</b>'
        return "<tr>" + "".join(map(cell.format, (html.escape(f.name), mark, html.escape(f.seen), html.escape(f.why) + cure))) + "</tr>"
    return "<table><tr><th>check<th><th>seen<th>why, and the cure</tr>" + "".join(map(row, findings)) + "</table>"


# Folders

def short(path):
    "A path for people: what lies in this environment begins with …, what lies in the home folder with ~"
    if not path: return path
    packages = sysconfig.get_paths()["purelib"]
    return str(path).replace(packages, "…").replace(sys.prefix, "…").replace(str(Path.home()), "~")


def _standing(folder):
    "The folder, or what would hold it"
    while not folder.exists() and folder != folder.parent: folder = folder.parent
    return folder


def _writable(folder):
    "None, or why nothing can be written"
    if not folder.is_dir(): return "it is no folder"
    try: tempfile.TemporaryFile(dir=folder).close()
    except OSError as e: return e.strerror


def space(what, folder, wanted):
    "(status, seen, why) of one folder"
    at = _standing(folder)
    s, fault = os.statvfs(at), _writable(at)
    free, inodes = s.f_bavail * s.f_frsize / 2**20, s.f_favail / s.f_files if s.f_files else 1
    seen = f"{what} {short(folder)}: {free:,.0f} MB free"
    if free < wanted: return "fail", seen, f"{what}: {wanted:,.0f} MB are wanted; writing ends with `No space left on device`"
    if inodes < .001: return "fail", seen, f"{what}: no inodes left, which reads as `No space left on device` too"
    if fault: return "fail", seen, f"{what} can't be written: {fault}"
    return ("warn", seen, f"{what}: little room") if free < wanted + 1024 else ("ok", seen, "")


# Programs and tokens

PACKAGES = {"libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0", "libglib-2.0.so.0": "libglib2.0-0", "libXext.so.6": "libxext6",
             "libSM.so.6": "libsm6", "libXrender.so.1": "libxrender1", "libass.so.9": "libass9"}


def missing_libraries(tool, said):
    "Names of the libraries a binary lacks"
    ldd = shutil.which("ldd")
    told = subprocess.run([ldd, tool], capture_output=True, text=True, timeout=20).stdout if ldd else ""
    return list(dict.fromkeys(re.findall(r"(\S+) => not found", told) or re.findall(r"libraries: (\S+?):", said)))


def token():
    "(where the token is or None, what is wrong with it or None)"
    if any(os.environ.get(n) for n in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")): return "in the environment", None
    path = Path(os.environ.get("HF_TOKEN_PATH") or hub_home() / "token").expanduser()
    try: mode, text = path.stat().st_mode, path.read_text().strip()
    except FileNotFoundError: return None, None
    except OSError as e: return str(path), f"can't be read: {e.strerror}"
    if not text: return str(path), "is empty"
    if not mode & 0o444: return str(path), "gives nobody the right to read it"
    return str(path), "can be read by every user of this machine" if mode & 0o044 else None


# Packages

def is_installed(pin:str)->bool: # such as "name==1.0.0"
    "Whether exactly that version of a distribution is installed here"
    name, version = pin.split("==")
    try: return metadata.version(name) == version
    except metadata.PackageNotFoundError: return False


def _plain(name): return re.sub(r"[-_.]+", "-", name).lower()


def _installed():
    "name -> distribution, the one that comes first on the path"
    found = {}
    for d in metadata.distributions():
        with suppress(Exception): found.setdefault(_plain(d.metadata["Name"]), d) # a broken record has no name
    return found


def _shadow(d):
    "The folder a package would really be imported from, if it is not the one pip knows"
    spec = find_spec(_plain(d.metadata["Name"]).replace("-", "_"))
    own = Path(str(d.locate_file(""))).resolve()
    return None if not spec or not spec.origin or Path(spec.origin).resolve().is_relative_to(own) else Path(spec.origin).parent

SET = "torch", "torchaudio", "torchcodec", "ctranslate2", "faster-whisper", "whisperx", "transformers", "numpy"


def versions()->dict[str, str]: # name -> version; those that are installed
    "The packages that must fit each other, as they would be imported"
    found = {"python": platform.python_version()}
    for name in (*SET, "pyannote-audio"):
        with suppress(metadata.PackageNotFoundError): found[name] = _version(metadata.distribution(name), name)
    return found


def side(name):
    with suppress(metadata.PackageNotFoundError): return _shadow(metadata.distribution(name))


def _version(d, name):
    if name == "pyannote-audio" or not (folder := _shadow(d)): return d.version # a namespace package has no file of its own
    texts = [(folder / f).read_text(errors="replace") for f in ("version.py", "__init__.py") if (folder / f).exists()]
    said = re.search(r"__version__\s*=\s*[\"'](.+?)[\"']", "\n".join(texts))
    return said[1] if said else d.version


def _requirement(text):
    try: from packaging.requirements import Requirement
    except ImportError: from pip._vendor.packaging.requirements import Requirement
    return Requirement(text)


def conflicts(have:dict[str, str])->list[str]: # as pip says them
    "What the installed packages require of the set, and don't get"
    out = []
    for name, d in _installed().items():
        for text in d.requires or []:
            version = have.get(_plain(re.match(r"[\w.-]*", text)[0]))
            if not version: continue
            r = _requirement(text)
            if r.marker and not r.marker.evaluate({"extra": ""}): continue
            if not r.specifier.contains(version, prereleases=True):
                out.append(f"{name} {d.version} requires {r.name}{r.specifier}, but you have {r.name} {version}")
    return out


# Kernels

def kernelspecs()->dict[str, tuple[Path, list[str]]]: # name -> its folder and command; the first on Jupyter's path
    "The kernels Jupyter finds"
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    roots = [*os.environ.get("JUPYTER_PATH", "").split(os.pathsep), os.environ.get("JUPYTER_DATA_DIR"), f"{sys.prefix}/share/jupyter",
             home / "jupyter", "/usr/local/share/jupyter", "/usr/share/jupyter"]
    found = {}
    for spec in (p for r in roots if r for p in sorted(Path(r).glob("kernels/*/kernel.json"))):
        with suppress(OSError, ValueError):
            found.setdefault(spec.parent.name.lower(), (spec.parent, json.loads(spec.read_text()).get("argv", [])))
    return found


def starts_here(command):
    "Does a kernel's command start this environment's interpreter? None: it can't start at all"
    if re.fullmatch(r"python[\d.]*", command): return True # Jupyter puts its own interpreter there
    where = shutil.which(command)
    return os.path.abspath(os.path.dirname(where)) == os.path.dirname(os.path.abspath(sys.executable)) if where else None


# What the driver said

_SLOW = {0x4: "power cap", 0x8: "hardware slowdown", 0x20: "heat", 0x40: "heat", 0x80: "power brake"} # NVML's clocks throttle reasons

def card_words(c):
    cap = ".".join(map(str, c["capability"] or ["?"]))
    return (f"{c['name']}, {c['total_mb']:,} MB ({c['free_mb']:,} free), compute capability {cap}, {c['celsius']} °C, "
            f"ECC {'on' if c['ecc'] else 'off'}")


def card_faults(c):
    if c["processes"]: yield f"{len(c['processes'])} other processes on the card: {', '.join(map(str, c['processes']))}"
    if c["free_mb"] < 0.5 * c["total_mb"]: yield "less than half of its memory is free"
    if c["errors"]: yield f"{c['errors']} memory errors that ECC could not correct"
    if slow := sorted({word for bit, word in _SLOW.items() if (c["throttle"] or 0) & bit}): yield f"slowed down by {', '.join(slow)}"
    if (c["capability"] or [7])[0] < 5: yield "older than today's torch and CTranslate2 support"


# Threads of numpy's matrix products

_blas_lock, _blas_users, _blas_limit = threading.Lock(), 0, None


@contextmanager
def single_blas_thread():
    """Keep numpy's matrix products to one thread, in this process, while the block runs

    The stages run side by side and use all processors already; threads of small products only wait for each other.
    """
    global _blas_users, _blas_limit
    from threadpoolctl import threadpool_limits
    with _blas_lock:
        if not _blas_users: _blas_limit = threadpool_limits(1, user_api="blas")
        _blas_users += 1
    try: yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if not _blas_users: _blas_limit.restore_original_limits()
