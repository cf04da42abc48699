"""Voice prints: names for known speakers, who is who over many files, and nothing left of what was removed"""
import json, os, stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from browsers import chromium_browser
from named_talks import check_links, check_names, ecg, reader_says, talks_through_a_batch

from ecg_audio_nb.speech import linked_speakers, person_embeddings, voice_prints as v
from ecg_audio_nb.results.export import render_files
from ecg_audio_nb.audio.media import Audio
from ecg_audio_nb.pipeline import analyze
from ecg_audio_nb.reproduce import same_result
from ecg_audio_nb.schema import (
    Analysis,
    Metadata,
    Segment,
    Speaker,
    Turn,
    VoiceMatch,
    Word,
    from_dict,
    read_result,
    to_dict,
)
from ecg_audio_nb.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
SECOND = 16000
LIGHT = {"engine": "whisper", "transcribe.enabled": False, "runtime.offline": True}
pytestmark = pytest.mark.timeout(900)


def direction(number):
    x = np.random.default_rng(number).normal(size=192)
    return (x / np.linalg.norm(x)).astype(np.float32)

def voice(number, seconds=20.0, other=None, cosine=1.0):
    "A voice in a direction of its own, or at a cosine from another one"
    x = direction(number)
    if other is not None:
        base = direction(other)
        side = x - (x @ base) * base
        x = cosine * base + np.sqrt(1 - cosine**2) * side / np.linalg.norm(side)
    return person_embeddings.PersonEmbedding(np.stack([x, x]).astype(np.float32), seconds)

def known(name, own, source="a" * 64, start=0.0, end=20.0):
    return v.VoicePrint(name, (v.Sample(own, source, start, end, v.timestamp()),), v.encoder_digest())

def sample(own, source="a" * 64, start=0.0, end=20.0): return v.Sample(own, source, start, end, v.timestamp())


# The voice

def test_alone_is_what_nobody_else_talks_into():
    turns = [Turn(0, 10, "A"), Turn(2, 3, "B"), Turn(4, 5, "A"), Turn(9, 12, "B"), Turn(12, 13, "C")]
    assert person_embeddings.spoken_alone(turns) == {"A": [(0, 2), (3, 9)], "B": [(10, 12)], "C": [(12, 13)]}
    assert person_embeddings.spoken_alone([]) == {}

def test_work_is_capped_and_spread_over_the_file():
    spans = [(float(i), i + 0.8) for i in range(7200)]
    kept = person_embeddings.sample_spans(spans, 60)
    assert 55 <= sum(e - s for s, e in kept) <= 61 and kept[0][0] < 1 and kept[-1][0] > 7190
    assert person_embeddings.sample_spans([(0, 0.1)]) == [] and person_embeddings.sample_spans([(0, 3)]) == [
        (0, 3)
    ]

def test_no_speech_has_no_voice():
    assert person_embeddings.embed_spans(Audio(np.zeros(SECOND, np.float32)), []) is None
    assert person_embeddings.embed_speakers(Audio(np.zeros(SECOND, np.float32)), []) == {}

def test_one_reader_is_alike_and_two_are_not(shared_data):
    folder = shared_data / "librispeech"
    def heard(reader, numbers):
        y = reader_says(folder, reader, numbers)
        return person_embeddings.embed_spans(Audio(y), [(0, len(y) / SECOND)])
    one, again, other = heard("2033", (0, 1, 2)), heard("2033", (6, 7)), heard("367", (2,))
    assert (
        person_embeddings.similarity(one, again) > v.SAME
        and person_embeddings.similarity(one, other) < v.PERHAPS - 0.1
    )


# Answers

@pytest.mark.parametrize(
    "score, a, b, answer",
    [
        (0.9, 2.9, 60, None),
        (0.9, 4, 9, None),
        (0.9, 4.9, 4.9, None),
        (0.58, 4, 10, "perhaps"),
        (0.61, 10, 4, "same"),
        (0.49, 4, 30, "unknown"),
        (0.56, 5, 5, "same"),
        (0.5, 5, 60, "perhaps"),
        (0.44, 60, 60, "unknown"),
        (-0.2, 60, 60, "unknown"),
    ],
)
def test_limits(score, a, b, answer): assert v.answer_for(score, a, b) == answer

def test_a_name_belongs_to_one_speaker_of_a_file():
    prints = [known("Anna", voice(1)), known("Ben", voice(2))]
    better, worse = voice(3, other=1, cosine=0.9), voice(4, other=1, cosine=0.8)
    found = v.match_prints({"SPEAKER_00": worse, "SPEAKER_01": better}, prints)
    assert (found["SPEAKER_01"].name, found["SPEAKER_01"].answer) == ("Anna", "same")
    assert (found["SPEAKER_00"].name, found["SPEAKER_00"].answer) == (None, "unknown")
    assert found["SPEAKER_00"].score == pytest.approx(0.8, abs=0.01) # how near it came
    mixed = 0.75 * worse.vectors + 0.66 * direction(9)
    # less like the loser than Anna, and free
    third = known(
        "Carla", person_embeddings.PersonEmbedding(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), 20)
    )
    again = v.match_prints({"SPEAKER_00": worse, "SPEAKER_01": better}, [*prints, third])
    assert (again["SPEAKER_00"].name, again["SPEAKER_01"].name) == ("Carla", "Anna")

def test_perhaps_gives_no_name_but_says_who():
    [m] = v.match_prints({"SPEAKER_00": voice(3, other=1, cosine=0.5)}, [known("Anna", voice(1))]).values()
    assert (m.answer, m.name) == ("perhaps", "Anna") and m.score == pytest.approx(0.5, abs=0.01)
    [s] = v.apply_matches([Speaker("SPEAKER_00")], {"SPEAKER_00": m})
    assert s.name is None and s.match == m

def test_too_little_speech_gets_no_answer():
    [m] = v.match_prints({"SPEAKER_00": voice(1, seconds=2.5)}, [known("Anna", voice(1))]).values()
    assert (m.answer, m.name, m.score, m.seconds) == ("unknown", None, None, 2.5)
    [m] = v.match_prints({"SPEAKER_00": None}, [known("Anna", voice(1))]).values()
    assert (m.answer, m.score, m.seconds) == ("unknown", None, 0.0)
    assert v.match_prints({"SPEAKER_00": voice(1)}, [])["SPEAKER_00"].score is None


# Files

NAMES = [
    "Anna",
    "안나",
    "Zoë",
    "مريم",
    "../../etc/passwd",
    "..",
    "a/b\\c",
    "CON",
    "O'Brien, Jr.",
    "李小龙 " * 5,
    "x" * 100,
    "🙂",
]

@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_script_stay_inside_the_folder(tmp_path, name):
    folder = tmp_path / "voices"
    path = v.write_print(folder, known(v.clean_name(name), voice(1)))
    assert (
        path.parent == folder
        and [p.name for p in folder.iterdir()] == [path.name]
        and len(path.name.encode()) < 120
    )
    [p], warnings = v.read_prints(folder)
    assert p.name == v.clean_name(name) and not warnings
    assert person_embeddings.similarity(p.embedding, voice(1)) == pytest.approx(1, abs=1e-5)
    v.remove_print(folder, name)
    assert list(folder.iterdir()) == []

def test_composed_and_decomposed_are_one_name(tmp_path):
    v.add_sample(tmp_path / "v", "Zo\u00eb", sample(voice(1)))
    p = v.add_sample(tmp_path / "v", "ZOE\u0308 ", sample(voice(1), "b" * 64))
    assert p.name == "Zo\u00eb" and len(p.samples) == 2 and len(list((tmp_path / "v").iterdir())) == 1

@pytest.mark.parametrize("name", ["", "  \n", "SPEAKER_00", "person_12", "a\x00b", "x" * 101, "\ud800"])
def test_names_that_cannot_be(name):
    with pytest.raises(v.VoiceError): v.clean_name(name)

def test_readable_by_the_owner_alone(tmp_path):
    before = os.umask(0)
    try: path = v.write_print(tmp_path / "voices", known("Anna", voice(1)))
    finally: os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700

def test_a_print_holds_no_path(tmp_path):
    path = v.write_print(tmp_path / "voices", known("Anna", voice(1)))
    d = json.loads(path.read_text())
    assert str(tmp_path) not in path.read_text() and d["samples"][0]["source_sha256"] == "a" * 64
    assert set(d) == {"format", "version", "name", "encoder", "samples"} and d["version"] == 1

def test_more_speech_is_kept_beside_and_the_same_part_replaces(tmp_path):
    folder = tmp_path / "v"
    v.add_sample(folder, "Anna", sample(voice(1, 10)))
    p = v.add_sample(folder, "Anna", sample(voice(5, 30, other=1, cosine=0.8), "b" * 64))
    assert p.seconds == 40
    expected = 10 * direction(1) + 30 * voice(5, 30, other=1, cosine=0.8).vectors[0]
    assert p.embedding.vectors[0] @ expected / np.linalg.norm(expected) == pytest.approx(1, abs=1e-5)
    assert v.add_sample(folder, "Anna", sample(voice(1, 12))).seconds == 42 # the first one again
    # another part of it
    assert v.add_sample(folder, "Anna", sample(voice(1, 12), start=20, end=40)).seconds == 54

def test_another_voice_under_a_name_is_refused(tmp_path):
    v.add_sample(tmp_path, "Anna", sample(voice(1)))
    with pytest.raises(v.VoiceError, match="another voice than the one kept"):
        v.add_sample(tmp_path, "anna", sample(voice(2), "b" * 64))
    assert v.read_prints(tmp_path)[0][0].seconds == 20

def test_too_short_for_a_print(tmp_path):
    with pytest.raises(v.VoiceError, match="at least 5 s"):
        v.add_sample(tmp_path, "Anna", sample(voice(1, 4.9)))
    assert not list(tmp_path.iterdir())

def test_prints_of_another_encoder_are_told_and_not_used(tmp_path):
    v.write_print(tmp_path, known("Anna", voice(1)))
    v.write_print(tmp_path, replace(known("Ben", voice(2)), encoder="0" * 64))
    (tmp_path / f"broken{v.EXTENSION}").write_text("{")
    prints, [warning] = v.read_prints(tmp_path)
    assert [p.name for p in prints] == ["Anna"] and "Ben" in warning and f"broken{v.EXTENSION}" in warning
    with pytest.raises(v.VoiceError, match="another voice encoder"):
        v.add_sample(tmp_path, "Ben", sample(voice(2)))

@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "x"}', "null", '{"format": "ecg_audio_nb voice print", "version": 99}'],
)
def test_what_is_no_print(tmp_path, text):
    path = tmp_path / f"a{v.EXTENSION}"
    path.write_text(text)
    with pytest.raises(v.VoiceError, match="this is no voice print"): v.read_print(path)

def test_a_print_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    v.add_sample(tmp_path, "Anna", sample(voice(1)))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    def full(*_): raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(v.VoiceError, match="No space left"):
        v.add_sample(tmp_path, "Anna", sample(voice(1), "b" * 64))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


# Who is who

def someone(file, who, number, seconds=20.0, **more):
    return linked_speakers.FileSpeaker(file, who, voice(number, seconds, **more))

def test_one_person_in_ten_files():
    every = [someone(f"{n}.wav", who, person) for n in range(10) for who, person in
             zip(("SPEAKER_00", "SPEAKER_01"), (0, n + 1) if n % 2 else (n + 1, 0))]
    links = linked_speakers.link_speakers(every)
    host = {x.person for x, s in zip(links, every) if np.allclose(s.embedding.vectors[0], direction(0))}
    assert len(host) == 1 and len({x.person for x in links}) == 11
    assert all(x.answer == ("same" if x.person in host else "unknown") for x in links)

def test_speakers_of_one_file_are_never_one_person():
    links = linked_speakers.link_speakers(
        [someone("a", "SPEAKER_00", 1), someone("a", "SPEAKER_01", 1), someone("b", "SPEAKER_00", 1)]
    )
    assert links[0].person != links[1].person and links[2].person in (links[0].person, links[1].person)

def test_perhaps_is_not_linked_but_told():
    a, b = linked_speakers.link_speakers(
        [someone("a", "SPEAKER_00", 1), someone("b", "SPEAKER_00", 2, other=1, cosine=0.5)]
    )
    assert (
        a.person != b.person
        and (b.answer, b.perhaps) == ("perhaps", a.person)
        and b.score == pytest.approx(0.5, abs=0.01)
    )

def test_a_name_of_a_result_is_the_persons():
    a, b = linked_speakers.link_speakers(
        [replace(someone("a", "SPEAKER_00", 1), name="Anna"), someone("b", "SPEAKER_00", 1)]
    )
    assert a.person == b.person == "Anna"
    assert (
        linked_speakers.link_speakers([]) == []
        and linked_speakers.link_speakers([someone("a", "SPEAKER_00", 1, 4.0)])[0].person is None
    )


# In a result

ANALYSIS = Analysis(
    (
        Segment(
            0,
            0,
            1,
            speaker_id="SPEAKER_00",
            text="Yes.",
            words=(Word("Yes.", 0, 1, speaker_id="SPEAKER_00"),),
        ),
        Segment(
            1, 1, 2, speaker_id="SPEAKER_01", text="No.", words=(Word("No.", 1, 2, speaker_id="SPEAKER_01"),)
        ),
    ),
    (Turn(0, 1, "SPEAKER_00"), Turn(1, 2, "SPEAKER_01")),
    (Speaker("SPEAKER_00", 1, 1, 1), Speaker("SPEAKER_01", 1, 1, 1)),
    Metadata("talk.wav", duration=2.0),
)
MATCHED = replace(
    ANALYSIS,
    speakers=v.apply_matches(
        ANALYSIS.speakers,
        {
            "SPEAKER_00": VoiceMatch("same", "안나 <A>", 0.8, 10.0),
            "SPEAKER_01": VoiceMatch("perhaps", "Ben", 0.5, 10.0),
        },
    ),
)

def test_results_of_before_still_read():
    d = to_dict(ANALYSIS)
    for s in d["speakers"]: del s["name"], s["match"]
    assert from_dict(d) == ANALYSIS and from_dict(to_dict(MATCHED)) == MATCHED

@pytest.mark.parametrize(
    "format, shown",
    [
        ("srt", True),
        ("vtt", True),
        ("ass", True),
        ("txt", True),
        ("tsv", True),
        ("TextGrid", True),
        ("audacity", True),
        ("rttm", False),
        ("ctm", False),
    ],
)
def test_files_for_people_show_the_name(format, shown):
    named, plain = (" ".join(map(str, render_files(a, format).values())) for a in (MATCHED, ANALYSIS))
    assert ("안나" in named) == shown and "Ben" not in named
    if format != "ctm": assert ("SPEAKER_00" in named) == (not shown) and "SPEAKER_01" in named
    assert "SPEAKER_00" in plain or format == "ctm"

def test_tables_have_the_name_beside_the_id():
    words, segments = (x.splitlines() for x in render_files(MATCHED, "csv").values())
    assert (
        words[0].endswith("speaker_name")
        and "SPEAKER_00" in words[1]
        and words[1].endswith("안나 <A>")
        and words[2].endswith(",")
    )
    assert segments[0].endswith("speaker_name")
    assert all("speaker_name" not in x for x in render_files(ANALYSIS, "csv").values())

def test_report_and_pictures_show_the_name():
    from ecg_audio_nb.results.captions import to_ass
    from ecg_audio_nb.results.plots import plot_talk_time
    from ecg_audio_nb.results.report import page_data
    assert [s["name"] for s in page_data(MATCHED)["speakers"]] == ["안나 <A>", "SPEAKER_01"]
    assert "안나" in to_ass(MATCHED) and "SPEAKER_00" not in to_ass(MATCHED)
    assert [t.get_text() for t in plot_talk_time(MATCHED).axes[0].get_yticklabels()] == [
        "안나 <A>",
        "SPEAKER_01",
    ]
    assert "안나 &lt;A&gt;" in MATCHED._repr_html_()


# From end to end, on real voices

@pytest.fixture(scope="module")
def friends(shared_data, tmp_path_factory):
    "A folder of the voice prints of Katie and Steve, made by the command"
    folder = tmp_path_factory.mktemp("friends") / "voices"
    for name in ("Katie", "Steve"):
        done = ecg(
            "voices",
            "add",
            name,
            shared_data / f"real/conversations/enrollment_audio_{name.lower()}.wav",
            "--voices",
            folder,
        )
        assert (
            done.exit_code == 0
            and "personal data" in done.output
            and f"ecg voices remove {name}" in done.output
        )
    return folder

@pytest.fixture(scope="module")
def talk(shared_data): return shared_data / "real/conversations/katiesteve_mono.wav"

def test_both_are_named_in_their_conversation(friends, talk):
    result = analyze(talk, LIGHT | {"diarize.voices": str(friends)})
    assert {s.speaker_id: s.name for s in result.speakers} == {"SPEAKER_00": "Katie", "SPEAKER_01": "Steve"}
    assert all(s.match.answer == "same" and s.match.seconds > 3 for s in result.speakers)
    assert (
        result.metadata.models["voices"].name == "voice_encoder" and "voices" in result.metadata.timing.stages
    )
    assert str(friends) not in json.dumps(to_dict(result))
    assert {t.speaker_id for t in result.turns} == {"SPEAKER_00", "SPEAKER_01"}

def test_without_the_setting_nothing_changes(friends, talk, monkeypatch):
    "Nothing is computed, and ids and turns are those that the setting leaves"
    asked = analyze(talk, LIGHT | {"diarize.voices": str(friends)})
    monkeypatch.setattr(
        "ecg_audio_nb.pipeline.embed_speakers",
        lambda *_: pytest.fail("a voice is heard that nobody asked for"),
    )
    plain = analyze(talk, LIGHT)
    assert all(s.name is None and s.match is None for s in plain.speakers)
    assert "voices" not in plain.metadata.models and "voices" not in plain.metadata.timing.stages
    models = {k: m for k, m in asked.metadata.models.items() if k != "voices"}
    bare = replace(asked, speakers=tuple(replace(s, name=None, match=None) for s in asked.speakers),
                   metadata=replace(asked.metadata, models=models))
    assert same_result(plain, bare)

def test_a_folder_that_is_not_there_is_said_before_the_work(tmp_path, talk):
    with pytest.raises(ValueError, match="no such folder of voice prints"):
        analyze(talk, LIGHT | {"diarize.voices": str(tmp_path / "none")})

def test_another_encoders_prints_are_a_warning(tmp_path, talk):
    v.write_print(tmp_path, replace(known("Katie", voice(1)), encoder="0" * 64))
    result = analyze(talk, LIGHT | {"diarize.voices": str(tmp_path)})
    assert any("voice prints not used: Katie" in w for w in result.metadata.warnings)
    assert all(
        s.name is None and s.match.answer == "unknown" and s.match.score is None for s in result.speakers
    )

def test_checkpoints_hold_no_voice_and_no_name(friends, talk, tmp_path):
    given = LIGHT | {
        "diarize.voices": str(friends),
        "runtime.checkpoints": True,
        "runtime.data_dir": str(tmp_path),
    }
    first, again = analyze(talk, given), analyze(talk, given)
    assert same_result(first, again) and {s.name for s in again.speakers} == {"Katie", "Steve"}
    assert no_trace(tmp_path, ["Katie", "Steve"], v.read_prints(friends)[0])

def no_trace(folder, names, prints=()):
    """Whether no file below a folder holds one of these names, or a vector of these prints, in its name or
    content"""
    needles = [n.encode() for n in names] + [n.casefold().encode() for n in names]
    for p in prints:
        for s in p.samples:
            needles += [
                s.embedding.vectors.tobytes()[:64],
                json.loads(v._to_text(p))["samples"][0]["vectors"][:40].encode(),
            ]
    for path in folder.rglob("*"):
        if any(n in str(path.relative_to(folder)).encode() for n in needles): return False
        if path.is_file() and any(n in path.read_bytes() for n in needles): return False
    return True


# The command

def test_add_refuses_two_voices_and_takes_a_part(talk, tmp_path):
    done = ecg("voices", "add", "Katie", talk, "--voices", tmp_path / "v")
    assert (
        done.exit_code == 1
        and "2 voices are heard: SPEAKER_00 (" in done.output
        and "--from and --to" in done.output
    )
    assert not (tmp_path / "v").exists()
    done = ecg("voices", "add", "Katie", talk, "--from", 9.3, "--to", 14.9, "--voices", tmp_path / "v")
    assert done.exit_code == 0, done.output
    [p], _ = v.read_prints(tmp_path / "v")
    assert 5 <= p.seconds < 5.6 and (p.samples[0].start, p.samples[0].end) == (9.3, 14.9)

@pytest.mark.parametrize(
    "more, said_",
    [
        (("--from", 1, "--to", 3), "at least 5 s"),
        (("--from", 30), "no such part"),
        (("--from", 3, "--to", 2), "no such part"),
    ],
)
def test_add_refuses_what_is_too_short(shared_data, tmp_path, more, said_):
    path = shared_data / "real/conversations/enrollment_audio_katie.wav"
    done = ecg("voices", "add", "Katie", path, *more, "--voices", tmp_path / "v")
    assert done.exit_code == 1 and said_ in done.output and not (tmp_path / "v").exists()

def test_two_names_for_one_voice_are_noted(friends, shared_data, tmp_path):
    path = shared_data / "real/conversations/enrollment_audio_katie.wav"
    for name in ("Katie", "Kate"): done = ecg("voices", "add", name, path, "--voices", tmp_path / "v")
    assert done.exit_code == 0 and "also the one kept as Katie" in done.output

def test_list_and_remove_leave_nothing(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path / "data"))
    path = shared_data / "real/conversations/enrollment_audio_katie.wav"
    assert ecg("voices", "list").output.startswith("no voice prints")
    assert ecg("voices", "add", "Katie", path).exit_code == 0
    prints = v.read_prints(tmp_path / "data/voices")[0]
    assert not no_trace(tmp_path, ["Katie"]) and not no_trace(tmp_path, ["-"], prints) # it would be seen
    [row] = json.loads(ecg("voices", "list", "--json").output)
    assert row["name"] == "Katie" and row["seconds"] > 10 and row["recordings"] == 1
    assert ecg("voices", "remove", "katie").exit_code == 0
    assert no_trace(tmp_path, ["Katie"], prints) and not [p for p in tmp_path.rglob("*") if p.is_file()]
    gone = ecg("voices", "remove", "Katie")
    assert gone.exit_code == 1 and "no voice print in" in gone.output


# Talks whose speakers are known; ten of them, longer, in tests/soak/test_speech.py

@pytest.fixture(scope="module")
def batch(shared_data, tmp_path_factory):
    "A talk a channel, as `ecg batch` leaves them"
    folder = tmp_path_factory.mktemp("talks")
    return talks_through_a_batch(folder, shared_data, talks=3, seconds=25, known_from=(1, 3))

@pytest.mark.slow
def test_talks_get_the_right_names(batch): check_names(batch)

@pytest.mark.slow
def test_the_batchs_database_holds_no_name(batch):
    prints = v.read_prints(batch.prints)[0]
    for path in batch.out.glob("*"):
        if path.is_file(): assert not any(p.name.encode() in path.read_bytes() for p in prints), path

@pytest.mark.slow
def test_link_finds_the_same_people_without_prints(batch, tmp_path): check_links(batch, tmp_path)

@pytest.mark.slow
def test_link_finds_recordings_through_the_batch(batch, tmp_path):
    done = ecg("voices", "link", batch.out)
    assert done.exit_code == 0 and "skipped" not in done.output, done.output
    (batch.out / "voices.csv").unlink()

def test_link_skips_what_it_does_not_find(talk, tmp_path):
    import shutil
    wav, out = tmp_path / "media" / talk.name, tmp_path / "out"
    wav.parent.mkdir(); out.mkdir()
    shutil.copy(talk, wav)
    from ecg_audio_nb.results.export import to_json
    (out / "talk.json").write_text(to_json(analyze(wav, LIGHT)))
    (out / "other.json").write_text('{"no": "result"}')
    missing = ecg("voices", "link", out)
    assert (
        missing.exit_code == 1
        and "skipped: talk: its recording katiesteve_mono.wav is not found" in missing.output
    )
    found = ecg("voices", "link", out, "--media", tmp_path / "media")
    assert found.exit_code == 0 and (out / "voices.csv").read_text().count("\n") == 3
    assert all(s.name is None for s in read_result(out / "talk.json").speakers) # without --rename
    with wav.open("ab") as f: f.write(b"\0") # another file of that name
    assert ecg("voices", "link", out, "--media", tmp_path / "media").exit_code == 1
    assert "no results in it" in ecg("voices", "link", tmp_path / "media").output


# The service, and the picture

def test_a_caller_cannot_choose_the_folder(tmp_path):
    "The folder is the server's setting; a request has no field for it"
    from ecg_audio_nb.service.app import ProcessRequest, ServerSettings, Service, TranscribeRequest
    from ecg_audio_nb.service.jobs import job_settings
    own = tmp_path / "voices"
    settings = load_settings(LIGHT | {"diarize.voices": str(own), "runtime.data_dir": str(tmp_path / "data")})
    service = Service(settings, ServerSettings(private=True))
    for kind, address in (
        (TranscribeRequest, {"video_url": "https://example.org/a.mp4"}),
        (ProcessRequest, {"job_id": "j", "video_url": "https://example.org/a.mp4"}),
    ):
        body = kind.model_validate(
            address
            | {
                "voices": "/etc",
                "diarize.voices": "/etc",
                "diarize": {"voices": "/etc"},
                "settings": {"diarize.voices": "/etc"},
            }
        )
        assert "/etc" not in body.model_dump_json()
        task = {"language": "en", "silence_marks": False, "voices": "/etc", "diarize.voices": "/etc"}
        assert job_settings(service, SimpleNamespace(task=task)).diarize.voices == own

def test_the_picture_shows_and_plays_everybody(tmp_path):
    tone = (0.3 * np.sin(2 * np.pi * 300 * np.arange(2 * SECOND) / SECOND)).astype(np.float32)
    own = [
        replace(someone(f"talk{n}", f"SPEAKER_0{i}", person), clip=tone)
        for n in range(3)
        for i, person in enumerate((0, n + 1))
    ]
    linked = linked_speakers.LinkedSpeakers(
        tuple(own), tuple(linked_speakers.link_speakers(own)), {}, ("talk9: its <recording> is not found",)
    )
    page = tmp_path / "voices.html"
    page.write_text(f'<!doctype html><meta charset="utf-8">{linked._repr_html_()}')
    assert page.stat().st_size < 200_000 and "&lt;recording&gt;" in page.read_text()
    with chromium_browser(
        "the picture is not looked at", "--autoplay-policy=no-user-gesture-required"
    ) as browser:
        tab = browser.new_page()
        tab.goto(page.as_uri())
        assert tab.locator("button").count() == 6 and tab.locator("td.score").count() == 36
        rows = tab.locator("tr").all_inner_texts()
        assert sum("PERSON_01" in r for r in rows) == 3
        tab.locator("button").nth(2).click()
        tab.wait_for_function("document.querySelectorAll('.ecg-voices audio')[2].duration > 1.9")
