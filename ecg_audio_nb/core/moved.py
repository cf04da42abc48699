"""Modules under the names they had until version 0.1: they import, with a warning that names the new place"""

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec

MOVED = {
    "acoustics": "voice.acoustics",
    "align": "speech.align",
    "callbacks": "service.webhooks",
    "captions": "results.captions",
    "cluster": "batch.dask",
    "corrections": "results.corrections",
    "diarize": "speech.diarize",
    "differences": "results.compare",
    "evaluate": "research.metrics",
    "explore": "research.explore",
    "export": "results.export",
    "fetch": "audio.fetch",
    "forced_align": "speech.forced_align",
    "jobqueue": "batch.queue",
    "jobs": "batch.runner",
    "media": "audio.media",
    "phones": "speech.phones",
    "plots": "results.plots",
    "report": "results.report",
    "scores": "research.metrics",
    "server": "service.app",
    "speakers": "speech.speakers",
    "sweep": "research.sweep",
    "transcribe": "speech.transcribe",
    "voice_encoder": "speech.voice_encoder",
    "voices": "speech.voice_prints",
    "warm": "batch.warm_kernel",
}  # `ecg_audio_nb.voice` is a package now; what it was is `ecg_audio_nb.speech.vad`
_PREFIX = "ecg_audio_nb."


class _SameModule:
    "Gives the module itself, which keeps its own spec"

    def __init__(self, name: str):
        self.name = name

    def create_module(self, spec):
        module = import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.spec


class MovedModules:
    "Finds modules under their old names"

    def find_spec(self, name, path=None, target=None):
        new = MOVED.get(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None
        if new is None:
            return None
        warnings.warn(f"{name} is now {_PREFIX}{new}", DeprecationWarning, stacklevel=2)
        return ModuleSpec(name, _SameModule(_PREFIX + new))


def install() -> None:
    "Let old names be found, behind all others"
    if not any(isinstance(f, MovedModules) for f in sys.meta_path):
        sys.meta_path.append(MovedModules())
