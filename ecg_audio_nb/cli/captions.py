"""`ecg captions`: captions that show the voice, as an .ass file or drawn into the recording"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import ResultFile, exit_on, option


def _default_output(result: Path, burn: Path | None) -> Path:
    "Name the file to write, beside the result or the recording"
    if burn:
        return burn.with_name(burn.stem + ".captions.mp4")
    return result.with_name(result.stem + ".ass")


def captions(
    result: ResultFile,
    output: Annotated[
        Optional[Path], option("The .ass file to write; with --burn, the video.", "-o", "--output")
    ] = None,
    style: Annotated[
        str, option("plain, karaoke, dynamic, or your own style file (.toml).", "--style")
    ] = "dynamic",
    burn: Annotated[Optional[Path], option("Draw the captions into this recording.", "--burn")] = None,
):
    """Write captions that show loudness, speaker and pitch.

    The size of a word follows its loudness, its colour the speaker, its slant the pitch. Writes an .ass
    file, or with
    --burn a video with the captions drawn into it.
    """
    import sys
    import tempfile

    from ecg_audio_nb.results.captions import burn as draw
    from ecg_audio_nb.results.captions import frame_size, write_captions
    from ecg_audio_nb.schema import read_result

    target = output or _default_output(result, burn)
    with exit_on(ValueError, OSError):
        if not burn:
            typer.echo(write_captions(read_result(result), target, style))
            return
        bar = typer.progressbar(length=100, label=burn.name, file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder, bar:
            ass = Path(folder) / "captions.ass"
            write_captions(read_result(result), ass, style, frame_size(burn))
            draw(burn, ass, target, lambda fraction: bar.update(round(100 * fraction) - bar.pos))
        typer.echo(target)
