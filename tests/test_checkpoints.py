"""Checkpoints: the same results with them and without, nothing stale, and no harm from what others do to the
folder"""
import os, shutil, subprocess, sys, threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest
import soundfile

from ecg_audio_nb import checkpoints as ck, pipeline
from ecg_audio_nb.speech.diarize import diarize
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.pipeline import ArtifactHook, analyze
from ecg_audio_nb.reproduce import benchmark, same_result
from ecg_audio_nb.schema import ModelInfo, Word
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import Transcript
from ecg_audio_nb.stages import model_key
from test_environment import small_disk

class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_): pass


LANGUAGES = ("auto", "en", "fr")
INFERENCE = {"voice", "transcribe", "align", "diarize", "acoustics", "adapt"}


@pytest.fixture(scope="module")
def talk(sample, tmp_path_factory):
    "Seven seconds of the sample, in which two speak"
    path, audio = tmp_path_factory.mktemp("talk") / "talk.wav", load_audio(sample)
    soundfile.write(path, audio.cut(1, 8).samples, audio.sample_rate)
    return path


@pytest.fixture(scope="module")
def folder(talk, tmp_path_factory):
    "A data folder in which one run has left its checkpoints"
    path = tmp_path_factory.mktemp("data")
    run(talk, path)
    return path


def run(path, folder, on_event=None, engines=None, **more):
    given = {k.replace("__", "."): v for k, v in more.items()}
    return analyze(
        path,
        load_settings(
            given
            | {"runtime.checkpoints": folder is not None, "runtime.data_dir": str(folder or "/nowhere")},
            "demo",
        ),
        on_event,
        engines=engines,
    )


def made(path, folder, **more):
    "The stages that did not find what they make"
    said = {}
    run(path, folder, lambda e: said.update({e.stage: e.from_cache}) if e.status == "done" else None, **more)
    return {stage for stage, kept in said.items() if not kept} - {"fetch"}


@pytest.mark.parametrize(
    "more, anew",
    [
        ({}, set()),
        ({"diarize__threshold": 0.5}, set()),
        ({"diarize__num_speakers": 1}, {"adapt"}),
        ({"diarize__min_turn": 1.0}, set()),
        ({"export__silence_marks": True}, set()),
        ({"export__silence_marks": True, "export__min_silence": 0.1}, set()),
        ({"export__pause": 0.2}, set()),
        ({"export__longest": 2.0}, set()),
        ({"transcribe__enabled": False}, set()),
        ({"voice__onset": 0.9, "voice__offset": 0.85}, {"transcribe", "align"}),
        ({"acoustics__f0_floor": 80.0}, {"acoustics", "adapt"}),
        ({"acoustics__features": "full"}, {"media", "acoustics", "adapt", "quality"}),
        ({"acoustics__adaptive": False}, {"acoustics"}),
        (
            {"diarize__enabled": False},
            {"voice", "transcribe", "align"},
        ),  # its windows lie elsewhere, so other speech is found
    ],
)
def test_what_differs_is_made_anew_and_nothing_else(talk, folder, tmp_path, more, anew):
    own = tmp_path / "data"
    shutil.copytree(folder, own)
    assert made(talk, own, **more) == anew
    assert made(talk, own, **more) == set()
    assert same_result(run(talk, own, **more), run(talk, None, **more))


def test_nothing_is_decoded_when_nothing_is_asked_of_the_sound(talk, folder, monkeypatch):
    def none(*_): raise AssertionError("decoded")
    monkeypatch.setattr(pipeline, "load_audio", none)
    assert run(talk, folder, diarize__threshold=0.5).metadata.duration == 7
    with pytest.raises(AssertionError, match="decoded"): run(talk, folder, acoustics__f0_ceiling=400.0)


def test_the_language_chooses_a_track_and_decodes_nothing_else_anew(talk, sample, tmp_path):
    film, data, audio = tmp_path / "film.mkv", tmp_path / "data", load_audio(sample)
    with av.open(film, "w") as file:
        sounds = {name: file.add_stream("pcm_s16le", rate=16000, layout="mono") for name in ("spa", "eng")}
        for (name, sound), start in zip(sounds.items(), (8, 1)):
            sound.metadata["language"] = name
            sound.disposition = av.stream.Disposition.default if name == "spa" else av.stream.Disposition(0)
            x = (audio.cut(start, start + 7).samples * 32767).astype(np.int16)
            sounds[name] = sound, av.AudioFrame.from_ndarray(x[None], "s16", "mono")
        for sound, frame in sounds.values():
            frame.rate = 16000
            for part in (frame, None): file.mux(sound.encode(part))
    more = {"transcribe__enabled": False}
    tracks = [run(film, data, transcribe__language=code, **more).metadata.media.audio_track for code in LANGUAGES]
    assert tracks == [0, 1, 0]
    for code in LANGUAGES: assert made(film, data, transcribe__language=code, **more) == set()
    assert made(film, data, transcribe__language="en", media__audio_track=1, **more) == {"media"}
    assert made(talk, data, **more) == INFERENCE - {"transcribe", "align"} | {"media"}
    assert made(talk, data, transcribe__language="en", **more) == set()


def test_another_recording_of_the_same_name_is_another(talk, folder, tmp_path):
    audio = load_audio(talk)
    soundfile.write(tmp_path / talk.name, audio.cut(3, 7).samples, audio.sample_rate)
    assert made(tmp_path / talk.name, folder) == INFERENCE | {"media"}
    os.rename(tmp_path / talk.name, tmp_path / "renamed.wav")
    assert made(tmp_path / "renamed.wav", folder) == set()


def test_changed_code_makes_everything_anew(talk, folder, monkeypatch):
    monkeypatch.setattr(ck, "code_digest", lambda: "changed")
    monkeypatch.setattr(ck.Checkpoints, "put", lambda *_: None)
    assert made(talk, folder) == INFERENCE | {"media"}


def test_an_engine_of_ones_own_is_asked_each_time(talk, folder):
    asked = []
    def mine(*args): asked.append(1); return diarize(*args)
    for _ in range(2): run(talk, folder, engines={"diarize": mine})
    assert len(asked) == 2 and model_key(mine) is None


def test_weights_are_known_by_their_files(tmp_path):
    from ecg_audio_nb.models import Weights
    from ecg_audio_nb.speech.pyannote_engine import PyannoteDiarizer
    (tmp_path / "weights.bin").write_bytes(b"one")
    engine = PyannoteDiarizer(Weights("mine", tmp_path), load_settings())
    before = model_key(engine)
    (tmp_path / "weights.bin").write_bytes(b"other")
    assert before and model_key(engine) != before


def test_what_draws_by_chance_is_not_kept(talk, folder):
    assert (
        made(talk, folder, transcribe__temperatures="0,0.4")
        == {"transcribe", "align"}
        == made(talk, folder, transcribe__temperatures="0,0.4")
    )


def test_broken_files_are_made_anew(talk, folder, tmp_path):
    own = tmp_path / "data"
    shutil.copytree(folder, own)
    files = sorted((own / "checkpoints").glob("??/*.npz"))
    for n, path in enumerate(files):
        path.write_bytes([b"", b"nothing", path.read_bytes()[:-100], bytes(path.stat().st_size)][n % 4])
    assert made(talk, own) == INFERENCE | {"media"} and made(talk, own) == set()


def test_no_byte_that_went_wrong_ends_a_run(tmp_path):
    own, key, rng = ck.Checkpoints(tmp_path), "0" * 64, np.random.default_rng(1)
    words = Transcript((Word("hello", 0.5, 0.9),), ModelInfo("parrot", "1"))
    own.put(key, words)
    good, found = own.path(key).read_bytes(), []
    for _ in range(1500):
        bad = bytearray(good)
        for at in rng.integers(len(bad), size=rng.integers(1, 4)): bad[at] = rng.integers(256)
        own.path(key).write_bytes(bad)
        found.append(own.get(key))
    assert None in found and all(f in (None, words) for f in found)


@pytest.mark.parametrize(
    "tree",
    [
        '{"kind": "Nope", "has": {}}',
        '{"kind": "Word", "has": {"nope": 1}}',
        "{}",
        '{"set": [1]}',
        '{"array": 7}',
        "[" * 9999,
    ],
)
def test_a_file_that_holds_something_else_is_none(tmp_path, tree):
    own, key = ck.Checkpoints(tmp_path), "0" * 64
    own.put(key, {})
    np.savez(own.path(key), tree=np.array(tree))
    assert own.get(key) is None and not own.path(key).exists()


def test_a_file_that_may_not_be_removed_ends_no_run(tmp_path, monkeypatch):
    own, key = ck.Checkpoints(tmp_path, max_mb=0), "0" * 64
    def refused(*_, **__): raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(ck.Path, "unlink", refused)
    own.put(key, {"a": 1})
    own.path(key).write_bytes(b"broken")
    assert own.get(key) is None and ck.evict(own) == 0


def test_a_hook_has_the_sound_of_what_was_downloaded(talk, tmp_path):
    handler = partial(QuietHandler, directory=talk.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for _ in range(2):
            run(
                f"http://127.0.0.1:{server.server_port}/{talk.name}",
                tmp_path,
                kept := ArtifactHook(),
                transcribe__enabled=False,
            )
            assert kept.path is None and len(kept.audio.samples) == 7 * 16000
        server.shutdown()


def test_costs_are_those_of_the_work(talk, folder):
    said = []
    benchmark(
        talk,
        load_settings(
            {"runtime.checkpoints": True, "runtime.data_dir": str(folder), "transcribe.enabled": False},
            "demo",
        ),
        2,
        lambda e: said.append(e.from_cache),
    )
    assert said and not any(said)


def test_a_full_disk_costs_the_checkpoint_alone(talk, tmp_path, caplog):
    with small_disk(tmp_path / "small", "size=64k") as disk:
        found = run(talk, disk)
        assert "can't be written (No space left on device)" in caplog.text
        assert not list(disk.rglob("*.part"))
    assert same_result(found, run(talk, None))


def test_two_processes_share_a_folder(talk, tmp_path):
    script = (
        f"from ecg_audio_nb.pipeline import analyze\nprint(len(analyze({str(talk)!r}, "
        f"{{'runtime.checkpoints': True, 'runtime.data_dir': {str(tmp_path)!r}}}, profile='demo').segments))"
    )
    with ThreadPoolExecutor(2) as pool:
        said = list(
            pool.map(
                lambda _: subprocess.run([sys.executable, "-c", script], capture_output=True, text=True),
                range(2),
            )
        )
    assert [s.returncode for s in said] == [0, 0], said
    assert said[0].stdout == said[1].stdout and made(talk, tmp_path) == set()


def test_the_folder_holds_no_more_than_it_may(tmp_path):
    own = ck.Checkpoints(tmp_path / "kept", max_mb=3)
    for n in range(10): own.put(ck.cache_key("a", n), np.zeros(2**18, np.float32))
    assert 2 <= sum(size for _, size, _ in ck.entries(own)) / 2**20 <= 3


@pytest.mark.parametrize("wrong", [object(), {"a": {1, 2}}, lambda: 0])
def test_what_is_no_artefact_is_refused(tmp_path, wrong):
    own = ck.Checkpoints(tmp_path)
    with pytest.raises(TypeError, match="a checkpoint can't hold a"): own.put("0" * 64, wrong)
    assert ck.entries(own) == []


def test_the_command_tells_and_clears(talk, tmp_path, monkeypatch):
    from typer.testing import CliRunner
    from ecg_audio_nb.cli import app
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path))
    run(talk, tmp_path)
    said = CliRunner().invoke(app, ["cache", "info"]).stdout
    assert (
        said.startswith(f"{len(ck.entries(ck.Checkpoints(tmp_path / 'checkpoints')))} files, ")
        and str(tmp_path) in said
    )
    assert CliRunner().invoke(app, ["cache", "clear"]).stdout.endswith(" MB removed\n")
    assert CliRunner().invoke(app, ["cache", "info"]).stdout.startswith("0 files, 0.0 of 5,000 MB")


def test_a_field_that_was_renamed_reads_under_its_old_name(tmp_path, monkeypatch):
    own, key = ck.Checkpoints(tmp_path), "0" * 64
    words = Transcript((Word("hello", 0.5, 0.9),), ModelInfo("parrot", "1"))
    own.put(key, words)
    with np.load(own.path(key)) as stored: tree = stored["tree"].item()
    np.savez(own.path(key), tree=np.array(tree.replace('"language"', '"tongue"')))
    monkeypatch.setattr(ck, "_OLD_FIELDS", {"Transcript": {"tongue": "language"}})
    assert own.get(key) == words
    monkeypatch.setattr(ck, "_OLD_FIELDS", {})
    assert own.get(key) is None
