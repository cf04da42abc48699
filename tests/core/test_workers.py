"""A child process may crash, hang, print, lie or be left behind: its parent lives, and says what happened."""
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ecg_audio_nb.core.workers import Child, ChildCrashed, ChildError, ChildTimeout, _spare, fresh

KIDS = """
import ctypes, os, resource, subprocess, sys, time

def echo(request, payload):
    for i in range(request.get("times", 1)): yield {**request, "i": i, "pid": os.getpid()}, payload

def noisy(request, payload):
    print("a library says hello")
    os.write(1, b"and so does C")
    subprocess.run(["echo", "and a program"])
    assert sys.stdin.read() == ""
    yield {"heard": True}, b""

def picky(request, payload):
    yield {}, b"first"
    if request["fail"]: raise KeyError("no such thing")

def segfault(request, payload):
    os.write(2, b"last words\\n")
    ctypes.string_at(0)
    yield {}, b""

def leave(request, payload):
    os._exit(7)
    yield {}, b""

def hang(request, payload):
    yield {"pid": os.getpid()}, b""
    ctypes.PyDLL(None).sleep(600) # holds Python's lock, as a broken C library may
    yield {}, b""

def drip(request, payload):
    while True: yield {"pid": os.getpid()}, b"x"; time.sleep(0.01)

def lie(request, payload):
    for fd in range(3, 30):
        try: os.write(fd, request["bytes"].encode("latin-1"))
        except OSError: pass
    yield {}, b""

def greedy(request, payload):
    yield {"bytes": len(bytearray(8 << 30))}, b""

def busy(request, payload):
    while True: pass
    yield {}, b""

def group(request, payload):
    yield {"nice": os.nice(0), "group": open("/proc/self/autogroup").read() if os.path.exists("/proc/self/autogroup") else None}, b""

def threads(request, payload):
    yield {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}, b""
"""


@pytest.fixture(scope="module")
def kids(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kids")
    (folder / "kids.py").write_text(KIDS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def gone(pid, within=30):
    "Wait until a process has ended (or is a zombie nobody waits for)"
    until = time.monotonic() + within
    while time.monotonic() < until:
        try: state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError): return True
        if state in "ZX": return True
        time.sleep(0.05)
    return False


def test_headers_and_bytes_come_back_whole(kids):
    payload = bytes(range(256)) * 5000
    with Child("kids:echo") as child:
        for times in (0, 3):
            answers = list(child.stream({"times": times, "text": "회의 \udcff", "none": None}, payload))
            assert [h["i"] for h, _ in answers] == list(range(times))
            assert all(bytes(data) == payload and h["text"] == "회의 \udcff" for h, data in answers)


def test_it_stays_for_the_next_request(kids):
    with Child("kids:echo") as child:
        pids = {header["pid"] for _ in range(3) for header, _ in child.stream({"times": 2})}
        assert len(pids) == 1 and os.getpid() not in pids


def test_what_is_printed_does_no_harm(kids):
    with Child("kids:noisy") as child: assert [h for h, _ in child.stream({})] == [{"heard": True}]


def test_an_error_names_its_class_and_text_and_the_child_stays(kids):
    with Child("kids:picky") as child:
        heard = []
        with pytest.raises(ChildError) as caught:
            for _, data in child.stream({"fail": True}): heard.append(bytes(data))
        assert (
            heard == [b"first"]
            and caught.value.kind == "KeyError"
            and caught.value.message == "'no such thing'"
        )
        assert len(list(child.stream({"fail": False}))) == 1


@pytest.mark.parametrize(
    "target, kind", [("kids:nobody", "AttributeError"), ("not_here:f", "ModuleNotFoundError")]
)
def test_a_wrong_target_is_an_error(kids, target, kind):
    with Child(target) as child, pytest.raises(ChildError) as caught: list(child.stream({}))
    assert caught.value.kind == kind


def test_a_crash_names_the_signal_and_keeps_the_last_words(kids):
    with Child("kids:segfault") as child:
        for _ in range(2): # the second one in a fresh process
            with pytest.raises(ChildCrashed, match="SIGSEGV") as caught: list(child.stream({}))
            assert "last words" in caught.value.stderr


def test_an_exit_names_its_status(kids):
    with Child("kids:leave") as child, pytest.raises(ChildCrashed, match="exit status 7"):
        list(child.stream({}))


def test_a_hang_in_c_is_ended_by_the_clock(kids):
    with Child("kids:hang", timeout=1.5) as child:
        stream = child.stream({})
        pid = next(stream)[0]["pid"]
        with pytest.raises(ChildTimeout, match="longer than 1.5 s"): next(stream)
        assert gone(pid)


def test_the_clock_counts_the_whole_stream(kids):
    with Child("kids:drip", timeout=1) as child, pytest.raises(ChildTimeout):
        for _ in child.stream({}): pass


@pytest.mark.parametrize("said", ["\x00" * 64, "M" + "\xff" * 60, "GET / HTTP/1.0\r\n\r\n",
    "M\x00\x00\x00\x02" + "\x00" * 8 + "[]", "M\x00\x00\x00\x04" + "\x00" * 8 + "nope"])
def test_what_is_no_message_ends_the_stream(kids, said):
    with Child("kids:lie", timeout=60) as child, pytest.raises(ChildCrashed):
        list(child.stream({"bytes": said}))


def test_memory_and_processor_time_are_limited(kids):
    with Child("kids:greedy", memory_mb=1024) as child, pytest.raises(ChildError) as caught:
        list(child.stream({}))
    assert caught.value.kind == "MemoryError"
    with (
        Child("kids:busy", cpu_seconds=1, timeout=60) as child,
        pytest.raises(ChildCrashed, match="SIGXCPU|SIGKILL"),
    ):
        list(child.stream({}))


def test_numeric_libraries_are_told_how_many_threads(kids):
    with Child("kids:threads", threads=3) as child: assert set(next(child.stream({}))[0].values()) == {"3"}


def test_a_stream_left_early_ends_the_child_and_the_next_starts_another(kids):
    with Child("kids:drip") as child:
        stream = child.stream({})
        first = next(stream)[0]["pid"]
        stream.close()
        assert gone(first)
        assert next(child.stream({}))[0]["pid"] != first


def test_one_stream_at_a_time(kids):
    with Child("kids:drip") as child:
        stream = child.stream({})
        next(stream)
        with pytest.raises(RuntimeError, match="one stream at a time"): next(child.stream({}))
        stream.close()


def test_another_thread_can_end_it(kids):
    with Child("kids:hang") as child:
        stream = child.stream({})
        next(stream)
        threading.Timer(0.2, child.close).start()
        with pytest.raises(ChildCrashed, match="SIGKILL"): next(stream)


def test_nothing_is_left_behind(kids):
    def use():
        for target in ("kids:echo", "kids:leave", "kids:segfault"):
            with Child(target) as child:
                for _ in range(2):
                    try: list(child.stream({}))
                    except ChildCrashed: pass
        Child("kids:echo") # forgotten without `close`
    use()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3): use()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


SCRIPT = """
import sys
sys.path.insert(0, {kids!r})
from ecg_audio_nb.core.workers import Child
child = Child("kids:{what}")
for header, _ in child.stream({{}}): print(header["pid"], flush=True)
"""


def test_a_script_needs_no_main_guard(kids, tmp_path):
    (tmp_path / "user.py").write_text(SCRIPT.format(kids=str(kids), what="echo"))
    out = subprocess.run(
        [sys.executable, "user.py"], cwd=tmp_path, stdout=subprocess.PIPE, env=_environment(), check=True
    )
    assert len(out.stdout.split()) == 1


@pytest.mark.parametrize("what", ["hang", "drip", "busy"])
def test_it_dies_with_its_parent(kids, tmp_path, what):
    script = SCRIPT.format(kids=str(kids), what=what)
    if what == "busy": script = script.replace("for header", "print(child._proc.pid, flush=True)\nfor header")
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=_environment()
    )
    pid = int(parent.stdout.readline())
    assert not gone(pid, within=0.5)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


def test_it_outlives_the_thread_that_started_it(kids):
    made = []
    thread = threading.Thread(target=lambda: made.append(Child("kids:echo")))
    thread.start(); thread.join()
    with made[0] as child: assert len(list(child.stream({"times": 2}))) == 2


def test_fresh_ones_serve_once_and_the_next_is_there_before_it_is_asked_for(kids):
    def once():
        with fresh("kids:echo", 60, cpu_seconds=60) as child:
            return [h["pid"] for h, _ in child.stream({})][0]

    def spare(): return [c._proc.pid for key, c in _spare.items() if "kids:echo" in key]
    first, none = once(), spare()
    second, one = once(), spare()
    third = once()
    assert none == [] and [third] == one and third not in spare() and len({first, second, third}) == 3
    assert all(gone(pid) for pid in (first, second, third))
    os.kill(spare()[0], signal.SIGKILL) # a spare that died meanwhile
    assert gone(spare()[0]) and once() not in (first, second, third)


def test_a_fork_leaves_the_spare_alone(kids):
    def once():
        with fresh("kids:echo", cpu_seconds=61) as child: return [h["pid"] for h, _ in child.stream({})][0]
    once(), once()
    spare = next(c._proc.pid for key, c in _spare.items() if ("cpu_seconds", 61) in key)
    r, w = os.pipe()
    if not (pid := os.fork()):
        try: os.write(w, str(once()).encode())
        finally: os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(r, 100)) != spare and once() == spare
    os.close(r), os.close(w)


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel has no scheduler groups for sessions"
)
def test_a_child_of_a_nice_parent_is_nice_as_a_group(kids):
    said = {}
    def nice():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 7) # of this thread alone
        with Child("kids:group") as child: said.update(next(h for h, _ in child.stream({})))
    thread = threading.Thread(target=nice)
    thread.start(); thread.join()
    assert said["nice"] == 7 and said["group"].split()[-1] == "7"
    with Child("kids:group") as child: assert next(h for h, _ in child.stream({}))["nice"] == os.nice(0)


def _environment(): return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
