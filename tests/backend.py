"""Both sides of the service: `ecg serve` in a process, and stand-ins for the backend that it calls"""
import gzip, json, os, signal, socket, struct, subprocess, sys, threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import httpx
import soundfile
import waiting
from standardwebhooks import Webhook

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.service.webhooks import callback_url

PLACE = "/api/upload-video/result"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Backend:
    "Listens on loopback while the block runs"
    def __init__(self, answers=()):
        self.answers, self.bodies, self.headers, self.lock = list(answers), [], [], threading.Lock()

    def __enter__(self):
        outer = self
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with outer.lock:
                    status = outer.answers.pop(0) if outer.answers else 200
                    if self.path == PLACE and status < 300:
                        outer.bodies.append(json.loads(body))
                        outer.headers.append(dict(self.headers))
                answer = b'{"status": "ignored", "reason": "a test"}'
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            def do_GET(self): self.send_error(404) # as a source
            def log_message(self, *args): pass
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def of(self, job):
        "What was said of a job, in order"
        with self.lock: return [b for b in self.bodies if b["job_id"] == job]

    def last(self, job):
        "A job's last word, if it was said"
        return next((b for b in self.of(job) if b["status"] != "processing"), None)


class Receiver:
    "A backend: keeps all that it took, and answers as `script(times it saw this id, body)` says"
    def __init__(self, script=lambda n, body: 200, port=0, secret=None):
        self.secret, self.verified = secret, []
        self.script, self.took, self.tries, self.lock, self.at_once, self.most = (
            script,
            [],
            Counter(),
            threading.Lock(),
            Counter(),
            0,
        )
        receiver = self
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self): receiver._post(self)
            def do_GET(self): receiver.took.append(("GET", None))
            def log_message(self, *args): pass
        class Server(ThreadingHTTPServer):
            request_queue_size, daemon_threads = 64, True
            def handle_error(self, *args): pass # a line that was cut is part of the test
        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        self.url = callback_url(f"http://127.0.0.1:{self.port}")
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def _post(self, h):
        raw = h.rfile.read(int(h.headers["content-length"]))
        if h.headers["content-encoding"] == "gzip": raw = gzip.decompress(raw)
        body, id = json.loads(raw), h.headers["webhook-id"]
        with self.lock:
            self.tries[id] += 1
            self.at_once[body["job_id"]] += 1
            self.most = max(self.most, self.at_once[body["job_id"]])
            n = self.tries[id]
        answer = self.script(n, body)
        with self.lock:
            self.at_once[body["job_id"]] -= 1
            if isinstance(answer, int): answer = (answer, {}, b"")
            if answer and 200 <= answer[0] < 300:
                self.took.append((dict(h.headers), raw.decode()))
                # now: a signature is good for five minutes
                if self.secret: Webhook(self.secret).verify(raw.decode(), dict(h.headers))
                self.verified += [body["job_id"]] * bool(self.secret)
        if answer is None: # reset
            h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            h.connection.close()
            return
        status, headers, text = answer
        h.send_response(status)
        for k, v in headers.items(): h.send_header(k, v)
        h.end_headers()
        h.wfile.write(text)

    def bodies(self):
        "What it takes as new, by webhook-id, in the order of arrival"
        seen = {}
        for headers, raw in self.took:
            if headers != "GET": seen.setdefault(headers["webhook-id"], json.loads(raw))
        return list(seen.values())

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self): return self
    def __exit__(self, *_): self.close()


def check_told(r, jobs, secret=SECRET):
    """Each job's last word once, nothing after it, progress rising, at most one at a time, signatures true,
    now or when they came"""
    by_job = {}
    for body in r.bodies(): by_job.setdefault(body["job_id"], []).append(body)
    assert len(by_job) == jobs
    for bodies in by_job.values():
        assert [b["status"] == "processing" for b in bodies] == [True] * (len(bodies) - 1) + [False]
        assert [b["progress"] for b in bodies] == sorted(b["progress"] for b in bodies)
    assert r.most == 1
    if r.secret: assert len(r.verified) == len(r.took)
    else:
        for headers, raw in r.took: Webhook(secret).verify(raw, headers)


def until(true, seconds=900):
    "Wait as `waiting.until` does, longer: the service's work is niced, and a busy machine lets it wait"
    return waiting.until(true, seconds)

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Served:
    "`ecg serve` in a process of its own"
    runs = [sys.executable, "-m", "ecg_audio_nb"]
    host = "127.0.0.1" # as a URL writes it
    def __init__(self, data, media, *args, **env):
        self.data, self.media, self.args, self.env, self.port = (
            Path(data),
            Path(media),
            args,
            env,
            free_port(),
        )
        self.log = self.data / "log.jsonl"
        self.process = None

    def start(self):
        env = {
            **os.environ,
            "ECG_DATA_DIR": str(self.data),
            "ECG_FETCH__MEDIA_ROOTS": str(self.media),
            "ECG_RUNTIME__CHECKPOINTS": "false", # one recording in many jobs is analyzed in each
            **self.env,
        }
        with open(self.log, "ab") as log:
            command = [*self.runs, "serve", "--port", str(self.port), "--profile", "demo", *self.args]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        self.http = httpx.Client(base_url=f"http://{self.host}:{self.port}", timeout=900, trust_env=False)
        until(self._alive)
        return self

    def _alive(self):
        assert self.process.poll() is None, self.log.read_text()
        try: return self.http.get("/health").status_code == 200
        except httpx.TransportError: return False

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None: self.process.send_signal(how)
        return self.process.wait(300)

    def post(self, job, source, backend=None, **more):
        asked = {
            "job_id": job,
            "video_url": str(source),
            **({"fastapi_base_url": backend.url} if backend else {}),
            **more,
        }
        return self.http.post("/api/upload-video/process-video", json=asked)

    def state(self, job): return self.http.get(f"/jobs/{job}").json().get("status")
    def lines(self): return [json.loads(line) for line in self.log.read_text().splitlines()]


class Quick(Served):
    "The same, but its models are loaded on three seconds of speech, not on the whole sample: for many starts"
    more = ""
    code = """
import functools, sys
from pathlib import Path
from ecg_audio_nb.service import app as server, jobs
assets = Path(sys.argv.pop(1))
jobs.files = lambda package: assets
{more}
from ecg_audio_nb.cli import main
main()"""

    def __init__(self, data, *args, **env):
        super().__init__(data, *args, **env)
        self.runs = [sys.executable, "-c", self.code.format(more=self.more), str(self.data / "quick")]

    def start(self):
        if not (short := self.data / "quick/assets/sample.mp4").exists():
            short.parent.mkdir(parents=True)
            audio = load_audio(files("ecg_audio_nb") / "assets/sample.mp4")
            soundfile.write(short, audio.cut(1.5, 4.5).samples, audio.sample_rate, format="WAV")
        return super().start()


class Idle(Quick):
    "Quick, and it loads no models: for what happens around the jobs"
    more = "jobs._load_models = lambda service: None"


class FewDescriptors(Idle):
    "With the descriptors that a machine gives a process"
    more = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
{Idle.more}"""


class Hasty(Quick):
    "Quick, and what the callbacks wait for takes a fiftieth of the time"
    more = """
delivery = server.Delivery(time_scale=0.02, poll_interval=0.05)
server.serve = functools.partial(server.serve, delivery=delivery)"""
