"""The pyannote engine, run for real on a pipeline folder made here; which engine `auto` takes; what is said
when it can't"""
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ecg_audio_nb import models
from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.models import ModelError, Weights, find_weights, suppress_warnings
from ecg_audio_nb.research.error_rates import der
from ecg_audio_nb.research.references import read_turns
from ecg_audio_nb.schema import Turn, Word
from ecg_audio_nb.settings import RuntimeSettings, load_settings
from ecg_audio_nb.speech import pyannote_engine
from ecg_audio_nb.speech.diarize import diarize
from ecg_audio_nb.speech.pyannote_engine import PyannoteDiarizer, turns_from_pyannote
from ecg_audio_nb.speech.segments import assign_speakers
from ecg_audio_nb.catalogue import DEFAULT_PIPELINE
from ecg_audio_nb.speech.speakers import (
    DIARIZERS,
    FunctionDiarizer,
    PackagedDiarizer,
    as_diarizer,
    choose_diarizer,
)
from ecg_audio_nb.speech.vad import detect_speech
from needs import needs_whisperx

CPU = RuntimeSettings(device="cpu", offline=True)


def on_cpu(**bounds):
    return load_settings(
        {"runtime.device": "cpu", "runtime.offline": True, **{f"diarize.{k}": v for k, v in bounds.items()}}
    )


def pyannote(weights, batch=0, **bounds): return PyannoteDiarizer(weights, on_cpu(**bounds), batch)


@pytest.fixture(scope="session")
def make_pipeline(tmp_path_factory):
    "Writes a pipeline folder"
    with suppress_warnings():
        tiny = pytest.importorskip(
            "tiny_pyannote", reason="the extra whisperx is not installed", exc_type=ImportError
        )
    return lambda **kwargs: tiny.build(tmp_path_factory.mktemp("pyannote"), **kwargs)


@pytest.fixture(scope="session")
def folder(make_pipeline): return make_pipeline()


@pytest.fixture(scope="session")
def weights(folder): return find_weights(str(folder), "diarize", CPU)


@pytest.fixture(scope="session")
def engine(weights): return pyannote(weights)


@pytest.fixture(scope="session")
def audio(sample): return load_audio(sample)


@pytest.fixture(scope="session")
def found(engine, audio): return engine.diarize(audio, None)


@pytest.fixture(scope="session")
def part(audio): return audio.cut(0, 14)


@pytest.fixture(scope="session")
def of_part(engine, part): return engine.diarize(part, None)


def names(turns): return list(dict.fromkeys(t.speaker_id for t in turns))


def test_finds_who_spoke_when(found, audio, sample):
    truth = read_turns(sample.with_suffix(".rttm"))
    assert len(names(found.turns)) == 3
    errors = der(truth, found.turns, audio.duration)
    assert errors.der < 0.05, errors # measured: 0.022
    assert (found.model.engine, found.model.device, found.warnings) == ("pyannote", "cpu", ())


def test_turns_overlap_and_exclusive_ones_do_not(found):
    assert any(b.start_time < a.end_time for a, b in zip(found.turns, found.turns[1:]))
    assert all(a.end_time <= b.start_time for a, b in zip(found.exclusive, found.exclusive[1:]))
    assert found.word_turns is found.exclusive
    spoken = {s: [t for t in found.turns if t.speaker_id == s] for s in names(found.turns)}
    for e in found.exclusive:  # the same names: who has the word also talks
        shared = sum(
            max(0, min(e.end_time, t.end_time) - max(e.start_time, t.start_time))
            for t in spoken[e.speaker_id]
        )
        assert shared > 0.9 * (e.end_time - e.start_time)


def test_names_are_in_order_of_first_appearance(found, audio):
    assert names(found.turns) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert found.turns == sorted(found.turns, key=lambda t: t.start_time)
    assert all(0 <= t.start_time < t.end_time <= audio.duration for t in found.turns + found.exclusive)


def test_words_go_to_who_has_the_word(found, sample):
    truth = read_turns(sample.with_suffix(".rttm"))
    words = [
        Word("x", (t.start_time + t.end_time) / 2 - 0.1, (t.start_time + t.end_time) / 2 + 0.1) for t in truth
    ]
    heard = [w.speaker_id for w in assign_speakers(words, found.word_turns)]
    pairs = set(zip([t.speaker_id for t in truth], heard))
    assert len(pairs) == 3 and len({h for _, h in pairs}) == 3


@pytest.mark.parametrize(
    "bounds, n",
    [({"num_speakers": 2}, 2), ({"num_speakers": 1}, 1), ({"max_speakers": 2}, 2), ({"min_speakers": 5}, 5)],
)
def test_number_of_speakers_is_honoured(weights, part, bounds, n):
    assert len(names(pyannote(weights, **bounds).diarize(part, None).turns)) == n


def test_fewer_voices_than_asked_for_is_a_warning_and_nothing_is_printed(weights, part, capfd):
    found = pyannote(weights, num_speakers=20).diarize(part, None)
    assert "fewer than the 20 asked for" in found.warnings[0]
    assert capfd.readouterr() == ("", "")


def test_contradictory_bounds_are_the_error_of_the_other_engine(weights, audio):
    bounds = {"min_speakers": 3, "max_speakers": 2}
    with pytest.raises(ValueError, match="min_speakers = 3") as ours:
        pyannote(weights, **bounds).diarize(audio, None)
    with pytest.raises(ValueError) as other: PackagedDiarizer(on_cpu(**bounds)).diarize(audio, None)
    assert str(ours.value) == str(other.value)


def test_the_same_again(engine, part, of_part):
    assert engine.diarize(part, None) == of_part


def test_progress_grows_to_the_end(engine, part):
    shares = []
    engine.diarize(part, None, shares.append)
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 5


def test_only_the_waveform_is_handed_over(folder, audio, monkeypatch):
    heard = []
    def pipeline(file, **kwargs):
        heard.append((file, kwargs.keys() - {"hook"}))
        return SimpleNamespace(itertracks=lambda yield_label: [])
    monkeypatch.setattr(pyannote_engine, "get_or_load", lambda key, load, mb: Made(pipeline))
    found = pyannote(Weights("x", folder), max_speakers=4).diarize(audio, None)
    [(file, asked)] = heard
    assert set(file) == {"waveform", "sample_rate", "uri"} and file["waveform"].shape == (
        1,
        len(audio.samples),
    )
    assert file["waveform"].data_ptr() == audio.samples.ctypes.data # not even copied
    assert asked == {"max_speakers"}
    assert (found.turns, found.exclusive) == ([], None)


class Made:
    "A pipeline made of a function"
    def __init__(self, run): self.run = run
    def __call__(self, *args, **kwargs): return self.run(*args, **kwargs)


@pytest.mark.parametrize("n", [0, 1, 160, 1600, 8000])
def test_next_to_nothing_has_no_turns(engine, n):
    assert engine.diarize(Audio(np.zeros(n, np.float32)), None).turns == []


def test_an_older_pipeline_gives_one_answer(make_pipeline, part, of_part):
    old = pyannote(find_weights(str(make_pipeline(legacy=True)), "diarize", CPU)).diarize(part, None)
    assert old.exclusive is None and old.word_turns == old.turns == of_part.turns


def test_names_of_what_pyannote_gives():
    from pyannote.core import Annotation, Segment
    a = Annotation()
    a[Segment(5, 7), 0], a[Segment(-0.01, 2), 0], a[Segment(6, 12), 1] = "SPEAKER_00", "SPEAKER_07", "Z"
    a[Segment(10, 11), 0] = "beyond"
    found = turns_from_pyannote(a, 10.0)
    assert (
        found.turns == [Turn(0, 2, "SPEAKER_00"), Turn(5, 7, "SPEAKER_01"), Turn(6, 10, "SPEAKER_02")]
        and found.exclusive is None
    )


# --- memory


class Full:
    "A pipeline that takes so many at a time and no more"
    def __init__(self, fits): self.fits, self.tried = fits, []

    def __call__(self, file, **kwargs):
        self.tried.append((self.segmentation_batch_size, self.embedding_batch_size))
        if self.tried[-1][0] > self.fits: raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return SimpleNamespace(itertracks=lambda yield_label: [])


def test_out_of_memory_halves_and_goes_on(folder, audio, monkeypatch):
    full, released = Full(3), []
    monkeypatch.setattr(pyannote_engine, "get_or_load", lambda key, load, mb: full)
    monkeypatch.setattr(models, "release", lambda **kwargs: released.extend(kwargs.values()))
    engine = pyannote(Weights("x", folder), batch=16)
    first, second = engine.diarize(audio, None), engine.diarize(audio, None)
    # the next file begins where this one ended
    assert full.tried == [(16, 16), (8, 8), (4, 4), (2, 2), (2, 2)]
    assert first.warnings == ("diarize: out of memory at batch 16, went on with 2",) and second.warnings == ()
    assert released == [("diarize", str(folder), "cpu", "float32")] * 3


def test_out_of_memory_for_one_is_an_error(folder, audio, monkeypatch):
    monkeypatch.setattr(pyannote_engine, "get_or_load", lambda key, load, mb: Full(0))
    monkeypatch.setattr(models, "release", lambda **_: None)
    with pytest.raises(ModelError, match="one piece at a time"):
        pyannote(Weights("x", folder)).diarize(audio, None)


def test_other_errors_come_through(folder, audio, monkeypatch):
    def broken(file, **kwargs): raise RuntimeError("shapes do not fit")
    monkeypatch.setattr(pyannote_engine, "get_or_load", lambda key, load, mb: Made(broken))
    with pytest.raises(RuntimeError, match="shapes"): pyannote(Weights("x", folder)).diarize(audio, None)


# --- loading


@needs_whisperx
def test_telemetry_is_off_before_the_import():
    script = """
import os, sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name == "pyannote.audio":
            print("telemetry", os.environ.get("PYANNOTE_METRICS_ENABLED"))
            raise SystemExit
sys.meta_path.insert(0, Guard())
from pathlib import Path
from ecg_audio_nb.models import Weights
from ecg_audio_nb.settings import RuntimeSettings
from ecg_audio_nb.speech.pyannote_engine import _load
print("torch" in sys.modules)
_load(Weights("x", Path("x")), "cpu", RuntimeSettings())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[:2] == ["False", "telemetry 0"], done.stderr


def test_loading_says_nothing_and_leaves_everything_as_it_was(make_pipeline, audio, capfd, caplog):
    logger = logging.getLogger("lightning.pytorch.utilities.migration.utils")
    before = (
        warnings.filters[:],
        logger.level,
        "print" in vars(sys.modules["pyannote.audio.pipelines.clustering"]),
    )
    capfd.readouterr()
    pyannote_engine._load(Weights("x", make_pipeline()), "cpu", CPU)
    assert capfd.readouterr() == ("", "") and not caplog.records
    assert (
        warnings.filters,
        logger.level,
        "print" in vars(sys.modules["pyannote.audio.pipelines.clustering"]),
    ) == before


@needs_whisperx
def test_a_folder_that_is_no_pipeline(tmp_path, audio):
    (tmp_path / "config.yaml").write_text("hello: 1\n")
    with pytest.raises(ModelError, match="KeyError: 'pipeline'.*engine = whisper"):
        pyannote(find_weights(str(tmp_path), "diarize", CPU)).diarize(audio, None)


def test_weights_that_are_cut_short(make_pipeline, audio):
    (weights := make_pipeline() / "embedding/pytorch_model.bin").write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match="can't be loaded as a pyannote pipeline"):
        pyannote(find_weights(str(weights.parents[1]), "diarize", CPU)).diarize(audio, None)


def test_networks_that_a_pipeline_names_are_not_fetched_offline(
    make_pipeline, audio, monkeypatch, tmp_path, capfd
):
    def no_network(*args, **kwargs): raise AssertionError("the network was asked")
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    config = (folder := make_pipeline()) / "config.yaml"
    config.write_text(
        config.read_text().replace("$model/embedding", "pyannote/wespeaker-voxceleb-resnet34-LM")
    )
    with pytest.raises(ModelError, match=r"of the hub \(pyannote/wespeaker-voxceleb-resnet34-LM\)"):
        pyannote(find_weights(str(folder), "diarize", CPU)).diarize(audio, None)
    from huggingface_hub import constants
    assert not constants.HF_HUB_OFFLINE and capfd.readouterr().out == ""


def test_a_gated_network_within_a_pipeline():
    e = OSError("403 Client Error. (Request ID: x)\n\nCannot access gated repo for url "
                "https://huggingface.co/pyannote/segmentation-3.0/resolve/main/pytorch_model.bin.")
    said = pyannote_engine._load_error(e, Weights("mine", Path("mine")))
    assert "pyannote/segmentation-3.0 is gated" in said and "HF_TOKEN" in said


# --- which engine


def chosen(**settings):
    return choose_diarizer(load_settings({k.replace("__", "."): v for k, v in settings.items()}))


def test_auto_takes_pyannote_when_its_weights_are_at_hand(folder):
    engine, why = chosen(diarize__model=str(folder), runtime__offline=True)
    assert isinstance(engine, PyannoteDiarizer) and engine.weights.folder == folder
    assert why == f"diarize: pyannote, with {folder} at hand"


@needs_whisperx
def test_auto_without_weights_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    engine, why = chosen(runtime__offline=True)
    assert type(engine) is PackagedDiarizer
    assert (
        why.startswith(
            f"diarize: the packaged networks, because the model {DEFAULT_PIPELINE} is not on this machine"
        )
        and "\n" not in why
    )


def test_auto_without_the_extra_says_which(monkeypatch, folder):
    monkeypatch.setattr("ecg_audio_nb.models.find_spec", lambda name: None)
    engine, why = chosen(diarize__model=str(folder))
    assert type(engine) is PackagedDiarizer and "pip install 'ecg-audio-nb[whisperx]'" in why


def test_auto_without_the_card_that_was_asked_for(monkeypatch, folder):
    monkeypatch.setattr("ecg_audio_nb.models._cuda_devices", lambda: 0)
    engine, why = chosen(diarize__model=str(folder), runtime__device="cuda")
    assert type(engine) is PackagedDiarizer and "no CUDA device" in why


@needs_whisperx
def test_the_gated_message_comes_through(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    class GatedRepoError(OSError): pass
    def refused(self, repo, **kwargs): raise GatedRepoError("403")
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refused)
    assert (
        "huggingface.co/pyannote/speaker-diarization-community-1" in chosen()[1] and "HF_TOKEN" in chosen()[1]
    )
    with pytest.raises(ModelError, match="is gated"): chosen(diarize__engine="whisperx")


def test_asked_for_by_name(monkeypatch, tmp_path, folder):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    engine, why = chosen(diarize__engine="pyannote", diarize__model=str(folder))
    assert isinstance(engine, PyannoteDiarizer) and why == f"diarize: pyannote, with {folder}, as asked for"
    assert isinstance(chosen(engine="whisperx", diarize__model=str(folder))[0], PyannoteDiarizer)
    engine, why = chosen(engine="whisperx", diarize__engine="embedded")
    assert type(engine) is PackagedDiarizer and why == "diarize: the packaged networks, as asked for"
    with pytest.raises(ModelError, match="runtime.offline"): chosen(engine="whisperx", runtime__offline=True)
    with pytest.raises(ModelError, match="no such folder"):
        chosen(diarize__engine="whisperx", diarize__model="/no/where")


# --- one shape


def test_every_name_of_the_register_is_a_value_of_the_setting():
    for name in DIARIZERS: assert load_settings({"diarize.engine": name}).diarize.engine == name


def assert_same(one, other):
    assert one.turns == other.turns and one.certainty.speakers == other.certainty.speakers
    assert np.array_equal(one.certainty.odds, other.certainty.odds)


def test_a_function_is_a_diarizer_too(audio):
    activity, settings = detect_speech(audio), on_cpu(num_speakers=2)
    engine = as_diarizer(diarize, settings)
    assert type(engine) is FunctionDiarizer
    assert_same(engine.diarize(audio, activity), PackagedDiarizer(settings).diarize(audio, activity))


def test_the_packaged_engine_in_two_steps_is_the_engine(audio):
    activity, engine = detect_speech(audio), PackagedDiarizer(on_cpu())
    assert_same(engine.cluster(engine.embed(audio, activity), activity), engine.diarize(audio, activity))
