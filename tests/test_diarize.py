"""The packaged diarizer at its edges: nothing said, very little said, one voice, levels, split voices, long files in blocks"""
import numpy as np
import pytest

from ecg_audio_nb import diarize as d
from ecg_audio_nb.media import Audio, load_audio
from ecg_audio_nb.models import onnx_session
from ecg_audio_nb.settings import DiarizeSettings
from ecg_audio_nb.voice import listen, peak_gain
from ecg_audio_nb.voice_encoder import Sums, n_trunk_frames, trunk_frames, voice_of

RATE = 16000


def speakers(samples, **settings):
    audio = Audio(np.ascontiguousarray(samples, dtype=np.float32))
    return {t.speaker_id for t in d.diarize(audio, listen(audio), DiarizeSettings(**settings)).turns}


@pytest.fixture(scope="module")
def readers(shared_data): # id -> the first two utterances
    found = {}
    for path in sorted((shared_data / "librispeech").glob("*.flac")):
        voice = found.setdefault(path.name.split("-")[0], [])
        if len(voice) < 2: voice.append(load_audio(path).samples)
    return found


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(1600), np.zeros(5 * RATE), np.full(RATE, 0.1),
                                     np.random.default_rng(0).normal(0, 0.1, 8 * RATE), np.sin(np.arange(6 * RATE) * 0.1) * 0.3],
                         ids=["empty", "0.1 s", "silence", "constant", "noise", "tone"])
def test_nobody_speaks(samples):
    assert speakers(samples) == set()


def test_one_voice_stays_one(readers):
    wrong = [name for name, (first, second) in readers.items() if len(speakers(np.concatenate([first, second]))) != 1]
    assert wrong == []


@pytest.mark.parametrize("change", [lambda y: y * 0.003, lambda y: np.clip(20 * y, -1, 1), lambda y: y[:2 * RATE]], ids=["soft", "clipped", "2 s"])
def test_one_voice_at_other_levels_and_short(readers, change):
    first, _ = readers["1688"] if "1688" in readers else next(iter(readers.values()))
    assert len(speakers(change(first))) == 1


def test_the_number_that_is_given_is_found(readers):
    first, second, *_ = [v[0] for v in readers.values()]
    both = np.concatenate([first[:6 * RATE], second[:6 * RATE]])
    assert len(speakers(both)) == 2 and len(speakers(both, num_speakers=1)) == 1


def test_frames_of_a_stretch_are_those_of_the_file(readers):
    y, session = next(iter(readers.values()))[0], onnx_session("voice_encoder")
    whole = trunk_frames(y, session)
    assert len(whole) == n_trunk_frames(len(y))
    np.testing.assert_allclose(trunk_frames(y, session, 150, 300, threads=2), whole[150:300], atol=1e-4)
    for n in (0, 399, 400, 560, 3000): assert len(trunk_frames(y[:n], session)) == n_trunk_frames(n) # too short for a piece


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
        sums, mask = Sums(frames, kept), np.ones(len(frames), bool) if kept is None else kept
        for a, b in ((0, 50), (100, 235), (200, len(frames))):
            found = sums.voices(np.array([a]), np.array([b]))[0]
            assert found @ voice_of(frames[a:b][mask[a:b]]) > 0.9999
    assert not Sums(frames).voices(np.array([0]), np.array([5])).any() # too few


def test_blocks_change_nothing(readers, monkeypatch):
    y = np.concatenate([v[0] for v in readers.values()])
    audio = Audio(y); activity = listen(audio)
    whole = d.hear_voices(audio, activity)
    monkeypatch.setattr(d, "BLOCK", 7)
    parts = d.hear_voices(audio, activity)
    np.testing.assert_array_equal(whole.masks, parts.masks)
    np.testing.assert_allclose(whole.embedded, parts.embedded, atol=1e-3)
    np.testing.assert_allclose(whole.sliding, parts.sliding, atol=5e-3)


def test_a_local_speaker_who_is_two_is_split(readers):
    session = onnx_session("voice_encoder")
    first, second, *_ = [trunk_frames(v[0], session, gain=peak_gain(v[0])) for v in readers.values()]
    mask = np.zeros((d.FRAMES, 3), bool); mask[:, 1] = True # one local speaker all through the window
    alone = d.split(mask, first[50:300])
    assert alone.shape[1] == 3
    both = d.split(mask, np.concatenate([first[50:175], second[50:175]]))
    assert both.shape[1] == 4 and (both.sum(1) == 1).all() and abs(int(np.flatnonzero(both[:, 3])[0]) - 147) < 15
