"""The queue under several processes, kills, pauses and a full disk"""
import hashlib, json, os, shutil, signal, sqlite3, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from hypothesis import strategies as st

from batch_helpers import claim_from_two_processes
from ecg_audio_nb.batch.queue import (
    MOST_ATTEMPTS,
    Job,
    LeaseLost,
    Queue,
    QueueError,
    add,
    as_record,
    attempts,
    back_off,
    cancel,
    claim,
    counts,
    fail,
    file_digest,
    find,
    finish,
    get,
    heartbeat,
    job_id,
    list_jobs,
    owner_exited,
    owner_name,
    prune,
    release,
    retry,
    tries_after,
)

ME = owner_name()
ELSEWHERE = "otherhost/00000000.1/77/123" # its life can't be seen from here


def jobs(n): return [Job(job_id(str(i), "nb", {}), f"job{i}", f"/media/{i}.mp4") for i in range(n)]


def python(code, *args, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True, **kwargs
    )


def test_a_file_that_can_be_a_queue_and_one_that_cannot(queue):
    assert queue.db.execute("select count(*) from jobs").fetchone()[0] == 0
    with pytest.raises(
        QueueError,
        match="/dev/null/jobs.sqlite: no queue can be kept here .*; choose another folder, or make room",
    ):
        Queue("/dev/null/jobs.sqlite")


def test_the_same_work_has_the_same_id():
    assert (
        job_id("sha256:1", "nb", {"a": 1, "b": 2})
        == job_id("sha256:1", "nb", {"b": 2, "a": 1})
        != job_id("sha256:1", "nb", {"a": 1})
    )
    assert len(job_id("sha256:1", "nb", {"a": 1})) == 64


def test_a_name_that_is_taken_gets_the_ids_beginning(queue):
    talk, other = (
        Job(job_id("1", "nb", {}), "talk", "a/talk.mp4"),
        Job(job_id("2", "nb", {}), "talk", "b/talk.mp4"),
    )
    assert [(j.name, new) for j, new in add(queue, [talk, other, talk])] == [
        ("talk", True),
        (f"talk-{other.id[:8]}", True),
        ("talk", False),
    ]


def test_a_runner_is_its_machine_process_and_start():
    assert ME.split("/")[2] == str(os.getpid())
    assert (owner_exited(ME), owner_exited(ME + "0"), owner_exited("elsewhere/1.2/3/4")) == (
        False,
        True,
        False,
    )


def test_a_claim_counts_and_a_heartbeat_renews_it(queue):
    add(queue, jobs(2))
    mine = claim(queue, ME)
    assert (mine.name, mine.state, mine.attempt, mine.tries) == ("job0", "running", 1, 1)
    assert heartbeat(queue, mine, stage="transcribe", progress=0.4) is None
    held = get(queue, mine.id)
    assert (held.stage, held.progress) == ("transcribe", 0.4) and held.lease >= mine.lease
    heartbeat(queue, mine)
    assert (get(queue, mine.id).stage, get(queue, mine.id).progress) == ("transcribe", 0.4), (
        "unchanged where nothing is said"
    )
    with pytest.raises(LeaseLost): heartbeat(queue, replace(mine, attempt=2))


def test_a_job_is_published_once_and_only_if_publishing_succeeds(queue):
    add(queue, jobs(1))
    mine, published = claim(queue, ME), []
    def full(db): raise OSError("No space left on device")
    with pytest.raises(OSError): finish(queue, mine, full)
    finish(queue, mine, lambda db: published.append("talk"), {"words": 12})
    with pytest.raises(LeaseLost): finish(queue, mine, lambda db: published.append("again"))
    assert published == ["talk"] and get(queue, mine.id).result == {"words": 12}


def test_infrastructure_is_tried_again_and_a_users_error_is_not(queue):
    add(queue, jobs(1))
    assert fail(queue, claim(queue, ME), "infra", "the kernel died", wait=0) is True
    second = claim(queue, ME)
    assert (second.attempt, fail(queue, second, "user", "no such file")) == (2, False)
    assert [a["outcome"] for a in attempts(queue, second)] == ["infra", "user"]
    [third] = retry(queue, list_jobs(queue, "failed"))
    assert (third.tries, third.attempt, third.error) == (0, 2, None)


def test_a_running_job_is_cancelled_by_its_runner(queue):
    add(queue, jobs(1))
    mine = claim(queue, ME)
    assert (cancel(queue, mine), heartbeat(queue, mine), release(queue, mine)) == (
        "running",
        "cancel",
        "cancelled",
    )
    assert [(a["n"], a["outcome"]) for a in attempts(queue, mine)] == [(1, "returned")]


def test_a_queued_job_is_cancelled_at_once(queue):
    [(job, _)] = add(queue, jobs(1))
    assert cancel(queue, job) == "cancelled" and claim(queue, ME) is None


def test_jobs_are_found_listed_counted_and_pruned(queue):
    add(queue, jobs(2))
    finish(queue, claim(queue, ME))
    fail(queue, claim(queue, ME), "user", "x")
    job = find(queue, "job0")
    assert find(queue, job.id[:12]) == job == get(queue, job.id) and get(queue, "jbo") is None
    with pytest.raises(QueueError, match="jbo: no job of this name or id; `ecg jobs list` shows the names"):
        find(queue, "jbo")
    assert [j.name for j in list_jobs(queue, "done")] == ["job0"] and [
        j.name for j in list_jobs(queue, limit=1)
    ] == ["job1"]
    assert counts(queue) == {"queued": 0, "running": 0, "done": 1, "failed": 1, "cancelled": 0}
    assert prune(queue, time.time() + 1, ["failed"]) == 1 and sum(counts(queue).values()) == 1


def test_a_files_digest_is_that_of_its_bytes_also_after_a_change(queue, tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(b"one")
    first = file_digest(queue, path)
    assert file_digest(queue, path) == first == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"another")
    assert file_digest(queue, path) == hashlib.sha256(b"another").hexdigest()


def test_waits_grow_fourfold_up_to_ten_minutes():
    for tries, wait in ((1, 5), (2, 20), (3, 80), (9, 600)):
        assert 0.8 * wait <= back_off(tries) <= 1.2 * wait


def test_a_record_has_the_names_of_the_tables_columns(queue):
    add(queue, jobs(1))
    fail(queue, claim(queue, ME), "user", "no such file")
    job = get(queue, job_id("0", "nb", {}))
    columns = {row["name"] for row in queue.db.execute("pragma table_info(jobs)")} - {"seq"}
    assert set(as_record(job)) == columns
    assert {k: as_record(job)[k] for k in ("kind", "most", "due", "wish", "share", "error")} == {
        "kind": "user",
        "most": 3,
        "due": job.not_before,
        "wish": None,
        "share": None,
        "error": "no such file",
    }


def test_a_queue_of_an_older_release_reads(tmp_path, root):
    for name in ("batch", "service"):
        shutil.copy(root / f"tests/fixtures/of_0.1.0/{name}.sqlite", tmp_path / f"{name}.sqlite")
        old = Queue(tmp_path / f"{name}.sqlite")
        for job in list_jobs(old):
            assert (
                job.max_tries >= 1
                and job.not_before > 0
                and (job.failure_kind is None) == (job.state != "failed")
            )
        assert list_jobs(old) and all(as_record(j)["most"] == j.max_tries for j in list_jobs(old))
        old.close()


def test_two_processes_claim_every_job_once(queue):
    add(queue, jobs(40))
    claim_from_two_processes(queue, [f"job{i}" for i in range(40)]) # 200 in tests/soak


def test_a_killed_runner_is_seen_at_once_and_the_third_time_ends_the_job(queue):
    add(queue, jobs(1))
    code = (
        "import sys, time; from ecg_audio_nb.batch.queue import *; claim(Queue(sys.argv[1]), "
        "owner_name(), 3600); print('claimed', flush=True); time.sleep(60)"
    )
    for n in range(3):
        p = python(code, queue.path)
        assert p.stdout.readline() == "claimed\n"
        p.kill()
        p.wait()
    assert claim(queue, ME) is None
    job = find(queue, "job0")
    assert (job.state, job.failure_kind, job.tries) == ("failed", "crash", 3) and "died" in job.error
    assert [a["outcome"] for a in attempts(queue, job)] == ["lost"] * 3
    retry(queue, [job])
    assert claim(queue, ME).attempt == 4


def lose(queue, stored=None):
    "Claim the job for a runner that has died; it reported so many checkpoints"
    mine = claim(queue, ME + "0")
    if stored is not None: heartbeat(queue, mine, stage="transcribe", progress=0.5, stored=stored)
    return mine


def test_a_job_that_gets_further_before_each_kill_does_not_fail(queue):
    add(queue, jobs(1))
    for n in range(1, 8): assert lose(queue, stored=2).attempt == n
    assert get(queue, jobs(1)[0].id).tries == 1, "the latest kill is seen by the next claim"
    for left in (1, 2, 3): assert lose(queue, stored=0).tries == left # these get no further
    assert claim(queue, ME) is None
    job = find(queue, "job0")
    assert (job.state, job.failure_kind, job.attempt) == ("failed", "crash", 10)
    assert job.error == "its runner died, 3 times in a row"


def test_a_job_does_not_get_further_for_ever(queue):
    "A folder of checkpoints that keeps nothing: each attempt writes the same again"
    add(queue, jobs(1))
    while (mine := claim(queue, ME + "0")) and mine.attempt < 100: heartbeat(queue, mine, stored=1)
    job = find(queue, "job0")
    assert (job.state, job.attempt) == ("failed", MOST_ATTEMPTS + 2)


@pytest.mark.parametrize(
    "kind, most, tries", [("infra", 3, 0), ("crash", 3, 0), ("timeout", 3, 1), ("infra", 1, 1)]
)
def test_which_failures_count_although_checkpoints_were_written(queue, kind, most, tries):
    add(queue, [replace(jobs(1)[0], max_tries=most)])
    mine = claim(queue, ME)
    heartbeat(queue, mine, stored=5)
    assert tries_after(get(queue, mine.id), kind) == tries
    assert fail(queue, mine, kind, "no memory", wait=0) == (most > 1)
    assert get(queue, mine.id).tries == tries
    if most > 1: assert claim(queue, ME).stored is None, "the next attempt has written nothing yet"


def test_a_zombie_is_gone(queue):
    p = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owner_name(p.pid)
    assert not owner_exited(owner)
    p.kill()
    for _ in range(500): # it is not waited for, so it stays in the table of processes
        if owner_exited(owner): break
        time.sleep(0.01)
    assert owner_exited(owner)
    p.wait()


def test_who_comes_back_after_its_lease_changes_nothing(queue):
    add(queue, jobs(1))
    late = claim(queue, ELSEWHERE, lease=-1)
    mine = claim(queue, ME)
    assert (mine.id, mine.attempt) == (late.id, 2)
    published = []
    for act in (
        lambda: finish(queue, late, published.append),
        lambda: fail(queue, late, "infra", "x", published.append),
        lambda: heartbeat(queue, late),
        lambda: release(queue, late),
    ):
        with pytest.raises(LeaseLost): act()
    assert not published and find(queue, late.id).owner == ME
    finish(queue, mine, published.append)
    assert len(published) == 1 and [a["outcome"] for a in attempts(queue, mine)] == ["lost", "done"]


def test_a_lease_that_ran_out_but_went_to_nobody_still_holds(queue):
    add(queue, jobs(1))
    job = claim(queue, ELSEWHERE, lease=-1)
    finish(queue, job)
    assert find(queue, job.id).state == "done"


@pytest.mark.parametrize("kind, tries", [("user", 1), ("infra", 3), ("timeout", 3)])
def test_whose_fault_it_was_decides_how_often_it_is_tried(queue, kind, tries):
    add(queue, jobs(1))
    said = []
    for _ in range(tries): said.append(fail(queue, claim(queue, ME), kind, "a fault", wait=0))
    assert said == [True] * (tries - 1) + [False] and claim(queue, ME) is None
    assert (find(queue, "job0").state, find(queue, "job0").failure_kind) == ("failed", kind)


def test_the_waits_grow(queue):
    add(queue, jobs(1))
    fail(queue, claim(queue, ME), "infra", "the disk is full")
    first = find(queue, "job0").not_before - time.time()
    assert claim(queue, ME) is None and 3 < first < 7
    queue.db.execute("update jobs set due=0")
    fail(queue, claim(queue, ME), "infra", "the disk is full")
    assert 2.5 * first < find(queue, "job0").not_before - time.time()


def test_giving_back_costs_no_try_and_keeps_the_place(queue):
    add(queue, jobs(2))
    for _ in range(5):
        job = claim(queue, ME)
        assert job.name == "job0" and release(queue, job) == "queued"
    assert (find(queue, "job0").tries, find(queue, "job0").attempt) == (0, 5)


def test_what_publish_writes_goes_with_the_job(queue):
    add(queue, jobs(1))
    job = claim(queue, ME)
    queue.db.execute("create table outbox(text text)")
    def publish(db):
        db.execute("insert into outbox values('done')")
        raise OSError(28, "No space left on device")
    with pytest.raises(OSError): finish(queue, job, publish)
    assert queue.db.execute("select count(*) from outbox").fetchone()[0] == 0
    assert find(queue, job.id).state == "running" and not queue.db.in_transaction
    finish(queue, job, lambda db: db.execute("insert into outbox values('done')") and None)
    assert queue.db.execute("select count(*) from outbox").fetchone()[0] == 1


def test_the_same_names_in_all_spellings_stay_apart(queue):
    named = [replace(j, name=n) for j, n in zip(jobs(4), ("talk", "Talk", "TALK", "talk"))]
    names = [j.name for j, _ in add(queue, named)]
    assert len({n.lower() for n in names}) == 4 and names[0] == "talk" and names[1].startswith("Talk-")


def test_threads_have_connections_of_their_own(queue):
    add(queue, jobs(60))
    def work(_):
        n = 0
        while job := claim(queue, ME): finish(queue, job); n += 1
        queue.close()
        return n
    with ThreadPoolExecutor(4) as pool: assert sum(pool.map(work, range(4))) == 60


def test_a_newer_file_is_left_alone(tmp_path):
    path = tmp_path / "jobs.sqlite"
    q = Queue(path)
    q.db.execute("pragma user_version=99")
    q.close()
    with pytest.raises(QueueError, match="newer"): Queue(path)


def test_what_is_no_queue_is_named(tmp_path):
    (tmp_path / "jobs.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 30)
    with pytest.raises(QueueError, match="jobs.sqlite: no queue can be kept here"):
        Queue(tmp_path / "jobs.sqlite")


def test_find_by_the_beginning_of_an_id_and_by_name(queue):
    add(queue, jobs(40))
    job = find(queue, "job7")
    assert find(queue, job.id[:16]) == job
    digits = {j.id[0] for j in list_jobs(queue)}
    twice = next(d for d in digits if sum(j.id[0] == d for j in list_jobs(queue)) > 1)
    with pytest.raises(QueueError, match="jobs begin so"): find(queue, twice)


def test_prune_forgets_only_what_ended_before(queue):
    add(queue, jobs(3))
    finish(queue, claim(queue, ME))
    fail(queue, claim(queue, ME), "user", "x")
    assert prune(queue, time.time() - 10) == 0
    assert prune(queue, time.time() + 1, ["failed", "queued"]) == 1
    assert counts(queue) == {"queued": 1, "running": 0, "done": 1, "failed": 0, "cancelled": 0}


def test_a_cancelled_runner_that_died_leaves_a_cancelled_job(queue):
    add(queue, jobs(1))
    job = claim(queue, ELSEWHERE, lease=-1)
    assert cancel(queue, job) == "running"
    assert claim(queue, ME) is None and find(queue, job.id).state == "cancelled"


def test_names_of_files_may_be_any_bytes(queue, tmp_path):
    path = os.fsencode(tmp_path) + b"/a\xff\xfe.wav"
    open(path, "wb").write(b"1")
    assert file_digest(queue, os.fsdecode(path)) == file_digest(queue, os.fsdecode(path))


def test_the_queue_is_whole_after_a_kill_in_the_middle_of_commits(tmp_path):
    path = tmp_path / "jobs.sqlite"
    code = """
import sys
from ecg_audio_nb.batch.queue import *
q = Queue(sys.argv[1]); me = owner_name()
print('ready', flush=True)
i = 0
while True:
    add(q, [Job(job_id(str(i), 'nb', {}), f'job{i}', 's')]); i += 1
    finish(q, claim(q, me))
"""
    for _ in range(3):
        p = python(code, path)
        p.stdout.readline()
        time.sleep(0.3)
        p.send_signal(signal.SIGKILL)
        p.wait()
    q = Queue(path)
    assert q.db.execute("pragma integrity_check").fetchone()[0] == "ok"
    while job := claim(q, ME): finish(q, job)
    assert counts(q)["done"] == len(list_jobs(q)) > 3
    assert all(sum(a["outcome"] == "done" for a in attempts(q, j)) == 1 for j in list_jobs(q)[:50])


class Machine(RuleBasedStateMachine):
    "Any order of calls by two runners keeps the promises"
    ids = Bundle("ids")
    def __init__(self):
        super().__init__()
        import tempfile
        self.folder = tempfile.TemporaryDirectory()
        self.queue, self.held, self.published, self.retried = (
            Queue(self.folder.name + "/q.sqlite"),
            [],
            [],
            set(),
        )

    def teardown(self):
        self.queue.close()
        self.folder.cleanup()

    @rule(target=ids, n=st.integers(0, 5))
    def adds(self, n): return add(self.queue, jobs(6)[n:n+1])[0][0].id

    @rule(owner=st.sampled_from([ME, ELSEWHERE]), lease=st.sampled_from([60, -1]))
    def claims(self, owner, lease):
        if job := claim(self.queue, owner, lease): self.held.append(job)

    @rule(data=st.data(), how=st.sampled_from(["finish", "user", "infra", "back", "beat"]))
    def ends(self, data, how):
        if not self.held: return
        job = data.draw(st.sampled_from(self.held))
        try:
            if how == "finish":
                finish(self.queue, job, lambda db: self.published.append((job.id, job.attempt)))
            elif how == "back": release(self.queue, job)
            elif how == "beat": heartbeat(self.queue, job, 60)
            else: fail(self.queue, job, how, "x", wait=0)
        except LeaseLost: pass

    @rule(id=ids)
    def cancels(self, id): cancel(self.queue, find(self.queue, id))

    @rule(id=ids)
    def retries(self, id):
        if retry(self.queue, [find(self.queue, id)]): self.retried.add(id)

    @invariant()
    def one_published_result(self):
        for job in list_jobs(self.queue):
            n = sum(id == job.id for id, _ in self.published)
            done = sum(a["outcome"] == "done" for a in attempts(self.queue, job))
            assert n == done and (n <= 1 or job.id in self.retried)
            assert job.state != "done" or n >= 1
            assert job.tries <= job.max_tries and 0 <= job.tries <= job.attempt
            assert len(attempts(self.queue, job)) == job.attempt
            assert (job.state == "running") == any(a["ended"] is None for a in attempts(self.queue, job))


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_the_queue_whole(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        q = Queue(disk / "jobs.sqlite")
        add(q, jobs(5))
        job = claim(q, ME)
        with open(disk / "ballast", "wb", buffering=0) as f, suppress(OSError):
            while True: f.write(bytes(4096))
        big = {"text": "x" * 200_000}
        with pytest.raises(sqlite3.OperationalError, match="full|I/O"): finish(q, job, result=big)
        assert find(q, job.id).state == "running"
        os.unlink(disk / "ballast")
        finish(q, job, result=big)
        assert q.db.execute("pragma integrity_check").fetchone()[0] == "ok"
        assert json.dumps(find(q, job.id).result) and counts(q)["done"] == 1
        q.close()
    finally: subprocess.run(["umount", "-l", disk], check=True)
