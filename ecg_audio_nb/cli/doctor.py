"""`ecg doctor`: the checks of `ecg_audio_nb.environment`, as a table or as JSON"""

from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import JsonObject, exit_usage, option, print_table

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


def _print_findings(findings):
    from rich.text import Text

    rows = []
    for finding in findings:
        lines = [finding.observed]
        if finding.why:
            lines.append(finding.why)
        lines += [f"  $ {command}" for command in finding.remedy]
        rows.append((finding.name, Text(finding.status, style=_STYLE[finding.status]), "\n".join(lines)))
    print_table(("check", "", "what was found, why it matters and the remedy"), rows)


def _verdict(report):
    failed = [finding.name for finding in report.findings if finding.status == "fail"]
    return "fit" if report.ok else f"not fit: {', '.join(failed)}"


def doctor(
    as_json: JsonObject = False,
    mend: Annotated[bool, option("Apply the safe fixes, then check again.", "--fix")] = False,
    profile: Annotated[Optional[str], option("Check for this section of settings.ini.", "--profile")] = None,
    only: Annotated[Optional[list[str]], option("Run one check, such as cuda; repeatable.", "--only")] = None,
    smoke: Annotated[bool, option("Also run every stage on two seconds of speech.", "--smoke")] = False,
):
    """Check this machine: packages, GPU, models, disk.

    Prints the commands that fix each problem. Exit status 0 if no check fails, else 1.
    """
    import json

    from ecg_audio_nb.environment import fix, run_checks

    try:
        report = run_checks(profile, only, smoke)
    except ValueError as e:
        exit_usage(f"doctor: {e}")
    fixed = fix(report.findings) if mend else []
    if fixed:
        report = run_checks(profile, only, smoke)
    if as_json:
        typer.echo(json.dumps({**report.as_dict(), "fixed": fixed}))
    else:
        for line in fixed:
            typer.echo(f"fixed: {line}")
        _print_findings(report.findings)
        typer.echo(_verdict(report))
    if not report.ok:
        raise typer.Exit(1)
