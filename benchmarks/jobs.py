"""The batch against stock papermill: jobs per minute, the overhead of a job, memory over many, and a queue of
10,000

One run measures both sides on this machine:

- `jobs_per_minute_*`: the analyze notebook over short files with the embedded engines. Ours is `ecg batch`
  with one runner, from the command to its end; the peer is a loop over `papermill.execute_notebook` in one
  process, which spares it the import of papermill for each file.
- `overhead_ratio`: a notebook that imports torch and needs a model whose load takes 1.5 s, median time cold
  over warm.
- `first_ratio`: the same notebook as the first of a new process, ours over papermill's.
- `flat`: 100 notebooks of 50 MB and a list that refers to itself through one kernel.
- `queue`: 10,000 jobs: the longest of many adds, claims and looks at the status, in ms, and the file's size.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import nbformat
from _common import ROOT, keep, options
from nbformat.v4 import new_code_cell, new_notebook

SAMPLE = ROOT / "ecg_audio_nb/assets/sample.mp4"
LOAD = """\
import time, torch
from ecg_audio_nb.models import get_or_load
def load():
    time.sleep(1.5)
    return torch.ones(25_000_000)
model = get_or_load(("benchmark", "model"), load, 100)"""
LITTER = """\
block = bytearray(50_000_000)
knot = list(range(200_000))
knot.append(knot)"""
ONE = """\
import sys
from pathlib import Path
if sys.argv[1] == "papermill":
    import papermill
    papermill.execute_notebook(sys.argv[2], sys.argv[3], {"n": 1}, progress_bar=False)
else:
    from ecg_audio_nb.batch.warm_kernel import run_notebook, warm_up
    warm_up()
    run_notebook(Path(sys.argv[2]), Path(sys.argv[3]), {"n": 1})
"""


def notebook(path: Path, *cells: str) -> Path:
    "A notebook with one parameter"
    nb = new_notebook(
        cells=[new_code_cell("n = 0", metadata={"tags": ["parameters"]}), *map(new_code_cell, cells)]
    )
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(nb, path)
    return path


def seconds(act, *args, **kwargs) -> float:
    "How long a call takes"
    began = time.perf_counter()
    act(*args, **kwargs)
    return time.perf_counter() - began


def papermill_run(path, out, parameters=None, **kwargs):
    "The peer: a new kernel for every notebook"
    import papermill

    papermill.execute_notebook(str(path), str(out), parameters or {"n": 1}, progress_bar=False, **kwargs)


def overhead(folder: Path, quick: bool) -> dict:
    "Median seconds a notebook, cold and warm, and those of a first one in a new process"
    from ecg_audio_nb.batch.warm_kernel import close_kernels, run_notebook

    path, out = notebook(folder / "load.ipynb", LOAD, "float(model[n])"), folder / "o.ipynb"
    run_notebook(path, out, {"n": 1})
    warm = [seconds(run_notebook, path, out, {"n": 1}) for _ in range(8 if quick else 40)]
    close_kernels()
    if not quick:
        papermill_run(path, out)  # torch's files are in the page cache after it
    cold = [seconds(papermill_run, path, out) for _ in range(1 if quick else 7)]
    found = {"cold_s": statistics.median(cold), "warm_s": statistics.median(warm)}
    if quick:
        return found
    first = {
        who: statistics.median(
            seconds(
                subprocess.run, [sys.executable, "-c", ONE, who, path, out], check=True, capture_output=True
            )
            for _ in range(5)
        )
        for who in ("papermill", "ours")
    }
    return {**found, "first_s_papermill": first["papermill"], "first_s_ours": first["ours"]}


def clips(folder: Path, n: int, length: float = 6.0) -> Path:
    "Short files that are all different, cut from the packaged sample"
    import wave
    from ecg_audio_nb.audio.media import load_audio

    folder.mkdir()
    sound = (load_audio(SAMPLE).samples * 32767).astype("int16")
    for i in range(n):
        start = int(i * (len(sound) - 16000 * length) / max(n - 1, 1))
        with wave.open(str(folder / f"clip{i:02}.wav"), "wb") as w:
            w.setparams((1, 2, 16000, 0, "NONE", ""))
            w.writeframes(sound[start : start + int(16000 * length)].tobytes())
    return folder


def throughput(folder: Path, n: int) -> dict:
    "Jobs per minute over the same files"
    from ecg_audio_nb.batch.runner import job_notebook

    inbox = clips(folder / "in", n)

    def ours(workers):
        out = folder / f"out{workers}"
        return seconds(
            subprocess.run,
            [
                sys.executable,
                "-m",
                "ecg_audio_nb",
                "batch",
                inbox,
                "-o",
                out,
                "--profile",
                "demo",
                "--workers",
                str(workers),
            ],
            check=True,
            capture_output=True,
        )

    def theirs():
        import papermill  # noqa: F401  (its import is not counted)

        for path in sorted(inbox.iterdir()):
            out = folder / "papermill" / path.stem
            out.mkdir(parents=True)
            given = {"source": str(path), "output_dir": str(out), "profile": "demo"}
            papermill_run(job_notebook("analyze"), out / f"{path.stem}.ipynb", given)

    found = {"ours": 60 * n / ours(1), "papermill": 60 * n / seconds(theirs)}
    same = [
        _same(folder / "out1" / p.stem / f"{p.stem}.json", folder / "papermill" / p.stem / f"{p.stem}.json")
        for p in inbox.iterdir()
    ]
    found["same_results"] = sum(same)
    if n >= 10:
        found["ours_2_workers"] = 60 * n / ours(2)
    return found


def _same(a, b):
    def read(path):
        d = json.loads(path.read_text())
        d["metadata"].pop("timing"), d["metadata"].pop("environment")
        return d

    return read(a) == read(b)


def flat(folder: Path, n: int) -> dict:
    "Memory and open files of kernel and runner after 10 notebooks, and after all"
    from ecg_audio_nb.batch import warm_kernel as warm

    path, out = notebook(folder / "litter.ipynb", LITTER), folder / "o.ipynb"

    def look():
        pid, page = warm._kernel().pid, os.sysconf("SC_PAGE_SIZE") / 2**20
        mb = {
            who: int(Path(f"/proc/{p}/statm").read_text().split()[1]) * page
            for who, p in (("kernel", pid), ("runner", os.getpid()))
        }
        return {
            "pid": pid,
            **{f"{k}_mb": round(v, 1) for k, v in mb.items()},
            "kernel_fds": len(os.listdir(f"/proc/{pid}/fd")),
            "runner_fds": len(os.listdir("/proc/self/fd")),
        }

    looks = {}
    for i in range(1, n + 1):
        warm.run_notebook(path, out, {"n": i})
        if i in (10, n // 2, n):
            looks[i] = look()
    warm.close_kernels()
    return looks


def queue(folder: Path, n: int) -> dict:
    "The longest of many calls on a queue of n jobs, ms"
    from ecg_audio_nb.batch.queue import (
        Job,
        Queue,
        add,
        attempts,
        heartbeat,
        claim,
        counts,
        finish,
        job_id,
        list_jobs,
        owner_name,
    )

    q, me = Queue(folder / "queue.sqlite"), owner_name()

    def job(i):
        name = f"recording-{i:05}"
        task = {
            "notebook": "0" * 64,
            "parameters": {
                "source": f"/media/{name}.mp4",
                "output_dir": ".",
                "profile": "t4",
                "overrides": {},
            },
        }
        return Job(job_id(name, "nb", {}), name, f"/media/{name}.mp4", task)

    whole = seconds(add, q, [job(i) for i in range(n)])
    times = {"add": [seconds(add, q, [job(n + i)]) for i in range(100)]}
    claimed, times["claim"] = [], []
    for _ in range(200):
        times["claim"].append(seconds(lambda: claimed.append(claim(q, me))))
    times["beat"] = [seconds(heartbeat, q, j, stage="transcribe", progress=0.5) for j in claimed]
    times["finish"] = [seconds(finish, q, j, None, {"files": ["a.json"]}) for j in claimed]
    times["status"] = [seconds(lambda: (counts(q), list_jobs(q, "running"))) for _ in range(50)]
    assert counts(q)["done"] == 200 and len(attempts(q, claimed[0])) == 1
    q.close()
    size = sum(p.stat().st_size for p in folder.glob("queue.sqlite*"))
    return {
        "jobs": n,
        "add_all_s": round(whole, 3),
        "file_mb": round(size / 1e6, 2),
        **{f"{k}_ms_median": round(1000 * statistics.median(v), 2) for k, v in times.items()},
        **{f"{k}_ms_worst": round(1000 * max(v), 2) for k, v in times.items()},
    }


def main():
    asked = options(__doc__.splitlines()[0])
    for module in ("papermill", "torch"):
        if find_spec(module) is None:
            sys.exit(f"no {module} here: pip install 'ecg-audio-nb[jobs,whisperx]'")
    folder = Path(tempfile.mkdtemp(prefix="ecg-jobs-"))
    try:
        stored = queue(folder, 10_000)
        cost = overhead(folder, asked.quick)
        rate = throughput(folder, 2 if asked.quick else 20)
        looks = flat(folder, 20 if asked.quick else 100)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures = {
        "overhead_ratio": round(cost["cold_s"] / cost["warm_s"], 1),
        "jobs_per_minute_ours": round(rate["ours"], 2),
        "jobs_per_minute_papermill": round(rate["papermill"], 2),
        "throughput_ratio": round(rate["ours"] / rate["papermill"], 2),
    }
    if "first_s_ours" in cost:
        figures["first_ratio"] = round(cost["first_s_ours"] / cost["first_s_papermill"], 2)
    for k in ("add", "claim", "status"):
        figures[f"queue_{k}_ms_worst"] = stored[f"{k}_ms_worst"]
    figures["queue_mb"] = stored["file_mb"]
    print(json.dumps({"overhead": cost, "throughput": rate, "flat": looks, "queue": stored}, indent=1))
    keep("jobs", figures, asked.quick, {"overhead": cost, "throughput": rate, "flat": looks, "queue": stored})


if __name__ == "__main__":
    main()
