"""`ecg export`: a result in any format, without running a model"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import (
    ProfileOption,
    SetOption,
    argument,
    echo_err,
    exit_usage,
    option,
    overrides,
)

Results = Annotated[
    list[Path],
    argument("RESULT.json...", "Results (.json) that `ecg analyze`, `ecg batch` or `ecg correct` wrote."),
]


def export(
    results: Results,
    output: Annotated[
        Optional[Path], option("Folder for the files (default: beside each result).", "-o", "--output")
    ] = None,
    formats: Annotated[
        Optional[str],
        option(
            "Files to write, such as srt,vtt,ttml,TextGrid,eaf,csv (default: export.formats).", "--formats"
        ),
    ] = None,
    style: Annotated[
        Optional[str],
        option(
            "Style of captions: plain, netflix, bbc, youtube, karaoke, dynamic, or your own file (.toml).",
            "--style",
        ),
    ] = None,
    stem: Annotated[
        Optional[str], option("Name of the files without ending (default: the result's).", "--stem")
    ] = None,
    profile: ProfileOption = None,
    set_: SetOption = None,
):
    """Write results in other formats.

    Runs no model and needs no recording. Prints the files it wrote.
    """
    from ecg_audio_nb.settings import SettingsError, load_settings

    _check_names(results, output, stem)
    given = overrides(set_ or [], export__formats=formats, export__style=style)
    try:
        settings = load_settings(given, profile)
    except SettingsError as e:
        exit_usage(str(e))
    failed = False
    for path in results:
        try:
            files = _write(path, path.parent if output is None else output, stem or path.stem, settings)
        except (ValueError, OSError) as e:
            echo_err(f"ecg: {e}")
            failed = True
        else:
            for file in files:
                typer.echo(file)
    if failed:
        raise typer.Exit(1)


def _check_names(results: list[Path], output: Path | None, stem: str | None) -> None:
    "Refuse a command whose results would overwrite each other's files"
    if stem and len(results) > 1:
        exit_usage(f"--stem {stem}: {len(results)} results can't have one name; export them one by one")
    if output is None:
        return
    taken: dict[str, Path] = {}
    for path in results:
        other = taken.setdefault(path.stem.casefold(), path)
        if other is not path:
            exit_usage(f"{other} and {path} would have the same names in {output}; export them one by one")


def _write(path: Path, folder: Path, name: str, settings) -> list[Path]:
    "Write one result; its own file, which is there already, and those of other recordings are left alone"
    from ecg_audio_nb.core.identity import lock_names

    with lock_names(settings.runtime.data_dir, folder):
        return _write_unlocked(path, folder, name, settings)


def _write_unlocked(path, folder, name, settings):
    from ecg_audio_nb.core.identity import known_owners, own_stem, remember_owner
    from ecg_audio_nb.results.export import export as write
    from ecg_audio_nb.schema import read_result

    result, itself, stem = read_result(path), folder / f"{name}.json", name
    data_dir, sha256 = settings.runtime.data_dir, result.metadata.source_sha256
    there = itself.exists() and itself.samefile(path)
    if not there:
        stem = own_stem(folder, name, sha256, known=known_owners(data_dir, folder))
    if stem != name:
        echo_err(f"note: {path}: the files are called {stem}; {name} is another recording's in {folder}")
    how = settings.export
    formats = [form for form in how.formats if not (there and form == "json")]
    written = write(result, folder, stem, formats, how.style, how.bom)
    remember_owner(data_dir, folder, stem, sha256)
    return written
