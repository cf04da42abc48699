"""What version 0.1.0 wrote, and what its users wrote down: results, queues, checkpoints, settings,
commands"""
import json
from dataclasses import replace
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ecg_audio_nb.results.captions import CaptionStyle, caption_style
from ecg_audio_nb.checkpoints import Checkpoints
from ecg_audio_nb.cli import app
from ecg_audio_nb.core import renamed
from ecg_audio_nb.core.moved import MOVED
from ecg_audio_nb.results.export import render
from ecg_audio_nb.schema import read_result, to_dict
from ecg_audio_nb.service.app import server_settings
from ecg_audio_nb.settings import load_settings, as_text

OLD = Path(__file__).parent / "fixtures/of_0.1.0"


def lines(name):
    return dict(line.split(" = ", 1) for line in (OLD / name).read_text().splitlines() if " = " in line)


def holds(now, before):
    "Whether all that was there is there, at any depth; newer fields may stand beside it"
    if isinstance(before, dict): return all(key in now and holds(now[key], x) for key, x in before.items())
    if isinstance(before, list): return len(now) == len(before) and all(map(holds, now, before))
    return now == before


def test_a_result_reads_and_loses_nothing():
    result, plain = read_result(OLD / "result.json"), json.loads((OLD / "result.json").read_text())
    assert " ".join(w.word for w in result.words if w.kind == "word").startswith("Good morning")
    assert holds(to_dict(result)["segments"], plain["segments"])
    assert to_dict(result)["metadata"]["settings"] == plain["metadata"]["settings"]
    assert "media" not in plain["metadata"] and result.metadata.media is None
    assert all(render(result, name) for name in ("json", "srt", "vtt", "txt", "rttm"))


@pytest.mark.parametrize("queue, ids", [("batch", ["clip", "broken"]), ("service", ["video-7", "video-8"])])
def test_a_queue_reads(tmp_path, queue, ids):
    (tmp_path / ".jobs").mkdir()
    shutil.copy(OLD / f"{queue}.sqlite", tmp_path / ".jobs/queue.sqlite")
    shown = CliRunner().invoke(app, ["jobs", "list", "-o", str(tmp_path)])
    assert shown.exit_code == 0 and all(i in shown.output for i in ids), shown.output
    for i in ids: assert CliRunner().invoke(app, ["jobs", "show", i, "-o", str(tmp_path)]).exit_code == 0
    if queue == "service":
        assert "video-7" in CliRunner().invoke(app, ["callbacks", "list", "-o", str(tmp_path)]).output
    assert CliRunner().invoke(app, ["jobs", "retry", ids[0], "-o", str(tmp_path)]).exit_code == 0


def test_checkpoints_read(tmp_path):
    shutil.copytree(OLD / "checkpoints", tmp_path, dirs_exist_ok=True) # an unreadable one would be deleted
    kept = Checkpoints(tmp_path)
    files = sorted(tmp_path.glob("??/*.npz"))
    assert len(files) == 7 and all(kept.get(f.stem) is not None for f in files)


def test_every_setting_has_its_old_name(tmp_path, monkeypatch):
    monkeypatch.setenv("ECG_SETTINGS", str(OLD / "settings.ini"))

    def said(*args, **kwargs):
        return {k: v for k, v in as_text(load_settings(*args, **kwargs)).items() if k != "runtime.data_dir"}

    was, usual = lines("settings.ini"), said({})
    # the default is no number any more, 0 is still 0; and none is neither on nor off
    other = {key: was[key] for key in ("media.audio_track", "runtime.checkpoints")}
    assert {usual[key] for key in other} == {"none"}
    other["acoustics.adaptive"] = was["acoustics.adaptive"] # its default was false
    assert said(profile="everything") == usual | other
    for key, text in was.items(): assert said({key: text}) == usual | ({key: text} if key in other else {}), key
    for key in was:
        name = "ECG_" + key.upper().replace(".", "__")
        with monkeypatch.context() as patch:
            patch.setenv(name, was[key])
            assert said() == usual | ({key: was[key]} if key in other else {}), name
    assert said({"export.pause": "2"}) != usual


@pytest.mark.parametrize("old, new", renamed.SETTINGS.items())
def test_a_renamed_setting_works_in_every_source_and_says_its_new_name(old, new, tmp_path, monkeypatch):
    def told(*args, **kwargs):
        with pytest.warns(
            renamed.RenamedKey, match=f"{old.split('.')[-1]} is now called .*{new.split('.')[-1]}"
        ):
            return as_text(load_settings(*args, **kwargs))[new]

    first, second = (
        (-1.5, -1.7) if "log_prob" in old else (0.5, 0.7) if old == "transcribe.no_speech" else (1.5, 1.7)
    )
    assert told({old: first}) == str(first)
    stage, key = old.split(".")
    assert told({stage: {key: first}}) == str(first)
    (tmp_path / "own.ini").write_text(f"[old]\n{old} = {first}\n")
    monkeypatch.setenv("ECG_SETTINGS", str(tmp_path / "own.ini"))
    assert told(profile="old") == str(first)
    monkeypatch.setenv(f"ECG_{stage}__{key}".upper(), str(second))
    assert told(profile="old") == str(second)
    assert told({old: first, new: second}) == str(second)


def test_every_setting_of_the_service_has_its_old_name(monkeypatch):
    for key, value in json.loads((OLD / "server.json").read_text()).items():
        assert server_settings({key: value}) == server_settings()
        monkeypatch.setenv(
            f"ECG_SERVER_{key.upper()}", ",".join(value) if isinstance(value, list) else str(value)
        )
        assert server_settings() == server_settings({})


def test_every_key_of_a_caption_style_has_its_old_name():
    old = tomllib.loads((OLD / "captions.toml").read_text())
    for name, keys in old.items():
        style, expected = caption_style(keys), caption_style(name)
        if name == "plain":  # its values of then still count, where today's are others
            expected = replace(expected, max_pause=0.5, min_duration=1.0)
        assert isinstance(style, CaptionStyle) and style == expected


def commands(command, name=()):
    if not hasattr(command, "commands"):
        return {" ".join(name): {o for p in command.params for o in getattr(p, "opts", ())}}
    return {k: v for n, sub in command.commands.items() for k, v in commands(sub, (*name, n)).items()}


def test_every_command_and_option_is_still_there():
    now = commands(typer.main.get_command(app))
    for name, options in json.loads((OLD / "commands.json").read_text()).items():
        assert now[name] >= set(options), name


def test_a_module_imports_under_its_old_name_and_says_the_new_one():
    code = """if True:
        import importlib, json, sys, warnings
        warnings.simplefilter("always")
        for old, new in json.loads(sys.argv[1]).items():
            with warnings.catch_warnings(record=True) as said: module = importlib.import_module(f"ecg_audio_nb.{old}")
            assert module is importlib.import_module(f"ecg_audio_nb.{new}") and module.__spec__.name == f"ecg_audio_nb.{new}", old
            assert f"ecg_audio_nb.{old} is now ecg_audio_nb.{new}" in [str(w.message) for w in said], old
        from ecg_audio_nb.jobs import job_hook"""
    done = subprocess.run([sys.executable, "-c", code, json.dumps(MOVED)], capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_what_users_need_is_at_the_top():
    code = (
        "from ecg_audio_nb import analyze, Analysis, Settings, load_settings, read_result, explore; "
        "import ecg_audio_nb; print(*dir(ecg_audio_nb))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert {"analyze", "Analysis", "Settings", "load_settings", "read_result", "explore"} <= set(
        done.stdout.split()
    ), done.stderr
