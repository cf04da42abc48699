"""What a terminal shows while work runs

Nothing is drawn where standard error is no terminal, so that logs stay short.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ecg_audio_nb.cli.options import echo_err


@contextmanager
def stage_bars(title: str) -> Iterator[Callable | None]:
    "Give a hook for `analyze` that draws one bar per stage; None where nobody looks"
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        console.print(title, highlight=False, markup=False)
        tasks = {}

        def on_event(event):
            if event.status == "start":
                tasks[event.stage] = progress.add_task(event.stage, total=None)
            elif event.status == "progress":
                progress.update(tasks[event.stage], total=1, completed=event.fraction)
            else:
                progress.update(tasks[event.stage], total=1, completed=1)

        yield on_event


@contextmanager
def batch_view(console) -> Iterator[Callable]:
    "Give a hook for `batch` that draws the batch's progress and the stage of every running job"
    from rich.console import Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    from ecg_audio_nb.batch.runner import describe_stage, format_counts

    def draw(snapshot):
        total = sum(snapshot.counts.values())
        ended = sum(snapshot.counts[state] for state in ("done", "failed", "cancelled"))
        stages = [
            Text(f"  {describe_stage(job)}", style="dim", no_wrap=True, overflow="ellipsis")
            for job in snapshot.running
        ]
        bar = ProgressBar(total=total or 1, completed=ended, width=60)
        return Group(bar, Text(format_counts(snapshot)), *stages)

    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield lambda snapshot: live.update(draw(snapshot))


def timed_log(console) -> Callable[[str], None]:
    "Give a function that prints a line with the time before it"
    import time

    def log(line):
        stamp = time.strftime("%H:%M:%S")
        console.print(f"{stamp} {line}", highlight=False, markup=False, soft_wrap=True)

    return log


def print_notes(name: str, notes) -> None:
    "Print the warnings of a result to standard error"
    for note in notes:
        echo_err(f"{name}: note: {note}")
