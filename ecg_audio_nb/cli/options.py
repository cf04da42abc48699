"""Options and helpers that several commands share

`ecg --help` must answer at once: this module imports typer and nothing heavier, and every command imports
what it needs inside its function.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    "A command that says of a refused value what it must be, as settings do"

    def parse_args(self, ctx, args):
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as e:
            if errors := getattr(e.__cause__, "errors", None):  # pydantic's
                from ecg_audio_nb.core.rules import broken_rule

                e.message = f"{errors()[0]['input']}: {broken_rule(errors()[0])}"
            raise


class GroupedCommand(Command):
    "A command whose help lists its options under headings"

    def format_options(self, ctx, formatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                heading = "Arguments"
            else:
                heading = getattr(parameter, "rich_help_panel", None) or "Options"
            sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class GroupedCommands(TyperGroup):
    "The `ecg` command, whose help lists the commands under headings"

    def format_commands(self, ctx, formatter) -> None:
        names = self.list_commands(ctx)
        if not names:
            return
        limit = formatter.width - 6 - max(map(len, names))
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in names:
            command = self.get_command(ctx, name)
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            sections.setdefault(heading, []).append((name, command.get_short_help_str(limit)))
        for heading in sorted(sections, key=_HEADINGS.index):
            with formatter.section(heading):
                formatter.write_dl(sections[heading])


RECORDING, BATCH, QUALITY, SERVICE, MACHINE = _HEADINGS = [
    "One or a few recordings",
    "Many recordings",
    "Quality",
    "Service",
    "This machine",
]


class _Group(typer.Typer):
    def command(self, name: str | None = None, **more: Any):
        return super().command(name, **{"cls": Command, **more})


def command_group(help: str, **more: Any) -> typer.Typer:
    "Create a group of commands, such as `ecg jobs`"
    return _Group(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        help=help,
        **more,
    )


def option(help: str, *names: str, group: str | None = None) -> Any:
    "Declare an option; without `names` it is called as its parameter"
    return typer.Option(*names, help=help, rich_help_panel=group)


def argument(metavar: str, help: str) -> Any:
    "Declare an argument"
    return typer.Argument(metavar=metavar, help=help)


SETTINGS = "Settings"  # heading of the options that change settings

ResultFile = Annotated[
    Path, argument("RESULT.json", "A result (.json) that `ecg analyze` or `ecg batch` wrote.")
]
ResultsFolder = Annotated[Path, argument("DIR", "Folder of results that `ecg analyze` or `ecg batch` wrote.")]
ProfileOption = Annotated[
    Optional[str],
    option("Section of settings.ini: t4, cpu, fast, demo or your own.", "--profile", group=SETTINGS),
]


def set_option(help: str, metavar: str = "KEY=VALUE") -> Any:
    "Declare the option --set, with what a command takes there"
    panel = SETTINGS
    return Annotated[
        Optional[list[str]], typer.Option("--set", metavar=metavar, help=help, rich_help_panel=panel)
    ]


SetOption = set_option("Any setting of `ecg settings`; repeatable.", "STAGE.KEY=VALUE")
OutputOption = Annotated[
    str, option("Folder of the batch or of the service, or s3://bucket/prefix.", "-o", "--output")
]
JobIds = Annotated[list[str], argument("ID...", "Names of jobs, or beginnings of their ids.")]
JsonObject = Annotated[bool, option("Print one JSON object.", "--json")]
JsonList = Annotated[bool, option("Print one JSON list.", "--json")]


def echo_err(message: str) -> None:
    "Print a line to standard error"
    typer.echo(message, err=True)


@contextmanager
def exit_on(*errors: type[Exception]) -> Iterator[None]:
    "Turn these errors into one line on standard error and exit status 1"
    try:
        yield
    except errors as e:
        echo_err(f"ecg: {e}")
        raise typer.Exit(1) from None


def exit_usage(message: str) -> None:
    "Print what is wrong with the command line and exit with status 2"
    echo_err(f"ecg: {message}")
    raise typer.Exit(2)


def overrides(
    lines: Sequence[str],  # each `stage.key=value`
    **options: object,  # settings by name, `__` for the dot; None: not given
) -> dict[str, object]:  # for `load_settings`
    "Collect the settings of a command line; `--set` wins over the other options"
    given = {name.replace("__", "."): value for name, value in options.items() if value is not None}
    for line in lines:
        key, equals, value = line.partition("=")
        if not equals:
            exit_usage(f"--set {line}: write it as stage.key=value, such as transcribe.engine=whisper")
        given[key.strip()] = value.strip()
    return given


def open_queue(output: str):
    "Open the job queue of a batch; raises `QueueError` where no batch was run"
    from ecg_audio_nb.batch.queue import Queue, QueueError
    from ecg_audio_nb.batch.runner import open_store
    from ecg_audio_nb.settings import load_settings

    path = open_store(output, load_settings().runtime.data_dir).queue_file()
    if not path.exists():
        raise QueueError(
            f"{output}: no batch was ever run into this folder, and no service keeps its jobs here; "
            "name the folder with -o"
        )
    return Queue(path)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> None:
    "Print rows of text below their headings; the columns named in `right` are aligned to the right"
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    width = None if Console().is_terminal else 120
    Console(width=width).print(table)
