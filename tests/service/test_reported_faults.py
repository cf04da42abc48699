"""Faults of the service that were reported, by HTTP and by functions that every release has"""
import resource
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from backend import SECRET, FewDescriptors, Idle, Receiver
from certificates import write_certificate
from ecg_audio_nb.batch.queue import claim, owner_name
from ecg_audio_nb.core.files import PACKAGE
from ecg_audio_nb.service.jobs import _finish
from ecg_audio_nb.service.submission import submit, to_job
from ecg_audio_nb.service.webhooks import messages
from long_results import hour_long
from nginx import location, nginx
from waiting import until

SAMPLE = str(PACKAGE / "assets/sample.mp4")


class TakesOneMegabyte(Receiver):
    "A backend behind nginx with its default limit"
    def _post(self, h):
        size = int(h.headers["content-length"])
        if size <= 1 << 20: return super()._post(h)
        h.rfile.read(size)
        h.send_response(413)
        h.end_headers()


def test_the_end_of_an_hour_long_job_is_told_to_a_backend_that_takes_1_mb(make_service):
    with TakesOneMegabyte(secret=SECRET) as r:
        service = make_service(secret=SECRET, allow_private=True)
        submit(service, [to_job(service, "talk", SAMPLE, callback=r.url)])
        _finish(service, claim(service.queue, owner_name()), hour_long())
        d = service.deliverer
        d.settings = replace(d.settings, time_scale=0.005, poll_interval=0.01)
        d.start()
        until(lambda: not messages(service.queue, "waiting", "sending"))
        d.stop(0)
        [message] = messages(service.queue)
        assert [(b["job_id"], b["status"]) for b in r.bodies()] == [("talk", "completed")]
    assert message.state == "delivered"


def test_half_a_header_held_open_1100_times_silences_nobody(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1400: resource.setrlimit(resource.RLIMIT_NOFILE, (1400, hard))
    server, halves = FewDescriptors(tmp_path, tmp_path).start(), []
    try:
        for _ in range(1100):
            half = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            half.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx-half: ")
            halves.append(half)
        time.sleep(1)
        with httpx.Client(trust_env=False, timeout=10) as fresh:
            assert fresh.get(f"http://127.0.0.1:{server.port}/health").status_code == 200
    finally:
        for half in halves: half.close()
        server.process.kill()
        server.process.wait()


def test_links_of_answers_lead_somewhere_below_a_path(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    certificate, key = write_certificate(tmp_path, "localhost")
    server = Idle(tmp_path, tmp_path).start()
    try:
        with nginx(tmp_path / "nginx", certificate, key, [location("/ecg", server.port)]) as port:
            base = f"https://localhost:{port}"
            with httpx.Client(verify=False, trust_env=False, timeout=60) as client:
                asked = {"job_id": "talk", "video_url": str(tmp_path / "a.wav")}
                answer = client.post(f"{base}/ecg/api/upload-video/process-video", json=asked).json()
                assert client.get(base + answer["status_url"]).status_code == 200
                assert client.get(f"{base}/ecg/openapi.json").json()["servers"] == [{"url": "/ecg"}]
    finally: server.stop()


class Expires(BaseHTTPRequestHandler):
    "Answers 403 to the signature OLD, and the sample to any other"
    def do_GET(self):
        self.server.asked.append(self.path)
        if "OLD" in self.path: return self.send_error(403)
        sound = Path(SAMPLE).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(sound)))
        self.end_headers()
        self.wfile.write(sound)

    def log_message(self, *args): pass


def test_a_url_that_is_signed_anew_replaces_the_expired_one(tmp_path):
    store = ThreadingHTTPServer(("127.0.0.1", 0), Expires)
    store.asked = []
    threading.Thread(target=store.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{store.server_port}/talk.mp4?X-Amz-Signature="
    server = Idle(tmp_path, tmp_path, ECG_SERVER__ALLOW_PRIVATE="true").start()
    try:
        assert server.post("talk", f"{url}OLD").status_code == 200
        until(lambda: server.state("talk") == "failed", 120)
        assert "expired" in server.http.get("/jobs/talk").json()["error_message"]
        assert server.post("talk", f"{url}NEW").status_code == 200
        until(lambda: any("NEW" in path for path in store.asked), 60)
    finally:
        server.process.kill()
        server.process.wait()
        store.shutdown()
