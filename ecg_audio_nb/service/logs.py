"""The service's log: one JSON object a line on standard error, without secrets, folders and traces"""

import json
import logging
import re
import sys
import threading
import time
from contextvars import ContextVar

from ecg_audio_nb.service.problems import redact_text

_log = logging.getLogger(__name__)
_LINE_ENDS = {n: f"\\u{n:04x}" for n in (0x85, 0x2028, 0x2029)}  # some readers end a line at these too

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[\x21-\x7e]{0,200})?\Z")

trace_of_log = ContextVar("trace", default=None)  # `traceparent` of that job's request
job_of_log = ContextVar("job", default=None)  # id of the job that this thread works on


def read_traceparent(
    text: str | None,  # header of a request
) -> str | None:  # None: there is none, or it has another form than W3C Trace Context says
    "Check a `traceparent`"
    match = _TRACEPARENT.match((text or "").strip())
    if not match:
        return None
    version, trace_id, parent_id, more = match.groups()
    is_unused = version == "ff" or not int(trace_id, 16) or not int(parent_id, 16)
    return None if is_unused or (version == "00" and more is not None) else match[0]


class JsonLines(logging.Formatter):
    "A log record as one JSON object with the ids of its job and its trace; of an exception, the class alone"

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact_text(record.getMessage(), 2000),
        }
        job_id = getattr(record, "job", None) or job_of_log.get()
        if job_id:
            line["job_id"] = job_id
        trace = getattr(record, "trace", None) or trace_of_log.get()
        if trace:
            line["trace_id"] = trace.split("-")[1]
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        line |= getattr(record, "more", {})
        return json.dumps(line, ensure_ascii=False).translate(_LINE_ENDS)


def _log_uncaught(args) -> None:
    _log.error("unexpected %s", getattr(args.exc_type, "__name__", "error"))


def log_as_json() -> None:
    "Write every log record of this process, uvicorn's too, as a line of JSON to standard error"
    logging.logThreads = logging.logProcesses = False  # no line shows them, so nobody collects them
    logging.logMultiprocessing = logging.logAsyncioTasks = False
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    threading.excepthook = sys.unraisablehook = _log_uncaught
    sys.excepthook = lambda kind, *_: _log.error("unexpected %s", kind.__name__)
