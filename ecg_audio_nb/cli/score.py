"""`ecg evaluate` and `ecg scores`: results against references"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import (
    JsonObject,
    ResultFile,
    ResultsFolder,
    echo_err,
    exit_on,
    exit_usage,
    option,
)

Numbers = Annotated[
    bool, option("Take a number in digits and in words for the same (English always does).", "--numbers")
]


def evaluate(
    result: ResultFile,
    transcript: Annotated[
        Optional[Path], option("Reference transcript: an .stm or .txt file.", "--transcript")
    ] = None,
    turns: Annotated[Optional[Path], option("Reference speaker turns: an .rttm file.", "--turns")] = None,
    numbers: Numbers = False,
    as_json: JsonObject = False,
):
    """Score one result against a reference.

    Prints the word and character error rates, how the texts were normalized, the diarization error rate and
    the number of speakers; lower error rates are better.
    """
    import json

    if transcript is None and turns is None:
        exit_usage("evaluate: give a reference, --transcript REF.stm|.txt, --turns REF.rttm or both")
    from ecg_audio_nb.research.metrics import evaluate as run
    from ecg_audio_nb.schema import read_result

    with exit_on(ValueError, ImportError):
        scores = run(read_result(result), transcript, turns, numbers=numbers)
    if as_json:
        typer.echo(json.dumps(scores.as_dict()))
        return
    for name, value, detail in scores.rows():
        typer.echo(f"{name:<22}{value:>10}  {detail}")


def scores(
    results: ResultsFolder,
    references: Annotated[
        Path, option("Folder of references: NAME.stm, .txt, .rttm, .ctm or .TextGrid.", "--references")
    ],
    against: Annotated[
        Optional[Path],
        option(
            "Folder of other results of the same files: test whether the difference is significant.",
            "--against",
        ),
    ] = None,
    page: Annotated[
        Optional[Path], option("Write an HTML page with the passages that have most errors.", "--page")
    ] = None,
    numbers: Numbers = False,
    as_json: JsonObject = False,
):
    """Score a folder of results against references.

    Lower is better for every score. A reference belongs to the recording whose SHA-256 it names: in a comment
    `;; source_sha256 HEX`, or in a file NAME.sha256 beside it. One that names none belongs to the result of
    the same name, in a subfolder to that in a folder of the same name.
    """
    import json
    from dataclasses import asdict

    from ecg_audio_nb.core.files import write_atomic
    from ecg_audio_nb.research.metrics import (
        aggregate,
        compare_scores,
        describe_matches,
        normalizations,
        score_folder,
        score_report,
    )

    with exit_on(ValueError, ImportError, OSError):
        scored = score_folder(results, references, numbers)
        others = score_folder(against, references, numbers) if against else []
        differences = compare_scores(scored, others) if against else []
        if page:
            write_atomic(page, score_report(scored, f"{results.name} against {references.name}"))
    totals, how, note = aggregate(scored), normalizations([*scored, *others]), describe_matches(scored)
    if as_json:
        plain = {name: total.as_dict() for name, total in totals.items()}
        found = {"scores": plain, "differences": [asdict(d) for d in differences], "normalization": how}
        typer.echo(json.dumps({**found, "note": note}))
        return
    if note:
        echo_err(f"note: {note}")
    _print_scores(totals, how)
    for difference in differences:
        typer.echo(f"against {against}: {difference}")


def _print_scores(totals, normalizations):
    from ecg_audio_nb.research.metrics import format_score

    for name, total in totals.items():
        value, interval = format_score(name, total.value), ""
        if total.low is not None:
            interval = f"{format_score(name, total.low)} to {format_score(name, total.high)}"
        typer.echo(f"{name:<20}{value:>10}  {interval:<22}{total.files} files")
    for how in normalizations:
        typer.echo(f"{'normalization':<20}  {how}")
