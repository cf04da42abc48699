"""Stores: where a batch's results appear, each job's whole or not at all

A job runs in a folder of its own, and its files are published by the store inside the transaction that
finishes the job.

| | `FolderStore` | `S3Store` |
| --- | --- | --- |
| the job runs in | `DIR/.NAME.ATTEMPT.part` | the same, below `runtime.data_dir` |
| before the transaction (`upload`) | nothing | uploads to `PREFIX/.parts/NAME.ATTEMPT/` |
| inside it (`publish`) | renames the folder to `DIR/NAME` | copies within the bucket to `PREFIX/NAME/` |
| a failed job (`publish_failed`) | `DIR/failed/NAME.ipynb` | `PREFIX/failed/NAME.ipynb` |
| the queue (`queue_file`) | `DIR/.jobs/queue.sqlite` | below `runtime.data_dir`, on this machine |

On S3 nothing can be renamed, so a file costs two PUTs, and no byte of it is sent twice.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ecg_audio_nb.batch.queue import Job
from ecg_audio_nb.batch.sources import s3_filesystem
from ecg_audio_nb.core.files import write_atomic
from ecg_audio_nb.core.identity import recorded_digest

__all__ = ["FolderStore", "S3Store", "open_store"]


def job_files(
    folder: Path,  # a job ran in it
) -> list[Path]:
    "All files that a job made, in order of their paths"
    return sorted(path for path in folder.rglob("*") if path.is_file())


class FolderStore:
    "Results in a folder of this machine"

    def __init__(self, path: str | os.PathLike):
        self.path = Path(os.path.abspath(path))

    def __str__(self):
        return str(self.path)

    def queue_file(self) -> Path:
        "The file of the batch's queue"
        return self.path / ".jobs/queue.sqlite"

    def names(self) -> set[str]:
        "Names of the jobs whose results are there, among other names"
        return set(os.listdir(self.path)) if self.path.is_dir() else set()

    def is_taken(self, name: str, sha256: str | None) -> bool:
        "Tell whether something of this name is no batch's result, or that of another recording"
        there = self.path / name
        owners = {digest for path in there.glob("*.json") if (digest := recorded_digest(path))}
        if owners:
            return sha256 is not None and owners != {sha256}
        return there.exists() and not (there / f"{name}.ipynb").is_file()

    def write(self, name: str, text: str) -> None:
        "Write a file beside the jobs' folders; raises `OSError`"
        write_atomic(self.path / name, text)

    @contextmanager
    def job_folder(self, job: Job) -> Iterator[Path]:
        "Create an empty folder for a job; removed at the end of the block, unless it was published"
        folder = self.path / f".{job.name}.{job.attempt}.part"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def upload(self, job: Job, folder: Path) -> None:
        "Send a job's files ahead of the transaction; here there is nothing to send"

    def publish(self, job: Job, folder: Path) -> None:
        "Give a done job's folder its final name, in place of an older result; raises `OSError`"
        final, old = self.path / job.name, self.path / f".{job.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            os.rename(final, old)
        os.rename(folder, final)
        shutil.rmtree(old, ignore_errors=True)
        (self.path / "failed" / f"{job.name}.ipynb").unlink(missing_ok=True)

    def publish_failed(self, job: Job, folder: Path) -> None:
        "Keep a failed job's notebook, as far as it got; raises `OSError`"
        notebook = folder / f"{job.name}.ipynb"
        if notebook.exists():
            (self.path / "failed").mkdir(exist_ok=True)
            os.replace(notebook, self.path / "failed" / notebook.name)

    def sweep(
        self,
        running: Iterable[Job],  # their folders stay
    ) -> None:
        "Remove what killed runners left"
        in_use = {f".{job.name}.{job.attempt}.part" for job in running}
        for folder in self.path.glob(".*.part"):
            if folder.name not in in_use and folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
        for old in self.path.glob(".*.old"):
            final = self.path / old.name.removeprefix(".").removesuffix(".old")
            if not final.exists():  # killed between the two renames
                os.rename(old, final)


class S3Store:
    "Results below `s3://bucket/prefix`; the queue and the jobs' folders stay on this machine"

    def __init__(
        self,
        url: str,  # s3://bucket/prefix
        data_dir: Path,  # `runtime.data_dir`
    ):
        self.url, self.fs = url.rstrip("/"), s3_filesystem()
        self.local = Path(data_dir) / "batches" / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def __str__(self):
        return self.url

    def queue_file(self) -> Path:
        "The file of the batch's queue"
        return self.local / ".jobs/queue.sqlite"

    def names(self) -> set[str]:
        "Names of the jobs whose results are there, among other names"
        return {path.rpartition("/")[2] for path in self._list()}

    def is_taken(self, name: str, sha256: str | None) -> bool:
        "Nothing is asked of S3: what lies below a batch's prefix is its own"
        return False

    def write(self, name: str, text: str) -> None:
        "Write an object beside the jobs' results; raises `OSError`"
        self.fs.pipe_file(f"{self.url}/{name}", text.encode())

    def job_folder(self, job: Job):
        "Create an empty folder for a job on this machine, as `FolderStore.job_folder`"
        return FolderStore(self.local).job_folder(job)

    def upload(self, job: Job, folder: Path) -> None:
        "Upload a job's files beside their final place; raises `OSError`"
        for path in job_files(folder):
            self.fs.put_file(str(path), f"{self._part(job)}/{path.relative_to(folder).as_posix()}")

    def publish(self, job: Job, folder: Path) -> None:
        "Copy a done job's files to their final place, within the bucket; raises `OSError`"
        for path in job_files(folder):
            name = path.relative_to(folder).as_posix()
            self.fs.cp_file(f"{self._part(job)}/{name}", f"{self.url}/{job.name}/{name}")
        self.fs.rm(self._part(job), recursive=True)

    def publish_failed(self, job: Job, folder: Path) -> None:
        "Upload a failed job's notebook, as far as it got; raises `OSError`"
        notebook = folder / f"{job.name}.ipynb"
        if notebook.exists():
            self.fs.put_file(str(notebook), f"{self.url}/failed/{notebook.name}")

    def sweep(
        self,
        running: Iterable[Job],  # their files stay
    ) -> None:
        "Remove what killed runners left, here and in the bucket"
        running = list(running)
        FolderStore(self.local).sweep(running)
        in_use = {f"{job.name}.{job.attempt}" for job in running}
        for part in self._list(".parts"):
            if part.rpartition("/")[2] not in in_use:
                self.fs.rm(f"s3://{part}", recursive=True)

    def _part(self, job):
        return f"{self.url}/.parts/{job.name}.{job.attempt}"

    def _list(self, name=""):
        try:
            return self.fs.ls(f"{self.url}/{name}".rstrip("/"), detail=False, refresh=True)
        except FileNotFoundError:
            return []


Store = FolderStore | S3Store


def open_store(
    output: str | os.PathLike,  # a folder, or s3://bucket/prefix
    data_dir: Path,  # `runtime.data_dir`: where the queue of a batch on S3 lies
) -> Store:
    "Open the store of a batch's results"
    if str(output).startswith("s3://"):
        return S3Store(str(output), data_dir)
    return FolderStore(output)
