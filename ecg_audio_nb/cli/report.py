"""`ecg report`: one HTML page per result"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import ResultFile, exit_on, option


def report(
    result: ResultFile,
    media: Annotated[
        Optional[Path], option("The recording, to play it and to plot level and F0.", "--media")
    ] = None,
    output: Annotated[
        Optional[Path], option("The page to write (default: beside the result).", "-o", "--output")
    ] = None,
    embed: Annotated[
        Optional[bool],
        option("Embed the recording in the page (default: if it has at most 20 MB).", "--embed/--no-embed"),
    ] = None,
):
    """Write an HTML page: player, transcript, speakers, search.

    The page needs no network and no server. With --media it plays the recording and highlights each word as
    it is spoken.
    """
    from ecg_audio_nb.results.report import write_report
    from ecg_audio_nb.schema import read_result

    with exit_on(ValueError, OSError):
        page = output or result.with_suffix(".html")
        typer.echo(write_report(read_result(result), page, media, embed=embed))
