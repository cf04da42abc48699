"""A URL that was signed anew: the same recording, fetched by the newest address"""
import functools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from batch_helpers import notebook
from ecg_audio_nb.audio.fetch import FetchError, open_source
from ecg_audio_nb.batch.queue import claim, fail, finish, get, owner_name
from ecg_audio_nb.batch.runner import BatchSpec, batch
from ecg_audio_nb.batch.spec import enqueue

ME = owner_name()
URL = "https://h.example/a.wav?v=2&X-Amz-Signature="
FETCH = """\
import pathlib
from ecg_audio_nb.audio.fetch import open_source
with open_source(source) as opened: pathlib.Path(output_dir, "result.txt").write_text(opened.sha256)"""


@pytest.fixture
def signed():
    "The address of a recording, but for its signature; OLD has expired"
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if "OLD" in self.path: return self.send_error(403)
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"bytes")
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/talk.wav?X-Amz-Signature="
    server.shutdown()
    server.server_close()


@pytest.fixture
def add_url(tmp_path, queue, store):
    spec = BatchSpec(notebook(tmp_path / "nb.ipynb"))
    return lambda signature: enqueue(queue, spec, [URL + signature], store)[0][0]


def sources(job): return job.source, job.task["parameters"]["source"]


def test_a_job_that_waits_takes_the_fresh_address(queue, add_url):
    old = add_url("OLD")
    new = add_url("NEW")
    assert new.id == old.id and sources(new) == (f"{URL}NEW",) * 2
    assert sources(claim(queue, ME)) == (f"{URL}NEW",) * 2


def test_a_job_that_failed_is_retried_with_the_fresh_address(queue, add_url):
    add_url("OLD")
    fail(queue, claim(queue, ME), "user", "FetchError: 403")
    assert add_url("NEW").state == "failed"
    from ecg_audio_nb.batch.queue import retry
    [again] = retry(queue, [add_url("NEW")])
    assert sources(again) == (f"{URL}NEW",) * 2


def test_a_fresh_address_that_comes_during_the_attempt_is_tried(queue, add_url):
    add_url("OLD")
    job = claim(queue, ME)
    add_url("NEW")
    assert fail(queue, job, "user", "FetchError: 403") is True
    again = claim(queue, ME)
    assert (again.attempt, *sources(again)) == (2, f"{URL}NEW", f"{URL}NEW")
    assert fail(queue, again, "user", "FetchError: 403") is False


def test_a_done_job_is_not_done_again_by_a_fresh_address(queue, store, add_url):
    add_url("OLD")
    job = claim(queue, ME)
    (store.path / job.name).mkdir()
    finish(queue, job)
    assert add_url("NEW").state == "done" and claim(queue, ME) is None
    assert get(queue, job.id).source == f"{URL}NEW"


def test_an_expired_address_is_told_at_once_and_mended_by_retry_failed(tmp_path, signed):
    path, lines = notebook(tmp_path / "nb.ipynb", FETCH), []
    run = functools.partial(batch, output=tmp_path / "out", spec=BatchSpec(path), log=lines.append)
    [job], _ = run([f"{signed}OLD"])
    assert (job.state, job.attempt) == ("failed", 1)
    assert "the signed URL has expired" in job.error and "sign it again" in job.error
    [job], _ = run([f"{signed}NEW"], retry_failed=True)
    assert (job.state, job.attempt) == ("done", 2), job.error
    assert (tmp_path / "out/talk/result.txt").exists() and not any("OLD" in line for line in lines)


def test_only_a_signed_address_expires(signed):
    with pytest.raises(FetchError, match="the signed URL has expired, or its signature is wrong"):
        with open_source(f"{signed}OLD"): pass
    with pytest.raises(FetchError, match="the server answered 403; it may have expired, or need a login"):
        with open_source(signed.partition("?")[0] + "?OLD"): pass
