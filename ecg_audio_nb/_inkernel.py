"""Inside a warm kernel: what it was like before the first notebook, and how it gets back there after each.

`begin` once, then for each notebook `prepare` before it and `reset` after it. What `reset` can put back it puts back;
what it can only notice (a patched function, a thread that stayed) it reports, and the kernel is replaced.

Resident on purpose: imported modules, and the models that the package keeps.
"""
import gc, logging, os, random, signal, sys, threading, types, warnings
from pathlib import Path

_SKIP = {"__main__", "__mp_main__", "builtins"} # torch makes __mp_main__; IPython changes builtins
_STREAMS = {("sys", n) for n in ("displayhook", "excepthook", "breakpointhook", "unraisablehook")} | {("getpass", "getpass")}
_PLAIN = (int, float, complex, str, bytes, bool, type(None), tuple, frozenset)
_OURS = __package__

_base = None


def begin(expected_parent:int=0):
    "Die with the runner; remember everything"
    global _base
    if expected_parent and sys.platform.startswith("linux"):
        import ctypes
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
        if os.getppid() != expected_parent: os._exit(1)
    gc.collect()
    gc.freeze()
    _base = _Base()


def prepare(cwd:str, env:dict, seed):
    "The notebook's folder, environment and seeds"
    os.chdir(cwd)
    os.environ.update(env)
    _seed(0 if seed is None else seed)


def _seed(n):
    random.seed(n)
    if np := sys.modules.get("numpy"): np.random.seed(n % 2**32)
    if torch := sys.modules.get("torch"):
        if hasattr(torch, "manual_seed"): torch.manual_seed(n)


def reset()->dict:
    "Back to the beginning: `bad` says what could not be put back, `rss_mb` what the process holds"
    return {"bad": _base.restore(), "rss_mb": _rss_mb()}


def _rss_mb():
    try: return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError: return None


class _Base:
    def __init__(self):
        from IPython import get_ipython
        self.ip = get_ipython()
        self.names = dict(self.ip.user_ns)
        self.hidden = dict(self.ip.user_ns_hidden)
        self.magics = {kind: dict(table) for kind, table in self.ip.magics_manager.magics.items()}
        self.hooks = {event: list(found) for event, found in self.ip.events.callbacks.items()}
        self.env, self.cwd, self.path, self.argv = dict(os.environ), os.getcwd(), list(sys.path), list(sys.argv)
        self.meta_path, self.path_hooks = list(sys.meta_path), list(sys.path_hooks)
        self.recursion, self.switch, self.umask = sys.getrecursionlimit(), sys.getswitchinterval(), _umask()
        self.streams = sys.stdout, sys.stderr, sys.displayhook, sys.excepthook
        self.filters, root = list(warnings.filters), logging.getLogger()
        self.level, self.handlers, self.disabled = root.level, list(root.handlers), root.manager.disable
        self.signals = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        self.threads = set(threading.enumerate())
        self.settings = {} # of libraries, from the first time they are seen
        self.extensions = set(self.ip.extension_manager.loaded)
        self.modules, self.marks = set(sys.modules), {}
        self._remember(self.modules)
        self._take_settings()

    # -- back

    def restore(self)->list:
        bad = [*self._threads(), *self._extensions(), *self._patched(), *self._cuda()]
        self._shell()
        self._process()
        self._libraries()
        gc.collect()
        if (torch := sys.modules.get("torch")) and hasattr(torch, "cuda") and torch.cuda.is_initialized(): torch.cuda.empty_cache()
        if trim := _malloc_trim(): trim(0)
        return bad

    def _shell(self):
        ip = self.ip
        ip.reset(new_session=True)
        ip.user_ns.update({k: v for k, v in self.names.items() if k not in ("In", "Out", "_ih", "_oh", "_dh")})
        ip.user_ns_hidden.update(self.hidden)
        for kind, table in self.magics.items():
            ip.magics_manager.magics[kind].clear()
            ip.magics_manager.magics[kind].update(table)
        for event, found in self.hooks.items(): # those of libraries stay: the drawing of figures is one
            ip.events.callbacks[event][:] = found + [f for f in ip.events.callbacks[event] if f not in found and f.__module__ != "__main__"]
        for ns in [getattr(ip, "input_transformers_post", []), ip.ast_transformers]: ns.clear()
        if (sys.stdout, sys.stderr, sys.displayhook, sys.excepthook) != self.streams:
            sys.stdout, sys.stderr, sys.displayhook, sys.excepthook = self.streams

    def _process(self):
        os.environ.clear()
        os.environ.update(self.env)
        os.chdir(self.cwd)
        os.umask(self.umask)
        sys.path[:], sys.argv[:], sys.meta_path[:], sys.path_hooks[:] = self.path, self.argv, self.meta_path, self.path_hooks
        sys.setrecursionlimit(self.recursion)
        sys.setswitchinterval(self.switch)
        warnings.filters[:] = self.filters
        getattr(warnings, "_filters_mutated", getattr(warnings, "_filters_mutated_lock_held", lambda: None))()
        root = logging.getLogger()
        root.setLevel(self.level)
        root.handlers[:], root.manager.disable = self.handlers, self.disabled
        for s, handler in self.signals.items():
            if signal.getsignal(s) is not handler: signal.signal(s, handler)
        import decimal, socket
        decimal.setcontext(decimal.DefaultContext.copy())
        socket.setdefaulttimeout(None)

    # -- libraries: what they were like when they were first seen

    def _take_settings(self):
        for name, (get, _) in _LIBRARIES.items():
            if name in sys.modules and name not in self.settings: self.settings[name] = get(sys.modules[name])

    def _libraries(self):
        "Those imported by this notebook are put back to what a fresh import has, where that is known"
        for name, (get, put) in _LIBRARIES.items():
            if name in sys.modules: put(sys.modules[name], self.settings.get(name))
        self._take_settings()

    # -- noticed

    def _threads(self):
        new = [t for t in threading.enumerate() if t not in self.threads and t.is_alive()]
        own = [t for t in new if _resident(t)]
        self.threads |= set(own)
        return [f"a thread stayed: {t.name}" for t in new if t not in own]

    def _extensions(self):
        return [f"an extension stayed: {e}" for e in set(self.ip.extension_manager.loaded) - self.extensions]

    def _remember(self, names):
        for name in names:
            module = sys.modules.get(name)
            if isinstance(module, types.ModuleType) and name not in _SKIP: self.marks[name] = _marks(name, module)

    def _patched(self):
        "Names that mean another function than before, unless the import of a new library put it there"
        new, bad = set(sys.modules) - self.modules, []
        for name, before in self.marks.items():
            module = sys.modules.get(name)
            if not isinstance(module, types.ModuleType): continue
            now = _marks(name, module)
            for key, value in before.items():
                if key in now and now[key] is value: continue
                if (name, key) in _STREAMS or key in now and _plainly_equal(now[key], value): continue
                if key in now and _by_import(now[key], new): before[key] = now[key]; continue
                bad.append(f"{name}.{key} is {'another' if key in now else 'gone'}")
            for key in now.keys() - before.keys():
                if getattr(now[key], "__module__", None) == "__main__": bad.append(f"{name}.{key} is the notebook's")
        self._remember(new)
        self.modules |= new
        return bad

    def _cuda(self):
        torch = sys.modules.get("torch")
        if not (torch and hasattr(torch, "cuda") and torch.cuda.is_initialized()): return []
        try: torch.cuda.synchronize()
        except RuntimeError as e: return [f"CUDA is in error: {e}"]
        return []


def _umask():
    now = os.umask(0o22)
    os.umask(now)
    return now


def _malloc_trim():
    import ctypes
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def _resident(thread):
    "Threads that stay by design: the package's (its children are listened to), progress bars, pools of torch, IPython's own"
    if (getattr(getattr(thread, "_target", None), "__module__", None) or "").partition(".")[0] == _OURS: return True
    return type(thread).__module__.split(".")[0] in ("tqdm", "torch", "IPython", "ipykernel", "zmq", "tornado", "asyncio")


def _marks(name, module):
    "What must stay the same of a module: its functions and classes; their methods and its constants too, where they are ours"
    found = {k: v for k, v in vars(module).items() if callable(v)}
    if name.partition(".")[0] == _OURS or name in ("math", "json", "pathlib", "os.path", "posixpath", "shutil", "time", "random"):
        found |= {k: v for k, v in vars(module).items() if isinstance(v, _PLAIN) and not k.startswith("_")}
        for k, v in list(found.items()):
            if isinstance(v, type) and v.__module__ == name: found |= {f"{k}.{m}": f for m, f in vars(v).items() if callable(f)}
    return found


def _plainly_equal(a, b): return isinstance(a, _PLAIN) and type(a) is type(b) and a == b


def _by_import(value, new):
    "Whether a function is one of a library imported since (torch and others change modules they find)"
    home = getattr(value, "__module__", None) or getattr(type(value), "__module__", "")
    return home in new and home.partition(".")[0] not in sys.stdlib_module_names


# -- what libraries are set to: name -> (get, put back)

def _get_numpy(np): return np.get_printoptions(), np.geterr()

def _put_numpy(np, was):
    if was is None: return # imported by this notebook: as it left it is not known to be as it came
    np.set_printoptions(**{k: v for k, v in was[0].items() if k != "override_repr"})
    np.seterr(**was[1])

def _get_torch(torch): return None

def _put_torch(torch, _):
    if not hasattr(torch, "set_default_dtype"): return
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    if torch.get_default_device().type != "cpu": torch.set_default_device(None)

def _get_matplotlib(mpl): return None

def _put_matplotlib(mpl, _):
    if plt := sys.modules.get("matplotlib.pyplot"): plt.close("all")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore") # some names are on their way out
        mpl.rcParams.update({k: v for k, v in mpl.rcParamsOrig.items() if k != "backend"})

def _get_pandas(pd): return None

def _put_pandas(pd, _):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pd.reset_option("display")


_LIBRARIES = {"numpy": (_get_numpy, _put_numpy), "torch": (_get_torch, _put_torch),
              "matplotlib": (_get_matplotlib, _put_matplotlib), "pandas": (_get_pandas, _put_pandas)}
