"""A batch as one command: what is done, what is done again, how it is stopped, a watched folder"""
import json
import os
import re
import shutil
import time

import psutil
from typer.testing import CliRunner

from batch_helpers import STAGES, ecg, leftovers, made_of, notebook, open_queue, recordings
from ecg_audio_nb.batch import runner as module
from ecg_audio_nb.batch.queue import (
    Queue,
    attempts,
    claim,
    counts,
    find,
    heartbeat,
    list_jobs,
    owner_name,
    release,
)
from ecg_audio_nb.batch.runner import BatchSpec, FolderStore, LocalWorkers, batch, enqueue
from ecg_audio_nb.cli import app
from waiting import until


def test_the_module_exports_what_notebooks_and_commands_use():
    assert {"job_hook", "batch", "enqueue", "run_job", "BatchSpec", "LocalWorkers"} <= set(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_a_batch_from_the_command_line_and_again(tmp_path):
    recordings(tmp_path / "in", 3)
    (tmp_path / "in/bad.wav").write_text("bad")
    path, out = notebook(tmp_path / "toy.ipynb"), tmp_path / "out"
    first = ecg("batch", tmp_path / "in", tmp_path / "nowhere.mp4", "-o", out, "--notebook", path)
    said, log = first.communicate(timeout=120)
    assert (first.returncode, said) == (
        1,
        f"3 of 4 done, 1 failed, 1 source not read: {out}/index.html\n",
    ), log
    assert (
        "nowhere.mp4: no such file" in log
        and "failed bad" in log
        and "this recording is bad; take another" in log
        and "%" not in log
    )
    for source in (tmp_path / "in").glob("rec*"):
        assert (out / source.stem / "result.txt").read_text() == made_of(source)
    failed = json.loads((out / "failed/bad.ipynb").read_text())
    assert any(
        o["output_type"] == "error" and o["ename"] == "ValueError"
        for c in failed["cells"]
        for o in c.get("outputs", [])
    )
    assert not (out / "bad").exists() and not leftovers(out)

    page = (out / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert {"recording000/recording000.ipynb", "failed/bad.ipynb"} <= set(links) and all(
        (out / x).exists() for x in links
    )
    assert (
        page.index("failed/bad.ipynb") < page.index("recording000/recording000.ipynb")
        and "this recording is bad" in page
    )

    shutil.rmtree(out / "recording001")
    stamp = (out / "recording000/recording000.ipynb").stat().st_mtime_ns
    (tmp_path / "in/bad.wav").unlink()
    again = ecg("batch", tmp_path / "in", "-o", out, "--notebook", path)
    assert again.communicate(timeout=120)[0].startswith("3 of 3 done") and again.returncode == 0
    assert (out / "recording001/result.txt").exists() and (
        out / "recording000/recording000.ipynb"
    ).stat().st_mtime_ns == stamp


def test_nothing_to_do_starts_nothing(tmp_path, inbox):
    class Nobody(LocalWorkers):
        def start(self, *_, **__): raise AssertionError("a runner was started")
    spec = BatchSpec(notebook(tmp_path / "toy.ipynb"))
    batch(map(str, inbox), tmp_path / "out", spec)
    jobs, faults = batch(map(str, inbox), tmp_path / "out", spec, Nobody())
    assert [j.state for j in jobs] == ["done"] * 4 and not faults


def test_work_of_another_command_is_told(tmp_path, inbox):
    spec, lines, told = BatchSpec(notebook(tmp_path / "toy.ipynb", seconds=0)), [], []
    store = FolderStore(tmp_path / "out")
    queue = Queue(store.queue_file())
    enqueue(queue, spec, [str(inbox[0])], store)
    job = claim(queue, owner_name())
    heartbeat(queue, job, stage="diarize", progress=0.4)
    def on_snapshot(snapshot):
        if snapshot.running and not told:
            told.append(release(queue, job))
    batch([str(inbox[0])], tmp_path / "out", spec, log=lines.append, on_snapshot=on_snapshot)
    [line] = [line for line in lines if "another command" in line]
    assert "recording000: diarize 40 % (process " in line and str(os.getpid()) in line
    lines.clear()
    batch([str(inbox[0])], tmp_path / "out", spec, log=lines.append)
    assert not lines
    queue.close()


def test_failed_jobs_are_tried_again_only_when_asked(tmp_path):
    source = tmp_path / "talk.wav"
    source.write_text("x")
    flag = tmp_path / "mended"
    path = notebook(
        tmp_path / "nb.ipynb",
        (
            f"import os\nif not os.path.exists({str(flag)!r}): raise "
            "ValueError('not yet')\nopen('result.txt', 'w').close()"
        ),
    )
    def run(**kwargs): return batch([str(source)], tmp_path / "out", BatchSpec(path), **kwargs)[0][0].state
    assert run() == "failed" and run() == "failed"
    flag.touch()
    assert run() == "failed" and run(retry_failed=True) == "done"
    assert (tmp_path / "out/talk/result.txt").exists() and not (tmp_path / "out/failed/talk.ipynb").exists()


# Asked to stop


def test_sigterm_ends_the_stage_and_gives_the_job_back(tmp_path, inbox):
    path, out = notebook(tmp_path / "stages.ipynb", STAGES, seconds=3.0), tmp_path / "out"
    p = ecg("batch", inbox[0], "-o", out, "--notebook", path)
    queue = open_queue(out)
    until(lambda: [j for j in list_jobs(queue, "running") if j.stage == "voice"])
    p.terminate()
    said, log = p.communicate(timeout=120)
    [job] = list_jobs(queue)
    assert (p.returncode, job.state, job.tries) == (0, "queued", 0), log
    [attempt] = attempts(queue, job)
    assert attempt["outcome"] == "returned" and "1 queued" in said and not leftovers(out)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(out) in " ".join(p.info["cmdline"] or [])]


def test_a_job_at_work_can_be_cancelled(tmp_path, inbox):
    path, out = notebook(tmp_path / "stages.ipynb", STAGES, seconds=1.0), tmp_path / "out"
    p = ecg("batch", *inbox[:2], "-o", out, "--notebook", path)
    queue = open_queue(out)
    [running] = until(lambda: [j for j in list_jobs(queue, "running") if j.stage])
    asked = CliRunner().invoke(app, ["jobs", "cancel", running.name, "-o", str(out)]) # a process would come too late
    assert "asked to stop" in asked.output
    said, log = p.communicate(timeout=120)
    assert find(queue, running.id).state == "cancelled" and counts(queue)["done"] == 1, log
    assert p.returncode == 0 and "1 of 2 done, 1 cancelled" in said


# A watched folder


def test_a_watched_folder_takes_a_file_when_it_has_stopped_growing(tmp_path):
    path, out, inbox = notebook(tmp_path / "toy.ipynb", seconds=0), tmp_path / "out", tmp_path / "in"
    inbox.mkdir()
    p = ecg("batch", inbox, "-o", out, "--notebook", path, "--watch")
    queue = open_queue(out)
    with open(inbox / "growing.wav", "w") as f:
        for _ in range(14):
            f.write("more ")
            f.flush()
            time.sleep(0.5)
            assert not list_jobs(queue), "it was taken while it grew"
    until(lambda: counts(queue)["done"] == 1)
    p.terminate()
    assert p.wait(60) == 0 and (out / "growing/result.txt").read_text() == made_of(inbox / "growing.wav")
    assert (out / "index.html").exists()
