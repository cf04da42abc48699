"""`ecg cache`: the checkpoints, which are stage outputs kept for later runs

Checkpoints are written with `runtime.checkpoints`, and without a setting in the jobs of a batch and of the
service. A job that was killed goes on from them, and a later run with other settings takes what did not
change.
"""

from typing import Annotated

import typer

from ecg_audio_nb.cli.options import JsonObject, command_group, exit_on, option

cache = command_group("Show and delete checkpoints: stage outputs kept for later runs.")


def _open_checkpoints():
    from ecg_audio_nb.checkpoints import open_checkpoints
    from ecg_audio_nb.settings import load_settings

    with exit_on(ValueError):
        return open_checkpoints(load_settings({"runtime.checkpoints": True}))


@cache.command("info")
def cache_info(as_json: JsonObject = False):
    "Show where checkpoints are and how much space they take."
    import json

    from ecg_audio_nb.checkpoints import entries

    store = _open_checkpoints()
    files, limit_mb = entries(store), store.max_mb
    used_mb = round(sum(size for _, size, _ in files) / 2**20, 1)
    about = {"folder": str(store.folder), "files": len(files), "mb": used_mb, "most_mb": limit_mb}
    if as_json:
        typer.echo(json.dumps(about))
    else:
        typer.echo(f"{len(files)} files, {used_mb:,} of {limit_mb:,.0f} MB, in {store.folder}")


@cache.command("clear")
def cache_clear(
    to_mb: Annotated[
        float, option("Keep the most recently used checkpoints, up to this many MB.", "--to-mb")
    ] = 0,
):
    "Delete checkpoints, least recently used first."
    from ecg_audio_nb.checkpoints import evict

    typer.echo(f"{evict(_open_checkpoints(), to_mb) / 2**20:,.1f} MB removed")
