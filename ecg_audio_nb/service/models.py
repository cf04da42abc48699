"""What goes in and out: requests, answers, bodies of callbacks, and sentences for people

| row of the queue | `status` that callers see |
| --- | --- |
| queued | queued |
| running | processing |
| done | completed |
| failed | failed |
| cancelled | cancelled |
"""

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ecg_audio_nb.batch.queue import Job
from ecg_audio_nb.service.problems import redact_text

CODES = ("INVALID_REQUEST", "DOWNLOAD_ERROR", "MEDIA_ERROR", "PROCESSING_ERROR", "TIMEOUT", "CANCELLED")
SENTENCES = {
    "en": {
        "queued": "Waiting for its turn",
        "start": "Starting",
        "fetch": "Fetching the recording",
        "media": "Decoding",
        "voice": "Finding speech",
        "transcribe": "Recognizing words",
        "align": "Timing words",
        "diarize": "Telling speakers apart",
        "acoustics": "Measuring voices",
        "adapt": "Measuring voices once more",
        "cancelling": "Cancelling: it ends with the stage that runs",
        "done": "Done",
        "too_large": "Done; the result is too large for a message and can be read at result_url",
        "INVALID_REQUEST": "The request can't be carried out",
        "DOWNLOAD_ERROR": "The recording can't be fetched",
        "MEDIA_ERROR": "The recording can't be read",
        "PROCESSING_ERROR": "The analysis failed",
        "TIMEOUT": "The analysis took too long",
        "CANCELLED": "Cancelled",
        "post_again": "A job runs once: post it under another job_id, or run `ecg jobs retry {id} -o FOLDER` "
        "on the service's machine (FOLDER is its ECG_DATA_DIR/service)",
        "upload_again": "A job runs once: send the file again under another job_id",
    },
    "ko": {
        "queued": "대기 중입니다",
        "start": "시작합니다",
        "fetch": "영상을 가져오는 중입니다",
        "media": "디코딩 중입니다",
        "voice": "음성 구간을 찾는 중입니다",
        "transcribe": "음성을 인식하는 중입니다",
        "align": "단어 시간을 맞추는 중입니다",
        "diarize": "화자를 구분하는 중입니다",
        "acoustics": "음성 특징을 측정하는 중입니다",
        "adapt": "음성 특징을 다시 측정하는 중입니다",
        "cancelling": "취소하는 중입니다. 진행 중인 단계가 끝나면 멈춥니다",
        "done": "완료되었습니다",
        "too_large": "완료되었습니다. 결과가 메시지로 보내기에는 너무 커서 result_url에서 읽을 수 있습니다",
        "INVALID_REQUEST": "요청을 처리할 수 없습니다",
        "DOWNLOAD_ERROR": "영상을 가져올 수 없습니다",
        "MEDIA_ERROR": "영상을 읽을 수 없습니다",
        "PROCESSING_ERROR": "분석에 실패했습니다",
        "TIMEOUT": "분석 시간이 초과되었습니다",
        "CANCELLED": "취소되었습니다",
        "post_again": "작업은 한 번만 실행됩니다. 다른 job_id로 다시 요청하거나, 서비스가 있는 컴퓨터에서 "
        "`ecg jobs retry {id} -o FOLDER`를 실행하십시오 (FOLDER는 ECG_DATA_DIR/service입니다)",
        "upload_again": "작업은 한 번만 실행됩니다. 다른 job_id로 파일을 다시 보내십시오",
    },
}


def status_message(
    event: str,  # a stage, one of `CODES`, or another key of `SENTENCES`
    language: str = "en",  # or ko
) -> str:  # an event without a sentence as it is
    "Say in a sentence for people where a job is, or how it ended"
    return SENTENCES[language].get(event) or event


def way_out(
    job: Job,  # as it stands in the queue
    language: str = "en",  # or ko
) -> str | None:  # None: it did not fail
    "Say how a job that failed or was cancelled can run again, as posting it once more does not"
    if job.state not in ("failed", "cancelled"):
        return None
    event = "upload_again" if job.task.get("upload") else "post_again"
    return status_message(event, language).format(id=job.id)


def callback_body(
    job_id: str,
    status: str,  # processing, completed or failed
    progress: int,  # 0 to 100
    message: str,  # for people, of `status_message`
    result: dict | None = None,  # of `webhooks.backend_result`
    error: str | None = None,  # the cause, in English
    code: str | None = None,  # one of `CODES`
) -> dict:  # JSON-ready
    "Build a message to the backend; the names of the fields are the backend's"
    return {
        "job_id": job_id,
        "status": status,
        "progress": progress,
        "message": message,
        "result": result,
        "error_message": error,
        "error_code": code,
    }


def short_callback(
    body: dict,  # of `callback_body`
    result_url: str,  # where the result can be read
    language: str = "en",  # or ko
) -> dict | None:  # None: there is no result to leave out
    "Replace the result in a message by its URL and its counts"
    result = body.get("result")
    if not result:
        return None
    counts = {
        "duration": result["duration"],
        "language": result["language"],
        "total_segments": len(result["segments"]),
        "total_words": len(result["word_segments"]),
        "total_speakers": len(result["speakers"]),
    }
    message = status_message("too_large", language)
    return {**body, "message": message, "result": None, "result_url": result_url, "result_counts": counts}


# Requests

ID_RULE = "1 to 128 letters, digits and ._:@-, beginning with a letter or a digit"
LANGUAGE_RULE = "auto, or a code of two or three small letters such as en or ko"
_SOURCE = "http(s):// or s3:// URL, or a path below the setting fetch.media_roots"
_RULES = {  # by field, shown in place of the patterns below
    "job_id": ID_RULE,
    "language": LANGUAGE_RULE,
    "video_url": f"an {_SOURCE}",
    "video_path": f"an {_SOURCE}",
    "audio_path": f"an {_SOURCE}",
}
_ONE_OF_THREE = "give exactly one of video_path, audio_path and video_url, which mean the same"
_BACKEND = "URL of the backend to notify about this job; ECG_BACKEND_URL if left out"

JobId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$", description=ID_RULE)]
Language = Annotated[str, Field(pattern=r"^(auto|[a-z]{2,3})$", description=LANGUAGE_RULE)]
_SourceText = Annotated[str, Field(min_length=1, max_length=4096)]
SourceUrl = Annotated[_SourceText, Field(description=_SOURCE)]
BackendUrl = Annotated[str, Field(max_length=2048)]


def _example(**values) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


def misspelt_field(
    names: Iterable[str],  # of the fields that were sent
    known: Iterable[str],
) -> tuple[str, str] | None:  # what was sent, and the field that was meant; None: nothing is misspelt
    """Find a field that is nearly called as one that is missing.

    Other unknown fields are ignored: backends send more than the service reads."""
    names = set(names)
    missing = {_plain(name): name for name in known if name not in names}
    unknown = sorted(name for name in names.difference(known) if len(name) <= 40)
    for name in unknown[:100]:
        if nearest := difflib.get_close_matches(_plain(name), missing, 1, 0.75):
            return name, missing[nearest[0]]
    return None


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


class _Body(BaseModel):
    "The body of a request; unknown fields are ignored, but for misspelt ones"

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelt(cls, body):
        found = misspelt_field(body, cls.model_fields) if isinstance(body, dict) else None
        if found:
            raise PydanticCustomError("misspelt", "{explanation}", {"explanation": explain_misspelt(*found)})
        return body


def explain_misspelt(name: str, meant: str) -> str:
    "Say which field was meant"
    shown = "".join(c if c.isprintable() else "?" for c in name)
    return f"{shown}: no such field; did you mean {meant}?"


class ProcessRequest(_Body):
    "A recording to analyze in the background"

    model_config = _example(
        job_id="video-42",
        video_url="https://example.org/talk.mp4",
        fastapi_base_url="https://backend.example.org",
    )
    job_id: JobId
    video_url: SourceUrl
    fastapi_base_url: BackendUrl | None = Field(None, description=_BACKEND)
    language: Language = "auto"


class TranscribeRequest(_Body):
    "A recording to analyze while the caller waits; give exactly one of the three sources"

    model_config = _example(video_url="https://example.org/talk.mp4", language="en")
    video_path: _SourceText | None = Field(None, description=f"{_SOURCE}; {_ONE_OF_THREE}")
    audio_path: _SourceText | None = Field(None, description="the same as video_path")
    video_url: _SourceText | None = Field(None, description="the same as video_path")
    language: Language = "auto"
    job_id: JobId | None = None


def explain_invalid(
    errors: list[dict],  # of pydantic
) -> str:
    "Say in a line what is wrong with a request, without the value that was sent"
    error = errors[0]
    if error["type"] == "misspelt":
        return error["msg"]
    where = [str(part) for part in error["loc"] if part not in ("body", "path", "query")]
    return f"{'.'.join(where) or 'the body'}: {_what_is_wrong(error, where[-1] if where else None)}"


def _what_is_wrong(
    error: dict,  # of pydantic
    field: str | None,  # None: the body as a whole
) -> str:
    kind, values = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "it is missing"
    if kind == "json_invalid":
        place = re.search(r"line \d+ column \d+", str(values.get("error")))
        return f"it is no valid JSON{f', see {place[0]}' if place else ''}; check its quotes and braces"
    if kind == "model_type":
        return 'send a JSON object, such as {"job_id": "video-42"}'
    if kind == "literal_error":
        return f"write {values['expected'].replace(chr(39), '')}"
    if kind == "string_too_long":
        return f"it is longer than {values['max_length']} characters"
    if kind in ("string_pattern_mismatch", "string_too_short", "string_type"):
        return f"write {_RULES.get(field, 'text in quotes')}"
    return error["msg"]


# Answers


class Accepted(BaseModel):
    "The answer to a job that was taken"

    job_id: str
    status: str
    message: str
    status_url: str
    estimated_time: int | None = Field(description="seconds until it is done; null while nobody knows")


_STATUS = {
    "queued": "queued",
    "running": "processing",
    "done": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


class JobStatus(BaseModel):
    "Where a job is"

    job_id: str
    status: Literal["queued", "processing", "completed", "failed", "cancelled"]
    progress: int = Field(ge=0, le=100, description="percent of the whole")
    message: str = Field(description="a sentence for people")
    stage: str | None = Field(None, description="the stage that runs now")
    error_code: Literal[CODES] | None = None
    error_message: str | None = Field(None, description="the cause, in English")
    created_at: float = Field(description="seconds since 1970")
    started_at: float | None = None
    ended_at: float | None = None
    result_url: str | None = None


def job_error(
    job: Job,
) -> tuple[str | None, str | None]:  # code and message; both None while there is no error
    "Tell why a job failed or was cancelled"
    if job.state == "cancelled":
        return "CANCELLED", "it was cancelled"
    if job.state != "failed":
        return None, None
    code, _, text = (job.error or "").partition(": ")
    if code in CODES:
        return code, text
    return "PROCESSING_ERROR", redact_text(job.error or "unknown")


def job_status(
    job: Job,
    language: str = "en",  # or ko
    prefix: str = "",  # path below which the caller sees the service
) -> JobStatus:
    "Show a row of the queue as callers see it"
    code, error = job_error(job)
    stage, percent, result_url, event = None, 0, None, code
    if job.state == "queued":
        event = "queued"
    elif job.state == "running":
        stage, percent, event = job.stage, round(100 * (job.progress or 0)), job.stage or "start"
        if job.requested == "cancel":
            event = "cancelling"
    elif job.state == "done":
        percent, result_url, event = 100, f"{prefix}/jobs/{job.id}/result", "done"
    return JobStatus(
        job_id=job.id,
        status=_STATUS[job.state],
        progress=percent,
        message=status_message(event, language),
        stage=stage,
        error_code=code,
        error_message=error,
        created_at=job.created,
        started_at=job.started,
        ended_at=job.ended,
        result_url=result_url,
    )
