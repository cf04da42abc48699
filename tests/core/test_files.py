"""The package's code files: what a checkpoint's key and the warm kernel are made from"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ecg_audio_nb.core.files import (
    PACKAGE,
    WriteError,
    atomic_path,
    code_files,
    safe_name,
    short_stem,
    write_all,
    write_atomic,
)

ASK = """
from ecg_audio_nb.checkpoints import code_digest
from ecg_audio_nb.batch.warm_kernel import _code_of
print(code_digest(), hash(_code_of("python3")), sep="\\n")
"""


def test_every_subpackage_is_seen():
    names = {p.relative_to(PACKAGE).as_posix() for p in code_files()}
    assert {
        "settings.ini",
        "schema.py",
        "core/files.py",
        "speech/vad.py",
        "batch/queue.py",
        "service/app.py",
    } <= names
    assert not any(n.startswith("assets/") or "__pycache__" in n for n in names)


def test_a_line_changed_in_a_subpackage_makes_other_checkpoint_keys_and_a_new_kernel(tmp_path):
    copy = shutil.copytree(
        PACKAGE, tmp_path / "ecg_audio_nb", ignore=shutil.ignore_patterns("assets", "__pycache__")
    )
    (copy / "assets").symlink_to(PACKAGE / "assets")
    def ask():
        env = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "0"}
        return subprocess.run(
            [sys.executable, "-c", ASK], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.split()

    before = ask()
    assert before == ask()
    for changed in ("speech/vad.py", "core/workers.py", "settings.ini"):
        with open(Path(copy) / changed, "a") as f:
            f.write("\n# changed\n" if changed.endswith(".py") else "\n; changed\n")
        after = ask()
        assert all(a != b for a, b in zip(before, after, strict=True)), changed
        before = after


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    assert write_atomic(tmp_path / "new/a.txt", "first").read_text() == "first"
    with pytest.raises(WriteError, match="can't write .*a folder, not a file.*untouched"):
        write_all({tmp_path / "new/a.txt": "second", tmp_path / "new": "no file"})
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "new/a.txt") as part:
        part.write_text("half")
        raise RuntimeError
    with atomic_path(tmp_path / "new/b.mp4", ".mp4") as part:
        part.write_text("video")
        assert part.suffix == ".mp4"
    assert {p.name: p.read_text() for p in (tmp_path / "new").iterdir()} == {
        "a.txt": "first",
        "b.mp4": "video",
    }


def test_a_link_stays_a_link_and_a_mode_is_kept_to(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomic(tmp_path / "link", b"\x00", mode=0o600)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").stat().st_mode & 0o777 == 0o600


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(os, "fsync", lambda handle: told.append("sync"))
    monkeypatch.setattr(os, "replace", lambda *_: told.append("replace"))
    write_all({tmp_path / "a": "1", tmp_path / "b": "2"})
    write_atomic(tmp_path / "c", "3", sync=False)
    assert told == ["sync", "sync", "replace", "replace", "replace"]


@pytest.mark.parametrize(
    "stem, name",
    [
        ("talk", "talk"),
        ("a/b:c", "a_b_c"),
        ("..", "result_"),
        ("Failed", "Failed_"),
        ("x" * 400, "x" * 150),
        ("조각", "조각"),
        ("tab\there", "tab_here"),
        (" dot. ", "dot"),
        ("CON", "CON_"),
        ("nul.tar", "nul_.tar"),
        ("com1", "com1_"),
        ("console", "console"),
        ("x" * 149 + " y", "x" * 149),
    ],
)
def test_names_can_be_folders(stem, name): assert safe_name(stem) == name


@pytest.mark.parametrize("stem", ["a" * 250, "조각" * 40, "e\u0301" * 80, "\udcff" * 240])
def test_a_long_name_is_cut_so_that_every_ending_fits_and_still_tells_two_apart(tmp_path, stem):
    short, other = short_stem(stem), short_stem(stem + "2")
    assert short != other and short_stem("a" * 200) == "a" * 200
    for name in (short, other):
        (tmp_path / f"{name}-12345678.segments.parquet").write_text("")
