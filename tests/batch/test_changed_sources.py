"""A recording that changes, moves or gets another name while a batch runs or its job waits"""
import os
import shutil
import threading

from batch_helpers import ecg, made_of, notebook, open_queue
from ecg_audio_nb.batch.queue import Job, add, attempts, claim, counts, find, get, list_jobs, owner_name
from ecg_audio_nb.batch.runner import BatchSpec, SourceWatcher, batch, run_locally, work
from ecg_audio_nb.batch.spec import enqueue, job_of_changed_source
from waiting import until


def paths(job): return job.source, job.task["parameters"]["source"]


def work_all(queue, store): return work(queue, store, run_locally(queue), threading.Event())


def test_a_watched_folder_takes_another_recording_under_a_known_name(tmp_path):
    path, out, inbox = notebook(tmp_path / "toy.ipynb", seconds=0), tmp_path / "out", tmp_path / "in"
    inbox.mkdir()
    latest = inbox / "latest.wav"
    latest.write_text("take one")
    p = ecg("batch", inbox, "-o", out, "--notebook", path, "--watch", merge=True)
    queue = open_queue(out)
    until(lambda: counts(queue)["done"] == 1)
    latest.write_text("take two, a better one")
    until(lambda: counts(queue)["done"] == 2)
    p.terminate()
    said, _ = p.communicate(timeout=60)
    first, second = list_jobs(queue)
    assert (first.name, second.name) == ("latest", f"latest-{second.id[:8]}"), said
    assert (out / second.name / "result.txt").read_text() == made_of(latest)
    assert (out / first.name / "result.txt").read_text() != made_of(latest)


def test_a_file_that_was_taken_is_not_taken_again(tmp_path, queue, store, inbox):
    spec = BatchSpec(notebook(tmp_path / "nb.ipynb"))
    watcher = SourceWatcher(queue, spec, store, [str(inbox[0].parent)], watch=True, settle=0)
    for _ in range(3):
        watcher.look()
    assert len(list_jobs(queue)) == 4
    os.utime(inbox[0], (1, 1)) # as a copy that keeps no times
    for _ in range(3):
        watcher.look()
    assert len(list_jobs(queue)) == 4
    inbox[1].rename(inbox[1].with_name("renamed.wav"))
    for _ in range(3):
        watcher.look()
    assert len(list_jobs(queue)) == 4 and len(watcher.ids) == 4


def test_a_file_that_changed_while_it_waited_runs_as_what_it_is(tmp_path, queue, store, inbox):
    path = notebook(tmp_path / "nb.ipynb", parameters="source = 1\noutput_dir = '.'\nseconds = 0\nseed = 0")
    spec = BatchSpec(path)
    [job, other], _ = enqueue(queue, spec, map(str, inbox[:2]), store)
    inbox[0].write_text("another recording")
    assert work_all(queue, store) == {"done": 2}
    assert get(queue, job.id) is None
    now = find(queue, job.name)
    assert (now.state, now.task["was"]) == ("done", [job.id])
    assert now.task["parameters"]["seed"] == int(now.id[:8], 16)
    assert (store.path / job.name / "result.txt").read_text() == made_of(inbox[0])
    assert [a["outcome"] for a in attempts(queue, now)] == ["done"]
    [again], _ = enqueue(queue, spec, [str(inbox[0])], store)
    assert (again.id, again.state) == (now.id, "done"), "the next command finds it done"


def test_a_file_that_became_that_of_another_job_is_done_once(tmp_path, queue, store, inbox):
    [job, other], _ = enqueue(queue, BatchSpec(notebook(tmp_path / "nb.ipynb")), map(str, inbox[:2]), store)
    shutil.copy(inbox[1], inbox[0])
    assert work_all(queue, store) == {"cancelled": 1, "done": 1}
    gone = get(queue, job.id)
    assert gone.state == "cancelled"
    assert gone.error == f"its file was replaced before it ran; what is there now is the job {other.name}"
    assert not (store.path / job.name).exists()


def test_a_batch_reports_the_job_under_its_present_id(tmp_path, inbox):
    "The second file changes while the first one runs"
    change = f"import pathlib\npathlib.Path({str(inbox[1])!r}).write_text('changed')"
    path = notebook(tmp_path / "nb.ipynb", change)
    jobs, _ = batch(map(str, inbox[:2]), tmp_path / "out", BatchSpec(path))
    assert [j.state for j in jobs] == ["done", "done"] and jobs[1].name == "recording001"


def test_a_file_that_moved_while_it_waited_is_read_where_it_is(tmp_path, queue, store, inbox):
    spec = BatchSpec(notebook(tmp_path / "nb.ipynb"))
    [job], _ = enqueue(queue, spec, [str(inbox[0])], store)
    moved = inbox[0].rename(tmp_path / "elsewhere.wav")
    [same], _ = enqueue(queue, spec, [str(moved)], store)
    assert same.id == job.id and paths(same) == (str(moved),) * 2
    assert work_all(queue, store) == {"done": 1}
    [done], _ = enqueue(queue, spec, [str(moved.rename(tmp_path / "again.wav"))], store)
    assert (done.id, done.state) == (job.id, "done")


def test_jobs_without_a_known_content_run_as_before(queue, store, inbox):
    add(queue, [Job("old", "old", str(inbox[0]), {"notebook": "x", "parameters": {}, "timeout": None})])
    job = claim(queue, owner_name())
    inbox[0].write_text("changed")
    assert job_of_changed_source(queue, job) is None
    inbox[1].unlink()


def test_a_file_that_is_gone_is_the_jobs_own_error(tmp_path, queue, store, inbox):
    [job], _ = enqueue(queue, BatchSpec(notebook(tmp_path / "nb.ipynb")), [str(inbox[0])], store)
    inbox[0].unlink()
    assert job_of_changed_source(queue, job) is None
    assert work_all(queue, store) == {"failed": 1}
