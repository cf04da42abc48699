"""The paths of the service, one handler each

| path | what it does |
| --- | --- |
| `POST /api/upload-video/process-video` | take a job; its backend is notified of progress and result |
| `POST /uploads` | take a job with its file |
| `POST /transcribe` | do the same work, and answer when it is done; also with a file |
| `GET /jobs/{id}`, `GET /jobs/{id}/events` | its status, now and as it changes |
| `GET /jobs/{id}/result`, `GET /jobs/{id}/report` | its result as JSON, and as a page |
| `DELETE /jobs/{id}` | cancel it |
| `GET /health`, `/ready`, `/metrics` | whether it lives; whether it can work; figures for Prometheus |
| `GET /`, `/docs`, `/openapi.json` | a page to try the service; its description for people and for programs |

Handlers never block: what touches the queue or a disk runs in a thread. Errors are problem details (RFC
9457); neither they nor the log show folders, traces or what is secret in a URL.
"""

import codecs
import hashlib
import json
import shutil
import uuid
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Literal

import anyio
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool as in_thread
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Match

from ecg_audio_nb.batch.queue import Job
from ecg_audio_nb.core.files import safe_name
from ecg_audio_nb.results.report import build_report
from ecg_audio_nb.schema import from_dict
from ecg_audio_nb.service.docs import docs_page
from ecg_audio_nb.service.jobs import cancel_job
from ecg_audio_nb.service.models import (
    CODES,
    ID_RULE,
    LANGUAGE_RULE,
    Accepted,
    JobStatus,
    ProcessRequest,
    TranscribeRequest,
    explain_invalid,
    explain_misspelt,
    job_error,
    job_status,
    misspelt_field,
    way_out,
)
from ecg_audio_nb.service.monitoring import metrics, readiness
from ecg_audio_nb.service.problems import PROBLEM_JSON, Problem, error_answer, invalid_request
from ecg_audio_nb.service.state import Service
from ecg_audio_nb.service.submission import (
    SubmitBatcher,
    accepted,
    callback_for,
    check_language,
    check_source,
    estimate_open,
    submit_or_attach,
    to_job,
    visible_job,
)
from ecg_audio_nb.service.webhooks import backend_result

router = APIRouter()


def add_routes(app: FastAPI, service: Service) -> None:
    "Give an application all paths of a service, and error answers as problem details"
    app.state.service, app.state.batcher = service, SubmitBatcher(service, in_thread)
    app.router.routes.extend(router.routes)  # include_router would wrap each route, `_PlainRoute` too
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


# What handlers share


def service_of(request: Request) -> Service:
    "The service that a request is for"
    return request.app.state.service


def _caller(request: Request) -> str:
    "The key's name, or the caller's IP address, as the gate found it"
    return request.scope["state"].get("caller", "local")


def prefix_of(request: Request) -> str:
    "The path below which the caller sees the service"
    return request.scope.get("root_path", "")


def origin_of(request: Request) -> dict:
    "What a job keeps of the request that asked for it: arguments of `to_job`"
    trace = request.scope["state"].get("trace")
    return {"caller": _caller(request), "prefix": prefix_of(request), "trace": trace}


def log_job(request: Request, job_id: str) -> None:
    "Name the job in the log's line of this request"
    request.scope["state"]["job"] = job_id


async def _visible_job(request: Request, job_id: str) -> Job:
    "The job of a path; raises `Problem`"
    log_job(request, job_id)
    keyed = bool(request.scope["state"].get("keyed"))
    return await in_thread(visible_job, service_of(request), job_id, _caller(request), keyed)


def _validated(read, *values):
    "What a model reads; raises `Problem`"
    try:
        return read(*values)
    except ValidationError as e:
        raise invalid_request(explain_invalid(e.errors())) from None


# Errors

_NOT_SERVED = {404: "there is nothing here; /docs and /openapi.json list the paths"}
_OPENAI_CODES = {404: "unknown_url", 405: "method_not_supported"}


async def _answer_problem(request: Request, error: Problem) -> Response:
    status, headers, body = error_answer(error, request.scope)
    return Response(body, status, headers)


async def _answer_http_error(request: Request, error: HTTPException) -> Response:
    detail = _NOT_SERVED.get(error.status_code, "the request can't be read")
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405:
        methods = _methods_of(request)
        headers["allow"] = ", ".join(methods)
        detail = f"{request.method[:20]} is not served here; this path takes {' and '.join(methods)}"
    problem = Problem(error.status_code, detail, openai_code=_OPENAI_CODES.get(error.status_code))
    problem.headers |= headers
    return await _answer_problem(request, problem)


def _methods_of(request: Request) -> list[str]:
    "The methods of all routes that have a request's path"
    fitting = (r for r in request.app.router.routes if r.matches(request.scope)[0] != Match.NONE)
    return sorted({method for route in fitting for method in route.methods or ()})


async def _answer_invalid(request: Request, error: RequestValidationError) -> Response:
    return await _answer_problem(request, invalid_request(explain_invalid(error.errors())))


# The description's parts

_ALWAYS = (400, 401, 403, 421, 422, 429, 431)
_ANY_JSON = {"application/json": {"schema": {"type": "object"}}}
_TEXT = {"type": "string"}
_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "detail": _TEXT,
        "error_code": _TEXT,
        "job_id": _TEXT,
        "status": {"type": "integer"},
    },
}
_PROBLEM_EXAMPLE = {
    "type": "about:blank",
    "title": "Invalid request",
    "status": 422,
    "detail": "job_id: it is missing",
    "error_code": CODES[0],
}
_UPLOAD_FORM = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {
                "file": {"type": "string", "format": "binary", "description": "the recording"},
                "language": {**_TEXT, "description": LANGUAGE_RULE},
                "job_id": {**_TEXT, "description": ID_RULE},
            },
        }
    }
}


def _problems(*statuses: int) -> dict:
    "Describe the error answers of a path"
    content = {PROBLEM_JSON: {"schema": _PROBLEM_SCHEMA, "example": _PROBLEM_EXAMPLE}}
    return {status: {"description": "Problem details (RFC 9457)", "content": content} for status in statuses}


def _body(**kinds) -> dict:
    return {"requestBody": {"required": True, "content": kinds}}


def _json_of(model) -> dict:
    return {"application/json": {"schema": model.model_json_schema()}}


# Jobs


class _PlainRoute(APIRoute):
    "Calls the handler without FastAPI's reading and checking: submissions come by the hundred"

    def get_route_handler(self):
        return self.endpoint


async def process_video(request: Request) -> Response:
    """Submit a recording; its backend is notified of progress and result.

    Fields that are not listed here are ignored; one that is nearly called as a listed one is refused.

    ```sh
    curl http://127.0.0.1:8080/api/upload-video/process-video \\
      -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\
      -d '{"job_id": "video-42", "video_url": "https://example.org/talk.mp4"}'
    ```
    """
    service = service_of(request)
    asked = _validated(ProcessRequest.model_validate_json, await request.body())
    log_job(request, asked.job_id)
    if asked.fastapi_base_url:
        callback = await in_thread(callback_for, service, asked.fastapi_base_url)
    else:
        callback = service.backend_url
    origin = origin_of(request)

    def make_job() -> Job:
        source = check_source(service, asked.video_url, asked.job_id)
        check_language(service, asked.language)
        return to_job(service, asked.job_id, source, asked.language, callback, **origin)

    answer = await request.app.state.batcher.submit(make_job)
    return Response(answer.model_dump_json(), media_type="application/json")


router.add_api_route(
    "/api/upload-video/process-video",
    process_video,
    methods=["POST"],
    response_model=Accepted,
    tags=["jobs"],
    operation_id="process_video",
    openapi_extra=_body(**_json_of(ProcessRequest)),
    responses=_problems(409, 413, 503, *_ALWAYS),
    route_class_override=_PlainRoute,
)


@router.get(
    "/jobs/{job_id}",
    response_model=JobStatus,
    tags=["jobs"],
    operation_id="job",
    responses=_problems(404, *_ALWAYS),
)
async def job(job_id: str, request: Request):
    """Return where a job is.

    ```sh
    curl http://127.0.0.1:8080/jobs/video-42 -H 'Authorization: Bearer KEY'
    ```
    """
    found = await _visible_job(request, job_id)
    return job_status(found, service_of(request).limits.language, prefix_of(request))


@router.delete(
    "/jobs/{job_id}",
    response_model=JobStatus,
    tags=["jobs"],
    operation_id="cancel",
    responses=_problems(404, *_ALWAYS),
)
async def delete(job_id: str, request: Request):
    """Cancel a job: at once while it waits, when its current stage ends while it runs.

    ```sh
    curl -X DELETE http://127.0.0.1:8080/jobs/video-42 -H 'Authorization: Bearer KEY'
    ```
    """
    await _visible_job(request, job_id)
    service = service_of(request)
    cancelled = await in_thread(cancel_job, service, job_id)
    return job_status(cancelled, service.limits.language, prefix_of(request))


# Answered when it is done, and uploads

_HTTP_STATUS = {
    "INVALID_REQUEST": 422,
    "DOWNLOAD_ERROR": 502,
    "MEDIA_ERROR": 422,
    "TIMEOUT": 504,
    "CANCELLED": 409,
    "PROCESSING_ERROR": 500,
}


@router.post(
    "/transcribe",
    tags=["jobs"],
    operation_id="transcribe",
    openapi_extra=_body(**_json_of(TranscribeRequest), **_UPLOAD_FORM),
    responses={
        200: {"description": "The result, with [SILENCE] marks", "content": _ANY_JSON},
        **_problems(404, 409, 413, 415, 500, 502, 503, 504, *_ALWAYS),
    },
    response_class=FileResponse,
)
async def transcribe(request: Request):
    """Analyze a recording now, and answer with the result. It is a job like any other; only its caller waits.

    Send a file as a form, or JSON with exactly one of `video_path`, `audio_path` and `video_url`, which mean
    the same. Silence has words `[SILENCE]` in the result. A caller who is cut off sends the same request
    again: it attaches to the job, whose work goes on.

    ```sh
    curl http://127.0.0.1:8080/transcribe -H 'Authorization: Bearer KEY' -F file=@talk.mp4 -F language=en
    curl http://127.0.0.1:8080/transcribe \\
      -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\
      -d '{"video_url": "https://example.org/talk.mp4", "language": "en"}'
    ```
    """
    service = service_of(request)
    job = await _job_of_request(request)
    log_job(request, job.id)
    stored = await in_thread(submit_upload, service, job)
    log_job(request, stored.id)
    had_failed = way_out(stored)  # before this request
    ended = await wait_for_end(request, stored.id)
    if ended.state == "done":
        return FileResponse(service.result_path(ended.id), media_type="application/json")
    code, error = job_error(ended)
    status = _HTTP_STATUS[code]
    if code == "DOWNLOAD_ERROR" and "://" not in ended.source:
        status = 422  # a file that can't be read, not another server
    raise Problem(status, f"{error}. {had_failed}" if had_failed else error, code, job_id=ended.id)


@router.post(
    "/uploads",
    response_model=Accepted,
    tags=["jobs"],
    operation_id="upload",
    responses=_problems(409, 413, 415, 503, *_ALWAYS),
    openapi_extra=_body(**_UPLOAD_FORM),
)
async def upload(request: Request):
    """Submit a recording with its file; `GET /jobs/{id}` shows how far it is.

    Silence has words `[SILENCE]` in the result.

    ```sh
    curl http://127.0.0.1:8080/uploads -H 'Authorization: Bearer KEY' -F file=@talk.mp4 -F job_id=video-43
    ```
    """
    service = service_of(request)
    job = await _job_of_upload(request)
    log_job(request, job.id)
    stored = await in_thread(submit_upload, service, job)
    log_job(request, stored.id)
    return await in_thread(lambda: accepted(service, stored, estimate_open(service), prefix_of(request)))


async def _job_of_request(request: Request) -> Job:
    "The job that /transcribe is asked for, as JSON or with a file; raises `Problem`"
    service = service_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _job_of_upload(request)
    if kind != "application/json":
        detail = "send application/json, or multipart/form-data with `file`"
        raise Problem(415, detail, "INVALID_REQUEST")
    asked = _validated(TranscribeRequest.model_validate_json, await request.body())
    sources = [s for s in (asked.video_path, asked.audio_path, asked.video_url) if s is not None]
    if len(sources) != 1:
        raise invalid_request("give exactly one of video_path, audio_path and video_url")
    source = await in_thread(check_source, service, sources[0], asked.job_id)
    check_language(service, asked.language)
    more = {"silence_marks": True, **origin_of(request)}
    return await in_thread(partial(to_job, service, asked.job_id, source, asked.language, **more))


_FORM_FIELDS = ("file", "language", "job_id")
_FORM_RULE = "send multipart/form-data with the recording in the field file, as `curl -F file=@talk.mp4` does"


@asynccontextmanager
async def _form_of(request: Request):  # -> FormData
    "Read the form of an upload; raises `Problem`"
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Problem(415, _FORM_RULE, "INVALID_REQUEST")
    try:
        form = await request.form(max_files=1, max_fields=8)
    except HTTPException as e:
        reason = "it has several files" if "Too many files" in str(e.detail) else "it can't be read"
        detail = f"the form: {reason}; {_FORM_RULE}, one file a request"
        raise Problem(400, detail, "INVALID_REQUEST") from None
    try:
        yield form
    finally:
        await form.close()


async def _job_of_upload(request: Request) -> Job:
    "The job of an uploaded file, which is kept until the job has ended; raises `Problem`"
    service = service_of(request)
    async with _form_of(request) as form:
        if found := misspelt_field(form, _FORM_FIELDS):
            raise invalid_request(explain_misspelt(*found))
        file = form.get("file")
        if not hasattr(file, "file"):
            raise invalid_request(f"file: the upload is missing; {_FORM_RULE}")
        if not file.size:
            name = Path(file.filename or "the upload").name[:100]
            raise invalid_request(f"file: {name} is empty (0 bytes); was its copy or download finished?")
        fields = {k: v for k, v in form.items() if k in ("language", "job_id") and isinstance(v, str)}
        asked = _validated(TranscribeRequest.model_validate, {**fields, "video_path": "upload"})
        check_language(service, asked.language)
        if await in_thread(_is_text, file.file):
            name = Path(file.filename or "the upload").name[:100]
            detail = f"file: {name} is text, not a recording; send audio or video, such as WAV, MP3 or MP4"
            raise Problem(422, detail, "MEDIA_ERROR")
        path, digest = await store_upload(request, file)
    more = {"silence_marks": True, "upload": path.parent.name, "content": digest, **origin_of(request)}
    return await in_thread(partial(to_job, service, asked.job_id, str(path), asked.language, **more))


def _is_text(file) -> bool:
    "Whether a file begins as no recording does: 4 KB of UTF-8 without control characters"
    head = file.read(4096)
    file.seek(0)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\t\n\r\f\ufeff" for c in text)


async def store_upload(
    request: Request,
    file,  # starlette.datastructures.UploadFile
) -> tuple[Path, str]:  # its path in a folder of its own; its digest
    "Keep an uploaded file; raises `Problem` if the caller has uploaded too much"
    service = service_of(request)
    wait = service.upload_limit.take(_caller(request), file.size or 0)
    if wait is not None:
        most = f"more than server.upload_mb_per_hour = {service.limits.upload_mb_per_hour} MB of yours"
        detail = f"{most} in an hour; the header Retry-After says when there is room, and a URL needs none"
        raise Problem(429, detail, retry_after=wait)
    return await in_thread(_keep_upload, service, file)


def _keep_upload(service: Service, file) -> tuple[Path, str]:
    "Copy an upload into a folder of its own; returns its path and its digest"
    path = service.uploads / uuid.uuid4().hex / safe_name(Path(file.filename or "upload").name)
    path.parent.mkdir(0o700)
    with open(path, "wb") as out:
        shutil.copyfileobj(file.file, out, 1 << 20)
    with open(path, "rb") as f:
        return path, f"sha256:{hashlib.file_digest(f, 'sha256').hexdigest()}"


def submit_upload(service: Service, job: Job) -> Job:  # in the queue
    "Submit a job; the file of one that is refused, or was there before, is deleted. Raises `Problem`"
    new = False
    try:
        answer = submit_or_attach(service, job)
        if isinstance(answer, Problem):
            raise answer
        stored, new = answer
        return stored
    finally:
        if job.task["upload"] and not new:
            shutil.rmtree(service.uploads / job.task["upload"], ignore_errors=True)


async def wait_for_end(request: Request, job_id: str) -> Job:
    "Wait until a job has ended; it goes on if its caller goes away. Raises `Problem`"
    service = service_of(request)
    while (job := await in_thread(service.job, job_id)) and job.state in ("queued", "running"):
        if service.stopping.is_set():
            raise Problem(
                503, "the service is stopping; ask again for this job", retry_after=10, job_id=job_id
            )
        if await request.is_disconnected():
            raise Problem(503, "the caller has gone away", job_id=job_id)
        await anyio.sleep(0.1)
    if job is None:
        raise Problem(404, "no job of this id", job_id=job_id)
    return job


# Results and events


async def _result_path(request: Request, job_id: str) -> Path:
    "The file of a finished job's result; raises `Problem`"
    job = await _visible_job(request, job_id)
    if job.state == "done":
        return service_of(request).result_path(job_id)
    code, error = job_error(job)
    raise Problem(409, error or "it is not done yet", code, job_id=job_id)


@router.get(
    "/jobs/{job_id}/result",
    tags=["jobs"],
    operation_id="result",
    response_class=FileResponse,
    responses={
        200: {"description": "The whole result", "content": _ANY_JSON},
        **_problems(404, 409, *_ALWAYS),
    },
)
async def result(job_id: str, request: Request, shape: Literal["full", "backend"] = "full"):
    """Return the result of a finished job; `shape=backend`: as `result` of a message to a backend has it.

    ```sh
    curl http://127.0.0.1:8080/jobs/video-42/result -H 'Authorization: Bearer KEY' -o talk.json
    ```
    """
    path = await _result_path(request, job_id)
    if shape == "backend":
        return Response(await in_thread(_backend_shape, path), media_type="application/json")
    return FileResponse(path, media_type="application/json")


def _backend_shape(path: Path) -> str:
    analysis = from_dict(json.loads(path.read_text(encoding="utf-8")))
    return json.dumps(backend_result(analysis), ensure_ascii=False, separators=(",", ":"))


@router.get(
    "/jobs/{job_id}/report",
    tags=["jobs"],
    operation_id="report",
    response_class=HTMLResponse,
    responses=_problems(404, 409, *_ALWAYS),
)
async def report(job_id: str, request: Request):
    """Return the result of a finished job as a page.

    ```sh
    curl http://127.0.0.1:8080/jobs/video-42/report -H 'Authorization: Bearer KEY' -o talk.html
    ```
    """
    path = await _result_path(request, job_id)
    return HTMLResponse(await in_thread(_report_page, path))


def _report_page(path: Path) -> str:
    return build_report(from_dict(json.loads(path.read_text(encoding="utf-8"))))


@router.get(
    "/jobs/{job_id}/events",
    tags=["jobs"],
    operation_id="events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A JobStatus at every change, the last one when the job has ended",
            "content": {"text/event-stream": {}},
        },
        **_problems(404, *_ALWAYS),
    },
)
async def events(job_id: str, request: Request):
    """Follow a job as it changes (server-sent events).

    ```sh
    curl -N http://127.0.0.1:8080/jobs/video-42/events -H 'Authorization: Bearer KEY'
    ```
    """
    await _visible_job(request, job_id)
    stream = _event_stream(service_of(request), job_id, prefix_of(request))
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nginx passes each event on at once
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _event_stream(
    service: Service,
    job_id: str,
    prefix: str = "",  # path below which the caller sees the service
    poll_interval: float = 0.3,  # seconds
    keep_alive: float = 15,  # seconds of silence after which a comment is sent
):
    # Not sse-starlette: it ends lines with CRLF and adds comments of its own, and receivers split at \n\n
    last, silent = None, 0.0
    while (job := await in_thread(service.job, job_id)) and not service.stopping.is_set():
        status = job_status(job, service.limits.language, prefix).model_dump_json()
        if status != last:
            last, silent = status, 0.0
            yield f"event: progress\ndata: {status}\n\n"
        elif silent >= keep_alive:
            silent = 0.0
            yield ": still here\n\n"
        if job.state not in ("queued", "running"):
            return
        await anyio.sleep(poll_interval)
        silent += poll_interval


# The service itself


@router.get("/health", tags=["service"], operation_id="health")
async def health():
    """Answer as long as the process lives.

    ```sh
    curl http://127.0.0.1:8080/health
    ```
    """
    return {"status": "ok"}


@router.get(
    "/ready",
    tags=["service"],
    operation_id="ready",
    responses={503: {"description": "What is missing"}},
)
async def ready(request: Request):
    """Tell whether work should be sent here.

    ```sh
    curl http://127.0.0.1:8080/ready
    ```
    """
    checks = await in_thread(readiness, service_of(request))
    all_true = all(checks.values())
    return JSONResponse({"ready": all_true, **checks}, 200 if all_true else 503)


@router.get(
    "/metrics",
    tags=["service"],
    operation_id="metrics",
    response_class=PlainTextResponse,
    responses=_problems(*_ALWAYS),
)
async def figures(request: Request):
    """Return the service's figures for Prometheus.

    ```sh
    curl http://127.0.0.1:8080/metrics -H 'Authorization: Bearer KEY'
    ```
    """
    text = await in_thread(metrics, service_of(request))
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


_PAGE = (files("ecg_audio_nb") / "assets/server.html").read_text(encoding="utf-8")
_PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
async def home():
    return HTMLResponse(_PAGE, headers={"content-security-policy": _PAGE_POLICY})


_DOCS_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


@router.get("/docs", response_class=HTMLResponse, include_in_schema=False)
async def docs(request: Request):
    state = request.scope["state"]
    host = state.get("forwarded_host") or request.headers.get("host") or "127.0.0.1:8080"
    base = service_of(request).limits.public_url or f"{request.scope['scheme']}://{host}{prefix_of(request)}"
    page = docs_page(request.app.openapi(), base, needs_key=state.get("needs_key", False))
    return HTMLResponse(page, headers={"content-security-policy": _DOCS_POLICY})
