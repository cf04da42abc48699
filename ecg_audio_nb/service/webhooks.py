"""Webhooks: notify a backend about its jobs, from an outbox in the queue's file, signed and at least once

A message is a row of the table `outbox`, written in the transaction that changes the job: the message is
there if, and only if, the change is. A thread delivers the rows. Any process may be killed at any moment.

| state | meaning |
| --- | --- |
| `waiting` | will be sent when its time (`due`) has come and no earlier message of its job is open |
| `sending` | in flight; waits again if its process dies or its lease ends |
| `delivered` | the receiver answered 2xx, whatever the body of that answer |
| `dead` | a final message that was given up; `ecg callbacks replay ID -o FOLDER` tries again |
| `dropped` | a progress message that was given up |
| `gone` | the receiver answered 410: it wants nothing more about this job |

| message | when it is written |
| --- | --- |
| `processing` | when an attempt or a stage starts or ends, and within a stage at most once a second |
| `completed` | in the transaction that finishes the job |
| `failed` | in the transaction that fails the job, or within seconds after it was cancelled or lost |

| answer | what happens |
| --- | --- |
| 2xx | delivered |
| none, 408, 425, 429, 5xx | tried again after 5, 20, 80, 320, 1280 s, then every hour (+-20 %), for 3 days |
| 429 or 503 with `Retry-After` | all messages to that host wait as long |
| 410 | gone |
| 413 to a completed message | sent again at once in its short form: counts and `result_url`, no result |
| 415 to a compressed message | sent again at once, uncompressed |
| 3xx, other 4xx | tried four times in all; redirects are not followed: nobody has checked their target |
| not sent: the settings do not allow the URL now | as without an answer: it is sent once they do |
| not sent: this is no URL | given up at once |

**Promises.** A final message (completed, failed) is never lost. Messages of one job arrive in order, one at a
time. A message may arrive twice with the same `webhook-id`: receivers skip an id they have seen. Progress is
merged: only the latest waiting message is kept, under a new id, and the final one replaces it. Progress never
falls, also when a second attempt begins at 0.

**Signatures** follow Standard Webhooks: HMAC-SHA256 over id, time and body, with the secrets of
`ECG_WEBHOOK_SECRET`. Several secrets, separated by spaces, sign side by side: while a secret is changed,
receivers with the old one and with the new one both find a signature that fits.

**Size.** A backend whose answers carry `Accept-Encoding: gzip` (RFC 7694) gets its messages compressed from
then on. The signature is that of the JSON text, before it is compressed. `Delivery.max_bytes` bounds what is
sent: a larger completed message goes out in its short form.

**Claims** are leases, as in the queue. Any number of processes may deliver from one file. One thread claims
and records; each delivery in flight has a thread of its own, which touches no database.
"""

import base64
import gzip
import json
import logging
import os
import queue as _queues
import re
import socket
import sqlite3
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from urllib.parse import urlsplit, urlunsplit

from ecg_audio_nb.audio.fetch import redact
from ecg_audio_nb.batch.clock import steady_now
from ecg_audio_nb.batch.queue import Queue, back_off, owner_exited, owner_name
from ecg_audio_nb.core.extras import require
from ecg_audio_nb.schema import Analysis, to_dict

__all__ = [
    "CallbackError",
    "Deliverer",
    "Delivery",
    "DeliveryResult",
    "Message",
    "STATES",
    "backend_result",
    "callback_url",
    "claim_due",
    "classify",
    "enqueue",
    "messages",
    "outcome_text",
    "prepare",
    "prune",
    "record_results",
    "reopen",
    "replay",
    "sign",
    "webhook_keys",
]

_log = logging.getLogger(__name__)


class CallbackError(ValueError):
    "A URL, a secret or a message that can't be used"


# URL and result


def callback_url(
    base: str,  # of a backend, such as https://backend.example.org
) -> str:
    "Return the URL at which a backend takes messages; raises `CallbackError`"
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # such as a port that is no number
        usable = False
    if not usable or not base.isprintable() or " " in base:
        raise CallbackError(
            f"{redact(base)}: no URL to send results to; write http://host:port or https://host"
        )
    path = f"{parts.path.rstrip('/')}/api/upload-video/result"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def backend_result(
    analysis: Analysis,
) -> dict:  # JSON-ready; unknown values are None
    "Put a result into the shape that the backend reads"
    result = to_dict(analysis)
    words = [word for segment in result["segments"] for word in segment["words"] if word["kind"] == "word"]
    keys = ("word", "start_time", "end_time", "speaker_id", "confidence")
    return {
        "segments": [_backend_segment(segment) for segment in result["segments"]],
        "word_segments": [{key: word[key] for key in keys} for word in words],
        "speakers": result["speakers"],
        "text": analysis.text,
        "language": result["metadata"]["language_detected"],
        "duration": result["metadata"]["duration"],
        "metadata": result["metadata"],
    }


def _backend_segment(segment: dict) -> dict:
    return {
        "id": segment["id"],
        "start_time": segment["start_time"],
        "end_time": segment["end_time"],
        "duration": segment["duration"],
        "speaker": {"speaker_id": segment["speaker_id"]},
        "text": segment["text"],
        "acoustic_features": segment["acoustic_features"],
        "words": [_backend_word(word) for word in segment["words"] if word["kind"] == "word"],
    }


def _backend_word(word: dict) -> dict:
    return {
        "word": word["word"],
        "start": word["start_time"],
        "end": word["end_time"],
        "acoustic_features": word["acoustic_features"],
    }


# The outbox

_TABLES = """
create table if not exists outbox(
  seq integer primary key autoincrement, id text not null unique, job text not null, url text not null,
  host text not null, body text not null, final integer not null, closes integer not null, progress real,
  state text not null default 'waiting', tries integer not null default 0,
  refusals integer not null default 0, waited real not null default 0, due real not null,
  owner text, lease real, status integer, answer text, created real not null, ended real) strict;
create index if not exists outbox_due on outbox(state, due);
create index if not exists outbox_job on outbox(job, seq);
create table if not exists outbox_pauses(host text primary key, until real not null) strict, without rowid;
create table if not exists outbox_encodings(
  host text primary key, gzip integer not null) strict, without rowid;
"""
STATES = ("waiting", "sending", "delivered", "dead", "gone", "dropped")


def prepare(queue: Queue) -> None:
    "Create the outbox's tables where they are missing; raises `sqlite3.Error`"
    with queue.transaction() as db:
        for statement in _TABLES.strip().split(";\n"):
            db.execute(statement)
        # the clock may have been set back since the machine started
        longest = steady_now(db) + Delivery.lease
        db.execute("update outbox set lease=min(lease, ?) where state='sending'", (longest,))


@dataclass(frozen=True)
class Message:
    "One row of the outbox"

    id: str  # `webhook-id`: the same on every try
    job: str
    url: str = field(repr=False)  # may contain a key; `ecg callbacks` shows it without
    body: str = field(repr=False)  # JSON
    final: bool  # completed or failed: never merged, never dropped
    state: str  # one of `STATES`
    tries: int  # how often it was sent
    refusals: int  # how many of these were answered with 3xx or 4xx
    waited: float  # seconds of back-off so far; the time in which no process ran does not count
    due: float  # not before this steady time (`batch.clock`)
    status: int | None  # of the last answer; None: there was none
    answer: str | None  # its first 200 characters, or what went wrong
    created: float  # seconds since 1970
    ended: float | None


def _message(row: sqlite3.Row) -> Message:
    values = {name: row[name] for name in Message.__dataclass_fields__}
    return Message(**values | {"final": bool(row["final"])})


def enqueue(
    db: sqlite3.Connection,  # inside the transaction that changes the job
    job_id: str,
    url: str,  # of `callback_url`
    body: Mapping,  # of `models.callback_body`
    final: bool,  # completed or failed: the job's last message
) -> str | None:
    """Write a message and return its webhook-id.

    None if nothing is written: the final message was, or the receiver wants nothing more. Raises
    `CallbackError` outside of a transaction, `ValueError` for a body that is no JSON."""
    if not db.in_transaction:
        raise CallbackError("enqueue: no transaction is open; call it in queue.transaction() or in publish")
    earlier = _earlier_messages(db, job_id)
    if earlier.closed or (earlier.gone and not final):
        return None
    body = _keep_progress(body, earlier.max_progress or 0)
    message_id, text, progress = f"msg_{uuid.uuid4().hex}", _to_json(body), body.get("progress")
    if earlier.waiting_seq is not None and not final:
        db.execute(
            "update outbox set id=?, url=?, host=?, body=?, progress=? where seq=?",
            (message_id, url, _host(url), text, progress, earlier.waiting_seq),
        )
        return message_id
    db.execute("delete from outbox where job=? and state='waiting' and not final", (job_id,))
    now, due = time.time(), steady_now(db)
    state, ended = ("gone", now) if earlier.gone else ("waiting", None)
    db.execute(
        """insert into outbox(id, job, url, host, body, final, closes, progress, state, due, created, ended)
        values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (message_id, job_id, url, _host(url), text, final, final, progress, state, due, now, ended),
    )
    return message_id


@dataclass(frozen=True)
class _Earlier:
    "What the outbox holds about a job; but for `closed`, since its latest final message"

    closed: bool  # a final message is written, and nothing may follow before `reopen`
    gone: bool  # the receiver answered 410
    max_progress: float | None
    waiting_seq: int | None  # row of the progress message that waits


def _earlier_messages(db, job_id: str) -> _Earlier:
    final = db.execute("select max(seq) seq, closes from outbox where job=? and final", (job_id,)).fetchone()
    row = db.execute(
        """select max(state='gone') gone, max(progress) progress,
        max(case when state='waiting' then seq end) waiting from outbox where job=? and seq>?""",
        (job_id, final["seq"] or 0),
    ).fetchone()
    return _Earlier(bool(final["closes"]), bool(row["gone"]), row["progress"], row["waiting"])


def _keep_progress(body: Mapping, at_least: float) -> Mapping:
    "Raise a message's progress to what was written before"
    progress = body.get("progress")
    if not isinstance(progress, (int, float)) or progress >= at_least:
        return body
    return {**body, "progress": int(at_least) if at_least == int(at_least) else at_least}


def _to_json(body: Mapping) -> str:
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # halves of characters, which UTF-8 does not have: escaped
        return json.dumps(body, allow_nan=False, separators=(",", ":"))
    return text


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def _names_host(url: str) -> bool:
    "Whether this is an http URL with a host: settings may allow it, now or later"
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port that is no number
        return False


def messages(
    queue: Queue,
    *states: str,  # of `STATES`; none given: all
    job: str | None = None,  # id of one job; None: of all
    limit: int = -1,  # at most this many, the latest; -1: all
) -> list[Message]:  # oldest first
    "List the messages of the outbox"
    states = states or STATES
    where, values = f"state in ({','.join('?' * len(states))})", [*states]
    if job is not None:
        where += " and job=?"
        values.append(job)
    rows = queue.db.execute(
        f"select * from outbox where {where} order by seq desc limit ?", (*values, limit)
    ).fetchall()
    return [_message(row) for row in reversed(rows)]


def reopen(
    db: sqlite3.Connection,  # inside the transaction that lets the job run again
    job_id: str,
) -> None:
    "Let messages follow a final one, delivered or not: its job runs again"
    db.execute("update outbox set closes=0 where job=?", (job_id,))


def replay(
    queue: Queue,
    key: str,  # a job's id, or the beginning of a webhook-id
    folder: str = "FOLDER",  # of the service or batch, in the message of the error
) -> list[Message]:  # those that wait now
    "Send messages again, with all their tries; raises `CallbackError` if there is none"
    with queue.transaction() as db:
        rows = _rows_of_key(db, key)
        if not rows:
            hint = f"`ecg callbacks list --all -o {folder}` shows them"
            raise CallbackError(f"{key}: no message of this id, and none of such a job; {hint}")
        replayable = [r for r in rows if r["state"] != "sending" and (r["final"] or r["state"] == "waiting")]
        return [_message(_wait_again(db, row["seq"])) for row in replayable]


def _rows_of_key(db, key: str) -> list[sqlite3.Row]:
    rows = db.execute("select * from outbox where job=?", (key,)).fetchall()
    if rows or key in ("", "m", "ms", "msg", "msg_"):  # what every webhook-id begins with
        return rows
    return db.execute("select * from outbox where id>=?1 and id<?1||'~'", (key,)).fetchall()


def _wait_again(db, seq: int) -> sqlite3.Row:
    return db.execute(
        """update outbox set state='waiting', tries=0, refusals=0, waited=0, due=?, ended=null
        where seq=? returning *""",
        (steady_now(db), seq),
    ).fetchone()


def prune(
    queue: Queue,
    before: float,  # seconds since 1970
    states: Iterable[str] = ("delivered", "dropped"),
) -> int:  # how many were deleted
    "Delete messages that ended before a time; open ones are never deleted"
    states = [s for s in states if s in STATES and s not in ("waiting", "sending")]
    marks = ",".join("?" * len(states))
    return queue.db.execute(
        f"delete from outbox where ended<? and state in ({marks})", (before, *states)
    ).rowcount


# Signatures


def webhook_keys(
    secret: str
    | None,  # as in `ECG_WEBHOOK_SECRET`: base64, with or without `whsec_`; several separated by spaces
) -> list[bytes]:  # empty: nothing is signed
    "Decode the keys to sign with; raises `CallbackError`, which never shows the secret"
    keys = []
    for n, part in enumerate((secret or "").split(), 1):
        text = part.removeprefix("whsec_")
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except ValueError:
            key = b""
        if not key:
            raise CallbackError(
                f"ECG_WEBHOOK_SECRET: secret {n} is not base64; make one with `openssl rand -base64 32`"
                " and write whsec_ before it"
            )
        keys.append(key)
    return keys


_SAFE_SECRET = 24  # bytes, as Standard Webhooks says; at most 64 are of use
_MIN_SECRET = 16  # bytes: shorter ones can be guessed


def _check_lengths(
    secret: str | None,  # as of `webhook_keys`
) -> None:
    "Refuse a secret that can be guessed, warn of a short one; raises `CallbackError`, which never shows it"
    for n, key in enumerate(webhook_keys(secret), 1):
        problem = (
            f"ECG_WEBHOOK_SECRET: secret {n} has {len(key)} bytes, and {_SAFE_SECRET} to 64 are safe; "
            "make one with `openssl rand -base64 32` and write whsec_ before it"
        )
        if len(key) < _MIN_SECRET:
            raise CallbackError(problem)
        if len(key) < _SAFE_SECRET:
            _log.warning(problem)


def _webhook_class():
    return require("standardwebhooks", "server", "signed callbacks need").Webhook


def sign(
    secret: str,  # one, or several separated by spaces
    message_id: str,  # webhook-id
    timestamp: int | str,  # webhook-timestamp, seconds since 1970
    body: str | bytes,  # exactly what is sent, UTF-8
) -> str:  # webhook-signature: `v1,` and base64, one for each secret
    "Sign a message as Standard Webhooks says; raises `CallbackError`"
    webhook = _webhook_class()
    sent_at = datetime.fromtimestamp(int(timestamp), tz=timezone.utc)
    text = body.decode() if isinstance(body, bytes) else body
    return " ".join(webhook(key).sign(message_id, sent_at, text) for key in webhook_keys(secret))


# What an answer means


@dataclass(frozen=True)
class DeliveryResult:
    "What came of one try"

    status: int | None = None  # None: no answer
    text: str = ""  # the beginning of the answer's body, or what went wrong
    retry_after: float | None = None  # seconds the receiver asks to wait
    permanent: bool = False  # the URL can't be used, now or later
    allowed: bool = True  # False: it was not sent, as the settings do not allow the URL now
    takes_gzip: bool | None = None  # what the answer says of compressed messages; None: nothing
    short: str | None = None  # body that replaces the message's, which was too large


def classify(
    result: DeliveryResult,
) -> str:  # delivered, gone, changed (sent in another form), retry (for days), refused (a few times), never
    "Decide what a try means for its message"
    status = result.status
    if result.permanent:
        return "never"
    if result.short is not None or (status == 415 and result.takes_gzip is False):
        return "changed"
    if status is None or status in (408, 425, 429) or status >= 500:
        return "retry"
    if 200 <= status < 300:
        return "delivered"
    if status == 410:
        return "gone"
    return "refused"


def _accepts_gzip(
    value: str | None,  # header Accept-Encoding of an answer
) -> bool | None:  # None: there is none
    "Read whether a receiver takes compressed messages"
    if value is None:
        return None
    for part in value.lower().split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            weight = parameters.partition("q=")[2].strip() or "1"
            return not re.fullmatch(r"0(\.0*)?", weight)
    return False


def _retry_after(
    value: str | None,  # header Retry-After: seconds or a date
    now: float,  # seconds since 1970
) -> float | None:  # seconds, at most a day; None: there is none that can be read
    "Read the header Retry-After"
    from email.utils import parsedate_to_datetime

    if value is None:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), 86400.0)


# Claim and record


@dataclass(frozen=True)
class Delivery:
    "How messages are delivered; times in seconds"

    max_in_flight: int = 8  # deliveries at the same time, one a job
    per_host: int = 6  # of these to one host: one that does not answer leaves room for the others
    timeout: float = 30  # of one delivery, from its start to the end of the answer
    connect_timeout: float = 10  # until a connection stands
    first_wait: float = 5  # after the first failure; each further wait is four times as long
    max_wait: float = 3600  # but no longer than this
    give_up_after: float = 3 * 86400  # of waiting, in all
    max_refusals: int = 4  # tries that end in 3xx or 4xx before a message is given up
    lease: float = 60  # after which a message of a silent process waits again
    poll_interval: float = 0.5  # between two looks at the outbox
    time_scale: float = 1.0  # factor for the waits and `give_up_after`
    compress: str = "auto"  # gzip: always, never, or auto: to hosts whose answers say that they take it
    max_bytes: int = 0  # of a message as it is sent; a larger completed one is sent in its short form; 0: any


def claim_due(
    queue: Queue,
    owner: str,  # must end with `owner_name()`
    limit: int,  # messages
    settings: Delivery = Delivery(),
) -> list[Message]:  # now `sending`, in the order they were written
    "Take messages whose time has come; those of dead processes wait again first"
    with queue.transaction() as db:
        now = steady_now(db)
        for row in db.execute("select seq, owner, lease from outbox where state='sending'").fetchall():
            if row["lease"] < now or owner_exited(row["owner"]):
                _return_to_waiting(db, "seq=?", row["seq"], "cut off: its process ended")
        db.execute("delete from outbox_pauses where until<=?", (now,))
        db.execute(_DELETE_OVERTAKEN)
        rows = db.execute(
            f"""update outbox set state='sending', owner=?, lease=?, tries=tries+1
            where seq in ({_DUE}) returning *""",
            (owner, now + settings.lease, now, settings.per_host, limit),
        ).fetchall()
    return [_message(row) for row in sorted(rows, key=lambda row: row["seq"])]


_DELETE_OVERTAKEN = """
delete from outbox where state='waiting' and not final
  and exists(select 1 from outbox later where later.job=outbox.job and later.seq>outbox.seq)"""
# Of a job, only the earliest open message; of a host, none during a pause, and at most `per_host` in flight
_DUE = """
select seq from (
  select seq, due, host, row_number() over (partition by host order by due, seq) n from outbox candidate
  where state='waiting' and due<=? and host not in (select host from outbox_pauses)
    and not exists(select 1 from outbox earlier where earlier.job=candidate.job
      and (earlier.state='sending' or (earlier.state='waiting' and earlier.seq<candidate.seq)))) ranked
where n + (select count(*) from outbox flying where flying.state='sending' and flying.host=ranked.host) <= ?
order by due, seq limit ?"""


def _return_to_waiting(db, where: str, value, answer: str) -> None:
    db.execute(
        f"""update outbox set state='waiting', owner=null, lease=null, status=null, answer=?
        where state='sending' and {where}""",
        (answer, value),
    )


def record_results(
    queue: Queue,
    owner: str,  # as in the claim
    results: Iterable[tuple[Message, DeliveryResult]],
    settings: Delivery = Delivery(),
) -> None:
    "Write down what came of tries; a message that another process has claimed meanwhile stays as it is"
    with queue.transaction() as db:
        for message, result in results:
            state, wait = _next_state(message, result, settings)
            now, steady = time.time(), steady_now(db)
            values = {
                "state": state,
                "due": steady + wait,
                "wait": wait,
                "refused": int(classify(result) == "refused"),
                "status": result.status,
                "answer": result.text[:200],
                "ended": None if state == "waiting" else now,
                "short": result.short,
                "id": message.id,
                "owner": owner,
                "tries": message.tries,
            }
            if db.execute(_RECORD, values).rowcount:
                _update_others(db, message, result, state, now, steady)


_RECORD = """
update outbox set state=:state, due=:due, waited=waited+:wait, refusals=refusals+:refused, status=:status,
  body=coalesce(:short, body), answer=:answer, owner=null, lease=null, ended=:ended
where id=:id and owner=:owner and tries=:tries and state='sending'"""


def _next_state(message: Message, result: DeliveryResult, settings: Delivery) -> tuple[str, float]:
    "Return a message's state after a try, and the seconds until its next try"
    meaning = classify(result)
    if meaning in ("delivered", "gone"):
        return meaning, 0.0
    if meaning == "changed":
        return "waiting", 0.0
    wait = _wait_before_retry(message, result, settings)
    refusals = message.refusals + (1 if meaning == "refused" else 0)
    waited_enough = message.waited + wait > settings.give_up_after * settings.time_scale
    if meaning == "never" or refusals >= settings.max_refusals or waited_enough:
        return ("dead" if message.final else "dropped"), 0.0
    return "waiting", wait


def _asked_pause(result: DeliveryResult) -> float | None:
    return result.retry_after if result.status in (429, 503) else None


def _wait_before_retry(message: Message, result: DeliveryResult, settings: Delivery) -> float:
    pause = _asked_pause(result)
    if pause is not None:
        return max(pause, settings.first_wait * settings.time_scale)
    tries = min(message.tries, 20)  # 4**tries must not overflow
    return back_off(tries, settings.first_wait, settings.max_wait) * settings.time_scale


def _update_others(
    db, message: Message, result: DeliveryResult, state: str, now: float, steady: float
) -> None:
    "Apply what a try means for other messages"
    pause = _asked_pause(result)
    if pause:
        db.execute(
            "insert into outbox_pauses values(?1, ?2) on conflict(host) do update set until=max(until, ?2)",
            (_host(message.url), steady + pause),
        )
    if result.takes_gzip is not None:
        db.execute(
            """insert into outbox_encodings values(?1, ?2)
            on conflict(host) do update set gzip=?2 where gzip<>?2""",
            (_host(message.url), int(result.takes_gzip)),
        )
    if state == "gone":
        db.execute("delete from outbox where job=? and state='waiting' and not final", (message.job,))
        db.execute(
            "update outbox set state='gone', ended=? where job=? and state='waiting'", (now, message.job)
        )
    if state in ("delivered", "dropped") and not message.final:  # the latest progress is enough
        db.execute(
            """delete from outbox where job=?1 and not final and state in ('delivered', 'dropped')
            and seq<(select seq from outbox where id=?2)""",
            (message.job, message.id),
        )
    about = (message.id, message.job, redact(message.url))
    if state == "dead":
        tries = "1 try" if message.tries == 1 else f"{message.tries} tries"
        text = (
            "callback %s of job %s to %s is given up after %s (%s); "
            "`ecg callbacks replay %s -o ECG_DATA_DIR/service` sends it again"
        )
        _log.warning(text, *about, tries, outcome_text(result.status, result.text), message.id)
    elif message.final and message.tries == 1 and not result.allowed:
        text = (
            "callback %s of job %s to %s is %s; it waits up to three days and is sent once that is allowed: "
            "`ecg callbacks list -o ECG_DATA_DIR/service` shows it"
        )
        _log.warning(text, *about, result.text)


_NOT_SENT = "not sent: "  # begins the text of a result where the URL is not allowed


def outcome_text(
    status: int | None,  # of the last answer
    text: str | None,  # the beginning of its body, or what went wrong
) -> str:
    "Say in a few words how a try ended"
    if status is not None:
        return str(status)
    if text and text.startswith(_NOT_SENT):
        return text
    return f"no answer: {text}" if text else "no answer"


# One delivery


def tls_context() -> ssl.SSLContext:
    """Trust what the system trusts, as sources are fetched: its store, `SSL_CERT_FILE` and `SSL_CERT_DIR`.

    On a system without a store, certifi's list takes its place."""
    import certifi

    context = ssl.create_default_context()
    places = ssl.get_default_verify_paths()
    has_folder = places.capath and os.path.isdir(places.capath) and os.listdir(places.capath)
    if not places.cafile and not has_folder and not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    return context


def _client(settings: Delivery):
    "Make an HTTP client that calls the checked URL alone: no redirects, no proxy, no cookies kept"
    httpx = require("httpx", "server", "callbacks need")
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    from ecg_audio_nb import __version__

    if logging.getLogger("httpx").level == logging.NOTSET:
        logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines show whole URLs
    headers = {
        "user-agent": f"ecg_audio_nb/{__version__}",
        "content-type": "application/json",
        "accept-encoding": "identity",
    }
    return httpx.Client(
        verify=tls_context(),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
        limits=httpx.Limits(max_keepalive_connections=0),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers=headers,
    )


_MAX_ADDRESSES = 4  # of one host are tried
_MIN_COMPRESSED = 1024  # bytes; a shorter message is sent as it is


def takes_gzip(
    queue: Queue,
    message: Message,
    settings: Delivery = Delivery(),
) -> bool:
    "Whether to compress a message; one that was refused once is sent as it is"
    if settings.compress != "auto":
        return settings.compress == "always"
    host = _host(message.url)
    row = queue.db.execute("select gzip from outbox_encodings where host=?", (host,)).fetchone()
    return bool(row and row["gzip"]) and message.refusals == 0


def _headers(message: Message, secret: str | None, body: bytes) -> dict[str, str]:
    now = int(time.time())
    headers = {"webhook-id": message.id, "webhook-timestamp": str(now)}
    if secret:
        headers["webhook-signature"] = sign(secret, message.id, now, body)
    return headers


class _DeliveryThread(threading.Thread):
    """Sends one message and passes its result on.

    httpx's limits hold for each read, so that a receiver which sends a byte now and then could keep a
    delivery for ever: `cut` ends the connection from outside."""

    def __init__(
        self,
        client,  # httpx.Client
        message: Message,
        secret: str | None,
        check: Callable[[str], object],  # as `Deliverer` takes it
        on_end: Callable[[Message, DeliveryResult], None],
        settings: Delivery,
        compress: bool = False,
        headers: Mapping[str, str] | None = None,  # further ones of this message
    ):
        super().__init__(name=f"callback {message.id}", daemon=True)
        self.client, self.message, self.secret = client, message, secret
        self.check, self.on_end = check, on_end
        self.settings, self.compress, self.headers = settings, compress, headers or {}
        self.deadline = time.monotonic() + settings.timeout
        self._socket, self._was_cut = None, False

    def run(self):
        try:
            result = self._deliver()
        except Exception as e:
            result = DeliveryResult(text=_one_line(f"{type(e).__name__}: {e}"))
        if self._was_cut and result.status is None:
            result = DeliveryResult(text="cut off: no answer in time")
        self.on_end(self.message, result)

    def _deliver(self) -> DeliveryResult:
        url, body = self.message.url, self.message.body.encode()
        try:
            checked = self.check(url)
        except ValueError as e:
            text = _one_line(f"{_NOT_SENT}{e}")
            return DeliveryResult(text=text, permanent=not _names_host(url), allowed=False)
        headers = {**self.headers, **_headers(self.message, self.secret, body)}
        if self.compress and len(body) >= _MIN_COMPRESSED:
            body, headers["content-encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
        if 0 < self.settings.max_bytes < len(body):
            return DeliveryResult(413, f"not sent: {len(body)} bytes are more than server.max_callback_kb")
        return self._post(url, body, headers, checked)

    def _post(self, url: str, body: bytes, headers: dict[str, str], checked) -> DeliveryResult:
        "Send to the first of the checked addresses that answers; unchecked, to the host of the URL"
        import httpx

        extensions = {"trace": self._watch_connection}
        addresses, _, host = checked or ([None], None, None)
        for n, address in enumerate(addresses[:_MAX_ADDRESSES], 1):
            try:
                target = httpx.URL(url)
                if address and address != host:
                    headers["host"] = target.netloc.decode()
                    extensions["sni_hostname"] = host
                    target = target.copy_with(host=address)
                with self.client.stream(
                    "POST", target, content=body, headers=headers, extensions=extensions
                ) as response:
                    return self._result_of(response, "content-encoding" in headers)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol):
                return DeliveryResult(text="this is no http URL", permanent=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if n == len(addresses[:_MAX_ADDRESSES]) or self._was_cut:
                    raise

    def _result_of(self, response, compressed: bool) -> DeliveryResult:
        pause = _retry_after(response.headers.get("retry-after"), time.time())
        accepts = _accepts_gzip(response.headers.get("accept-encoding"))
        if response.status_code == 415 and compressed and self.settings.compress == "auto":
            accepts = False
        elif response.status_code == 415:
            accepts = None  # it is not the compression that is refused
        return DeliveryResult(response.status_code, _beginning(response), pause, takes_gzip=accepts)

    def _watch_connection(self, event: str, info: Mapping):
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
        if self._was_cut:
            self.cut()

    def cut(self) -> None:
        "End the delivery now, wherever it is"
        self._was_cut = True
        try:
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already


def _beginning(response) -> str:
    "Read an answer's first 200 characters; what follows, or fails to, changes nothing"
    import httpx

    beginning = b""
    try:
        for chunk in response.iter_bytes():
            beginning += chunk
            if len(beginning) >= 1000:
                break
    except httpx.HTTPError:
        pass
    return _one_line(beginning[:1000].decode("utf-8", "replace"))


def _one_line(text: str) -> str:
    "Make a text fit for a terminal: one line, no control characters, at most 200 characters"
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


# The thread that delivers


class Deliverer:
    "Delivers the outbox's messages in a thread, until it is stopped"

    def __init__(
        self,
        queue: Queue,
        settings: Delivery = Delivery(),
        secret: str | None = None,  # of `ECG_WEBHOOK_SECRET`; None: messages are not signed
        check: Callable[[str], object] = lambda url: (
            None
        ),  # raises ValueError: not allowed; OSError: not known; returns None, or what `check_callback` does
        shorten: Callable[[Message], str | None] = lambda message: (
            None
        ),  # the body that replaces one that is too large; None: there is no shorter one
        headers: Callable[[Message], Mapping[str, str]] = lambda message: {},  # further ones of a message
    ):
        self.queue, self.settings, self.check = queue, settings, check
        self.shorten, self.headers = shorten, headers
        _check_lengths(secret)
        self.secret = secret if webhook_keys(secret) else None
        self.owner = f"{uuid.uuid4().hex[:8]}/{owner_name()}"
        self._client, self._thread = None, None
        self._stop_at = None  # monotonic time; None: not asked to stop
        self._in_flight: dict[str, _DeliveryThread] = {}  # by webhook-id
        self._ended = _queues.SimpleQueue()  # (message, result), put by the threads
        self._unrecorded: list[tuple[Message, DeliveryResult]] = []
        self._last_renewal = 0.0  # monotonic time
        self._woken = threading.Event()
        prepare(queue)

    def start(self) -> "Deliverer":
        "Start the thread; raises `ImportError` if the extra `server` is not installed"
        self._client, self._stop_at = _client(self.settings), None
        self._check_secret()
        self._try_unallowed()
        self._thread = threading.Thread(target=self._run, name="callbacks", daemon=True)
        self._thread.start()
        return self

    def _check_secret(self):
        if not self.secret:
            _log.warning("callbacks are sent unsigned: ECG_WEBHOOK_SECRET is not set")
            return
        _webhook_class()

    def _try_unallowed(self):
        "Let messages that were not allowed be tried at once: the settings may have changed since"
        with self.queue.transaction() as db:
            db.execute(
                """update outbox set due=min(due, ?)
                where state='waiting' and status is null and answer like ?""",
                (steady_now(db), f"{_NOT_SENT}%"),
            )

    def wake(self) -> None:
        "Look at the outbox now; without it, a new message is seen within `poll_interval`"
        self._woken.set()

    def stop(
        self,
        flush_seconds: float = 5.0,  # time for messages that are due
    ) -> int:  # messages that wait for the next start
        "Deliver what is due, cut what takes longer, and end the thread; the rest stays in the outbox"
        if self._thread:
            self._stop_at = time.monotonic() + flush_seconds
            self.wake()
            self._thread.join(flush_seconds + 60)
        rows = self.queue.db.execute("select count(*) from outbox where state in ('waiting', 'sending')")
        return rows.fetchone()[0]

    def _run(self):
        while self._stop_at is None or time.monotonic() < self._stop_at:
            try:
                busy = self._turn()
                if not busy and self._stop_at is not None:
                    break
            except Exception as e:
                _log.warning(
                    "callbacks wait: %s: %s", type(e).__name__, e
                )  # a full disk, a locked file: it passes
            self._sleep()
        self._cut_all()
        self._client.close()
        self.queue.close()

    def _sleep(self):
        seconds = self.settings.poll_interval
        if self._stop_at is not None:
            seconds = min(seconds, self._stop_at - time.monotonic())
        self._woken.wait(max(seconds, 0))
        self._woken.clear()

    def _turn(self) -> bool:
        "Record, cut, renew, claim; return whether anything is in flight"
        self._record()
        now = time.monotonic()
        for thread in self._in_flight.values():
            if now > thread.deadline:
                thread.cut()
        if self._in_flight and now - self._last_renewal > self.settings.lease / 3:
            self._renew_leases()
            self._last_renewal = now
        room = self.settings.max_in_flight - len(self._in_flight)
        if room > 0:
            for message in claim_due(self.queue, self.owner, room, self.settings):
                self._send(message)
        return bool(self._in_flight)

    def _renew_leases(self):
        until = steady_now(self.queue.db) + self.settings.lease
        rows = [(until, message_id, self.owner) for message_id in self._in_flight]
        with self.queue.transaction() as db:
            db.executemany("update outbox set lease=? where id=? and owner=? and state='sending'", rows)

    def _send(self, message: Message):
        thread = _DeliveryThread(
            self._client,
            message,
            self.secret,
            self.check,
            self._on_end,
            self.settings,
            takes_gzip(self.queue, message, self.settings),
            self.headers(message),
        )
        self._in_flight[message.id] = thread
        try:
            thread.start()
        except RuntimeError as e:  # the system has no more threads
            self._on_end(message, DeliveryResult(text=str(e)))

    def _on_end(self, message: Message, result: DeliveryResult):
        self._ended.put((message, result))
        self._woken.set()

    def _record(self, answered_only: bool = False):
        "Write down what has ended; what can't be written now is written at the next turn"
        while not self._ended.empty():
            message, result = self._ended.get()
            if result.status == 413 and message.final:
                result = replace(result, short=self.shorten(message))
            self._unrecorded.append((message, result))
        results = [(m, r) for m, r in self._unrecorded if r.status is not None or not answered_only]
        if results:
            record_results(self.queue, self.owner, results, self.settings)
        for message, _ in self._unrecorded:
            self._in_flight.pop(message.id, None)
        self._unrecorded.clear()

    def _cut_all(self):
        "End all deliveries; those without an answer wait again"
        for thread in self._in_flight.values():
            thread.cut()
        for thread in self._in_flight.values():
            if thread.is_alive():
                thread.join(1)
        try:
            self._record(answered_only=True)
            with self.queue.transaction() as db:
                _return_to_waiting(db, "owner=?", self.owner, "cut off: its process was stopped")
        except sqlite3.Error as e:
            _log.warning("callbacks wait again when their leases end: %s", e)
