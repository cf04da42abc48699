"""A person a channel: stereo that is a call and stereo that is not, cross-talk, silent channels, speech over
speech"""
import json
import wave

import numpy as np
import pytest

from ecg_audio_nb import channels as c
from ecg_audio_nb.results.export import WRITERS, render
from ecg_audio_nb.audio.media import Audio, ChannelAudio, MediaError, load_audio
from ecg_audio_nb.pipeline import ArtifactHook, analyze
from ecg_audio_nb.reproduce import same_result
from ecg_audio_nb.schema import Turn, from_dict, to_dict
from ecg_audio_nb.settings import MediaSettings, load_settings
from ecg_audio_nb.speech.person_embeddings import embed_spans, embed_speakers, similarity
from readers import conversations

RATE = 16000
SETTINGS = {
    "engine": "whisper",
    "runtime.offline": True,
    "runtime.device": "cpu",
    "transcribe.enabled": False,
}
WORDS = SETTINGS | {"transcribe.enabled": True, "transcribe.model": "tiny.en"}


def write(path, channels):
    with wave.open(str(path), "wb") as f:
        f.setparams((len(channels), 2, RATE, 0, "NONE", ""))
        f.writeframes(np.rint(np.clip(np.asarray(channels).T, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def made(shared_data): # -> makes calls of LibriSpeech's readers
    with conversations() as talk:
        bank = talk.librispeech_voices()
        def make(number=40, pair=(1, 3), **more):
            return talk.call(number, bank, [sorted(bank)[i] for i in pair], **more)
        yield make


@pytest.fixture(scope="module")
def talk(made, tmp_path_factory): # a call of a minute, as a file
    channels, turns, short = made()
    return write(tmp_path_factory.mktemp("call") / "call.wav", channels), channels, turns, short


@pytest.fixture(scope="module")
def short_talk(made, tmp_path_factory): # a call of a third of that
    channels, turns, short = made(seconds=20, backchannels=2)
    return write(tmp_path_factory.mktemp("call") / "call.wav", channels), channels, turns, short


def error(result, turns, seconds):
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate
    def notes(spans):
        a = Annotation()
        for i, (s, e, who) in enumerate(spans): a[Segment(s, e), i] = who
        return a
    told = notes((t.start_time, t.end_time, t.speaker_id) for t in result.turns)
    return DiarizationErrorRate()(notes(turns), told, uem=Timeline([Segment(0, seconds)]))


@pytest.mark.slow
def test_a_call_has_the_speakers_of_its_channels(talk):
    path, channels, turns, short = talk
    apart = analyze(path, SETTINGS)
    assert [(s.speaker_id, s.channel) for s in apart.speakers] == [("SPEAKER_00", 0), ("SPEAKER_01", 1)]
    assert any("each channel is one speaker" in w for w in apart.metadata.warnings)
    assert apart.metadata.models["diarize"].engine == "channels"
    seconds = channels.shape[1] / RATE
    mix = analyze(path, SETTINGS | {"media.channels": "mix"})
    assert error(apart, turns, seconds) < 0.08 and error(apart, turns, seconds) < 0.6 * error(
        mix, turns, seconds
    )
    # the first is heard first
    who = dict(zip(dict.fromkeys(w for *_, w in turns), ("SPEAKER_00", "SPEAKER_01")))
    heard = [
        any(
            t.speaker_id == who[w]
            and min(t.end_time, e) - max(t.start_time, s) > 0.15
            and t.end_time - t.start_time < 1
            for t in apart.turns
        )
        for s, e, w in short
    ]
    assert len(short) == 6 and sum(heard) >= 5
    assert from_dict(json.loads(json.dumps(to_dict(apart)))) == apart


@pytest.mark.slow
def test_words_over_words_are_both_kept_and_measured_on_their_own_channel(short_talk, tmp_path):
    path, channels, _, _ = short_talk
    kept = ArtifactHook()
    apart = analyze(path, WORDS, kept)
    assert {w.speaker_id for w in apart.words} == {"SPEAKER_00", "SPEAKER_01"}
    assert all(len({w.speaker_id for w in s.words}) == 1 for s in apart.segments)
    assert any(w.other_speakers for w in apart.words)
    starts = [s.start_time for s in apart.segments]
    assert starts == sorted(starts) and any(
        a.end_time > b.start_time for a, b in zip(apart.segments, apart.segments[1:])
    )
    assert sum(len(s.words) == 1 for s in apart.segments) < 0.3 * len(apart.segments)
    for i in range(2): # a word's level is that of its channel, whatever the other one says
        one = analyze(write(tmp_path / "one.wav", channels[i:i + 1]), WORDS | {"transcribe.enabled": False})
        level = max(s.acoustic_features.volume_db for s in one.speakers) # beside the cross-talk
        assert abs(apart.speakers[i].acoustic_features.volume_db - level) < 4
    for name in WRITERS:
        if name != "parquet": assert render(apart, name)
    assert (
        isinstance(kept.frames, c.ChannelFrames)
        and len(kept.frames.f0)
        and kept.audio.duration == apart.metadata.duration
    )


@pytest.mark.slow
def test_checkpoints_give_the_same(short_talk, tmp_path):
    on = WORDS | {"runtime.checkpoints": True, "runtime.data_dir": tmp_path}
    first, kept = analyze(short_talk[0], on), []
    again = analyze(short_talk[0], on, lambda e: kept.append((e.stage, e.status)))
    assert same_result(first, again) and same_result(
        first, analyze(short_talk[0], WORDS | {"runtime.data_dir": tmp_path})
    )
    for stage in ("voice", "transcribe", "align", "acoustics"): # for whoever watches, one run
        assert [k for s, k in kept if s == stage and k != "progress"] == ["start", "done"]


@pytest.mark.slow
def test_one_silent_channel_is_no_speaker(made, tmp_path):
    channels, turns, _ = made(cross_talk=None, backchannels=0, seconds=20)
    for speaks in (0, 1):
        silent = channels.copy()
        silent[1 - speaks] = 0
        found = analyze(write(tmp_path / "silent.wav", silent), SETTINGS | {"media.channels": "speakers"})
        assert [s.channel for s in found.speakers] == [speaks]
        assert len(analyze(tmp_path / "silent.wav", SETTINGS).speakers) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda y: [y, y],
        lambda y: [y, 0.5 * np.roll(y, 12)],
        lambda y: [y, -y],
        lambda y: [y, 0 * y],
        lambda y: [y, 0.03 * y],
    ],
    ids=["same", "softer and later", "inverted", "one-sided", "faint"],
)
def test_ordinary_stereo_is_a_mix(shared_data, tmp_path, change):
    path = sorted((shared_data / "librispeech").glob("*.flac"))[0]
    file = write(tmp_path / "stereo.wav", change(load_audio(path).samples))
    mixed = load_audio(file, MediaSettings(channels="mix")).samples
    assert type(load_audio(file)) is Audio and np.array_equal(load_audio(file).samples, mixed)


def test_films_and_real_stereo_are_mixed(shared_data):
    for name in ("sintel_trailer-audio.ogg", "stereo_diarization.wav"):
        path = shared_data / "real/conversations" / name
        if path.exists() and name.startswith("sintel"): assert type(load_audio(path)) is Audio


def test_channels_are_those_of_the_file(tmp_path):
    t = np.arange(2 * RATE) / RATE
    three = [0.2 * np.sin(2 * np.pi * f * t) for f in (200, 300, 400)]
    audio = load_audio(write(tmp_path / "three.wav", three), MediaSettings(channels="speakers"))
    assert isinstance(audio, ChannelAudio) and audio.count == 3 and audio.duration == 2.0
    for i, x in enumerate(three): np.testing.assert_allclose(audio.channel(i).samples, x, atol=1e-3)
    np.testing.assert_allclose(audio.samples, np.mean(three, 0), atol=1e-3)
    mono = load_audio(write(tmp_path / "mono.wav", three[:1]), MediaSettings(channels="speakers"))
    assert type(mono) is Audio and "one channel only" in mono.warnings[0]


def test_a_broken_file_says_so_whatever_is_asked_for(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    for channels in ("auto", "mix", "speakers"):
        with pytest.raises(MediaError, match="x.wav"):
            load_audio(tmp_path / "x.wav", MediaSettings(channels=channels))


@pytest.mark.parametrize("db", [-25, -15])
def test_the_leak_is_found_and_only_the_leak_is_silenced(made, db):
    whole, turns, _ = made(41, (0, 2), cross_talk=db, seconds=40)
    energy = np.stack([c.block_energy(x.astype(np.float32)) for x in whole])
    assert np.allclose(10 * np.log10(c.leak_ratios(energy)[[0, 1], [1, 0]]), db, atol=2)
    muted, names = c.find_cross_talk(energy), list(dict.fromkeys(w for *_, w in turns))
    says = np.zeros_like(muted)
    for s, e, who in turns: says[names.index(who), int(s * 50) + 1:int(e * 50)] = True
    for i in range(2):
        other = says[1 - i] & ~says[i]
        assert muted[i][other].mean() > 0.8 and muted[i][says[i]].mean() < 0.1


@pytest.mark.slow
def test_who_gets_another_name_keeps_the_channel(short_talk):
    from ecg_audio_nb.results.corrections import apply_corrections, draft_of, reassign_speaker
    kept = ArtifactHook()
    result = analyze(short_talk[0], SETTINGS, kept)
    speech, settings = kept.artifacts["voice"].speech, load_settings(SETTINGS)
    draft = reassign_speaker(draft_of(result), 0.0, result.metadata.duration, "Anna", "SPEAKER_01")
    renamed = apply_corrections(draft, result, kept.frames, speech, settings)
    assert [(s.speaker_id, s.channel) for s in renamed.speakers] == [("Anna", 1), ("SPEAKER_00", 0)]
    was = {s.channel: s.acoustic_features for s in result.speakers}
    assert all(s.acoustic_features == was[s.channel] for s in renamed.speakers)


def test_a_voice_is_heard_in_its_own_channel(shared_data):
    a, b = (
        load_audio(p).samples[: 8 * RATE]
        for p in sorted((shared_data / "librispeech").glob("*-0000.flac"))[:2]
    )
    n = min(len(a), len(b))
    call = ChannelAudio(lambda: tuple((x[:n] * 32767).astype(np.int16) for x in (a, b)), 2, n)
    turns = [Turn(0, n / RATE, "A"), Turn(0, n / RATE, "B")] # over each other all the time
    own = embed_speakers(call, turns, channels={"A": 0, "B": 1})
    for who, x in (("A", a), ("B", b)):
        assert similarity(own[who], embed_spans(Audio(x[:n]), [(0, n / RATE)])) > 0.99
    assert similarity(own["A"], own["B"]) < 0.5 and set(embed_speakers(call, turns).values()) == {None}
