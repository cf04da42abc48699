"""Jobs on many machines, played by processes over TCP: kills, a lost scheduler, TLS, stopping"""
import os, shutil, subprocess, threading, time
from types import SimpleNamespace

import psutil
import pytest
from distributed import Client

from ecg_audio_nb.batch import dask as module
from ecg_audio_nb.batch.dask import DaskWorkers
from ecg_audio_nb.batch.queue import Queue, attempts, cancel, counts, find, list_jobs
from ecg_audio_nb.batch.runner import FolderStore, BatchError, BatchSpec, batch, enqueue
import waiting
from batch_helpers import (
    STAGES,
    TOY,
    ecg,
    kill_cluster_parts,
    leftovers,
    made_of,
    notebook,
    open_queue,
    recordings,
)
from certificates import write_certificate
from dask_loopback import cluster, free_port, scheduler, worker


def until(true, seconds=90): return waiting.until(true, seconds)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    "A scheduler and two workers that have joined"
    with cluster(tmp_path_factory.mktemp("dask")) as found:
        with Client(found[0]) as client: client.wait_for_workers(2, timeout=90)
        yield found


def test_both_workers_get_jobs_and_all_are_done(tmp_path, two):
    sources, out = recordings(tmp_path / "in", 6), tmp_path / "out"
    (tmp_path / "in/bad.wav").write_text("bad")
    where = "import os, pathlib\npathlib.Path('where.txt').write_text(str(os.getppid()))"
    jobs, faults = batch(
        [str(tmp_path / "in")],
        out,
        BatchSpec(notebook(tmp_path / "toy.ipynb", TOY, where, seconds=0.3)),
        DaskWorkers(two[0]),
    )
    assert {j.name: j.state for j in jobs} == {
        **{s.stem: "done" for s in sources},
        "bad": "failed",
    } and not faults
    assert all((out / s.stem / "result.txt").read_text() == made_of(s) for s in sources)
    pids = {(out / s.stem / "where.txt").read_text() for s in sources}
    assert pids == {str(w.process.pid) for w in two[2]}, "one kernel a worker, on both"
    assert (
        find(Queue(out / ".jobs/queue.sqlite"), "bad").failure_kind == "user"
        and (out / "failed/bad.ipynb").exists()
        and not leftovers(out)
    )


def test_stages_come_back_and_a_job_can_be_cancelled(tmp_path, two):
    sources, out = recordings(tmp_path / "in", 2), tmp_path / "out"
    store, spec, seen = (
        FolderStore(out),
        BatchSpec(notebook(tmp_path / "stages.ipynb", STAGES, seconds=1.5)),
        set(),
    )
    queue = Queue(store.queue_file())
    enqueue(queue, spec, map(str, sources), store)
    workers = DaskWorkers(two[0])
    workers.start(queue, store, tmp_path)
    job = until(lambda: next((j for j in list_jobs(queue, "running") if j.stage), None))
    cancel(queue, job)
    while workers.poll():
        seen |= {j.stage for j in list_jobs(queue, "running")}
        time.sleep(0.1)
    workers.stop()
    assert find(queue, job.id).state == "cancelled" and counts(queue)["done"] == 1 and len(seen - {None}) >= 2


def test_a_coordinator_that_is_asked_to_stop_gives_its_jobs_back(tmp_path, two):
    recordings(tmp_path / "in", 3)
    out, path = tmp_path / "out", notebook(tmp_path / "stages.ipynb", STAGES, seconds=1.5)
    p = ecg("batch", tmp_path / "in", "-o", out, "--notebook", path, "--cluster", two[0], merge=True)
    queue = open_queue(out)
    until(lambda: any(j.stage for j in list_jobs(queue, "running")))
    p.terminate()
    said = p.communicate(timeout=90)[0]
    assert p.returncode == 0 and counts(queue)["queued"] == 3, said
    assert all(j.tries == 0 for j in list_jobs(queue)) and not leftovers(out)


def test_a_worker_whose_coordinator_is_gone_ends_after_the_stage_in_hand(tmp_path, two):
    [source], out = recordings(tmp_path / "in", 1), tmp_path / "out"
    path = notebook(
        tmp_path / "stages.ipynb",
        STAGES.replace(
            "time.sleep(seconds / 10)",
            f"time.sleep(seconds / 10); open({str(tmp_path / 'alive')!r}, 'a').write('.')",
        ),
        seconds=1.0,
    )
    p = ecg("batch", source, "-o", out, "--notebook", path, "--cluster", two[0], merge=True)
    until(lambda: (tmp_path / "alive").exists())
    p.kill()
    p.communicate()
    def quiet():
        before = (tmp_path / "alive").stat().st_size
        time.sleep(1)
        return (tmp_path / "alive").stat().st_size == before
    until(quiet, 30)
    assert (tmp_path / "alive").stat().st_size < 60, "all six stages ran"


def test_three_notebooks_through_one_worker(tmp_path):
    "A scheduler and a worker in this process; the workers are used as `batch` uses them"
    from distributed import LocalCluster
    sources, store = recordings(tmp_path / "in", 3), FolderStore(tmp_path / "out")
    queue = Queue(store.queue_file())
    path = notebook(
        tmp_path / "double.ipynb",
        "open('result.txt', 'w').write(open(source).read() * 2)",
        parameters="source = None",
    )
    enqueue(queue, BatchSpec(path), map(str, sources), store)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, resources={"CPU": 1}
    ) as local:
        workers = DaskWorkers(local.scheduler_address)
        workers.start(queue, store, tmp_path)
        while workers.poll(): time.sleep(0.1)
        workers.stop()
    assert [(store.path / s.stem / "result.txt").read_text() for s in sources] == [
        2 * s.read_text() for s in sources
    ]
    assert counts(queue)["done"] == 3
    queue.close()


def test_a_job_that_ends_while_it_is_waited_for_has_not_failed():
    "Its files take longer than a wait; the second wait has time for them"
    class Future:
        ended, waits = False, []
        def done(self): return self.ended
        def result(self, timeout):
            self.waits.append(timeout)
            if timeout < 1:
                self.ended = True
                raise TimeoutError("timed out after 0.5 s.")
            return "the files"
    client, keeper = SimpleNamespace(status="running"), SimpleNamespace(stop=threading.Event())
    assert DaskWorkers("tcp://nowhere")._wait(client, future := Future(), "key", keeper) == "the files"
    assert future.waits == [0.5, module.FETCH_TIMEOUT]
    def late(timeout): raise TimeoutError("late")
    future.result = late
    with pytest.raises(RuntimeError, match="the worker's answer did not arrive: late"):
        DaskWorkers("tcp://nowhere")._wait(client, future, "key", keeper)


def test_a_stop_of_a_job_that_runs_elsewhere_is_ignored():
    module.stop_remote("a job that no worker of this process has")
    assert module._stops == {}


def test_no_scheduler_is_one_clear_error(tmp_path):
    recordings(tmp_path / "in", 1)
    with pytest.raises(BatchError, match="no Dask scheduler answers"):
        batch(
            [str(tmp_path / "in")],
            tmp_path / "out",
            BatchSpec(notebook(tmp_path / "toy.ipynb")),
            DaskWorkers(f"tcp://127.0.0.1:{free_port()}", connect_timeout=1),
        )


def test_another_version_on_the_workers_is_refused(tmp_path, two, monkeypatch):
    recordings(tmp_path / "in", 1)
    monkeypatch.setattr(module.ecg_audio_nb, "__version__", "99.0")
    with pytest.raises(BatchError, match="install the same version on both"):
        batch(
            [str(tmp_path / "in")],
            tmp_path / "out",
            BatchSpec(notebook(tmp_path / "toy.ipynb")),
            DaskWorkers(two[0]),
        )


@pytest.mark.slow
def test_chaos(tmp_path):
    "kill -9 of a worker, the coordinator, the scheduler; 80 jobs in tests/soak"
    kill_cluster_parts(tmp_path, 8, ["worker", "coordinator", "scheduler"], first=1, step=2, seconds=0.6)


def ip(*args): subprocess.run(["ip", *args], check=True, capture_output=True)

@pytest.fixture
def other_machine():
    """A network namespace with one cable to this one: (what to put before a command, this end's address,
    cut(bool))"""
    if os.geteuid() or not shutil.which("ip"): pytest.skip("network namespaces need root and iproute2")
    name, here, there = f"ecg{os.getpid()}", "10.213.77.1", "10.213.77.2"
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as e:
        pytest.skip(f"no network namespace can be made here: {e.stderr.decode().strip()}")
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", f"{here}/24", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        for args in (
            ("addr", "add", f"{there}/24", "dev", f"{name}b"),
            ("link", "set", f"{name}b", "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", name, *args)
        yield (
            ["ip", "netns", "exec", name],
            here,
            lambda off: ip("link", "set", f"{name}a", "down" if off else "up"),
        )
    finally: ip("netns", "del", name)


@pytest.mark.slow
def test_a_worker_is_cut_off_and_returns(tmp_path, other_machine):
    "Its job is done elsewhere; when the cable is back, it takes jobs again"
    before, here, cut = other_machine
    out, parts = tmp_path / "out", []
    path = notebook(tmp_path / "toy.ipynb", seconds=1.0)
    try:
        address, part = scheduler(tmp_path, host=here, env={"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "4s"})
        far = worker(tmp_path, address, "far", before=before)
        parts += [part, worker(tmp_path, address, "near"), far]
        recordings(tmp_path / "in", 10)
        p = ecg("batch", tmp_path / "in", "-o", out, "--notebook", path, "--cluster", address, merge=True)
        queue = open_queue(out)
        until(lambda: counts(queue)["done"] >= 2 and counts(queue)["running"] == 2)
        cut(True)
        said = p.communicate(timeout=120)[0]
        assert p.returncode == 0 and counts(queue)["done"] == 10, said
        assert all(sum(a["outcome"] == "done" for a in attempts(queue, j)) == 1 for j in list_jobs(queue))
        assert any(a["outcome"] == "infra" for j in list_jobs(queue) for a in attempts(queue, j)), (
            "no job was lost with the cable"
        )
        cut(False)
        # a worker that its scheduler gave up ends, and systemd starts it again
        with Client(address) as client:
            until(lambda: far.supervise() or len(client.scheduler_info()["workers"]) == 2)
        recordings(tmp_path / "more", 8, "more")
        where = notebook(
            tmp_path / "where.ipynb",
            (
                "import os, pathlib, "
                "time\ntime.sleep(0.5)\npathlib.Path('where.txt').write_text(os.readlink('/proc/self/ns/net'))"
            ),
        )
        said = ecg(
            "batch",
            tmp_path / "more",
            "-o",
            tmp_path / "out2",
            "--notebook",
            where,
            "--cluster",
            address,
            merge=True,
        ).communicate(timeout=120)[0]
        assert len({p.read_text() for p in (tmp_path / "out2").glob("*/where.txt")}) == 2, said
    finally:
        cut(False)
        for p in reversed(parts): p.end()


def certificate(folder):
    "A certificate for this machine, as Dask's environment names it"
    write_certificate(folder)
    sides = {
        f"DASK_DISTRIBUTED__COMM__TLS__{side}__{what}": str(folder / f"{what.lower()}.pem")
        for side in ("SCHEDULER", "WORKER", "CLIENT")
        for what in ("CERT", "KEY")
    }
    return {
        **sides,
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(folder / "cert.pem"),
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
    }


def test_tls(tmp_path):
    "With certificates it works; without one nobody is let in"
    recordings(tmp_path / "in", 2)
    env, path = certificate(tmp_path), notebook(tmp_path / "toy.ipynb")
    with cluster(tmp_path, workers=1, scheme="tls", env=env) as (address, *_):
        args = ("batch", tmp_path / "in", "-o", tmp_path / "out", "--notebook", path, "--cluster", address)
        stranger = ecg(*args, merge=True)
        said = stranger.communicate(timeout=120)[0]
        assert stranger.returncode == 1 and "needs certificates" in said and "Traceback" not in said, said
        (tmp_path / "other").mkdir()
        stranger = ecg(*args, env={**os.environ, **certificate(tmp_path / "other")}, merge=True)
        said = stranger.communicate(timeout=120)[0]
        assert stranger.returncode == 1 and "no Dask scheduler answers" in said, said
        known = ecg(*args, env={**os.environ, **env}, merge=True)
        said = known.communicate(timeout=120)[0]
        assert known.returncode == 0 and "2 of 2 done" in said, said


def test_workers_leave_no_kernel_behind(tmp_path):
    recordings(tmp_path / "in", 2)
    with cluster(tmp_path, workers=1) as (address, _, [worker]):
        batch(
            [str(tmp_path / "in")],
            tmp_path / "out",
            BatchSpec(notebook(tmp_path / "toy.ipynb")),
            DaskWorkers(address),
        )
        kernels = [
            p.pid
            for p in psutil.Process(worker.process.pid).children(recursive=True)
            if "ipykernel" in " ".join(p.cmdline())
        ]
        assert len(kernels) == 1
    until(lambda: not any(psutil.pid_exists(k) and psutil.Process(k).status() != "zombie" for k in kernels))
