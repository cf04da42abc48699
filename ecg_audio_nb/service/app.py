"""The service: one process with warm models that works on the queue, answers HTTP and notifies the backend

| module | what it holds |
| --- | --- |
| `service.app` | the application, and the process that runs it |
| `service.routes` | the paths |
| `service.openai_api`, `openai_formats` | paths and forms of OpenAI's API |
| `service.submission` | from a request to a row of the queue |
| `service.jobs` | the worker: how a job runs and ends, and what is sent to its backend |
| `service.webhooks` | callbacks: an outbox, delivered signed and at least once |
| `service.monitoring` | metrics and readiness |
| `service.state` | folder, queue and what the threads share |
| `service.models`, `service.settings` | requests and answers; the settings `server.*` |
| `service.proxies` | behind a proxy: forwarded addresses, the path prefix |
| `service.docs` | the page `/docs` |
| `service.connections` | limits of connections: slow, still, unread, too many |
| `service.asgi`, `limits`, `logs`, `problems` | keys, rates, sizes; the log; error answers |

Beyond loopback a key is needed (`ECG_API_KEYS`). SIGTERM ends the process gently, with status 0.
"""

import errno
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from urllib.parse import urlsplit

from ecg_audio_nb.core.extras import require
from ecg_audio_nb.service.asgi import Gate
from ecg_audio_nb.service.gpu_runners import GpuRunners, take_first_gpu
from ecg_audio_nb.service.jobs import start, stop
from ecg_audio_nb.service.limits import LOOPBACK, RateLimit, read_keys
from ecg_audio_nb.service.logs import log_as_json
from ecg_audio_nb.service.models import ProcessRequest, TranscribeRequest
from ecg_audio_nb.service.proxies import BehindProxy
from ecg_audio_nb.service.settings import ServerSettings, server_settings
from ecg_audio_nb.service.state import ServerError, Service
from ecg_audio_nb.service.webhooks import Delivery
from ecg_audio_nb.settings import Settings

__all__ = [
    "Delivery",
    "ProcessRequest",
    "ServerError",
    "ServerSettings",
    "Service",
    "TranscribeRequest",
    "build_app",
    "hard_exit",
    "log_as_json",
    "serve",
    "server_settings",
]

_log = logging.getLogger(__name__)
_JSON_LIMIT = 65_536  # bytes of a body without a file


def build_app(
    service: Service,
    keys: Mapping[str, bytes] | None = None,  # digests by name, of `read_keys`; none: nobody needs a key
    hosts: tuple[str, ...] | None = None,  # Host headers that are accepted; None: any
    runners: GpuRunners | None = None,  # started and stopped with it; None: the service's own worker alone
):  # -> FastAPI
    "Build the ASGI application; it starts the service's threads when it starts, and stops them when it ends"
    fastapi = require("fastapi", "server", "the service needs")
    from starlette.concurrency import run_in_threadpool

    from ecg_audio_nb import __version__
    from ecg_audio_nb.service.openai_api import UPLOAD_PATHS, add_openai_routes
    from ecg_audio_nb.service.routes import add_routes

    @asynccontextmanager
    async def lifespan(app):
        await run_in_threadpool(start, service)
        if runners:
            runners.start()
        yield
        if runners:
            runners.ask_to_stop()
        await run_in_threadpool(stop, service)
        if runners:
            await run_in_threadpool(runners.wait)

    def takes_files(scope) -> bool:
        return scope["path"] in ("/transcribe", "/uploads", *UPLOAD_PATHS)

    def body_limit(scope) -> int:
        return service.limits.max_upload_mb * 10**6 if takes_files(scope) else _JSON_LIMIT

    def too_large(scope) -> str:
        if takes_files(scope):
            limit = f"server.max_upload_mb = {service.limits.max_upload_mb} allows"
            return f"the body is larger than {limit}; send the recording's URL, or a smaller file"
        return f"the body is larger than {_JSON_LIMIT} bytes; send a file to POST /uploads"

    app = fastapi.FastAPI(
        title="ecg_audio_nb",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # its scripts come from another site; `service.docs` has a page without
        redoc_url=None,
        description="Transcripts in which every word has a time, a speaker and a measured voice.",
    )
    add_routes(app, service)
    add_openai_routes(app)
    if service.limits.cors_origins:
        _allow_origins(app, service.limits.cors_origins)
    app.add_middleware(
        Gate,
        keys=keys or {},
        requests=RateLimit(service.limits.requests_per_minute, 60),
        body_limit=body_limit,
        too_large=too_large,
        hosts=hosts,
        origins=service.limits.cors_origins,
    )
    app.add_middleware(BehindProxy, trusted=service.limits.trusted_proxies, root_path=service.root_path)
    return app


def _allow_origins(app, origins: tuple[str, ...]) -> None:
    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["authorization", "x-api-key", "content-type"],
    )


def serve(
    settings: Settings,  # how recordings are analyzed
    limits: ServerSettings | None = None,  # None: of the environment
    host: str = "127.0.0.1",
    port: int = 8080,
    without_keys: bool = False,  # True: nobody needs a key, beyond loopback too
    delivery: Delivery = Delivery(),  # of callbacks
    environ: Mapping[str, str]
    | None = None,  # ECG_API_KEYS, ECG_BACKEND_URL, ECG_WEBHOOK_SECRET; None: the process's
) -> None:
    "Run the service until SIGTERM or SIGINT; call `hard_exit` after it. Raises `ServerError`, `ValueError`"
    uvicorn = require("uvicorn", "server", "the service needs")
    environ = os.environ if environ is None else environ
    keys = read_keys(environ.get("ECG_API_KEYS"))
    host = host.strip("[]")  # IPv6 as URLs write it
    addresses = _addresses_of(host, port)
    if host not in LOOPBACK and not keys and not without_keys:
        raise ServerError(
            f"Refusing to listen on {host} without API keys. Set ECG_API_KEYS or pass --without-keys."
        )
    from ecg_audio_nb.service.connections import LimitedProtocol

    other_gpus = take_first_gpu(settings)
    service = Service(
        settings, limits, environ.get("ECG_BACKEND_URL"), environ.get("ECG_WEBHOOK_SECRET"), delivery
    )
    try:
        _check_free(addresses, host, port)
    except ServerError:
        service.close()
        raise
    _warn_of_missing_folders(settings)
    service.runners = 1 + len(other_gpus)
    runners = GpuRunners(service, other_gpus)
    tempfile.tempdir = str(service.tmp)
    own_host = urlsplit(service.limits.public_url).hostname
    hosts = (*LOOPBACK, *filter(None, [own_host])) if host in LOOPBACK and not keys else None
    config = uvicorn.Config(
        build_app(service, keys, hosts, runners),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `BehindProxy` reads them
        ws="none",
        http=partial(LimitedProtocol, limits=_connection_limits(service.limits)),
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # uvicorn's end the process with the signal's status, ours with 0
    _stop_on_signals(service, server)
    sys.setswitchinterval(0.001)  # s, a fifth of the default: answers wait less for the threads that analyze
    server.run()
    if not server.started:
        raise ServerError(_port_in_use(host, port))


_HOST_RULE = ". Pass 127.0.0.1 as --host for this machine alone, or 0.0.0.0 for all of its addresses."


def _addresses_of(host: str, port: int) -> list[tuple]:  # of `socket.getaddrinfo`
    "Find the addresses of this machine to listen on; raises `ServerError`"
    if not 1 <= port <= 65535:
        raise ServerError(f"--port {port}: a port is a number from 1 to 65535; pass another one.")
    try:
        return socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ServerError(f"--host {host}: no address of this machine{_HOST_RULE}") from None


def _check_free(addresses: list[tuple], host: str, port: int) -> None:
    "Tell before the models are loaded that nobody can listen here; raises `ServerError`"
    errors = [_bind_error(*address) for address in addresses]
    not_here = [e for e in errors if e and e.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)]
    if len(not_here) == len(errors):  # `localhost` may be an IPv6 address too, on a machine without IPv6
        raise ServerError(f"--host {host}: no address of this machine{_HOST_RULE}")
    for error in errors:
        if error and error not in not_here:
            raise ServerError(_why_not_bound(error, host, port))


def _bind_error(family, kind, protocol, _, address) -> OSError | None:  # None: the address is free
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
    except OSError as e:
        return e


def _why_not_bound(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return _port_in_use(host, port)
    if error.errno == errno.EACCES:
        return f"Can't listen on {host}:{port}: this user may not use port {port}. Pass --port, above 1023."
    return f"Can't listen on {host}:{port}: {error.strerror}{_HOST_RULE}"


def _port_in_use(host: str, port: int) -> str:
    return f"Can't listen on {host}:{port}. Stop the program that has this port, or pass --port."


def _warn_of_missing_folders(settings: Settings) -> None:
    for root in settings.fetch.media_roots:
        if not os.path.isdir(os.path.expanduser(root)):
            name = os.path.basename(root.rstrip("/")) or root
            _log.warning("fetch.media_roots: there is no folder %s; local paths below it are refused", name)


def _connection_limits(limits: ServerSettings):
    from ecg_audio_nb.service.connections import ConnectionLimits, room_for_descriptors

    room = room_for_descriptors(limits.max_connections)
    return ConnectionLimits(limits.header_timeout, limits.stall_timeout, room)


def _stop_on_signals(service: Service, server) -> None:
    def ask_to_stop(number, frame):
        service.stopping.set()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)


def hard_exit() -> None:
    "End the process with status 0, though a stage may still run: all that matters is on the disk"
    gc.collect()  # child processes of the analysis end with their owners
    logging.shutdown()
    os._exit(0)
