"""Edited files read back as corrections: what was not edited stays the same record, what was edited is found"""
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from made_results import AWKWARD, analysis, result, said
from praatio import textgrid
from pympi.Elan import Eaf

from ecg_audio_nb.results.corrections import BY_HAND, UNMEASURED, CorrectionError, measure_recording
from ecg_audio_nb.results.edited_cues import read_cues, word_numbers
from ecg_audio_nb.results.edited_files import correct_from
from ecg_audio_nb.results.export import export
from ecg_audio_nb.results.caption_styles import caption_cues
from ecg_audio_nb.results.word_matching import Passage, match_words
from ecg_audio_nb.schema import AcousticFeatures, FullFeatures, Segment, Speaker, Turn, Word


def words_of(a): return [(w.word, w.start_time, w.end_time, w.speaker_id) for w in a.words]
def changed(a, b): return [w for w in b.words if w not in a.words]


# A file that nobody edited

@pytest.mark.parametrize("format, style", [
    ("TextGrid", None), ("eaf", None), ("srt", None), ("srt", "netflix"), ("vtt", "bbc"), ("ass", "plain"),
    ("srt", {"max_chars": 20, "lines": 1}),
])  # fmt: skip
@given(a=analysis())
@example(a=result(said(0, " ".join(AWKWARD))))
@settings(max_examples=40, deadline=None)
def test_a_file_that_was_not_edited_changes_nothing(tmp_path_factory, format, style, a):
    path, = export(a, tmp_path_factory.mktemp("edited"), "x", [format], style=style)
    done = correct_from(a, path, style=style)
    assert (done.changed, done.analysis is a, done.summary) == (False, True, "no corrections")


def test_the_style_is_found_out(tmp_path):
    a = result(said(0, " ".join(["A sentence of a few words, and then some more of them."] * 5)))
    path, = export(a, tmp_path, "x", ["srt"], style="bbc")
    assert not correct_from(a, path).changed


@given(a=analysis())
@settings(max_examples=60, deadline=None)
def test_every_word_stands_in_one_row_of_the_cues(a):
    numbers = [n for cue in word_numbers(a, caption_cues(a)) for row in cue for n in row]
    assert len(numbers) == len(set(numbers))
    spoken = [w for w in a.words if w.kind == "word"]
    unseen = set(range(len(spoken))) - set(numbers)
    assert all(not "".join(read.split()) for n in unseen for read in [clean(spoken[n].word)])


def clean(text):
    from ecg_audio_nb.core.text import clean_text
    return clean_text(" ".join(text.split()))


# Praat

TALK = (said(0, "We go to the market"), said(1, "And then what?", 5, speaker="SPEAKER_01"), said(2, "We buy apples.", 8))


def edit_grid(folder, a, **tiers):
    "Export a TextGrid, and edit tiers with praatio: name of a tier (_ for the space) -> function of its entries"
    path, = export(a, folder, "x", ["TextGrid"])
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    for name, edit in tiers.items():
        tier = grid.getTier(name.replace("__", " "))
        grid.replaceTier(tier.name, tier.new(entries=edit([tuple(e) for e in tier.entries])))
    grid.save(str(path), "short_textgrid", includeBlankSpaces=True)
    return path


def test_a_word_gets_another_text_and_keeps_its_times(tmp_path):
    a = result(*TALK)
    path = edit_grid(tmp_path, a, SPEAKER_00__words=lambda w: [*w[:4], (w[4][0], w[4][1], "mall"), *w[5:]])
    done = correct_from(a, path)
    assert done.summary == "1 word changed"
    [new] = changed(a, done.analysis)
    assert new == replace(a.words[4], word="mall", confidence=None)
    assert done.analysis.segments[0].text == "We go to the mall" and done.analysis.turns == a.turns
    assert done.analysis.metadata.warnings == (BY_HAND,)


def test_borders_that_a_person_moved_are_measured(tmp_path):
    a = result(*TALK)
    path = edit_grid(tmp_path, a, SPEAKER_00__words=lambda w: [(0.05, 0.31, "We"), (0.31, *w[1][1:]), *w[2:]])
    done = correct_from(a, path)
    assert [(w.word, w.start_time, w.end_time, w.timing, w.confidence) for w in changed(a, done.analysis)] == [
        ("We", 0.05, 0.31, "measured", 0.8), ("go", 0.31, 0.8, "measured", 0.8)]  # fmt: skip
    assert done.summary == "2 words changed"


def test_words_are_added_removed_split_and_joined(tmp_path):
    a = result(*TALK)
    def edit(w):
        we, go, to, the, market, *rest = w
        return [we, (go[0], to[1], "goto"), (the[0], 1.4, "th"), (1.4, the[1], "e"), (2.0, 2.3, "uh"), *rest]
    done = correct_from(a, edit_grid(tmp_path, a, SPEAKER_00__words=edit))
    assert words_of(done.analysis)[:5] == [
        ("We", 0, 0.4, "SPEAKER_00"), ("goto", 0.4, 1.2, "SPEAKER_00"), ("th", 1.2, 1.4, "SPEAKER_00"),
        ("e", 1.4, 1.6, "SPEAKER_00"), ("uh", 2.0, 2.3, "SPEAKER_00")]  # fmt: skip
    assert done.summary == "2 words changed, 2 words added, 2 words removed"
    assert {w.timing for w in changed(a, done.analysis)} == {"measured"}
    # "uh" lies after the turn, which ends at 2 s: the speaker talks there as well
    assert done.analysis.turns[0] == Turn(0, 2.3, "SPEAKER_00")


def test_a_word_on_another_tier_has_another_speaker(tmp_path):
    a = result(*TALK)
    market = []
    path = edit_grid(tmp_path, a, SPEAKER_00__words=lambda w: (market.append(w[4]), w[:4] + w[5:])[1],
                     SPEAKER_01__words=lambda w: [market[0], *w])  # fmt: skip
    done = correct_from(a, path)
    assert done.summary == "1 word given to another speaker"
    [word] = changed(a, done.analysis)
    assert word == replace(a.words[4], speaker_id="SPEAKER_01", speaker_confidence=None)
    assert [(t.start_time, t.end_time, t.speaker_id) for t in done.analysis.turns][:2] == [
        (0, 1.6, "SPEAKER_00"), (1.6, 2, "SPEAKER_01")]  # fmt: skip


def test_a_renamed_tier_renames_the_speaker(tmp_path):
    a = result(*TALK, speakers=(Speaker("SPEAKER_00", acoustic_features=AcousticFeatures(-20.0)), Speaker("SPEAKER_01")))
    path, = export(a, tmp_path, "x", ["eaf"])
    file = Eaf(str(path))
    for kind in ("words", "segments"): file.rename_tier(f"SPEAKER_00 {kind}", f"Anna Lee {kind}")
    file.to_file(str(path))
    done = correct_from(a, path)
    assert [s.speaker_id for s in done.analysis.segments] == ["Anna Lee", "SPEAKER_01", "Anna Lee"]
    assert [t.speaker_id for t in done.analysis.turns] == ["Anna Lee", "SPEAKER_01", "Anna Lee"]
    anna = done.analysis.speakers[0]
    assert (anna.speaker_id, anna.acoustic_features.volume_db) == ("Anna Lee", -20)


def test_elan_annotations_are_read(tmp_path):
    a = result(*TALK)
    path, = export(a, tmp_path, "x", ["eaf"])
    file = Eaf(str(path))
    file.remove_annotation("SPEAKER_01 words", 5100)
    file.add_annotation("SPEAKER_01 words", 5050, 5390, "But")
    file.add_tier("notes")
    file.add_annotation("notes", 0, 1000, "laughs")
    file.to_file(str(path))
    done = correct_from(a, path)
    assert [(w.word, w.start_time, w.end_time, w.timing) for w in changed(a, done.analysis)] == [
        ("But", 5.05, 5.39, "measured")]  # fmt: skip
    assert done.notes == ("tiers that are not read: notes",)


def test_time_slots_that_elan_leaves_open_lie_between_their_neighbours(tmp_path):
    a = result(said(0, "one two three", step=1))
    path, = export(a, tmp_path, "x", ["eaf"])
    text = path.read_text()
    slot = 'TIME_SLOT_ID="ts6" TIME_VALUE="2000"'
    assert slot in text or 'TIME_VALUE="2000"' in text
    path.write_text(text.replace(' TIME_VALUE="2000"', ""))
    done = correct_from(a, path)
    assert [w.start_time for w in done.analysis.words][0] == 0 and 1 < done.analysis.words[2].start_time < 3


def test_the_text_of_a_segment_counts_where_its_words_were_left_alone(tmp_path):
    a = result(*TALK)
    def edit(s): return [(s[0][0], s[0][1], "We go to the big market"), *s[1:]]
    done = correct_from(a, edit_grid(tmp_path, a, SPEAKER_00__segments=edit))
    assert done.summary == "1 word added"
    assert [(w.word, w.timing) for w in changed(a, done.analysis)] == [("big", "interpolated")]
    def reword(w): return [(*w[0][:2], "They"), *w[1:]]
    both = correct_from(a, edit_grid(tmp_path, a, SPEAKER_00__segments=edit, SPEAKER_00__words=reword))
    assert [w.word for w in changed(a, both.analysis)] == ["They"] and "the words are taken" in both.notes[0]


def test_turns_of_speakers_without_words_are_read(tmp_path):
    a = replace(result(), turns=(Turn(1, 2, "A"), Turn(3, 4, "A"), Turn(5, 6, "B")))
    path = edit_grid(tmp_path, a, A__turns=lambda t: [(1, 2.5, "A")])
    done = correct_from(a, path)
    assert done.analysis.turns == (Turn(1, 2.5, "A"), Turn(5, 6, "B")) and done.summary == "turns of A changed"


def test_a_tier_that_is_missing_was_not_read_and_says_so(tmp_path):
    a = result(*TALK)
    path, = export(a, tmp_path, "x", ["TextGrid"])
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    for kind in ("words", "segments"): grid.removeTier(f"SPEAKER_01 {kind}")
    grid.save(str(path), "long_textgrid", includeBlankSpaces=True)
    done = correct_from(a, path)
    assert not done.changed and "SPEAKER_01 words" in done.notes[0]


def test_a_tier_called_words_keeps_the_speakers(tmp_path):
    a = result(*TALK)
    path = tmp_path / "x.TextGrid"
    grid = textgrid.Textgrid(0, 100)
    entries = [(w.start_time, w.end_time, "Then" if w.word == "then" else w.word) for w in a.words]
    grid.addTier(textgrid.IntervalTier("words", [*entries, (50, 51, "bye")], 0, 100))
    grid.save(str(path), "long_textgrid", includeBlankSpaces=True)
    done = correct_from(a, path)
    assert [(w.word, w.speaker_id) for w in changed(a, done.analysis)] == [("Then", "SPEAKER_01"), ("bye", None)]


# Captions

def edit_text(folder, a, *pairs, format="srt", **options):
    path, = export(a, folder, "x", [format], **options)
    text = path.read_text("utf-8-sig")
    for old, new in pairs:
        assert old in text, text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


def test_words_of_a_caption_keep_their_times(tmp_path):
    a = result(*TALK)
    done = correct_from(a, edit_text(tmp_path, a, ("the market", "a mall,"), ("apples", "pears")))
    assert [w for w in changed(a, done.analysis)] == [
        replace(a.words[3], word="a", confidence=None), replace(a.words[4], word="mall,", confidence=None),
        replace(a.words[10], word="pears.", confidence=None)]  # fmt: skip
    assert done.summary == "3 words changed"


def test_new_words_get_a_time_between_their_neighbours(tmp_path):
    a = result(said(0, "We go to the market", length=0.3))  # 0.1 s between two words
    done = correct_from(a, edit_text(tmp_path, a, ("go to", "go down to")))
    [down] = changed(a, done.analysis)
    assert (down.word, down.start_time, down.end_time, down.timing) == ("down", 0.7, 0.8, "interpolated")
    assert (down.speaker_id, down.confidence) == ("SPEAKER_00", None)
    assert words_of(done.analysis)[0] == words_of(a)[0] and len(done.analysis.words) == 6


def test_new_words_without_room_have_no_length(tmp_path):
    a = result(*TALK)
    done = correct_from(a, edit_text(tmp_path, a, ("go to", "go down to")))
    [down] = changed(a, done.analysis)
    assert (down.start_time, down.end_time, down.timing) == (0.8, 0.8, "interpolated")


def test_before_a_long_pause_new_words_stand_by_their_neighbour(tmp_path):
    a = result(said(0, "Yes. No.", step=10, length=0.5))
    done = correct_from(a, edit_text(tmp_path, a, ("Yes.", "Yes, of course.")))
    new = changed(a, done.analysis)
    assert [w.word for w in new] == ["Yes,", "of", "course."]
    assert new[0].end_time == new[1].start_time == 0.5 and new[2].end_time == pytest.approx(0.5 + 9 * 0.07, abs=1e-3)


def test_an_added_cue_has_its_own_time(tmp_path):
    a = result(said(0, "Yes."), said(1, "No.", 10))
    path = edit_text(tmp_path, a)
    path.write_text(path.read_text() + "3\n00:00:05,000 --> 00:00:06,000\nMaybe so.\n\n")
    done = correct_from(a, path)
    assert [(w.word, w.start_time, w.end_time, w.timing) for w in changed(a, done.analysis)] == [
        ("Maybe", 5, 5.625, "interpolated"), ("so.", 5.625, 6, "interpolated")]  # fmt: skip


def test_case_and_marks_alone_are_a_change_of_text(tmp_path):
    a = result(said(0, "hello there general"))
    done = correct_from(a, edit_text(tmp_path, a, ("hello there general", "Hello there, General!")))
    assert [(w.word, w.start_time) for w in done.analysis.words] == [("Hello", 0), ("there,", 0.4), ("General!", 0.8)]


def test_cues_that_are_joined_or_moved_change_no_word(tmp_path):
    a = result(said(0, "One two. Three four."), said(1, "Five six.", 20))
    path = edit_text(tmp_path, a)
    path.write_text("1\n00:00:00,000 --> 00:00:02,500\nOne two.\nThree four.\n\n2\n00:00:21,000 --> 00:00:22,000\nFive six.\n")
    assert not correct_from(a, path).changed


def test_markup_of_a_caption_editor_is_no_text(tmp_path):
    a = result(said(0, "One two three."))
    assert not correct_from(a, edit_text(tmp_path, a, ("One two", "{\\an8}<i>One</i> <font color=\"#ff0000\">two</font>"))).changed


def test_literal_markup_survives_an_edit_beside_it(tmp_path):
    a = result(said(0, "the <b> tag & R&D &amp; {\\an8} C:\\new --> end"))
    for format in ("srt", "vtt"):
        done = correct_from(a, edit_text(tmp_path, a, ("end", "END."), format=format))
        assert [w.word for w in done.analysis.words] == [*[w.word for w in a.words[:-1]], "END."]


def test_a_changed_name_changes_the_speaker_until_the_next_name(tmp_path):
    a = result(said(0, "We go to the market. It is late."), said(1, "And then what?", 8, speaker="SPEAKER_01"),
               said(2, "We buy.", 12))  # fmt: skip
    path = edit_text(tmp_path, a, ("SPEAKER_00: We go", "SPEAKER_01: We go"), style={"max_chars": 20, "lines": 1})
    done = correct_from(a, path)
    assert [w.speaker_id for w in done.analysis.words] == ["SPEAKER_01"] * 11 + ["SPEAKER_00"] * 2
    assert done.summary == "8 words given to another speaker"
    assert [t.speaker_id for t in done.analysis.turns] == ["SPEAKER_01", "SPEAKER_01", "SPEAKER_00"]


def test_a_speaker_is_renamed_by_naming_all_rows(tmp_path):
    a = result(*TALK)
    path = edit_text(tmp_path, a, ("SPEAKER_00:", "Dr. Kim:"), ("SPEAKER_00:", "Dr. Kim:"))
    assert {t.speaker_id for t in correct_from(a, path).analysis.turns} == {"Dr. Kim", "SPEAKER_01"}
    text = edit_text(tmp_path, a, ("then what?", "then: why?"))  # a colon in a sentence names nobody
    assert {s.speaker_id for s in correct_from(a, text).analysis.segments} == {"SPEAKER_00", "SPEAKER_01"}


def test_voice_tags_name_speakers(tmp_path):
    a = result(*TALK)
    done = correct_from(a, edit_text(tmp_path, a, ("<v SPEAKER_01>And", "<v R&amp;D>And"), format="vtt"))
    assert [s.speaker_id for s in done.analysis.segments] == ["SPEAKER_00", "R&D", "SPEAKER_00"]


def test_names_of_known_voices_lead_to_their_speakers(tmp_path):
    speakers = Speaker("SPEAKER_00", name="Anna"), Speaker("SPEAKER_01", name="Bob")
    a = result(*TALK, speakers=speakers)
    done = correct_from(a, edit_text(tmp_path, a, ("Anna: We buy", "Bob: We sell")))
    assert [(w.word, w.speaker_id) for w in changed(a, done.analysis)] == [
        ("We", "SPEAKER_01"), ("sell", "SPEAKER_01"), ("apples.", "SPEAKER_01")]  # fmt: skip
    assert [s.name for s in done.analysis.speakers] == ["Anna", "Bob"]


def test_two_speakers_in_one_cue_are_edited_apart(tmp_path):
    a = result(said(0, "He began a confused complaint"), said(1, "The horizon seems distant", 0.1, speaker="SPEAKER_01"))
    path = edit_text(tmp_path, a, ("He began", "He very began"), ("The horizon", "A horizon"))
    done = correct_from(a, path)
    assert {(w.word, w.speaker_id) for w in changed(a, done.analysis)} == {("very", "SPEAKER_00"), ("A", "SPEAKER_01")}


@pytest.mark.parametrize("words, old, new, expected", [
    (["東京", "都", "に", "行く"], "都", "府", ["東京", "府", "に", "行く"]),
    (["私", "は", "OpenAI", "で", "働く"], "働く", "働いた", ["私", "は", "OpenAI", "で", "働いた"]),
    (["我", "有", "3", "个", "苹果"], "苹果", "梨", ["我", "有", "3", "个", "梨"]),
])  # fmt: skip
def test_scripts_without_spaces(tmp_path, words, old, new, expected):
    spoken = tuple(Word(w, i, i + 1, speaker_id="A", timing="aligned") for i, w in enumerate(words))
    a = result(Segment(0, 0, len(words), speaker_id="A", text="".join(words), words=spoken), language_detected="ja")
    done = correct_from(a, edit_text(tmp_path, a, (old, new)))
    assert [w.word for w in done.analysis.words] == expected
    assert [w.start_time for w in done.analysis.words] == [w.start_time for w in a.words]


def test_a_space_between_clauses_of_a_script_without_spaces_is_kept(tmp_path):
    words = tuple(Word(w, i, i + 1, speaker_id="A") for i, w in enumerate(["今日", "は", "晴れ"]))
    a = result(Segment(0, 0, 3, speaker_id="A", text="今日は晴れ", words=words), language_detected="ja")
    b = correct_from(a, edit_text(tmp_path, a, ("晴れ", "晴れ 明日"))).analysis
    assert b.text == "今日は晴れ 明日" and [w.space_before for w in b.words] == [None, None, None, True]


@pytest.mark.parametrize("old, new, kept", [("गाना", "गीत", "सुंदर"), ("사과를", "배를", "먹었다"), ("برویم", "نرویم", "خانه")])
def test_scripts_with_spaces_and_marks(tmp_path, old, new, kept):
    a = result(said(0, f"{kept} {old} end"))
    done = correct_from(a, edit_text(tmp_path, a, (old, new)))
    assert changed(a, done.analysis) == [replace(a.words[1], word=new, confidence=None)]


# What can't be read

@pytest.mark.parametrize("format", ["TextGrid", "eaf", "srt", "vtt"])
def test_a_file_of_another_recording_is_one_error(tmp_path, format):
    words = "It was a dark and stormy night and nobody was on the road to the town"
    other = result(said(0, words.upper()[::-1]), duration=60)
    path, = export(other, tmp_path, "x", [format])
    with pytest.raises(CorrectionError, match="x.*(about|recording)"): correct_from(result(said(0, words)), path)


def test_captions_after_the_end_are_of_another_recording(tmp_path):
    path, = export(result(said(0, "yes", 50)), tmp_path, "x", ["srt"])
    with pytest.raises(CorrectionError, match="has a cue at 50.00 s, and the recording .* lasts 10.00 s"):
        correct_from(result(said(0, "yes"), duration=10), path)


def test_a_rewritten_file_is_taken_when_asked(tmp_path):
    a = result(said(0, "one two three four five six seven eight nine ten eleven"))
    path, = export(a, tmp_path, "x", ["srt"])
    path.write_text("1\n00:00:00,000 --> 00:00:04,000\nzehn kleine Dinge und noch eins\n")
    with pytest.raises(CorrectionError, match="0 of the 11 words .*--force"): correct_from(a, path)
    done = correct_from(a, path, force=True)
    assert done.analysis.text == "zehn kleine Dinge und noch eins"


@pytest.mark.parametrize("name, content, message", [
    ("x.docx", "", "ends in .TextGrid, .eaf, .srt, .vtt or .ass, not .docx"),
    ("x", "", "not nothing"),
    ("x.TextGrid", "hello", "no TextGrid as Praat writes it"),
    ("x.eaf", "<html/>", "no annotation file of ELAN: it begins with <html>"),
    ("x.eaf", "<ANNOTATION_DOCUMENT>", "cut off"),
    ("x.srt", "hello", "no cues"),
])  # fmt: skip
def test_what_is_no_edited_file_is_one_error(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(CorrectionError, match=message): correct_from(result(said(0, "yes")), tmp_path / name)


@pytest.mark.parametrize("name", ["no.TextGrid", "no.eaf", "no.srt"])
def test_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(CorrectionError, match="can't read .*No such file"): correct_from(result(), tmp_path / name)


def test_a_grid_without_our_tiers_names_what_it_has(tmp_path):
    grid = textgrid.Textgrid(0, 100)
    grid.addTier(textgrid.IntervalTier("phones", [(0, 1, "a")], 0, 100))
    grid.save(str(tmp_path / "x.TextGrid"), "long_textgrid", includeBlankSpaces=True)
    with pytest.raises(CorrectionError, match="has the tiers phones; a tier of words is called"):
        correct_from(result(said(0, "yes")), tmp_path / "x.TextGrid")


def test_captions_with_an_event_for_each_word_are_refused(tmp_path):
    a = result(said(0, "One two three four five six."))
    path, = export(a, tmp_path, "x", ["ass"], style="karaoke")
    with pytest.raises(CorrectionError, match="--formats ass --style plain"): correct_from(a, path)


def test_captions_that_repeat_themselves_are_no_captions_by_word(tmp_path):
    a = result(*(said(i, "Yes, yes.", 2 * i, step=1) for i in range(4)), said(4, "سلام", 8))  # with marks of direction
    path, = export(a, tmp_path, "x", ["ass"], style="plain")
    assert path.read_text().count("Yes, yes.") == 4 and not correct_from(a, path).changed


def test_words_past_the_end_are_refused(tmp_path):
    a = result(said(0, "yes no"), duration=10)
    path, = export(a, tmp_path, "x", ["eaf"])
    file = Eaf(str(path))
    file.add_annotation("SPEAKER_00 words", 9000, 12000, "late")
    file.to_file(str(path))
    with pytest.raises(CorrectionError, match="'late' at 9 to 12 s: words lie between 0 and 10 s"): correct_from(a, path)


# Measures

LOUD, SOFT = FullFeatures(-20.0, emphasis=1.0), FullFeatures(-30.0, emphasis=-1.0, volume_category="soft")


def measured():
    first, second = said(0, "We go"), said(1, "So what", 5, speaker="SPEAKER_01")
    def with_measures(s, f): return replace(s, acoustic_features=f, words=tuple(replace(w, acoustic_features=f) for w in s.words))
    speakers = Speaker("SPEAKER_00", acoustic_features=LOUD), Speaker("SPEAKER_01", acoustic_features=SOFT)
    return result(with_measures(first, LOUD), with_measures(second, SOFT), speakers=speakers)


def test_without_the_recording_what_was_changed_has_no_measures(tmp_path):
    a = measured()
    path = edit_grid(tmp_path, a, SPEAKER_00__words=lambda w: [(0.1, 0.4, "We"), w[1]])
    b = correct_from(a, path).analysis
    we, go, so, what = b.words
    gone = {m for m, why in we.acoustic_features.reasons.items() if why == "not_measured"}
    assert replace(we.acoustic_features, reasons={}) == FullFeatures() and {"volume_db", "f1_hz", "jitter"} <= gone
    compared = {"emphasis": "not_measured", "volume_category": "not_measured"}
    assert go.acoustic_features == replace(LOUD, emphasis=None, reasons=compared)
    assert so.acoustic_features == what.acoustic_features == SOFT
    assert b.segments[0].acoustic_features.reasons["pitch_hz"] == "not_measured" and b.segments[1] == a.segments[1]
    assert [s.acoustic_features.volume_db for s in b.speakers] == [-20, -30]  # over turns, which are the same
    assert b.metadata.warnings == (
        f"{UNMEASURED}1 word, 1 segment not measured; `ecg correct --media RECORDING` measures them", BY_HAND)  # fmt: skip


def test_a_corrected_spelling_keeps_its_measures(tmp_path):
    a = measured()
    b = correct_from(a, edit_text(tmp_path, a, ("We go", "We went"))).analysis
    assert [w.acoustic_features for w in b.words] == [w.acoustic_features for w in a.words]
    assert [s.acoustic_features for s in b.speakers] == [LOUD, SOFT] and b.metadata.warnings == (BY_HAND,)


def test_marked_silence_stays_where_it_was(tmp_path):
    words = Word("Oh,", 0, .5, speaker_id="A"), Word("[SILENCE]", .5, 1.5, kind="silence"), Word("God.", 1.5, 2, speaker_id="A")
    a = result(Segment(0, 0, 2, speaker_id="A", text="Oh, [SILENCE] God.", words=words),
               settings={"export": {"silence_marks": True}, "voice": {"min_silence": 0.3}})  # fmt: skip
    b = correct_from(a, edit_text(tmp_path, a, ("Oh,", "Ah,"))).analysis
    assert b.segments[0].text == "Ah, [SILENCE] God." and b.words[1].kind == "silence" and b.words[1].start_time == .5


def test_with_the_recording_everything_is_measured_again(tmp_path, sample):
    from ecg_audio_nb.pipeline import analyze
    a = analyze(sample, {"transcribe.enabled": False, "engine": "whisper"})
    turn = a.turns[0]
    path = edit_grid(tmp_path, a, **{f"{turn.speaker_id}__turns": lambda t: [(t[0][0], t[0][1] - 0.5, t[0][2]), *t[1:]]})
    done = correct_from(a, path, sample)
    assert done.analysis.turns[0].end_time == pytest.approx(turn.end_time - 0.5)
    before, after = a.speakers[0], done.analysis.speakers[0]
    assert after.acoustic_features.volume_db not in (None, before.acoustic_features.volume_db)
    assert done.analysis.speakers[1:] == a.speakers[1:] and done.analysis.segments[1:] == a.segments[1:]
    longer = replace(a, metadata=replace(a.metadata, duration=a.metadata.duration + 1))
    with pytest.raises(CorrectionError, match="it is another recording"): measure_recording(longer, sample)


# Matching

def test_long_texts_are_matched_by_rare_runs_first():
    text = [f"w{i % 7}" if i % 3 else f"rare{i}" for i in range(3000)]
    words = [(i, Word(w, i, i + 0.5)) for i, w in enumerate(text)]
    edited = [*text[:1000], "new", *text[1000:2000], *text[2001:]]
    matches, changes = match_words(words, [Passage(" ".join(edited), 0, 3000)], spaced=True)
    assert len(matches) == 2999 and [(c.numbers, c.texts) for c in changes] == [((), ("new",)), ((2000,), ())]


def test_a_caption_file_is_read_line_by_line(tmp_path):
    path = tmp_path / "x.vtt"
    path.write_text("WEBVTT\n\nNOTE a comment\n\n1\n00:01.000 --> 00:02.500 align:left\n<v.loud Anna B>Hi, <i>you</i>\nthere</v>\n"
                    "<v Bob>R&amp;D &lt;3</v>\n")  # fmt: skip
    [cue] = read_cues(path)
    assert (cue.start_time, cue.end_time, cue.lines) == (1, 2.5, ("Hi, you", "there", "R&D <3"))
    assert cue.voices == ("Anna B", "Anna B", "Bob")
    assert Path(path).suffix == ".vtt"
