"""The durable queue of jobs: claim, lease, fence, finish; the batch and the service share it

A job is a row in an SQLite file (write-ahead log, every commit synced to the disk). The file is the only
record: any number of processes of one machine may add, claim and finish jobs, and any of them may be killed
at any moment.

**States.** Who moves a job, and on what event:

| from | to | moved by | when |
| --- | --- | --- | --- |
| (new) | `queued` | `add` | no job of this id is in the queue |
| `queued` | `running` | `claim` | a runner is free and `not_before` has passed; counts an attempt and a try |
| `queued` | `cancelled` | `cancel` | at once |
| `running` | `running` | `heartbeat` | the claim holds: renews the lease, returns a requested cancellation |
| `running` | `done` | `finish` | the claim holds and `publish` succeeded |
| `running` | `queued` | `fail` | kind is not `user` and tries are left; waits for `back_off` |
| `running` | `queued` | `fail` | its source was replaced by `add` while it ran, and tries are left |
| `running` | `failed` | `fail` | kind `user`, or no tries are left |
| `running` | `queued` | `release` | the runner was asked to stop; the try is not counted |
| `running` | `cancelled` | `release` | a cancellation was requested |
| `running` | `running` | `exchange` | its source has changed: it gets the id of what it is now |
| `running` | `cancelled` | `exchange` | the same, and there is a job of that id |
| `running` | `queued` | any `claim` | lease ended or runner exited (attempt `lost`), and tries are left |
| `running` | `failed` | any `claim` | the same, and no tries are left: kind `crash` |
| `running` | `cancelled` | any `claim` | the same, and a cancellation was requested |
| `done`, `failed`, `cancelled` | `queued` | `retry` | tries count from 0 again, attempts go on |
| `done`, `failed`, `cancelled` | (gone) | `prune` | it ended before the given time |

**Invariants.**

- Lease and fence: a claim holds for some seconds and is renewed by `heartbeat`. It is identified by its owner
  and the number of its attempt. A runner whose job went to another one gets `LeaseLost` and changes nothing.
- Publishing happens inside the transaction that finishes a job: its results appear if, and only if, the claim
  held.
- Leases and waits are in steady time (`clock`): a step of the wall clock takes no job from its runner and
  lets none wait longer.
- No job is lost, and a `done` job does not run again by itself. A job whose runner dies in the middle runs
  again from its beginning, so side effects of a job can happen more than once.
- An attempt that wrote checkpoints before it was lost, or before the infrastructure failed, got further than
  those before it, and tries count from 0 again (`tries_after`). `MOST_ATTEMPTS` bounds that.
- `tries <= max_tries` and `tries <= attempt`; each attempt has a row of its own, open only while the job is
  `running`.

All processes that use a queue run on one machine, because SQLite's write-ahead log is shared memory. On a
network file system `network_folder` holds that.
"""

import hashlib
import json
import os
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ecg_audio_nb.batch import clock
from ecg_audio_nb.batch.clock import steady_now
from ecg_audio_nb.batch.network_folder import MachineMark, OtherMachine, network_file_system
from ecg_audio_nb.core.digests import digest_of

__all__ = [
    "Job",
    "LeaseLost",
    "Queue",
    "QueueError",
    "add",
    "attempts",
    "cancel",
    "claim",
    "counts",
    "exchange",
    "fail",
    "find",
    "finish",
    "get",
    "heartbeat",
    "job_id",
    "list_jobs",
    "owner_name",
    "prune",
    "release",
    "retry",
    "seconds_until_due",
]

STATES = ("queued", "running", "done", "failed", "cancelled")
ENDED = ("done", "failed", "cancelled")
LEASE = 30.0  # seconds that a claim holds without a heartbeat
MAX_WAIT = 600.0  # seconds before the next try of a job, but for 20 % at random
MOST_ATTEMPTS = 30  # of a job that gets further each time; after these each attempt counts as a try

_VERSION = 1
_TABLES = """
create table if not exists jobs(
  seq integer primary key, id text not null unique, name text not null unique collate nocase,
  source text not null, task text not null,
  state text not null default 'queued', attempt integer not null default 0, tries integer not null default 0,
  most integer not null, due real not null, owner text, lease real, wish text, stage text, share real,
  stored integer, kind text, error text, result text, created real not null, started real, ended real) strict;
create index if not exists jobs_due on jobs(state, due, seq);
create table if not exists attempts(
  job text not null, n integer not null, owner text not null, began real not null, ended real,
  outcome text, error text, began_at real, ended_at real, primary key(job, n)) strict, without rowid;
create table if not exists files(
  path text primary key, size integer, mtime_ns integer, sha256 text) strict, without rowid;
"""
_FIELD_OF_COLUMN = {  # columns keep their first names, so that old files read
    "most": "max_tries",
    "due": "not_before",
    "wish": "requested",
    "share": "progress",
    "kind": "failure_kind",
}


class QueueError(ValueError):
    "The queue's file can't be used, or it has no such job"


class LeaseLost(Exception):
    "The claim is no longer this runner's; nothing was changed"


class Queue:
    "A queue's file, with one connection for each thread that uses it"

    def __init__(
        self,
        path: str | os.PathLike,  # created if there is none
    ):
        self.path = Path(path)
        self._of_thread = threading.local()
        self._mark = None  # of this machine, on a network file system
        try:
            self._prepare()
        except OtherMachine as e:
            raise QueueError(f"{self.path.parent}: {e}") from None
        except (OSError, sqlite3.DatabaseError) as e:
            raise QueueError(
                f"{self.path}: no queue can be kept here ({e}); choose another folder, or make room"
            ) from None

    def _prepare(self) -> None:
        "Create folder, file and tables where there are none; raises `OSError` and `sqlite3.DatabaseError`"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if kind := network_file_system(self.path.parent):
            self._mark = MachineMark(self.path.parent, kind)
        self.keep_mark()
        mode = self.db.execute("pragma journal_mode=wal").fetchone()[0]
        if mode != "wal":
            raise OSError(f"this disk allows no write-ahead log, only {mode}; use a local disk")
        version = self.db.execute("pragma user_version").fetchone()[0]
        if version > _VERSION:
            raise OSError(
                f"a newer ecg_audio_nb wrote it: its tables have version {version}, this release reads "
                f"up to {_VERSION}; update ecg-audio-nb"
            )
        with self.transaction() as db:
            db.execute(clock.TABLE)
            for statement in _TABLES.split(";\n"):
                db.execute(statement)
            _add_columns(db)
            db.execute("create index if not exists attempts_ended on attempts(ended_at)")
            db.execute(f"pragma user_version={_VERSION}")
            if clock.register(db):
                _limit_waits(db)

    def keep_mark(self) -> None:
        "Renew this machine's mark on a network file system; raises `OtherMachine`"
        if self._mark:
            self._mark.keep()

    @property
    def db(self) -> sqlite3.Connection:
        "This thread's connection"
        if not hasattr(self._of_thread, "db"):
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            self._of_thread.db = connection
            connection.row_factory = sqlite3.Row
            connection.execute("pragma synchronous=full")
        return self._of_thread.db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        "Commit everything in the block or nothing; one transaction at a time over all processes"
        self.keep_mark()
        self.db.execute("begin immediate")
        try:
            yield self.db
            self.db.execute("commit")
        finally:
            if self.db.in_transaction:
                self.db.execute("rollback")

    def close(self) -> None:
        "Close this thread's connection; the next use opens another one"
        if hasattr(self._of_thread, "db"):
            self._of_thread.db.close()
            del self._of_thread.db


def _add_columns(db):
    "Add the columns that files of older releases do not have"
    new = {"attempts": {"began_at": "real", "ended_at": "real"}, "jobs": {"stored": "integer"}}
    for table, columns in new.items():
        there = {row["name"] for row in db.execute(f"pragma table_info({table})")}
        for name in columns.keys() - there:
            db.execute(f"alter table {table} add column {name} {columns[name]}")


def _limit_waits(db):
    """Bound what was written before the machine started: the clock may have been set back since

    A lease is never longer than `LEASE` from now, and a wait never longer than the longest `back_off`."""
    now = steady_now(db)
    db.execute("update jobs set lease=min(lease, ?) where state='running'", (now + LEASE,))
    tried = "update jobs set due=min(due, ?) where state='queued' and attempt>0"
    db.execute(tried, (now + 1.2 * MAX_WAIT,))
    not_delayed = "update jobs set due=min(due, ?) where state='queued' and attempt=0 and due<=created+5"
    db.execute(not_delayed, (now,))


@dataclass(frozen=True)
class Job:
    "One row of the queue"

    id: str  # 64 hexadecimal digits, or what the caller chose
    name: str  # what its results are called; unique in a queue, also when capitals are ignored
    source: str  # path or URL
    task: dict = field(default_factory=dict, repr=False)  # what its runner needs to know; plain values
    state: str = "queued"  # one of STATES
    attempt: int = 0  # number of the latest attempt; counted when it is claimed
    tries: int = 0  # attempts that count against `max_tries`
    max_tries: int = 3  # tries, none of which got further, before failures of the infrastructure end the job
    not_before: float = 0  # earliest time of the next claim, seconds since 1970; in a queue steady time
    owner: str | None = None  # the runner that has it, or had it last; see `owner_name`
    lease: float | None = None  # steady time until which the claim holds
    requested: str | None = None  # "cancel": what was asked of its runner
    stage: str | None = None  # the stage that runs, as its runner reported
    progress: float | None = None  # fraction of the stage that is done, 0 to 1
    stored: int | None = None  # checkpoints that the latest attempt wrote, as its runner reported
    failure_kind: str | None = None  # user, infra, timeout or crash; None: it did not fail
    error: str | None = None  # the latest error, also of an attempt after which the job was tried again
    result: dict | None = field(default=None, repr=False)  # what its runner reported at the end
    created: float | None = None  # times, seconds since 1970
    started: float | None = None
    ended: float | None = None


def as_record(
    job: Job,
) -> dict:  # plain values
    "A job's fields under the names of the table's columns, as `ecg jobs list --json` prints them"
    column_of_field = {name: column for column, name in _FIELD_OF_COLUMN.items()}
    return {column_of_field.get(name, name): value for name, value in vars(job).items()}


def _job(row: sqlite3.Row) -> Job:
    values = {_FIELD_OF_COLUMN.get(column, column): row[column] for column in row.keys() if column != "seq"}
    values["task"] = json.loads(values["task"])
    if values["result"] is not None:
        values["result"] = json.loads(values["result"])
    return Job(**values)


def job_id(
    content: str,  # identifies the source's content, see `batch.sources.content_key`
    notebook: str,  # digest of the notebook
    parameters: Mapping,  # plain values, by name
) -> str:  # 64 hexadecimal digits
    "Digest of a job's inputs: the same work has the same id"
    return digest_of([content, notebook, parameters])


def _select(db, id):
    "The job of an id, or None"
    row = db.execute("select * from jobs where id=?", (id,)).fetchone()
    return _job(row) if row else None


def _insert(db, job, now):
    "Insert a job; its id is appended to a name that is taken: 8 digits, or all where those are taken too"
    name = job.name
    for digits in (8, 64):
        if not db.execute("select 1 from jobs where name=?", (name,)).fetchone():
            break
        name = f"{job.name}-{job.id[:digits]}"
    due = steady_now(db) + max(0.0, job.not_before - now)
    row = db.execute(
        """insert into jobs(id, name, source, task, most, due, created) values(?, ?, ?, ?, ?, ?, ?)
        returning *""",
        (job.id, name, job.source, json.dumps(job.task), job.max_tries, due, now),
    ).fetchone()
    return _job(row)


def _any_source(known: Job, job: Job) -> bool:
    return True


def add(
    queue: Queue,
    jobs: Iterable[Job],
    takes_source: Callable[[Job, Job], bool] = _any_source,  # of the known job and the one of the same id
) -> list[tuple[Job, bool]]:  # each job as it stands in the queue, and whether it is new
    """Add jobs whose ids are not in the queue; a name that is taken gets the first digits of the id appended

    A known job takes the source of the one that is added, because that is the newest: a URL that was signed
    anew, or the place that a file was moved to."""
    added, now = [], time.time()
    with queue.transaction() as db:
        for job in jobs:
            known = _select(db, job.id)
            if known is None:
                added.append((_insert(db, job, now), True))
                continue
            if known.source != job.source and takes_source(known, job):
                _set(db, job.id, source=job.source, task=json.dumps(job.task))
                known = _select(db, job.id)
            added.append((known, False))
    return added


def _machine_id():
    "This boot of this machine and its namespace of processes; `unknown` where the system does not tell"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:8]}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return "unknown"


def _process_start(pid):
    "When a process began, in the kernel's ticks as text; None if it ended or is a zombie"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def owner_name(
    pid: int | None = None,  # None: this process
) -> str:  # `host/boot/process/start`
    "The name under which a process claims jobs; no two processes share one, not even after a reboot"
    pid = pid or os.getpid()
    return f"{socket.gethostname()}/{_machine_id()}/{pid}/{_process_start(pid) or 'unknown'}"


def owner_exited(
    owner: str,  # of `owner_name`
) -> bool:  # False where it can't be known: on another machine, or without /proc
    "Whether a runner is known to have exited"
    *_, machine, pid, start = owner.rsplit("/", 3)
    here = _machine_id()
    if "unknown" in (here, start) or machine != here:
        return False
    return _process_start(pid) != start


def _set(db, id, **values):
    columns = ", ".join(f"{column}=?" for column in values)
    db.execute(f"update jobs set {columns} where id=?", (*values.values(), id))


def _end_attempt(db, row, outcome, error=None):
    db.execute(
        "update attempts set ended=?, ended_at=?, outcome=?, error=? where job=? and n=?",
        (time.time(), steady_now(db), outcome, error, row["id"], row["attempt"]),
    )


def tries_after(
    job: Job,  # as it stands in the queue while it runs
    kind: str,  # of the failure that ends the attempt: user, infra, timeout or crash
) -> int:
    """Count a job's tries after an attempt: 0 if it wrote checkpoints, because the next one goes on from them

    A job of a single try has no next one."""
    got_further = bool(job.stored) and kind in ("infra", "crash") and job.attempt < MOST_ATTEMPTS
    return 0 if got_further and job.max_tries > 1 else job.tries


def is_tried_again(
    job: Job,  # as it stands in the queue while it runs
    kind: str,  # of the failure that ends the attempt: user, infra, timeout or crash
    tried: str,  # the source of this attempt
) -> bool:
    "Whether a job runs again after a failed attempt; a new source is tried even after an error of the user's"
    return (kind != "user" or job.source != tried) and tries_after(job, kind) < job.max_tries


def _recover(db):
    "Take jobs from runners that exited or let their lease end; see the table of states"
    now = steady_now(db)
    exited = cache(owner_exited)  # many jobs, few runners
    for row in db.execute("select * from jobs where state='running'").fetchall():
        if exited(row["owner"]):
            why = "its runner died"
        elif row["lease"] < now:
            why = "its runner sent no heartbeat until its lease ended"
        else:
            continue
        _end_attempt(db, row, "lost", why)
        tries = tries_after(_job(row), "crash")
        if row["wish"] == "cancel":
            _set(db, row["id"], state="cancelled", ended=time.time())
        elif tries < row["most"]:
            _set(db, row["id"], state="queued", due=now, error=why, tries=tries)
        else:
            error = f"{why}, {row['tries']} times in a row"
            _set(db, row["id"], state="failed", kind="crash", ended=time.time(), error=error)


def claim(
    queue: Queue,
    owner: str,  # of `owner_name`
    lease: float = LEASE,  # seconds until the next heartbeat is due
) -> Job | None:  # None: no job may start now
    "Claim the job that has waited longest; jobs of runners that died are put back first"
    with queue.transaction() as db:
        _recover(db)
        now, steady = time.time(), steady_now(db)
        row = db.execute(
            """update jobs set state='running', owner=?, lease=?, attempt=attempt+1, tries=tries+1, started=?,
            ended=null, stage=null, share=null, stored=null, wish=null
            where seq=(select seq from jobs where state='queued' and due<=? order by due, seq limit 1)
            returning *""",
            (owner, steady + lease, now, steady),
        ).fetchone()
        if row is None:
            return None
        attempt = (row["id"], row["attempt"], owner, now, steady)
        db.execute("insert into attempts(job, n, owner, began, began_at) values(?, ?, ?, ?, ?)", attempt)
        return _job(row)


def exchange(
    queue: Queue,
    job: Job,  # as it was claimed
    other: Job,  # with another id and task
) -> Job | None:  # the job as it is now; None: there was a job of the other id, and this one is cancelled
    "Make another job of a claimed one, because its source has become another; raises `LeaseLost`"
    with queue.transaction() as db:
        row = _claimed(db, job)
        known = _select(db, other.id)
        if known is None:
            values = (other.id, json.dumps(other.task), job.id)
            db.execute("update jobs set id=?, task=? where id=?", values)
            db.execute("update attempts set job=? where job=?", (other.id, job.id))
            return _select(db, other.id)
        error = f"its file was replaced before it ran; what is there now is the job {known.name}"
        _end_attempt(db, row, "returned", error)
        _set(db, job.id, state="cancelled", ended=time.time(), lease=None, error=error)
    return None


def _claimed(db, job):
    "The row of a job whose claim holds; raises `LeaseLost`"
    row = db.execute(
        "select * from jobs where id=? and owner=? and attempt=? and state='running'",
        (job.id, job.owner, job.attempt),
    ).fetchone()
    if row is None:
        raise LeaseLost(job.name)
    return row


def heartbeat(
    queue: Queue,
    job: Job,  # as it was claimed
    lease: float = LEASE,  # seconds until the next heartbeat is due
    stage: str | None = None,  # the stage that runs; None: unchanged
    progress: float | None = None,  # fraction of the stage that is done, 0 to 1
    stored: int | None = None,  # checkpoints that the attempt has written; None: unchanged
) -> str | None:  # what is requested of the runner: "cancel", or None
    "Renew a claim and store the job's stage; raises `LeaseLost`"
    queue.keep_mark()
    row = queue.db.execute(
        """update jobs set lease=?1, stage=coalesce(?2, stage),
        share=case when ?2 is null then share else ?3 end, stored=coalesce(?4, stored)
        where id=?5 and owner=?6 and attempt=?7 and state='running' returning wish""",
        (steady_now(queue.db) + lease, stage, progress, stored, job.id, job.owner, job.attempt),
    ).fetchone()
    if row is None:
        raise LeaseLost(job.name)
    return row["wish"]


Publish = Callable[[sqlite3.Connection], None]


@contextmanager
def _end_claim(queue, job, publish, outcome, error=None):
    "A transaction that ends an attempt if its claim holds; yields the connection and the job's row"
    with queue.transaction() as db:
        row = _claimed(db, job)
        if publish:
            publish(db)
        _end_attempt(db, row, outcome, error)
        yield db, row


def finish(
    queue: Queue,
    job: Job,  # as it was claimed
    publish: Publish | None = None,  # makes the results appear; may write rows through the connection it gets
    result: Mapping | None = None,  # plain values for lists of jobs
) -> None:
    "End a job as done; raises `LeaseLost`, and what `publish` raises, and then nothing has changed"
    with _end_claim(queue, job, publish, "done") as (db, _):
        stored = json.dumps(result) if result else None
        _set(db, job.id, state="done", ended=time.time(), lease=None, kind=None, error=None, result=stored)


def back_off(
    tries: int,  # tries so far, from 1
    first_wait: float = 5.0,  # seconds
    max_wait: float = MAX_WAIT,  # seconds
) -> float:  # seconds
    "Wait before the next try: four times the wait before, varied at random by 20 % to spread the load"
    return min(first_wait * 4 ** (tries - 1), max_wait) * random.uniform(0.8, 1.2)


def fail(
    queue: Queue,
    job: Job,  # as it was claimed
    kind: str,  # user: never again; infra, timeout, crash: later, while tries are left
    error: str,  # one line: what is wrong and what to do
    publish: Publish | None = None,  # called in the same transaction
    wait: float | None = None,  # seconds before the next try; None: `back_off`
) -> bool:  # whether the job will be tried again
    "End an attempt as failed; raises `LeaseLost`"
    with _end_claim(queue, job, publish, kind, error) as (db, row):
        known = _job(row)
        tries, will_retry = tries_after(known, kind), is_tried_again(known, kind, job.source)
        if will_retry:
            wait = 0 if known.source != job.source else wait
            due = steady_now(db) + (back_off(max(tries, 1)) if wait is None else wait)
            ended = {"kind": kind, "error": error, "stage": None, "tries": tries}
            _set(db, job.id, state="queued", due=due, lease=None, **ended)
        else:
            _set(db, job.id, state="failed", ended=time.time(), lease=None, kind=kind, error=error)
    return will_retry


def release(
    queue: Queue,
    job: Job,  # as it was claimed
    why: str = "its runner was asked to stop",
) -> str:  # its state now: queued, or cancelled if that was requested
    "End an attempt without counting it as a try; raises `LeaseLost`"
    with _end_claim(queue, job, None, "returned", why) as (db, row):
        if row["wish"] == "cancel":
            _set(db, job.id, state="cancelled", ended=time.time(), lease=None)
            return "cancelled"
        # it waited longest when it was claimed, so it goes before those that wait now
        first = db.execute("select min(due) from jobs where state='queued'").fetchone()[0]
        due, tries = min(first or row["due"], row["due"]), row["tries"] - 1
        _set(db, job.id, state="queued", due=due, tries=tries, lease=None, stage=None)
        return "queued"


def find(
    queue: Queue,
    key: str,  # a name, or the first digits of an id
) -> Job:
    "Find one job; raises `QueueError` if there is none, or if several ids begin so"
    rows = queue.db.execute(
        """select * from jobs where name=?1 union select * from jobs
        where id>=?1 and id<?1||'~' limit 9""",
        (key,),
    ).fetchall()
    matches = [row for row in rows if row["name"] == key] or rows
    if len(matches) == 1:
        return _job(matches[0])
    if matches:
        names = ", ".join(row["name"] for row in matches)
        raise QueueError(f"{key}: {len(matches)} jobs begin so: {names}; give more digits of the id")
    raise QueueError(f"{key}: no job of this name or id; `ecg jobs list` shows the names")


def get(
    queue: Queue,
    id: str,  # whole
) -> Job | None:  # None: there is none
    "Get a job by its id"
    return _select(queue.db, id)


def counts(
    queue: Queue,
) -> dict[str, int]:  # by state; every state is a key
    "Count the jobs in each state"
    rows = queue.db.execute("select state, count(*) from jobs group by state").fetchall()
    return dict.fromkeys(STATES, 0) | dict(rows)


def list_jobs(
    queue: Queue,
    *states: str,  # none: all
    limit: int = -1,  # at most the latest this many; -1: all
) -> list[Job]:  # in the order they were added
    "List the jobs in these states"
    where = f"where state in ({','.join('?' * len(states))})" if states else ""
    rows = queue.db.execute(f"select * from jobs {where} order by seq desc limit ?", (*states, limit))
    return [_job(row) for row in rows][::-1]


def attempts(
    queue: Queue,
    job: Job,
) -> list[dict]:  # n, owner, began, ended, outcome, error, seconds; the first attempt first
    "List all attempts of a job"
    rows = queue.db.execute(
        """select n, owner, began, ended, outcome, error, ended_at - began_at as seconds
        from attempts where job=? order by n""",
        (job.id,),
    )
    return [dict(row) for row in rows]


def retry(
    queue: Queue,
    jobs: Iterable[Job],  # those that have not ended are left alone
) -> list[Job]:  # those that were requeued
    "Requeue jobs that ended, done ones too, with all their tries"
    requeued = []
    with queue.transaction() as db:
        now = steady_now(db)
        for job in jobs:
            row = db.execute(
                """update jobs set state='queued', tries=0, due=?, kind=null, error=null, wish=null,
                ended=null, stage=null where id=? and state in ('done', 'failed', 'cancelled') returning *""",
                (now, job.id),
            ).fetchone()
            if row:
                requeued.append(_job(row))
    return requeued


def cancel(
    queue: Queue,
    job: Job,
) -> str:  # its state now; "running" until its runner has ended the stage
    "Cancel a queued job at once, and request it of a running one; a job that has ended stays as it is"
    with queue.transaction() as db:
        db.execute(
            "update jobs set state='cancelled', ended=? where id=? and state='queued'", (time.time(), job.id)
        )
        db.execute("update jobs set wish='cancel' where id=? and state='running'", (job.id,))
        return _select(db, job.id).state


def prune(
    queue: Queue,
    before: float,  # seconds since 1970
    states: Iterable[str] = ENDED,  # states of jobs that have not ended are ignored
) -> int:  # number of jobs deleted
    "Delete jobs that ended before a time, and shrink the file; a deleted job runs again if it is added again"
    ended = [s for s in states if s in ENDED]
    marks = ",".join("?" * len(ended))
    with queue.transaction() as db:
        rows = db.execute(
            f"delete from jobs where ended<? and state in ({marks}) returning id", (before, *ended)
        ).fetchall()
        db.executemany("delete from attempts where job=?", [(row["id"],) for row in rows])
    queue.db.execute("vacuum")
    return len(rows)


def seconds_until_due(
    queue: Queue,
    job: Job,  # a queued one
) -> float:  # 0: now
    "How long a job still waits for its next try"
    return max(0.0, job.not_before - steady_now(queue.db))


def file_digest(
    queue: Queue,  # stores digests with each file's size and time of change
    path: str | os.PathLike,
) -> str:  # SHA-256, hexadecimal
    "Digest of a file's bytes, read again only when its size or time has changed; raises `OSError`"
    path = os.path.realpath(path)
    status = os.stat(path)
    key = os.fsencode(path).decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode()
    row = queue.db.execute("select * from files where path=?", (key,)).fetchone()
    if row and (row["size"], row["mtime_ns"]) == (status.st_size, status.st_mtime_ns):
        return row["sha256"]
    with open(path, "rb") as f:
        sha256 = hashlib.file_digest(f, "sha256").hexdigest()
    values = (key, status.st_size, status.st_mtime_ns, sha256)
    queue.db.execute("insert or replace into files values(?, ?, ?, ?)", values)
    return sha256
