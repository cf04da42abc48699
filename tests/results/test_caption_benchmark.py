"""The checker of benchmarks/captions.py: Netflix's rules on cues and speech written down by hand"""

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():
    "The benchmark's modules in one name space"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import _caption_rules, _caption_words, captions
        names = {**vars(_caption_words), **vars(_caption_rules), **vars(captions)}
        yield type("Bench", (), names)


def talk(bench, words, language="en", duration=60.0, rate=None):
    "A recording of words: (text, start, end) or with a speaker"
    return bench.Recording("talk", language, "dev", duration, rate, tuple(bench.TimedWord(*w) for w in words))


def srt(*cues):
    "SubRip of (start, end, text), seconds below a minute"
    stamp = lambda t: f"00:00:{t:06.3f}".replace(".", ",")
    return "\n".join(f"{i}\n{stamp(s)} --> {stamp(e)}\n{text}\n" for i, (s, e, text) in enumerate(cues, 1))


@pytest.mark.parametrize(("language", "text", "count"), [
    ("en", "Ten letters!", 12),
    ("ko", "나는 MP3를 들었다.", 1 + 1 + 0.5 + 1.5 + 1 + 0.5 + 3 + 0.5), # Latin, digits, spaces, marks: half
    ("ja", "東京タワー、", 6), # the mark is wide
    ("zh", "共100人", 3.5),
    ("vi", "Tie\u0302\u0301ng Vie\u0323\u0302t", 10), # NFD counts as it looks
    ("ar", "مَدْرَسَة", 5), # harakat count nothing
    ("ru", "Привет, мир", 11),
])
def test_characters_are_counted_as_the_guides_do(bench, language, text, count):
    assert bench.characters(text, bench.limits_of(language)) == count


CUES = { # rule: cues of which the first breaks this rule and no other, in a file of 20 s
    "length": [(1, 5, "x" * 43)],
    "lines": [(1, 5, "one\ntwo\nthree")],
    "speed": [(1, 2, "twenty-one characters")],
    "minimum": [(1, 1.8, "Yes.")],
    "maximum": [(1, 8.1, "Long")],
    "gap": [(1, 2, "Hello"), (2.05, 3, "again")],
    "overlap": [(1, 2, "Hello"), (1.9, 3, "again")],
    "inside": [(18, 20.1, "The end.")],
    None: [(1, 1.834, "Yes."), (1.918, 8.918, "x" * 42 + "\n" + "y" * 42), (19, 20, "Twenty characters it")],
}


@pytest.mark.parametrize("rule", CUES)
def test_each_rule(bench, rule):
    recording, limits = talk(bench, [], duration=20.0), bench.limits_of("en")
    cues = bench.read_srt(srt(*CUES[rule]))
    broken = [bench.broken_rules(c, after, recording, limits) for c, after in zip(cues, [*cues[1:], None])]
    assert broken[0] == ((rule,) if rule else ())
    assert not any(broken[1:])


def test_two_frames_are_those_of_the_picture(bench):
    cues = bench.read_srt(srt((1, 2, "Hello"), (2.04, 3, "again"))) # 40 ms
    for rate, broken in ((None, ("gap",)), (25, ("gap",)), (50, ())):
        assert bench.broken_rules(*cues, talk(bench, [], rate=rate), bench.limits_of("en")) == broken


def test_every_word_is_found_in_a_cue(bench):
    words = [("I", 1, 1.2), (" said", 1.2, 1.6), (" no", 1.6, 2), (" No", 4, 4.4), (" more.", 4.4, 5)]
    cues = bench.read_srt(srt((1, 2.2, "BOB: I said no"), (4, 5, "- No")))
    assert bench.words_of_cues(cues, talk(bench, words).words) == ([[0, 1, 2], [3]], [4])


def test_speech_that_nobody_could_show(bench):
    words = [("Incomprehensibilities", 0, 0.7, "A"), (" so", 0.7, 0.9, "A"), ("Then", 1.1, 1.4, "B"), (" he", 1.4, 1.6, "B"),
             (" departed.", 1.6, 2, "B")]
    limits = bench.limits_of("en")
    runs = bench.readable_runs(talk(bench, words), limits)
    # 24 characters from 0 s to two frames before 1.1 s: 20 can be read; with B's line there is time to 7 s
    assert (0, 1) not in runs and (0, 4) in runs and (2, 4) in runs
    assert bench.fewest_broken(talk(bench, words), limits) == 0
    short = bench.readable_runs(talk(bench, words, duration=2.0), limits)
    # 25 + 18 characters with their dashes in 2 s: 40 can be read; 3 + 18 in the 1.3 s from "so": 26 can be
    assert short == [(1, 4), (2, 4)] and bench.readable_words(short) == {1, 2, 3, 4}


def test_words_that_are_readable_but_not_all_at_once(bench):
    # 20 characters a second: 30 + 3 to 1.817 s, or 3 + 30 from 1 s to the end; 63 in 3.1 s are too many, and 30 are
    # in what is left to either of the long words
    words = [("a" * 30, 0, 1, "A"), (" bb", 1, 1.9, "A"), (" " + "c" * 30, 1.9, 3.1, "A")]
    recording, limits = talk(bench, words, duration=3.1), bench.limits_of("en")
    assert bench.readable_runs(recording, limits) == [(0, 1), (1, 2)]
    assert bench.fewest_broken(recording, limits) == 1


def test_two_speakers_have_a_line_each_if_they_take_turns_once_or_overlap(bench):
    limits = bench.limits_of("en")
    turns = [("Yes.", 0, 0.5, "A"), (" No.", 0.6, 1, "B"), (" Why?", 1.1, 1.5, "A")]
    runs = bench.readable_runs(talk(bench, turns), limits)
    assert (0, 1) in runs and (1, 2) in runs and (0, 2) not in runs
    at_once = [("Yes.", 0, 0.7, "A"), (" No.", 0.6, 1.2, "B"), (" Why?", 1.1, 1.5, "A")]
    assert (0, 2) in bench.readable_runs(talk(bench, at_once), limits)


@pytest.mark.parametrize(("text", "ends"), [
    ("He came.", True), ("“Come!”", True), ("first,", True), ("終わった。」", True), ("क्या है।", True), ("and then", False), ("", False),
])
def test_clause_ends(bench, text, ends):
    assert bench.ends_clause(text) == ends


def test_figures_leave_fast_speech_out(bench):
    words = [("Yes.", 1, 1.5, "A"), (" Incomprehensibilities.", 3, 3.4, "A"), (" No.", 3.5, 3.9, "B")]
    recording = talk(bench, words, duration=5.0)
    sheet = bench.judge(recording, srt((1, 1.5, "Yes."), (3, 3.4, "Incomprehensibilities."), (3.5, 4.9, "No.")))
    assert [(c.broken, c.fast) for c in sheet.cues] == [(("minimum",), False), (("speed", "minimum"), False), ((), False)]
    found = bench.figures([sheet])
    assert (found["conform"], found["cues"], found["fast"], found["missing_words"]) == (round(1/3, 4), 3, 0, 0)


def test_no_clip_is_in_both_parts(bench):
    clips = Counter(clip for source in bench.SOURCES for clip in source.clips)
    assert max(clips.values()) == 1
    kept = bench.recordings()
    assert {"dev", "test", "synthetic"} == {r.part for r in kept}
    assert len({r.language for r in kept if r.part == "test"}) >= 6
    for r in kept:
        starts = [w.start for w in r.words]
        assert r.words and starts == sorted(starts) and max(w.end for w in r.words) <= r.duration, r.name
