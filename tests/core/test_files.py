"""The package's code files: what a checkpoint's key and the warm kernel are made from"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ecg_audio_nb.core.files import PACKAGE, code_files

ASK = """
from ecg_audio_nb.checkpoints import code_digest
from ecg_audio_nb.batch.warm_kernel import _code_of
print(code_digest(), hash(_code_of("python3")), sep="\\n")
"""


def test_every_subpackage_is_seen():
    names = {p.relative_to(PACKAGE).as_posix() for p in code_files()}
    assert {"settings.ini", "schema.py", "core/files.py", "speech/vad.py", "batch/queue.py", "service/app.py"} <= names
    assert not any(n.startswith("assets/") or "__pycache__" in n for n in names)


@pytest.mark.parametrize("changed", ["speech/vad.py", "core/workers.py", "settings.ini"])
def test_a_line_changed_in_a_subpackage_makes_other_checkpoint_keys_and_a_new_kernel(tmp_path, changed):
    copy = shutil.copytree(PACKAGE, tmp_path / "ecg_audio_nb", ignore=shutil.ignore_patterns("assets", "__pycache__"))
    (copy / "assets").symlink_to(PACKAGE / "assets")
    def ask():
        env = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "0"}
        return subprocess.run([sys.executable, "-c", ASK], env=env, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    before, again = ask(), ask()
    with open(Path(copy) / changed, "a") as f: f.write("\n# changed\n" if changed.endswith(".py") else "\n; changed\n")
    after = ask()
    assert before == again and all(a != b for a, b in zip(before, after, strict=True))
