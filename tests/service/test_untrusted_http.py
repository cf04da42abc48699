"""The running service, called by strangers: sources it must not fetch, and requests of any shape"""
import json, os, string
from collections import Counter
from urllib.parse import quote

import av
import httpx
import numpy as np
import psutil
import pytest
import soundfile
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from backend import Served, until
from counting_server import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    "A media root with what should not lie there, and a secret beside it"
    base = tmp_path_factory.mktemp("strangers")
    root, secret = base / "media", base / "secret.wav"
    root.mkdir()
    soundfile.write(secret, np.sin(np.arange(32000) / 5), 16000)
    (root / "out.wav").symlink_to(secret)
    (root / "far").symlink_to(base)
    (root / "loop.wav").symlink_to(root / "loop.wav")
    (root / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n")
    (root / "list.txt").write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    (root / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:2,\nfile://{secret}\n")
    (root / "empty.wav").touch()
    (root / "folder.wav").mkdir()
    os.mkfifo(root / "pipe.wav")
    with av.open(str(root / "bomb.flac"), "w") as file: # half an hour of nothing, in 1 % of its size
        stream = file.add_stream("flac", rate=8000, layout="mono")
        for i in range(0, 1800 * 8000, 16000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), "s16", "mono")
            frame.rate, frame.pts = 8000, i
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return root


@pytest.fixture(scope="module")
def outside():
    with serving() as server: yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory, roots, outside):
    "Open to strangers, but for one that stands for a public host"
    here = ("fetch.allow_private=127.0.0.1", f"fetch.allow_ports={outside.server_port}", "fetch.max_bytes=1000000", "fetch.timeout=3",
            "media.max_seconds=60", "server.max_queued=100000", "server.max_queued_per_key=100000", "server.requests_per_minute=100000000", "server.max_attempts=1",
            "server.max_upload_mb=1", "server.upload_mb_per_hour=100000")
    s = Served(tmp_path_factory.mktemp("served"), roots, *[a for h in here for a in ("--set", h)]).start()
    until(lambda: s.http.get("/ready").status_code == 200)
    yield s
    assert s.stop() == 0


INNER = ("http://10.0.0.1/a", "http://192.168.1.1/a", "http://169.254.169.254/latest/meta-data/", "http://2852039166/a", "http://0251.0376.0251.0376/",
         "http://0xa9fea9fe/", "http://0xA9.0xFE.43518/", "http://[::ffff:169.254.169.254]/", "http://[::ffff:a9fe:a9fe]/", "http://[::1]/a",
         "http://[fd00:ec2::254]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[fe80::1]/", "http://0.0.0.0/", "http://224.0.0.1/", "http://240.0.0.1/",
         "http://100.64.0.1/", "http://127.0.0.1:22/", "http://[fe80::1%25eth0]/", "http://ann:pw@93.184.215.14/")
SCHEMES = ("file:///etc/passwd", "FILE:///etc/passwd", "concat:/etc/passwd|/etc/hosts", "data:audio/wav;base64,UklGRg==", "subfile,,start,0,end,9,,:/etc/passwd",
           "pipe:0", "ftp://93.184.215.14/a", "gopher://127.0.0.1:6379/_x", "s3://secret/key", "rtsp://127.0.0.1/a", "https://youtu.be/x", "crypto:/etc/passwd")
PATHS = ("{root}/../secret.wav", "{root}/out.wav", "{root}/far/secret.wav", "{root}/loop.wav", "{root}/folder.wav", "{root}/pipe.wav", "{root}/list.m3u8",
         "{root}/list.txt", "{root}/list.mp4", "{root}/bomb.flac", "{root}/empty.wav", "{root}/none.wav", "/etc/passwd", "/dev/zero", "/proc/self/environ",
         "secret.wav", "~/.ssh/id_rsa", "{root}/a\0.wav", "{root}/%2e%2e/secret.wav")
SERVERS = ("endless", "drip", "huge", "bomb", "short", "circle", "nowhere", "moved/302?to=file:///etc/passwd",
           "moved/301?to=http://169.254.169.254/", "moved/307?to=http://[::ffff:10.0.0.1]/", "moved/308?to=http://2130706433:1/")


def test_no_hostile_source_is_fetched_and_nothing_stays(served, roots, outside):
    mb = lambda: sum(p.memory_info().rss for p in (own, *own.children(recursive=True))) / 2**20
    own, asked = psutil.Process(served.process.pid), {}
    before = mb()
    local = [s.replace("{root}", str(roots)) for s in PATHS]
    for n, source in enumerate((*INNER, *SCHEMES, *local, *(f"http://127.0.0.1:{outside.server_port}/{s}" for s in SERVERS))):
        asked[source] = f"hostile-{n}", served.post(f"hostile-{n}", source)
    ended = {}
    for source, (job, answer) in asked.items():
        if answer.status_code == 200: ended[source] = until(lambda job=job: (s := served.http.get(f"/jobs/{job}").json())["status"] in ("completed", "failed") and s)
        else: assert (answer.status_code, answer.headers["content-type"], answer.json()["error_code"]) == (422, "application/problem+json", "INVALID_REQUEST")
    assert len(asked) >= 60
    assert {s["status"] for s in ended.values()} == {"failed"} # not one was worked on
    assert {s["error_code"] for s in ended.values()} == {"DOWNLOAD_ERROR", "MEDIA_ERROR"}
    said = [s["error_message"] for s in ended.values()] + [a.json()["detail"] for _, a in asked.values() if a.status_code != 200]
    assert not [t for t in said if str(roots.parent) in t or "Traceback" in t or "pw@" in t or "inside of the service" in t]
    assert not any(INNER_[7:] in json.dumps(outside.asked) for INNER_ in INNER)
    data = served.data / "service"
    assert [*(data / "tmp").iterdir(), *(data / "uploads").iterdir(), *(data / "results").iterdir()] == []
    assert mb() < before + 40
    assert served.http.get("/ready").status_code == 200


def test_hostile_uploads_are_told_what_they_are(served, roots):
    for name, code in (*dict.fromkeys(("list.m3u8", "list.txt", "list.mp4", "bomb.flac"), "MEDIA_ERROR").items(), ("empty.wav", "INVALID_REQUEST")):
        answer = served.http.post("/transcribe", files={"file": (f"../../{name}", (roots / name).read_bytes())})
        assert (answer.status_code, answer.json()["error_code"]) == (422, code), (name, answer.text)
    assert [*(served.data / "service/uploads").iterdir()] == []


# Requests of any shape

words = st.text(max_size=30) | st.sampled_from(["", "a", "talk", "hostile-1", "../..", "%00", "\0", "한국어", "a" * 200, "null", "-1", "1e999"])
values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | words, lambda v: st.lists(v, max_size=3) | st.dictionaries(words, v, max_size=3), max_leaves=6)
keys = st.sampled_from(["job_id", "video_url", "fastapi_base_url", "language", "video_path", "audio_path", "extra"])
sources = st.sampled_from([*INNER[:6], *SCHEMES[:4], "/etc/passwd", "x" * 5000]) | words
near = st.fixed_dictionaries({"job_id": words, "video_url": sources}, optional={"language": words | st.just("auto"), "fastapi_base_url": sources})
json_bodies = st.one_of(near, st.dictionaries(keys, values | sources, max_size=5), values).map(lambda v: json.dumps(v).encode())
bodies = json_bodies | st.binary(max_size=300) | st.builds(lambda b, n: b[:n], json_bodies, st.integers(0, 60))
paths = st.sampled_from(["/api/upload-video/process-video", "/transcribe", "/uploads", "/jobs/{}", "/jobs/{}/result", "/jobs/{}/report", "/jobs/{}/events",
                         "/health", "/ready", "/metrics", "/", "/openapi.json", "/{}", "/api/{}"])
types = st.sampled_from(["application/json", "text/plain", "multipart/form-data; boundary=x", "multipart/form-data", "application/x-www-form-urlencoded", "", "a/b; c=\"d"])
token = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12)
headers = st.dictionaries(st.sampled_from(["authorization", "origin", "x-api-key", "range", "accept", "cookie", "content-encoding", "last-event-id"]) | token.map("x-{}".format),
                          st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip), max_size=3)
methods = st.sampled_from(["GET", "POST", "POST", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH"])


def test_ten_thousand_requests_of_any_shape_and_no_500(served):
    seen, client = Counter(), httpx.Client(base_url=f"http://127.0.0.1:{served.port}", timeout=300, trust_env=False)

    @settings(max_examples=10_000, deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(methods, paths, words, bodies, types, headers)
    def ask(method, path, word, body, kind, more):
        answer = client.request(method, path.format(quote(word, safe="")), content=body if method not in ("GET", "HEAD", "OPTIONS") else None,
                                headers={**more, "content-type": kind})
        seen[answer.status_code] += 1
        assert answer.status_code < 500, (method, path, word, body, kind, more, answer.text)
        if answer.status_code >= 400 and method != "HEAD":
            assert answer.headers["content-type"] == "application/problem+json" and answer.json()["status"] == answer.status_code

    ask()
    assert sum(seen.values()) >= 10_000 and len(seen) >= 6 # of many kinds
    assert not [r for r in served.lines() if r["message"].startswith("unexpected")]
    assert served.http.get("/health").json() == {"status": "ok"}
