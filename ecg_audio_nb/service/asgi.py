"""ASGI middleware that admits requests: checks host, origin, key, rate and size, answers errors, logs"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from ecg_audio_nb.service.limits import RateLimit, address_block, key_name, key_of_request
from ecg_audio_nb.service.logs import job_of_log, read_traceparent
from ecg_audio_nb.service.problems import Problem, send_problem

_log = logging.getLogger(__name__)
_SAFETY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]


class _TooLarge(Exception):
    "The body is larger than allowed; ends the application's reading"


class _Exchange:
    "One request and its answer, as far as they went"

    def __init__(
        self,
        scope,
        send,
        body_limit: int,  # bytes
        too_large_detail: str,  # what a caller is told who sends more
    ):
        self.scope, self._send, self.body_limit = scope, send, body_limit
        self.too_large_detail = too_large_detail
        self.status = None  # of the answer, once it has begun
        self.too_large = False  # more was read than `body_limit`
        self._replaced = False  # the 413 was sent in place of the application's answer

    async def send(self, message) -> None:
        "Pass a message on with the safety headers; a body that was too large is answered with 413 instead"
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            if self.too_large and self.status is None:
                await self.send_too_large()
                return
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], *_SAFETY_HEADERS]}
        await self._send(message)

    async def send_too_large(self) -> None:
        "Answer 413, and drop what the application sends after it"
        self.too_large = False
        await send_problem(self.send, Problem(413, self.too_large_detail, "INVALID_REQUEST"), self.scope)
        self._replaced = True

    def counted(self, receive):
        "Wrap `receive`: raises `_TooLarge` as soon as more than `body_limit` bytes have come"
        seen = 0

        async def receive_counted():
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.body_limit:
                    self.too_large = True
                    raise _TooLarge
            return message

        return receive_counted


class Gate:
    "ASGI middleware: refuses what must not come in, hides what must not go out, logs a line for each request"

    def __init__(
        self,
        app,  # the ASGI application behind the gate
        keys: Mapping[str, bytes],  # digests by name, of `limits.read_keys`; empty: nobody needs a key
        requests: RateLimit,
        body_limit: Callable[[Mapping], int],  # bytes allowed, from the request's scope
        too_large: Callable[[Mapping], str],  # what a caller is told who sends more
        header_limit: int = 16_384,  # bytes
        free: tuple[str, ...] = (
            "/",
            "/health",
            "/ready",
            "/docs",
            "/openapi.json",
        ),  # paths without key and rate limit
        hosts: tuple[str, ...] | None = None,  # Host headers that are accepted; None: any
        origins: tuple[str, ...] = (),  # other sites whose pages may call
    ):
        self.app, self.keys, self.requests = app, keys, requests
        self.body_limit, self.too_large = body_limit, too_large
        self.header_limit, self.free, self.hosts, self.origins = header_limit, free, hosts, origins

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        state = scope.setdefault("state", {})
        exchange = _Exchange(scope, send, self.body_limit(scope), self.too_large(scope))
        token = job_of_log.set(None)
        try:
            state["needs_key"] = bool(self.keys)
            state["trace"] = read_traceparent(_header(scope, b"traceparent"))
            state["caller"] = self._admit(scope)
            await self.app(scope, exchange.counted(receive), exchange.send)
        except Problem as e:
            if exchange.status is None:
                await send_problem(exchange.send, e, scope)
        except Exception as e:
            await _answer_error(e, exchange)
        finally:
            job_of_log.reset(token)
            _log_soon(scope, exchange.status, began)

    def _admit(self, scope) -> str:
        "Return who calls; raises `Problem` for a request that must not come in"
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        if sum(len(k) + len(v) for k, v in scope["headers"]) > self.header_limit:
            raise Problem(431, f"the headers are larger than {self.header_limit} bytes")
        self._check_site(headers, scope["state"].get("forwarded_host"))
        caller = self._caller(scope, headers)
        wait = None if scope["path"] in self.free else self.requests.take(caller)
        if wait is not None:
            most = f"more than server.requests_per_minute = {self.requests.capacity:g} requests of yours"
            raise Problem(429, f"{most} in a minute; the header Retry-After says when", retry_after=wait)
        length, limit = headers.get("content-length", ""), self.body_limit(scope)
        if length.isdigit() and int(length) > limit:
            raise Problem(413, self.too_large(scope), "INVALID_REQUEST")
        return caller

    def _check_site(self, headers, forwarded_host: str | None) -> None:
        host = headers.get("host", "").lower()
        if self.hosts and host_name(host) not in self.hosts:
            raise Problem(
                421, "this service is not known by that host name; server.public_url names the one it has"
            )
        origin = headers.get("origin")
        site = origin.partition("://")[2].lower() if origin else None
        if not origin or origin in self.origins or site in (host, forwarded_host):
            return
        raise Problem(
            403, "pages of other sites may not call this service; server.cors_origins names those that may"
        )

    def _caller(self, scope, headers) -> str:
        "Return the key's name, or the caller's IP address where no key is needed"
        address = address_block((scope.get("client") or ("local",))[0])
        if not self.keys or scope["path"] in self.free or scope["method"] == "OPTIONS":
            return address
        name = key_name(self.keys, key_of_request(headers))
        if name is None:
            problem = Problem(401, "this needs a key: send `Authorization: Bearer KEY`")
            problem.headers["www-authenticate"] = "Bearer"
            raise problem
        scope["state"]["keyed"] = True
        return name


async def _answer_error(error: Exception, exchange: _Exchange) -> None:
    from starlette.requests import ClientDisconnect

    if isinstance(error, ClientDisconnect):
        _log.info("the caller went away before its request was whole")
    elif exchange.status is not None:
        _log.error("an answer broke off: %s", type(error).__name__)
    elif exchange.too_large:
        await exchange.send_too_large()
    else:
        _log.error("unexpected %s", type(error).__name__)
        detail = "something unexpected happened; the service's log has the class of the error and the time"
        await send_problem(exchange.send, Problem(500, detail), exchange.scope)


def _log_soon(scope, status: int | None, began: float) -> None:
    "Log the request after the answers that are ready"
    state = scope["state"]
    more = {
        "method": scope["method"],
        "path": printable_path(scope["path"]),
        "status": status,
        "ms": round(1000 * (time.monotonic() - began), 1),
        "caller": state.get("caller"),
    }
    extra = {"more": more, "job": state.get("job"), "trace": state.get("trace")}
    asyncio.get_running_loop().call_soon(lambda: _log.info("request", extra=extra))


def _header(scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def host_name(host: str) -> str:
    "Return the name in a Host header, without the port"
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def printable_path(path: str) -> str:
    "Make a path fit for a log: printable, at most 200 characters"
    return "".join(c if c.isprintable() else "?" for c in path)[:200]
