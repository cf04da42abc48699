"""`ecg jobs`: list, retry, cancel and delete the jobs of a batch or of the service

The queue of a batch lies in its output folder (`-o`); the service's lies in `ECG_DATA_DIR/service`. A job
is named by its name or by the beginning of its id.

| state | meaning | what changes it |
| --- | --- | --- |
| `queued` | waits for a runner | `ecg batch` or the service runs it; `jobs cancel` |
| `running` | a runner works on it | its end; `jobs cancel` when the current stage ends |
| `done`, `failed`, `cancelled` | ended | `jobs retry` queues it again, `jobs prune` deletes it |
"""

from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import (
    JobIds,
    JsonList,
    JsonObject,
    OutputOption,
    argument,
    command_group,
    exit_on,
    exit_usage,
    open_queue,
    option,
    print_table,
)

jobs = command_group("List, retry, cancel and delete the jobs of a batch.")


_MOST_NAMED = 3  # sources in a command


def how_to_run(queue, jobs, output: str) -> str:
    "Say what runs these queued jobs; a batch runs every job of its folder, whichever of them it is given"
    from ecg_audio_nb.batch.monitor import is_of_service

    them = "it" if len(jobs) == 1 else "them"
    if is_of_service(jobs[0]):
        if _service_runs(queue):
            return f"the running service takes {them}"
        return f"to run {them}: ecg serve"
    options = {" ".join(_options(queue, job)) for job in jobs}
    if len(jobs) <= _MOST_NAMED and len(options) == 1:
        return f"to run {them}: {_batch_command(queue, jobs, output)}"
    command = _batch_command(queue, jobs[:1], output)
    return f"to run all {len(jobs)}: {command} (or the command that added them)"


def _batch_command(queue, jobs, output):
    import shlex

    sources = [job.source for job in jobs]
    return shlex.join(["ecg", "batch", *sources, "-o", output, *_options(queue, jobs[0])])


def _options(queue, job):
    "The options of `ecg batch` that make this job and no other: notebook, profile and settings"
    import json

    from ecg_audio_nb.batch.monitor import changed_settings

    words = _notebook_option(queue, job.task.get("notebook"))
    for key, value in changed_settings(job).items():
        if key == "profile":
            words += ["--profile", str(value)]
        else:
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return words


def _notebook_option(queue, digest):
    "Name the notebook of a job, if it is not `analyze`; one that is not the package's by its copy"
    from ecg_audio_nb.batch.spec import job_notebook, kept_notebook, notebook_digest, packaged_notebooks

    for name in packaged_notebooks():
        if digest in (None, notebook_digest(job_notebook(name))):
            return [] if name == "analyze" else ["--notebook", name]
    return ["--notebook", str(kept_notebook(queue, digest))]


def _service_runs(queue) -> bool:
    "Whether a service works on this queue: it holds the lock of its folder"
    import fcntl

    try:
        with open(queue.path.parent.parent / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@jobs.command("status")
def jobs_status(output: OutputOption = ".", as_json: JsonObject = False):
    """Count jobs by state, and show the running ones.

    For each running job, it shows the stage and the progress. Where jobs wait and none runs, it says why.
    """
    import json

    with exit_on(ValueError, OSError):
        from ecg_audio_nb.batch.monitor import describe_stage, first_wait, why_nothing_runs
        from ecg_audio_nb.batch.queue import counts, list_jobs

        queue = open_queue(output)
        numbers, running = counts(queue), list_jobs(queue, "running")
        waiting, reason = list_jobs(queue, "queued"), why_nothing_runs(queue)
    if as_json:
        at_work = [{"name": job.name, "stage": job.stage, "share": job.progress} for job in running]
        typer.echo(json.dumps({**numbers, "at_work": at_work, "due_in": first_wait(queue), "why": reason}))
        return
    typer.echo(", ".join(f"{number} {state}" for state, number in numbers.items()))
    for job in running:
        typer.echo(f"  {describe_stage(job)}")
    if reason:
        typer.echo(f"{reason}; {how_to_run(queue, waiting, output)}")


@jobs.command("list")
def jobs_list(
    output: OutputOption = ".",
    state: Annotated[
        Optional[list[str]],
        option("Only jobs in this state: queued, running, done, failed or cancelled; repeatable.", "--state"),
    ] = None,
    limit: Annotated[int, option("List at most this many jobs, the latest ones.", "--limit")] = 200,
    as_json: JsonList = False,
):
    """List jobs in the order they were added.

    Shows the id, the state, the name of the results, the source, and the settings that were changed.
    """
    import json

    from ecg_audio_nb.batch.queue import STATES, as_record, list_jobs

    for name in state or []:
        if name not in STATES:
            exit_usage(f"jobs list: no state {name}; there are {', '.join(STATES)}")
    with exit_on(ValueError, OSError):
        rows = list_jobs(open_queue(output), *(state or []), limit=limit)
    if as_json:
        typer.echo(json.dumps([as_record(job) for job in rows]))
    else:
        _print_jobs(rows)


def _print_jobs(rows):
    from ecg_audio_nb.audio.fetch import redact
    from ecg_audio_nb.batch.monitor import format_settings

    table = []
    for job in rows:
        notes = [text for text in (format_settings(job), job.error) if text]
        table.append((job.id[:8], job.state, job.name, redact(job.source), "\n".join(notes)))
    print_table(("id", "state", "name", "source", "settings, error"), table)


@jobs.command("show")
def jobs_show(
    key: Annotated[str, argument("ID", "Name of a job, or the beginning of its id.")],
    output: OutputOption = ".",
    as_json: Annotated[bool, option("Print all fields and attempts as JSON.", "--json")] = False,
):
    """Show one job with all its attempts.

    Shows source, changed settings, times, and result or error.
    """
    import json

    with exit_on(ValueError, OSError):
        from ecg_audio_nb.batch.monitor import describe_job
        from ecg_audio_nb.batch.queue import as_record, attempts, find, seconds_until_due

        queue = open_queue(output)
        job = find(queue, key)
        tried, due_in = attempts(queue, job), seconds_until_due(queue, job)
    if as_json:
        typer.echo(json.dumps({**as_record(job), "attempts": tried}, indent=1))
    else:
        typer.echo(describe_job(job, tried, due_in))


def _update_page(output, queue):
    "Let a batch's `index.html` show the present states; a service has none"
    from ecg_audio_nb.batch.monitor import IndexPage
    from ecg_audio_nb.batch.runner import open_store
    from ecg_audio_nb.settings import load_settings

    store = open_store(output, load_settings().runtime.data_dir)
    if "index.html" in store.names():
        IndexPage(queue, store).write()


@jobs.command("retry")
def jobs_retry(
    keys: Annotated[
        Optional[list[str]],
        argument("[ID...]", "Names of jobs, or beginnings of their ids (default: all failed jobs)."),
    ] = None,
    output: OutputOption = ".",
):
    """Queue finished jobs again (default: the failed ones).

    The jobs run at the next `ecg batch` into the same folder. Prints that command. `ecg batch --retry-failed`
    does both in one step.
    """
    with exit_on(ValueError, OSError):
        from ecg_audio_nb.batch.queue import find, list_jobs, retry

        queue = open_queue(output)
        wanted = [find(queue, key) for key in keys] if keys else list_jobs(queue, "failed")
        queued = retry(queue, wanted)
        _update_page(output, queue)
    for job in queued:
        typer.echo(f"queued again: {job.name}")
    if queued:
        text = how_to_run(queue, queued, output)
        typer.echo(f"{text[0].upper()}{text[1:]}")
    else:
        typer.echo("nothing to queue again: no job has failed; name finished jobs to run them once more")


@jobs.command("cancel")
def jobs_cancel(keys: JobIds, output: OutputOption = "."):
    """Cancel queued or running jobs.

    A queued job is cancelled at once, a running one when its current stage ends.
    """
    with exit_on(ValueError, OSError):
        from ecg_audio_nb.batch.queue import ENDED, cancel, find

        queue = open_queue(output)
        for job in [find(queue, key) for key in keys]:
            state = cancel(queue, job)
            if job.state in ENDED:
                text = f"{state} already; there is nothing to cancel"
            else:
                text = "its runner is asked to stop" if state == "running" else state
            typer.echo(f"{job.name}: {text}")
        _update_page(output, queue)


@jobs.command("prune")
def jobs_prune(
    output: OutputOption = ".",
    days: Annotated[float, option("Only jobs that ended more than this many days ago.", "--days")] = 30,
    state: Annotated[
        Optional[list[str]],
        option("Only jobs in this state: done, failed or cancelled; repeatable.", "--state"),
    ] = None,
):
    """Delete finished jobs from the queue; the results of a batch stay.

    If you give the source of a deleted job to `ecg batch` again, the job runs again.
    """
    import time

    if not days >= 0:
        exit_usage(f"jobs prune: --days {days:g}: at least 0")
    ended = ("done", "failed", "cancelled")
    for name in state or []:
        if name not in ended:
            exit_usage(f"jobs prune: --state {name}: only jobs that are {', '.join(ended)} can be deleted")
    with exit_on(ValueError, OSError):
        from ecg_audio_nb.batch.queue import prune

        number = prune(open_queue(output), time.time() - 86400 * days, state or ended)
    if number == 1:
        typer.echo("deleted: 1 job; if you give its recording again, it runs again")
    else:
        warning = "; if you give their recordings again, they run again" if number else ""
        typer.echo(f"deleted: {number} jobs{warning}")
