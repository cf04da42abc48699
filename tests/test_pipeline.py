"""The whole chain on the packaged sample: the same result twice, no connection, every promise of the result
kept."""
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from ecg_audio_nb import analyze
from ecg_audio_nb.research.error_rates import wer
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.pipeline import KEYWORDS, StageEvent
from ecg_audio_nb.schema import ModelInfo, Word, from_dict, json_schema, to_dict
from ecg_audio_nb.settings import known_keys, load_settings
from ecg_audio_nb.speech.diarize import diarize
from ecg_audio_nb.speech.transcribe import Transcript

EMBEDDED = {"engine": "embedded"}


def but_timing(analysis):
    d = to_dict(analysis)
    d["metadata"]["timing"] = None
    return d


@pytest.fixture(scope="module")
def result(sample):
    return analyze(sample, EMBEDDED)


@pytest.fixture(scope="module")
def clip(sample, tmp_path_factory):
    "Nine seconds of the sample, in which two speak"
    path, audio = tmp_path_factory.mktemp("clip") / "clip.wav", load_audio(sample)
    soundfile.write(path, audio.cut(0, 9).samples, audio.sample_rate)
    return path


def test_every_word_has_a_time_a_speaker_and_a_voice(result):
    assert len(result.words) > 20
    for word in result.words:
        assert word.start_time is not None and 0 < word.confidence <= 1
        assert word.acoustic_features.volume_db is not None
    assert sum(w.timing == "aligned" for w in result.words) >= 0.95 * len(result.words)
    assert sum(w.speaker_id is None for w in result.words) <= 0.05 * len(result.words)
    assert any(w.acoustic_features.pitch_hz is not None for w in result.words)


def test_the_sample_is_recognized_with_case_punctuation_and_true_times(result, sample):
    truth = json.loads(sample.with_suffix(".truth.json").read_text())
    assert wer(truth["text"], " ".join(w.word for w in result.words), "en").wer <= 0.04
    assert result.words[0].word == "Good" and sum(w.word[-1] in ".,?" for w in result.words) > 10
    found, said = (
        [re.sub(r"\W", "", w).lower() for w in words]
        for words in ([w.word for w in result.words], [w["word"] for w in truth["words"]])
    )
    starts, ends = [], []
    for a, b, n in difflib.SequenceMatcher(None, found, said, autojunk=False).get_matching_blocks():
        starts += [
            abs(result.words[a + i].start_time - truth["words"][b + i]["start_time"]) for i in range(n)
        ]
        ends += [abs(result.words[a + i].end_time - truth["words"][b + i]["end_time"]) for i in range(n)]
    assert len(starts) >= 0.9 * len(said) and np.median(starts) <= 0.02 and np.median(ends) <= 0.02


def test_segments_of_the_sample_are_sentences(result):
    assert all(s.text[0].isupper() and s.text[-1] in ".?!" for s in result.segments)


def test_nothing_is_a_constant(result):
    "The earlier system gave every word the same voice and confidence"
    for values in (
        [w.confidence for w in result.words],
        [w.acoustic_features.volume_db for w in result.words],
        [w.acoustic_features.pitch_hz for w in result.words if w.acoustic_features.pitch_hz],
        [w.acoustic_features.spectral_centroid for w in result.words],
    ):
        assert len(set(values)) > 0.5 * len(values)


def test_segments_have_one_speaker_and_their_words(result):
    for segment in result.segments:
        assert {w.speaker_id for w in segment.words} == {segment.speaker_id}
        assert segment.text == " ".join(w.word for w in segment.words)
    assert sorted({t.speaker_id for t in result.turns}) == [s.speaker_id for s in result.speakers]
    assert result.turns[0].speaker_id == "SPEAKER_00"
    assert sum(s.word_count for s in result.speakers) == sum(w.speaker_id is not None for w in result.words)


def test_metadata_says_what_ran(result, sample):
    m = result.metadata
    assert m.filename == "sample.mp4" and len(m.source_sha256) == 64
    assert set(m.models) == {"voice", "voice_fill", "transcribe", "align", "diarize"}
    assert all(len(model.sha256) == 64 for model in m.models.values())
    stages = {"fetch", "media", "voice", "transcribe", "align", "diarize", "acoustics", "adapt"}
    assert set(m.timing.stages) == stages
    assert {stage: m.models[stage].engine for stage in ("transcribe", "align", "diarize")} == {
        "transcribe": "whisper", "align": "phones", "diarize": "embedded"}
    assert m.language_detected == "en" and m.language_probability > 0.5
    assert m.settings["engine"] == "whisper" and "data_dir" not in m.settings["runtime"]


def test_full_measures_the_whole_voice_and_says_why_where_it_cant(sample, result):
    jsonschema = pytest.importorskip("jsonschema")
    full = analyze(sample, {**EMBEDDED, "acoustics.features": "full"})
    assert {"quality"} == full.metadata.timing.stages.keys() - result.metadata.timing.stages.keys()
    assert full.metadata.loudness.integrated_lufs == pytest.approx(-21.0, abs=0.1) # FFmpeg's ebur128
    assert full.metadata.loudness.true_peak_dbtp == pytest.approx(-3.5, abs=0.1)
    assert result.metadata.loudness is None and result.speakers[0].loudness_lufs is None
    assert full.metadata.signal == result.metadata.signal and full.metadata.signal.snr_db > 20
    for speaker in full.speakers:
        assert -30 < speaker.loudness_lufs < -10 and 2 < speaker.acoustic_features.syllable_rate < 8
    for record in (*full.words, *full.segments):
        voice = record.acoustic_features
        assert all(getattr(voice, measure) is None for measure in voice.reasons)
        measures = ("pitch_hz", "f1_hz", "f2_hz", "f3_hz", "jitter", "shimmer", "hnr_db", "cpps_db")
        assert all(getattr(voice, m) is not None or m in voice.reasons for m in measures)
    assert sum(w.acoustic_features.f1_hz is not None for w in full.words) > 0.9 * len(full.words)
    pitches = [s.acoustic_features.pitch_hz for s in full.speakers]
    assert max(pitches) - min(pitches) > 30 # a deep and a high voice
    jsonschema.validate(json.loads(json.dumps(to_dict(full))), json_schema())
    assert from_dict(to_dict(full)) == full
    basic = [(w.word, w.start_time, w.acoustic_features.volume_db) for w in result.words]
    assert [(w.word, w.start_time, w.acoustic_features.volume_db) for w in full.words] == basic


def test_two_runs_give_the_same_result_but_for_timing(result, sample):
    one_process = analyze(sample, {**EMBEDDED, "runtime.threads": 1})
    a, b = but_timing(result), but_timing(one_process)
    assert a["metadata"].pop("settings") != b["metadata"].pop("settings")
    assert json.dumps(a) == json.dumps(b)


def test_the_result_is_what_its_schema_says(result):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads(json.dumps(to_dict(result))), json_schema())
    assert from_dict(json.loads(json.dumps(to_dict(result)))) == result


def test_silence_marks_fill_the_gaps(sample, result):
    marked = analyze(sample, {**EMBEDDED, "export.silence_marks": True})
    silences = [w for w in marked.words if w.kind == "silence"]
    assert any(w.duration > 1 for w in silences), "the sample has a pause of more than a second"
    for w in silences:
        assert (w.word, w.timing, w.speaker_id, w.confidence) == ("[SILENCE]", "measured", None, None)
        assert w.acoustic_features.pitch_hz is None
    assert [w.word for w in marked.words if w.kind == "word"] == [w.word for w in result.words]
    assert any(s.text.startswith("[SILENCE] ") for s in marked.segments)


def test_turns_without_words_and_words_without_turns(sample):
    turns = analyze(sample, {**EMBEDDED, "transcribe.enabled": False})
    assert (
        not turns.words
        and len(turns.segments) == len(turns.turns) > 2
        and "transcribe" not in turns.metadata.models
    )
    neither = analyze(sample, {**EMBEDDED, "transcribe.enabled": False, "diarize.enabled": False})
    assert neither.segments and not neither.turns and not neither.speakers
    assert all(s.acoustic_features.volume_db is not None and s.speaker_id is None for s in neither.segments)


class Counting:
    "An engine that says one word a region, without a time for every second one"
    def transcribe(self, audio, regions, language, on_progress):
        words = [
            Word(f"w{i}", s, e, timing="recognized") if i % 2 == 0 else Word(f"w{i}")
            for i, (s, e) in enumerate(regions)
        ]
        return Transcript(tuple(words), ModelInfo("counting", "1"), language="xx", language_probability=0.5)


def test_words_without_a_time_are_interpolated_and_marked(sample):
    result = analyze(sample, EMBEDDED, engines={"transcribe": Counting()})
    assert {w.timing for w in result.words[1::2]} == {"interpolated"} and {
        w.timing for w in result.words[::2]
    } == {"recognized"}
    assert (result.metadata.language_detected, result.metadata.language_probability) == ("xx", 0.5)


def test_a_failing_engine_fails_the_analysis_and_leaves_no_thread(clip):
    class Broken:
        def transcribe(self, *_): raise RuntimeError("the engine broke")
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="the engine broke"):
        analyze(clip, EMBEDDED, engines={"transcribe": Broken()})
    assert threading.active_count() <= before


def test_events_are_told_in_order(clip):
    told = []
    analyze(clip, {**EMBEDDED, "transcribe.enabled": False}, told.append)
    for stage in ("fetch", "media", "voice", "diarize", "acoustics"):
        assert [e.status for e in told if e.stage == stage and e.status != "progress"] == ["start", "done"]
        assert [e.fraction for e in told if e.stage == stage and e.status == "progress"] == sorted(
            e.fraction for e in told if e.stage == stage and e.status == "progress"
        )
    assert [e.stage for e in told][:4] == ["fetch", "fetch", "media", "media"]
    assert all(e.artifact is not None and e.seconds >= 0 for e in told if e.status == "done")


def test_number_of_speakers_can_be_given(clip):
    base = {**EMBEDDED, "transcribe.enabled": False}
    assert analyze(clip, {**base, "diarize.num_speakers": 1}).metadata.unique_speakers == 1
    assert analyze(clip, {**base, "diarize.max_speakers": 2}).metadata.unique_speakers <= 2
    with pytest.raises(ValueError, match="min_speakers"):
        analyze(clip, {**base, "diarize.min_speakers": 3, "diarize.max_speakers": 2})


def test_the_options_of_the_command_line_work_as_keywords(clip):
    result = analyze(
        clip, {**EMBEDDED, "diarize.num_speakers": 1}, num_speakers=2, no_transcribe=True, language=None
    )
    assert (
        len(result.speakers) == 2
        and not result.words
        and result.metadata.settings["diarize"]["num_speakers"] == 2
    )
    settings = load_settings({**EMBEDDED, "diarize.threshold": 0.5})
    asked = analyze(clip, settings, no_transcribe=True, no_diarize=True).metadata.settings
    assert (asked["diarize"]["threshold"], asked["diarize"]["enabled"]) == (0.5, False)


def test_every_option_of_the_command_line_is_a_keyword():
    from typer.main import get_command
    from ecg_audio_nb.cli import app
    command = get_command(app).commands["analyze"]
    options = {p.name for p in command.params} - {"sources", "output", "profile", "set_"}
    assert options == set(KEYWORDS) and set(KEYWORDS.values()) <= set(known_keys())


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"num_speaker": 2}, "nearest is num_speakers"),
        ({"threshold": 0.5}, "diarize.threshold"),
        ({"xyzzy": 1}, "no keyword 'xyzzy'; there are engine,"),
    ],
)
def test_an_unknown_keyword_is_an_error_that_names_the_way_out(sample, keywords, message):
    with pytest.raises(TypeError, match=re.escape(message)): analyze(sample, **keywords)


def test_a_bad_value_of_a_keyword_names_its_setting(sample):
    with pytest.raises(ValueError, match="diarize.num_speakers"): analyze(sample, num_speakers=-1)


def test_an_engine_is_an_instance_a_name_or_its_settings(clip):
    base = {**EMBEDDED, "transcribe.enabled": False}
    plain = analyze(clip, base)
    assert analyze(clip, {**base, "engine": "auto"}, engines={"diarize": "whisper"}).turns == plain.turns
    assert analyze(clip, base, engines={"diarize": {"num_speakers": 2}}).metadata.unique_speakers == 2
    assert analyze(clip, base, engines={"diarize": diarize}).turns == plain.turns
    with pytest.raises(
        ValueError,
        match=(
            r"engines\['diarize'\]: "
            r"diarize.engine"
        ),
    ):
        analyze(clip, base, engines={"diarize": "nobody"})
    with pytest.raises(TypeError, match="a diarizer has a method"):
        analyze(clip, base, engines={"diarize": 3})


def test_an_event_has_the_attributes_of_version_0_1():
    event = StageEvent("media", "done", fraction=0.5, artifact="sound", from_cache=True)
    assert (event.share, event.artefact, event.kept) == (0.5, "sound", True)


def test_the_language_is_checked(clip):
    with pytest.raises(ValueError, match="tiny.en knows English only"):
        analyze(clip, {**EMBEDDED, "transcribe.model": "tiny.en", "transcribe.language": "ko"})
    with pytest.raises(ValueError, match="base knows no such language; write auto, or one of its 99 codes"):
        analyze(clip, {**EMBEDDED, "transcribe.language": "xx"})


def test_loudness_of_the_whole_chain(tmp_path):
    "A tone of known level and F0 comes out as such, through container, decoder, resampler and pooling"
    import wave
    t = np.arange(3 * 44100) / 44100
    tone = (10 ** (-23 / 20) * np.sqrt(2) * np.sin(2 * np.pi * 200 * t) * 32767).round().astype("<i2")
    with wave.open(str(tmp_path / "tone.wav"), "wb") as f:
        f.setnchannels(2), f.setsampwidth(2), f.setframerate(44100)
        f.writeframes(np.repeat(tone, 2).tobytes())
    from ecg_audio_nb.voice.acoustics import frames, pool
    audio = load_audio(tmp_path / "tone.wav")
    features = pool(frames(audio.samples), [(0.5, 2.5)])[0]
    assert features.volume_db == pytest.approx(-23, abs=0.1) and features.pitch_hz == pytest.approx(
        200, rel=0.01
    )


WATCH = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
static void note(const struct sockaddr *a) {
    if (a && (a->sa_family == AF_INET || a->sa_family == AF_INET6)) {
        FILE *f = fopen(getenv("CONNECTIONS"), "a");
        if (f) { fprintf(f, "family %d\\n", a->sa_family); fclose(f); }
    }
}
int connect(int fd, const struct sockaddr *a, socklen_t n) {
    note(a);
    return ((int (*)(int, const struct sockaddr *, socklen_t)) dlsym(RTLD_NEXT, "connect"))(fd, a, n);
}
ssize_t sendto(int fd, const void *b, size_t l, int f, const struct sockaddr *a, socklen_t n) {
    note(a);
    return ((ssize_t (*)(int, const void *, size_t, int, const struct sockaddr *, socklen_t)) dlsym(RTLD_NEXT, "sendto"))(fd, b, l, f, a, n);
}
"""


@pytest.fixture
def watched(tmp_path):
    "An environment in which every internet connection of a process and its children is noted in a file"
    compiler = shutil.which("cc")
    if not compiler or sys.platform != "linux":
        pytest.skip("watching connections needs Linux and a C compiler (cc)")
    (tmp_path / "watch.c").write_text(WATCH)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", tmp_path / "watch.so", tmp_path / "watch.c", "-ldl"], check=True
    )
    return {
        **os.environ,
        "LD_PRELOAD": str(tmp_path / "watch.so"),
        "CONNECTIONS": str(tmp_path / "connections"),
    }, tmp_path / "connections"


def test_nothing_opens_a_connection(watched, sample, tmp_path):
    environment, noted = watched
    probe = "import socket; s = socket.socket(); s.settimeout(1); s.connect_ex(('127.0.0.1', 9))"
    subprocess.run([sys.executable, "-c", probe], env=environment, check=True)
    assert noted.read_text(), "the watch itself must see a connection"
    noted.unlink()
    command = [
        sys.executable,
        "-m",
        "ecg_audio_nb",
        "analyze",
        str(sample),
        "-o",
        str(tmp_path / "out"),
        "--profile",
        "demo",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/sample.json").exists() and not noted.exists()


def test_a_recording_without_speech_says_so(tmp_path):
    noise = 0.003 * np.random.default_rng(1).standard_normal(60 * 16000)
    soundfile.write(tmp_path / "noise.wav", noise, 16000)
    result = analyze(tmp_path / "noise.wav", {"runtime.data_dir": str(tmp_path / "data")}, profile="demo")
    assert not result.words
    [said] = [w for w in result.metadata.warnings if w.startswith("voice: no speech was found in 60.0 s")]
    assert "voice.onset" in said
