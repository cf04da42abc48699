"""`ecg voices`: recognize the same person in every file

`voices add` stores a voice print of a person, for `--set diarize.voices=FOLDER`. `voices link` finds the
same people across a folder of results and stores no voice. A voice print is personal data: only `voices
add` makes one.
"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import JsonList, argument, command_group, echo_err, exit_on, open_queue, option

voices = command_group(
    "Recognize the same person in every file. Voice prints are personal data, made only on request."
)
PrintsOption = Annotated[
    Optional[Path],
    option(
        "Folder of voice prints (default: the setting diarize.voices, or `voices` in the data folder).",
        "--voices",
    ),
]
PersonName = Annotated[str, argument("NAME", "A person's name, in any script.")]


def _prints_folder(folder: Path | None) -> Path:
    "Choose the folder of voice prints: the option, the setting, or the data folder"
    from ecg_audio_nb.settings import load_settings

    with exit_on(ValueError):
        settings = load_settings()
    return folder or settings.diarize.voices or settings.runtime.data_dir / "voices"


@voices.command("add")
def voices_add(
    name: PersonName,
    source: Annotated[str, argument("FILE", "A recording in which this person speaks; at least 5 s.")],
    start: Annotated[float, option("Start of the part to use, in seconds.", "--from")] = 0.0,
    end: Annotated[
        Optional[float],
        option("End of the part to use, in seconds (default: the end of the file).", "--to"),
    ] = None,
    folder: PrintsOption = None,
):
    """Add a voice print of a person.

    To improve the voice print, add more recordings under the same name.
    """
    from ecg_audio_nb.speech.person_embeddings import similarity
    from ecg_audio_nb.speech.voice_prints import (
        Sample, add_sample, answer_for, clean_name, print_path, read_prints, timestamp)

    folder = _prints_folder(folder)
    with exit_on(ValueError, OSError):
        name = clean_name(name)
        voice, sha256, until = _read_voice(source, start, end)
        stored = add_sample(folder, name, Sample(voice, sha256, start, until, timestamp()))
        others = [p for p in read_prints(folder)[0] if p.name != stored.name]
    recordings = f"{len(stored.samples)} recording{'s' if len(stored.samples) > 1 else ''}"
    kept = f"{voice.seconds:.1f} s of speech kept, {stored.seconds:.1f} s of {recordings} in all"
    typer.echo(f"{stored.name}: {kept}: {print_path(folder, stored.name)}")
    for other in others:
        score = similarity(other.embedding, stored.embedding)
        if answer_for(score, other.seconds, stored.seconds) == "same":
            echo_err(
                f"note: this voice is also the one kept as {other.name} (score {score:.2f}); "
                "is it one person under two names?"
            )
    typer.echo(
        f"A voice print is personal data: keep it only with {stored.name}'s consent. "
        f"This removes it: {_removal(stored.name, folder)}"
    )


def _read_voice(source, start, end):
    "Measure the one voice of a part of a recording; also return the file's SHA-256 and the end of the part"
    from ecg_audio_nb.audio.fetch import open_source, redact
    from ecg_audio_nb.audio.media import load_audio
    from ecg_audio_nb.settings import load_settings
    from ecg_audio_nb.speech.voice_prints import VoiceError, embed_single_speaker

    settings = load_settings()
    with open_source(source, settings.fetch, settings.runtime.data_dir / "tmp") as opened:
        audio = load_audio(opened.path, settings.media)
        try:
            voice = embed_single_speaker(audio, start, end, settings.runtime)
        except VoiceError as e:
            raise VoiceError(f"{redact(source)}: {e}") from None
    until = audio.duration if end is None else min(end, audio.duration)
    return voice, opened.sha256, until


def _removal(name, folder):
    import shlex

    return f"ecg voices remove {shlex.quote(name)} --voices {shlex.quote(str(folder))}"


@voices.command("list")
def voices_list(folder: PrintsOption = None, as_json: JsonList = False):
    "List the voice prints of a folder."
    import json

    from ecg_audio_nb.speech.voice_prints import read_prints

    folder = _prints_folder(folder)
    with exit_on(ValueError, OSError):
        prints, warnings = read_prints(folder) if folder.exists() else ([], ())
    for line in warnings:
        echo_err(f"note: {line}")
    rows = [
        {
            "name": person.name,
            "seconds": round(person.seconds, 1),
            "recordings": len({sample.source_sha256 for sample in person.samples}),
            "added": max(sample.added for sample in person.samples),
        }
        for person in prints
    ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        amount = f"{row['seconds']:>8.1f} s of {row['recordings']} recordings"
        typer.echo(f"{row['name']:<24}{amount}, {row['added'][:10]}")
    if not rows:
        typer.echo(f"no voice prints in {folder}")


@voices.command("remove")
def voices_remove(name: PersonName, folder: PrintsOption = None):
    "Delete the voice print of a person completely."
    from ecg_audio_nb.speech.voice_prints import remove_print

    with exit_on(ValueError):
        typer.echo(f"removed: {remove_print(_prints_folder(folder), name)}")


@voices.command("link")
def voices_link(
    results: Annotated[
        Path, argument("RESULTS_DIR", "Folder of results that `ecg analyze` or `ecg batch` wrote.")
    ],
    media: Annotated[
        Optional[Path], option("Folder with the recordings, searched at any depth.", "--media")
    ] = None,
    rename: Annotated[
        bool,
        option("Write the names PERSON_01, PERSON_02, ... into the results (speakers[].name).", "--rename"),
    ] = False,
):
    """Find the same people across a folder of results.

    Writes RESULTS_DIR/voices.csv, and stores no voice print.
    """
    from ecg_audio_nb.settings import load_settings
    from ecg_audio_nb.speech.linked_speakers import link_results, write_links
    from ecg_audio_nb.speech.linked_speakers import write_names

    with exit_on(ValueError, OSError):
        linked = link_results(results, media, _batch_sources(results), load_settings().runtime)
        for line in linked.skipped:
            echo_err(f"skipped: {line}")
        table = write_links(results, linked)
        renamed = write_names(linked) if rename else []
    people = {link.person for link in linked.links if link.person}
    files = len({link.file for link in linked.links})
    done = f"; {len(renamed)} results renamed" if rename else ""
    typer.echo(f"{len(linked.links)} speakers of {files} files, {len(people)} people: {table}{done}")
    if linked.skipped:
        raise typer.Exit(1)


def _batch_sources(results):
    "List the recordings of the batch whose results these are"
    from contextlib import closing

    from ecg_audio_nb.batch.queue import list_jobs

    try:
        with closing(open_queue(results)) as queue:  # SQLite's files beside it go when it is closed
            jobs = list_jobs(queue, limit=10**6)
    except (ValueError, OSError):
        return []
    return [job.source for job in jobs if "://" not in job.source]
