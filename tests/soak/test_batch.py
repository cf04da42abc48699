"""Long forms of the batch's scenarios; tests/batch runs short ones"""
import pytest

from batch_helpers import claim_from_two_processes, kill_batch_parts, kill_cluster_parts, share_a_queue

from ecg_audio_nb.batch.queue import Job, Queue, add, job_id

pytestmark = pytest.mark.soak


def test_two_processes_claim_each_of_200_jobs_once(tmp_path):
    queue = Queue(tmp_path / "jobs.sqlite")
    add(queue, [Job(job_id(str(i), "nb", {}), f"job{i}", f"/media/{i}.mp4") for i in range(200)])
    claim_from_two_processes(queue, [f"job{i}" for i in range(200)])
    queue.close()


def test_kills_of_runner_kernel_and_batch_lose_and_double_nothing_of_60_jobs(tmp_path):
    victims = ["runner", "kernel", "both", "batch", "runner"]
    kill_batch_parts(tmp_path, 60, victims, first=4, step=8, seconds=0.15, compare=True)


def test_two_batches_share_a_queue_of_50_jobs(tmp_path): share_a_queue(tmp_path, 50, seconds=0.3)


def test_chaos_in_a_cluster_with_80_jobs(tmp_path):
    kill_cluster_parts(
        tmp_path, 80, ["worker", "coordinator", "scheduler", "worker"], first=8, step=14, seconds=0.2
    )
