"""The job notebooks, run as a user of papermill runs them: a short clip of the sample in, files and a
readable notebook out"""
import json, random, re, shlex, subprocess, sys, wave
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from ecg_audio_nb.batch.warm_kernel import WarmEngine, close_kernels
from ecg_audio_nb.core.html import (
    benchmark_html, metadata_html, resource_usage_html, settings_html, timing_html)
from ecg_audio_nb.research.metrics import load_or_analyze
from ecg_audio_nb.research.references import EvaluateError, find_references
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.pipeline import ArtifactHook, StageEvent
from ecg_audio_nb.reproduce import BenchmarkResult, reproduce_commands, same_result, set_seeds
from ecg_audio_nb.schema import Metadata, ModelInfo, RunTiming, read_result
from ecg_audio_nb.settings import known_keys, load_settings, as_text

JOBS = Path(__file__).resolve().parents[2] / "nbs/jobs"
NAMES = "analyze", "benchmark", "environment", "evaluate", "sweep"
UNTIL = 9.0 # seconds of the sample: the first two speakers


@pytest.fixture(scope="module")
def clip(tmp_path_factory, sample):
    "The sample's first seconds, and what was said in them"
    folder = tmp_path_factory.mktemp("clip é")
    samples = load_audio(sample).cut(0, UNTIL).samples
    with wave.open(str(folder / "my clip.wav"), "wb") as f:
        f.setnchannels(1); f.setsampwidth(2); f.setframerate(16000)
        f.writeframes((samples * 32767).astype("<i2").tobytes())
    said = [x for x in sample.with_suffix(".stm").read_text().splitlines() if float(x.split()[4]) <= UNTIL]
    spoke = [
        x
        for x in sample.with_suffix(".rttm").read_text().splitlines()
        if float(x.split()[3]) + float(x.split()[4]) <= UNTIL
    ]
    assert len(said) == len(spoke) == 2
    (folder / "my clip.stm").write_text("\n".join(said) + "\n")
    (folder / "my clip.rttm").write_text("\n".join(spoke) + "\n")
    return folder / "my clip.wav"


def run(name, folder, engine="warm", **parameters):
    "A job notebook in a folder of its own; `engine` None: papermill's own"
    folder.mkdir(parents=True)
    papermill.engines.papermill_engines.register("warm", WarmEngine)
    nb = papermill.execute_notebook(
        JOBS / f"{name}.ipynb",
        folder / "job.ipynb",
        {"profile": "demo", **parameters},
        engine_name=engine,
        cwd=folder,
        progress_bar=False,
    )
    return SimpleNamespace(
        folder=folder, outputs=[o for c in nb.cells if c.cell_type == "code" for o in c.outputs]
    )


@pytest.fixture(scope="module", autouse=True)
def ended():
    yield
    close_kernels()


def shown(job, kind): return ["".join(o["data"][kind]) for o in job.outputs if kind in o.get("data", {})]
def printed(job):
    return "".join(o["text"] for o in job.outputs if o["output_type"] == "stream" and o["name"] == "stdout")


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory, clip):
    return run(
        "analyze",
        tmp_path_factory.mktemp("analyze") / "job",
        engine=None,
        source=str(clip),
        output_dir=".",
        seed=7,
        overrides={"export.formats": "srt,csv", "diarize.num_speakers": 2},
    )


# What stands in the notebooks

@pytest.mark.parametrize("name", NAMES)
def test_a_job_can_be_given_parameters_and_holds_no_output(name):
    nb = json.loads((JOBS / f"{name}.ipynb").read_text())
    code = [c for c in nb["cells"] if c["cell_type"] == "code"]
    [parameters] = [c for c in code if "parameters" in c["metadata"].get("tags", [])]
    assert all(re.fullmatch(r"\w+ = \S.*? +# \S.*\n?", line) for line in parameters["source"])
    assert nb["metadata"]["kernelspec"]["name"] == "python3"
    if name != "environment": assert not any(c["outputs"] for c in code)
    assert max(len(line.rstrip("\n")) for c in code for line in c["source"]) <= 140


# analyze

def test_analyze_writes_its_files_and_nothing_else(analyzed, clip):
    endings = "html", "json", "segments.csv", "srt", "words.csv"
    assert sorted(p.name for p in analyzed.folder.iterdir()) == [
        "job.ipynb",
        *(f"my clip.{e}" for e in endings),
    ]
    result = read_result(analyzed.folder / "my clip.json")
    assert (
        len(result.speakers) == 2 and len(result.words) > 10 and abs(result.metadata.duration - UNTIL) < 0.01
    )


def test_analyze_links_the_recording_from_its_page(analyzed, clip):
    page = (analyzed.folder / "my clip.html").read_text()
    [src] = re.findall(r'"src": ?"([^"]+)"', page)
    assert src.endswith("my%20clip.wav") and len(page) < 200_000


def test_analyze_shows_what_a_person_wants_to_see(analyzed):
    tables = shown(analyzed, "text/html")
    for words in (
        "settings at their defaults",
        "who spoke when",
        "real-time factor",
        "memory of this process",
        "compute type",
    ):
        assert sum(words in t for t in tables) == 1, words
    assert "<code>diarize.num_speakers</code>" in tables[0].split("<details>")[0]
    assert len(shown(analyzed, "image/png")) == 2
    assert "bytes  my clip.srt" in printed(analyzed)
    assert not [o for o in analyzed.outputs if o.get("name") == "stderr"]


def test_the_first_command_does_it_again_also_where_the_environment_says_otherwise(
    analyzed, tmp_path, monkeypatch
):
    monkeypatch.setenv("ECG_DIARIZE__NUM_SPEAKERS", "1")
    command = printed(analyzed).split("ecg analyze", 1)[1].split("\n\n")[0]
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m ecg_audio_nb analyze{command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"my clip.{e}" for e in ("segments.csv", "srt", "words.csv")
    ]
    for made in tmp_path.iterdir(): assert made.read_bytes() == (analyzed.folder / made.name).read_bytes()


@pytest.mark.slow
def test_the_second_command_gives_the_same_file_but_for_its_timing(analyzed, tmp_path):
    command = printed(analyzed).strip().splitlines()[-1]
    assert command.startswith("papermill ")
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m {command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (json.loads((f / "my clip.json").read_text()) for f in (analyzed.folder, tmp_path))
    for found in (one, two): found["metadata"].pop("timing"), found["metadata"].pop("environment")
    assert one == two
    assert (tmp_path / "my clip.srt").read_bytes() == (analyzed.folder / "my clip.srt").read_bytes()


def test_analyze_names_what_is_wrong_with_its_source(tmp_path):
    with pytest.raises(PapermillExecutionError, match="no such file"):
        run("analyze", tmp_path / "job", source="nowhere.mp4")
    assert sorted(p.name for p in (tmp_path / "job").iterdir()) == ["job.ipynb"]


# benchmark and evaluate

def test_benchmark_tells_what_each_stage_takes(clip, tmp_path):
    job = run(
        "benchmark",
        tmp_path / "job",
        source=str(clip),
        output_dir=".",
        repeats=2,
        overrides={"transcribe.enabled": False},
    )
    found = json.loads((job.folder / "benchmark.json").read_text())
    assert found["runs"] == 2 and found["same_result"] is True and found["source"] == "my clip.wav"
    assert {"voice", "diarize", "acoustics"} <= set(found["stages"]) and "transcribe" not in found["stages"]
    for s in (found["whole"], *found["stages"].values()):
        assert s["best"] <= s["median"] <= s["worst"] and s["first"] >= s["best"]
    assert found["real_time_factor"] == pytest.approx(found["whole"]["median"] / found["duration"])
    assert found["peak_rss_mb"] > 100 and any(
        "every run gave the same result" in t for t in shown(job, "text/html")
    )


def test_evaluate_scores_a_result_or_a_recording(analyzed, clip, tmp_path):
    job = run(
        "evaluate",
        tmp_path / "job",
        source=str(analyzed.folder / "my clip.json"),
        references=str(clip.parent),
        output_dir=".",
    )
    assert "WER" in (job.folder / "scores.html").read_text()
    found = json.loads((job.folder / "scores.json").read_text())
    assert found["speakers_found"] == found["speakers_reference"] == 2
    assert 0 <= found["wer"] < 1 and 0 <= found["der"] < 0.5 and found["reference_words"] > 10
    assert any(">WER</td>" in t for t in shown(job, "text/html"))
    assert same_result(
        read_result(job.folder / "my clip.json"), read_result(analyzed.folder / "my clip.json")
    )
    job = run(
        "evaluate",
        tmp_path / "other",
        source=str(clip),
        turns=str(clip.with_suffix(".rttm")),
        output_dir=".",
        overrides={"transcribe.enabled": False},
    )
    found = json.loads((job.folder / "scores.json").read_text())
    assert found["wer"] is None and found["der"] is not None


def test_evaluate_wants_a_reference_before_it_works(clip, tmp_path):
    with pytest.raises(PapermillExecutionError, match="no reference was given"):
        run("evaluate", tmp_path / "job", source=str(clip))


# sweep

def test_a_sweep_leaves_its_table_its_pictures_and_the_best(clip, tmp_path):
    given = dict(
        sources=[str(clip)],
        references=str(clip.parent),
        output_dir=".",
        overrides={"transcribe.enabled": False, "runtime.data_dir": str(tmp_path)},
        space={"diarize.threshold": [0.2, 0.7], "diarize.min_turn": [0.1, 0.5]},
    )
    job = run("sweep", tmp_path / "job", **given)
    assert (
        len((job.folder / "sweep.csv").read_text().splitlines())
        == 5
        == 1 + len((job.folder / "sweep.jsonl").read_text().splitlines())
    )
    assert re.fullmatch(
        (
            r"\[best\]\ndiarize.threshold = "
            r"0.[27]\ndiarize.min_turn = 0.[15]\n"
        ),
        (job.folder / "best.ini").read_text(),
    )
    assert (job.folder / "best.ini").read_text() in printed(job) and len(shown(job, "image/png")) == 2
    job = run(
        "sweep",
        tmp_path / "search",
        **given | {"points": 5, "space": {"diarize.threshold": {"low": 0.2, "high": 0.9}}},
    )
    assert len((job.folder / "sweep.csv").read_text().splitlines()) == 6 and len(shown(job, "image/png")) == 1


def test_references_are_found_by_name(tmp_path):
    for name in ("a.stm", "a.txt", "a.rttm", "b.txt"): (tmp_path / name).touch()
    assert find_references("x/a.mp4", tmp_path) == {
        "transcript": tmp_path / "a.stm",
        "turns": tmp_path / "a.rttm",
    }
    assert find_references("https://x.org/b.mp4?key=1", tmp_path) == {
        "transcript": tmp_path / "b.txt",
        "turns": None,
    }
    assert find_references("a.mp4", tmp_path, turns="own.rttm")["turns"] == Path("own.rttm")
    with pytest.raises(EvaluateError, match="holds no c.stm, c.txt or c.rttm"):
        find_references("c.mp4", tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match="this is no result of `ecg analyze`"):
        load_or_analyze(str(tmp_path / "a.json"), load_settings())


# Their parts

def test_seeds_begin_chance_anew(monkeypatch):
    torch = SimpleNamespace(seeds=[])
    torch.manual_seed = torch.seeds.append
    monkeypatch.setitem(sys.modules, "torch", torch)
    drawn = [set_seeds(s) or (random.random(), np.random.random()) for s in (5, 5, 6)]
    assert drawn[0] == drawn[1] != drawn[2] and torch.seeds == [5, 5, 6]
    for wrong in (-1, 2**32):
        with pytest.raises(ValueError, match="from 0 to"): set_seeds(wrong)


def test_settings_spelled_out_lean_on_nothing(monkeypatch):
    given = {
        "transcribe.hotwords": "Ann's, Zoë = 2",
        "transcribe.temperatures": (0.0, 0.2),
        "fetch.allow_hosts": ("a.org", "*.b.org"),
        "diarize.num_speakers": 3,
        "acoustics.adaptive": True,
        "transcribe.language": "de",
    }
    for settings in (load_settings(), load_settings(given), load_settings(profile="t4")):
        text = as_text(settings)
        monkeypatch.setenv("ECG_VOICE__ONSET", "0.9")
        monkeypatch.setenv("ECG_ENGINE", "whisperx")
        assert load_settings(text, "demo") == settings and list(text) == known_keys()
        monkeypatch.delenv("ECG_VOICE__ONSET"); monkeypatch.delenv("ECG_ENGINE")


def test_commands_are_safe_in_a_shell_and_keep_no_secret():
    settings = load_settings({"transcribe.hotwords": "Ann's; $(x)"})
    first, job = reproduce_commands(
        "a b'$(c).mp4", settings, "n b.ipynb", {"overrides": {"transcribe.hotwords": "Zoë 😀"}}
    ).split("\n\n")
    words = shlex.split(first.replace("\\\n", " "))
    assert words[2:5] == ["a b'$(c).mp4", "-o", "."] and "transcribe.hotwords=Ann's; $(x)" in words
    *_, given = shlex.split(job)
    assert json.loads(given) == {"source": "a b'$(c).mp4", "overrides": {"transcribe.hotwords": "Zoë 😀"}}
    assert "secret" not in reproduce_commands(
        "https://me:secret@x.org/a.mp4?sig=secret", settings, "n.ipynb", {}
    )


def test_kept_knows_what_the_stages_made(tmp_path):
    kept = ArtifactHook()
    gone = SimpleNamespace(path=tmp_path / "gone.mp4")
    for stage, made in (("fetch", gone), ("media", "audio"), ("acoustics", "frames")):
        kept(StageEvent(stage, "start")); kept(StageEvent(stage, "done", artifact=made))
    assert (kept.path, kept.audio, kept.frames) == (None, "audio", "frames")
    kept(StageEvent("adapt", "done", artifact="better"))
    assert kept.frames == "better"


def parsed(html): return "".join(ElementTree.fromstring(html.replace("<br>", "<br/>")).itertext())


def test_unknown_is_a_dash_and_text_is_escaped():
    assert parsed(timing_html(RunTiming())).count("–") == 4
    assert "1.50 s" in parsed(timing_html(RunTiming(stages={"voice": 1.5})))
    m = Metadata(
        "a",
        models={"voice": ModelInfo("<b>", "x & y", revision="0123456789abcdef")},
        environment={"gpus": [], "cores": 1.5},
    )
    text = parsed(metadata_html(m))
    assert "<b>" in text and "x & y (0123456789ab)" in text and "gpus–" in text and "cores1.5" in text
    assert "all settings are the defaults" in parsed(settings_html({"a.b": "<i>"}, []))
    costs = BenchmarkResult((RunTiming(processing_time=2.0, stages={"voice": 1.0}),), 0.0, False)
    assert (
        "different results" in parsed(benchmark_html(costs))
        and costs.real_time_factor is None
        and costs.peak_gpu_mb is None
    )


def test_curves_of_memory_and_card():
    assert "no GPU was seen" in parsed(
        resource_usage_html([(0.0, 100.0, None, None), (1.0, 1234.0, None, None)])
    )
    text = parsed(resource_usage_html([(0.0, 100.0, 5.0, 0), (2.0, 90.0, 2048.0, 97)]))
    assert (
        "at most 100 MB" in text
        and "at most 2,048 MB" in text
        and "at most 97 %" in text
        and text.count("2.0 s") == 3
    )
    assert "not measured" in parsed(resource_usage_html([(0.0, None, None, None)])) and parsed(
        resource_usage_html([])
    )
