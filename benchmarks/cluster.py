"""Two workers against one on jobs that sleep, and what kills cost: dask.distributed on loopback

`scaling` is the throughput of two workers over that of one, on jobs that sleep half a second, from the first
claim to the last end. The peer is a plain `dask.distributed` map of the same sleeps on the same two workers,
without notebooks, leases or publishing (`dask_scaling`). Without `--quick` the chaos run of
`tests/soak/test_batch.py` is timed, too.
"""

import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from _common import ROOT, keep, options

sys.path.insert(0, str(ROOT / "tests"))


def batch_seconds(folder: Path, address: str, n: int) -> float:
    "From the first claim to the last end of n jobs"
    from ecg_audio_nb.batch.dask import DaskWorkers
    from ecg_audio_nb.batch.queue import Queue, list_jobs
    from ecg_audio_nb.batch.runner import BatchSpec, batch
    from batch_helpers import notebook, recordings

    folder.mkdir()
    recordings(folder / "in", n)
    batch(
        [str(folder / "in")],
        folder / "out",
        BatchSpec(notebook(folder / "toy.ipynb", seconds=0.5)),
        DaskWorkers(address),
    )
    jobs = list_jobs(Queue(folder / "out/.jobs/queue.sqlite"))
    assert all(j.state == "done" for j in jobs) and len(jobs) == n
    return max(j.ended for j in jobs) - min(j.started for j in jobs)


def plain_seconds(address: str, n: int) -> float:
    "The same sleeps as plain tasks"
    from distributed import Client

    with Client(address) as client:
        began = time.perf_counter()
        client.gather(client.map(lambda i: time.sleep(0.5), range(n), resources={"CPU": 1}, pure=False))
        return time.perf_counter() - began


def wait_for_workers(address: str, n: int):
    "Until they have joined, each with a warm kernel"
    from distributed import Client

    with Client(address) as client:
        client.wait_for_workers(n, timeout=60)


def main():
    asked = options(__doc__.splitlines()[0])
    if find_spec("distributed") is None:
        sys.exit("no distributed here: pip install 'ecg-audio-nb[jobs,cluster]'")
    from dask_loopback import cluster

    n, found = 8 if asked.quick else 40, {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as top, cluster(Path(top), workers) as (address, *_):
            wait_for_workers(address, workers)
            batch_seconds(Path(top) / "first", address, 2 * workers)  # kernels are warm after it
            found[workers] = batch_seconds(Path(top) / "all", address, n), plain_seconds(address, n)
    figures = {
        "scaling": round(found[1][0] / found[2][0], 2),
        "dask_scaling": round(found[1][1] / found[2][1], 2),
        "seconds_two_workers": round(found[2][0], 2),
        "ideal_seconds": n * 0.25,
    }
    if not asked.quick:
        began = time.perf_counter()
        chaos = [sys.executable, "-m", "pytest", "-q", "tests/soak/test_batch.py", "-k", "chaos"]
        subprocess.run(chaos, cwd=ROOT, check=True, capture_output=True)
        figures["chaos_s"] = round(time.perf_counter() - began, 1)
    keep("cluster", figures, asked.quick, {"jobs": n, "seconds": {str(k): v for k, v in found.items()}})


if __name__ == "__main__":
    main()
