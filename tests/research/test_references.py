"""References found and read in whatever form a file system or an editor gives them"""

import unicodedata

import pytest

from ecg_audio_nb.research.metrics import score_folder
from ecg_audio_nb.research.references import (
    EvaluateError,
    ReferenceFolder,
    existing_file,
    find_references,
    read_transcript,
    read_turns,
    read_words,
)
from ecg_audio_nb.results.export import export
from ecg_audio_nb.schema import Analysis, Metadata, Segment, Word

NAME = "한글 녹음"
NFC, NFD = (unicodedata.normalize(form, NAME) for form in ("NFC", "NFD"))


def put(folder, *names):
    for name in names:
        (folder / name).write_text("hello", encoding="utf-8")


@pytest.mark.parametrize("on_disk", [NFC, NFD], ids=["disk NFC", "disk NFD"])
@pytest.mark.parametrize("source", [NFC, NFD], ids=["source NFC", "source NFD"])
def test_a_name_is_found_in_either_form(tmp_path, on_disk, source):
    put(tmp_path, f"{on_disk}.stm", f"{on_disk}.rttm")
    found = find_references(f"recordings/{source}.wav", tmp_path)
    assert found == {"transcript": tmp_path / f"{on_disk}.stm", "turns": tmp_path / f"{on_disk}.rttm"}


@pytest.mark.parametrize("on_disk", ["talk.STM", "Talk.stm", "TALK.Stm"])
def test_capitals_do_not_matter_where_there_is_one_candidate(tmp_path, on_disk):
    put(tmp_path, on_disk)
    assert find_references("talk.wav", tmp_path)["transcript"] == tmp_path / on_disk
    assert existing_file(tmp_path, "talk", "stm", "txt") == tmp_path / on_disk


def test_the_exact_name_is_preferred(tmp_path):
    put(tmp_path, "Talk.stm", "talk.stm", "TALK.txt")
    assert existing_file(tmp_path, "talk", "stm") == tmp_path / "talk.stm"
    assert existing_file(tmp_path, "Talk", "stm") == tmp_path / "Talk.stm"
    assert existing_file(tmp_path, "talk", "rttm", "txt", "stm") == tmp_path / "TALK.txt"


@pytest.mark.parametrize(
    "names, stem, told",
    [
        ((f"{NFC}.stm", f"{NFD}.stm"), NFC, "u1112"),
        (("talk.stm", "talk.STM"), "talk", "talk.STM and talk.stm"),
        (("Talk.stm", "TALK.stm"), "talk", "TALK.stm and Talk.stm"),
    ],
)
def test_two_that_differ_in_form_only_are_one_clear_error(tmp_path, names, stem, told):
    put(tmp_path, *names)
    with pytest.raises(EvaluateError, match="differ in capitals or Unicode's form only.*keep one") as e:
        find_references(f"{stem}.wav", tmp_path)
    assert told in str(e.value) and "\n" not in str(e.value)


def test_folders_and_what_is_not_there_are_no_references(tmp_path):
    (tmp_path / "talk.stm").mkdir()
    assert ReferenceFolder(tmp_path).find("talk", "stm", "txt") is None
    assert ReferenceFolder(tmp_path / "nowhere").find("talk", "stm") is None
    with pytest.raises(EvaluateError, match="holds no talk.stm"):
        find_references("talk.wav", tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(tmp_path, encoding):
    def write(name, text):
        bom = b"" if encoding == "utf-8" or encoding in ("utf-8-sig", "utf-16") else "\ufeff".encode(encoding)
        (tmp_path / name).write_bytes(bom + text.encode(encoding))
        return tmp_path / name

    assert read_transcript(write("a.txt", "안녕\r\n하세요"))[0].text == "안녕\n하세요"
    assert read_transcript(write("a.stm", "a 1 A 0 1 안녕\r\n"))[0].text == "안녕"
    assert read_turns(write("a.rttm", "SPEAKER a 1 0 1 <NA> <NA> 민수\n"))[0].speaker_id == "민수"
    assert read_words(write("a.ctm", "a 1 0 1 안녕\n"))[0].word == "안녕"


def test_texts_and_names_are_nfc_inside(tmp_path):
    text = f"{NFD.replace(' ', '_')} 1 José 0 1 Việt\nother 1 B 0 1 x\n"
    (tmp_path / "a.stm").write_text(unicodedata.normalize("NFD", text), encoding="utf-8")
    [u] = read_transcript(tmp_path / "a.stm", NFD.replace(" ", "_"))
    assert (u.text, u.speaker) == ("Việt", "José")
    rttm = f"SPEAKER {NFC.replace(' ', '_')} 1 0 1 <NA> <NA> A\nSPEAKER other 1 0 2 <NA> <NA> B\n"
    (tmp_path / "a.rttm").write_text(rttm, encoding="utf-8")
    assert read_turns(tmp_path / "a.rttm", NFD.replace(" ", "_"))[0].speaker_id == "A"


def test_a_recording_inside_a_file_is_found_in_capitals_if_it_is_one(tmp_path):
    (tmp_path / "a.ctm").write_text("TALK 1 0 1 yes\nsong 1 0 1 no\n")
    assert [w.word for w in read_words(tmp_path / "a.ctm", "talk")] == ["yes"]
    (tmp_path / "b.ctm").write_text("TALK 1 0 1 yes\nTalk 1 0 1 no\n")
    assert [w.word for w in read_words(tmp_path / "b.ctm", "Talk")] == ["no"]
    with pytest.raises(EvaluateError, match="TALK and Talk differ in case only; keep one"):
        read_words(tmp_path / "b.ctm", "talk")


def test_a_folder_of_results_from_a_mac_is_scored(tmp_path):
    words = (Word("안녕", 0, 1), Word("하세요", 1, 2))
    analysis = Analysis(
        (Segment(0, 0, 2, text="안녕 하세요", words=words),),
        (),
        (),
        Metadata(f"{NFD}.wav", duration=2, language_detected="ko"),
    )
    export(analysis, tmp_path / "results", NFD, ["json"])
    refs = tmp_path / "refs"
    refs.mkdir()
    (refs / f"{NFC}.txt").write_text(unicodedata.normalize("NFD", "안녕하세요."), encoding="utf-8")
    [scores] = score_folder(tmp_path / "results", refs)
    assert scores.name == NFC and scores.counts["cer"] == (0, 5)
