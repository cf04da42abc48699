"""Workers: a claimed job to its end; kills, pauses, a full disk, GPUs"""
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import psutil
import pytest

from batch_helpers import ecg, kill_batch_parts, leftovers, notebook, recordings, share_a_queue
from ecg_audio_nb.batch.failures import BatchError
from ecg_audio_nb.batch.leases import LeaseKeeper, job_hook
from ecg_audio_nb.batch.queue import Queue, attempts, claim, find, finish, list_jobs, owner_name, retry
from ecg_audio_nb.batch.spec import BatchSpec, enqueue
from ecg_audio_nb.batch.stores import FolderStore
from ecg_audio_nb.batch.workers import LocalWorkers, run_job, run_locally, summarize_result, work
from ecg_audio_nb.core import system
from waiting import until


def test_a_result_in_short(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.json").write_text('{"metadata": {"duration": 2.5, "total_segments": 3}}')
    assert summarize_result(tmp_path) == {
        "files": ["a.mp4", "b.json"],
        "duration": 2.5,
        "total_segments": 3,
        "unique_speakers": None,
        "warnings": None,
    }
    (tmp_path / "b.json").write_text('{"metadata": "of another kind"}')
    assert summarize_result(tmp_path) == {"files": ["a.mp4", "b.json"]}


def test_a_worker_that_dies_while_it_is_looked_at_is_started_again(tmp_path, queue, store, monkeypatch):
    workers = LocalWorkers(1)
    statuses = iter([None, 1, 0])
    def process(*_): return SimpleNamespace(poll=lambda: next(statuses))
    monkeypatch.setattr(workers, "_start_process", process)
    workers.start(queue, store, tmp_path)
    assert [workers.poll() for _ in range(3)] == [True, True, False] and workers.deaths == 1


def test_workers_that_die_at_once_end_the_batch_with_the_end_of_their_log(
    tmp_path, queue, store, monkeypatch
):
    monkeypatch.setattr("sys.executable", "false")
    workers = LocalWorkers(1, max_deaths=1)
    workers.start(queue, store, tmp_path)
    with pytest.raises(
        BatchError,
        match=(
            r"workers die as soon as they "
            r"start; the end of .*runners\.log"
        ),
    ):
        until(lambda: not workers.poll())


def test_a_failed_second_run_leaves_the_first_result(tmp_path, queue, store, inbox):
    path = notebook(
        tmp_path / "nb.ipynb",
        "import os\nif os.path.exists('"
        + str(tmp_path / "broken")
        + "'): raise ValueError('x')\nopen('result.txt', 'w').close()",
    )

    def run(): return work(queue, store, run_locally(queue, None), threading.Event())
    enqueue(queue, BatchSpec(path), [str(inbox[0])], store)
    assert run() == {"done": 1}
    (tmp_path / "broken").touch()
    retry(queue, list_jobs(queue))
    assert (
        run() == {"failed": 1}
        and (store.path / "recording000/result.txt").exists()
        and (store.path / "failed/recording000.ipynb").exists()
    )


def test_a_job_that_takes_too_long_is_the_infrastructures_fault(tmp_path, queue, store, inbox):
    path = notebook(tmp_path / "toy.ipynb", seconds=60)
    enqueue(queue, BatchSpec(path, timeout=1.5, max_tries=1), [str(inbox[0])], store)
    assert work(queue, store, run_locally(queue), threading.Event()) == {"failed": 1}
    job = find(queue, "recording000")
    assert job.failure_kind == "timeout" and (store.path / "failed/recording000.ipynb").exists()


def test_the_hook_does_nothing_outside_of_a_batch(monkeypatch):
    monkeypatch.delenv("ECG_JOB_DIR", raising=False)
    told = []
    job_hook(told.append)(event := SimpleNamespace(stage="voice", status="start", fraction=None))
    assert told == [event]


def test_a_lost_lease_stops_the_work(queue, store, tmp_path, inbox):
    enqueue(queue, BatchSpec(notebook(tmp_path / "toy.ipynb")), [str(inbox[0])], store)
    job = claim(queue, owner_name())
    queue.db.execute("update jobs set attempt=9")
    with LeaseKeeper(queue, job, threading.Event(), lease=0.3) as keeper:
        assert keeper.stop.wait(10) and keeper.lost and (keeper.folder / "stop").exists()
    assert run_job(
        queue, store, job, lambda *_: None, threading.Event(), lease=0.3
    ) == "lost" and not leftovers(store.path)


def test_of_several_cards_each_runner_has_its_own(monkeypatch):
    from ecg_audio_nb.batch import workers as module
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(system, "gpus", lambda: ("570", ("T4", "T4")))
    def seen(n): return [module._worker_env(i).get("CUDA_VISIBLE_DEVICES") for i in range(n)]
    assert seen(3) == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert seen(2) == ["3", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937, 2,1")
    assert seen(4) == ["GPU-8932f937", "2", "1", "GPU-8932f937"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,-1,0")
    assert system.visible_gpus() == ["1"] and seen(1) == ["1,-1,0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert system.visible_gpus() == [] and seen(1) == [""]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(system, "gpus", lambda: (None, ()))
    assert seen(1) == [None]


@pytest.mark.parametrize("gpus, profile, given, number", [
    (("T4",) * 4, None, {}, 4), ((), None, {}, 1), (("T4",) * 4, "cpu", {}, 1),
    (("T4",) * 4, None, {"runtime.device": "cpu"}, 1), (("T4",) * 4, "cpu", {"runtime.device": "auto"}, 4),
])  # fmt: skip
def test_without_a_number_there_is_a_runner_for_each_gpu(monkeypatch, gpus, profile, given, number):
    from ecg_audio_nb.batch import workers as module
    from ecg_audio_nb.batch.spec import BatchSpec, job_notebook
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(system, "gpus", lambda: ("570", gpus))
    assert module.default_number(BatchSpec(job_notebook("analyze"), profile, given)) == number


def test_each_runner_of_a_batch_sees_a_gpu_of_its_own(tmp_path):
    "Three devices, three runners, each with its own"
    write = "import os, time\ntime.sleep(2)\nopen('gpu.txt', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    path, sources = notebook(tmp_path / "nb.ipynb", write), recordings(tmp_path / "in", 6)
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "7,5,6"}
    p = ecg("batch", *sources, "-o", tmp_path / "out", "--notebook", path, env=env, merge=True)
    said, _ = p.communicate(timeout=300)
    assert p.returncode == 0, said
    assert {(tmp_path / "out" / s.stem / "gpu.txt").read_text() for s in sources} == {"7", "5", "6"}


def test_one_kernel_does_all_jobs_though_their_folders_go(tmp_path, queue, store, inbox):
    from ecg_audio_nb.batch import warm_kernel as warm
    warm.close_kernels() # the next one begins while the process stands in a job's folder
    enqueue(queue, BatchSpec(notebook(tmp_path / "toy.ipynb", seconds=0)), map(str, inbox), store)
    here, pids = run_locally(queue), set()
    def perform(*args):
        fault = here(*args)
        pids.add(warm._kernel().pid)
        return fault
    assert work(queue, store, perform, threading.Event()) == {"done": 4} and len(pids) == 1


# Killed or paused; the long forms are in tests/soak/test_batch.py


@pytest.mark.slow
def test_kills_of_runner_kernel_and_batch_lose_and_double_nothing(tmp_path):
    kill_batch_parts(tmp_path, 8, ["runner", "kernel", "batch"], first=1, step=2, seconds=0.5, compare=False)


def test_two_batches_on_one_folder_share_the_queue(tmp_path): share_a_queue(tmp_path, 12, seconds=0.5)


def test_a_runner_stopped_past_its_lease_is_fenced(tmp_path, queue, store, inbox):
    "The paused one publishes nothing when it goes on; it is paused by its process, as a busy machine would"
    path = notebook(
        tmp_path / "toy.ipynb",
        "import pathlib, time\ntime.sleep(seconds)\npathlib.Path('result.txt').write_text('x')",
        seconds=3,
    )
    enqueue(queue, BatchSpec(path), [str(inbox[0])], store)
    workers = LocalWorkers(1, lease=1.0)
    workers.start(queue, store, tmp_path)
    until(lambda: list_jobs(queue, "running"))
    [p] = workers.processes
    until(lambda: psutil.Process(p.pid).children())
    p.send_signal(signal.SIGSTOP)
    mine = until(lambda: claim(queue, owner_name()))
    with store.job_folder(mine) as part:
        (part / "result.txt").write_text("mine")
        finish(queue, mine, lambda db: store.publish(mine, part))
    p.send_signal(signal.SIGCONT)
    assert p.wait(60) == 0
    assert [a["outcome"] for a in attempts(queue, mine)] == ["lost", "done"]
    assert (store.path / "recording000/result.txt").read_text() == "mine" and not leftovers(store.path)


# Room


@contextmanager
def small_disk(path, size):
    path.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    try: yield path
    finally: subprocess.run(["umount", "-l", path], check=True)


def fill(path):
    with open(path, "wb", buffering=0) as f, suppress(OSError):
        while True: f.write(bytes(4096))


def test_a_disk_that_is_full_while_publishing(tmp_path, inbox):
    "The job fails as infrastructure, the queue is whole, the rest goes on once there is room"
    path = notebook(
        tmp_path / "toy.ipynb", "import pathlib\npathlib.Path('result.bin').write_bytes(bytes(1_500_000))"
    )
    with small_disk(tmp_path / "disk", "8m") as disk:
        out = FolderStore(disk / "out")
        queue = Queue(out.queue_file())
        enqueue(queue, BatchSpec(path, max_tries=1), [str(inbox[0])], out)
        enqueue(queue, BatchSpec(path), [str(s) for s in inbox[1:3]], out)
        ballast = out.path / "ballast"
        here = run_locally(queue)
        def perform(job, folder, keeper):
            fault = here(job, folder, keeper)
            if job.name == "recording000": fill(ballast)
            return fault
        def publish(job, part, plain=out.publish): # what publishing writes on a file system that copies
            if job.name == "recording000": (part / "index").write_bytes(bytes(8192))
            plain(job, part)
        out.publish = publish
        def room(): until(lambda: ballast.exists()); time.sleep(3); ballast.unlink()
        helper = threading.Thread(target=room)
        helper.start()
        ended = work(queue, out, perform, threading.Event())
        helper.join()
        job = find(queue, "recording000")
        assert ended == {"failed": 1, "done": 2} and (job.failure_kind, "No space left" in job.error) == (
            "infra",
            True,
        )
        assert queue.db.execute("pragma integrity_check").fetchone()[0] == "ok"
        assert (
            not (out.path / "recording000").exists()
            and (out.path / "recording001/result.bin").stat().st_size == 1_500_000
        )
        assert not leftovers(out.path)
        queue.close()
