"""The packaged diarizer at its edges: nothing said, very little said, one voice, levels, split voices, long
files in blocks"""
import numpy as np
import pytest

from ecg_audio_nb.speech import diarize as d
from ecg_audio_nb.research.references import read_turns
from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.core.files import PACKAGE
from ecg_audio_nb.models import onnx_session
from ecg_audio_nb.speech.vad import detect_speech, peak_gain
from ecg_audio_nb.speech import speaker_embeddings as e
from ecg_audio_nb.speech.voice_encoder import FrameSums, embed_frames, n_trunk_frames, trunk_frames
from readers import read_utterance, speakers, speakers_of_a_talk

RATE = 16000


@pytest.fixture(scope="module")
def readers(shared_data): # id -> the first two utterances
    found = {}
    for path in sorted((shared_data / "librispeech").glob("*.flac")):
        voice = found.setdefault(path.name.split("-")[0], [])
        if len(voice) < 2: voice.append(read_utterance(path).samples)
    return found


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0),
        np.zeros(1600),
        np.zeros(5 * RATE),
        np.full(RATE, 0.1),
        np.random.default_rng(0).normal(0, 0.1, 8 * RATE),
        np.sin(np.arange(6 * RATE) * 0.1) * 0.3,
        sum(np.sin(np.arange(6 * RATE) * f) for f in (0.1, 0.126, 0.15)) * 0.2,
    ],
    ids=["empty", "0.1 s", "silence", "constant", "noise", "tone", "chord"],
)
def test_nobody_speaks(samples):
    assert speakers(samples) == set()


def test_one_voice_stays_one(readers):
    wrong = [
        name
        for name, (first, second) in readers.items()
        if len(speakers(np.concatenate([first, second]))) != 1
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y * 0.003,
        lambda y: np.clip(20 * y, -1, 1),
        lambda y: y[: 2 * RATE],
        lambda y: y[RATE : RATE * 3 // 2],
    ],
    ids=["soft", "clipped", "2 s", "0.5 s"],
)
def test_one_voice_at_other_levels_and_short(readers, change):
    first, _ = readers["1688"] if "1688" in readers else next(iter(readers.values()))
    assert len(speakers(change(first))) == 1


def test_the_number_that_is_given_is_found(readers):
    first, second, *_ = [v[0] for v in readers.values()]
    both = np.concatenate([first[:6 * RATE], second[:6 * RATE]])
    assert len(speakers(both)) == 2 and len(speakers(both, num_speakers=1)) == 1


CLIPS = {
    "falcon_3spk.wav": 3,
    "katiesteve_mono.wav": 2,
    "sintel_trailer-audio.ogg": 2,
    "enrollment_audio_katie.wav": 1,
}


@pytest.mark.parametrize("name", CLIPS)
def test_real_conversations_have_as_many_speakers_as_people(shared_data, name):
    path = shared_data / "real/conversations" / name
    if not path.exists(): pytest.skip(f"no {name}")
    assert len(speakers(load_audio(path).samples)) == CLIPS[name]


def test_turns_of_three_people_are_theirs(shared_data):
    path = shared_data / "real/conversations/falcon_3spk.wav"
    if not path.exists(): pytest.skip("no falcon_3spk.wav")
    audio = load_audio(path)
    turns = d.diarize(audio, detect_speech(audio)).turns
    true = read_turns(path.with_suffix(".rttm"))
    assert [t.speaker_id[-1] for t in turns] == ["0", "1", "2"] and len(true) == 3
    for found, right in zip(turns, true): # the reference is rounded to 0.1 s
        assert abs(found.start_time - right.start_time) < 0.25 and abs(found.end_time - right.end_time) < 0.25


def test_what_is_said_over_somebody_else_is_less_sure(readers):
    first, second, *_ = [v[0] for v in readers.values()]
    both = np.concatenate([first[:6 * RATE], second[:6 * RATE]])
    both[8 * RATE:10 * RATE] += 0.7 * first[3 * RATE:5 * RATE]
    audio = Audio(both.astype(np.float32))
    found = d.diarize(audio, detect_speech(audio))
    sure = found.certainty
    assert set(sure.speakers) == {t.speaker_id for t in found.turns} and all(
        0 <= t.speaker_confidence <= 1 for t in found.turns
    )
    [a, b] = sure.speakers
    assert sure.of(a, 1, 5) > 0.95 and sure.of(b, 1, 5) < 0.2 and sure.of(b, 10.5, 12) > 0.95
    assert sure.of(b, 8, 10) < sure.of(b, 10.5, 12)
    assert sure.of(None, 1, 2) is None and sure.of("SPEAKER_07", 1, 2) is None


def test_a_lone_sound_that_only_silero_hears_has_no_confidence():
    n = d.overlap_mean(np.zeros((3, 293), np.float32), 7 * RATE)
    turns, sure = d.to_turns(np.ones((len(n), 1), bool), 7.0)
    assert sure is None and [t.speaker_confidence for t in turns] == [None]


@pytest.mark.slow
@pytest.mark.parametrize(
    "voices, channel, seconds", [(4, "clean", 80), (3, "telephone", 60), (1, "room", 40)]
)
def test_talks_of_many_people(shared_data, voices, channel, seconds):
    "Longer ones, of eight and five people, are in tests/soak/test_speech.py"
    assert speakers_of_a_talk(voices, channel, seconds) == voices


def test_frames_of_a_stretch_are_those_of_the_file(readers):
    y, session = next(iter(readers.values()))[0], onnx_session("voice_encoder")
    whole = trunk_frames(y, session)
    assert len(whole) == n_trunk_frames(len(y))
    np.testing.assert_allclose(trunk_frames(y, session, 150, 300, threads=2), whole[150:300], atol=1e-4)
    # too short for a piece
    for n in (0, 399, 400, 560, 3000): assert len(trunk_frames(y[:n], session)) == n_trunk_frames(n)


def test_pieces_that_are_not_wanted_are_zero(readers):
    y = next(iter(readers.values()))[0]
    wanted = np.zeros(n_trunk_frames(len(y)), bool); wanted[160] = True
    frames = trunk_frames(y, onnx_session("voice_encoder"), wanted=wanted)
    assert frames[150:300].any() and not frames[:150].any() and not frames[300:].any()


def test_sums_give_the_voices_of_frames(readers):
    y = next(iter(readers.values()))[0]
    frames = trunk_frames(y, onnx_session("voice_encoder"))
    counted = np.random.default_rng(0).random(len(frames)) < 0.7
    for kept in (None, counted):
        sums, mask = FrameSums(frames, kept), np.ones(len(frames), bool) if kept is None else kept
        for a, b in ((0, 50), (100, 235), (200, len(frames))):
            found = sums.embed(np.array([a]), np.array([b]))[0]
            assert found @ embed_frames(frames[a:b][mask[a:b]]) > 0.9999
    assert not FrameSums(frames).embed(np.array([0]), np.array([5])).any() # too few


def test_blocks_change_nothing(readers, monkeypatch):
    y = np.concatenate([v[0] for v in readers.values()])
    audio = Audio(y); activity = detect_speech(audio)
    whole = e.extract_embeddings(audio, activity)
    monkeypatch.setattr(e, "BLOCK", 7)
    parts = e.extract_embeddings(audio, activity)
    np.testing.assert_array_equal(whole.masks, parts.masks)
    np.testing.assert_allclose(whole.embedded, parts.embedded, atol=1e-3)
    np.testing.assert_allclose(whole.sliding, parts.sliding, atol=5e-3)


@pytest.mark.parametrize("seconds", np.arange(7.0, 10.0, 0.25))
def test_a_file_may_end_wherever_a_block_ends(monkeypatch, seconds):
    "The windows of a block are padded to the trunk's own, which may lie beyond the end of the file"
    audio = load_audio(PACKAGE / "assets/sample.mp4").cut(0, seconds)
    activity = detect_speech(audio)
    whole = e.extract_embeddings(audio, activity)
    monkeypatch.setattr(e, "BLOCK", 4)
    parts = e.extract_embeddings(audio, activity)
    assert whole.sliding.shape == parts.sliding.shape
    np.testing.assert_allclose(whole.sliding, parts.sliding, atol=5e-3)
    np.testing.assert_allclose(whole.embedded, parts.embedded, atol=1e-3)


def test_a_local_speaker_who_is_two_is_split(readers):
    session = onnx_session("voice_encoder")
    first, second, *_ = [trunk_frames(v[0], session, gain=peak_gain(v[0])) for v in readers.values()]
    mask = np.zeros((e.FRAMES, 3), bool); mask[:, 1] = True # one local speaker all through the window
    alone = e.split_local_speakers(mask, first[50:300])
    assert alone.shape[1] == 3
    both = e.split_local_speakers(mask, np.concatenate([first[50:175], second[50:175]]))
    assert (
        both.shape[1] == 4 and (both.sum(1) == 1).all() and abs(int(np.flatnonzero(both[:, 3])[0]) - 147) < 15
    )
