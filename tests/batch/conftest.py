"""Fixtures of the batch's tests: four sources, a store, its queue"""
import pytest

pytest.register_assert_rewrite("batch_helpers")
from batch_helpers import recordings

from ecg_audio_nb.batch.queue import Queue
from ecg_audio_nb.batch.stores import FolderStore


@pytest.fixture
def inbox(tmp_path): return recordings(tmp_path / "in", 4)

@pytest.fixture
def store(tmp_path): return FolderStore(tmp_path / "out")

@pytest.fixture
def queue(store):
    q = Queue(store.queue_file())
    yield q
    q.close()
