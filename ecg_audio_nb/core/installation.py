"""What is installed here: packages that must fit each other, NVIDIA's libraries, Jupyter's kernels

The sets of versions that were tested are in `assets/tested_sets.json`.
"""

import glob
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from ecg_audio_nb.core.cuda import wheel_folders

# Packages

VERSION_SET = (
    "torch",
    "torchaudio",
    "torchcodec",
    "ctranslate2",
    "faster-whisper",
    "whisperx",
    "transformers",
    "numpy",
)


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distributions() -> dict[str, metadata.Distribution]:
    "Normalized name -> distribution, the one that comes first on the path"
    known = {}
    for distribution in metadata.distributions():
        with suppress(Exception):  # a broken record has no name
            known.setdefault(_normalized(distribution.metadata["Name"]), distribution)
    return known


def _shadowing_folder(distribution) -> Path | None:
    "The folder a package would really be imported from, if it is not the one pip knows"
    spec = find_spec(_normalized(distribution.metadata["Name"]).replace("-", "_"))
    if not spec or not spec.origin:
        return None
    known = Path(str(distribution.locate_file(""))).resolve()
    return None if Path(spec.origin).resolve().is_relative_to(known) else Path(spec.origin).parent


def shadowing_folder(name: str) -> Path | None:
    "The folder an installed package would be imported from, if pip knows another; else None"
    try:
        return _shadowing_folder(metadata.distribution(name))
    except metadata.PackageNotFoundError:
        return None


def _imported_version(distribution, name: str) -> str:
    "Version of the package as it would be imported"
    if name == "pyannote-audio":  # a namespace package has no file of its own
        return distribution.version
    folder = _shadowing_folder(distribution)
    if not folder:
        return distribution.version
    paths = [folder / file for file in ("version.py", "__init__.py")]
    text = "\n".join(path.read_text(errors="replace") for path in paths if path.exists())
    version = re.search(r"__version__\s*=\s*[\"'](.+?)[\"']", text)
    return version[1] if version else distribution.version


def versions() -> dict[str, str]:  # name -> version; those that are installed
    "Versions of the packages that must fit each other, as they would be imported"
    known = {"python": platform.python_version()}
    for name in (*VERSION_SET, "pyannote-audio"):
        with suppress(metadata.PackageNotFoundError):
            known[name] = _imported_version(metadata.distribution(name), name)
    return known


def _requirement(text: str):
    try:
        from packaging.requirements import Requirement
    except ImportError:
        from pip._vendor.packaging.requirements import Requirement
    return Requirement(text)


def conflicts(have: dict[str, str]) -> list[str]:  # as pip words them
    "What installed packages require of these versions and do not get"
    lines = []
    for name, distribution in _distributions().items():
        for text in distribution.requires or []:
            version = have.get(_normalized(re.match(r"[\w.-]*", text)[0]))
            if not version:
                continue
            wanted = _requirement(text)
            if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
                continue
            if not wanted.specifier.contains(version, prereleases=True):
                lines.append(
                    f"{name} {distribution.version} requires {wanted.name}{wanted.specifier}, "
                    f"but you have {wanted.name} {version}"
                )
    return lines


def tested_sets() -> dict:
    "Read the tested sets of versions, and which cuDNN each CTranslate2 needs"
    return json.loads((files("ecg_audio_nb") / "assets/tested_sets.json").read_text(encoding="utf-8"))


def _differing(have: dict[str, str], tested: dict) -> list[str]:
    "Names of packages whose version is not in a tested set"
    names = []
    for name, allowed in tested["versions"].items():
        if name in have and not any(f"{have[name]}.".startswith(f"{version}.") for version in allowed):
            names.append(name)
    return names


def differences(have: dict[str, str]) -> tuple[list[str], dict]:
    "What differs from the nearest tested set, one line each; and that set"
    with_torch = "whisperx" in have or "torch" in have
    sets = [s for s in tested_sets()["sets"] if with_torch == ("whisperx" in s["versions"])]
    nearest = min(sets, key=lambda tested: len(_differing(have, tested)))
    names = _differing(have, nearest)
    return [f"{n} {have[n]} (tested: {', '.join(nearest['versions'][n])})" for n in names], nearest


def cudnn_for(version: str) -> dict | None:  # `cudnn` (8 or 9) and a `library` of it; None: it needs none
    "Which cuDNN a CTranslate2 needs"

    def parts(text):
        return [int(number) for number in re.findall(r"\d+", text)[:2]]

    for row in tested_sets()["cudnn"]:
        if parts(version) < parts(row["ctranslate2_below"]):
            return row
    return None


def torch_cuda() -> str | None:  # such as 12.8; None: a build without CUDA, or no torch
    "The CUDA that the installed torch was built with, read without importing it"
    spec = find_spec("torch")
    if not spec or not spec.origin:
        return None
    text = (Path(spec.origin).parent / "version.py").read_text()
    version = re.search(r"^cuda\b.*?=\s*['\"]([\d.]+)", text, re.M)
    return version[1] if version else None


# Libraries and the loader

_SET_IN = (
    "/etc/profile.d/*",
    "/etc/environment",
    "/etc/profile",
    "/etc/bash.bashrc",
    "~/.bashrc",
    "~/.profile",
)


def nvidia_libraries() -> list[Path]:
    "List the libraries that NVIDIA's wheels brought into this environment"
    return sorted(path for folder in wheel_folders() for path in folder.glob("*.so*"))


def conflicting_libraries(
    libraries: Sequence[Path],  # of the wheels
    path: str | None = None,  # entries with colons between; None: `LD_LIBRARY_PATH`
) -> dict[str, list[str]]:  # entry -> names of its files that are loaded in place of a wheel's
    "Find the entries of the library path that come before the wheels' libraries"
    wheels, conflicting = {p.name: p for p in libraries}, {}
    for entry in (os.environ.get("LD_LIBRARY_PATH", "") if path is None else path).split(":"):
        if not entry or not os.path.isdir(entry):
            continue
        names = sorted(set(os.listdir(entry)) & set(wheels))
        names = [name for name in names if not os.path.samefile(Path(entry) / name, wheels[name])]
        if names:
            conflicting[entry] = names
    return conflicting


def files_that_set(entry: str) -> Iterator[Path]:
    "Yield the files that put an entry into `LD_LIBRARY_PATH` at login"
    for pattern in _SET_IN:
        for path in map(Path, sorted(glob.glob(os.path.expanduser(pattern)))):
            with suppress(OSError):
                lines = path.read_text(errors="replace").splitlines()
                lines = [x for x in lines if "LD_LIBRARY_PATH" in x and not x.lstrip().startswith("#")]
                if any(entry.rstrip("/") in line for line in lines):
                    yield path


def commands_to_remove(entries) -> Iterator[str]:
    "Yield commands that take entries out of `LD_LIBRARY_PATH`"
    rest = [e for e in os.environ.get("LD_LIBRARY_PATH", "").split(":") if e and e not in entries]
    yield f"export LD_LIBRARY_PATH={':'.join(rest)}" if rest else "unset LD_LIBRARY_PATH"
    for entry in entries:
        for file in files_that_set(entry):
            yield f"sed -i '\\#{entry.rstrip('/')}#s/^/# /' {file}  # it is set there for every login"


APT_PACKAGES = {  # library -> Debian package that brings it
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libXext.so.6": "libxext6",
    "libSM.so.6": "libsm6",
    "libXrender.so.1": "libxrender1",
    "libass.so.9": "libass9",
}


def missing_libraries(tool: str, stderr: str) -> list[str]:
    "Names of the libraries a program lacks, from `ldd` or from what the program printed"
    ldd, listing = shutil.which("ldd"), ""
    if ldd:
        listing = subprocess.run([ldd, tool], capture_output=True, text=True, timeout=20).stdout
    names = re.findall(r"(\S+) => not found", listing) or re.findall(r"libraries: (\S+?):", stderr)
    return list(dict.fromkeys(names))


# Jupyter's kernels


def kernelspecs() -> dict[str, tuple[Path, list[str]]]:  # name -> its folder and command
    "Find the kernels that Jupyter finds; the first on its path wins"
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    roots = [
        *os.environ.get("JUPYTER_PATH", "").split(os.pathsep),
        os.environ.get("JUPYTER_DATA_DIR"),
        f"{sys.prefix}/share/jupyter",
        home / "jupyter",
        "/usr/local/share/jupyter",
        "/usr/share/jupyter",
    ]
    specs = [spec for r in roots if r for spec in sorted(Path(r).glob("kernels/*/kernel.json"))]
    known = {}
    for spec in specs:
        with suppress(OSError, ValueError):
            argv = json.loads(spec.read_text()).get("argv", [])
            known.setdefault(spec.parent.name.lower(), (spec.parent, argv))
    return known


def starts_this_python(command: str) -> bool | None:
    "Whether a kernel's command starts this environment's interpreter; None: it can't start at all"
    if re.fullmatch(r"python[\d.]*", command):  # Jupyter puts its own interpreter there
        return True
    where = shutil.which(command)
    if not where:
        return None
    return os.path.abspath(os.path.dirname(where)) == os.path.dirname(os.path.abspath(sys.executable))
