"""Steady time: seconds since 1970 that never step, the same for all processes of a queue

The wall clock steps: it is set by hand or over the network, a virtual machine is restored, a board starts in
1970. A lease that is measured by it ends too early, and a wait of five seconds lasts an hour. So leases and
waits are in steady time: the kernel's monotonic clock, which counts seconds since the machine started,
without those it slept, plus an offset. The first process that opens a queue after a start of the machine
writes down the offset, so that steady time begins with what the wall clock shows then.

| time | clock | for |
| --- | --- | --- |
| `lease`, `due`, lengths of attempts | steady | the queue and the outbox |
| `created`, `began`, `started`, `ended` | wall | people |

After a restart of the machine steady time begins anew, with another offset. What was written before is
compared as if the wall clock had been right; `Queue` limits how far in the future it may lie.
"""

import os
import sqlite3
import time
from functools import cache
from pathlib import Path

__all__ = ["boot_name", "steady_now"]

TABLE = "create table if not exists clocks(boot text primary key, offset real not null) strict, without rowid"


@cache
def boot_name() -> str | None:  # None: not known on this system, and the wall clock is used
    "Name the machine's latest start, and the clock of this process's time namespace"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    try:
        return f"{boot}/{os.stat('/proc/self/ns/time').st_ino}"
    except OSError:  # a kernel without time namespaces
        return boot


def register(
    db: sqlite3.Connection,  # in a transaction
) -> bool:  # whether this is the first use of the queue since the machine started
    "Write down the offset of this start of the machine, if nobody has"
    if boot_name() is None:
        return False
    offset = time.time() - time.monotonic()
    added = db.execute("insert or ignore into clocks values(?, ?)", (boot_name(), offset))
    return added.rowcount == 1


def steady_now(
    db: sqlite3.Connection,  # of a queue
) -> float:  # seconds since 1970, but for steps of the clock and sleep since the machine started
    "Read steady time"
    row = db.execute("select offset from clocks where boot=?", (boot_name(),)).fetchone()
    return time.time() if row is None else time.monotonic() + row[0]
