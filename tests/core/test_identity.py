"""Names of files, and the recordings that they belong to"""

import hashlib
import unicodedata

import pytest

from ecg_audio_nb.core.identity import (
    digest_comment,
    file_of,
    files_named,
    known_owners,
    own_stem,
    owners_of,
    recorded_digest,
    remember_owner,
)

A, B = ("a" * 64, "b" * 64)


def put_result(folder, name, sha256):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(f'{{"metadata": {{"source_sha256": "{sha256}"}}}}')


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.json", f'{{"metadata": {{"source_sha256": "{A}"}}}}'),
        ("a.JSON", f'{{"metadata":{{"source_sha256":"{A}"}}}}'),
        ("a.stm", digest_comment(A) + "a 1 A 0 1 hello\n"),
        ("a.rttm", "SPEAKER a 1 0 1 <NA> <NA> A\r\n;; source_sha256 " + A + "\r\n"),
        ("a.sha256", f"{A}  day 1/rec.wav\n"),
        ("a.sha256", f"{A.upper()} *rec.wav\r\n"),
        ("a.sha256", A),
    ],
)
def test_a_file_names_its_recording(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert recorded_digest(tmp_path / name) == A


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.txt", digest_comment(A)),
        ("a.json", '{"metadata": {"source_sha256": null}}'),
        ("a.json", '{"text": "\\"source_sha256\\": \\"' + A + '\\""}'),
        ("a.stm", "a 1 A 0 1 source_sha256 " + A),
        ("a.sha256", f"{A}  day1/rec.wav\n{B}  day2/rec.wav\n"),
        ("a.sha256", A[:-1]),
    ],
)
def test_what_names_no_recording_has_no_digest(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert recorded_digest(tmp_path / name) is None


def test_the_file_that_sha256sum_writes_is_read(tmp_path):
    digest = hashlib.sha256(b"sound").hexdigest()
    (tmp_path / "rec.sha256").write_text(f"{digest}  rec.wav\n")
    (tmp_path / "rec.txt").write_text("hello")
    assert owners_of(tmp_path, "rec") == {digest}


def test_a_file_that_is_missing_or_a_folder_names_nothing(tmp_path):
    (tmp_path / "a.json").mkdir()
    assert recorded_digest(tmp_path / "a.json") is None and recorded_digest(tmp_path / "b.json") is None
    assert owners_of(tmp_path / "nowhere", "a") == set() and own_stem(tmp_path / "nowhere", "a", A) == "a"


def test_another_recording_never_gets_a_name_that_is_taken(tmp_path):
    put_result(tmp_path, "rec", A)
    assert own_stem(tmp_path, "rec", A) == "rec"
    assert own_stem(tmp_path, "rec", B) == "rec-bbbbbbbb"
    put_result(tmp_path, "rec-bbbbbbbb", B)
    assert (own_stem(tmp_path, "rec", A), own_stem(tmp_path, "rec", B)) == ("rec", "rec-bbbbbbbb")
    (tmp_path / "rec.json").unlink()
    assert own_stem(tmp_path, "rec", B) == "rec-bbbbbbbb"


def test_two_digests_that_begin_alike_get_the_whole_one(tmp_path):
    put_result(tmp_path, "rec", A)
    put_result(tmp_path, "rec-bbbbbbbb", "b" * 8 + "c" * 56)
    assert own_stem(tmp_path, "rec", B) == f"rec-{B}"


def test_a_recording_keeps_the_number_that_it_got_in_one_command(tmp_path):
    put_result(tmp_path, "rec", A)
    put_result(tmp_path, "rec-2", B)
    assert own_stem(tmp_path, "rec", B) == "rec-2"
    assert own_stem(tmp_path, "rec", A, proposed="rec-2") == "rec"
    assert own_stem(tmp_path, "take", B) == "take"
    assert own_stem(tmp_path, "rec", A, proposed="rec-2", taken={"rec"}) == "rec-aaaaaaaa"


@pytest.mark.parametrize("stem", ["take [1]", "what?*", "a.b", "한글", "Straße", "-x"])
def test_names_are_taken_literally_and_in_every_form(tmp_path, stem):
    put_result(tmp_path, unicodedata.normalize("NFD", stem).upper(), A)
    put_result(tmp_path, "other", B)
    assert owners_of(tmp_path, stem) == {A} and len(files_named(tmp_path, stem)) == 1
    assert own_stem(tmp_path, stem, B) == f"{stem}-bbbbbbbb"


def test_where_the_digest_is_unknown_the_name_is_all_there_is(tmp_path):
    put_result(tmp_path, "rec", A)
    assert own_stem(tmp_path, "rec", None) == "rec"


def test_captions_are_about_a_recording_too(tmp_path):
    out, data = tmp_path / "out", tmp_path / "data"
    out.mkdir()
    (out / "rec.srt").write_text("1")
    assert known_owners(data, out) == {} and own_stem(out, "rec", B, known={}) == "rec"
    remember_owner(data, out, "rec", A)
    known = known_owners(data, out)
    assert known == {"rec": A} and known_owners(data, tmp_path) == {}
    assert own_stem(out, "REC", A, known=known) == "REC" and own_stem(out, "rec", B, known=known) == "rec-bbbbbbbb"
    (out / "rec.srt").unlink()
    assert own_stem(out, "rec", B, known=known) == "rec"
    put_result(out, "rec", B)
    assert own_stem(out, "rec", B, known=known) == "rec", "what the files say counts more"


def test_a_register_that_is_broken_or_cannot_be_written_is_no_error(tmp_path):
    remember_owner(tmp_path, tmp_path, "rec", A)
    [register] = (tmp_path / "names").iterdir()
    for text in ("", "[1]", "{"):
        register.write_text(text)
        assert known_owners(tmp_path, tmp_path) == {}
    (tmp_path / "file").write_text("")
    remember_owner(tmp_path / "file", tmp_path, "rec", A)


def test_a_copy_under_another_number_keeps_its_own_name(tmp_path):
    put_result(tmp_path, "rec-2", A)
    assert own_stem(tmp_path, "rec", A) == "rec"


def test_the_file_of_a_recording(tmp_path):
    put_result(tmp_path, "rec", A)
    put_result(tmp_path, "rec-bbbbbbbb", B)
    found = [file_of(tmp_path, "rec", ".json", sha256) for sha256 in (A, B, "c" * 64, None)]
    assert [path and path.name for path in found] == ["rec.json", "rec-bbbbbbbb.json", None, "rec.json"]
    (tmp_path / "old.json").write_text("{}")
    assert file_of(tmp_path, "OLD", ".json", A) == tmp_path / "old.json"


def test_on_a_system_that_tells_capitals_apart_each_keeps_its_own(tmp_path):
    put_result(tmp_path, "Rec", A)
    put_result(tmp_path, "rec", B)
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system does not tell capitals apart")
    assert (own_stem(tmp_path, "Rec", A), own_stem(tmp_path, "rec", B)) == ("Rec", "rec")
    assert file_of(tmp_path, "rec", ".json", B) == tmp_path / "rec.json"
