"""Notebooks on a warm kernel: equal to cold ones, nothing left of the one before, and a next one whatever
befell the last."""
import os, signal, subprocess, sys, threading, time
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError
from needs import needs_whisperx

from ecg_audio_nb.batch import warm_kernel as warm
from ecg_audio_nb.batch.warm_kernel import (
    KernelDied,
    Stopped,
    TimedOut,
    WarmKernel,
    close_kernels,
    run_notebook,
    warm_up,
)


@pytest.fixture(scope="module", autouse=True)
def ended():
    yield
    close_kernels()


@pytest.fixture
def run(tmp_path):
    "Run cells as a notebook on the warm kernel; its outputs as text"
    def run(*cells, parameters=None, **kwargs):
        out = tmp_path / "out.ipynb"
        run_notebook(written(tmp_path / "in.ipynb", *cells), out, parameters or {}, **kwargs)
        return said(out)
    run.out = tmp_path / "out.ipynb"
    return run


def written(path, *cells, tags=()):
    nb = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    )
    nb.cells = [
        nbformat.v4.new_code_cell("who = 'nobody'", id="parameters"),
        nbformat.v4.new_markdown_cell("## Prose", id="prose"),
        *(nbformat.v4.new_code_cell(c, id=f"cell{i}") for i, c in enumerate(cells)),
    ]
    nb.cells[0].metadata.tags = ["parameters"]
    for at, tag in tags: nb.cells[at].metadata.tags = [tag]
    nbformat.write(nb, path)
    return path


def said(path):
    outputs = [o for c in nbformat.read(path, 4).cells for o in c.get("outputs", ())]
    return [o.get("text", o.get("ename")) or o["data"]["text/plain"] for o in outputs]


def pid(): return warm._kernel().open().pid


def gone(pid, within=10):
    until = time.monotonic() + within
    while time.monotonic() < until:
        try: state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError): return True
        if state == "Z": return True
        time.sleep(0.02)
    return False


# A kernel, its watch, a notebook

def test_changes_of_an_environment():
    assert warm._env_changes({"A": "1", "B": "2"}, {"A": "1", "B": "3", "C": "4"}) == {"B": "2", "C": None}


def test_a_kernel_is_reset_and_stays():
    kernel = WarmKernel().open()
    first = kernel.pid
    assert kernel.call("prepare({'MOOD': 'fine'})") is None
    assert (kernel.reset(), kernel.open().pid == first) == ((), True)
    kernel.close()
    assert gone(first)


def test_the_watch_says_what_to_raise():
    watch = warm._Watch(timeout=60, stop=threading.Event())
    assert watch.error() is None
    watch.stop.set()
    assert type(watch.error()) is Stopped
    assert str(warm._Watch(timeout=1e-9).error()) == "the notebook took longer than its 1e-09 s"


def test_a_second_notebook_runs_in_the_first_ones_process(run):
    told = [
        run("import os\nprint(who, os.getpid())\nleft = 1", parameters={"who": who})[0].split()
        for who in ("Ada", "Bo")
    ]
    assert [name for name, _ in told] == ["Ada", "Bo"] and told[0][1] == told[1][1]


def test_after_a_kernel_that_died_comes_another(run):
    [first] = run("import os\nprint(os.getpid())")
    with pytest.raises(KernelDied): run("import os\nos._exit(int(who))", parameters={"who": "3"})
    assert said(run.out) == ["KernelDied"]
    [after] = run("import os\nprint(who, os.getpid())", parameters={"who": "Cy"})
    assert after.startswith("Cy ") and first.strip() not in after


# As papermill's own engine

MANY = {
    "outputs": [
        "import sys\nprint('out', who)\nprint('err', file=sys.stderr)",
        "for i in range(50): print(i)",
        (
            "from IPython.display import display, HTML, update_display\nh = display(HTML('<b>1</b>'), "
            "display_id='one')"
        ),
        "display(1, 2)\nh.update(HTML('<b>2</b>'))",
        "update_display('three', display_id='one')",
        "[who, 1.5]",
        "Out[8], _, In[2]",
        "{'a': 1}",
        "get_ipython().execution_count",
        "1;",
        "",
        "from IPython.display import clear_output\nprint(1)\nclear_output()\nprint(2)",
        "?who",
    ],
    "error": ["print('before')", "def f(): raise ValueError('no good')\nf()", "print('never')"],
    "exit": ["raise SystemExit(3)", "print('never')"],
    "exit0": ["import sys\nsys.exit(0)", "print('never')"],
}


def without_times(nb):
    for holder in [nb.metadata, *(c.metadata for c in nb.cells)]:
        for name in ("start_time", "end_time", "duration"):
            if holder.get("papermill", {}).get(name): holder["papermill"][name] = "a time"
        for name in holder.get("execution", {}): holder["execution"][name] = "a time"
    for name in ("output_path", "input_path"):
        nb.metadata.papermill[name] = Path(nb.metadata.papermill[name]).name
    for c in nb.cells:
        if "injected-parameters" in c.metadata.get("tags", ()): c.id = "injected"
        if "papermill-error" in c.source: c.id = "banner"
        for o in c.get("outputs", ()):
            o.pop("traceback", None)
    return nb


@pytest.mark.parametrize("name", MANY)
def test_equal_to_a_cold_one(name, tmp_path):
    (tmp_path / "cold").mkdir(); (tmp_path / "warm").mkdir()
    source, cold, hot = (
        written(tmp_path / "in.ipynb", *MANY[name]),
        tmp_path / "cold/out.ipynb",
        tmp_path / "warm/out.ipynb",
    )

    def outcome(f):
        try: f()
        except PapermillExecutionError as e: return e.ename, e.evalue, e.exec_count

    first = outcome(
        lambda: papermill.execute_notebook(
            source, cold, {"who": "Ada"}, progress_bar=False, coalesce_streams=True
        )
    )
    again = outcome(lambda: run_notebook(source, hot, {"who": "Ada"}))
    assert again == first
    assert (first is None) == (name not in ("error", "exit"))
    assert without_times(nbformat.read(hot, 4)) == without_times(nbformat.read(cold, 4))


def test_a_cell_that_may_raise_does(tmp_path):
    source = written(tmp_path / "in.ipynb", "1/0", "print('on')", tags=[(2, "raises-exception")])
    nb = nbformat.read(source, 4)
    with pytest.raises(PapermillExecutionError): run_notebook(source, tmp_path / "out.ipynb", {})
    # papermill raises for it too
    assert nb.cells[2].metadata.tags == ["raises-exception"] and "ZeroDivisionError" in said(
        tmp_path / "out.ipynb"
    )


def test_papermill_finds_the_engine_by_name(tmp_path):
    papermill.engines.papermill_engines.register("warm", warm.WarmEngine)
    source = written(tmp_path / "in.ipynb", "import os\nprint(os.getpid(), who, os.getcwd())")
    papermill.execute_notebook(
        source, tmp_path / "out.ipynb", {"who": "Ada"}, engine_name="warm", progress_bar=False, cwd=tmp_path
    )
    assert said(tmp_path / "out.ipynb") == [f"{pid()} Ada {tmp_path}\n"]


# Nothing left

CLEAN = {  # what a notebook does -> what the next one asks, which then says True
    "names": ("a = _b = 1", "not {'a', '_b'} & set(globals())"),
    "hidden": (
        "get_ipython().user_ns_hidden['z'] = z = 1",
        "'z' not in globals() and 'z' not in get_ipython().user_ns_hidden",
    ),
    "results": ("7", "Out == {} and _ == '' and len(In) == 3"),
    "count": ("1", "get_ipython().execution_count == 3"),
    "environment": (
        "import os; os.environ['A_MOOD'] = 'x'; del os.environ['PATH']",
        "import os; 'A_MOOD' not in os.environ and 'PATH' in os.environ",
    ),
    "folder": ("import os; os.chdir('/')", "import os; os.getcwd() != '/'"),
    "path": ("import sys; sys.path.insert(0, '/nowhere')", "import sys; '/nowhere' not in sys.path"),
    "warnings": (
        "import warnings; warnings.simplefilter('error')",
        "import warnings; warnings.filters[0][0] != 'error'",
    ),
    "log level": ("import logging; logging.root.setLevel(1)", "import logging; logging.root.level == 30"),
    "decimal": (
        "import decimal; decimal.getcontext().prec = 3",
        "import decimal; decimal.getcontext().prec == 28",
    ),
    "magic": (
        "get_ipython().register_magic_function(lambda l: 1, magic_name='mine')",
        "get_ipython().find_magic('mine') is None",
    ),
    "hook": ("get_ipython().events.register('post_run_cell', lambda r: print('!'))", "True"),
    "transformer": ("get_ipython().input_transformers_post.append(lambda l: ['1\\n'])", "True"),
    "numpy": (
        "import numpy as np; np.seterr(all='raise'); np.set_printoptions(precision=1)",
        "import numpy as np; np.geterr()['divide'] == 'warn' and np.get_printoptions()['precision'] == 8",
    ),
    "plots": (
        "import matplotlib.pyplot as plt; plt.rcParams['lines.linewidth'] = 9; plt.figure(); None",
        "import matplotlib.pyplot as plt; plt.rcParams['lines.linewidth'] != 9 and not plt.get_fignums()",
    ),
    "recursion": ("import sys; sys.setrecursionlimit(500)", "import sys; sys.getrecursionlimit() > 500"),
    "stdout": ("import sys, io; old = sys.stdout; sys.stdout = io.StringIO(); None", "True"),
    "signal": (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "import signal; signal.getsignal(signal.SIGINT) != signal.SIG_IGN",
    ),
    "future": ("from __future__ import annotations", "def f(x:int): 0\nf.__annotations__['x'] is int"),
    "frames": ("x = 1", "import sys; not hasattr(sys, 'last_traceback')"),
}


@pytest.mark.parametrize("name", CLEAN)
def test_put_back(name, run):
    leave, ask = CLEAN[name]
    before = pid()
    run(leave)
    assert run(ask) == ["True"]
    assert pid() == before


SEEN = {
    "function": ("import json; json.dump = lambda *a: 'mine'", "import json; json.dump.__module__ == 'json'"),
    "the protocol's own": ("import json; json.loads = None", "import json; json.loads('1') == 1"),
    "another's function": (
        "import textwrap, shutil; shutil.which = textwrap.fill",
        "import shutil; shutil.which.__module__ == 'shutil'",
    ),
    "mock": (
        "from unittest import mock; mock.patch('json.dump').start(); None",
        "import json; json.dump.__module__ == 'json'",
    ),
    "new function": ("import json; json.mine = lambda: 1", "import json; not hasattr(json, 'mine')"),
    "builtin": (
        "import builtins; builtins.print = lambda *a: None",
        "import builtins; type(print).__name__ == 'builtin_function_or_method'",
    ),
    "module": (
        "import sys, types; sys.modules['json'] = types.ModuleType('json')",
        "import json; hasattr(json, 'loads')",
    ),
    "thread": (
        "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        (
            "import threading; not [t for t in threading.enumerate() if getattr(t, '_target', None) is "
            "__import__('time').sleep]"
        ),
    ),
    "extension": ("%load_ext autoreload", "'autoreload' not in get_ipython().extension_manager.loaded"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEN)
def test_seen_and_replaced(name, run, monkeypatch):
    monkeypatch.setattr(warm, "REPLY_TIMEOUT", 1.5)
    leave, ask = SEEN[name]
    before = pid()
    run(leave)
    assert run(ask) == ["True"]
    assert pid() != before and gone(before)


def test_what_stays_unseen(run):
    "The limits of a shared process, as the module's table tells them"
    before = pid()
    run("import json, json.decoder\njson.flag = 1\njson.decoder.JSONDecoder.mine = lambda self: 1")
    assert run("import json; (json.flag, json.JSONDecoder().mine())") == ["(1, 1)"]
    assert pid() == before
    close_kernels()


@needs_whisperx
def test_an_import_that_patches_others_is_no_taint(run):
    before = pid()
    assert run(
        (
            "import torch, inspect; "
            "print(torch.get_default_dtype())\ntorch.set_default_dtype(torch.float64); "
            "torch.set_grad_enabled(False); None"
        )
    ) == ["torch.float32\n"]
    assert run("import torch; print(torch.get_default_dtype(), torch.is_grad_enabled())") == [
        "torch.float32 True\n"
    ]
    assert pid() == before


def test_a_module_of_the_notebooks_folder_is_its_own(run, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper_of_a_job.py").write_text(f"name = {name!r}")
        told = run(
            "import sys; sys.path.insert(0, '.'); import helper_of_a_job; print(helper_of_a_job.name)",
            cwd=tmp_path / name,
        )
        assert told == [f"{name}\n"]


DRAW = "import random, numpy, torch; print(random.random(), numpy.random.rand(), float(torch.rand(1)))"


@needs_whisperx
def test_seeds(run):
    close_kernels() # so that the first notebook imports what it draws from
    first, again, other = (run(DRAW, seed=s) for s in (1, 1, 2))
    assert first == again != other
    assert run(DRAW) != run(DRAW)


def test_what_a_job_gives(run, tmp_path, monkeypatch):
    monkeypatch.setenv("LATER", "than the kernel's start")
    (tmp_path / "job").mkdir()
    told = run(
        "import os; print(os.environ['ECG_JOB_DIR'], os.environ['LATER'], os.getcwd())",
        cwd=tmp_path / "job",
        env={"ECG_JOB_DIR": "here"},
    )
    assert told == [f"here than the kernel's start {tmp_path}/job\n"]
    assert run("import os; print('ECG_JOB_DIR' in os.environ)") == ["False\n"]


# Whatever befalls it

@pytest.mark.parametrize(
    "end", ["import os; os._exit(3)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_a_dead_kernel(end, run):
    before = pid()
    with pytest.raises(KernelDied): run("print('begun')", end, "print('never')")
    nb = nbformat.read(run.out, 4)
    assert [(c.metadata.papermill.status, c.metadata.papermill.exception) for c in nb.cells[2:]] == \
        [("completed", False), ("failed", True), ("pending", None)]
    assert nb.metadata.papermill.exception is True and said(run.out) == ["begun\n", "KernelDied"]
    assert run("print(who)", parameters={"who": "Ada"}) == ["Ada\n"]
    assert pid() != before


@pytest.mark.parametrize("engine", ["warm", None])
def test_time_is_up(engine, run):
    with pytest.raises(TimedOut, match="0.7 s"):
        run("import time", "print('begun')\ntime.sleep(60)", timeout=0.7, engine=engine)
    assert nbformat.read(run.out, 4).metadata.papermill.exception is True and "TimedOut" in said(run.out)
    assert run("1 + 1", engine=engine) == ["2"]


def test_time_is_up_for_one_that_does_not_listen(run, monkeypatch):
    monkeypatch.setattr(warm, "INTERRUPT_GRACE", 0.3)
    deaf = "import time\nwhile True:\n    try: time.sleep(60)\n    except KeyboardInterrupt: pass"
    before = pid()
    with pytest.raises(TimedOut): run(deaf, timeout=0.5)
    assert gone(before) and run("1 + 1") == ["2"]


def stop_when(path):
    stop = threading.Event()
    def look():
        while not path.exists(): time.sleep(0.01)
        stop.set()
    threading.Thread(target=look, daemon=True).start()
    return stop


def test_stop_lets_the_cell_end(run, tmp_path):
    cell = (
        "import pathlib, "
        f"time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(.5)\nprint('ended')"
    )
    with pytest.raises(Stopped): run(cell, "print('never')", stop=stop_when(tmp_path / "begun"))
    assert said(run.out) == ["ended\n", "Stopped"]


def test_stop_does_not_wait_for_ever(run, tmp_path):
    cell = f"import pathlib, time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(60)"
    with pytest.raises(Stopped): run(cell, stop=stop_when(tmp_path / "begun"), grace=0.2)
    assert said(run.out)[-1] == "Stopped"


def test_a_cell_that_ends_because_of_the_stop_was_stopped(run, tmp_path):
    cell = (
        "import pathlib, "
        f"time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(.5)\nraise "
        "RuntimeError('told to end')"
    )
    with pytest.raises(Stopped): run(cell, stop=stop_when(tmp_path / "begun"))


def test_errors_keep_the_kernel(run):
    before = pid()
    with pytest.raises(PapermillExecutionError): run("1/0")
    assert run("import sys; 'ZeroDivisionError' not in repr(vars(sys).get('last_value'))") == ["True"]
    assert pid() == before


def test_another_code_another_kernel(run, monkeypatch):
    before, code = pid(), warm._code_of
    monkeypatch.setattr(warm, "_code_of", lambda name: (*code(name), "changed"))
    assert pid() != before


def test_a_kernel_is_used_up():
    kernel = WarmKernel(max_uses=2).open()
    assert (kernel.reset(), kernel.reset()) == ((), ("it ran 2 notebooks",))
    assert kernel.pid and gone(kernel.pid) and not os.path.exists(kernel._folder)
    kernel.close()


def test_a_kernel_that_grew():
    kernel = WarmKernel(max_growth_mb=50).open()
    kernel.call("rss_mb()", "import json; json.hoard = b'x' * 120_000_000")
    [why] = kernel.reset()
    assert why.startswith("memory grew by 1")


def test_a_kernel_that_is_not_there():
    with pytest.raises(Exception, match="no_such_kernel"): WarmKernel("no_such_kernel").open()


def test_a_preload_that_fails_is_told():
    with pytest.raises(KernelDied, match="no_such_module"): WarmKernel(preload="import no_such_module").open()


RUNNER = (
    "import sys, time\nfrom ecg_audio_nb.batch.warm_kernel import "
    "warm_up\nprint(warm_up().open().pid, flush=True)\ntime.sleep(600)"
)


def test_a_kernel_dies_with_its_runner():
    runner = subprocess.Popen([sys.executable, "-c", RUNNER], stdout=subprocess.PIPE, text=True)
    kernel = int(runner.stdout.readline())
    os.kill(kernel, 0)
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    runner.stdout.close()
    assert gone(kernel)


def test_warm_up_serves_the_first_notebook(run):
    close_kernels()
    kernel = warm_up("import decimal")
    assert run("import os; print(os.getpid())") == [f"{kernel.pid}\n"]


def test_memory_and_descriptors_stay_flat(run):
    "The full hundred is measured by benchmarks/jobs.py"
    def descriptors(): return [len(os.listdir(f"/proc/{p}/fd")) for p in ("self", pid())]
    cell = "x = bytearray(20_000_000); y = []; y.append([y, list(range(100_000))])"
    for _ in range(3): run(cell)
    before = descriptors()
    for _ in range(10): run(cell)
    assert descriptors() == before


@pytest.mark.slow
def test_models_of_torch_stay_resident(run, root):
    """WhisperX, wav2vec2 and what they import change other modules and start threads; the second analysis
    finds all of it there"""
    tiny = root / "tests/fixtures/tiny"
    settings = {
        "engine": "whisperx",
        "diarize.enabled": False,
        "transcribe.language": "en",
        "transcribe.model": str(tiny / "whisper-ct2"),
        "align.model": str(tiny / "wav2vec2"),
        "runtime.device": "cpu",
    }
    clip = sorted((tiny / "clips").glob("*.flac"))[0]
    cell = (
        "from ecg_audio_nb.pipeline import analyze\nfrom ecg_audio_nb import models\nbefore = "
        "len(models._slots)\n"
        f"found = analyze({str(clip)!r}, {settings!r})\n(len(found.words) > 0, before > 0)"
    )
    before = pid()
    assert run(cell)[-1] == "(True, False)" and run(cell)[-1] == "(True, True)"
    assert pid() == before
