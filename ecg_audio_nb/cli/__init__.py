"""The `ecg` command: one module per group of commands, each a thin layer over the package

`ecg --help` must answer at once, so each command imports what it needs inside its function.

| where | what goes there |
| --- | --- |
| files | results |
| standard output | the summary, or JSON with `--json` |
| standard error | progress, notes and errors, one line each |

| exit status | meaning |
| --- | --- |
| 0 | all fine |
| 1 | an input failed (the others are done), or something needed is missing |
| 2 | wrong usage: an unknown option, setting or name |
"""

from typing import Annotated

import typer

from ecg_audio_nb.cli import (
    analyze,
    batch,
    cache,
    callbacks,
    captions,
    correct,
    doctor,
    export,
    jobs,
    models,
    options,
    report,
    score,
    serve,
    settings,
    table,
    voices,
)

__all__ = ["app", "main"]

app = options.command_group(
    "Transcripts in which every word has a time, a speaker and a measured voice.",
    cls=options.GroupedCommands,
    pretty_exceptions_enable=False,
)


def _print_version(show: bool) -> None:
    if show:
        from ecg_audio_nb import __version__

        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
):
    pass


_COMMANDS = {
    options.RECORDING: (
        analyze.analyze,
        export.export,
        correct.correct,
        captions.captions,
        report.report,
    ),
    options.BATCH: (batch.batch, table.table),
    options.QUALITY: (score.evaluate, score.scores),
    options.SERVICE: (serve.serve,),
    options.MACHINE: (doctor.doctor, settings.settings),
}
_GROUPS = {
    options.BATCH: {"jobs": jobs.jobs, "voices": voices.voices},
    options.SERVICE: {"callbacks": callbacks.callbacks},
    options.MACHINE: {"models": models.models, "cache": cache.cache},
}

for _heading, _functions in _COMMANDS.items():
    for _function in _functions:
        app.command(cls=options.GroupedCommand, rich_help_panel=_heading)(_function)
for _heading, _named in _GROUPS.items():
    for _name, _group in _named.items():
        app.add_typer(_group, name=_name, rich_help_panel=_heading)


def main() -> None:
    "Run the `ecg` command"
    app()
