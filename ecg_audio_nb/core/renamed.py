"""Keys under the names they had in older versions: they still work, and a warning names the new key"""

import warnings
from collections.abc import Mapping

SETTINGS = {
    "diarize.min_pause": "diarize.min_silence",
    "diarize.quiet": "diarize.silence_drop_db",
    "export.longest": "segments.max_duration",
    "export.pause": "segments.max_pause",
    "runtime.checkpoints_mb": "runtime.checkpoints_max_mb",
    "transcribe.compression_ratio": "transcribe.compression_ratio_threshold",
    "transcribe.log_prob": "transcribe.logprob_threshold",
    "transcribe.no_speech": "transcribe.no_speech_threshold",
    "transcribe.no_speech_log_prob": "transcribe.no_speech_logprob_threshold",
}

SERVER = {
    "server.free_mb": "server.min_free_mb",
    "server.origins": "server.cors_origins",
    "server.private": "server.allow_private",
    "server.queue": "server.max_queued",
    "server.queue_per_key": "server.max_queued_per_key",
    "server.requests": "server.requests_per_minute",
    "server.stop_seconds": "server.shutdown_timeout",
    "server.tries": "server.max_attempts",
    "server.upload_mb": "server.max_upload_mb",
    "server.upload_mb_hour": "server.upload_mb_per_hour",
}

STYLE = {  # keys of a caption style
    "columns": "max_chars",
    "largest": "max_size",
    "longest": "max_duration",
    "neutral": "base_colour",
    "pause": "max_pause",
    "rate": "chars_per_second",
    "shortest": "min_duration",
    "size_step": "size_per_sd",
    "slant_step": "slant_per_semitone",
    "smallest": "min_size",
    "spoken": "spoken_colour",
    "steepest": "max_slant",
    "upcoming": "upcoming_colour",
}


class RenamedKey(FutureWarning):
    "A key is written under the name it had in an older version"


def within(section: str, names: Mapping[str, str] = SETTINGS) -> dict[str, str]:
    "Return the keys renamed inside one section, old to new, without the section's name"
    start = section + "."
    inside = {old: new for old, new in names.items() if old.startswith(start) and new.startswith(start)}
    return {old.removeprefix(start): new.removeprefix(start) for old, new in inside.items()}


def current_keys(values: Mapping, names: Mapping[str, str], warn: bool = True) -> dict:
    "Rename the keys of a flat mapping; where both names of a key occur, the present one wins"
    renamed = {}
    for key, value in values.items():
        if key not in names:
            continue
        renamed[names[key]] = value
        if warn:
            note = f"{key} is now called {names[key]}; the old name still works"
            warnings.warn(note, RenamedKey, stacklevel=2)
    return renamed | {key: value for key, value in values.items() if key not in names}


def nested(values: Mapping, names: Mapping[str, str] = SETTINGS, warn: bool = True) -> dict:
    """Rename the keys of a mapping of sections, `{'diarize': {'quiet': 30}}`; a key may move to another
    section"""
    flat = {}
    for section, inner in values.items():
        if isinstance(inner, Mapping):
            flat |= {f"{section}.{key}": value for key, value in inner.items()}
    flat = current_keys(flat, names, warn)
    out = {section: {} if isinstance(inner, Mapping) else inner for section, inner in values.items()}
    for key, value in flat.items():
        section, _, name = key.partition(".")
        out.setdefault(section, {})[name] = value
    return out
