"""Steps of the wall clock: no job is taken from its runner, and nothing waits longer"""
import os
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from batch_helpers import STAGES, ecg, notebook, open_queue
from ecg_audio_nb.batch import clock
from ecg_audio_nb.batch.monitor import Monitor, describe_job, format_counts, why_nothing_runs
from ecg_audio_nb.batch.queue import (
    Job,
    Queue,
    add,
    attempts,
    claim,
    counts,
    fail,
    finish,
    get,
    heartbeat,
    list_jobs,
    owner_name,
    release,
    seconds_until_due,
)
from ecg_audio_nb.cli import app
from stepped_clock import SteppedClock
from waiting import until

ME = owner_name()
ELSEWHERE = "otherhost/00000000.1/77/123" # its life can't be seen from here
HOUR = 3600


def jobs(n): return [Job(f"id{i}", f"job{i}", f"/media/{i}.wav") for i in range(n)]


@pytest.fixture
def step(monkeypatch):
    "Sets this process's wall clock"
    true = time.time
    def set_to(seconds): monkeypatch.setattr(time, "time", lambda: true() + seconds)
    return set_to


@pytest.fixture
def reboot(monkeypatch):
    "As after a start of the machine: another name, and the monotonic clock begins anew"
    def start_again():
        monkeypatch.setattr(clock, "boot_name", lambda: "another boot")
        began, true = time.monotonic(), time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: true() - began)
    return start_again


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_step_takes_no_job_from_its_runner(queue, step, seconds):
    add(queue, jobs(1))
    mine = claim(queue, ELSEWHERE)
    step(seconds)
    assert claim(queue, ME) is None
    heartbeat(queue, mine)
    finish(queue, mine)
    assert get(queue, "id0").state == "done"


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_step_lets_no_job_wait_longer(queue, step, seconds):
    add(queue, jobs(1))
    step(seconds)
    job = claim(queue, ME)
    fail(queue, job, "infra", "the disk is full", wait=0)
    step(0)
    again = claim(queue, ME)
    assert again.attempt == 2
    assert release(queue, again) == "queued"
    step(-seconds)
    assert claim(queue, ME).attempt == 3


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_lease_ends_all_the_same(queue, step, seconds):
    add(queue, jobs(1))
    claim(queue, ELSEWHERE, lease=0.05)
    step(seconds)
    until(lambda: claim(queue, ME))
    assert [a["outcome"] for a in attempts(queue, get(queue, "id0"))] == ["lost", None]


def test_lengths_and_reports_of_attempts_survive_a_step(queue, step):
    monitor = Monitor(queue)
    add(queue, jobs(2))
    job = claim(queue, ME)
    step(-HOUR)
    finish(queue, job)
    [ended] = monitor.snapshot().ended
    assert ended["name"] == "job0" and 0 <= ended["seconds"] < 60
    step(HOUR)
    fail(queue, claim(queue, ME), "user", "bad")
    [ended] = monitor.snapshot().ended
    assert ended["name"] == "job1" and 0 <= ended["seconds"] < 60
    assert "3600" not in describe_job(get(queue, "id0"), attempts(queue, get(queue, "id0")))


@pytest.mark.parametrize("seconds", [0, HOUR, -HOUR])
def test_after_a_start_of_the_machine_nothing_waits_for_the_old_clock(store, step, reboot, seconds):
    queue = Queue(store.queue_file())
    add(queue, jobs(3))
    claim(queue, ELSEWHERE)
    fail(queue, claim(queue, ME), "infra", "x", wait=600)
    queue.close()
    reboot()
    step(seconds)
    again = Queue(store.queue_file())
    assert claim(again, ME).name == "job2", "what never ran is due at once"
    held, tried = get(again, "id0"), get(again, "id1")
    now = clock.steady_now(again.db)
    assert held.lease <= now + 30 and seconds_until_due(again, tried) <= 720


def test_all_processes_of_a_queue_share_the_clock(queue):
    code = "import sys; from ecg_audio_nb.batch.queue import *; from ecg_audio_nb.batch.clock import *; "
    code += "print(steady_now(Queue(sys.argv[1]).db))"
    command = [sys.executable, "-c", code, str(queue.path)]
    before = clock.steady_now(queue.db)
    said = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert before <= said <= clock.steady_now(queue.db)
    assert abs(said - time.time()) < 60


def test_a_system_that_names_no_boot_uses_the_wall_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "boot_name", lambda: None)
    queue = Queue(tmp_path / "q.sqlite")
    assert clock.steady_now(queue.db) == pytest.approx(time.time(), abs=5)
    add(queue, jobs(1))
    assert claim(queue, ME) and queue.db.execute("select count(*) from clocks").fetchone()[0] == 0


@pytest.mark.parametrize("name", ["batch", "service"])
def test_a_queue_of_an_older_release_runs_on(tmp_path, root, name):
    path = tmp_path / "queue.sqlite"
    shutil.copy(root / f"tests/fixtures/of_0.1.0/{name}.sqlite", path)
    before = sqlite3.connect(path).execute("select id, state from jobs order by seq").fetchall()
    queue = Queue(path)
    assert [(j.id, j.state) for j in list_jobs(queue)] == before
    for job in list_jobs(queue):
        assert describe_job(job, attempts(queue, job))
    add(queue, jobs(1))
    while job := claim(queue, ME): finish(queue, job)
    assert get(queue, "id0").state == "done" and attempts(queue, get(queue, "id0"))[0]["seconds"] >= 0
    Queue(path).close()


# Why nothing runs


def test_status_says_when_the_next_try_is_due(queue, store):
    add(queue, jobs(2))
    assert why_nothing_runs(queue) == "nothing runs: the queued jobs are due, and no runner takes them"
    first = claim(queue, ME)
    assert why_nothing_runs(queue) is None
    fail(queue, first, "infra", "the disk is full", wait=HOUR)
    finish(queue, claim(queue, ME))
    why = "nothing runs: the next try, of job0, is due in 60 min after this error: the disk is full"
    assert why_nothing_runs(queue) == why
    said = CliRunner().invoke(app, ["jobs", "status", "-o", str(store.path)]).output
    assert why in said and "to run it: ecg batch /media/0.wav" in said
    shown = CliRunner().invoke(app, ["jobs", "show", "job0", "-o", str(store.path)]).output
    assert "due in      60 min" in shown
    assert "next try in 60 min" in format_counts(Monitor(queue).snapshot())


# Under a running batch


def test_a_batch_goes_on_while_the_clock_steps(tmp_path, inbox):
    "Two runners: one at work, the other with nothing to do, which would take the job over"
    stepped = SteppedClock(tmp_path / "clock")
    path, out = notebook(tmp_path / "stages.ipynb", STAGES, seconds=1.0), tmp_path / "out"
    command = ("batch", inbox[0], "-o", out, "--notebook", path, "--workers", "2")
    p = ecg(*command, env=os.environ | stepped.env)
    queue = open_queue(out)
    for stage, seconds in (("voice", HOUR), ("transcribe", -HOUR), ("align", 0), ("diarize", 24 * HOUR)):
        until(lambda: [j for j in list_jobs(queue, "running") if j.stage == stage] or p.poll() is not None)
        stepped.step(seconds)
    said, log = p.communicate(timeout=120)
    [job] = list_jobs(queue)
    assert (p.returncode, counts(queue)["done"]) == (0, 1), log
    [attempt] = attempts(queue, job)
    assert attempt["outcome"] == "done" and 6 <= attempt["seconds"] < HOUR / 2 and "done recording000" in log


def test_a_failed_try_is_repeated_in_time_while_the_clock_steps_back(tmp_path, inbox):
    stepped, flag = SteppedClock(tmp_path / "clock"), tmp_path / "flag"
    fails_once = f"import os\nif not os.path.exists({str(flag)!r}):\n" \
        f"    open({str(flag)!r}, 'w').close()\n    raise MemoryError('once')"
    path, out = notebook(tmp_path / "nb.ipynb", fails_once), tmp_path / "out"
    p = ecg("batch", inbox[0], "-o", out, "--notebook", path, env=os.environ | stepped.env)
    until(flag.exists)
    queue = open_queue(out)
    until(lambda: [job for job in list_jobs(queue, "queued") if job.tries == 1]) # its wait has begun
    stepped.step(-HOUR)
    said, log = p.communicate(timeout=120)
    assert (p.returncode, said[:11]) == (0, "1 of 1 done"), log
    tried = attempts(queue, list_jobs(queue)[0])
    assert [a["outcome"] for a in tried] == ["infra", "done"]
