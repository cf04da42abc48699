"""A queue on a network file system belongs to one machine at a time"""
import json
import os

import pytest

from batch_helpers import notebook
from ecg_audio_nb.batch import network_folder, queue as queue_module
from ecg_audio_nb.batch.network_folder import MachineMark, OtherMachine, network_file_system
from ecg_audio_nb.batch.queue import Job, Queue, QueueError, add, claim, heartbeat, owner_name
from ecg_audio_nb.batch.runner import BatchSpec, batch

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /home rw,relatime shared:20 - nfs4 10.0.0.5:/home rw,vers=4.2
41 40 8:2 / /home/local rw - xfs /dev/sdb1 rw
42 22 0:36 / /mnt/my\\040share rw - cifs //nas/share rw
43 22 0:37 / /mnt/files rw - fuse.sshfs me@host: rw
44 22 0:38 / /mnt/disk rw - fuse.ntfs-3g /dev/sdc1 rw
"""


@pytest.mark.parametrize("folder, kind", [
    ("/home/ann/out", "nfs4"), ("/home", "nfs4"), ("/home/local/out", None), ("/homes/out", None),
    ("/srv/out", None), ("/mnt/my share/out", "cifs"), ("/mnt/files", "fuse.sshfs"), ("/mnt/disk", None),
])  # fmt: skip
def test_the_file_system_of_a_folder(folder, kind, tmp_path, monkeypatch):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(network_folder, "_MOUNTS", tmp_path / "mountinfo")
    assert network_file_system(folder) == kind


def test_a_local_disk_has_no_mark(tmp_path):
    Queue(tmp_path / "queue.sqlite").close()
    assert not (tmp_path / "machine").exists()


@pytest.fixture
def on_nfs(monkeypatch):
    monkeypatch.setattr(queue_module, "network_file_system", lambda folder: "nfs4")


def other_machine(folder, seconds=0, **who):
    "As another machine that renewed its mark so many seconds ago"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "machine").write_text(json.dumps({"host": "gpu2", "boot": "1234"} | who))
    now = os.stat(folder / "machine").st_mtime
    os.utime(folder / "machine", (now - seconds, now - seconds))


def test_one_machine_works_on_a_network_file_system(tmp_path, on_nfs, inbox):
    jobs, _ = batch([str(inbox[0])], tmp_path / "out", BatchSpec(notebook(tmp_path / "nb.ipynb")))
    assert [job.state for job in jobs] == ["done"]
    assert json.loads((tmp_path / "out/.jobs/machine").read_text())["host"]
    Queue(tmp_path / "out/.jobs/queue.sqlite").close()


def test_a_second_machine_is_refused_with_the_way_out(tmp_path, on_nfs, inbox):
    other_machine(tmp_path / "out/.jobs", 200)
    with pytest.raises(QueueError) as error:
        batch([str(inbox[0])], tmp_path / "out", BatchSpec(notebook(tmp_path / "nb.ipynb")))
    for words in ("nfs4", "the machine gpu2 uses it", "--cluster", "wait 5 minutes", "delete", "/machine"):
        assert words in str(error.value)
    assert not (tmp_path / "out/.jobs/queue.sqlite").exists()


@pytest.mark.parametrize("seconds, who", [
    (301, {}), (0, {"boot": network_folder.boot_name()}), (0, {"host": os.uname().nodename}),
])  # fmt: skip
def test_a_machine_that_stopped_or_is_this_one_is_no_other(tmp_path, on_nfs, seconds, who):
    other_machine(tmp_path, seconds, **who)
    Queue(tmp_path / "queue.sqlite").close()
    assert json.loads((tmp_path / "machine").read_text())["boot"] == network_folder.boot_name()


def test_the_mark_is_renewed_by_heartbeats_and_its_loss_is_seen(tmp_path, on_nfs, monkeypatch):
    queue = Queue(tmp_path / "queue.sqlite")
    add(queue, [Job("id", "job", "/a.wav")])
    job = claim(queue, owner_name())
    monkeypatch.setattr(network_folder, "RENEW", 0)
    os.utime(tmp_path / "machine", (1, 1))
    heartbeat(queue, job)
    assert os.stat(tmp_path / "machine").st_mtime > 1
    other_machine(tmp_path)
    with pytest.raises(OtherMachine, match="gpu2"): heartbeat(queue, job)
    with pytest.raises(OtherMachine, match="gpu2"): claim(queue, owner_name())
    (tmp_path / "machine").write_text("torn")
    MachineMark(tmp_path, "nfs4").keep()
