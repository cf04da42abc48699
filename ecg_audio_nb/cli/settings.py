"""`ecg settings`: every setting with its value, default and meaning"""

from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import (
    JsonList,
    ProfileOption,
    SetOption,
    argument,
    exit_usage,
    overrides,
    print_table,
)


def settings(
    words: Annotated[
        Optional[list[str]],
        argument("[WORD...]", "Only settings whose name or meaning has one of these words."),
    ] = None,
    profile: ProfileOption = None,
    set_: SetOption = None,
    as_json: JsonList = False,
):
    """List every setting: name, value, default, meaning.

    The value is the one that `ecg analyze` would use in this folder. It comes from the default, the profile,
    the environment (ECG_STAGE__KEY) or --set; a later one in this list replaces an earlier one.
    """
    import json

    from ecg_audio_nb.settings import SettingsError, describe_settings, load_settings

    try:
        rows = describe_settings(load_settings(overrides(set_ or []), profile))
    except SettingsError as e:
        exit_usage(str(e))
    if words:
        rows = [row for row in rows if any(w.lower() in f"{row.key} {row.meaning}".lower() for w in words)]
        if not rows:
            exit_usage(f"settings: no setting with {' or '.join(words)}; `ecg settings` lists all of them")
    if as_json:
        typer.echo(json.dumps([row.as_dict() for row in rows]))
        return
    table = []
    for row in rows:
        default = row.default if row.value != row.default else ""
        table.append((row.key, row.value, default, row.meaning))
    print_table(("setting", "value", "default, if other", "meaning"), table)
