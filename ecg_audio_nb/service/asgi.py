"""What an HTTP service needs beside its own matter: problem details, keys, limits a caller, logs without secrets (ASGI alone)"""
import asyncio, hashlib, hmac, json, logging, re, threading, time
from collections import OrderedDict
from contextvars import ContextVar

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROBLEM = "application/problem+json"
job_of_log = ContextVar("job", default=None)
_log = logging.getLogger("ecg_audio_nb.http")
_TITLES = {400: "Bad request", 401: "Key missing or unknown", 403: "Not allowed", 404: "Not found", 405: "Method not allowed",
           409: "Conflict", 413: "Too large", 415: "Unsupported media type", 421: "Wrong host", 422: "Invalid request",
           429: "Too many requests", 431: "Headers too large", 500: "Fault of the service", 502: "Source can't be fetched",
           503: "Not now", 504: "Timed out"}


class Problem(Exception):
    "An answer that is not a result (RFC 9457)"
    def __init__(self, status:int, detail:str, code:str|None=None, wait:float|None=None, **more):
        super().__init__(detail)
        self.status, self.detail, self.code, self.more = status, detail, code, more
        self.headers = {"retry-after": str(max(1, round(wait)))} if wait is not None else {}

    def body(self)->bytes:
        d = {"type": "about:blank", "title": _TITLES.get(self.status, "Error"), "status": self.status, "detail": self.detail}
        return json.dumps(d | ({"error_code": self.code} if self.code else {}) | self.more, ensure_ascii=False).encode("utf-8", "replace")


async def answer(send, problem:Problem):
    "Send a problem as the whole answer"
    body = problem.body()
    headers = {"content-type": PROBLEM, "content-length": str(len(body)), **problem.headers}
    await send({"type": "http.response.start", "status": problem.status, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]})
    await send({"type": "http.response.body", "body": body})


# What may be said

_PATH = re.compile(r"(?<![\w/:.])/(?:[^\s/'\"]+/)+")
_URL = re.compile(r"([a-z][a-z0-9+.-]*://)(?:[^\s/@'\"]*@)?([^\s/?#'\"]*)([^\s?#'\"]*)(?:[?#][^\s'\"]*)?", re.I)

def clean(text:str, most:int=500)->str:
    "One line without folders of this machine, and addresses without what may be secret in them"
    text = _URL.sub(r"\1\2\3", " ".join(str(text).split()))
    return _PATH.sub("", text).encode("utf-8", "replace").decode()[:most]


_LINE_ENDS = {n: f"\\u{n:04x}" for n in (0x85, 0x2028, 0x2029)} # to some readers these end a line too

class JsonLines(logging.Formatter):
    "A log's record as one JSON object, with the job it is about; an exception's kind, never its trace"
    def format(self, record):
        said = {"time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
                "level": record.levelname.lower(), "logger": record.name, "message": clean(record.getMessage(), 2000)}
        if job := getattr(record, "job", None) or job_of_log.get(): said["job_id"] = job
        if record.exc_info and record.exc_info[0]: said["error"] = record.exc_info[0].__name__
        return json.dumps(said | getattr(record, "more", {}), ensure_ascii=False).translate(_LINE_ENDS)


# Who calls

_ENTRY = re.compile(r"(?:([A-Za-z0-9_.-]{1,40})=)?(?:sha256:([0-9a-f]{64})|([\x21-\x7e]{16,256}))\Z")

def read_keys(text:str|None)->dict[str, bytes]:
    "Digests by name of `ECG_API_KEYS`: entries `[NAME=]KEY` or `[NAME=]sha256:HEX`, commas or spaces between; only digests are kept"
    keys = {}
    for n, entry in enumerate((text or "").replace(",", " ").split(), 1):
        if not (found := _ENTRY.match(entry)):
            raise ValueError(f"ECG_API_KEYS: entry {n} is no key; write at least 16 characters, or sha256: and the 64 digits that "
                             "`printf %s KEY | sha256sum` shows, with NAME= before it if you like")
        name, digest, key = found.groups()
        if (name := name or f"key{n}") in keys: raise ValueError(f"ECG_API_KEYS: two entries are called {name}; give each its own name")
        keys[name] = bytes.fromhex(digest) if digest else hashlib.sha256(key.encode()).digest()
    return keys

def whose(keys:dict[str, bytes], given:str|None)->str|None:
    "The name of a key; every one is compared, in the same time"
    digest, found = hashlib.sha256((given or "").encode("utf-8", "replace")).digest(), None
    for name, known in keys.items():
        if hmac.compare_digest(digest, known): found = name
    return found

def given_key(headers:dict[str, str])->str|None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key else headers.get("x-api-key")


class Allowance:
    "So much in a time for each caller, refilled steadily"
    def __init__(self, most:float, seconds:float, callers:int=10_000):
        self.most, self.rate, self.callers, self.lock, self.left = most, most / seconds, callers, threading.Lock(), OrderedDict()

    def take(self, caller:str, n:float=1)->float|None:
        "None if it may; else the seconds until it may"
        now = time.monotonic()
        with self.lock:
            left, since = self.left.pop(caller, (self.most, now))
            left = min(self.most, left + (now - since) * self.rate)
            may = n <= left
            self.left[caller] = (left - n if may else left), now
            while len(self.left) > self.callers: self.left.popitem(last=False)
        return None if may else (n - left) / self.rate


# The gate

class _TooLarge(Exception): pass

class Gate:
    "ASGI: refuses what must not come in, hides what must not go out, and logs a line a request"
    def __init__(self, app, keys, requests:Allowance, body_limit, header_limit=16_384, free=("/", "/health", "/ready", "/openapi.json"),
                 hosts=None, origins=()):
        self.app, self.keys, self.requests, self.body_limit, self.header_limit = app, keys, requests, body_limit, header_limit
        self.free, self.hosts, self.origins = free, hosts, origins

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http": return await self.app(scope, receive, send)
        began, told, state = time.monotonic(), {"status": None}, scope.setdefault("state", {})
        token = job_of_log.set(None)
        async def out(message):
            if message["type"] == "http.response.start":
                if told.get("large") and told["status"] is None: return await self._large(out, told)
                told["status"] = message["status"]
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            if told.get("swallow"): return
            await send(message)
        try:
            state["caller"] = self._admit(scope)
            await self.app(scope, self._counted(scope, receive, told), out)
        except Problem as e:
            if told["status"] is None: await answer(out, e)
        except Exception as e:
            if told["status"] is None: await self._fault(e, out, told)
            else: _log.error("an answer broke off: %s", type(e).__name__)
        finally:
            more = {"method": scope["method"], "path": clean_path(scope["path"]), "status": told["status"],
                    "ms": round(1000 * (time.monotonic() - began), 1), "caller": state.get("caller")}
            job_of_log.reset(token)
            asyncio.get_running_loop().call_soon(_log_request, {"more": more, "job": state.get("job")}) # answers that are ready go first

    async def _fault(self, e, out, told):
        if told.get("large"): return await self._large(out, told)
        _log.error("unexpected %s", type(e).__name__)
        await answer(out, Problem(500, "something unexpected happened; the service's log has the kind and the time"))

    async def _large(self, out, told):
        told["large"] = False
        await answer(out, Problem(413, f"the body is larger than {told['most']} bytes; send a link instead", "INVALID_REQUEST"))
        told["swallow"] = True

    def _admit(self, scope):
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        if sum(len(k) + len(v) for k, v in scope["headers"]) > self.header_limit:
            raise Problem(431, f"the headers are larger than {self.header_limit} bytes")
        host = headers.get("host", "").lower()
        if self.hosts and host_name(host) not in self.hosts: raise Problem(421, "this service is not known by that host name")
        origin = headers.get("origin")
        if origin and origin.partition("://")[2].lower() != host and origin not in self.origins:
            raise Problem(403, "pages of other sites may not call this service; server.origins names those that may")
        caller = (scope.get("client") or ("local",))[0]
        if self.keys and scope["path"] not in self.free and scope["method"] != "OPTIONS":
            name = whose(self.keys, given_key(headers))
            if name is None: raise _refused()
            caller, scope["state"]["keyed"] = name, True
        wait = None if scope["path"] in self.free else self.requests.take(caller)
        if wait is not None: raise Problem(429, "too many requests; come back later", wait=wait)
        if (length := headers.get("content-length", "")).isdigit() and int(length) > self.body_limit(scope):
            raise Problem(413, f"the body is larger than {self.body_limit(scope)} bytes", "INVALID_REQUEST")
        return caller

    def _counted(self, scope, receive, told):
        most, seen = self.body_limit(scope), 0
        told["most"] = most
        async def counted():
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > most:
                    told["large"] = True
                    raise _TooLarge
            return message
        return counted


def _log_request(extra): _log.info("request", extra=extra)

_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"), (b"x-frame-options", b"DENY")]

def _refused():
    e = Problem(401, "this needs a key: send `Authorization: Bearer KEY`")
    e.headers["www-authenticate"] = "Bearer"
    return e

def host_name(host:str)->str:
    "Of a Host header, without the port"
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]

def clean_path(path:str)->str:
    "Fit for a log"
    return "".join(c if c.isprintable() else "?" for c in path)[:200]
