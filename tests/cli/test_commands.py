"""Each command in this process: what it prints, how it ends, what its help says"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ecg_audio_nb.batch.queue import Job, Queue, add, claim, fail, find, finish, owner_name, release
from ecg_audio_nb.cli import app
from ecg_audio_nb.cli.analyze import Outcome, output_stems, print_summary
from ecg_audio_nb.cli.models import _required
from ecg_audio_nb.cli.options import overrides
from ecg_audio_nb.settings import known_keys, load_settings


def ecg(*args):
    return CliRunner().invoke(app, [*map(str, args)])


def commands(command, name=("ecg",)):
    "Yield every command with its words"
    for key, inner in getattr(command, "commands", {}).items():
        yield (*name, key), inner
        yield from commands(inner, (*name, key))


COMMANDS = dict(commands(typer.main.get_command(app)))


# Options

def test_settings_of_the_command_line():
    given = overrides(["voice.onset=0.6"], diarize__num_speakers=2, engine=None)
    assert given == {"diarize.num_speakers": 2, "voice.onset": "0.6"}


def test_names_of_results_differ_also_without_case():
    sources = ["a/talk.mp4", "b/Talk.wav", "https://x.org/my%20talk.mp4?key=1", "c/talk.mp4"]
    assert output_stems(sources) == ["talk", "Talk-2", "my talk", "talk-3"]


# Help

def test_the_help_lists_commands_and_options_under_headings():
    shown = ecg("--help").stdout
    order = [shown.index(f"\n{h}:\n") for h in ("One or a few recordings", "Many recordings", "This machine")]
    assert order == sorted(order) and "..." not in shown.split("\n", 1)[1]
    shown = ecg("analyze", "--help").stdout
    headings = [line[:-1] for line in shown.splitlines() if re.fullmatch(r"\S.*:", line)]
    assert headings == ["Arguments", "Results", "Models and language", "Speakers", "Settings", "Options"]


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_every_command_and_option_says_what_it_does(name):
    command = COMMANDS[name]
    assert re.match(r"[A-Z].*\.$", command.help.strip().splitlines()[0]), command.help
    unexplained = [p.name for p in command.params if p.name != "help" and not getattr(p, "help", None)]
    assert not unexplained
    assert ecg(*name[1:], "--help").exit_code == 0


def test_help_of_a_group():
    for group in ("jobs", "callbacks", "models", "cache", "voices"):
        assert "Commands:" in ecg(group, "--help").stdout


# Analyze, captions, report

@pytest.fixture(scope="module")
def result(tmp_path_factory, sample):
    out = tmp_path_factory.mktemp("out")
    done = ecg("analyze", sample, "-o", out, "--profile", "demo", "--no-transcribe", "--formats", "json")
    assert done.exit_code == 0, done.output
    assert [p.name for p in out.iterdir()] == ["sample.json"]
    return out / "sample.json"


def test_a_file_that_is_not_there_costs_nothing_but_its_line(sample, tmp_path):
    done = ecg("analyze", "no.mp4", sample, "-o", tmp_path, "--profile", "demo", "--no-transcribe")
    assert done.exit_code == 1 and "failed: no.mp4: " in done.stderr and (tmp_path / "sample.json").exists()


def test_the_summary_has_a_row_for_what_failed(capsys):
    print_summary([Outcome("nowhere.mp4", error="no such file")])
    assert re.search(r"nowhere\.mp4 .*failed", capsys.readouterr().out)


def test_a_misspelt_setting_is_wrong_usage_and_leads_to_the_list(sample):
    done = ecg("analyze", sample, "--set", "transcribe.engin=whisper")
    assert done.exit_code == 2 and "nearest is transcribe.engine. `ecg settings` lists all" in done.stderr


def test_captions_and_report_are_written_beside_the_result(result, sample):
    for verb, *more in (["captions"], ["report", "--media", sample]):
        done = ecg(verb, result, *more)
        assert done.exit_code == 0 and Path(done.stdout.strip()).parent == result.parent
    assert {p.name for p in result.parent.iterdir()} == {"sample.json", "sample.ass", "sample.html"}


@pytest.mark.parametrize("verb", ["captions", "report", "export"])
def test_no_result_no_file(verb):
    done = ecg(verb, "nowhere.json")
    assert done.exit_code == 1 and "nowhere.json" in done.stderr


# Export and correct

def test_a_result_is_exported_without_a_model(result, tmp_path, monkeypatch):
    monkeypatch.setattr("ecg_audio_nb.pipeline.analyze", None)
    done = ecg("export", result, "-o", tmp_path, "--formats", "srt,ttml,TextGrid,csv", "--style", "netflix", "--stem", "a b")
    assert done.exit_code == 0, done.output
    names = ["a b.srt", "a b.ttml", "a b.TextGrid", "a b.words.csv", "a b.segments.csv"]
    assert done.stdout.split("\n") == [*(str(tmp_path / name) for name in names), ""]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)


def test_the_usual_formats_stand_beside_the_result_which_stays_as_it_is(result, tmp_path):
    own = tmp_path / "talk.json"
    own.write_text(result.read_text().replace("{", '{\n"of_tomorrow": 1,', 1))
    before = own.read_text()
    done = ecg("export", own)
    assert done.exit_code == 0 and own.read_text() == before
    assert {Path(line).name for line in done.stdout.split("\n")[:-1]} == {f"talk.{x}" for x in ("srt", "vtt", "txt", "tsv", "rttm")}


@pytest.mark.parametrize("options, message", [
    (("--formats", "srtt"), "nearest: srt"), (("--formats", "stl"), "take ttml"), (("--style", "netflx"), "nearest: netflix"),
    (("--style", "no.toml"), "no.toml: No such file"), (("--set", "export.bom=json"), "no byte order mark"),
])  # fmt: skip
def test_what_export_does_not_know_is_wrong_usage(result, tmp_path, options, message):
    done = ecg("export", result, "-o", tmp_path, *options)
    assert done.exit_code == 2 and message in done.stderr and not list(tmp_path.iterdir())


def test_several_results_are_exported_each_under_its_name(result, tmp_path):
    (tmp_path / "a.json").write_text(result.read_text())
    done = ecg("export", result, tmp_path / "a.json", tmp_path / "no.json", "-o", tmp_path / "out", "--formats", "txt")
    assert done.exit_code == 1 and "no.json: No such file" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.txt", "sample.txt"]
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.json").write_text(result.read_text())
    twice = ecg("export", tmp_path / "a.json", tmp_path / "x/a.json", "-o", tmp_path)
    assert twice.exit_code == 2 and "would have the same names" in twice.stderr
    assert ecg("export", result, tmp_path / "a.json", "--stem", "b").exit_code == 2


def test_an_edited_file_corrects_its_result(result, tmp_path):
    assert ecg("export", result, "-o", tmp_path, "--formats", "TextGrid").exit_code == 0
    grid = tmp_path / "sample.TextGrid"
    done = ecg("correct", result, "--from", grid, "-o", tmp_path / "same.json")
    assert done.exit_code == 0 and done.stdout == f"no corrections: {tmp_path / 'same.json'}\n" and not done.stderr
    assert json.loads((tmp_path / "same.json").read_text()) == json.loads(result.read_text())
    (tmp_path / "sample.json").write_text(result.read_text())
    grid.write_text(grid.read_text().replace("SPEAKER_00", "Anna Lee"))
    done = ecg("correct", tmp_path / "sample.json", "--from", grid)
    assert done.exit_code == 0 and done.stdout.endswith(f": {tmp_path / 'sample.corrected.json'}\n")
    corrected = json.loads((tmp_path / "sample.corrected.json").read_text())
    assert "Anna Lee" in {t["speaker_id"] for t in corrected["turns"]}
    assert corrected["metadata"]["warnings"][-1] == "corrected by hand"


def test_a_correction_is_measured_on_the_recording_beside_the_result(result, sample, tmp_path):
    from ecg_audio_nb.results.edited_files import is_source
    from ecg_audio_nb.schema import read_result
    import shutil
    shutil.copy(sample, tmp_path / "sample.mp4")
    shutil.copy(result, tmp_path / "sample.json")
    ecg("export", tmp_path / "sample.json", "--formats", "TextGrid")
    analysis = read_result(result)
    turn = analysis.turns[0]
    grid = tmp_path / "sample.TextGrid"
    grid.write_text(grid.read_text().replace(f"= {turn.end_time:g} ", f"= {turn.end_time - 0.4:g} "))
    done = ecg("correct", tmp_path / "sample.json", "--from", grid)
    assert done.exit_code == 0 and not done.stderr and is_source(analysis, tmp_path / "sample.mp4")
    corrected = read_result(tmp_path / "sample.corrected.json")
    assert corrected.turns[0].end_time == round(turn.end_time - 0.4, 3)
    assert corrected.speakers[0].acoustic_features.volume_db is not None
    (tmp_path / "sample.mp4").unlink()
    unmeasured = ecg("correct", tmp_path / "sample.json", "--from", grid)
    assert unmeasured.exit_code == 0 and "--media RECORDING` measures them" in unmeasured.stderr
    assert read_result(tmp_path / "sample.corrected.json").speakers[0].acoustic_features.volume_db is None


@pytest.mark.parametrize("name", ["no.TextGrid", "no.txt"])
def test_what_is_no_edited_file_corrects_nothing(result, tmp_path, name):
    done = ecg("correct", result, "--from", tmp_path / name, "-o", tmp_path / "x.json")
    assert done.exit_code == 1 and name in done.stderr and not list(tmp_path.iterdir())


# Models, doctor, settings

def test_models_are_listed(monkeypatch, tmp_path):
    assert ecg("models", "list", "--stage", "transcribe").exit_code == 0
    rows = json.loads(ecg("models", "list", "--json").stdout)
    assert {"transcribe", "align", "diarize"} == {row["stage"] for row in rows}
    wrong = ecg("models", "list", "--stage", "transcrib")
    assert wrong.exit_code == 2 and "models exist for align, diarize, transcribe" in wrong.stderr


def names_of(profile):
    return [(model.name, model.stage) for model in _required(profile)]


def test_models_of_a_profile():
    assert names_of("demo") == [("base", "transcribe")] and names_of("fast") == [("tiny.en", "transcribe")]
    assert (
        ecg("models", "pull").exit_code == 2
        and ecg("models", "pull", "base", "--profile", "t4").exit_code == 2
    )


def test_models_of_a_profile_are_those_of_its_run(tmp_path, monkeypatch):
    "Device, `enabled` and models in folders count"
    monkeypatch.setattr("ecg_audio_nb.models._cuda_devices", lambda: 0)
    whole = tmp_path / "whisper"
    whole.mkdir()
    (tmp_path / "own.ini").write_text(f"[auto]\nengine = auto\n[none]\ntranscribe.enabled = false\n"
                                      f"[folder]\nengine = whisper\ntranscribe.model = {whole}\n")
    monkeypatch.setenv("ECG_SETTINGS", str(tmp_path / "own.ini"))
    assert names_of("auto") == [("base", "transcribe")] and names_of("none") == names_of("folder") == []


def test_doctor_prints_what_it_found():
    done = ecg("doctor", "--profile", "demo", "--only", "cpu", "--only", "media")
    assert done.exit_code == 0 and "cores" in done.stdout and done.stdout.endswith("fit\n")
    [finding, _] = json.loads(ecg("doctor", "--only", "cpu", "--only", "media", "--json").stdout)["findings"]
    assert list(finding) == ["name", "status", "seen", "why", "cure", "fixable"]
    assert ecg("doctor", "--only", "weather").exit_code == 2


def test_settings_lists_every_setting_with_its_meaning():
    rows = json.loads(ecg("settings", "--json").stdout)
    assert [row["key"] for row in rows] == known_keys() and all(len(row["meaning"]) > 5 for row in rows)
    shown = ecg("settings", "onset", "--set", "voice.onset=0.7").stdout
    assert "voice.onset" in shown and "0.7" in shown and "0.5" in shown and "offset" not in shown
    rows = json.loads(ecg("settings", "--profile", "t4", "--json").stdout)
    assert {row["key"]: row["value"] for row in rows}["runtime.device"] == "cuda"
    assert ecg("settings", "weather").exit_code == ecg("settings", "--profile", "t44").exit_code == 2


# Evaluate

def test_a_score_needs_a_reference():
    done = ecg("evaluate", "nowhere.json")
    assert done.exit_code == 2 and "give a reference" in done.stderr


# Batch

def test_a_batch_says_what_is_wrong_before_it_begins(tmp_path):
    done = ecg("batch", "nowhere.mp4", "-o", tmp_path, "--set", "transcribe.engin=whisper")
    assert done.exit_code == 1 and "transcribe.engine" in done.stderr
    done = ecg("batch", "nowhere.mp4", "-o", tmp_path, "--profile", "demo")
    assert done.exit_code == 1 and "nowhere.mp4" in done.stderr
    assert f"0 of 0 done, 1 source not read: {tmp_path}/index.html" in done.stdout


@pytest.mark.parametrize(
    "option, value, rule", [("--workers", 0, "at least 1"), ("--timeout", 0, "more than 0 seconds")]
)
def test_a_number_out_of_bounds_is_wrong_usage(tmp_path, option, value, rule):
    done = ecg("batch", "x.mp4", "-o", tmp_path, option, value)
    assert done.exit_code == 2 and f"{option} {value}: {rule}" in done.stderr


def test_help_and_error_name_the_same_notebooks(tmp_path):
    [option] = [p for p in COMMANDS["ecg", "batch"].params if p.name == "notebook"]
    done = ecg("batch", "x.mp4", "-o", tmp_path, "--notebook", "weather")
    in_error = done.stderr.strip().rsplit("one of ", 1)[1].split(", ")
    in_help = re.search(r"run: (.*), or the path", option.help)[1].split(", ")
    assert done.exit_code == 1 and in_error == in_help


def test_a_batch_without_its_extra_is_one_line(tmp_path, sample):
    "No process of the command finds papermill"
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['papermill'] = None")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [
        sys.executable,
        "-m",
        "ecg_audio_nb",
        "batch",
        sample,
        "-o",
        tmp_path / "out",
        "--profile",
        "demo",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path}
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "pip install 'ecg-audio-nb[jobs]'" in lines[-1] and sum(
        line.startswith("ecg:") for line in lines
    ) == 1


# Jobs

@pytest.fixture
def queue(tmp_path):
    queue = Queue(tmp_path / ".jobs/queue.sqlite")
    parameters = {"source": "/data/my talk.mp4", "output_dir": ".", "profile": "demo", "seed": 1,
                  "overrides": {"diarize.num_speakers": "2"}, "repeats": 3}
    add(queue, [Job("a" * 64, "talk", "/data/my talk.mp4", {"parameters": parameters})])
    job = claim(queue, owner_name())
    fail(queue, job, "user", "MediaError: my talk.mp4: empty")
    add(
        queue,
        [
            Job(
                "b" * 64,
                "other",
                "/data/other.mp4",
                {"parameters": {"source": "/data/other.mp4", "overrides": {}}},
            )
        ],
    )
    finish(
        queue,
        claim(queue, owner_name()),
        result={"files": ["other.json"], "duration": 5.0, "total_segments": 0, "unique_speakers": 0,
                "warnings": []},
    )
    yield queue
    queue.close()


def test_no_batch_no_jobs(tmp_path):
    for command in (
        ["jobs", "list"],
        ["jobs", "status"],
        ["jobs", "retry"],
        ["jobs", "show", "x"],
        ["callbacks", "list"],
    ):
        done = ecg(*command, "-o", tmp_path)
        assert done.exit_code == 1 and "no batch was ever run into this folder" in done.stderr


def test_callbacks_are_found_in_the_services_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    Queue(tmp_path / "data/service/.jobs/queue.sqlite").close()
    done = ecg("callbacks", "list")
    assert not done.exit_code and not done.stderr
    done = ecg("callbacks", "replay", "msg_none")
    assert done.exit_code == 1 and "msg_none" in done.stderr
    assert ecg("callbacks", "list", "-o", ".").exit_code == 1, "a folder that is named is the one"


def test_a_list_of_jobs_has_source_settings_and_error(queue, tmp_path):
    shown = ecg("jobs", "list", "-o", tmp_path).stdout
    [row] = [line for line in shown.splitlines() if line.startswith("aaaaaaaa")]
    assert "failed" in row and "/data/my talk.mp4" in row and "profile=demo" in row
    flat = " ".join(shown.split())
    assert "diarize.num_speakers=2" in flat and "repeats=3" in flat and "MediaError" in flat
    assert [job["name"] for job in json.loads(ecg("jobs", "list", "-o", tmp_path, "--json").stdout)] == [
        "talk",
        "other",
    ]
    wrong = ecg("jobs", "list", "-o", tmp_path, "--state", "gone")
    assert wrong.exit_code == 2 and "there are queued, running" in wrong.stderr


def test_one_job_is_shown_for_people_and_for_programs(queue, tmp_path):
    shown = ecg("jobs", "show", "talk", "-o", tmp_path).stdout
    assert re.search(r"state +failed", shown) and "diarize.num_speakers=2" in shown and "attempt 1" in shown
    assert re.search(r"added +\d{4}-\d\d-\d\d \d\d:", shown)
    assert re.search(r"error +MediaError: my talk.mp4: empty", shown)
    assert not re.search(r"\d{10}\.\d", shown), "no seconds since 1970"
    shown = ecg("jobs", "show", "other", "-o", tmp_path).stdout
    assert re.search(r"files +other.json", shown) and re.search(r"length +5.0 s", shown)
    assert re.search(r"segments +0\n", shown) and re.search(r"speakers +0\n", shown)
    raw = json.loads(ecg("jobs", "show", "talk", "-o", tmp_path, "--json").stdout)
    assert raw["state"] == "failed" and raw["attempts"][0]["n"] == 1
    assert {"most", "due", "wish", "share", "kind"} <= set(raw), "the names of the queue's columns, as before"


def test_retry_says_how_to_run_what_it_queued(queue, tmp_path):
    done = ecg("jobs", "retry", "-o", tmp_path)
    first, second = done.stdout.splitlines()
    assert first == "queued again: talk" and find(queue, "talk").state == "queued"
    command = second.removeprefix("To run it: ")
    assert shlex.split(command) == [
        "ecg",
        "batch",
        "/data/my talk.mp4",
        "-o",
        str(tmp_path),
        "--profile",
        "demo",
        "--set",
        "diarize.num_speakers=2",
        "--set",
        "repeats=3",
    ]
    assert "nothing to queue again" in ecg("jobs", "retry", "-o", tmp_path).stdout
    assert ecg("jobs", "retry", "other", "-o", tmp_path).stdout.startswith("queued again: other")


def _queue_of(folder, *jobs):
    "Two jobs or more that wait: name and task of each"
    queue = Queue(folder / ".jobs/queue.sqlite")
    add(queue, [Job(f"{n:064}", name, f"/data/{name}.wav", task) for n, (name, task) in enumerate(jobs)])
    queue.close()


def test_the_command_names_all_that_wait_where_they_are_few(tmp_path):
    task = {"parameters": {"overrides": {}, "profile": "demo"}}
    _queue_of(tmp_path, ("a", task), ("b", task))
    shown = ecg("jobs", "status", "-o", tmp_path).stdout
    assert shown.strip().endswith(f"to run them: ecg batch /data/a.wav /data/b.wav -o {tmp_path} --profile demo")
    _queue_of(tmp_path, *((name, task) for name in "abcde"))
    shown = ecg("jobs", "status", "-o", tmp_path).stdout
    assert f"to run all 5: ecg batch /data/a.wav -o {tmp_path} --profile demo" in shown
    assert "the command that added them" in shown


def test_the_command_names_the_notebook_of_the_job(tmp_path):
    from ecg_audio_nb.batch.spec import job_notebook, notebook_digest
    digest = notebook_digest(job_notebook("evaluate"))
    _queue_of(tmp_path / "one", ("a", {"notebook": digest, "parameters": {}}))
    assert "--notebook evaluate" in ecg("jobs", "status", "-o", tmp_path / "one").stdout
    _queue_of(tmp_path / "two", ("a", {"notebook": "f" * 64, "parameters": {}}))
    kept = tmp_path / f"two/.jobs/notebooks/{'f' * 16}.ipynb"
    assert f"--notebook {kept}" in ecg("jobs", "status", "-o", tmp_path / "two").stdout


def test_jobs_of_the_service(tmp_path):
    import fcntl
    _queue_of(tmp_path, ("a", {"digest": "0", "language": "en", "recognizer": {}, "silence_marks": False}))
    shown = ecg("jobs", "show", "a", "-o", tmp_path).stdout
    assert "transcribe.language=en; the others are the service's" in shown
    ecg("jobs", "cancel", "a", "-o", tmp_path)
    assert ecg("jobs", "retry", "a", "-o", tmp_path).stdout.endswith("To run it: ecg serve\n")
    ecg("jobs", "cancel", "a", "-o", tmp_path)
    with open(tmp_path / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert ecg("jobs", "retry", "a", "-o", tmp_path).stdout.endswith("The running service takes it\n")


def test_a_cancelled_attempt_is_called_so(tmp_path):
    _queue_of(tmp_path, ("a", {"parameters": {}}))
    queue = Queue(tmp_path / ".jobs/queue.sqlite")
    release(queue, claim(queue, owner_name()))
    job = claim(queue, owner_name())
    assert "its runner is asked to stop" in ecg("jobs", "cancel", "a", "-o", tmp_path).stdout
    release(queue, job)
    queue.close()
    first, second = re.findall(r"attempt .*", ecg("jobs", "show", "a", "-o", tmp_path).stdout)
    assert ", requeued, by" in first and ", cancelled, by" in second
    done = ecg("jobs", "cancel", "a", "-o", tmp_path)
    assert done.stdout == "a: cancelled already; there is nothing to cancel\n" and not done.exit_code


def test_cancel_and_prune(queue, tmp_path):
    ecg("jobs", "retry", "-o", tmp_path)
    assert ecg("jobs", "cancel", "talk", "-o", tmp_path).stdout == "talk: cancelled\n"
    assert ecg("jobs", "status", "-o", tmp_path).stdout == (
        "0 queued, 0 running, 1 done, 0 failed, 1 cancelled\n"
    )
    assert json.loads(ecg("jobs", "status", "-o", tmp_path, "--json").stdout)["at_work"] == []
    wrong = ecg("jobs", "prune", "-o", tmp_path, "--state", "running")
    assert wrong.exit_code == 2 and "done, failed, cancelled" in wrong.stderr
    wrong = ecg("jobs", "prune", "-o", tmp_path, "--days", -1)
    assert wrong.exit_code == 2 and "--days -1: at least 0" in wrong.stderr
    assert ecg("jobs", "prune", "-o", tmp_path, "--days", 0).stdout == (
        "deleted: 2 jobs; if you give their recordings again, they run again\n"
    )


# Service

def test_a_misspelt_setting_of_the_service():
    done = ecg("serve", "--set", "server.queu=3")
    assert done.exit_code == 1 and "server.queu" in done.stderr


# Data folder

def test_the_data_folder_is_read_when_it_is_used(tmp_path):
    "`XDG_DATA_HOME` may be set after the import; the path on Linux is the one of before"
    code = (
        "import os, sys; from ecg_audio_nb.settings import Settings, load_settings\n"
        "os.environ['XDG_DATA_HOME'] = sys.argv[1]; print(Settings().runtime.data_dir, "
        "load_settings().runtime.data_dir)\n"
        "del os.environ['XDG_DATA_HOME']; print(load_settings().runtime.data_dir)"
    )
    environ = {**os.environ, "HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "xdg"], capture_output=True, text=True, env=environ
    )
    own = tmp_path / "xdg/ecg_audio_nb"
    usual = tmp_path / "home/.local/share/ecg_audio_nb"
    assert (
        done.stdout.splitlines() == [f"{own} {own}", str(usual)]
        if sys.platform == "linux"
        else done.returncode == 0
    )


def test_the_cache_folder_of_prepared_models_follows_the_environment(tmp_path, monkeypatch):
    from ecg_audio_nb.core.wheels import cache_folder
    from ecg_audio_nb.models import catalogue
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("base", catalogue()["base"]).parent == tmp_path / "ecg_audio_nb/models"
    assert load_settings().runtime.data_dir.name == "ecg_audio_nb"
