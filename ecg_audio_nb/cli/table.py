"""`ecg table`: the words of many results in one file, for statistics"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import argument, echo_err, exit_on, exit_usage, option


def table(
    results: Annotated[
        list[Path],
        argument("RESULT...", "Folders of results, searched at any depth, or results (.json) one by one."),
    ],
    output: Annotated[
        Path, option("File to write; its ending says the format: .parquet or .csv.", "-o", "--output")
    ],
    rows: Annotated[
        str, option("What has a row of its own: words, segments, speakers or files.", "--rows")
    ] = "words",
    columns: Annotated[
        Optional[str], option("Columns to write, such as file,word,pitch_hz (default: all).", "--columns")
    ] = None,
):
    """Write one table of many results, for statistics.

    A row for every word, with its file, its speaker and everything that was measured of it. Runs no model.
    """
    from ecg_audio_nb.research.table import left_out_line, table_columns, write_table

    wanted = [name.strip() for name in columns.split(",") if name.strip()] if columns else None
    if output.suffix.lower() not in (".parquet", ".csv"):
        exit_usage(f"-o {output}: the ending says the format: .parquet or .csv")
    try:
        table_columns(rows, wanted)
    except ValueError as e:
        exit_usage(str(e))
    with exit_on(ValueError, OSError):
        done = write_table(results, output, rows, wanted)
    if done.left_out:
        echo_err(f"note: {left_out_line(done.left_out)}")
    typer.echo(f"{done.path}: {_number(done.rows, 'row')} of {_number(done.files, 'result')}")


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
