"""`ecg analyze`: recordings to results, one row of a table for each

Two recordings called `talk.mp4` in different folders must not overwrite each other's results. Within one
command `output_stems` proposes the names before the work begins, so that they do not depend on what fails.
Between commands the content decides: a name that another recording's results have gets the first digits of
the SHA-256, and the same recording keeps its name. A source that fails costs one line on standard error; the
others are still done, and the exit status is 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Any, Optional

import typer

from ecg_audio_nb.cli.options import (
    ProfileOption,
    SetOption,
    argument,
    echo_err,
    exit_on,
    exit_usage,
    option,
    overrides,
)
from ecg_audio_nb.cli.progress import print_notes, stage_bars

SPEAKERS, MODELS, RESULTS = "Speakers", "Models and language", "Results"

Sources = Annotated[list[str], argument("SOURCE...", "Audio or video files, or http(s):// or s3:// URLs.")]


@dataclass(frozen=True)
class Outcome:
    "What became of one source"

    source: str  # as shown: without passwords and signatures
    result: Any = None  # `Analysis`, or None where it failed
    error: str | None = None  # one line, or None


def output_stems(
    sources: Iterable[str],
) -> list[str]:  # one per source, all different, also where upper and lower case are the same
    "Choose the names of the results of one command"
    from ecg_audio_nb.audio.fetch import source_stem
    from ecg_audio_nb.core.files import short_stem

    taken, stems = set(), []
    for stem in (short_stem(source_stem(source)) for source in sources):
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        stems.append(name)
    return stems


def print_summary(outcomes: list[Outcome]) -> None:
    "Print a table of what was done to standard output"
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("file", "length", "words", "segments", "speakers", "seconds", "transcribed by"):
        table.add_column(name, justify="left" if name in ("file", "transcribed by") else "right")
    names = [PurePath(outcome.source).name for outcome in outcomes]
    for outcome, name in zip(outcomes, names):
        cells = _cells(outcome.result) if outcome.result else [*["–"] * 5, Text("failed", style="red")]
        table.add_row(Text(name if names.count(name) == 1 else outcome.source), *cells)
    Console().print(table)


def _cells(result) -> list[str]:
    about = result.metadata
    words = sum(word.kind == "word" for word in result.words)
    recognizer = about.models["transcribe"].name if "transcribe" in about.models else "nothing"
    return [
        f"{about.duration:.1f} s",
        str(words),
        str(about.total_segments),
        str(about.unique_speakers),
        f"{about.timing.processing_time:.1f}",
        recognizer,
    ]


def _one_line(name: str, error: Exception) -> str:
    "Describe an error of a source in one line that begins with the source's name"
    if not isinstance(error, ValueError):
        return f"{name}: unexpected {type(error).__name__}: {error}"[:500]
    text = str(error).removeprefix(f"{name}: ").removeprefix(f"{PurePath(name).name}: ")
    return f"{name}: {text}"


@dataclass
class _Folder:
    "Writes results into a folder, each under a name that no other recording has"

    path: Path
    settings: Any
    taken: set[str] = field(default_factory=set)  # names that this command wrote, folded

    def write(self, name: str, base: str, proposed: str, result) -> None:  # name: of the source, for notes
        from ecg_audio_nb.core.identity import lock_names

        with lock_names(self.settings.runtime.data_dir, self.path):
            self._write(name, base, proposed, result)

    def _write(self, name, base, proposed, result):
        from ecg_audio_nb.core.identity import folded, known_owners, own_stem, remember_owner
        from ecg_audio_nb.results.export import export

        data_dir, sha256 = self.settings.runtime.data_dir, result.metadata.source_sha256
        known, how = known_owners(data_dir, self.path), self.settings.export
        stem = own_stem(self.path, base, sha256, proposed, self.taken, known)
        if stem == f"{base}-{(sha256 or '')[:8]}":
            other = f"{base} is another recording's in {self.path}"
            echo_err(f"note: {name}: the results are called {stem}; {other}")
        unknown = [] if folded(stem) in known else self._unknown(stem)
        written = export(result, self.path, stem, how.formats, how.style, how.bom)
        if lost := [str(path) for path in written if path in unknown]:
            echo_err(f"note: {name}: replaced {', '.join(lost)}; nothing told whose they were")
        self.taken.add(folded(stem))
        remember_owner(data_dir, self.path, stem, sha256)

    def _unknown(self, stem: str) -> list[Path]:
        "Files of this name that do not say which recording they are about"
        from ecg_audio_nb.core.identity import files_named, owners_of

        return [] if owners_of(self.path, stem) else files_named(self.path, stem)


def _analyze_one(source: str, proposed: str, folder: _Folder) -> Outcome:
    "Analyze one source and write its files"
    from ecg_audio_nb.audio.fetch import redact
    from ecg_audio_nb.pipeline import analyze as run

    name, [base] = redact(source), output_stems([source])
    try:
        with stage_bars(name) as on_event:
            result = run(source, folder.settings, on_event)
        folder.write(name, base, proposed, result)
    except Exception as e:
        error = _one_line(name, e)
        echo_err(f"failed: {error}")
        return Outcome(name, error=error)
    print_notes(name, result.metadata.warnings)
    return Outcome(name, result)


def analyze(
    sources: Sources,
    output: Annotated[Path, option("Folder for the results.", "-o", "--output", group=RESULTS)] = Path("."),
    formats: Annotated[
        Optional[str],
        option("Files to write, such as json,srt,vtt,ttml,ass,csv,TextGrid.", "--formats", group=RESULTS),
    ] = None,
    silence_marks: Annotated[
        bool, option("Add [SILENCE] words for gaps without speech.", "--silence-marks", group=RESULTS)
    ] = False,
    features: Annotated[
        Optional[str], option("Voice measures: basic or full.", "--features", group=RESULTS)
    ] = None,
    language: Annotated[
        Optional[str],
        option(
            "Spoken language, such as en; auto detects it. An audio track in this language is preferred.",
            "--language",
            group=MODELS,
        ),
    ] = None,
    engine: Annotated[
        Optional[str], option("Engine of all stages: auto, whisper or whisperx.", "--engine", group=MODELS)
    ] = None,
    model: Annotated[
        Optional[str], option("Whisper model: a name or a folder.", "--model", group=MODELS)
    ] = None,
    align_model: Annotated[
        Optional[str], option("Alignment model: a name or a folder.", "--align-model", group=MODELS)
    ] = None,
    device: Annotated[
        Optional[str], option("Where models run: auto, cpu or cuda.", "--device", group=MODELS)
    ] = None,
    no_transcribe: Annotated[
        bool,
        option("Skip recognition: speaker turns and voice measures only.", "--no-transcribe", group=MODELS),
    ] = False,
    num_speakers: Annotated[
        Optional[int], option("Number of speakers, if you know it.", "--num-speakers", group=SPEAKERS)
    ] = None,
    min_speakers: Annotated[
        Optional[int], option("Minimum number of speakers.", "--min-speakers", group=SPEAKERS)
    ] = None,
    max_speakers: Annotated[
        Optional[int], option("Maximum number of speakers.", "--max-speakers", group=SPEAKERS)
    ] = None,
    no_diarize: Annotated[
        bool, option("Skip diarization: words get no speaker.", "--no-diarize", group=SPEAKERS)
    ] = False,
    profile: ProfileOption = None,
    set_: SetOption = None,
):
    """Transcribe recordings: words, speakers, measured voices.

    Writes NAME.json and the other formats into the output folder, and prints one line per recording. Results
    of another recording that are called NAME are left alone: the new ones are then called NAME-HASH. A
    recording that fails does not stop the others; the exit status is then 1.
    """
    from ecg_audio_nb.models import keep_heaps
    from ecg_audio_nb.results.caption_styles import CaptionError, caption_style
    from ecg_audio_nb.settings import SettingsError, load_settings

    keep_heaps()
    given = overrides(
        set_ or [],
        engine=engine,
        runtime__device=device,
        transcribe__language=language,
        transcribe__model=model,
        transcribe__enabled=False if no_transcribe else None,
        align__model=align_model,
        diarize__enabled=False if no_diarize else None,
        diarize__num_speakers=num_speakers,
        diarize__min_speakers=min_speakers,
        diarize__max_speakers=max_speakers,
        acoustics__features=features,
        export__formats=formats,
        export__silence_marks=True if silence_marks else None,
    )
    try:
        settings = load_settings(given, profile)
        if settings.export.style:
            caption_style(settings.export.style)
    except (SettingsError, CaptionError) as e:
        exit_usage(str(e))
    with exit_on(ValueError):
        from ecg_audio_nb.speech.transcribe import check_recognizer

        check_recognizer(settings)  # here once, not of every source
    folder = _Folder(output, settings)
    outcomes = [_analyze_one(source, stem, folder) for source, stem in zip(sources, output_stems(sources))]
    print_summary(outcomes)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)
