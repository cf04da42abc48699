"""Limits of connections: slow headers, bodies that stand still, answers that nobody reads, too many at once

uvicorn knows no such limits, and a proxy that has them is not always there. A connection that sends half a
header, or a body byte by byte, would be kept for ever, until the process has no more descriptors.

| what takes too long | limit | what happens |
| --- | --- | --- |
| the header of a request, or its first byte | `server.header_timeout` | 408 if anything came; closed |
| the body: nothing comes, or less than `MIN_RATE` | `server.stall_timeout` | 408; closed |
| the rest of a body whose request is answered | `server.header_timeout` | closed |
| the answer: nothing is read | `server.stall_timeout` | closed |
| the next request on an open connection | 5 s | closed |

Of more than `server.max_connections`, the one that has been without a complete request for longest is closed,
so that `/health` answers whoever asks; if all of them have one, the newest is answered with 503.
"""

import logging
import resource
import socket
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ecg_audio_nb.service.problems import PROBLEM_JSON, Problem

_log = logging.getLogger(__name__)
MIN_RATE = 500  # bytes a second, of a body: what comes slower uses up `stall_timeout`
_DESCRIPTORS = 4096  # of the process: asked for at the start
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}  # a peer that is gone is noticed


@dataclass(eq=False)
class ConnectionLimits:
    "What connections may take, and those that may be closed at once"

    header_timeout: float = 20  # seconds
    stall_timeout: float = 60  # seconds
    max_connections: int = 1000
    open: set = field(default_factory=set)  # all that are not being closed
    spare: OrderedDict = field(default_factory=OrderedDict)  # without a request at work, the oldest first


def room_for_descriptors(
    max_connections: int,  # as it is set
) -> int:  # how many connections the process has descriptors for
    "Raise the process's limit of open files as far as it may; half of it is kept for everything else"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, _DESCRIPTORS, 2 * max_connections)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return min(max_connections, soft // 2)


class LimitedProtocol(HttpToolsProtocol):
    "uvicorn's HTTP/1.1, each of whose connections ends by a limit"

    def __init__(self, *args, limits: ConnectionLimits, **kwargs):
        super().__init__(*args, **kwargs)
        self.limits = limits
        self._timer, self._timer_at = None, 0.0  # of the deadline; one for all phases
        self._stall_timer = None  # of an answer that is not read
        self._phase = None  # of the request that comes in: header, body, rest (of an answered one), or None
        self._deadline = 0.0  # of the phase, the loop's time
        self._has_begun = False  # something of the header came

    # What uvicorn calls

    def connection_made(self, transport):
        super().connection_made(transport)
        _watch_peer(transport.get_extra_info("socket"))
        self.limits.open.add(self)
        self.limits.spare[self] = None
        self._start("header", self.limits.header_timeout)
        if len(self.limits.open) > self.limits.max_connections:
            self._make_room()

    def data_received(self, data):
        if self._phase is None and self not in self.limits.spare:
            super().data_received(data)  # pipelined; or behind a request that was answered
            return
        if self._phase is None:
            self._start("header", self.limits.header_timeout)
        elif self._phase == "body":
            now, patience = self.loop.time(), self.limits.stall_timeout
            self._deadline = min(now + patience, self._deadline + len(data) / MIN_RATE)
        self._has_begun = True
        super().data_received(data)

    def on_headers_complete(self):
        self.limits.spare.pop(self, None)
        self._start("body", self.limits.stall_timeout)
        super().on_headers_complete()

    def on_message_complete(self):
        self._phase, self._has_begun = None, False
        super().on_message_complete()

    def on_response_complete(self):
        super().on_response_complete()
        if self._phase == "body":  # answered before it was read, such as one that is too large
            self._start("rest", self.limits.header_timeout)
        if not self.pipeline and not self.transport.is_closing():
            self.limits.spare[self] = None

    def pause_writing(self):
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.limits.stall_timeout, self._end_unread)

    def resume_writing(self):
        super().resume_writing()
        self._cancel_stall_timer()

    def connection_lost(self, exc):
        self._forget()
        self._phase = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._cancel_stall_timer()
        super().connection_lost(exc)

    # Deadlines

    def _start(self, phase: str, seconds: float) -> None:
        self._phase, self._deadline = phase, self.loop.time() + seconds
        if self._timer is not None and self._timer_at <= self._deadline:
            return  # it looks at the deadline then
        if self._timer is not None:
            self._timer.cancel()
        self._set_timer()

    def _set_timer(self) -> None:
        self._timer_at = self._deadline
        self._timer = self.loop.call_at(self._timer_at, self._look)

    def _look(self) -> None:
        "End the connection if its deadline is over; else look again when it is"
        self._timer = None
        if self._phase is None or self.transport.is_closing():
            return
        now = self.loop.time()
        if self.flow.read_paused:  # the service is slow, not its caller
            self._deadline = now + self.limits.stall_timeout
        if now < self._deadline:
            self._set_timer()
            return
        self._end_slow()

    def _end_slow(self) -> None:
        if self._phase == "rest":
            self._refuse(None)
            return
        limit = "header_timeout" if self._phase == "header" else "stall_timeout"
        seconds = getattr(self.limits, limit)
        _log.info("closed a request that took longer than server.%s = %g s", limit, seconds)
        problem = Problem(408, f"the request's {self._phase} took longer than {seconds:g} s")
        self._refuse(problem if self._has_begun else None)

    def _refuse(self, problem: Problem | None) -> None:
        "Close the connection, with an answer where none has begun"
        is_answered = self.cycle is not None and (
            not self.cycle.response_complete and self.cycle.response_started
        )
        if problem and not is_answered:
            self.transport.write(_answer(problem))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._forget()
        self.transport.close()

    def _forget(self) -> None:
        self.limits.open.discard(self)
        self.limits.spare.pop(self, None)

    def _end_unread(self) -> None:
        self._stall_timer = None
        _log.info(
            "closed an answer that was not read for server.stall_timeout = %g s", self.limits.stall_timeout
        )
        self.transport.abort()

    def _cancel_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    # Too many

    def _make_room(self) -> None:
        "Close the connection that waits for longest; if all others have a request, this one"
        oldest = next(iter(self.limits.spare))
        if oldest is self:
            self._refuse(Problem(503, "too many connections; come back later", retry_after=5))
        else:
            oldest._refuse(None)


def _watch_peer(sock) -> None:
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _answer(problem: Problem) -> bytes:
    "A problem as HTTP/1.1, for a connection whose request no application sees"
    body, phrase = problem.body(), {408: "Request Timeout", 503: "Service Unavailable"}[problem.status]
    headers = {"content-type": PROBLEM_JSON, "content-length": len(body), "connection": "close"}
    lines = [f"HTTP/1.1 {problem.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in {**headers, **problem.headers}.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
