"""Segments follow sentences: where sentences end, what a change of speaker may move, and that no word is lost
or torn off."""
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from ecg_audio_nb.schema import Word
from ecg_audio_nb.speech.segments import (
    MAX_DURATION,
    MAX_MOVE,
    MAX_PAUSE,
    SENTENCE_GAP,
    ends_sentence,
    group_by_speaker,
    group_words,
    move_changes,
)


def words(text, gaps=None):
    """Words of 0.2 s, 0.05 s apart but for `gaps` (number of a word: seconds before it); `A:` and `B:` name
    who speaks from there"""
    out, time, speaker = [], 0.0, None
    for part in text.split():
        if part in ("A:", "B:", "C:"): speaker = part[0]; continue
        time += (gaps or {}).get(len(out), 0.05)
        out.append(Word(part, time, time + 0.2, speaker_id=speaker))
        time += 0.2
    return out


def shown(words):
    "Words with the name of each speaker where he begins"
    out, speaker = [], None
    for w in words:
        if w.speaker_id != speaker: out.append(f"{w.speaker_id}:")
        speaker = w.speaker_id
        out.append(w.word)
    return " ".join(out)


def texts(groups): return [" ".join(w.word for w in g) for g in groups]


@pytest.mark.parametrize(
    "word, following, ends",
    [
        ("idea.", "And", True),
        ("idea", "And", False),
        ("idea,", "And", False),
        ("really?", "Yes", True),
        ('No!"', "he", False),
        ('No!"', "He", True),
        ("Mr.", "Smith", False),
        ("J.", "Smith", False),
        ("e.g.", "This", False),
        ("idea.", "and", False),
        ("idea.", "", True),
        ("etc.", "", True),
        ("です。", "次", True),
        ("끝났다.", "그는", True),
        ("wait...", "what", False),
        ("wait...", "What", True),
        ("하면서", "길", False),
        ("کجا؟", "من", True),
    ],
)
def test_where_a_sentence_ends(word, following, ends): assert ends_sentence(word, following) is ends


@pytest.mark.parametrize(
    "found, expected",
    [
        ("A: That is a B: good idea. Yes, I think so.", "A: That is a good idea. B: Yes, I think so."),
        (
            "A: We tried that. That B: is a good idea. Fine.",
            "A: We tried that. B: That is a good idea. Fine.",
        ),
        (
            "A: I did not. Neither did B: I. A: Oh really?",
            "A: I did not. B: Neither did I. A: Oh really?",
        ),  # all of B's stays B's
        ("A: So that is it. B: Fine by me then.", "A: So that is it. B: Fine by me then."),
        ("A: No end is in sight B: for any of us here", "A: No end is in sight B: for any of us here"),
        (
            "A: One. Two three four five six B: seven eight nine ten eleven.",
            "A: One. Two three four five six B: seven eight nine ten eleven.",
        ),
        (
            "A: Where did you go B: yesterday? I went to the park.",
            "A: Where did you go yesterday? B: I went to the park.",
        ),
    ],
)
def test_a_change_of_speaker_moves_to_the_end_of_the_sentence(found, expected):
    assert shown(move_changes(words(found))) == expected


def test_a_change_does_not_move_over_a_pause():
    text = "A: Where did you go B: yesterday? I went to the park."
    assert shown(move_changes(words(text, {4: MAX_PAUSE + 0.1}))) == text


def test_segments_end_with_sentences():
    found = group_words(
        words(
            "A: That is it. We go now. B: Do we? I see.",
            {3: SENTENCE_GAP, 6: SENTENCE_GAP, 8: SENTENCE_GAP},
        )
    )
    assert texts(found) == ["That is it.", "We go now.", "Do we?", "I see."]


def test_segments_end_at_pauses_and_a_torn_word_returns():
    assert texts(group_words(words("A: we were there and then we left", {4: MAX_PAUSE + 0.1}))) == [
        "we were there and",
        "then we left",
    ]
    assert texts(group_words(words("A: we were there and left.", {4: MAX_PAUSE + 0.1}))) == [
        "we were there and left."
    ]
    assert texts(group_words(words("A: we were there and left.", {4: 2 * MAX_PAUSE + 0.1}))) == [
        "we were there and",
        "left.",
    ]


def test_a_long_segment_is_cut_at_a_comma():
    text = "A: " + " ".join(["la"] * 50) + " la, " + " ".join(["la"] * 49)
    found = group_words(words(text), max_duration=13)
    assert [len(g) for g in found] == [51, 49]


VOCABULARY = ["yes", "No.", "Mr.", "a,", "that", "well…", "so?", "끝났다.", "です。", "I", "3.14"]


@st.composite
def conversations(draw):
    "Words in time order, some overlapping, some without a speaker"
    out, time = [], 0.0
    for text, gap, length, speaker in draw(
        st.lists(
            st.tuples(
                st.sampled_from(VOCABULARY),
                st.sampled_from([-0.1, 0.0, 0.05, 0.3, 1.2, 3.0]),
                st.sampled_from([0.0, 0.2, 0.6, 4.0]),
                st.sampled_from(["A", "A", "A", "B", "C", None]),
            ),
            max_size=40,
        )
    ):
        start = max(time + gap, out[-1].start_time if out else 0.0, 0.0)
        time = start + length
        out.append(Word(text, start, time, speaker_id=speaker))
    return out


@given(conversations())
def test_moved_changes_lose_no_word_and_move_little(given):
    moved = move_changes(given)
    assert [replace(w, speaker_id=None) for w in moved] == [replace(w, speaker_id=None) for w in given]
    assert {w.speaker_id for w in moved} == {w.speaker_id for w in given} # nobody vanishes
    assert all(a.speaker_id is None for a, b in zip(given, moved) if b.speaker_id is None)
    changes = [i for i in range(1, len(given)) if given[i].speaker_id != given[i - 1].speaker_id]
    assert all(
        any(abs(i - c) <= MAX_MOVE for c in changes) for i, (a, b) in enumerate(zip(given, moved)) if a != b
    )


@given(conversations(), st.sampled_from([0.2, MAX_PAUSE]), st.sampled_from([2.0, MAX_DURATION]))
def test_segments_hold_each_word_once_in_order_of_one_speaker(given, pause, longest):
    groups = group_words(given, pause, longest)
    assert [w for g in groups for w in g] == given
    assert all(g and len({w.speaker_id for w in g}) == 1 for g in groups)
    for g in groups: # no sentence ends inside a segment, but after a lone word said without a breath
        inner = [i for i in range(1, len(g)) if ends_sentence(g[i - 1].word, g[i].word)]
        assert inner in ([], [1])
    for g in groups:
        assert len(g) < 4 or g[-1].end_time - g[0].start_time <= longest


@given(conversations())
def test_segments_by_speaker_are_those_of_each_speaker_alone(given):
    groups = group_by_speaker(given)
    assert [g[0].start_time for g in groups] == sorted(g[0].start_time for g in groups)
    for who in {w.speaker_id for w in given}:
        alone = [w for w in given if w.speaker_id == who]
        assert [g for g in groups if g[0].speaker_id == who] == group_words(alone)
