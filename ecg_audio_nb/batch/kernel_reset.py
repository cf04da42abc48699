"""What runs inside a warm kernel: remember how it was, put it back after a notebook, and tell what can't be put back.

A plain file that loads nothing: a kernel's start pays for it. What a notebook changes in its own process falls into
three kinds. Most of it is put back. Some of it is seen and can't be put back safely: `reset` returns the reasons, and
the kernel is replaced. The rest stays and isn't seen: a new attribute on a module that holds plain data, a method
replaced on a class, the contents of a library's own containers.

Libraries patch other libraries when they are imported (torch does it to inspect, pyannote to torch). So a replaced
function is the notebook's doing unless the module that defines the new one belongs to a top-level package from which
something was imported in this notebook for the first time. What was defined in a notebook never passes.
"""
import builtins, decimal, gc, linecache, logging, os, random, signal, socket, sys, threading, time, types, warnings

_SKIP = {"__main__", "__mp_main__", "builtins", "sys", "getpass", __name__} # IPython itself changes these at run time
_SIGNALS = tuple(getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGUSR1") if hasattr(signal, n))
_ERR = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"} # numpy's own
_PRINT = {"edgeitems": 3, "infstr": "inf", "linewidth": 75, "nanstr": "nan", "precision": 8, "suppress": False, "threshold": 1000,
          "formatter": None, "sign": "-", "floatmode": "maxprec", "legacy": False}
_base, _known = {}, {} # the state to go back to; module name -> (module, its callables, ids of all its values)


def _shell():
    from IPython import get_ipython
    return get_ipython()


# -- what is remembered

def baseline(parent:int|None=None)->int:
    "Remember the state that every notebook starts from; returns the process id"
    if parent:
        from ecg_audio_nb.core.system import die_with_parent
        die_with_parent(signal.SIGKILL, parent) # elsewhere ipykernel's own watch on the parent must do
    shell = _shell()
    _base.update(ns=dict(shell.user_ns), hidden=dict(shell.user_ns_hidden), env=dict(os.environ), cwd=os.getcwd(), umask=_umask(),
        path=list(sys.path), argv=list(sys.argv), meta=list(sys.meta_path), hooks=list(sys.path_hooks), recursion=sys.getrecursionlimit(),
        streams={n: getattr(sys, n) for n in ("stdin", "stdout", "stderr", "displayhook", "excepthook")},
        filters=list(warnings.filters), show=warnings.showwarning, level=logging.root.level, handlers=list(logging.root.handlers),
        disabled=logging.root.manager.disable, decimal=decimal.getcontext().copy(), signals={s: signal.getsignal(s) for s in _SIGNALS},
        socket=socket.getdefaulttimeout(), gc=(gc.isenabled(), gc.get_threshold()), builtins=dict(vars(builtins)), **_ipython(shell))
    shell.history_manager.db_cache_size = 10**9 # nothing is written: the line numbers begin again with each notebook
    _known.clear()
    _known.update(_print())
    _base.update(threads=set(threading.enumerate()), resident=_resident(), rss=rss_mb())
    gc.collect()
    gc.freeze()
    return os.getpid()


def _umask():
    now = os.umask(0o022)
    os.umask(now)
    return now


def _ipython(shell):
    "What a notebook may have done to IPython: magics, events, transformers, options, extensions"
    return {"magics": {kind: dict(table) for kind, table in shell.magics_manager.magics.items()},
            "events": {name: list(calls) for name, calls in shell.events.callbacks.items()},
            "transforms": {n: list(getattr(shell, n)) for n in ("input_transformers_post", "ast_transformers")},
            "lines": {n: list(getattr(shell.input_transformer_manager, n)) for n in ("cleanup_transforms", "line_transforms", "token_transformers")},
            "options": {n: getattr(shell, n) for n in ("ast_node_interactivity", "autocall", "automagic", "autoawait", "pdb", "xmode")
                        if hasattr(shell, n)},
            "formatters": {name: (dict(f.type_printers), dict(f.deferred_printers), dict(f.singleton_printers), f.enabled)
                           for name, f in shell.display_formatter.formatters.items()},
            "extensions": set(shell.extension_manager.loaded)}


def _print():
    "The functions and classes that stand in each module; a module of which no value changed is not looked at again"
    kinds, found = (types.FunctionType, types.BuiltinFunctionType, type), {}
    for name, module in list(sys.modules.items()):
        if name in _SKIP or not isinstance(module, types.ModuleType): continue
        values, old = vars(module).copy(), _known.get(name)
        ids = tuple(map(id, values.values()))
        same = old and old[0] is module and old[2] == ids
        found[name] = old if same else (module, {n: v for n, v in values.items() if isinstance(v, kinds)}, ids)
    return found


def _resident():
    "Grows when something is imported, or when the package keeps another model"
    models = sys.modules.get("ecg_audio_nb.models")
    return len(sys.modules), len(getattr(models, "_slots", ()))


def rss_mb()->float|None: # MB of memory the process holds; None where the system doesn't tell
    try:
        with open("/proc/self/statm") as f: return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError: return None


# -- before a notebook

def prepare(env:dict, cwd:str|None=None, seed:int|None=None):
    "What a notebook gets from its job: variables (None removes one), a folder, seeds"
    for name, value in env.items():
        if value is None: os.environ.pop(name, None)
        else: os.environ[name] = value
    if "TZ" in env and hasattr(time, "tzset"): time.tzset()
    if cwd: os.chdir(cwd)
    _base["job"] = os.getcwd()
    _seed(seed)


def _seed(seed):
    "Seeds of what is loaded, and of numpy and torch once they are"
    random.seed(seed)
    for name in ("numpy", "torch"):
        if name in sys.modules: _seed_one(name, seed)
        elif seed is not None: sys.meta_path.insert(0, _SeedWhenImported(name, seed))


def _seed_one(name, seed):
    module = sys.modules[name]
    if name == "numpy": module.random.seed(None if seed is None else seed % 2**32)
    elif seed is None: module.seed()
    else: module.manual_seed(seed)


class _SeedWhenImported:
    "Seeds a library at the end of its import, so that the first notebook of a kernel draws what the next ones draw"
    def __init__(self, name, seed): self.name, self.seed, self.done = name, seed, False

    def find_spec(self, name, path=None, target=None):
        if name != self.name or self.done: return None
        import importlib.util
        self.done = True
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None: return spec
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            _seed_one(name, self.seed)
        spec.loader.exec_module = exec_module
        return spec


# -- after a notebook

def reset(max_growth_mb:float|None=None)->list[str]: # reasons why the kernel can't go on; empty: it is as it was
    "Put everything back that can be, and tell what can't"
    shell, b = _shell(), _base
    reasons = _threads() + _functions() + _extensions(shell)
    _namespace(shell)
    _restore_ipython(shell)
    _process()
    reasons += _libraries()
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized(): reasons += _card(torch)
    resident, rss = _resident(), rss_mb()
    if resident != b["resident"]: # growth counts from what is kept on purpose, and the collector need not look at it again
        b.update(resident=resident, rss=rss)
        gc.freeze()
    elif max_growth_mb and rss is not None and rss - b["rss"] > max_growth_mb: reasons.append(f"memory grew by {rss - b['rss']:.0f} MB")
    return reasons


def _threads(wait=0.3):
    "Threads that a notebook left; those that installed libraries keep for themselves may stay"
    def left(): return [t for t in threading.enumerate() if t not in _base["threads"] and t.is_alive() and not _may_stay(t)]
    until = time.monotonic() + wait
    while left() and time.monotonic() < until: time.sleep(0.01)
    return [f"thread {t.name} is left" for t in left()]


def _may_stay(thread):
    "What an installed library (the package is one) runs in a thread stays by design: a progress bar's clock, an exporter, a pipe's reader"
    homes = {type(thread).__module__, getattr(getattr(thread, "_target", None), "__module__", None) or ""}
    return isinstance(thread, threading._DummyThread) or any(map(_installed, homes - {"threading"}))


def _installed(name):
    "Whether a module is an installed library's: not Python's own, not the notebook's, not a file of its folder"
    if name.split(".")[0] in sys.stdlib_module_names or name in ("", "__main__"): return False
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return name.split(".")[0] == __package__.split(".")[0] or file.startswith(os.path.join(sys.prefix, ""))


def _functions():
    "Functions that are not what they were, and modules that were swapped"
    now, reasons = _print(), []
    new = [name for name in now if name not in _known]
    fresh = {name.split(".")[0] for name in new}
    for name, entry in _known.items():
        here = now.get(name)
        if here is entry: continue
        if here is None: reasons.append(f"module {name} was removed")
        elif here[0] is not entry[0]: reasons += [] if name.split(".")[0] in fresh else [f"module {name} was replaced"]
        else: reasons += _differences(name, vars(here[0]), entry[1], here[1], fresh)
    for name, value in _base["builtins"].items():
        if name not in ("_", "input", "get_ipython", "display") and vars(builtins).get(name) is not value:
            reasons.append(f"builtins.{name} was replaced")
    _known.clear()
    _known.update(now)
    _base["new"] = new
    return reasons[:5]


def _differences(name, values, old, new, fresh):
    "How a module's functions differ from what they were"
    for attribute in old.keys() | new.keys():
        if attribute not in values: yield f"{name}.{attribute} was removed"
        elif (value := values[attribute]) is not old.get(attribute):
            home = getattr(value, "__module__", None) or ""
            library = attribute in new and str(home).split(".")[0] in fresh # a Mock is neither a function nor a class
            if home == "__main__" or attribute in old and not library: yield f"{name}.{attribute} was replaced"


def _from_notebook(x): return "__main__" in (getattr(x, "__module__", None), type(x).__module__)


def _extensions(shell): return [f"extension {n} is loaded" for n in sorted(shell.extension_manager.loaded - _base["extensions"])]


def _namespace(shell):
    "A notebook's names, its history, and what holds its frames"
    comms = getattr(getattr(shell, "kernel", None), "comm_manager", None)
    if comms is not None and getattr(comms, "comms", None): comms.comms.clear()
    for ns, old in ((shell.user_ns, _base["ns"]), (shell.user_ns_hidden, _base["hidden"])):
        for name in [n for n in ns if n not in old]: del ns[name]
        ns.update(old)
    for name in ("_", "__", "___"): setattr(shell.displayhook, name, "")
    shell.history_manager.reset(new_session=False)
    past = shell.history_manager
    past.input_hist_parsed[:], past.input_hist_raw[:], past._i00, past._i, past._ii, past._iii = [""], [""], "", "", "", ""
    for cache in (past.db_input_cache, past.db_output_cache): cache.clear()
    shell.user_ns.update(In=past.input_hist_parsed, _ih=past.input_hist_parsed, Out=past.output_hist, _oh=past.output_hist,
                         _dh=past.dir_hist, _i="", _ii="", _iii="")
    for name in [n for n in shell.user_ns if n not in _base["ns"]]: del shell.user_ns[name]
    shell.execution_count = 1
    shell.compile.reset_compiler_flags()
    shell.InteractiveTB.tb = None
    shell.last_execution_result = None
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name): delattr(sys, name)
    for name in [n for n in linecache.cache if "ipykernel_" in n or n.startswith("<ipython")]: del linecache.cache[name]


def _restore_ipython(shell):
    b = _base
    for kind, table in b["magics"].items():
        shell.magics_manager.magics[kind].clear()
        shell.magics_manager.magics[kind].update(table)
    for name, calls in b["events"].items(): # pyplot hangs its own on the shell when it is imported: those stay
        shell.events.callbacks[name][:] = calls + [c for c in shell.events.callbacks[name] if c not in calls and not _from_notebook(c)]
    for name, calls in b["transforms"].items(): setattr(shell, name, list(calls))
    for name, calls in b["lines"].items(): setattr(shell.input_transformer_manager, name, list(calls))
    for name, value in b["options"].items():
        if getattr(shell, name) != value: setattr(shell, name, value)
    for name, (types_, deferred, singles, enabled) in b["formatters"].items():
        f = shell.display_formatter.formatters[name]
        for table, old in ((f.type_printers, types_), (f.deferred_printers, deferred), (f.singleton_printers, singles)):
            for key in [k for k in table if getattr(k, "__module__", "") == "__main__" or
                        k not in old and getattr(table[k], "__module__", "") == "__main__"]: del table[key]
            table.update(old)
        f.enabled = enabled


def _process():
    "What Python and the system hold for the whole process"
    b = _base
    own_folders = {os.path.abspath(p) for p in (b.get("job") or ".", ".", *(p for p in sys.path if p not in b["path"]))}
    if dict(os.environ) != b["env"]:
        for name in [n for n in os.environ if n not in b["env"]]: del os.environ[name]
        os.environ.update(b["env"])
        if hasattr(time, "tzset"): time.tzset()
    os.chdir(b["cwd"])
    os.umask(b["umask"])
    sys.path[:], sys.argv[:], sys.path_hooks[:] = b["path"], b["argv"], b["hooks"]
    sys.meta_path[:] = [f for f in sys.meta_path if f in b["meta"] or not (isinstance(f, _SeedWhenImported) or _from_notebook(f))]
    _forget_local_modules(own_folders)
    for name, value in b["streams"].items(): setattr(sys, name, value)
    sys.setrecursionlimit(b["recursion"])
    sys.settrace(None); sys.setprofile(None)
    warnings.filters[:] = b["filters"]
    warnings._filters_mutated() if hasattr(warnings, "_filters_mutated") else warnings._filters_mutated_lock_held()
    warnings.showwarning = b["show"]
    for registry in [vars(m).get("__warningregistry__") for m in list(sys.modules.values()) if isinstance(m, types.ModuleType)]:
        if registry: registry.clear()
    logging.root.setLevel(b["level"])
    logging.root.handlers[:] = b["handlers"]
    logging.disable(b["disabled"])
    decimal.setcontext(b["decimal"].copy())
    for number, handler in b["signals"].items():
        if handler is not None and signal.getsignal(number) is not handler: signal.signal(number, handler)
    if hasattr(signal, "setitimer"): signal.setitimer(signal.ITIMER_REAL, 0)
    socket.setdefaulttimeout(b["socket"])
    gc.enable() if b["gc"][0] else gc.disable()
    gc.set_threshold(*b["gc"][1])


def _forget_local_modules(folders):
    "Modules that a notebook imported from a folder of its own: the next one may have others of the same name"
    own = tuple(os.path.join(p, "") for p in folders)
    installed = tuple(os.path.join(p, "") for p in (sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    def local(path): return os.path.abspath(path).startswith(own) and not os.path.abspath(path).startswith(installed)
    for path in [p for p in sys.path_importer_cache if p not in _base["path"]]:
        if not os.path.isabs(path) or local(os.path.join(path, "x")): del sys.path_importer_cache[path] # one for "." remembers the old folder
    for name in _base["new"]:
        file = getattr(_known[name][0], "__file__", None)
        if isinstance(file, str) and os.path.isabs(file) and local(file): sys.modules.pop(name, None); del _known[name]


def _libraries():
    "numpy, torch and matplotlib as they are when just imported"
    reasons = []
    if numpy := sys.modules.get("numpy"):
        numpy.seterr(**_ERR)
        numpy.set_printoptions(**_PRINT)
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "get_default_dtype"):
        if torch.get_default_dtype() != torch.float32: torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        if torch.are_deterministic_algorithms_enabled(): torch.use_deterministic_algorithms(False)
        if hasattr(torch, "get_default_device") and torch.get_default_device().type != "cpu": reasons.append("torch's default device is another")
    if plt := sys.modules.get("matplotlib.pyplot"): plt.close("all")
    if (matplotlib := sys.modules.get("matplotlib")) is not None and hasattr(matplotlib, "rc_file_defaults"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matplotlib.rc_file_defaults()
    return reasons


def _card(torch):
    "An error of the card stays until the process ends; memory that nothing uses goes back to it"
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError as e: return [f"the card reports: {str(e).splitlines()[0]}"]
    return []
