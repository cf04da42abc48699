"""Recordings of one name in a batch, and folders that lie where its results would"""

import hashlib

import pytest
from batch_helpers import notebook

from ecg_audio_nb.batch.queue import Queue, list_jobs
from ecg_audio_nb.batch.sources import find_sources
from ecg_audio_nb.batch.spec import BatchSpec, enqueue


@pytest.fixture
def spec(tmp_path):
    return BatchSpec(notebook(tmp_path / "toy.ipynb"))


def put(path, content="sound"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def names(queue, spec, store, *sources):
    jobs, notes = enqueue(queue, spec, [str(source) for source in sources], store)
    return [job.name for job in jobs], notes


def test_folders_with_equal_names_get_results_of_their_own(tmp_path, queue, store, spec):
    days = [put(tmp_path / f"in/{day}/rec.wav", day) for day in ("day1", "day2", "day3")]
    found = find_sources([str(tmp_path / "in")]).recordings
    assert found == [str(day) for day in days]
    made, notes = names(queue, spec, store, *found)
    ids = [job.id for job in list_jobs(queue)]
    assert made == ["rec", f"rec-{ids[1][:8]}", f"rec-{ids[2][:8]}"] and not notes
    assert names(queue, spec, store, *reversed(found))[0] == made[::-1]


def test_copies_are_one_recording(tmp_path, queue, store, spec):
    made, notes = names(queue, spec, store, put(tmp_path / "a/rec.wav"), put(tmp_path / "b/rec.wav"))
    assert made == ["rec"] and "is the same recording as" in notes[0]


@pytest.mark.parametrize("there", ["rec/notes.txt", "rec"])
def test_what_the_batch_did_not_make_keeps_its_place(tmp_path, queue, store, spec, there):
    put(store.path / there, "hours of work")
    [name], _ = names(queue, spec, store, put(tmp_path / "rec.wav"))
    [job] = list_jobs(queue)
    assert name == f"rec-{job.id[:8]}"
    with store.job_folder(job) as folder:
        store.publish(job, folder)
    assert (store.path / there).read_text() == "hours of work"
    assert names(queue, spec, store, tmp_path / "rec.wav")[0] == [name]


def test_results_of_a_batch_whose_queue_is_lost_stay_with_their_recording(tmp_path, store, spec):
    old, new = put(tmp_path / "day1/rec.wav", "old"), put(tmp_path / "day2/rec.wav", "new")
    digest = hashlib.sha256(b"old").hexdigest()
    put(store.path / "rec/rec.ipynb", "{}")
    put(store.path / "rec/rec.json", f'{{"metadata": {{"source_sha256": "{digest}"}}}}')
    [of_new], _ = names(Queue(tmp_path / "one.sqlite"), spec, store, new)
    assert of_new.startswith("rec-")
    assert names(Queue(tmp_path / "two.sqlite"), spec, store, old)[0] == ["rec"]


@pytest.mark.parametrize("stem", ["con", "NUL.tar", "a" * 250, "what? [1]*", "조각" * 41])
def test_names_that_are_no_names_elsewhere(tmp_path, queue, store, spec, stem):
    [name], _ = names(queue, spec, store, put(tmp_path / f"{stem}.wav"))
    assert name.partition(".")[0].lower() not in ("con", "nul") and len(name.encode()) <= 150
    assert not set(name) & set('?*<>:"|\\/')
