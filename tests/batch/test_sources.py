"""Sources: which recordings are meant, and what identifies their content"""
import os
import shutil
from pathlib import Path

import pytest

from batch_helpers import notebook
from ecg_audio_nb.batch.sources import content_key, expand, is_media
from ecg_audio_nb.batch.spec import BatchSpec, enqueue


def test_a_recording_is_known_by_its_name():
    assert [is_media(n) for n in ("a.mp4", "b/.c.wav", "notes.md")] == [True, False, False]


def test_a_folder_a_pattern_and_a_pattern_without_files(tmp_path, sample):
    for name in ("a.mp4", "b.MP4", "notes.md", ".hidden.mp4"): shutil.copy(sample, tmp_path / name)
    found, missing = expand([str(tmp_path), str(tmp_path / "*.mp4"), str(tmp_path / "none.*")])
    assert [os.path.basename(f) for f in found] == ["a.mp4", "b.MP4"]
    assert missing == [f"{tmp_path}/none.*: no recording found; check the spelling, or name the files"]


def test_copies_of_a_file_are_the_same_and_a_url_keeps_no_secret(tmp_path, queue, sample):
    for name in ("a.mp4", "b.mp4"): shutil.copy(sample, tmp_path / name)
    assert content_key(queue, str(tmp_path / "a.mp4")) == content_key(queue, str(tmp_path / "b.mp4"))
    signed = "https://user:pass@example.org/a.mp4?take=2&X-Amz-Signature=0f&Expires=9"
    assert content_key(queue, signed) == "url:https://example.org/a.mp4?take=2"


def test_a_source_that_cannot_be_searched_is_named(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    _, [message] = expand([str(tmp_path / "list.txt")])
    assert message.startswith(f"{tmp_path}/list.txt: it can't be searched") and "check the path" in message


def test_all_ways_to_name_recordings(tmp_path):
    a, b, c = (tmp_path / n for n in ("x/a.mp4", "x/deep/b.WAV", "x/.hidden/c.mp3"))
    for p in (a, b, c, tmp_path / "x/notes.txt", tmp_path / "x/.d.mp4"):
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_text("1")
    (tmp_path / "list.txt").write_text("# recordings\n\nx/a.mp4\nx/deep\nhttps://x.org/a.mp4?key=1\n")
    assert expand([str(tmp_path / "x")]) == ([str(a), str(b)], [])
    assert expand([str(tmp_path / "list.txt")]) == ([str(a), str(b), "https://x.org/a.mp4?key=1"], [])
    assert expand([str(tmp_path / "x/**/*.WAV"), str(b)]) == ([str(b)], [])
    assert expand([str(tmp_path / "x")], tmp_path / "x/deep") == ([str(a)], [])
    found, missing = expand([str(tmp_path / "none*.mp4"), str(tmp_path / "x/.hidden/none.mp4")])
    assert (
        len(missing) == 1
        and "no recording found" in missing[0]
        and found == [str(tmp_path / "x/.hidden/none.mp4")]
    )


def test_a_name_with_the_characters_of_a_pattern_is_a_file(tmp_path):
    path = tmp_path / "talk [1].mp4"
    path.write_text("1")
    assert expand([str(path)]) == ([str(path)], [])


@pytest.mark.parametrize(
    "a, b, same",
    [
        ("https://x.org/a.mp4?X-Amz-Signature=1&X-Amz-Date=2", "https://x.org/a.mp4?X-Amz-Signature=3", True),
        ("https://x.org/a.mp4?id=1", "https://x.org/a.mp4?id=2", False),
        ("https://x.org/a.mp4", "https://y.org/a.mp4", False),
        ("https://u:p@x.org/a.mp4", "https://x.org/a.mp4#t=3", True),
    ],
)
def test_an_address_is_itself_without_its_signature(queue, a, b, same):
    assert (content_key(queue, a) == content_key(queue, b)) == same and "p@" not in content_key(queue, a)


def test_a_name_that_is_no_utf8_stops_nobody_else(tmp_path, inbox, queue, store):
    odd = os.fsdecode(bytes(tmp_path / "in") + b"/b\xe4d.wav")
    try: Path(odd).write_text("1")
    except OSError: pytest.skip("this disk takes no such name")
    jobs, notes = enqueue(
        queue, BatchSpec(notebook(tmp_path / "toy.ipynb")), expand([str(tmp_path / "in")])[0], store
    )
    assert len(jobs) == 4 and len(notes) == 1 and "b?d.wav: its name is not UTF-8; rename it" in notes[0]
