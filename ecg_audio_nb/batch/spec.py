"""What a batch does with every source: notebook, settings and parameters, and the jobs made from them

A job is one source, one notebook and its parameters. Its id is the digest of their contents: the bytes of the
recording, the cells of the notebook without outputs, the settings in force, the files that parameters name
and the voice prints. So the same command adds only what is missing, and a changed setting makes another job.

| a key of `--set` | goes to |
| --- | --- |
| a name that the notebook's cell tagged `parameters` assigns | that parameter |
| any other | the parameter `overrides`, checked as settings before anything runs |
| `source`, `output_dir`, `profile`, `seed` | set by the batch where the notebook has them |

A copy of the notebook is kept with the queue, so that editing the notebook does not change jobs that wait. A
recording that changes while its job waits is another one: `job_of_changed_source` finds that out when the job
begins, and it runs under the id of what it is then.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from ecg_audio_nb.audio.fetch import redact, source_stem
from ecg_audio_nb.batch.failures import BatchError
from ecg_audio_nb.batch.parameters import cells_of, check_parameter, parameter_names, parameters_of
from ecg_audio_nb.batch.queue import Job, Queue, add, file_digest, job_id, retry
from ecg_audio_nb.batch.sources import content_key
from ecg_audio_nb.batch.stores import Store
from ecg_audio_nb.core.digests import digest_of
from ecg_audio_nb.core.files import safe_name, write_atomic
from ecg_audio_nb.settings import NOT_IN_RESULTS, load_settings

__all__ = ["BatchSpec", "job_notebook", "packaged_notebooks", "parameter_names"]

_SET_BY_THE_BATCH = ("source", "output_dir", "overrides", "seed")


def job_notebook(
    name: str | os.PathLike,  # a path, or the name of one of the package's notebooks
) -> Path:
    "Find a job's notebook; raises `BatchError` that lists the package's notebooks"
    packaged = _packaged_folder() / f"{name}.ipynb"
    if Path(name).is_file():
        return Path(name)
    if packaged.is_file() and "source" in parameter_names(packaged):
        return packaged
    if packaged.is_file():
        raise BatchError(
            f"{name}: this notebook is no job for one recording: it takes no `source`. Run it by itself: "
            f"papermill {packaged} {name}.ipynb. A batch runs {', '.join(packaged_notebooks())}, or your own"
        )
    raise BatchError(f"{name}: no such notebook; give a path, or one of {', '.join(packaged_notebooks())}")


def packaged_notebooks() -> list[str]:
    "Names of the package's job notebooks that take a `source`: a batch gives them one recording each"
    paths = _packaged_folder().glob("*.ipynb")
    return sorted(path.stem for path in paths if "source" in parameter_names(path))


def _packaged_folder():
    return Path(str(files("ecg_audio_nb") / "assets/jobs"))


def notebook_digest(
    path: Path,  # of a notebook
) -> str:  # SHA-256, hexadecimal
    "Digest of a notebook's cells, without their outputs"
    return hashlib.sha256(json.dumps(cells_of(path)).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class BatchSpec:
    "What a batch does with every source"

    notebook: Path
    profile: str | None = None  # section of settings.ini
    overrides: Mapping = field(
        default_factory=dict
    )  # settings by dotted name, and parameters of the notebook
    timeout: float | None = None  # seconds that a job may take
    max_tries: int = 3  # tries before failures of the infrastructure end a job


def job_parameters(
    spec: BatchSpec,
) -> dict:  # by name; without `source` and `seed`, which differ from job to job
    "Parameters that the notebook gets; raises `BatchError` and `SettingsError`"
    parameters = parameters_of(spec.notebook)
    names = list(parameters)
    _check_kernel(spec.notebook)
    own, settings = {}, {}
    for key, value in spec.overrides.items():
        if key in names and key not in _SET_BY_THE_BATCH:
            own[key] = _absolute(check_parameter(parameters[key], value))
        elif os.sep in str(value) or key == "diarize.voices":
            settings[key] = _absolute(value)
        else:
            settings[key] = value
    load_settings(settings, spec.profile)  # a wrong setting is an error before anything runs
    if "source" not in names:
        raise BatchError(f"{spec.notebook}: its cell `parameters` assigns no `source`; add `source = None`")
    if settings and "overrides" not in names:
        raise BatchError(
            f"{spec.notebook}: it takes no settings, but {', '.join(settings)} were given; "
            f"its parameters are {', '.join(names)}"
        )
    given = {"output_dir": ".", "profile": spec.profile, "overrides": settings}
    return {name: value for name, value in given.items() if name in names} | own


_ANALYZING = ("analyze", "benchmark")  # notebooks that analyze every source with the job's settings


def check_recognizer_here(spec: BatchSpec) -> None:
    "Refuse settings that every job would fail with here; raises `ModelError` and `TranscribeError`"
    own = {notebook_digest(job_notebook(name)) for name in _ANALYZING}
    if notebook_digest(spec.notebook) not in own:
        return
    from ecg_audio_nb.speech.transcribe import check_recognizer

    check_recognizer(load_settings(job_parameters(spec).get("overrides"), spec.profile))


def _check_kernel(path):
    "Raise `BatchError` if papermill would find no kernel or language"
    metadata = json.loads(Path(path).read_text(encoding="utf-8")).get("metadata", {})
    kernelspec = metadata.get("kernelspec", {})
    if not kernelspec.get("name") or not (kernelspec.get("language") or "language_info" in metadata):
        raise BatchError(
            f"{path}: it names no kernel and language, so papermill can't run it; "
            "open it in JupyterLab and save it once"
        )


def _absolute(value):
    "A path that exists, made absolute: a job runs in another folder"
    return os.path.abspath(value) if isinstance(value, str) and os.path.exists(value) else value


def to_jobs(
    queue: Queue,
    spec: BatchSpec,
    sources: Iterable[str],  # absolute paths and URLs
) -> Iterator[Job | str]:  # a job that is not yet in the queue, or why there is none for this source
    "Make a job for each source; raises `BatchError` and `SettingsError` for what is wrong with the spec"
    shared, digest, names = (
        job_parameters(spec),
        notebook_digest(spec.notebook),
        parameter_names(spec.notebook),
    )
    identity = {**shared, **_identity(queue, spec, shared)}
    kept = _keep_identity(queue, identity)
    for source in sources:
        try:
            content = content_key(queue, source)
        except BatchError as e:
            yield str(e)
            continue
        id = job_id(content, digest, identity)
        parameters = {"source": source, **shared}
        if "seed" in names:
            parameters["seed"] = _seed(id)
        task = {"notebook": digest, "parameters": parameters, "timeout": spec.timeout}
        task |= {"content": content, "identity": kept}
        yield Job(id, safe_name(source_stem(source)), source, task, max_tries=spec.max_tries)


def _seed(id):
    return int(id[:8], 16)


def _identity_file(queue, digest):
    return queue.path.parent / "identities" / f"{digest[:16]}.json"


def _keep_identity(queue, identity):
    "Keep what ids depend on beside source and notebook; returns its digest"
    digest = digest_of(identity)
    path = _identity_file(queue, digest)
    if not path.exists():
        write_atomic(path, json.dumps(identity))
    return digest


def job_of_changed_source(
    queue: Queue,
    job: Job,  # as it stands in the queue
) -> Job | None:  # None: its source is what it was, or can't be read, or an older release added it
    "The same work on what a job's source is now, if that has changed since the job was added"
    task = job.task
    try:
        identity = json.loads(_identity_file(queue, task["identity"]).read_text())
        content = content_key(queue, job.source)
    except (KeyError, OSError, ValueError):  # a source that can't be read is the job's own error
        return None
    if content == task["content"]:
        return None
    id = job_id(content, task["notebook"], identity)
    parameters = dict(task["parameters"])
    if "seed" in parameters:
        parameters["seed"] = _seed(id)
    changes = {"content": content, "parameters": parameters, "was": [*task.get("was", []), job.id]}
    return replace(job, id=id, task=task | changes)


def _identity(queue, spec, parameters):
    "What a job's id depends on beside source, notebook and parameters"
    settings = load_settings(parameters.get("overrides"), spec.profile)
    in_force = settings.model_dump(mode="json", exclude=NOT_IN_RESULTS)
    identity = {"settings": in_force, "inputs": dict(_input_digests(queue, parameters))}
    if folder := in_force["diarize"]["voices"]:
        from ecg_audio_nb.speech.voice_prints import prints_digest

        identity["voices"] = prints_digest(folder)
    return identity


def _input_digests(queue, parameters):
    "Digests of the files that parameters name: corrected references make another job"
    for key, path in parameters.items():
        if key == "output_dir" or not isinstance(path, str) or not os.path.isabs(path):
            continue
        if os.path.isfile(path):
            paths = [path]
        else:
            paths = sorted(str(p) for p in Path(path).rglob("*") if p.is_file())
        yield key, [file_digest(queue, p) for p in paths]


def enqueue(
    queue: Queue,
    spec: BatchSpec,
    sources: Iterable[str],  # absolute paths and URLs
    store: Store,  # a job counts as done only if its results are there
) -> tuple[
    list[Job], list[str]
]:  # the jobs as they stand in the queue; notes, and errors of unreadable sources
    "Add the jobs that are missing"
    jobs, notes, published = {}, [], store.names()
    for job in to_jobs(queue, spec, sources):
        if isinstance(job, str):
            notes.append(job)
        elif job.id in jobs:
            first = redact(jobs[job.id].source)
            notes.append(f"note: {redact(job.source)} is the same recording as {first}; it is processed once")
        else:
            jobs[job.id] = _with_free_name(queue, job, store)
    _keep_notebook(queue, spec.notebook, notebook_digest(spec.notebook))
    queued = {job.id: job for job, _ in add(queue, jobs.values())}
    without_results = [job for job in queued.values() if job.state == "done" and job.name not in published]
    queued |= {job.id: job for job in retry(queue, without_results)}
    return list(queued.values()), notes


def _with_free_name(queue, job, store):
    "Give a job a name under which no folder of somebody else and no other recording's result lies"
    key = content_key(queue, job.source)
    sha256 = key.removeprefix("sha256:") if key.startswith("sha256:") else None
    return replace(job, name=f"{job.name}-{job.id[:8]}") if store.is_taken(job.name, sha256) else job


def kept_notebook(
    queue: Queue,
    digest: str,  # of `notebook_digest`
) -> Path:
    "The copy of a notebook that the queue's jobs run"
    return queue.path.parent / "notebooks" / f"{digest[:16]}.ipynb"


def _keep_notebook(queue, path, digest):
    copy = kept_notebook(queue, digest)
    if not copy.exists():
        write_atomic(copy, Path(path).read_bytes())
