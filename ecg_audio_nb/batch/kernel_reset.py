"""Runs inside a warm kernel: stores a baseline, prepares each notebook, resets the kernel after it

| kind of change | what `reset` does |
| --- | --- |
| it can be reset safely | resets it |
| it is detected but can't be reset safely | returns the reason, and the kernel is replaced |
| a new attribute with data, a class's replaced method, changed contents of containers | not detected |

Libraries patch other libraries when they are imported (torch patches inspect, pyannote patches torch). So a
replaced function is the notebook's doing, unless the module that defines the new one belongs to a top-level
package from which this notebook was the first to import something. A function that was defined in a notebook
never passes.

This module imports the standard library alone, because every start of a kernel pays for it.
"""

import builtins
import decimal
import gc
import linecache
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import types
import warnings

_SKIP = {
    "__main__",
    "__mp_main__",
    "builtins",
    "sys",
    "getpass",
    __name__,
}  # IPython changes these at run time
_SIGNAL_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGUSR1")
_SIGNALS = tuple(getattr(signal, name) for name in _SIGNAL_NAMES if hasattr(signal, name))
_NUMPY_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}  # numpy's defaults
_NUMPY_PRINT = {
    "edgeitems": 3,
    "infstr": "inf",
    "linewidth": 75,
    "nanstr": "nan",
    "precision": 8,
    "suppress": False,
    "threshold": 1000,
    "formatter": None,
    "sign": "-",
    "floatmode": "maxprec",
    "legacy": False,
}
_base = {}  # the baseline
_known = {}  # by module name: the module, its callables by name, the ids of all its values


def _shell():
    from IPython import get_ipython

    return get_ipython()


# The baseline


def baseline(
    parent: int | None = None,  # process id; the kernel ends with this process
) -> int:  # this process's id
    "Store the state that every notebook starts from"
    if parent:
        from ecg_audio_nb.core.system import die_with_parent

        die_with_parent(signal.SIGKILL, parent)  # where the system can't, ipykernel watches the parent
    shell = _shell()
    _base.update(
        ns=dict(shell.user_ns),
        hidden=dict(shell.user_ns_hidden),
        env=dict(os.environ),
        cwd=os.getcwd(),
        umask=_umask(),
        path=list(sys.path),
        argv=list(sys.argv),
        meta=list(sys.meta_path),
        hooks=list(sys.path_hooks),
        recursion=sys.getrecursionlimit(),
        streams={n: getattr(sys, n) for n in ("stdin", "stdout", "stderr", "displayhook", "excepthook")},
        filters=list(warnings.filters),
        show=warnings.showwarning,
        level=logging.root.level,
        handlers=list(logging.root.handlers),
        disabled=logging.root.manager.disable,
        decimal=decimal.getcontext().copy(),
        signals={s: signal.getsignal(s) for s in _SIGNALS},
        socket=socket.getdefaulttimeout(),
        gc=(gc.isenabled(), gc.get_threshold()),
        builtins=dict(vars(builtins)),
        **_ipython(shell),
    )
    shell.history_manager.db_cache_size = 10**9  # never written: each notebook's line numbers begin again
    _known.clear()
    _known.update(_callables())
    _base.update(threads=set(threading.enumerate()), resident=_resident(), rss=rss_mb())
    gc.collect()
    gc.freeze()
    return os.getpid()


def _umask():
    now = os.umask(0o022)
    os.umask(now)
    return now


def _ipython(shell):
    "What a notebook may change in IPython: magics, events, transformers, options, formatters, extensions"
    return {
        "magics": {kind: dict(table) for kind, table in shell.magics_manager.magics.items()},
        "events": {name: list(calls) for name, calls in shell.events.callbacks.items()},
        "transforms": {n: list(getattr(shell, n)) for n in ("input_transformers_post", "ast_transformers")},
        "lines": {
            n: list(getattr(shell.input_transformer_manager, n))
            for n in ("cleanup_transforms", "line_transforms", "token_transformers")
        },
        "options": {
            n: getattr(shell, n)
            for n in ("ast_node_interactivity", "autocall", "automagic", "autoawait", "pdb", "xmode")
            if hasattr(shell, n)
        },
        "formatters": {
            name: (dict(f.type_printers), dict(f.deferred_printers), dict(f.singleton_printers), f.enabled)
            for name, f in shell.display_formatter.formatters.items()
        },
        "extensions": set(shell.extension_manager.loaded),
    }


def _callables():
    "The functions and classes of each module; a module whose values have not changed is not searched again"
    kinds = (types.FunctionType, types.BuiltinFunctionType, type)
    entries = {}
    for name, module in list(sys.modules.items()):
        if name in _SKIP or not isinstance(module, types.ModuleType):
            continue
        values, old = vars(module).copy(), _known.get(name)
        ids = tuple(map(id, values.values()))
        if old and old[0] is module and old[2] == ids:
            entries[name] = old
        else:
            callables = {attribute: value for attribute, value in values.items() if isinstance(value, kinds)}
            entries[name] = module, callables, ids
    return entries


def _resident():
    "Numbers of loaded modules and of kept models; memory may grow with them"
    models = sys.modules.get("ecg_audio_nb.models")
    return len(sys.modules), len(getattr(models, "_slots", ()))


def rss_mb() -> float | None:  # MB; None where the system does not tell
    "Memory of this process"
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return None


# Before a notebook


def prepare(
    env: dict,  # environment variables; None removes one
    cwd: str | None = None,  # folder to run in; None: unchanged
    seed: int | None = None,  # for random, numpy and torch
) -> None:
    "Give a notebook its job's variables, folder and seeds"
    for name, value in env.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if "TZ" in env and hasattr(time, "tzset"):
        time.tzset()
    if cwd:
        os.chdir(cwd)
    _base["job"] = os.getcwd()
    _seed(seed)


def _seed(seed):
    "Seed random, and numpy and torch now or when they are imported"
    random.seed(seed)
    for name in ("numpy", "torch"):
        if name in sys.modules:
            _seed_one(name, seed)
        elif seed is not None:
            sys.meta_path.insert(0, _SeedWhenImported(name, seed))


def _seed_one(name, seed):
    module = sys.modules[name]
    if name == "numpy":
        module.random.seed(None if seed is None else seed % 2**32)
    elif seed is None:
        module.seed()
    else:
        module.manual_seed(seed)


class _SeedWhenImported:
    "An import hook that seeds a library after its import: the first notebook draws what the next ones draw"

    def __init__(self, name, seed):
        self.name, self.seed, self.done = name, seed, False

    def find_spec(self, name, path=None, target=None):
        if name != self.name or self.done:
            return None
        import importlib.util

        self.done = True
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            _seed_one(name, self.seed)

        spec.loader.exec_module = exec_module
        return spec


# After a notebook


def reset(
    max_growth_mb: float | None = None,  # None: no limit
) -> list[str]:  # reasons why the kernel can't be used again; empty: it is at its baseline
    "Reset everything that can be reset, and report what can't"
    shell = _shell()
    reasons = _left_threads() + _replaced_functions() + _loaded_extensions(shell)
    _reset_namespace(shell)
    _reset_ipython(shell)
    _reset_process()
    reasons += _reset_libraries()
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        reasons += _gpu_errors(torch)
    return reasons + _memory_growth(max_growth_mb)


def _memory_growth(max_growth_mb):
    "A reason if memory grew beyond the limit; growth counts from what is kept on purpose"
    resident, rss = _resident(), rss_mb()
    if resident != _base["resident"]:
        _base.update(resident=resident, rss=rss)
        gc.freeze()  # the collector need not search what is kept
    elif max_growth_mb and rss is not None and rss - _base["rss"] > max_growth_mb:
        return [f"memory grew by {rss - _base['rss']:.0f} MB"]
    return []


def _left_threads(wait=0.3):
    "Reasons: threads that a notebook left running; those that installed libraries keep may stay"

    def left():
        threads = [t for t in threading.enumerate() if t not in _base["threads"] and t.is_alive()]
        return [t for t in threads if not _may_stay(t)]

    deadline = time.monotonic() + wait
    while left() and time.monotonic() < deadline:
        time.sleep(0.01)
    return [f"thread {thread.name} is left" for thread in left()]


def _may_stay(thread):
    "Whether a thread runs code of a library or of this package: a progress bar, an exporter, a reader"
    target = getattr(thread, "_target", None)
    modules = {type(thread).__module__, getattr(target, "__module__", None) or ""} - {"threading"}
    return isinstance(thread, threading._DummyThread) or any(_installed(module) for module in modules)


def _installed(module):
    "Whether a module is an installed library's, not Python's own, the notebook's, or its folder's"
    top = module.split(".")[0]
    if top in sys.stdlib_module_names or module in ("", "__main__"):
        return False
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return top == __package__.split(".")[0] or file.startswith(os.path.join(sys.prefix, ""))


def _replaced_functions():
    "Reasons: functions and classes that were replaced, modules removed or replaced; at most five"
    now, reasons = _callables(), []
    new = [name for name in now if name not in _known]
    fresh = {name.split(".")[0] for name in new}
    for name, entry in _known.items():
        current = now.get(name)
        if current is entry:
            continue
        if current is None:
            reasons.append(f"module {name} was removed")
        elif current[0] is entry[0]:
            reasons += _differences(name, vars(current[0]), entry[1], current[1], fresh)
        elif name.split(".")[0] not in fresh:
            reasons.append(f"module {name} was replaced")
    for name, value in _base["builtins"].items():
        if name not in ("_", "input", "get_ipython", "display") and vars(builtins).get(name) is not value:
            reasons.append(f"builtins.{name} was replaced")
    _known.clear()
    _known.update(now)
    _base["new"] = new
    return reasons[:5]


def _differences(
    name,  # of a module
    values,  # its attributes now
    old,  # its callables at the baseline
    new,  # its callables now
    fresh,  # top-level packages from which this notebook was the first to import something
):
    "How a module's callables differ from the baseline"
    for attribute in old.keys() | new.keys():
        if attribute not in values:
            yield f"{name}.{attribute} was removed"
            continue
        value = values[attribute]
        if value is old.get(attribute):
            continue
        home = str(getattr(value, "__module__", None) or "")
        by_library = attribute in new and home.split(".")[0] in fresh  # a Mock is no callable of `new`
        if home == "__main__" or (attribute in old and not by_library):
            yield f"{name}.{attribute} was replaced"


def _from_notebook(x):
    "Whether an object, or its class, was defined in a notebook"
    return "__main__" in (getattr(x, "__module__", None), type(x).__module__)


def _loaded_extensions(shell):
    loaded = shell.extension_manager.loaded - _base["extensions"]
    return [f"extension {name} is loaded" for name in sorted(loaded)]


def _restore(table, old):
    "Make a mapping what it was, in place"
    for name in [name for name in table if name not in old]:
        del table[name]
    table.update(old)


def _reset_namespace(shell):
    "Remove a notebook's names, its history, and what holds its frames"
    comms = getattr(getattr(shell, "kernel", None), "comm_manager", None)
    if comms is not None and getattr(comms, "comms", None):
        comms.comms.clear()
    _restore(shell.user_ns, _base["ns"])
    _restore(shell.user_ns_hidden, _base["hidden"])
    for name in ("_", "__", "___"):
        setattr(shell.displayhook, name, "")
    _reset_history(shell)
    for name in [name for name in shell.user_ns if name not in _base["ns"]]:
        del shell.user_ns[name]
    shell.execution_count = 1
    shell.compile.reset_compiler_flags()
    shell.InteractiveTB.tb = None
    shell.last_execution_result = None
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            delattr(sys, name)
    for name in list(linecache.cache):
        if "ipykernel_" in name or name.startswith("<ipython"):
            del linecache.cache[name]


def _reset_history(shell):
    history = shell.history_manager
    history.reset(new_session=False)
    history.input_hist_parsed[:] = [""]
    history.input_hist_raw[:] = [""]
    for name in ("_i00", "_i", "_ii", "_iii"):
        setattr(history, name, "")
    history.db_input_cache.clear()
    history.db_output_cache.clear()
    shell.user_ns.update(In=history.input_hist_parsed, _ih=history.input_hist_parsed)
    shell.user_ns.update(Out=history.output_hist, _oh=history.output_hist, _dh=history.dir_hist)
    shell.user_ns.update(_i="", _ii="", _iii="")


def _reset_ipython(shell):
    "Reset magics, events, transformers, options and formatters"
    for kind, table in _base["magics"].items():
        shell.magics_manager.magics[kind].clear()
        shell.magics_manager.magics[kind].update(table)
    for name, old in _base["events"].items():
        calls = shell.events.callbacks[name]
        of_libraries = [call for call in calls if call not in old and not _from_notebook(call)]
        calls[:] = old + of_libraries  # pyplot registers some when it is imported
    for name, old in _base["transforms"].items():
        setattr(shell, name, list(old))
    for name, old in _base["lines"].items():
        setattr(shell.input_transformer_manager, name, list(old))
    for name, value in _base["options"].items():
        if getattr(shell, name) != value:
            setattr(shell, name, value)
    for name, (types_, deferred, singletons, enabled) in _base["formatters"].items():
        formatter = shell.display_formatter.formatters[name]
        _reset_printers(formatter.type_printers, types_)
        _reset_printers(formatter.deferred_printers, deferred)
        _reset_printers(formatter.singleton_printers, singletons)
        formatter.enabled = enabled


def _reset_printers(table, old):
    "Remove the printers of a notebook's classes, and those that a notebook defined"
    for key in list(table):
        by_notebook = key not in old and getattr(table[key], "__module__", "") == "__main__"
        if by_notebook or getattr(key, "__module__", "") == "__main__":
            del table[key]
    table.update(old)


def _reset_process():
    "Reset what Python and the system hold for the whole process"
    added_paths = [path for path in sys.path if path not in _base["path"]]
    own_folders = {os.path.abspath(path) for path in (_base.get("job") or ".", ".", *added_paths)}
    if dict(os.environ) != _base["env"]:
        _restore(os.environ, _base["env"])
        if hasattr(time, "tzset"):
            time.tzset()
    os.chdir(_base["cwd"])
    os.umask(_base["umask"])
    _reset_imports(own_folders)
    for name, value in _base["streams"].items():
        setattr(sys, name, value)
    sys.setrecursionlimit(_base["recursion"])
    sys.settrace(None)
    sys.setprofile(None)
    _reset_warnings()
    logging.root.setLevel(_base["level"])
    logging.root.handlers[:] = _base["handlers"]
    logging.disable(_base["disabled"])
    decimal.setcontext(_base["decimal"].copy())
    for number, handler in _base["signals"].items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    socket.setdefaulttimeout(_base["socket"])
    enabled, threshold = _base["gc"]
    if enabled:
        gc.enable()
    else:
        gc.disable()
    gc.set_threshold(*threshold)


def _reset_imports(own_folders):
    sys.path[:] = _base["path"]
    sys.argv[:] = _base["argv"]
    sys.path_hooks[:] = _base["hooks"]
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder in _base["meta"] or _is_librarys(finder)]
    _forget_local_modules(own_folders)


def _is_librarys(finder):
    return not isinstance(finder, _SeedWhenImported) and not _from_notebook(finder)


def _reset_warnings():
    warnings.filters[:] = _base["filters"]
    if hasattr(warnings, "_filters_mutated"):
        warnings._filters_mutated()
    else:
        warnings._filters_mutated_lock_held()  # Python 3.14
    warnings.showwarning = _base["show"]
    for module in list(sys.modules.values()):
        if isinstance(module, types.ModuleType) and vars(module).get("__warningregistry__"):
            vars(module)["__warningregistry__"].clear()


def _forget_local_modules(own_folders):
    "Forget modules of a notebook's own folders: the next notebook may have others of the same name"
    own = tuple(os.path.join(folder, "") for folder in own_folders)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = tuple(os.path.join(folder, "") for folder in (sys.prefix, sys.base_prefix, package))

    def is_local(path):
        path = os.path.abspath(path)
        return path.startswith(own) and not path.startswith(installed)

    for path in list(sys.path_importer_cache):
        if path in _base["path"]:
            continue
        if not os.path.isabs(path) or is_local(os.path.join(path, "x")):
            del sys.path_importer_cache[path]  # the entry of "." holds the old folder
    for name in _base["new"]:
        file = getattr(_known[name][0], "__file__", None)
        if isinstance(file, str) and os.path.isabs(file) and is_local(file):
            sys.modules.pop(name, None)
            del _known[name]


def _reset_libraries():
    "Set the options of numpy, torch and matplotlib to their defaults; returns reasons"
    reasons = []
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.seterr(**_NUMPY_ERRORS)
        numpy.set_printoptions(**_NUMPY_PRINT)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_default_dtype"):
        reasons += _reset_torch(torch)
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None and hasattr(matplotlib, "rc_file_defaults"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matplotlib.rc_file_defaults()
    return reasons


def _reset_torch(torch):
    if torch.get_default_dtype() != torch.float32:
        torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
    if hasattr(torch, "get_default_device") and torch.get_default_device().type != "cpu":
        return ["torch's default device was changed"]
    return []


def _gpu_errors(torch):
    "Reasons: an error of the GPU stays until the process ends. Also returns unused memory to the GPU"
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError as e:
        return [f"the GPU reports: {str(e).splitlines()[0]}"]
    return []
