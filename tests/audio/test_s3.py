"""Jobs whose recordings and results lie on S3, which moto plays on this machine"""
import json, threading
from collections import Counter
from pathlib import Path

import boto3
import pytest
import soundfile

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.batch.queue import Queue, attempts, list_jobs
from ecg_audio_nb.batch.runner import (
    BatchError, BatchSpec, S3Store, batch, content_key, enqueue, expand, open_store, run_locally, work)
from batch_helpers import notebook
from s3_server import s3_server

TOY = (
    "import pathlib\npathlib.Path(output_dir, 'result.txt').write_text(source)\nif 'bad' in source: "
    "raise ValueError('x')"
)


@pytest.fixture(scope="module")
def server():
    with s3_server() as counting: yield counting

@pytest.fixture
def s3(server):
    client = boto3.client("s3")
    for o in client.list_objects_v2(Bucket="media").get("Contents", []):
        client.delete_object(Bucket="media", Key=o["Key"])
    server.seen.clear()
    return client

def keys(s3): return {o["Key"] for o in s3.list_objects_v2(Bucket="media").get("Contents", [])}

def put(s3, *names):
    for n in names: s3.put_object(Bucket="media", Key=n, Body=n.encode())

@pytest.fixture
def bucket_batch(tmp_path, s3):
    place = open_store("s3://media/out/night", tmp_path)
    assert isinstance(place, S3Store)
    queue = Queue(place.queue_file())
    yield queue, place
    queue.close()


def test_a_prefix_is_its_recordings(s3):
    put(s3, "in/a.mp4", "in/deep/b.wav", "in/notes.txt", "other/c.mp4")
    assert expand(["s3://media/in/"]) == (["s3://media/in/a.mp4", "s3://media/in/deep/b.wav"], [])
    assert expand(["s3://media/in/*.mp4", "s3://media/other/c.mp4"])[0] == [
        "s3://media/in/a.mp4",
        "s3://media/other/c.mp4",
    ]
    found, missing = expand(["s3://media/nothing/"])
    assert not found and "no recording found" in missing[0]


def test_an_object_is_its_etag(s3, tmp_path):
    queue = Queue(tmp_path / "q.sqlite")
    put(s3, "a.mp4")
    first = content_key(queue, "s3://media/a.mp4")
    s3.put_object(Bucket="media", Key="a.mp4", Body=b"another")
    assert content_key(queue, "s3://media/a.mp4") != first
    with pytest.raises(BatchError, match="s3://media/none.mp4: S3 gives no information about it"):
        content_key(queue, "s3://media/none.mp4")


def test_jobs_in_and_out_with_few_puts(s3, server, tmp_path, bucket_batch):
    put(s3, *(f"in/{i}.wav" for i in range(4)))
    server.seen.clear()
    queue, place = bucket_batch
    jobs, notes = enqueue(
        queue, BatchSpec(notebook(tmp_path / "nb.ipynb", TOY)), expand(["s3://media/in/"])[0], place
    )
    assert not notes and work(queue, place, run_locally(queue, None), threading.Event()) == {"done": 4}
    out = {k for k in keys(s3) if k.startswith("out/")}
    assert out == {f"out/night/{i}/{n}" for i in range(4) for n in (f"{i}.ipynb", "result.txt")}
    assert (
        s3.get_object(Bucket="media", Key="out/night/3/result.txt")["Body"].read() == b"s3://media/in/3.wav"
    )
    puts = Counter(p.rpartition("/")[2] for m, p, _ in server.seen if m == "PUT")
    assert {n: k for n, k in puts.items() if n.endswith(".ipynb")} == {f"{i}.ipynb": 2 for i in range(4)}
    again, _ = enqueue(queue, BatchSpec(tmp_path / "nb.ipynb"), expand(["s3://media/in/"])[0], place)
    assert [j.state for j in again] == ["done"] * 4


def test_a_failed_job_shows_its_notebook_alone(s3, tmp_path, bucket_batch):
    put(s3, "in/bad.wav")
    queue, place = bucket_batch
    enqueue(
        queue, BatchSpec(notebook(tmp_path / "nb.ipynb", TOY)), expand(["s3://media/in/bad.wav"])[0], place
    )
    assert work(queue, place, run_locally(queue, None), threading.Event()) == {"failed": 1}
    assert keys(s3) == {"in/bad.wav", "out/night/failed/bad.ipynb"}


def test_what_is_gone_from_the_bucket_is_made_again(s3, tmp_path, bucket_batch):
    put(s3, "in/a.wav")
    queue, place = bucket_batch
    plan = BatchSpec(notebook(tmp_path / "nb.ipynb", TOY))
    for _ in range(2):
        enqueue(queue, plan, expand(["s3://media/in/a.wav"])[0], place)
        work(queue, place, run_locally(queue, None), threading.Event())
        for k in keys(s3): k.startswith("out/") and s3.delete_object(Bucket="media", Key=k)
    assert [a["outcome"] for a in attempts(queue, list_jobs(queue)[0])] == ["done", "done"]


def test_who_lost_its_lease_copies_nothing(s3, tmp_path, bucket_batch):
    put(s3, "in/a.wav")
    queue, place = bucket_batch
    enqueue(queue, BatchSpec(notebook(tmp_path / "nb.ipynb", TOY)), expand(["s3://media/in/a.wav"])[0], place)
    here = run_locally(queue, None)
    def perform(job, folder, heart):
        fault = here(job, folder, heart)
        queue.db.execute("update jobs set attempt=attempt+1 where id=?", (job.id,))
        queue.db.execute("update jobs set state='done'")
        return fault
    assert work(queue, place, perform, threading.Event()) == {"lost": 1}
    assert not any(k.startswith("out/night/a/") for k in keys(s3))
    place.sweep(list_jobs(queue, "running"))
    assert keys(s3) == {"in/a.wav"}, "what it had sent is swept"


def test_a_bucket_that_refuses_is_the_infrastructures_fault(s3, tmp_path, bucket_batch):
    put(s3, "in/a.wav")
    queue, place = bucket_batch
    enqueue(
        queue,
        BatchSpec(notebook(tmp_path / "nb.ipynb", TOY), max_tries=1),
        expand(["s3://media/in/a.wav"])[0],
        place,
    )
    place.url = "s3://nowhere/out"
    assert work(queue, place, run_locally(queue, None), threading.Event()) == {"failed": 1}
    [job] = list_jobs(queue)
    assert job.failure_kind == "infra" and "NoSuchBucket" in job.error or "bucket" in job.error.lower()


@pytest.mark.slow
def test_a_whole_batch_of_analyses_over_s3(s3, tmp_path, sample, monkeypatch):
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path))
    soundfile.write(tmp_path / "talk.wav", load_audio(sample).cut(0, 9).samples, 16000)
    s3.upload_file(str(tmp_path / "talk.wav"), "media", "in/talk.wav")
    from ecg_audio_nb.batch.runner import job_notebook

    [job], faults = batch(
        ["s3://media/in/"],
        "s3://media/out",
        BatchSpec(job_notebook("analyze"), "demo", {"export.formats": "json,srt"}),
    )
    assert (job.state, faults) == ("done", []), job.error
    assert {
        "out/talk/talk.ipynb",
        "out/talk/talk.json",
        "out/talk/talk.srt",
        "out/talk/talk.html",
        "out/index.html",
    } <= keys(s3)
    assert (
        json.loads(s3.get_object(Bucket="media", Key="out/talk/talk.json")["Body"].read())["metadata"][
            "unique_speakers"
        ]
        == 2
    )
    assert Path(tmp_path / "batches").is_dir()
