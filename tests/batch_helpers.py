"""Helpers for tests of the batch: small notebooks, sources, the command, and long scenarios that are run
short and long"""
import hashlib
import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from ecg_audio_nb.batch.queue import Queue, attempts, counts, list_jobs
from ecg_audio_nb.batch.runner import BatchSpec, FolderStore, enqueue, run_locally, work
from waiting import until

TOY = """\
import hashlib, pathlib, time
text = pathlib.Path(source).read_text() if "://" not in source else source
if text.startswith("bad"): raise ValueError("this recording is bad; take another")
time.sleep(seconds)
pathlib.Path(output_dir, "result.txt").write_text(hashlib.sha256(text.encode()).hexdigest())"""

STAGES = """\
import time
from types import SimpleNamespace
from ecg_audio_nb.batch.runner import job_hook
hook = job_hook()
for stage in ("media", "voice", "transcribe", "align", "diarize", "acoustics"):
    hook(SimpleNamespace(stage=stage, status="start", fraction=None))
    for i in range(10): time.sleep(seconds / 10); hook(SimpleNamespace(stage=stage, status="progress", fraction=i / 10))
    hook(SimpleNamespace(stage=stage, status="done", fraction=None))"""


def notebook(
    path, *cells, seconds=0.1, parameters="source = None\noutput_dir = '.'\nseconds = {seconds}"
) -> Path:
    """Write a notebook with these cells behind its parameters; by default, its result is a function of its
    source's content"""
    nb = new_notebook(
        cells=[new_code_cell(parameters.format(seconds=seconds)), *(new_code_cell(c) for c in cells or [TOY])]
    )
    nb.cells[0].metadata["tags"] = ["parameters"]
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    for i, cell in enumerate(nb.cells): cell["id"] = f"cell-{i}"
    nbformat.write(nb, path)
    return Path(path)


def recordings(folder, n, start="recording") -> list[Path]:
    "Write n sources that are all different"
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = [Path(folder) / f"{start}{i:03}.wav" for i in range(n)]
    for i, path in enumerate(paths): path.write_text(f"{start} {i}")
    return paths


def made_of(path) -> str:
    "What the toy notebook writes for a source"
    return hashlib.sha256(Path(path).read_text().encode()).hexdigest()


def ecg(*args, merge=False, **kwargs):
    "Start the command; `merge`: its errors go to standard output too"
    errors = subprocess.STDOUT if merge else subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "ecg_audio_nb", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        **kwargs,
    )


def leftovers(folder) -> list[str]:
    "Folders that a killed runner left"
    return [p.name for p in Path(folder).iterdir() if p.name.endswith((".part", ".old"))]


def open_queue(out) -> Queue:
    "Wait for the queue of a batch that was just started"
    path = Path(out) / ".jobs/queue.sqlite"
    until(path.exists)
    return Queue(path)


def each_done_once(queue):
    return all(sum(a["outcome"] == "done" for a in attempts(queue, j)) == 1 for j in list_jobs(queue))


# Scenarios: tests/batch runs them short, tests/soak long

CLAIM_ALL = """
import sys, time
from ecg_audio_nb.batch.queue import *
q, me = Queue(sys.argv[1]), owner_name()
print("ready", flush=True)
sys.stdin.readline()
while j := claim(q, me):
    print(j.name)
    time.sleep(0.003)
    finish(q, j)
"""


def claim_from_two_processes(queue, names):
    "Two processes claim and finish the queue's jobs: each job once, both at work"
    command = [sys.executable, "-c", CLAIM_ALL, str(queue.path)]
    runners = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for p in runners: assert p.stdout.readline() == "ready\n"
    for p in runners: p.stdin.write("go\n"); p.stdin.flush()
    claimed = [p.communicate(timeout=120)[0].split() for p in runners]
    assert sorted(claimed[0] + claimed[1]) == sorted(names) and all(claimed)
    assert counts(queue)["done"] == len(names)
    assert all([a["outcome"] for a in attempts(queue, j)] == ["done"] for j in list_jobs(queue))


def kill_batch_parts(folder, n, victims, first, step, seconds, compare):
    """kill -9 of workers, kernels and the command while a batch of n jobs runs: no result is lost, none is
    made twice"""
    sources, out, path = (
        recordings(folder / "in", n),
        folder / "out",
        notebook(folder / "toy.ipynb", seconds=seconds),
    )

    def start(): return ecg("batch", folder / "in", "-o", out, "--notebook", path, "--workers", "2")
    p, kills = start(), 0
    queue = open_queue(out)
    for i, victim in enumerate(victims):
        until(lambda: counts(queue)["done"] >= first + step * i and list_jobs(queue, "running"))
        runner = until(lambda: next((r for r in psutil.Process(p.pid).children() if r.children()), None))
        kernel = runner.children()[0]
        for target in {
            "runner": [runner],
            "kernel": [kernel],
            "both": [kernel, runner],
            "batch": [psutil.Process(p.pid)],
        }[victim]:
            with suppress(psutil.NoSuchProcess): target.kill(); kills += 1
        if victim == "batch":
            p.wait()
            p = start()
    _, log = p.communicate(timeout=300)
    assert (p.returncode, counts(queue)["done"]) == (0, n), log
    assert kills == len(victims) + victims.count("both")
    assert {s.stem: (out / s.stem / "result.txt").read_text() for s in sources} == {
        s.stem: made_of(s) for s in sources
    }
    assert each_done_once(queue)
    assert any(len(attempts(queue, j)) > 1 for j in list_jobs(queue)), "no kill hit a job at work"
    if compare: compare_with_undisturbed(folder / "undisturbed", BatchSpec(path), sources, out)
    for s in sources:
        assert (
            json.loads((out / s.stem / f"{s.stem}.ipynb").read_text())["metadata"]["papermill"]["exception"]
            is None
        )
    ecg("batch", folder / "in", "-o", out, "--notebook", path).communicate(timeout=60)
    assert not leftovers(out)


def compare_with_undisturbed(folder, spec, sources, out):
    "The results of a batch that nobody disturbs are the same bytes"
    store = FolderStore(folder)
    queue = Queue(store.queue_file())
    enqueue(queue, spec, map(str, sources), store)
    work(queue, store, run_locally(queue), threading.Event())
    for s in sources:
        assert (folder / s.stem / "result.txt").read_bytes() == (out / s.stem / "result.txt").read_bytes()


def share_a_queue(folder, n, seconds):
    "Two commands on one folder: each job runs once, both work"
    recordings(folder / "in", n)
    out, path = folder / "out", notebook(folder / "toy.ipynb", seconds=seconds)
    both = [ecg("batch", folder / "in", "-o", out, "--notebook", path) for _ in range(2)]
    for p in both:
        said, log = p.communicate(timeout=300)
        assert p.returncode == 0 and said.startswith(f"{n} of {n} done"), log
    queue = Queue(out / ".jobs/queue.sqlite")
    assert all([a["outcome"] for a in attempts(queue, j)] == ["done"] for j in list_jobs(queue))
    assert len({a["owner"] for j in list_jobs(queue) for a in attempts(queue, j)}) == 2


def kill_cluster_parts(folder, n, victims, first, step, seconds):
    "kill -9 of a worker, the coordinator, the scheduler while a batch of n jobs runs; each is started again"
    from dask_loopback import cluster

    sources, out, path = (
        recordings(folder / "in", n),
        folder / "out",
        notebook(folder / "toy.ipynb", seconds=seconds),
    )
    with cluster(folder) as (address, scheduler, workers):

        def start():
            return ecg(
                "batch", folder / "in", "-o", out, "--notebook", path, "--cluster", address, merge=True
            )

        coordinator, stop, paused = start(), threading.Event(), threading.Lock()
        def supervise():
            while not stop.wait(0.5):
                with paused:
                    for part in (scheduler, *workers): part.supervise()
        supervisor = threading.Thread(target=supervise)
        supervisor.start()
        try:
            queue = open_queue(out)
            for i, victim in enumerate(victims):
                until(lambda: counts(queue)["done"] >= first + step * i and list_jobs(queue, "running"), 90)
                if victim == "coordinator":
                    coordinator.kill()
                    coordinator.communicate()
                    coordinator = start()
                else:
                    with paused: {"worker": workers[i % 2], "scheduler": scheduler}[victim].kill()
            said = coordinator.communicate(timeout=240)[0]
        finally:
            stop.set()
            supervisor.join()
        assert coordinator.returncode == 0 and counts(queue)["done"] == n, said
        assert {s.stem: (out / s.stem / "result.txt").read_text() for s in sources} == {
            s.stem: made_of(s) for s in sources
        }
        assert each_done_once(queue)
        assert sum(len(attempts(queue, j)) for j in list_jobs(queue)) > n, "no kill hit a job at work"
        assert not leftovers(out)
