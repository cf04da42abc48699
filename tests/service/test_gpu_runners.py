"""A service on several GPUs: one runner for each, all on one queue"""
import os

import psutil
import pytest

from backend import Backend, Quick, until
from ecg_audio_nb.batch.queue import Queue, attempts, get
from ecg_audio_nb.core import system
from ecg_audio_nb.core.files import PACKAGE
from ecg_audio_nb.service.gpu_runners import take_first_gpu
from ecg_audio_nb.settings import load_settings

SAMPLE = PACKAGE / "assets/sample.mp4"


@pytest.mark.parametrize("given, device, first, others", [
    ("3,GPU-1,0", "auto", "3", ["GPU-1", "0"]), ("3", "auto", "3", []), ("3,1", "cpu", "3,1", []),
    (None, "auto", "0", ["1"]), ("", "auto", "", []),
])  # fmt: skip
def test_the_service_takes_the_first_gpu(given, device, first, others, monkeypatch):
    monkeypatch.setattr(system, "gpus", lambda: ("570", ("T4", "T4")))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None: monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert take_first_gpu(load_settings({"runtime.device": device})) == others
    assert os.environ["CUDA_VISIBLE_DEVICES"] == first
    monkeypatch.undo()


@pytest.mark.slow
def test_each_gpu_has_a_runner_that_survives_a_kill_and_ends_with_the_service(tmp_path):
    "Two devices that are not there: both runners work on the processor"
    served = Quick(tmp_path, SAMPLE.parent, "--set", "runtime.device=auto", CUDA_VISIBLE_DEVICES="5,6",
                   ECG_SERVER__ALLOW_PRIVATE="true")  # fmt: skip
    queue = None
    def runners():
        children = psutil.Process(served.process.pid).children(recursive=True)
        alive = [p for p in children if p.status() != psutil.STATUS_ZOMBIE]
        return [p for p in alive if "runner_main" in " ".join(p.cmdline())]
    def owners(jobs):
        tried = [a for job in jobs for a in attempts(queue, get(queue, job))]
        return {a["owner"].split("/")[2] for a in tried if a["outcome"] == "done"}
    with Backend() as backend:
        served.start()
        try:
            queue = Queue(tmp_path / "service/.jobs/queue.sqlite")
            [runner] = until(runners)
            assert runner.environ()["CUDA_VISIBLE_DEVICES"] == "6"
            jobs = []
            def both_work():
                pair = [f"job-{len(jobs)}", f"job-{len(jobs) + 1}"] # the first keeps the service's own worker busy
                for job in pair: assert served.post(job, SAMPLE, backend).status_code == 200
                jobs.extend(pair)
                until(lambda: all(backend.last(job) for job in pair))
                return owners(jobs) == {str(served.process.pid), str(runner.pid)}
            until(both_work)
            assert all(backend.last(job)["status"] == "completed" for job in jobs)
            runner.kill()
            [again] = until(lambda: [p for p in runners() if p.pid != runner.pid])
        finally: status = served.stop()
    assert status == 0 and not again.is_running()
    assert all([a["outcome"] for a in attempts(queue, get(queue, job))] == ["done"] for job in jobs)
