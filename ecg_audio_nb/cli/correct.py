"""`ecg correct`: a file that was edited in Praat, ELAN or a caption editor, read back into its result"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import ResultFile, echo_err, exit_on, option
from ecg_audio_nb.cli.progress import stage_bars


def correct(
    result: ResultFile,
    edited: Annotated[
        Path,
        option("The edited file, exported from this result: .TextGrid, .eaf, .srt, .vtt or .ass.", "--from"),
    ],
    output: Annotated[
        Optional[Path], option("The result to write (default: RESULT.corrected.json).", "-o", "--output")
    ] = None,
    media: Annotated[
        Optional[Path],
        option("The recording, to measure what was changed (default: found beside the result).", "--media"),
    ] = None,
    style: Annotated[
        Optional[str],
        option("Style that the captions were exported in (default: found out).", "--style"),
    ] = None,
    force: Annotated[
        bool,
        option(
            "Take the file though it is about another recording, or few of its words are the result's.",
            "--force",
        ),
    ] = False,
):
    """Correct a result by an edited file: words, times, speakers.

    Words that were not changed keep their times, confidence and measures. Without the recording, what was
    changed has no measures.
    """
    from contextlib import nullcontext

    from ecg_audio_nb.results.edited_files import correct_from
    from ecg_audio_nb.results.export import to_json, write_files
    from ecg_audio_nb.schema import read_result
    from ecg_audio_nb.speech.linked_speakers import find_recording

    target = output or result.with_suffix(".corrected.json")
    with exit_on(ValueError, OSError):
        analysis = read_result(result)
        _check_target(target, analysis)
        recording = media or find_recording(analysis, [result.parent, edited.parent, Path()])
        with stage_bars(recording.name) if recording else nullcontext() as on_event:
            corrected = correct_from(analysis, edited, recording, style, force, on_event)
        write_files({target: to_json(corrected.analysis)})
    for note in (*corrected.notes, *_new_warnings(analysis, corrected.analysis)):
        echo_err(f"note: {note}")
    typer.echo(f"{corrected.summary}: {target}")


def _check_target(target: Path, analysis) -> None:
    "Refuse to replace a result of another recording"
    from ecg_audio_nb.core.identity import recorded_digest
    from ecg_audio_nb.results.corrections import CorrectionError

    own, there = analysis.metadata.source_sha256, recorded_digest(target)
    if own and there and own != there:
        raise CorrectionError(
            f"{target} is a result of another recording (SHA-256 {there[:8]}…, not {own[:8]}…); "
            "choose another name with -o"
        )


def _new_warnings(before, after) -> list[str]:
    from ecg_audio_nb.results.corrections import BY_HAND

    return [w for w in after.metadata.warnings if w not in before.metadata.warnings and w != BY_HAND]
