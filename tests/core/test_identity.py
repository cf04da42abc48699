"""Names of files, and the recordings that they belong to"""

import hashlib
import unicodedata

import pytest

from ecg_audio_nb.core.identity import digest_comment, files_named, own_stem, owners_of, recorded_digest

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
