"""Where results appear: whole or not at all, and what killed runners left is removed"""
from batch_helpers import leftovers, notebook
from ecg_audio_nb.batch.queue import Job, claim, list_jobs, owner_name
from ecg_audio_nb.batch.spec import BatchSpec, enqueue
from ecg_audio_nb.batch.stores import FolderStore, job_files, open_store


def test_a_folder_is_published_in_place_of_the_older_one(tmp_path):
    store, job = open_store(tmp_path / "out", tmp_path), Job("1", "talk", "talk.wav", attempt=1)
    assert isinstance(store, FolderStore) and store.names() == set()
    for text in ("one", "two"):
        with store.job_folder(job) as folder:
            (folder / "sub").mkdir()
            (folder / "sub/a.txt").write_text(text)
            assert job_files(folder) == [folder / "sub/a.txt"]
            store.upload(job, folder)
            store.publish(job, folder)
        assert (store.path / "talk/sub/a.txt").read_text() == text
    assert store.names() == {"talk"} and not leftovers(store.path)


def test_a_folder_that_is_not_published_goes_and_its_notebook_can_be_kept(store):
    job = Job("1", "talk", "talk.wav", attempt=1)
    with store.job_folder(job) as folder:
        (folder / "talk.ipynb").write_text("{}")
        store.publish_failed(job, folder)
    assert (
        (store.path / "failed/talk.ipynb").exists()
        and not (store.path / "talk").exists()
        and not leftovers(store.path)
    )


def test_what_killed_runners_left_is_swept_but_not_what_is_at_work(queue, store, tmp_path, inbox):
    enqueue(queue, BatchSpec(notebook(tmp_path / "toy.ipynb")), [str(inbox[0])], store)
    job = claim(queue, owner_name())
    for name in (f".{job.name}.{job.attempt}.part", ".other.1.part", ".lost.old", ".kept.old", "kept"):
        (store.path / name).mkdir()
    store.sweep(list_jobs(queue, "running"))
    assert leftovers(store.path) == [f".{job.name}.{job.attempt}.part"] or set(leftovers(store.path)) == {
        f".{job.name}.{job.attempt}.part",
        ".kept.old",
    }
    assert (store.path / "lost").is_dir()
