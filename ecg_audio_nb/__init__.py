"""A transcript in which every word has a time, a speaker and a measured voice

Modules:

- `ecg_audio_nb.acoustics`: Loudness, F0 and brightness, measured once by frame and pooled over any span"""

__version__ = "0.1.0"
__all__ = ["analyze", "__version__"]


def __getattr__(name):
    "`analyze` is here, but what it needs is imported when it is first asked for"
    if name == "analyze":
        from ecg_audio_nb.pipeline import analyze
        return analyze
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
