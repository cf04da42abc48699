"""The batch: what is meant, what is done again, whose fault it was; kills, pauses, cancels, full disks, S3"""
import json, os, re, shutil, signal, subprocess, sys, threading, time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from ecg_audio_nb.batch.queue import Queue, attempts, claim, counts, fail, find, list_jobs, owner_name
from ecg_audio_nb.batch.leases import LeaseKeeper
from ecg_audio_nb.batch.runner import (FolderStore, BatchError, IndexPage, BatchSpec, LocalWorkers, Monitor, batch, content_key,
                                       enqueue, expand, job_hook, job_notebook, notebook_digest, parameter_names, job_parameters, run_locally, run_job, work)
from ecg_audio_nb.settings import SettingsError
from toys import STAGES, made_of, notebook, recordings
from waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def inbox(tmp_path): return recordings(tmp_path / "in", 4)

@pytest.fixture
def store(tmp_path): return FolderStore(tmp_path / "out")

@pytest.fixture
def queue(store):
    q = Queue(store.queue_file())
    yield q
    q.close()


def ecg(*args, **kwargs):
    "The command, in a process group of its own"
    return subprocess.Popen([sys.executable, "-m", "ecg_audio_nb", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)

def leftovers(folder): return [p.name for p in Path(folder).iterdir() if p.name.endswith((".part", ".old"))]


# Sources

def test_all_ways_to_name_recordings(tmp_path):
    a, b, c = (tmp_path / n for n in ("x/a.mp4", "x/deep/b.WAV", "x/.hidden/c.mp3"))
    for p in (a, b, c, tmp_path / "x/notes.txt", tmp_path / "x/.d.mp4"): p.parent.mkdir(parents=True, exist_ok=True); p.write_text("1")
    (tmp_path / "list.txt").write_text("# recordings\n\nx/a.mp4\nx/deep\nhttps://x.org/a.mp4?key=1\n")
    assert expand([str(tmp_path / "x")]) == ([str(a), str(b)], [])
    assert expand([str(tmp_path / "list.txt")]) == ([str(a), str(b), "https://x.org/a.mp4?key=1"], [])
    assert expand([str(tmp_path / "x/**/*.WAV"), str(b)]) == ([str(b)], [])
    assert expand([str(tmp_path / "x")], tmp_path / "x/deep") == ([str(a)], [])
    found, missing = expand([str(tmp_path / "none*.mp4"), str(tmp_path / "x/.hidden/none.mp4")])
    assert len(missing) == 1 and "no recording found" in missing[0] and found == [str(tmp_path / "x/.hidden/none.mp4")]


def test_a_name_with_the_characters_of_a_pattern_is_a_file(tmp_path):
    path = tmp_path / "talk [1].mp4"
    path.write_text("1")
    assert expand([str(path)]) == ([str(path)], [])


@pytest.mark.parametrize("a, b, same", [
    ("https://x.org/a.mp4?X-Amz-Signature=1&X-Amz-Date=2", "https://x.org/a.mp4?X-Amz-Signature=3", True),
    ("https://x.org/a.mp4?id=1", "https://x.org/a.mp4?id=2", False), ("https://x.org/a.mp4", "https://y.org/a.mp4", False),
    ("https://u:p@x.org/a.mp4", "https://x.org/a.mp4#t=3", True)])
def test_an_address_is_itself_without_its_signature(queue, a, b, same):
    assert (content_key(queue, a) == content_key(queue, b)) == same and "p@" not in content_key(queue, a)


# The spec

def test_what_the_notebook_is_given(tmp_path):
    path = notebook(tmp_path / "nb.ipynb", parameters="source = 1\noverrides = None\nprofile = None\nlanguage = 'x'\nseed = {seconds}")
    assert parameter_names(path) == ["source", "overrides", "profile", "language", "seed"]
    spec = BatchSpec(path, "demo", {"language": "en", "transcribe.language": "ko"})
    assert job_parameters(spec) == {"profile": "demo", "overrides": {"transcribe.language": "ko"}, "language": "en"}


@pytest.mark.parametrize("given, cells, error, words", [
    ({"transcribe.engin": 1}, "source = 1\noverrides = 1", SettingsError, "transcribe.engine"),
    ({"transcribe.beam_size": 0}, "source = 1\noverrides = 1", SettingsError, "beam_size"),
    ({"engine": "whisper"}, "source = 1", BatchError, "takes no settings"),
    ({}, "path = 1", BatchError, "has no `source`")])
def test_a_wrong_plan_is_refused_before_the_work(tmp_path, queue, store, inbox, given, cells, error, words):
    spec = BatchSpec(notebook(tmp_path / "nb.ipynb", parameters=cells), None, given)
    with pytest.raises(error, match=words): enqueue(queue, spec, map(str, inbox), store)
    assert not list_jobs(queue)


def test_no_notebook_and_no_parameters_cell_are_named(tmp_path):
    with pytest.raises(BatchError, match="no such notebook"): job_notebook("nowhere.ipynb")
    (tmp_path / "a.ipynb").write_text("{}")
    with pytest.raises(BatchError, match="no notebook"): parameter_names(tmp_path / "a.ipynb")
    (tmp_path / "b.ipynb").write_text('{"cells": []}')
    with pytest.raises(BatchError, match="tagged `parameters`"): parameter_names(tmp_path / "b.ipynb")


def test_the_same_work_is_one_job_and_other_work_another(tmp_path, queue, store, inbox):
    path = notebook(tmp_path / "nb.ipynb", parameters="source = 1\noverrides = None\nprofile = None")
    shutil.copy(inbox[0], tmp_path / "in/copy.wav")
    sources = [*map(str, inbox), str(tmp_path / "in/copy.wav")]
    jobs, notes = enqueue(queue, BatchSpec(path), sources, store)
    assert len(jobs) == 4 and "the same recording" in notes[0]
    assert [j.id for j in enqueue(queue, BatchSpec(path), sources, store)[0]] == [j.id for j in jobs]
    for other in (BatchSpec(path, "demo"), BatchSpec(path, None, {"voice.onset": 0.6}), BatchSpec(notebook(tmp_path / "c.ipynb", "1 + 1", parameters="source = 1\noverrides = None"))):
        assert not {j.id for j in enqueue(queue, other, sources, store)[0]} & {j.id for j in jobs}
    same = {j.id for j in enqueue(queue, BatchSpec(path, None, {"runtime.threads": 1, "fetch.timeout": 5}), sources, store)[0]}
    assert not same & {j.id for j in jobs}, "settings that change no result are still parameters of the notebook"
    inbox[0].write_text("changed")
    assert len({j.id for j in enqueue(queue, BatchSpec(path), sources, store)[0]} - {j.id for j in jobs}) == 1


def test_outputs_of_a_notebook_do_not_make_it_another(tmp_path):
    path = notebook(tmp_path / "a.ipynb")
    first, nb = notebook_digest(path), json.loads(path.read_text())
    nb["cells"][1] |= {"outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}], "execution_count": 7}
    path.write_text(json.dumps(nb))
    assert notebook_digest(path) == first


# A batch

def test_a_batch_from_the_command_line_and_again(tmp_path):
    recordings(tmp_path / "in", 3)
    (tmp_path / "in/bad.wav").write_text("bad")
    path, out = notebook(tmp_path / "toy.ipynb"), tmp_path / "out"
    first = ecg("batch", tmp_path / "in", tmp_path / "nowhere.mp4", "-o", out, "--notebook", path)
    said, log = first.communicate(timeout=120)
    assert (first.returncode, said) == (1, f"3 of 4 done, 1 failed, 1 source not read: {out}/index.html\n"), log
    assert "nowhere.mp4: no such file" in log and "failed bad" in log and "this recording is bad; take another" in log and "%" not in log
    for source in (tmp_path / "in").glob("rec*"): assert (out / source.stem / "result.txt").read_text() == made_of(source)
    failed = json.loads((out / "failed/bad.ipynb").read_text())
    assert any(o["output_type"] == "error" and o["ename"] == "ValueError" for c in failed["cells"] for o in c.get("outputs", []))
    assert not (out / "bad").exists() and not leftovers(out)

    page = (out / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert {"recording000/recording000.ipynb", "failed/bad.ipynb"} <= set(links) and all((out / x).exists() for x in links)
    assert page.index("failed/bad.ipynb") < page.index("recording000/recording000.ipynb") and "this recording is bad" in page

    shutil.rmtree(out / "recording001")
    stamp = (out / "recording000/recording000.ipynb").stat().st_mtime_ns
    (tmp_path / "in/bad.wav").unlink()
    again = ecg("batch", tmp_path / "in", "-o", out, "--notebook", path)
    assert again.communicate(timeout=120)[0].startswith("3 of 3 done") and again.returncode == 0
    assert (out / "recording001/result.txt").exists() and (out / "recording000/recording000.ipynb").stat().st_mtime_ns == stamp


def test_nothing_to_do_starts_nothing(tmp_path, inbox):
    class Nobody(LocalWorkers):
        def start(self, *_, **__): raise AssertionError("a runner was started")
    spec = BatchSpec(notebook(tmp_path / "toy.ipynb"))
    batch(map(str, inbox), tmp_path / "out", spec)
    jobs, faults = batch(map(str, inbox), tmp_path / "out", spec, Nobody())
    assert [j.state for j in jobs] == ["done"] * 4 and not faults


def test_failed_jobs_are_tried_again_only_when_asked(tmp_path):
    source = tmp_path / "talk.wav"
    source.write_text("x")
    flag = tmp_path / "mended"
    path = notebook(tmp_path / "nb.ipynb", f"import os\nif not os.path.exists({str(flag)!r}): raise ValueError('not yet')\nopen('result.txt', 'w').close()")
    def run(**kwargs): return batch([str(source)], tmp_path / "out", BatchSpec(path), **kwargs)[0][0].state
    assert run() == "failed" and run() == "failed"
    flag.touch()
    assert run() == "failed" and run(retry_failed=True) == "done"
    assert (tmp_path / "out/talk/result.txt").exists() and not (tmp_path / "out/failed/talk.ipynb").exists()


def test_a_failed_second_run_leaves_the_first_result(tmp_path, queue, store, inbox):
    path = notebook(tmp_path / "nb.ipynb", "import os\nif os.path.exists('" + str(tmp_path / "broken") + "'): raise ValueError('x')\nopen('result.txt', 'w').close()")
    def run(): return work(queue, store, run_locally(queue, None), threading.Event())
    enqueue(queue, BatchSpec(path), [str(inbox[0])], store)
    assert run() == {"done": 1}
    (tmp_path / "broken").touch()
    from ecg_audio_nb.batch.queue import retry
    retry(queue, list_jobs(queue))
    assert run() == {"failed": 1} and (store.path / "recording000/result.txt").exists() and (store.path / "failed/recording000.ipynb").exists()


def test_what_killed_runners_left_is_swept_but_not_what_is_at_work(queue, store, tmp_path, inbox):
    enqueue(queue, BatchSpec(notebook(tmp_path / "toy.ipynb")), [str(inbox[0])], store)
    job = claim(queue, owner_name())
    for name in (f".{job.name}.{job.attempt}.part", ".other.1.part", ".lost.old", ".kept.old", "kept"): (store.path / name).mkdir()
    store.sweep(list_jobs(queue, "running"))
    assert leftovers(store.path) == [f".{job.name}.{job.attempt}.part"] or set(leftovers(store.path)) == {f".{job.name}.{job.attempt}.part", ".kept.old"}
    assert (store.path / "lost").is_dir()


# Asked to stop

def test_sigterm_ends_the_stage_and_gives_the_job_back(tmp_path, inbox):
    path, out = notebook(tmp_path / "stages.ipynb", STAGES, seconds=3.0), tmp_path / "out"
    p = ecg("batch", inbox[0], "-o", out, "--notebook", path)
    until(lambda: (out / ".jobs/queue.sqlite").exists())
    queue = Queue(out / ".jobs/queue.sqlite")
    until(lambda: [j for j in list_jobs(queue, "running") if j.stage == "voice"])
    p.terminate()
    said, log = p.communicate(timeout=120)
    [job] = list_jobs(queue)
    assert (p.returncode, job.state, job.tries) == (0, "queued", 0), log
    [attempt] = attempts(queue, job)
    assert attempt["outcome"] == "returned" and "1 queued" in said and not leftovers(out)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(out) in " ".join(p.info["cmdline"] or [])]


def test_a_job_at_work_can_be_cancelled(tmp_path, inbox):
    path, out = notebook(tmp_path / "stages.ipynb", STAGES, seconds=0.5), tmp_path / "out"
    p = ecg("batch", *inbox[:2], "-o", out, "--notebook", path)
    until(lambda: (out / ".jobs/queue.sqlite").exists())
    queue = Queue(out / ".jobs/queue.sqlite")
    [running] = until(lambda: [j for j in list_jobs(queue, "running") if j.stage])
    asked = ecg("jobs", "cancel", running.name, "-o", out).communicate(timeout=60)[0]
    assert "asked to stop" in asked
    said, log = p.communicate(timeout=120)
    assert find(queue, running.id).state == "cancelled" and counts(queue)["done"] == 1, log
    assert p.returncode == 0 and "1 of 2 done, 1 cancelled" in said


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


# Killed

@pytest.mark.slow
def test_kills_of_runner_kernel_and_batch_lose_and_double_nothing(tmp_path):
    sources, out, path = recordings(tmp_path / "in", 60), tmp_path / "out", notebook(tmp_path / "toy.ipynb", seconds=0.15)
    def start(): return ecg("batch", tmp_path / "in", "-o", out, "--notebook", path, "--workers", "2")
    p, kills = start(), []
    until(lambda: (out / ".jobs/queue.sqlite").exists())
    queue = Queue(out / ".jobs/queue.sqlite")
    for n, victim in enumerate(["runner", "kernel", "both", "batch", "runner"]):
        until(lambda: counts(queue)["done"] >= 4 + 8 * n and list_jobs(queue, "running"))
        runner = until(lambda: next((r for r in psutil.Process(p.pid).children() if r.children()), None))
        kernel = runner.children()[0]
        for target in {"runner": [runner], "kernel": [kernel], "both": [kernel, runner], "batch": [psutil.Process(p.pid)]}[victim]:
            with suppress(psutil.NoSuchProcess): target.kill(); kills.append(victim)
        if victim == "batch":
            p.wait()
            p = start()
    said, log = p.communicate(timeout=300)
    assert (p.returncode, counts(queue)["done"]) == (0, 60), log
    assert len(kills) == 6
    assert {s.stem: (out / s.stem / "result.txt").read_text() for s in sources} == {s.stem: made_of(s) for s in sources}
    assert all(sum(a["outcome"] == "done" for a in attempts(queue, j)) == 1 for j in list_jobs(queue))
    assert any(len(attempts(queue, j)) > 1 for j in list_jobs(queue)), "no kill hit a job at work"
    undisturbed, other = tmp_path / "undisturbed", Queue(tmp_path / "undisturbed/.jobs/queue.sqlite")
    enqueue(other, BatchSpec(path), map(str, sources), FolderStore(undisturbed))
    work(other, FolderStore(undisturbed), run_locally(other), threading.Event())
    for s in sources: assert (undisturbed / s.stem / "result.txt").read_bytes() == (out / s.stem / "result.txt").read_bytes()
    for s in sources: assert json.loads((out / s.stem / f"{s.stem}.ipynb").read_text())["metadata"]["papermill"]["exception"] is None
    ecg("batch", tmp_path / "in", "-o", out, "--notebook", path).communicate(timeout=60)
    assert not leftovers(out)


@pytest.mark.slow
def test_two_batches_on_one_folder_share_the_queue(tmp_path):
    recordings(tmp_path / "in", 30)
    out, path = tmp_path / "out", notebook(tmp_path / "toy.ipynb", seconds=0.3)
    both = [ecg("batch", tmp_path / "in", "-o", out, "--notebook", path) for _ in range(2)]
    for p in both:
        said, log = p.communicate(timeout=300)
        assert p.returncode == 0 and said.startswith("30 of 30 done"), log
    queue = Queue(out / ".jobs/queue.sqlite")
    assert all([a["outcome"] for a in attempts(queue, j)] == ["done"] for j in list_jobs(queue))
    assert len({a["owner"] for j in list_jobs(queue) for a in attempts(queue, j)}) == 2


def test_a_runner_stopped_past_its_lease_is_fenced(tmp_path, queue, store, inbox):
    "The paused one publishes nothing when it goes on; it is paused by its process, as a busy machine would"
    path = notebook(tmp_path / "toy.ipynb", "import pathlib, time\ntime.sleep(seconds)\npathlib.Path('result.txt').write_text('x')", seconds=3)
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
        from ecg_audio_nb.batch.queue import finish
        finish(queue, mine, lambda db: store.publish(mine, part))
    p.send_signal(signal.SIGCONT)
    assert p.wait(60) == 0
    assert [a["outcome"] for a in attempts(queue, mine)] == ["lost", "done"]
    assert (store.path / "recording000/result.txt").read_text() == "mine" and not leftovers(store.path)


# Room

@contextmanager
def small_disk(path, size):
    path.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try: yield path
    finally: subprocess.run(["umount", "-l", path], check=True)

def fill(path):
    with open(path, "wb", buffering=0) as f, suppress(OSError):
        while True: f.write(bytes(4096))


def test_a_disk_that_is_full_while_publishing(tmp_path, inbox):
    "The job fails as infrastructure, the queue is whole, the rest goes on once there is room"
    path = notebook(tmp_path / "toy.ipynb", "import pathlib\npathlib.Path('result.bin').write_bytes(bytes(1_500_000))")
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
        assert ended == {"failed": 1, "done": 2} and (job.failure_kind, "No space left" in job.error) == ("infra", True)
        assert queue.db.execute("pragma integrity_check").fetchone()[0] == "ok"
        assert not (out.path / "recording000").exists() and (out.path / "recording001/result.bin").stat().st_size == 1_500_000
        assert not leftovers(out.path)
        queue.close()


# An inbox that is watched

def test_a_watched_folder_takes_a_file_when_it_has_stopped_growing(tmp_path):
    path, out, inbox = notebook(tmp_path / "toy.ipynb", seconds=0), tmp_path / "out", tmp_path / "in"
    inbox.mkdir()
    p = ecg("batch", inbox, "-o", out, "--notebook", path, "--watch")
    until(lambda: (out / ".jobs/queue.sqlite").exists())
    queue = Queue(out / ".jobs/queue.sqlite")
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


def test_a_lost_lease_stops_the_work(queue, store, tmp_path, inbox):
    enqueue(queue, BatchSpec(notebook(tmp_path / "toy.ipynb")), [str(inbox[0])], store)
    job = claim(queue, owner_name())
    queue.db.execute("update jobs set attempt=9")
    with LeaseKeeper(queue, job, threading.Event(), lease=0.3) as keeper:
        assert keeper.stop.wait(10) and keeper.lost and (keeper.folder / "stop").exists()
    assert run_job(queue, store, job, lambda *_: None, threading.Event(), lease=0.3) == "lost" and not leftovers(store.path)


def test_a_name_that_is_no_utf8_stops_nobody_else(tmp_path, inbox, queue, store):
    odd = os.fsdecode(bytes(tmp_path / "in") + b"/b\xe4d.wav")
    try: Path(odd).write_text("1")
    except OSError: pytest.skip("this disk takes no such name")
    jobs, notes = enqueue(queue, BatchSpec(notebook(tmp_path / "toy.ipynb")), expand([str(tmp_path / "in")])[0], store)
    assert len(jobs) == 4 and len(notes) == 1 and "b?d.wav: its name is not UTF-8; rename it" in notes[0]


def test_the_page_is_kept_while_jobs_end(tmp_path, inbox, queue, store):
    enqueue(queue, BatchSpec(notebook(tmp_path / "toy.ipynb")), [str(inbox[0])], store)
    page, monitor, written = IndexPage(queue, store, interval=0), Monitor(queue), store.path / "index.html"
    page.update(monitor.snapshot())
    assert not written.exists(), "nothing has ended"
    fail(queue, claim(queue, "me"), "user", "no good")
    store.write = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    page.update(last := monitor.snapshot())
    assert last.ended and page.stale and not written.exists(), "a full disk ends nothing"
    del store.write
    page.update(monitor.snapshot())
    assert "no good" in written.read_text() and not page.stale
    page.interval = 1e9
    page.stale = True
    written.unlink()
    page.update(last)
    assert not written.exists(), "not again so soon"


def test_a_notebook_without_a_kernel_is_refused_before_the_work(tmp_path, queue, store, inbox):
    path = notebook(tmp_path / "nb.ipynb")
    nb = json.loads(path.read_text())
    nb["metadata"] = {}
    path.write_text(json.dumps(nb))
    with pytest.raises(BatchError, match="save it once"): enqueue(queue, BatchSpec(path), map(str, inbox), store)


def test_of_several_cards_each_runner_has_its_own(monkeypatch):
    from ecg_audio_nb.batch import workers as module
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(module, "cards", lambda: ("570", ("T4", "T4")))
    assert [module._worker_env(i)["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert module._worker_env(0)["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(module, "cards", lambda: (None, ()))
    assert "CUDA_VISIBLE_DEVICES" not in module._worker_env(0)


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
