"""`ecg batch`: a notebook on many recordings, resumed by the same command

A key of `--set` with a dot is a setting; one without a dot is a parameter of the notebook, whose value gets
the type of its annotation or default (`batch.parameters`). Ctrl-C stops when the running stages end; a second
one stops at once.
"""

from contextlib import nullcontext
from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import (
    SETTINGS,
    ProfileOption,
    argument,
    exit_on,
    exit_usage,
    option,
    overrides,
    set_option,
)
from ecg_audio_nb.cli.progress import batch_view, timed_log

RUN = "How jobs run"
SOURCES_HELP = "Files, folders, quoted globs, lists (.txt, one source per line), URLs, s3:// prefixes."
_ENDED = ("done", "failed", "cancelled", "queued", "running")


def _workers(number, cluster, cold, spec):
    "Choose who runs the jobs: processes of this machine, or a Dask cluster"
    if cluster and not cold:
        from ecg_audio_nb.batch.dask import DaskWorkers

        return DaskWorkers(cluster)
    from ecg_audio_nb.batch.runner import LocalWorkers
    from ecg_audio_nb.batch.workers import default_number
    from ecg_audio_nb.core.extras import require_installed

    for package in ("papermill", "nbclient", "ipykernel"):  # said here once, not by every runner
        require_installed(package, "jobs", "ecg batch needs")
    number = number or default_number(spec)
    return LocalWorkers(number, engine=None) if cold else LocalWorkers(number)


def batch(
    sources: Annotated[list[str], argument("SOURCES...", SOURCES_HELP)],
    output: Annotated[
        str, option("Folder (or s3://bucket/prefix) for the results and the job queue.", "-o", "--output")
    ],
    notebook: Annotated[
        str,
        option(
            "Notebook to run: analyze, benchmark, evaluate, or the path of your own.",
            "--notebook",
            group=SETTINGS,
        ),
    ] = "analyze",
    profile: ProfileOption = None,
    set_: set_option("A setting of `ecg settings`, or a parameter of the notebook; repeatable.") = None,
    workers: Annotated[
        Optional[int],
        option(
            "Number of worker processes, each with a warm kernel (default: one per GPU).",
            "--workers",
            group=RUN,
        ),
    ] = None,
    timeout: Annotated[
        Optional[float],
        option(
            "Maximum seconds per job; a job that takes longer is retried, three attempts in all.",
            "--timeout",
            group=RUN,
        ),
    ] = None,
    retry_failed: Annotated[
        bool, option("Retry failed and cancelled jobs.", "--retry-failed", group=RUN)
    ] = False,
    watch: Annotated[
        bool,
        option("Keep running and process new files in the folders; stop with Ctrl-C.", "--watch", group=RUN),
    ] = False,
    cold: Annotated[
        bool,
        option(
            "Start a new kernel for every job: slower, with no state kept between jobs.",
            "--cold",
            group=RUN,
        ),
    ] = False,
    cluster: Annotated[
        Optional[str],
        option("Run the jobs on this Dask scheduler, such as tcp://10.0.0.5:8786.", "--cluster", group=RUN),
    ] = None,
):
    """Process many recordings; the same command resumes.

    Runs a notebook on every recording; each of these runs is a job. After a stop, run the same command again:
    it continues, and does not repeat finished jobs. OUTPUT/index.html shows all jobs. Exit status 1 if a job
    failed.
    """
    import threading

    if workers is not None and workers < 1:
        exit_usage(f"batch: --workers {workers}: at least 1")
    if timeout is not None and not timeout > 0:  # NaN too
        exit_usage(f"batch: --timeout {timeout:g}: more than 0 seconds")
    with exit_on(ValueError, ImportError, OSError):
        from rich.console import Console

        from ecg_audio_nb.batch.parameters import read_parameters
        from ecg_audio_nb.batch.runner import BatchSpec, job_notebook, stop_on_signals
        from ecg_audio_nb.batch.runner import batch as run

        console, stopping = Console(stderr=True), threading.Event()
        stop_on_signals(stopping)
        path = job_notebook(notebook)
        spec = BatchSpec(path, profile, read_parameters(path, overrides(set_ or [])), timeout)
        pool = _workers(workers, cluster, cold, spec)
        with batch_view(console) if console.file.isatty() else nullcontext() as on_snapshot:
            log = timed_log(console)
            jobs, unread = run(sources, output, spec, pool, watch, retry_failed, log, on_snapshot, stopping)
    _finish(jobs, unread, output, stopping.is_set())


def _finish(jobs, unread, output, stopped):
    "Print one line to standard output, and exit with status 1 if anything failed"
    counts = {state: sum(job.state == state for job in jobs) for state in _ENDED}
    parts = [f"{counts['done']} of {len(jobs)} done"]
    parts += [f"{counts[state]} {state}" for state in _ENDED[1:] if counts[state]]
    if unread:
        parts.append(f"{len(unread)} {'source' if len(unread) == 1 else 'sources'} not read")
    prefix = "stopped: " if stopped else ""
    typer.echo(f"{prefix}{', '.join(parts)}: {output.rstrip('/')}/index.html")
    if not stopped and (counts["failed"] or unread or not jobs):
        raise typer.Exit(1)
