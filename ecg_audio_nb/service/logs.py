"""The service's log: one JSON object a line on standard error, without secrets, folders and traces"""

import json
import logging
import sys
import threading
import time
from contextvars import ContextVar

from ecg_audio_nb.service.problems import redact_text

_log = logging.getLogger(__name__)
_LINE_ENDS = {n: f"\\u{n:04x}" for n in (0x85, 0x2028, 0x2029)}  # some readers end a line at these too

job_of_log = ContextVar("job", default=None)  # id of the job that this thread works on


class JsonLines(logging.Formatter):
    "A log record as one JSON object with the id of its job; of an exception, the class alone"

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
