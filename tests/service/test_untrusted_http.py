"""The running service, called by strangers: sources it must not fetch, and requests of any shape"""
import json, os

import av
import numpy as np
import psutil
import pytest
import soundfile

from backend import Quick, until
from counting_server import serving
from service_load import INNER, OPEN_LIMITS, SCHEMES, requests_of_any_shape

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
    (root / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n"
    )
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
    here = (
        "fetch.allow_private=127.0.0.1",
        f"fetch.allow_ports={outside.server_port}",
        *OPEN_LIMITS,
    )
    s = Quick(tmp_path_factory.mktemp("served"), roots, *[a for h in here for a in ("--set", h)]).start()
    until(lambda: s.http.get("/ready").status_code == 200)
    yield s
    assert s.stop() == 0


PATHS = (
    "{root}/../secret.wav",
    "{root}/out.wav",
    "{root}/far/secret.wav",
    "{root}/loop.wav",
    "{root}/folder.wav",
    "{root}/pipe.wav",
    "{root}/list.m3u8",
    "{root}/list.txt",
    "{root}/list.mp4",
    "{root}/bomb.flac",
    "{root}/empty.wav",
    "{root}/none.wav",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "secret.wav",
    "~/.ssh/id_rsa",
    "{root}/a\0.wav",
    "{root}/%2e%2e/secret.wav",
)
SERVERS = (
    "endless",
    "drip",
    "huge",
    "bomb",
    "short",
    "circle",
    "nowhere",
    "moved/302?to=file:///etc/passwd",
    "moved/301?to=http://169.254.169.254/",
    "moved/307?to=http://[::ffff:10.0.0.1]/",
    "moved/308?to=http://2130706433:1/",
)


def test_no_hostile_source_is_fetched_and_nothing_stays(served, roots, outside):
    mb = lambda: sum(p.memory_info().rss for p in (own, *own.children(recursive=True))) / 2**20
    own, asked = psutil.Process(served.process.pid), {}
    before = mb()
    local = [s.replace("{root}", str(roots)) for s in PATHS]
    for n, source in enumerate(
        (*INNER, *SCHEMES, *local, *(f"http://127.0.0.1:{outside.server_port}/{s}" for s in SERVERS))
    ):
        asked[source] = f"hostile-{n}", served.post(f"hostile-{n}", source)
    ended = {}
    for source, (job, answer) in asked.items():
        if answer.status_code == 200:
            ended[source] = until(
                lambda job=job: (
                    (s := served.http.get(f"/jobs/{job}").json())["status"] in ("completed", "failed") and s
                )
            )
        else:
            assert (answer.status_code, answer.headers["content-type"], answer.json()["error_code"]) == (
                422,
                "application/problem+json",
                "INVALID_REQUEST",
            )
    assert len(asked) >= 60
    assert {s["status"] for s in ended.values()} == {"failed"} # not one was worked on
    assert {s["error_code"] for s in ended.values()} == {"DOWNLOAD_ERROR", "MEDIA_ERROR"}
    said = [s["error_message"] for s in ended.values()] + [
        a.json()["detail"] for _, a in asked.values() if a.status_code != 200
    ]
    assert not [
        t
        for t in said
        if str(roots.parent) in t or "Traceback" in t or "pw@" in t or "inside of the service" in t
    ]
    assert not any(INNER_[7:] in json.dumps(outside.asked) for INNER_ in INNER)
    data = served.data / "service"
    # a job's end is told before its temporary files are gone
    assert until(lambda: not [f for kind in ("tmp", "uploads", "results") for f in (data / kind).iterdir()])
    assert mb() < before + 40
    assert served.http.get("/ready").status_code == 200


def test_hostile_uploads_are_told_what_they_are(served, roots):
    for name, code in (
        *dict.fromkeys(("list.m3u8", "list.txt", "list.mp4", "bomb.flac"), "MEDIA_ERROR").items(),
        ("empty.wav", "INVALID_REQUEST"),
    ):
        answer = served.http.post(
            "/transcribe", files={"file": (f"../../{name}", (roots / name).read_bytes())}
        )
        assert (answer.status_code, answer.json()["error_code"]) == (422, code), (name, answer.text)
    # the caller is answered as soon as its job has ended, its file is deleted just after
    assert until(lambda: not [*(served.data / "service/uploads").iterdir()])


# Requests of any shape

def test_requests_of_any_shape_and_no_500(served): requests_of_any_shape(served, 500) # 10,000 in tests/soak
