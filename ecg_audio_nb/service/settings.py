"""Settings of the service itself, from the same four places as every other setting

| source | how `server.max_queued` is set there |
| --- | --- |
| default | the class below |
| profile in `settings.ini` | the line `server.max_queued = 50` in its section |
| environment | `ECG_SERVER__MAX_QUEUED=50` |
| argument, command line | `server_settings({"max_queued": 50})`, `ecg serve --set server.max_queued=50` |

Later sources win. The names of version 0.1 (`server.queue`, `ECG_SERVER_QUEUE`) still work; a warning names
the new one. How a recording is analyzed is not among these settings: `ecg_audio_nb.settings` has those.
"""

import difflib
import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from ecg_audio_nb.core import renamed
from ecg_audio_nb.service.proxies import read_networks, read_prefix, read_public_url
from ecg_audio_nb.settings import SettingsError, profiles

__all__ = ["ServerSettings", "server_settings"]

_profile_values = ContextVar("profile_values", default=None)  # by name, for `_ProfileSource`


def _split(value):
    if not isinstance(value, str):
        return value
    return tuple(name.strip() for name in value.split(",") if name.strip())


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@,]+\Z")


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:  # as browsers write them
    origins = tuple(value.lower().rstrip("/") for value in values)
    for origin in origins:
        if origin != "null" and not _ORIGIN.match(origin):  # null: a page that was opened from a file
            rule = "write https://app.example.org, with a port if any"
            raise ValueError(f"{origin!r:.60} is not the origin of a site; {rule}")
    return origins


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    read_networks(values)
    return values


class ServerSettings(BaseSettings):
    "Limits of the service, and how it speaks"

    model_config = SettingsConfigDict(frozen=True, extra="forbid")
    language: Literal["en", "ko"] = "en"  # of messages for people
    max_queued: int = Field(default=200, ge=1)  # jobs waiting, of all callers
    max_queued_per_key: int = Field(default=100, ge=1)  # jobs of one caller, waiting or running
    requests_per_minute: int = Field(default=600, ge=1)  # of one caller
    max_upload_mb: int = Field(default=2048, ge=1)  # one upload
    upload_mb_per_hour: int = Field(default=20_480, ge=1)  # all uploads of one caller
    timeout: float = Field(default=4 * 3600, gt=0)  # seconds a job may take; checked between stages
    max_attempts: int = Field(default=3, ge=1)  # in a row that get no further, before a job fails
    keep_days: float = Field(default=30, gt=0)  # how long results are kept
    min_free_mb: int = Field(default=500, ge=0)  # free disk space below which no job is taken
    shutdown_timeout: float = Field(
        default=20, gt=0
    )  # seconds the current stage may take to end when the service stops
    allow_private: bool = False  # True: sources and backends may have private addresses
    cors_origins: Annotated[
        tuple[str, ...], BeforeValidator(_split), AfterValidator(_origins), NoDecode
    ] = ()  # other sites whose pages may call
    public_url: Annotated[str, AfterValidator(read_public_url)] = (
        ""  # URL under which others reach the service, such as https://transcripts.example.org/ecg
    )
    root_path: Annotated[str, AfterValidator(read_prefix)] = ""  # path below which a proxy offers the service
    trusted_proxies: Annotated[
        tuple[str, ...], BeforeValidator(_split), AfterValidator(_networks), NoDecode
    ] = ("127.0.0.1", "::1")  # addresses and networks whose X-Forwarded- headers count
    header_timeout: float = Field(default=20, gt=0)  # seconds the header of a request may take
    stall_timeout: float = Field(default=60, gt=0)  # seconds a body may stand still, or an answer stay unread
    max_connections: int = Field(default=1000, ge=10)  # open at the same time
    callback_gzip: Literal["auto", "always", "never"] = "auto"  # auto: if a backend says that it takes it
    max_callback_kb: int = Field(default=0, ge=0)  # a larger result is sent as its URL; 0: no limit

    def __init__(self, **values):
        super().__init__(**_current(values))

    @classmethod
    def settings_customise_sources(cls, settings_cls, init_settings, **_):
        return init_settings, _EnvironmentSource(settings_cls), _ProfileSource(settings_cls)


def _current(values: Mapping[str, object]) -> dict:
    "Rename keys of older versions, given without `server.`; a warning names the new key"
    dotted = renamed.current_keys({f"server.{key}": value for key, value in values.items()}, renamed.SERVER)
    return {key.removeprefix("server."): value for key, value in dotted.items()}


class _ProfileSource(PydanticBaseSettingsSource):
    "The lines `server.KEY = VALUE` of a profile"

    def get_field_value(self, field, field_name):
        return None, field_name, False

    def __call__(self):
        return _current(_profile_values.get() or {})


class _EnvironmentSource(PydanticBaseSettingsSource):
    "Variables `ECG_SERVER__KEY`, and `ECG_SERVER_KEY` as version 0.1 wrote them"

    def get_field_value(self, field, field_name):
        return None, field_name, False

    def __call__(self):
        written = {
            name.upper(): value
            for name, value in os.environ.items()
            if name.upper().startswith("ECG_SERVER_")
        }
        named = renamed.current_keys(written, _old_variables())
        return {
            name.removeprefix("ECG_SERVER__").lower(): v
            for name, v in named.items()
            if name.startswith("ECG_SERVER__")
        }


def _old_variables() -> dict[str, str]:
    "Names of environment variables of older versions, to the present ones"
    short = renamed.within("server", renamed.SERVER)
    names = {f"ECG_SERVER__{old}".upper(): f"ECG_SERVER__{new}".upper() for old, new in short.items()}
    for key in ServerSettings.model_fields:
        names[f"ECG_SERVER_{key}".upper()] = f"ECG_SERVER__{key}".upper()
    for old, new in short.items():
        names[f"ECG_SERVER_{old}".upper()] = f"ECG_SERVER__{new}".upper()
    return names


def server_settings(
    overrides: Mapping[str, object] | None = None,  # by name, without `server.`
    profile: str | None = None,  # section of settings.ini; None: `ECG_PROFILE`, or none
) -> ServerSettings:
    "Read the service's settings: defaults < profile < environment < `overrides`; raises `SettingsError`"
    token = _profile_values.set(_lines_of(profile or os.environ.get("ECG_PROFILE")))
    try:
        return ServerSettings(**(overrides or {}))
    except ValidationError as e:
        raise SettingsError("; ".join(dict.fromkeys(_explain(error) for error in e.errors()))) from None
    finally:
        _profile_values.reset(token)


def _lines_of(profile: str | None) -> dict[str, str]:
    "Return the service's lines of a profile, without `server.`; `load_settings` refuses an unknown profile"
    lines = profiles().get(profile, {}) if profile else {}
    return {key.removeprefix("server."): value for key, value in lines.items() if key.startswith("server.")}


def _explain(error) -> str:
    "One error of validation in a line: the setting, its value, the rule; of an unknown key, the nearest one"
    key = str(error["loc"][0])
    if error["type"] != "extra_forbidden":
        return f"server.{key} = {error['input']!r:.60}: {error['msg'].removeprefix('Value error, ')}"
    known = list(ServerSettings.model_fields)
    nearest = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"the nearest is server.{nearest[0]}. " if nearest else ""
    return f"server.{key} is not a setting; {hint}The service has {', '.join(known)}"
