"""Papermill's engine `warm`: one kernel process runs many notebooks and is reset between two of them

A cold notebook waits for a Python process, for torch and for the models, every time. A warm kernel keeps what
is imported and what `ecg_audio_nb.models` holds; everything else is reset between two notebooks
(`batch.kernel_reset`).

| what a notebook leaves | what happens to it |
| --- | --- |
| names, `Out`, history, environment, folder, `sys.path`, warnings, log level, seeds, magics | reset |
| the options of decimal, numpy, torch and matplotlib | reset |
| a replaced function, a thread, a loaded extension, memory growth, a GPU error | detected: a new kernel |
| changed code of the package, a changed kernelspec | detected: a new kernel |
| a module's new attribute, a class's replaced method, changed data of a library | **not detected** |

So notebooks that behave are reproducible, but this is no sandbox.

**States of a kernel.**

| from | to | by | when |
| --- | --- | --- | --- |
| none | starting | `start` | its process is started and not waited for |
| starting | ready | `open` | the kernel answered and stored its baseline |
| ready | busy | `WarmEngine` | a notebook has its variables, folder and seeds (`kernel_reset.prepare`) |
| busy | ready | `reset` | everything could be reset |
| busy | none | `reset` | something could not be reset, or the kernel ran `max_uses` notebooks |
| busy | none | `WarmEngine` | the kernel died, the time limit passed, or the notebook was stopped |
| ready | none | `open` | the package's code or the kernelspec has changed, or the process is gone |

A thread has a kernel of its own; to run several notebooks at a time, use several processes.

An error that the notebook raises is papermill's own `PapermillExecutionError`. A failure of the kernel is a
`KernelError`: the same notebook may succeed next time.

Papermill loads every engine when it is imported, and an engine that imports papermill would break it for
everybody. So nothing of papermill is imported here before a notebook runs, and the engines are no subclasses
of papermill's. Papermill's client runs the cells and its manager keeps times and states; only the kernel
comes from here.
"""

import atexit
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from ast import literal_eval
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ecg_audio_nb.batch.failures import KernelDied, KernelError, Stopped, TimedOut
from ecg_audio_nb.core.extras import require_installed
from ecg_audio_nb.core.files import code_files, write_atomic

__all__ = ["close_kernels", "run_notebook", "warm_up"]

PRELOAD = "import ecg_audio_nb"  # cheap: a first notebook must not wait for imports that it may never use
START_TIMEOUT = 60  # seconds in which a new process must answer
PRELOAD_TIMEOUT = 600  # seconds in which a new kernel must have run its preload
REPLY_TIMEOUT = 30.0  # seconds in which a kernel must have prepared or reset itself
INTERRUPT_GRACE = 5.0  # seconds between an interrupt and a kill
_SOCKET_PATH_MAX = 70  # longest folder for sockets: the path of a socket has at most 107 bytes


def _require_papermill():
    "Raise a `KernelError` that names the extra where papermill is not installed"
    for name in ("papermill", "nbclient", "ipykernel"):
        require_installed(name, "jobs", "notebooks as jobs need", KernelError)


def _env_changes(
    now: Mapping,
    then: Mapping,
) -> dict:  # by name; None for a variable that was removed
    "Variables of an environment that have changed"
    return {name: now.get(name) for name in now.keys() | then.keys() if now.get(name) != then.get(name)}


def _code_of(
    kernel_name: str,
) -> tuple:  # equal while the kernelspec and the package's files are
    "What a kernel's process was made from"
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec(kernel_name).to_dict()
    package = []
    for path in code_files():
        status = path.stat()
        package.append((str(path), status.st_mtime_ns, status.st_size))
    return json.dumps(spec, sort_keys=True), tuple(package)


def _socket_folder() -> str:
    base = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="ecg-k", dir=base if len(base) < _SOCKET_PATH_MAX else "/tmp")


def _signal_group(
    pid: int,  # of a kernel; it leads a process group of its own
    number: int,
):
    "Send a signal to a kernel and the processes that it started"
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


async def _next_message(kernel, channel):
    "A message of a channel, or None after half a second; raises `KernelDied`"
    from queue import Empty

    try:
        return await channel.get_msg(timeout=0.5)
    except Empty:
        if not await kernel.manager.is_alive():
            raise KernelDied("the kernel's process ended") from None
        return None


async def _evaluate(kernel, code, expression, timeout):
    """Run code in the kernel, unseen by the user's namespace; returns the value of an expression

    Reads the reply on the shell channel and the messages on the public channel up to *idle*, so that the next
    notebook does not read them."""
    deadline, client = time.monotonic() + timeout, kernel.client
    expressions = {"r": f"__import__('json').dumps({expression})"}
    sent = client.execute(code, silent=True, store_history=False, user_expressions=expressions)
    reply, idle = None, False
    while not (reply and idle):
        if time.monotonic() > deadline:
            raise KernelDied(f"the kernel did not answer within {timeout:g} s")
        message = await _next_message(kernel, client.iopub_channel if reply else client.shell_channel)
        if message is None or message["parent_header"].get("msg_id") != sent:
            continue
        if reply is None:
            reply = message["content"]
        elif message["msg_type"] == "status":
            idle = message["content"]["execution_state"] == "idle"
    answer = reply.get("user_expressions", {}).get("r", reply)
    if answer["status"] == "ok":
        return json.loads(literal_eval(answer["data"]["text/plain"]))
    reason = f"{answer.get('ename', answer['status'])}: {answer.get('evalue', '')}"
    raise KernelDied(f"the kernel can't go on: {reason}")


async def _greet(kernel):
    "Wait until a new process answers"
    kernel.client.start_channels()
    await kernel.client.wait_for_ready(timeout=START_TIMEOUT)
    kernel.client.allow_stdin = False
    info = await kernel.client.kernel_info(reply=True, timeout=START_TIMEOUT)
    kernel.language = info["content"]["language_info"]


class WarmKernel:
    "A kernel process that serves many notebooks; used only by the thread that opened it"

    def __init__(
        self,
        kernel_name: str = "python3",
        preload: str = PRELOAD,  # code that runs once at the start; what it imports stays
        max_uses: int = 500,  # notebooks, then a new process
        max_growth_mb: float | None = 2048,  # memory growth over what was kept on purpose; None: no limit
        env: Mapping | None = None,  # variables in addition to those of this process
    ):
        self.kernel_name, self.preload = kernel_name, preload
        self.max_uses, self.max_growth_mb = max_uses, max_growth_mb
        self.env = dict(env or {})
        self.manager = self.client = self.pid = self._folder = None
        self.uses = 0

    def start(self) -> "WarmKernel":
        "Start the process without waiting for it, so that it gets ready while papermill is imported"
        if self.manager:
            return self
        _require_papermill()
        from jupyter_client.manager import AsyncKernelManager
        from jupyter_core.utils import run_sync

        self._folder = _socket_folder()
        self.started_env, self._code = dict(os.environ), _code_of(self.kernel_name)
        self.manager = AsyncKernelManager(
            kernel_name=self.kernel_name,
            transport="ipc",
            ip=f"{self._folder}/k",
            connection_file=f"{self._folder}/c.json",
        )
        no_history_file = ["--HistoryManager.hist_file=:memory:"]
        run_sync(self.manager.start_kernel)(extra_arguments=no_history_file, env=os.environ | self.env)
        self.pid, self.uses = self.manager.provisioner.pid, 0
        return self

    def open(self) -> "WarmKernel":
        "Wait until the kernel is ready; starts one if there is none, or if the package's code has changed"
        from jupyter_core.utils import run_sync

        if self.manager:
            outdated = _code_of(self.kernel_name) != self._code
            if outdated or not run_sync(self.manager.is_alive)():
                self.close()
        if self.client:
            return self
        self.start()
        with self._closed_on_error():
            self.client = self.manager.client()
            run_sync(_greet)(self)
            self.call(f"baseline({os.getpid()})", self.preload, timeout=PRELOAD_TIMEOUT)
        return self

    def call(
        self,
        call: str,  # of a function of `kernel_reset`, as code
        code: str = "",  # runs before it
        timeout: float | None = None,  # seconds; None: REPLY_TIMEOUT
    ):  # what the function returns; plain values
        "Call a function of `kernel_reset` inside the kernel; raises `KernelDied`"
        from jupyter_core.utils import run_sync

        module = "__import__('ecg_audio_nb.batch.kernel_reset', fromlist=['reset'])"
        return run_sync(_evaluate)(self, code, f"{module}.{call}", timeout or REPLY_TIMEOUT)

    def reset(self) -> tuple[str, ...]:  # reasons why the kernel was closed; empty: it is ready again
        "Reset the kernel after a notebook; a kernel that can't be reset is closed"
        self.uses += 1
        if not self.client:
            reasons = ["no kernel"]
        else:
            try:
                reasons = self.call(f"reset({self.max_growth_mb})")
            except KernelError as e:
                reasons = [str(e)]
        if self.uses >= self.max_uses:
            reasons.append(f"it ran {self.uses} notebooks")
        if reasons:
            self.close()
        return tuple(reasons)

    def close(self) -> None:
        "End the process and remove the folder of its sockets"
        manager, client = self.manager, self.client
        self.manager = self.client = None
        if client:
            client.stop_channels()
        if manager:
            self._end_process(manager)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end_process(self, manager):
        from jupyter_core.utils import run_sync

        _signal_group(self.pid, signal.SIGKILL)
        with suppress(RuntimeError, OSError):
            run_sync(manager.shutdown_kernel)(now=True)
        if manager.context and not manager.context.closed and manager._created_context:
            manager.context.destroy(linger=0)

    @contextmanager
    def _closed_on_error(self):
        "Close a kernel that fails in the block, so that it is not used again"
        try:
            yield
        except KernelError:
            self.close()
            raise
        except (RuntimeError, OSError) as e:
            self.close()
            raise KernelDied(
                f"kernel {self.kernel_name} does not start or answer: {e}; `ecg doctor` checks it"
            ) from e


_kernels: dict[tuple[int, str], WarmKernel] = {}  # by thread and kernel name


def _kernel(kernel_name: str = "python3", preload: str = PRELOAD) -> WarmKernel:
    "This thread's kernel; kernels of threads that ended are closed"
    alive = {thread.ident for thread in threading.enumerate()}
    for thread in {thread for thread, _ in list(_kernels)} - alive:
        close_kernels(thread)
    key = threading.get_ident(), kernel_name
    if key not in _kernels:
        _kernels[key] = WarmKernel(kernel_name, preload)
    return _kernels[key]


def warm_up(
    preload: str = PRELOAD,  # code that runs once in the kernel, such as "import ecg_audio_nb.pipeline"
    kernel_name: str = "python3",
) -> WarmKernel:  # its process has been started; `open` waits for it
    "Start this thread's kernel before the first notebook"
    kernel = _kernel(kernel_name, preload)
    kernel.preload = preload
    return kernel.start()


def close_kernels(
    thread: int | None = None,  # the `ident` of one; None: of all
) -> None:
    "End the kernels of this process"
    for key in list(_kernels):
        if thread in (None, key[0]):
            _kernels.pop(key).close()


atexit.register(close_kernels)


class _Watch:
    """Ends a notebook whose time is up or that was asked to stop: interrupts its kernel, then kills it

    After a request to stop, the current cell has `grace` seconds to end by itself. Attributes: `pid`, the
    kernel's process, once it is known; `reason`, `timeout` or `stop`."""

    def __init__(
        self,
        timeout: float | None = None,  # seconds for the whole notebook
        stop: threading.Event | None = None,  # set to ask for the end
        grace: float = 30.0,  # seconds
    ):
        self.timeout, self.stop, self.grace = timeout, stop, grace
        self.deadline = time.monotonic() + timeout if timeout else None
        self.pid, self.reason = None, None
        self._over = threading.Event()

    def error(self) -> KernelError | None:
        "The error to raise before the next cell, or in place of the current cell's"
        if self.reason == "timeout" or self._time_is_up():
            return TimedOut(f"the notebook took longer than its {self.timeout:g} s")
        if self.stop and self.stop.is_set():
            return Stopped("the notebook was stopped")
        return None

    def _time_is_up(self):
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _run(self):
        while not self._over.wait(0.05):
            if self._time_is_up():
                self.reason = "timeout"
            elif self.stop and self.stop.is_set():
                self.reason = "stop"
            if self.reason:
                break
        if self.reason == "stop" and self._over.wait(self._seconds_of_grace()):
            return
        if self.reason and not self._over.is_set() and self.pid:
            _signal_group(self.pid, signal.SIGINT)
        if self.reason and not self._over.wait(INTERRUPT_GRACE) and self.pid:
            _signal_group(self.pid, signal.SIGKILL)

    def _seconds_of_grace(self):
        if self.deadline is None:
            return self.grace
        return min(self.grace, max(0, self.deadline - time.monotonic()))

    def __enter__(self):
        self._thread = threading.Thread(target=self._run, name="ecg-watch", daemon=True)
        if self.deadline or self.stop:
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        if self._thread.ident:
            self._thread.join()


@dataclass
class _Run:
    "What a run of a notebook needs beyond papermill's arguments"

    env: Mapping = field(default_factory=dict)
    cwd: str | None = None  # None: this process's
    seed: int | None = None
    watch: _Watch = field(default_factory=_Watch)
    kernel: WarmKernel | None = None  # None: papermill starts one
    nb: object = None  # the notebook as it stands, also after an error


def _record_error(manager, error: Exception):
    "Write an error of the kernel into the cell that was running; papermill would call that cell completed"
    from nbformat.v4 import new_output

    cells = manager.nb.cells
    started = [i for i, cell in enumerate(cells) if cell.metadata.papermill["start_time"]]
    first = started[-1] if started else 0
    at = next((i for i in range(first, len(cells)) if cells[i].cell_type == "code"), None)
    if at is None:
        manager.nb.metadata.papermill["exception"] = True
        return
    name = type(error).__name__
    output = new_output("error", ename=name, evalue=str(error), traceback=[f"{name}: {error}"])
    cells[at].outputs.append(output)
    manager.cell_exception(cells[at], cell_index=at)


def _run_cells(manager, run, options):
    "Run all cells through papermill's client; raises errors of the kernel"
    from nbclient.exceptions import CellTimeoutError
    from papermill.clientwrap import PapermillNotebookClient

    def check(**_):
        if error := run.watch.error():
            raise error

    client = PapermillNotebookClient(manager, on_cell_execute=check, **options)
    try:
        if run.kernel:
            _run_warm(client, run.kernel)
        else:
            client.kernel_manager_class = _watched_manager(run.watch)
            client.execute(env=os.environ | dict(run.env))
    except KernelError:
        raise
    except RuntimeError as e:
        died = KernelDied(f"the kernel's process ended while the notebook ran: {e}")
        raise run.watch.error() or died from e
    except CellTimeoutError as e:
        raise TimedOut(str(e).splitlines()[0]) from e
    failed = any(cell.metadata.papermill["status"] == manager.FAILED for cell in manager.nb.cells)
    if failed and (error := run.watch.error()):
        raise error


def _run_warm(client, kernel):
    "What the client's `execute` does, but without asking for the language: a deaf kernel never answers"
    client.kc = kernel.client
    client.reset_execution_trackers()
    client.papermill_execute_cells()
    client.nb.metadata["language_info"] = dict(kernel.language)
    client.set_widgets_metadata()


def _watched_manager(watch):
    "The class of a cold kernel's manager, which gives the kernel's process to the watch"
    from jupyter_client.manager import AsyncKernelManager

    class Watched(AsyncKernelManager):
        async def _async_post_start_kernel(self, **kwargs):
            await super()._async_post_start_kernel(**kwargs)
            watch.pid = self.provisioner.pid

        post_start_kernel = _async_post_start_kernel

    return Watched


class ColdEngine:
    "Papermill's engine `ecg-cold`: a new process for each notebook, with time limit and stop"

    @classmethod
    def nb_kernel_name(cls, nb, name=None):
        "The kernel that a notebook names"
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @classmethod
    def nb_language(cls, nb, language=None):
        "The language of a notebook"
        from papermill.utils import nb_language

        return nb_language(nb, language)

    @classmethod
    def execute_notebook(
        cls,
        nb,  # with its parameters
        kernel_name,
        output_path=None,
        progress_bar=True,
        log_output=False,
        autosave_cell_every=30,
        start_timeout=60,
        execution_timeout=None,
        job=None,  # a `_Run`
        input_path=None,
        timeout=None,
        **more,
    ):
        "Run a notebook; called by papermill"
        from papermill.engines import NotebookExecutionManager

        run = job or _Run()
        manager = NotebookExecutionManager(nb, output_path, log_output, progress_bar, autosave_cell_every)
        manager.notebook_start()
        options = {
            "coalesce_streams": True,
            **more,
            "timeout": execution_timeout or timeout,
            "startup_timeout": start_timeout,
            "kernel_name": kernel_name,
            "log_output": log_output,
        }
        try:
            cls._execute(manager, run, options)
        except Exception as e:
            _record_error(manager, e)
            raise
        finally:
            run.nb = manager.nb
            manager.cleanup_pbar()
            manager.notebook_complete()
        return manager.nb

    @classmethod
    def _execute(cls, manager, run, options):
        resources = {"metadata": {"path": run.cwd or os.getcwd()}}
        _run_cells(manager, run, {**options, "resources": resources})


class WarmEngine(ColdEngine):
    "Papermill's engine `warm`: runs a notebook in the thread's kernel and resets it afterwards"

    @classmethod
    def _execute(cls, manager, run, options):
        kernel = run.kernel = _kernel(options["kernel_name"]).open()
        run.watch.pid = kernel.pid
        env = _env_changes(os.environ, kernel.started_env) | dict(run.env)
        cwd = str(run.cwd or os.getcwd())
        try:
            kernel.call(f"prepare({env!r}, {cwd!r}, {run.seed!r})")
            _run_cells(manager, run, {**options, "km": kernel.manager})
        except BaseException:
            kernel.close()  # a client that gave up may still be listening
            raise
        kernel.reset()


def _register_engine(name):
    "Register our engines with papermill; returns the name under which papermill knows the engine"
    from papermill.engines import papermill_engines

    papermill_engines.register("warm", WarmEngine)
    papermill_engines.register("ecg-cold", ColdEngine)
    return name or "ecg-cold"


def run_notebook(
    notebook: Path,  # with a cell tagged `parameters`, if it takes any
    output: Path,  # the executed notebook, written once, at the end; its folder must exist
    parameters: dict,  # values that JSON can hold
    *,
    engine: str | None = "warm",  # papermill's name; None: a new process, as papermill does it
    timeout: float | None = None,  # seconds for the whole notebook
    stop: threading.Event | None = None,  # when set, the current cell is the last one
    grace: float = 30.0,  # seconds that this cell then has
    env: Mapping = {},  # noqa: B006 - read only; variables for this notebook alone
    cwd: Path | None = None,  # where it runs; None: this process's folder
    seed: int | None = None,  # for random, numpy and torch
    log_output: bool = False,
) -> None:
    """Run a notebook and write it with its outputs, also after an error

    Raises the notebook's own error as papermill does, or `KernelDied`, `TimedOut`, `Stopped`."""
    _require_papermill()
    if engine == "warm":
        _kernel().start()  # gets ready while papermill is imported
    import nbformat
    import papermill

    with _Watch(timeout, stop, grace) as watch:
        run = _Run(dict(env), str(cwd) if cwd else None, seed, watch)
        try:
            papermill.execute_notebook(
                str(notebook),
                None,  # papermill writes nothing: the output appears whole or not at all
                parameters,
                engine_name=_register_engine(engine),
                progress_bar=False,
                log_output=log_output,
                request_save_on_cell_execute=False,
                job=run,
            )
        finally:
            if run.nb is not None:
                run.nb.metadata.papermill["output_path"] = Path(output).name
                write_atomic(Path(output), nbformat.writes(run.nb))
