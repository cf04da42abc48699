"""Optional dependencies: imported where they are needed, with one error that names the extra to install"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def install_command(extra: str) -> str:
    "The command that installs an extra (`a` or `a,b`), or what to do where this Python can't have it"
    if extra != "whisperx" or sys.version_info < (3, 14):
        return f"pip install 'ecg-audio-nb[{extra}]'"
    return (
        "whisperx and torch 2.8 have no packages for Python 3.14: use Python 3.11 to 3.13, "
        "or engine = whisper, which needs neither"
    )


def missing(module: str, extra: str, purpose: str) -> str:
    "The message for a missing package; `purpose` is a subject with its verb, such as 'scores need'"
    return f"{purpose} {module}, which is not installed: {install_command(extra)}"


def require(module: str, extra: str, purpose: str, error: type[Exception] = ImportError) -> ModuleType:
    "Import a module of an extra; raises `error` if it, or a package that it imports, is not installed"
    try:
        return import_module(module)
    except ModuleNotFoundError as e:
        raise error(missing(e.name or module, extra, purpose)) from None


def require_installed(module: str, extra: str, purpose: str, error: type[Exception] = ImportError) -> None:
    "Raise `error` if a module of an extra is not installed; nothing is imported"
    if find_spec(module) is None:
        raise error(missing(module, extra, purpose))
