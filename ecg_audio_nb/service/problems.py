"""Problem details (RFC 9457): the shape of every error answer, and what an answer or a log may say"""

import json
import re

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
        **more,  # further members of the answer, such as job_id
    ):
        super().__init__(detail)
        self.status, self.detail, self.code, self.more = status, detail, code, more
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


async def send_problem(send, problem: Problem) -> None:
    "Send a problem as the whole answer (ASGI)"
    body = problem.body()
    headers = {"content-type": PROBLEM_JSON, "content-length": str(len(body)), **problem.headers}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
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
