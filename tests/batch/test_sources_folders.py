"""Folders as sources: every recording below them is taken once, and one line says what is left out"""
import logging
import os
import shutil
import unicodedata
from contextlib import contextmanager

import pytest

from batch_helpers import ecg, notebook, recordings
from ecg_audio_nb.batch.queue import list_jobs
from ecg_audio_nb.batch.runner import BatchSpec, SourceWatcher, batch
from ecg_audio_nb.batch.sources import describe_left_out, expand, find_sources
from s3_server import s3_server
from waiting import until


def put(folder, *names, text="1"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def names(folder, exclude=None):
    "Recordings of a folder, relative to it; what is left out; errors"
    listing = find_sources([str(folder)], exclude)
    relative = [os.path.relpath(path, folder) for path in listing.recordings]
    return relative, describe_left_out(listing.left_out), listing.missing + listing.unreadable


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def test_an_archive_of_a_camera_a_recorder_and_a_television(folder, tmp_path, shared_data):
    "A copy of one recording under each ending that used to be left out, and a linked folder"
    speech = shared_data / "real/hard/sonnet.wav"
    endings = "wav mts m2ts vob mxf caf m4b 3g2 ogv mp2 ac3 au w64 asf wv weba".split()
    for ending in endings: shutil.copy(speech, folder / f"a.{ending}")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(speech, tmp_path / "elsewhere/c.wav")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert names(folder) == ([*(f"a.{e}" for e in sorted(endings)), "link/c.wav"], "", [])


def test_real_recordings_without_an_ending_are_known_by_their_content(folder, shared_data):
    files = sorted(p for p in (shared_data / "real/hard").iterdir() if p.suffix != ".json")
    for path in files: shutil.copy(path, folder / f"{path.name}_")
    shutil.copy(shared_data / "real/hard/truth.json", folder / "truth")
    assert names(folder) == ([f"{p.name}_" for p in files], "left out: 1 file (no ending 1)", [])


def test_one_line_says_what_is_left_out(folder):
    put(folder, "a.wav", "b.docx", "deep/c.DOCX", "d.jpg", "e", "f.very long name, no ending", "list.m3u8")
    put(folder, ".hidden.wav", ".git/x.wav", "g.mp4.part", "h.crdownload", "i.tmp", "j.wav~", "k.m4a.ytdl")
    assert names(folder) == (
        ["a.wav"],
        "left out: 6 files (.docx 2, no ending 2, .jpg 1, .m3u8 1); 1 hidden file; 1 hidden folder; "
        "5 unfinished files (g.mp4.part, h.crdownload, i.tmp, …)",
        [],
    )


def test_ten_endings_are_named(folder):
    put(folder, *(f"{i}.e{i:02}" for i in range(12)), "x.e11", "a.wav")
    line = names(folder)[1]
    assert line.startswith("left out: 13 files (.e11 2, .e00 1, ") and line.endswith(".e08 1, others 2)")


def test_the_order_is_that_of_names_files_before_folders(folder, tmp_path):
    put(tmp_path, "far/z.wav", "far/deep/y.wav")
    put(folder, "b.wav", "a/2.wav", "a/1.wav", "a/x/3.wav", "B.wav", "c/4.wav")
    (folder / "a/link").symlink_to(tmp_path / "far")
    (folder / "0.wav").symlink_to(tmp_path / "far/z.wav")
    assert names(folder) == (
        ["B.wav", "b.wav", "a/1.wav", "a/2.wav", "a/x/3.wav", "c/4.wav", "a/link/z.wav", "a/link/deep/y.wav"],
        "left out: 1 link to a recording that is taken already (0.wav)",
        [],
    )


# Links


def test_a_linked_folder_is_searched_once_and_loops_end(folder, tmp_path):
    put(tmp_path, "far/c.wav")
    put(folder, "a.wav", "deep/b.wav")
    (folder / "deep/up").symlink_to("..")
    (folder / "deep/self").symlink_to(".")
    (folder / "above").symlink_to(tmp_path)
    (folder / "far1").symlink_to(tmp_path / "far")
    (folder / "far2").symlink_to(tmp_path / "far")
    (tmp_path / "far/back").symlink_to(folder)
    (tmp_path / "far/round").symlink_to(tmp_path / "far")
    relative, line, errors = names(folder)
    assert (relative, errors) == (["a.wav", "deep/b.wav", "far1/c.wav"], [])
    assert line == (
        "left out: 5 linked folders that are searched already (far2, self, up, …); "
        "1 linked folder that contains this one (above)"
    )


def test_two_linked_folders_that_link_to_each_other(folder, tmp_path):
    for name, other in (("one", "two"), ("two", "one")):
        put(tmp_path, f"{name}/{name}.wav")
        (tmp_path / name / "other").symlink_to(tmp_path / other)
    (folder / "start").symlink_to(tmp_path / "one")
    assert names(folder)[0] == ["start/one.wav", "start/other/two.wav"]


def test_a_linked_folder_that_holds_a_searched_one(folder, tmp_path):
    put(tmp_path, "years/2019/jan/a.wav", "years/2019/b.wav")
    (folder / "1").symlink_to(tmp_path / "years/2019/jan")
    (folder / "2").symlink_to(tmp_path / "years")
    assert names(folder)[0] == ["1/a.wav", "2/2019/b.wav"]


def test_a_file_and_a_link_to_it_are_one(folder, tmp_path):
    put(folder, "z.wav")
    put(tmp_path, "far.wav", "no.docx")
    for link, target in {"a.wav": "z.wav", "b.wav": "../far.wav", "c.wav": "../far.wav"}.items():
        (folder / link).symlink_to(target)
    (folder / "d").symlink_to("../no.docx")
    assert names(folder) == (
        ["z.wav", "b.wav"],
        "left out: 1 file (no ending 1); 2 links to recordings that are taken already (a.wav, c.wav)",
        [],
    )


def test_a_folder_and_a_link_to_it_as_two_sources(folder, tmp_path):
    put(folder, "a.wav", "deep/b.wav", "c.docx")
    (tmp_path / "link").symlink_to(folder)
    sources = [str(folder), str(tmp_path / "link"), str(folder / "deep"), str(folder / "a.wav")]
    listing = find_sources(sources)
    assert listing.recordings == [str(folder / "a.wav"), str(folder / "deep/b.wav")]
    assert describe_left_out(listing.left_out) == "left out: 1 file (.docx 1)"
    assert not listing.missing
    assert find_sources([str(tmp_path / "link")]).recordings[0] == str(tmp_path / "link/a.wav")


def test_broken_links_are_errors_with_their_names(folder):
    put(folder, "a.wav")
    targets = {"b.wav": "gone.wav", "archive": "/nowhere/2019", "round": "round", "c.docx": "x"}
    for link, target in targets.items(): (folder / link).symlink_to(target)
    relative, line, errors = names(folder)
    assert (relative, line) == (["a.wav"], "left out: 1 broken link (c.docx)")
    way_out = "which can't be reached; restore the target, or remove the link"
    assert sorted(errors) == [
        f"{folder}/archive: a link to /nowhere/2019, {way_out}",
        f"{folder}/b.wav: a link to gone.wav, {way_out}",
        f"{folder}/round: a link to round, {way_out}",
    ]


# Results, permissions, names


def test_results_of_this_and_of_other_commands(folder):
    put(folder, "a.mp4", "a.captions.mp4", "b.captions.mp4", "old/.jobs/queue.sqlite", "old/a/x.wav")
    put(folder, "new/.jobs/queue.sqlite", "new/a/a.wav")
    (folder / "link").symlink_to("new/a")
    assert names(folder, folder / "new") == (
        ["a.mp4", "b.captions.mp4"],
        "left out: 1 video with burnt-in captions (a.captions.mp4); 2 folders of results (old, link)",
        [],
    )


def test_results_among_the_recordings(folder):
    put(folder, "a.wav", "deep/b.wav", ".jobs/queue.sqlite", ".a.1.part/x.wav", "a/a.ipynb", "a/x.wav")
    put(folder, "failed/b.ipynb", "failed/c.wav", "index.html")
    assert names(folder, folder) == (
        ["a.wav", "deep/b.wav", "failed/c.wav"],
        "left out: 2 files (.html 1, .ipynb 1)",
        [],
    )


@contextmanager
def without_privileges(*folders):
    "Files are opened as a user who owns none, where the tests run as root"
    if os.geteuid():
        yield
        return
    for folder in folders:
        for parent in (folder, *folder.parents):
            mode = parent.stat().st_mode
            if mode & 0o011 != 0o011: parent.chmod(mode | 0o011)
    os.seteuid(65534)
    try: yield
    finally: os.seteuid(0)


def test_a_folder_that_can_not_be_searched_is_an_error(folder):
    put(folder, "a.wav", "private/b.wav", "secret")
    folder.chmod(0o755)
    (folder / "private").chmod(0)
    (folder / "secret").chmod(0)
    with without_privileges(folder.parent):
        relative, line, errors = names(folder)
        [root] = find_sources([str(folder / "private")]).unreadable
    (folder / "private").chmod(0o755)
    assert (relative, line) == (["a.wav"], "left out: 1 file that can't be read (secret)")
    assert errors == [
        f"{folder}/private: it can't be searched for recordings (Permission denied); "
        "change its permissions, or move it out of the folder"
    ]
    assert root.startswith(f"{folder}/private: it can't be searched") and "check the path" in root


def test_names_in_two_normal_forms_with_spaces_and_newlines(folder):
    forms = [unicodedata.normalize(form, "Gespräch 한국어") for form in ("NFC", "NFD")]
    odd = [f"{form}.wav" for form in forms]
    odd += [" a b .wav", "line\nbreak.wav", "end.wav\n", "tab\t.WAV ", "-rf.wav"]
    for name in odd: put(folder, name, text=name)
    put(folder, "two\nlines.docx")
    relative, line, errors = names(folder)
    assert (sorted(relative), errors) == (sorted(odd), [])
    assert line == "left out: 1 file (.docx 1)"
    (folder / "bad\nlink").symlink_to("gone\nfile")
    [message] = names(folder)[2]
    assert "\n" not in message and "bad_link: a link to gone_file" in message


def test_what_is_no_file_is_said_and_never_opened(folder):
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "talk.wav")  # reading it will be an error
    assert names(folder)[:2] == (["talk.wav"], "left out: 1 FIFO, socket or device (pipe)")


def test_a_deep_and_a_wide_folder(folder):
    deep = folder
    for _ in range(300): deep = deep / "d"
    put(deep, "deep.wav")
    (folder / "wide").mkdir()
    for i in range(20_000): (folder / f"wide/{i:05}.{'wav' if i % 2 else 'jpg'}").touch()
    relative, line, _ = names(folder)
    assert len(relative) == 10_001 and line == "left out: 10000 files (.jpg 10000)"
    assert relative[1:] == sorted(relative[1:])


# S3


def test_a_prefix_takes_each_known_ending_and_says_what_is_left_out():
    import boto3

    with s3_server():
        client = boto3.client("s3")
        for key in ("a.MTS", "b.mxf", "deep/c.weba", "d.docx", "deep/e", "f.wav.part", ".g.wav"):
            client.put_object(Bucket="media", Key=f"in/{key}", Body=b"1")
        listing = find_sources(["s3://media/in/"])
        assert find_sources(["s3://media/in/d.*"]).recordings == ["s3://media/in/d.docx"]
    assert listing.recordings == [f"s3://media/in/{key}" for key in ("a.MTS", "b.mxf", "deep/c.weba")]
    assert describe_left_out(listing.left_out) == (
        "left out: 2 objects (.docx 1, no ending 1); 1 hidden file; 1 unfinished file (f.wav.part)"
    )


# What stays as it was


def test_a_file_and_a_pattern_are_taken_as_they_are(folder):
    put(folder, "a.docx", ".hidden.wav", "b.part", "c.xyz")
    explicit = [str(folder / "a.docx"), str(folder / ".hidden.wav"), str(folder / "b.part")]
    assert expand(explicit) == (explicit, [])
    assert expand([str(folder / "*.xyz")]) == ([str(folder / "c.xyz")], [])
    assert find_sources([str(folder / "c.xyz"), str(folder)]).recordings == [str(folder / "c.xyz")]
    listing = find_sources([str(folder / "c.xyz"), str(folder)])
    assert "xyz" not in describe_left_out(listing.left_out)


# Who is told


def test_expand_logs_one_line(folder, caplog):
    put(folder, "a.wav", "b.docx")
    with caplog.at_level(logging.WARNING, "ecg_audio_nb"):
        assert expand([str(folder)]) == ([str(folder / "a.wav")], [])
    assert [record.message for record in caplog.records] == ["left out: 1 file (.docx 1)"]
    lines = []
    expand([str(folder)], log=lines.append)
    assert lines == ["left out: 1 file (.docx 1)"]


def test_the_command_says_it_once_and_ends_well(tmp_path):
    recordings(tmp_path / "in", 2)
    put(tmp_path, "in/b.docx", "in/c.jpg")
    toy = notebook(tmp_path / "toy.ipynb")
    done = ecg("batch", tmp_path / "in", "-o", tmp_path / "out", "--notebook", toy)
    output, log = done.communicate(timeout=120)
    assert (done.returncode, output) == (0, f"2 of 2 done: {tmp_path}/out/index.html\n")
    assert log.count("note: left out: 2 files (.docx 1, .jpg 1)\n") == 1 and log.count("left out") == 1


def test_a_batch_from_python_says_it(tmp_path):
    recordings(tmp_path / "in", 1)
    put(tmp_path, "in/b.docx")
    (tmp_path / "in/gone.wav").symlink_to("nowhere.wav")
    lines = []
    spec = BatchSpec(notebook(tmp_path / "toy.ipynb"))
    jobs, errors = batch([str(tmp_path / "in")], tmp_path / "out", spec, log=lines.append)
    assert [job.state for job in jobs] == ["done"] and "gone.wav: a link to nowhere.wav" in errors[0]
    assert "note: left out: 1 file (.docx 1)" in lines and errors[0] in lines


def test_a_watched_folder_says_each_thing_once_when_it_has_settled(tmp_path, folder, queue, store):
    put(folder, "a.docx")
    put(folder, "empty.wav", "upload", text="")
    lines, spec = [], BatchSpec(notebook(tmp_path / "toy.ipynb"))
    watcher = SourceWatcher(
        queue, spec, store, [str(folder)], log=lines.append, watch=True, settle=0.2
    )

    def looked(n):
        watcher.look()
        return len(lines) >= n

    until(lambda: looked(2))
    note = f"note: {folder}/empty.wav: the file is empty (0 bytes); it waits for its content"
    assert sorted(lines) == [note, "note: left out: 2 files (.docx 1, no ending 1)"]
    assert not watcher.errors and not list_jobs(queue)
    (folder / "empty.wav").write_text("content")
    (folder / "upload").write_bytes(b"fLaC and more")
    put(folder, "b.jpg")
    until(lambda: looked(3) and len(watcher.ids) == 2)
    assert lines[2:] == ["note: left out: 1 file (.jpg 1)"]
    for _ in range(3): until(lambda: watcher.look() or True)
    assert len(lines) == 3 and {job.name for job in list_jobs(queue)} == {"empty", "upload"}
