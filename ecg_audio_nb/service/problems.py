"""The shape of every error answer, and what an answer or a log may say

Errors are problem details (RFC 9457); below `/v1/` they have the form of OpenAI's API.
"""

import json
import re
from collections.abc import Mapping

PROBLEM_JSON = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "Key missing or unknown",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    421: "Wrong host",
    422: "Invalid request",
    429: "Too many requests",
    431: "Headers too large",
    500: "Error of the service",
    502: "Source can't be fetched",
    503: "Not now",
    504: "Timed out",
}


class Problem(Exception):
    "An error answer"

    def __init__(
        self,
        status: int,  # HTTP status
        detail: str,  # one sentence, fit for strangers
        code: str | None = None,  # one of `models.CODES`
        retry_after: float | None = None,  # seconds
        param: str | None = None,  # the request's field that is at fault; OpenAI's form names it
        openai_code: str | None = None,  # the code in OpenAI's form; None: by status
        **more,  # further members of the answer, such as job_id
    ):
        super().__init__(detail)
        self.status, self.detail, self.code, self.more = status, detail, code, more
        self.param, self.openai_code = param, openai_code
        self.headers = {}
        if retry_after is not None:
            self.headers["retry-after"] = str(max(1, round(retry_after)))

    def body(self) -> bytes:
        "Return the answer's body as JSON"
        title = _TITLES.get(self.status, "Error")
        members = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        if self.code:
            members["error_code"] = self.code
        return json.dumps(members | self.more, ensure_ascii=False).encode("utf-8", "replace")


# OpenAI's form

_OPENAI_STATUS = {415: 400, 422: 400}  # statuses that OpenAI's API does not have
_OPENAI_TYPES = {429: "rate_limit_error", 503: "service_unavailable_error"}
_OPENAI_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
_FINAL_CODES = ("PROCESSING_ERROR", "TIMEOUT", "CANCELLED")  # the service has tried all that it could


def openai_error(
    problem: Problem,
) -> dict:  # JSON-ready
    "Put an error into the form of OpenAI's API"
    kind = "invalid_request_error" if problem.status < 500 else "server_error"
    error = {
        "message": problem.detail,
        "type": _OPENAI_TYPES.get(problem.status, kind),
        "param": problem.param,
        "code": problem.openai_code or _OPENAI_CODES.get(problem.status),
    }
    return {"error": error}


def _as_openai(problem: Problem) -> tuple[int, dict[str, str], bytes]:
    "Status, headers and body in OpenAI's form; a client is told whether another try is worthwhile"
    headers = {"content-type": "application/json", **problem.headers}
    if problem.code in _FINAL_CODES:
        headers["x-should-retry"] = "false"
    if "job_id" in problem.more:
        headers["x-request-id"] = problem.more["job_id"]
    body = json.dumps(openai_error(problem), ensure_ascii=False).encode("utf-8", "replace")
    return _OPENAI_STATUS.get(problem.status, problem.status), headers, body


# Sent


def error_answer(
    problem: Problem,
    scope: Mapping,  # of the request (ASGI): its path decides the form
) -> tuple[int, dict[str, str], bytes]:  # status, headers, body
    "Build an error answer in the form that callers of this path read"
    if scope["path"].startswith("/v1/"):
        return _as_openai(problem)
    return problem.status, {"content-type": PROBLEM_JSON, **problem.headers}, problem.body()


async def send_problem(send, problem: Problem, scope: Mapping) -> None:
    "Send a problem as the whole answer (ASGI)"
    status, headers, body = error_answer(problem, scope)
    headers["content-length"] = str(len(body))
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


_FOLDERS = re.compile(r"(?<![\w/:.])/(?:[^\s/'\"]+/)+")
_URL = re.compile(
    r"([a-z][a-z0-9+.-]*://)(?:[^\s/@'\"]*@)?([^\s/?#'\"]*)([^\s?#'\"]*)(?:[?#][^\s'\"]*)?", re.I
)


def redact_text(text: str, max_length: int = 500) -> str:
    "Make a text fit for strangers: one line, no folders of this machine, URLs without credentials and query"
    text = _URL.sub(r"\1\2\3", " ".join(str(text).split()))
    return _FOLDERS.sub("", text).encode("utf-8", "replace").decode()[:max_length]


def invalid_request(detail: str) -> Problem:
    "Make the answer to a request that can't be carried out (422)"
    return Problem(422, detail, "INVALID_REQUEST")
