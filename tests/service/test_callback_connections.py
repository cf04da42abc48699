"""Where callbacks go: certificates that the system trusts, addresses as they were checked, IPv6"""
import socket, ssl, threading

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from backend import SECRET, Idle, Receiver
from certificates import write_authority
from waiting import until
from ecg_audio_nb.audio.fetch import FetchError, check_callback, open_source
from ecg_audio_nb.batch.queue import Queue

from ecg_audio_nb.service.problems import Problem
from ecg_audio_nb.service.submission import callback_for
from ecg_audio_nb.service.webhooks import Deliverer, Delivery, enqueue, messages, prepare, tls_context
from ecg_audio_nb.settings import FetchSettings

FAST = Delivery(time_scale=0.005, poll_interval=0.01)


def say(queue, job, url):
    body = {"job_id": job, "status": "completed", "progress": 100}
    with queue.transaction() as db: enqueue(db, job, url, body, final=True)

def deliver(queue, **kwargs):
    d = Deliverer(queue, FAST, SECRET, **kwargs).start()
    try: until(lambda: not messages(queue, "waiting", "sending"))
    finally: d.stop(0)
    return [m.state for m in messages(queue)]

@pytest.fixture(scope="module")
def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s: s.bind(("::1", 0))
    except OSError: pytest.skip("no IPv6 on this machine")


class OverTls(Receiver):
    "A backend whose certificate a private authority signed"
    def __init__(self, cert, key, **kwargs):
        super().__init__(**kwargs)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = self.url.replace("http:", "https:").replace("127.0.0.1", "localhost")


class OverIpv6(Receiver):
    "A backend at ::1"
    def __init__(self):
        super().__init__()
        class Server(ThreadingHTTPServer):
            address_family, daemon_threads = socket.AF_INET6, True
        self.v6 = Server(("::1", 0), self.server.RequestHandlerClass)
        threading.Thread(target=self.v6.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://[::1]:{self.v6.server_port}/api/upload-video/result"
    def close(self):
        self.v6.shutdown()
        self.v6.server_close()
        super().close()


# Certificates

def test_the_systems_store_serves_callbacks(queue, tmp_path, monkeypatch):
    "A stand-in for the system's store: what a context of the standard library trusts if nothing is said"
    ca, cert, key = write_authority(tmp_path, "localhost")
    original = ssl.create_default_context
    def with_the_companys(*args, **kwargs):
        context = original(*args, **kwargs)
        if not kwargs.get("cafile"): context.load_verify_locations(ca)
        return context
    monkeypatch.setattr(ssl, "create_default_context", with_the_companys)
    with OverTls(cert, key) as r:
        say(queue, "j", r.url)
        assert deliver(queue) == ["delivered"] and len(r.took) == 1

@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_variables_name_another_store(queue, tmp_path, monkeypatch, variable):
    ca, cert, key = write_authority(tmp_path, "localhost")
    folder = tmp_path / "store"
    folder.mkdir()
    context = ssl.create_default_context(cafile=ca)
    pem = open(ca).read()
    for n in range(2): (folder / f"{subject_hash(ca)}.{n}").write_text(pem)
    assert context.get_ca_certs()
    monkeypatch.setenv(variable, ca if variable == "SSL_CERT_FILE" else str(folder))
    with OverTls(cert, key) as r:
        say(queue, "j", r.url)
        assert deliver(queue) == ["delivered"]

def subject_hash(path):
    "The name under which OpenSSL looks for an authority in a folder"
    import subprocess
    command = ["openssl", "x509", "-hash", "-noout", "-in", path]
    try: return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except FileNotFoundError: pytest.skip("no openssl on this machine")

def test_a_system_without_a_store_has_certifis(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    assert len(tls_context().get_ca_certs()) > 50
    monkeypatch.setenv("SSL_CERT_FILE", write_authority(tmp_path, "localhost")[0])
    assert len(tls_context().get_ca_certs()) == 1 # what is named is all that is trusted


# Addresses

def test_a_callback_goes_to_the_address_that_was_checked(queue, monkeypatch):
    "A name server that answers differently the second time is not asked a second time"
    answers = iter(["93.184.215.14"])
    original = socket.getaddrinfo
    def resolve(host, port, *args, **kwargs):
        if host != "backend.example.org": return original(host, port, *args, **kwargs)
        return original(next(answers, "127.0.0.1"), port, *args, **kwargs)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    tried = []
    original_connect = socket.create_connection
    def connect(address, *args, **kwargs):
        tried.append(address[0])
        if address[0] == "93.184.215.14": raise ConnectionRefusedError
        return original_connect(address, *args, **kwargs)
    monkeypatch.setattr(socket, "create_connection", connect)
    with Receiver() as r:
        url = f"http://backend.example.org:{r.port}/api/upload-video/result"
        say(queue, "j", url)
        rules = FetchSettings(allow_ports=(r.port,))
        d = Deliverer(queue, FAST, SECRET, check=lambda url: check_callback(url, rules)).start()
        until(lambda: [m for m in messages(queue) if m.tries >= 2])
        d.stop(0)
        assert not r.took and set(tried) == {"93.184.215.14"}

def test_a_pinned_callback_keeps_its_host_and_its_certificates_name(queue, tmp_path, monkeypatch):
    ca, cert, key = write_authority(tmp_path, "backend.example.org")
    monkeypatch.setenv("SSL_CERT_FILE", ca)
    with OverTls(cert, key) as r:
        url = f"https://backend.example.org:{r.port}/api/upload-video/result"
        say(queue, "j", url)
        # the first address answers nothing
        pinned = (["127.0.0.2", "127.0.0.1"], r.port, "backend.example.org")
        assert deliver(queue, check=lambda url: pinned) == ["delivered"]
        assert r.took[0][0]["host"] == f"backend.example.org:{r.port}"
    replayed = Queue(tmp_path / "other/jobs.sqlite")
    prepare(replayed)
    with OverTls(cert, key) as r:
        say(replayed, "j", f"https://other.example.org:{r.port}/x")
        pinned = (["127.0.0.1"], r.port, "other.example.org")
        d = Deliverer(replayed, FAST, SECRET, check=lambda url: pinned).start()
        m = until(lambda: [m for m in messages(replayed) if m.tries and m.answer])[0]
        d.stop(0)
    assert "CERTIFICATE_VERIFY_FAILED" in m.answer
    replayed.close()


# IPv6

def test_callbacks_go_to_ipv6_where_they_may(queue, has_ipv6, make_service):
    service = make_service()
    with OverIpv6() as r:
        say(queue, "j", r.url)
        with pytest.raises(FetchError, match="not public"):
            check_callback(r.url, FetchSettings(allow_ports=(r.v6.server_port,)))
        with pytest.raises(Problem, match="fastapi_base_url: .*not"):
            callback_for(service, r.url.partition("/api")[0])
        listed = FetchSettings(callback_hosts="::1")
        assert deliver(queue, check=lambda url: check_callback(url, listed)) == ["delivered"]
        headers = {name.lower(): value for name, value in r.took[0][0].items()}
        assert headers["host"] == f"[::1]:{r.v6.server_port}"

def test_sources_come_from_ipv6_where_they_may(tmp_path, has_ipv6):
    class Server(ThreadingHTTPServer):
        address_family, daemon_threads = socket.AF_INET6, True
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    (tmp_path / "talk.wav").write_bytes(b"sound")
    server = Server(("::1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url, port = f"http://[::1]:{server.server_port}/talk.wav", server.server_port
    try:
        for rules in (dict(public_only=True), dict(public_only=True, allow_private="127.0.0.1")):
            with pytest.raises(FetchError, match="not public"):
                with open_source(url, FetchSettings(allow_ports=(port,), **rules)): pass
        here = FetchSettings(public_only=True, allow_private="::1", allow_ports=(port,))
        for settings in (here, FetchSettings()):
            with open_source(url, settings) as source: assert source.path.read_bytes() == b"sound"
    finally:
        server.shutdown()
        server.server_close()

class AtV6(Idle):
    host = "[::1]"

@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
def test_it_listens_on_ipv6(tmp_path, has_ipv6, host):
    server = AtV6(tmp_path, tmp_path, "--host", host, "--without-keys").start()
    assert server.http.get("/health").json() == {"status": "ok"}
    page = {"origin": f"http://[::1]:{server.port}"}
    assert server.http.get("/health", headers=page).status_code == 200
    foreign = server.http.get("/health", headers={"host": "evil.example"})
    assert foreign.status_code == (200 if host == "::" else 421)
    assert server.stop() == 0
    callers = {line["caller"] for line in server.lines() if line["message"] == "request"}
    assert callers - {None} == {"::1"}
