"""The one door: what comes in, what is refused, and what a refusal says (and does not say)."""
import hashlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import ecg_audio_nb.audio.fetch as fetch
from ecg_audio_nb.audio.fetch import FetchError, open_source, redact, read_problem
from ecg_audio_nb.settings import FetchSettings

BODY = os.urandom(3 << 20)
SECRET = "c0ffee5ecret"


def get(source, temp_dir=None, **settings):
    with open_source(source, FetchSettings(**settings), temp_dir) as found:
        assert found.path.is_file()
        return found


def refusal(source, temp_dir=None, **settings):
    "The message a source is refused with, and nothing else of it is in the trace"
    with pytest.raises(FetchError) as caught: get(source, temp_dir, **settings)
    whole = "".join(traceback.format_exception(caught.value))
    assert SECRET not in whole, whole
    return str(caught.value)


# -- local files

@pytest.fixture
def file(tmp_path):
    path = tmp_path / "회의 녹음 #1 [a] %20.mp4"
    path.write_bytes(BODY)
    return path


def at_localhost(path): return path.as_uri().replace("file://", "FILE://localhost")


@pytest.mark.parametrize("spell", [str, Path, os.fsencode, Path.as_uri, at_localhost])
def test_a_local_file_is_used_where_it_lies(file, spell):
    found = get(spell(file))
    assert (found.path, found.name, found.sha256) == (file, file.name, hashlib.sha256(BODY).hexdigest())
    assert file.read_bytes() == BODY


def test_home_and_relative_paths(file, monkeypatch):
    monkeypatch.setenv("HOME", str(file.parent))
    assert get(f"~/{file.name}").path == file
    monkeypatch.chdir(file.parent)
    assert get(file.name).name == file.name


def fifo(path): os.mkfifo(path)
def listening(path):
    with socket.socket(socket.AF_UNIX) as s: s.bind(str(path))
def loop(path): path.symlink_to(path)


LOCAL = [
    ("missing", lambda p: None, "no such file"),
    ("a file below a file", lambda p: (p.parent / "f").write_text("x"), "no such file"),
    ("directory", lambda p: p.mkdir(), "this is a directory; name a file inside it"),
    ("empty", lambda p: p.touch(), "the file is empty (0 bytes)"),
    ("FIFO", fifo, "this is a FIFO"),
    ("link to a FIFO", lambda p: (fifo(p.parent / "pipe"), p.symlink_to("pipe")), "this is a FIFO"),
    ("socket", listening, "this is a socket"),
    ("device", lambda p: p.symlink_to("/dev/zero"), "this is a device"),
    ("links in a circle", loop, "can't be opened"),
]


@pytest.mark.parametrize("make, fault", [row[1:] for row in LOCAL], ids=[row[0] for row in LOCAL])
def test_a_local_path_that_is_no_file(make, fault, monkeypatch):
    with tempfile.TemporaryDirectory() as folder: # short: a socket's path may have 107 bytes
        path = Path(folder) / "clip.mp4"
        make(path)
        for said in (refusal(path), refusal(str(path)), refusal(path.as_uri())):
            assert said.startswith(f"{path}: ") and fault in said
        assert fault in read_problem(path)


@pytest.mark.parametrize(
    "source", ["", None, 3, b"", "a\0b", "x" * 300, "http:/one-slash", "~nobody-here/a.mp4"]
)
def test_what_is_no_source(source):
    assert "\n" not in refusal(source)


def test_no_permission():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "clip.mp4"
        path.write_bytes(b"x")
        path.chmod(0)
        root = os.geteuid() == 0 # who may read everything
        if root: os.seteuid(65534)
        try: assert "no permission to read it" in refusal(path)
        finally:
            if root: os.seteuid(0)


def test_media_roots(file, tmp_path):
    inside, outside = tmp_path / "media", tmp_path / "other"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.mp4").write_bytes(b"x")
    (inside / "link.mp4").symlink_to(outside / "a.mp4")
    (inside / "fine.mp4").symlink_to("a.mp4")
    roots = {"media_roots": (str(inside), "/nowhere")}
    assert get(inside / "a.mp4", **roots).path == get(inside / "fine.mp4", **roots).path == inside / "a.mp4"
    for source in (
        outside / "a.mp4",
        inside / "link.mp4",
        inside / "../other/a.mp4",
        f"{inside}/../other/none.mp4",
        "/etc/passwd",
        (outside / "a.mp4").as_uri(),
        f"file://{inside}/%2e%2e/other/a.mp4",
        f"{inside}-too/a",
    ):
        assert "outside of fetch.media_roots" in refusal(source, **roots)


# -- addresses

def test_shown_hides_what_is_secret():
    assert (
        redact(f"https://ann:{SECRET}@h.org:8/a%20b.mp4?X-Amz-Signature={SECRET}#{SECRET}")
        == "https://h.org:8/a%20b.mp4"
    )
    assert redact(f"s3://bucket/key?versionId={SECRET}") == "s3://bucket/key"
    assert redact("http://h.org/a\nb") == "http://h.org/a_b" and len(redact("x" * 9999)) < 300


@pytest.mark.parametrize(
    "source",
    [
        "gs://b/k",
        "concat://x",
        "data://x",
        "hdfs://h/f",
        "memory://f",
        "ssh+x://h/f",
        "github://a:b@main/f",
        f"ftp://ann:{SECRET}@h/f?{SECRET}",
    ],
)
def test_other_schemes_are_refused_and_ours_are_named(source):
    said = refusal(source)
    assert "no way to fetch" in said
    assert all(s in said for s in ("a local path", "file://", "http://", "https://", "s3://"))


def test_a_file_address_of_another_machine():
    assert "files of this machine" in refusal("file://server/share/a.mp4")


@pytest.mark.parametrize("module, source, extra",
                         [("aiohttp", f"https://h.org/a?{SECRET}", "http"), ("s3fs", "s3://b/k", "cluster")])
def test_a_missing_package_names_its_extra(monkeypatch, module, source, extra):
    monkeypatch.setitem(sys.modules, module, None)
    assert f"need {module}, which is not installed: pip install 'ecg-audio-nb[{extra}]'" in refusal(source)


@pytest.mark.parametrize(
    "url, name",
    [
        ("https://h.org/a/talk%20one.mp4?x=/y.mp3#/z", "talk one.mp4"),
        ("https://h.org/a/b/", "b"),
        ("https://h.org", "download"),
        ("https://h.org/..", "download"),
        ("https://h.org/%ff.mp4", "_.mp4"),
        ("https://h.org/%ED%9A%8C%EC%9D%98.mp4", "회의.mp4"),
        ("https://h.org/회의.mp4", "회의.mp4"),
        ("https://h.org/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "passwd"),
        ("https://h.org/.hidden.mp4", "hidden.mp4"),
        ("https://h.org/a%00b%0ac%5cd%3Ae.wav", "a_b_c_d_e.wav"),
        ("s3://b/dir/a%20b?c#d.mp4", "a%20b?c#d.mp4"),
        ("https://h.org/" + "회" * 300 + ".mp4", "회" * 50 + ".mp4"),
        ("https://h.org/a." + "b" * 300, "a." + "b" * 148),
    ],
)
def test_names(url, name):
    assert fetch._name_of(url) == name and len(os.fsencode(name)) < 255


# -- the transfer, over real sockets

class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        name = self.path.partition("?")[0].strip("/").partition("/")[0]
        try: getattr(self, name)()
        except OSError: pass # the other side has had enough

    def head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def ok(self): self.head(Content_Length=len(BODY)); self.wfile.write(BODY)
    def unsized(self): self.head(); self.wfile.write(BODY)
    def empty(self): self.head(Content_Length=0)
    def short(self): self.head(Content_Length=len(BODY) + 1000); self.wfile.write(BODY)
    def huge(self): self.head(Content_Length=10 << 30); self.wfile.write(BODY); self.server.sent_huge = True
    def understated(self): self.head(Content_Length=1000); self.wfile.write(BODY)
    def endless(self):
        self.head()
        while True: self.wfile.write(BODY)
    def drip(self):
        self.head(Content_Length=1 << 20)
        while True: self.wfile.write(b"x"); time.sleep(0.05)
    def silent(self): time.sleep(20)
    def status(self): self.head(int(self.path.partition("?")[0].rpartition("/")[2]), Content_Length=0)
    def moved(self): self.head(302, Location=self.path.partition("to=")[2])
    def circle(self): self.head(302, Location=self.path)
    def rubbish(self): self.wfile.write(b"this is not HTTP\r\n\r\n" * 10)
    def log_message(self, *args): pass


@contextmanager
def serving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads, server.asked, server.sent_huge = True, [], False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield server
    finally: server.shutdown(); server.server_close()


@pytest.fixture(scope="module")
def server():
    with serving() as server: yield server


@pytest.fixture
def base(server):
    server.asked.clear()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def temp(tmp_path):
    "A folder for downloads that must be empty in the end"
    folder = tmp_path / "downloads"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("what", ["ok", "unsized"])
def test_a_download_is_whole_and_gone_afterwards(base, server, temp, what):
    with open_source(
        f"{base}/{what}/talk%20one.mp4?sig={SECRET}%2F%2B&a=b+c", FetchSettings(), temp
    ) as found:
        assert found.name == found.path.name == "talk one.mp4" and temp in found.path.parents
        assert found.path.read_bytes() == BODY and found.sha256 == hashlib.sha256(BODY).hexdigest()
        assert stat.S_IMODE(found.path.parent.stat().st_mode) == 0o700
    assert not found.path.exists()
    signed = f"/{what}/talk%20one.mp4?sig={SECRET}%2F%2B&a=b+c"
    assert [(how, path) for how, path, _ in server.asked] == [("GET", signed)] # and nothing else


def test_it_is_gone_when_its_user_fails(base, temp):
    with pytest.raises(ZeroDivisionError), open_source(f"{base}/ok", FetchSettings(), temp) as found:
        len(found.name) / 0


def test_a_name_and_password_are_used_and_not_told(base, server, temp):
    address = base.replace("http://", f"HTTP://ann:{SECRET}@")
    get(f"{address}/ok/a.mp4", temp)
    assert server.asked[0][2]["Authorization"].startswith("Basic ")
    said = refusal(f"{address}/status/404?{SECRET}", temp)
    assert said == f"HTTP://{base[7:]}/status/404: nothing is there (404); check the URL"


ANSWERS = [
    ("empty", {}, "the answer is empty (0 bytes)"),
    ("short", {}, "the connection ended early"),
    ("huge", {"max_bytes": 1 << 20}, "larger than fetch.max_bytes = 1048576"),
    ("ok", {"max_bytes": len(BODY) - 1}, "larger than fetch.max_bytes"),
    ("unsized", {"max_bytes": len(BODY) - 1}, "larger than fetch.max_bytes"),
    ("endless", {"max_bytes": 9 << 20}, "larger than fetch.max_bytes"),
    ("endless", {"timeout": 3}, "longer than fetch.timeout = 3 s"),
    ("drip", {"timeout": 3}, "longer than fetch.timeout = 3 s"),
    ("silent", {"timeout": 3}, "longer than fetch.timeout = 3 s"),
    ("status/403", {}, "the signed URL has expired, or its signature is wrong (403); sign it again"),
    ("status/404", {}, "nothing is there (404)"),
    ("status/503", {}, "the server answered 503; try again later"),
    ("circle", {}, "redirects in a circle"),
    ("moved?to=file:///etc/passwd?", {}, "names no host"),
    ("rubbish", {}, ""),
    ("hang_up", {}, "the connection ended early; try again"),
]


@pytest.mark.parametrize("path, settings, fault", ANSWERS, ids=[f"{a} {b}" for a, b, _ in ANSWERS])
def test_an_answer_that_will_not_do(base, temp, path, settings, fault):
    mark = "&" if "?" in path else "?"
    said = refusal(f"{base}/{path}{mark}signature={SECRET}", temp, **settings)
    assert said.startswith(f"{base}/{path.partition('?')[0]}: ") and fault in said and "\n" not in said


def test_a_size_over_the_limit_is_refused_before_it_is_read(base, server, temp):
    refusal(f"{base}/huge", temp, max_bytes=9 << 20) # though what is sent would fit


def test_an_understated_size_is_refused_or_cut_there(base, temp):
    try: assert get(f"{base}/understated", temp).sha256 == hashlib.sha256(BODY[:1000]).hexdigest()
    except FetchError as e: assert str(e).startswith(f"{base}/understated: ")


def test_no_room_is_seen_before_it_is_filled(base, temp, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    assert "No space left on device" in refusal(f"{base}/ok", temp)


def test_the_folder_for_downloads_is_made_or_missed(base, tmp_path):
    assert get(f"{base}/ok", tmp_path / "not" / "yet").sha256
    (tmp_path / "file").touch()
    assert "no folder for downloads" in refusal(f"{base}/ok", tmp_path / "file")


def test_no_connection(temp):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))  # and nobody listens
        assert "no connection to the host" in refusal(
            f"http://127.0.0.1:{s.getsockname()[1]}/a?{SECRET}", temp
        )


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "https:///a",
        "http://[::1/a",
        f"http://?{SECRET}",
        "s3://",
        "s3:///key",
        "http://h.org:nan/a",
    ],
)
def test_addresses_that_are_none(monkeypatch, url):
    monkeypatch.setattr("ecg_audio_nb.core.extras.find_spec", lambda name: True)
    assert "host" in refusal(url) or "address" in refusal(url)


def test_hosts_are_checked_at_every_step(base, server, temp):
    assert get(f"{base}/ok", temp, allow_hosts="127.0.0.1, other.org").sha256
    for url in (f"{base}/ok", base.replace("http://", "http://other.org@") + "/ok"):
        server.asked.clear()
        assert "127.0.0.1 is not among fetch.allow_hosts (other.org)" in refusal(
            url, temp, allow_hosts="other.org"
        )
        assert server.asked == []
    with serving() as second:
        target = f"http://localhost:{second.server_port}/ok?{SECRET}"
        assert get(f"{base}/moved/a.mp4?to={target}", temp).name == "a.mp4"
        second.asked.clear()
        said = refusal(f"{base}/moved?to={target}", temp, allow_hosts="127.0.0.1")
        assert "localhost is not among fetch.allow_hosts (127.0.0.1)" in said and second.asked == []


def test_buckets_are_checked(monkeypatch):
    monkeypatch.setattr("ecg_audio_nb.core.extras.find_spec", lambda name: True)
    assert "secret is not among fetch.allow_hosts (media)" in refusal("s3://secret/key", allow_hosts="media")


def test_s3_is_read_in_blocks(monkeypatch):
    "The part of ours; a stand-in plays s3fs"
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem
    class Stand(MemoryFileSystem):
        protocol, store, pseudo_dirs = "s3", {}, [""]
        @classmethod
        def _strip_protocol(cls, path): return "/" + path.removeprefix("s3://").strip("/")
    monkeypatch.setattr(fsspec, "filesystem", lambda protocol: {"s3": Stand()}[protocol])
    Stand().pipe_file("s3://bucket/dir/a%20b.mp4", BODY)
    (head, _), *blocks = fetch._transfer({"url": "s3://bucket/dir/a%20b.mp4", "allow_hosts": []}, b"")
    assert head == {"size": len(BODY)} and b"".join(block for _, block in blocks) == BODY and len(blocks) == 3


def test_light_to_import():
    code = (
        "import sys, ecg_audio_nb.audio.fetch; assert not {'fsspec', 'aiohttp', 's3fs', 'av'} & "
        "set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])
