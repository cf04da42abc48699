"""A stand-in for the backend that the service calls: keeps what it is told, answers as it is asked to"""
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PLACE = "/api/upload-video/result"


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
