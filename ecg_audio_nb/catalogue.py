"""Models by name: the catalogue, where each model lies on this machine, and which ones a run loads

The catalogue (`assets/catalogue.json`) holds the models one can ask for by name: Whisper in CTranslate2's
form, the aligners that WhisperX lists by language, pyannote's pipeline. Any other `owner/name` of the
Hugging Face hub works too. Sizes are rounded, from the number of parameters; a licence that is not known is
`None`.

`required_models` is the one answer to "which models does a run with these settings load": the doctor, `ecg
models pull
--profile` and the engines' defaults follow it.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from ecg_audio_nb.core import wheels
from ecg_audio_nb.core.cuda import cuda_free_mb
from ecg_audio_nb.core.system import has_nvidia_driver, hub_cache, probe, torch_cache
from ecg_audio_nb.settings import Settings

__all__ = [
    "RequiredModel",
    "Weights",
    "align_model",
    "cached",
    "catalogue",
    "default_whisper",
    "is_available",
    "missing_files",
    "required_models",
    "where",
]

DEFAULT_WHISPER = {"cuda": "large-v3-turbo", "cpu": "base"}  # by device
DEFAULT_PIPELINE = "pyannote/speaker-diarization-community-1"
_ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}


@lru_cache
def catalogue() -> dict[str, dict]:  # name -> stage, repo (or file and url), licence, mb, languages, …
    "Read the models that can be asked for by name; `gated` and `translates` stand where they are unusual"
    return json.loads((files("ecg_audio_nb") / "assets/catalogue.json").read_text(encoding="utf-8"))


def entry_of(name: str) -> dict:  # empty for a model outside the catalogue
    "The catalogue's entry of a model; `large` and `turbo` are short names"
    return catalogue().get(_ALIASES.get(name, name), {})


# Where a model lies


@dataclass(frozen=True)
class Weights:
    "The files of a model on this machine"

    name: str  # as asked for
    folder: Path  # that holds its files
    revision: str | None = None  # commit of a hub's repository; None for a folder of the user's
    file: str | None = None  # of a torchaudio bundle, in that folder
    sha256: str | None = None  # of the original weights, where these were made from others

    @property
    def files(self) -> list[Path]:
        "All of them, in order"
        if self.file:
            return [self.folder / self.file]
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    @property
    def mb(self) -> float:
        "Their size"
        return sum(path.stat().st_size for path in self.files) / 2**20


_NEEDED = {  # stage -> files of a complete model; `|`: one of them
    "transcribe": ("model.bin", "config.json", "tokenizer.json", "vocabulary.json|vocabulary.txt"),
    "align": ("config.json", "model.safetensors|pytorch_model.bin", "vocab.json", "preprocessor_config.json"),
    "diarize": ("config.yaml",),
}


def missing_files(folder: Path, stage: str) -> list[str]:  # such as "model.bin", "a or b"
    "List the files that a model's folder lacks, so that an incomplete model is an error of ours"
    missing = []
    for needed in _NEEDED[stage]:
        if not any((folder / name).is_file() for name in needed.split("|")):
            missing.append(needed.replace("|", " or "))
    return missing


def cached(
    name: str,  # of the catalogue, or owner/name of the hub
    stage: str,  # transcribe, align or diarize
) -> Weights | None:  # None: not here, or incomplete
    "Find a model in the caches that are shared with other programs"
    entry = entry_of(name)
    if "file" in entry:
        path = torch_cache() / entry["file"]
        return Weights(name, torch_cache(), file=entry["file"]) if path.is_file() else None
    home = hub_cache() / f"models--{entry.get('repo', name).replace('/', '--')}"
    try:
        revision = (home / "refs/main").read_text().strip()
    except OSError:
        return None
    folder = home / "snapshots" / revision
    return None if missing_files(folder, stage) else Weights(name, folder, revision)


def where(
    name: str,  # of the catalogue, or owner/name of the hub
    stage: str,  # transcribe, align or diarize
) -> str:  # "wheels", "cache" or ""
    "Tell where a model lies, without writing anything"
    entry = entry_of(name)
    if "wheels" in entry:
        prepared = wheels.cache_folder(name, entry) / "model.bin"
        if prepared.is_file() or wheels.installed(entry):
            return "wheels"
    return "cache" if cached(name, stage) else ""


# Which models a run loads


@dataclass(frozen=True)
class RequiredModel:
    "A model that a run loads, beyond the packaged networks"

    stage: str  # transcribe, align or diarize
    name: str
    mb: float | None  # None: not in the catalogue
    available: bool  # in an installed package, a folder or a cache
    gated: bool = False  # True: its conditions have to be accepted on the hub first
    cache: str = "Hugging Face cache"  # where a download is kept
    packaged: bool = False  # the extra `offline` contains it


@lru_cache
def _gpu_works() -> bool:
    "Whether CTranslate2 can use a GPU here, tried in a child process"
    if not has_nvidia_driver() and cuda_free_mb() is None:
        return False
    answer = probe("ctranslate2")
    devices = answer.get("devices")
    return isinstance(devices, int) and devices > 0 and not answer.get("problem")


def default_whisper(settings: Settings) -> str:
    "The Whisper model of a run that names none: by device, where `auto` is the GPU if one can be used"
    device = settings.runtime.device
    if device == "auto":
        device = "cuda" if _gpu_works() else "cpu"
    return DEFAULT_WHISPER[device]


def align_model(
    language: str | None,  # code, such as en; None or auto: English
) -> str | None:  # None: there is none for this language
    "The wav2vec2 aligner of a language"
    code = "en" if language in (None, "auto") else language
    for name, entry in catalogue().items():
        if entry["stage"] == "align" and code in entry["languages"]:
            return name
    return None


def _align_name(settings):
    "The aligner a run loads, or None for the packaged phone aligner"
    if not settings.transcribe.enabled:
        return None
    if settings.align.model:
        return settings.align.model
    return align_model(settings.transcribe.language) if settings.engine_for("align") == "whisperx" else None


def _diarize_name(settings):
    "The pipeline a run loads, or None for the packaged networks; `auto` takes pyannote if it is here"
    if not settings.diarize.enabled:
        return None
    name, engine = settings.diarize.model or DEFAULT_PIPELINE, settings.engine_for("diarize")
    if engine == "auto":
        return name if find_spec("whisperx") and is_available(name, "diarize") else None
    return name if engine in ("whisperx", "pyannote") else None


def is_available(name: str, stage: str) -> bool:
    "Whether a model needs no download: a folder, installed packages or a cache has it"
    return Path(name).expanduser().is_dir() or bool(where(name, stage))


def required_models(settings: Settings) -> list[RequiredModel]:
    "List the models that a run with these settings loads, beyond the packaged networks"
    names = {"align": _align_name(settings), "diarize": _diarize_name(settings)}
    if settings.transcribe.enabled:
        names = {"transcribe": settings.transcribe.model or default_whisper(settings), **names}
    return [_required(stage, name) for stage, name in names.items() if name]


def _required(stage, name):
    entry = entry_of(name)
    return RequiredModel(
        stage,
        name,
        entry.get("mb"),
        is_available(name, stage),
        gated=entry.get("gated", False),
        cache="torch cache" if "file" in entry else "Hugging Face cache",
        packaged="wheels" in entry,
    )
