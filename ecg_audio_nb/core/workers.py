"""Run a function of the package in a child process that may crash, hang or be taken over, without harm here

Not `multiprocessing`: a user's script has no `__main__` guard. Not `pickle`: the output of a child that reads
untrusted media must not make its parent execute anything. A message is a JSON object and raw bytes, each with
its length:

    tag (1 byte: M message, E error, . end), length of header (4 bytes), length of payload (8 bytes),
    header, payload

Requests go in through the child's stdin, answers come back through what was its stdout. A C library that
prints to file descriptor 1 does no harm: in the child that descriptor leads to stderr, of which the parent
keeps the last lines.
"""
import json, os, signal, struct, subprocess, sys, threading
from collections.abc import Iterator
from contextlib import contextmanager

_HEAD = struct.Struct(">cIQ")
_MAX_HEADER, _MAX_PAYLOAD = 1 << 20, 1 << 28 # bytes; what a child may make its parent hold
_MESSAGE, _ERROR, _END = b"M", b"E", b"."


class ChildError(RuntimeError):
    "The function in the child raised: `kind` is the name of the exception's class, `message` its text"
    def __init__(self, kind:str, message:str):
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message


class ChildCrashed(RuntimeError):
    "The child ended without an answer; `stderr` holds its last lines"
    def __init__(self, message:str, stderr:str=""):
        super().__init__(f"{message}\n{stderr}".strip())
        self.stderr = stderr


class ChildTimeout(TimeoutError):
    "The child took longer than its time limit, and was killed"


# -- both sides

def _send(out, tag, header, payload=b""):
    head, payload = json.dumps(header).encode(), memoryview(payload)
    payload = payload.cast("B") if payload.nbytes else b""
    out.write(_HEAD.pack(tag, len(head), len(payload)) + head)
    if len(payload): out.write(payload)
    out.flush()


def _receive(stream):
    "One message as (tag, header, payload); raises EOFError at the end, ValueError for what is no message"
    tag, n_head, n_payload = _HEAD.unpack(_exactly(stream, _HEAD.size))
    if n_head > _MAX_HEADER or n_payload > _MAX_PAYLOAD:
        raise ValueError(f"a message of {n_head} + {n_payload} bytes")
    header = json.loads(bytes(_exactly(stream, n_head)))
    if not isinstance(header, dict): raise ValueError("a header that is no JSON object")
    return tag, header, _exactly(stream, n_payload)


def _exactly(stream, n):
    view, got = memoryview(bytearray(n)), 0
    while got < n:
        k = stream.readinto(view[got:])
        if not k: raise EOFError
        got += k
    return view


# -- the parent

class Child:
    "A child process that answers requests with a generator function; started at once, and again when lost"
    def __init__(self,
        target:str, # "package.module:function"; a generator of (dict, buffer), called with (request, payload)
        timeout:float|None=None, # seconds for one stream, from its start to its end
        memory_mb:int|None=None, # limit of the child's address space (Linux)
        cpu_seconds:int|None=None, # limit of the child's processor time over its whole life
        threads:int=1, # for the numeric libraries of the child
    ):
        if not sys.executable: raise RuntimeError("no Python to start a child with: sys.executable is empty")
        self.target, self.timeout, self.threads = target, timeout, threads
        self._limits = {"memory_mb": memory_mb, "cpu_seconds": cpu_seconds}
        self._proc, self._lock = None, threading.Lock()
        self._start()

    def stream(self, request:dict, payload=b"")->Iterator[tuple[dict, memoryview]]:
        """Yield what the child's function yields for one request; the child stays for the next one.

        Raises `ChildError` (the function raised), `ChildCrashed` (the process died) or `ChildTimeout`.
        Leaving a stream before its end kills the child, and the next stream starts another."""
        if not self._lock.acquire(blocking=False): raise RuntimeError("a child answers one stream at a time")
        ended, late = False, threading.Event()
        try:
            if self._proc is None or self._proc.poll() is not None: self._start()
            watchdog = self._watch(late)
            try:
                _send(self._proc.stdin, _MESSAGE, request, payload)
                while True:
                    tag, header, data = _receive(self._proc.stdout)
                    if tag == _MESSAGE: yield header, data
                    else: break
                ended = True
            finally:
                if watchdog: watchdog.cancel(); watchdog.join()
            if tag == _ERROR: raise ChildError(str(header.get("kind")), str(header.get("message")))
        except (EOFError, OSError, ValueError, RecursionError) as e:
            if late.is_set(): raise ChildTimeout(f"it took longer than {self.timeout:g} s") from None
            raise self._crashed(e) from None
        finally:
            if not ended or late.is_set(): self._kill()
            self._lock.release()

    def _watch(self, late):
        if self.timeout is None or self.timeout > threading.TIMEOUT_MAX: return None
        def kill(): late.set(); _kill_group(self._proc)
        timer = threading.Timer(self.timeout, kill)
        timer.daemon = True
        timer.start()
        return timer

    def _start(self):
        self._reap()
        lifeline, mine = os.pipe()
        plan = json.dumps({"target": self.target, "path": [os.path.abspath(p) for p in sys.path],
                           "lifeline": lifeline, **self._limits})
        variables = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"
        threads = dict.fromkeys(variables, str(self.threads))
        try:
            command = [sys.executable, "-P", os.path.abspath(__file__), plan]
            self._proc = subprocess.Popen(command, pass_fds=[lifeline],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                env={**os.environ, **threads})
        except BaseException:
            os.close(mine)
            raise
        finally: os.close(lifeline)
        self._lifeline, self._tail, self._owner = mine, bytearray(), os.getpid()
        arguments = self._proc.stderr, self._tail
        self._listener = threading.Thread(target=_keep_tail, args=arguments, daemon=True)
        self._listener.start()

    def _crashed(self, e):
        "Why the child is gone: its exit status or signal, and its last words"
        gone = isinstance(e, (EOFError, OSError))
        if gone:
            try: self._proc.wait(1) # a dying process closes its pipes a little before it can be waited for
            except subprocess.TimeoutExpired: pass
        code = self._proc.poll()
        self._kill()
        if not gone: how = f"the child process said what is no message ({e})"
        elif code is None: how = "the child process closed its pipe"
        elif code < 0: how = f"the child process was ended by {_signal_name(-code)}"
        else: how = f"the child process ended with exit status {code}"
        return ChildCrashed(how, "\n".join(self._tail.decode("utf-8", "replace").splitlines()[-20:]))

    def _kill(self):
        if self._proc is None: return
        _kill_group(self._proc)
        self._proc.wait()
        self._reap()

    def _reap(self):
        if self._proc is None: return
        proc, self._proc = self._proc, None
        proc.wait()
        self._listener.join()
        os.close(self._lifeline)
        for pipe in (proc.stdin, proc.stdout, proc.stderr):
            try: pipe.close()
            except BrokenPipeError: pass # what was not written to a dead child

    def close(self):
        "End the child; a stream that another thread is reading ends with `ChildCrashed`"
        proc = self._proc
        if proc is None: return
        if not self._lock.acquire(blocking=False): return _kill_group(proc)
        try:
            proc.stdin.close()
            proc.wait(1)
        except (subprocess.TimeoutExpired, BrokenPipeError): pass
        finally:
            self._kill()
            self._lock.release()

    def __enter__(self): return self
    def __exit__(self, *_): self.close()

    def __del__(self):
        if getattr(self, "_proc", None) is None or sys.is_finalizing(): return
        if self._owner == os.getpid(): self._kill() # not in a fork of the owner


_spare, _asked, _spare_lock = {}, set(), threading.Lock()

@contextmanager
def fresh(target:str, timeout:float|None=None, **limits)->Iterator[Child]:
    """Start a child that answers one request and ends, for untrusted input.

    From the second of its kind on, a spare child is started for the next: starting takes long."""
    key = (os.getpid(), target, *sorted(limits.items()))
    with _spare_lock: child, series = _spare.pop(key, None), key in _asked
    if child is None: child = Child(target, **limits)
    child.timeout = timeout
    with child: yield child
    with _spare_lock:
        _asked.add(key)
        if series and key not in _spare: _spare[key] = Child(target, **limits)


def _kill_group(proc):
    "The child leads a process group of its own"
    if proc.returncode is not None: return
    try: os.killpg(proc.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError): pass # it ended by itself


def _signal_name(number):
    try: return signal.Signals(number).name
    except ValueError: return f"signal {number}"


def _keep_tail(pipe, tail, size=8192):
    while data := pipe.read1(4096):
        tail += data
        del tail[:-size]


# -- the child

def _main(plan):
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    _die_with_parent(plan["lifeline"])
    _step_back()
    _limit(plan)
    import faulthandler, importlib
    # from Python 3.14 on, its C stack would push out the last lines
    short = {"c_stack": False} if sys.version_info >= (3, 14) else {}
    faulthandler.enable(all_threads=False, **short)
    sys.path[:] = plan["path"]
    module, _, name = plan["target"].partition(":")
    try: function, broken = getattr(importlib.import_module(module), name), None
    except Exception as e: function, broken = None, e # told when something is asked
    while True:
        try: _, request, payload = _receive(requests)
        except EOFError: break
        try:
            if broken: raise broken
            for header, data in function(request, payload): _send(answers, _MESSAGE, header, data)
        except BrokenPipeError: break
        except Exception as e: _send(answers, _ERROR, {"kind": type(e).__name__, "message": str(e)[:4000]})
        else: _send(answers, _END, {})
    os._exit(0) # nothing is left to clean up, and a broken library can't hang at exit


def _die_with_parent(lifeline):
    "Nothing is ever written to this pipe: all that can happen to it is that the parent's end goes away"
    import fcntl, select
    if hasattr(fcntl, "F_SETSIG"): # Linux: the kernel ends us, also when C code hangs and holds Python's lock
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([lifeline], [], [], 0)[0]: os._exit(1) # it went away before
    else: threading.Thread(target=lambda: (os.read(lifeline, 1), os._exit(1)), daemon=True).start()


def _step_back():
    "Pass the parent's niceness on to the session, which is a group of its own for Linux's scheduler"
    if not (nice := os.nice(0)): return
    try:
        with open("/proc/self/autogroup", "w") as group: group.write(str(nice))
    except OSError: pass # no such groups here: then niceness alone counts


def _limit(plan):
    import resource
    def lower(which, value, spare=0):
        _, hard = resource.getrlimit(which)
        most = value + spare if hard == resource.RLIM_INFINITY else min(value + spare, hard)
        resource.setrlimit(which, (min(value, most), most))
    lower(resource.RLIMIT_CORE, 0) # a crash leaves no copy of the media on the disk
    if plan["memory_mb"] and sys.platform == "linux": lower(resource.RLIMIT_AS, plan["memory_mb"] << 20)
    if plan["cpu_seconds"]: # SIGXCPU, which tells why, before SIGKILL
        lower(resource.RLIMIT_CPU, int(plan["cpu_seconds"]), 1)


if __name__ == "__main__": _main(json.loads(sys.argv[1]))
