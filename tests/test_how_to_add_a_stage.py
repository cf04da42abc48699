"""CONTRIBUTING's "How to add a stage", followed to the letter with a copy of the repository: a toy stage
`emotion`"""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = [
    "CONTRIBUTING.md",
    "README.md",
    "LICENSE",
    "pyproject.toml",
    "setup.py",
    "_quarto.yml",
    "settings.ini",
    "ecg_audio_nb",
    "nbs",
    "scripts",
]
ANALYZE = """
import ecg_audio_nb
from importlib.resources import files
from ecg_audio_nb import analyze
result = analyze(files("ecg_audio_nb") / "assets/sample.mp4", {"emotion.enabled": True, "emotion.min_seconds": 0, "transcribe.model": "tiny.en"}, profile="demo")
assert result.words and {w.emotion for w in result.words} <= {"calm", "excited"}, {w.emotion for w in result.words}
assert result.to_dict()["segments"][0]["words"][0]["emotion"]
assert "emotion" in result.metadata.timing.stages and result.metadata.settings["emotion"]["enabled"]
print(ecg_audio_nb.__file__)
"""


def recipe():
    "Code blocks of the section, in order"
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.split("## How to add a stage\n")[1].split("\n## ")[0]
    return [code.rstrip("\n") for code in re.findall(r"```\w+\n(.*?)```", section, re.S)]


def cell(kind, text):
    more = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {
        "cell_type": kind,
        "id": format(abs(hash(text)) % 16**8, "08x"),
        "metadata": {},
        "source": text.splitlines(True),
        **more,
    }


class Notebook:
    "A notebook that is changed as a person would"
    def __init__(self, path):
        self.path, self.data = path, json.loads(path.read_text())

    def find(self, text):
        "The only exported cell that holds a text"
        [place] = [
            i
            for i, c in enumerate(self.data["cells"])
            if text in "".join(c["source"]) and "#| export" in "".join(c["source"])
        ]
        return place

    def change(self, old, new):
        found = self.data["cells"][self.find(old)]
        found["source"] = "".join(found["source"]).replace(old, new).splitlines(True)

    def insert_before(self, text, code):
        self.data["cells"].insert(self.find(text), cell("code", "#| export\n" + code))

    def save(self): self.path.write_text(json.dumps(self.data, indent=1, ensure_ascii=False) + "\n")


def put_after(path, line, new):
    text = path.read_text()
    assert text.count(line) == 1, (path, line)
    path.write_text(text.replace(line, line + new))


def run(folder, *command):
    "Run a command on the copy, with the tools of this environment"
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [str(c) for c in command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert not done.returncode, f"{command}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    "A copy of the repository in which the recipe was followed"
    if not shutil.which("nbdev-export", path=str(Path(sys.executable).parent)):
        pytest.skip("nbdev is not installed: the extra dev")
    folder = tmp_path_factory.mktemp("repository")
    for name in COPIED:
        subprocess.run(["cp", "-R", ROOT / name, folder / name], check=True)
    (
        settings_class,
        settings_line,
        field,
        imports,
        stage,
        pipeline_import,
        stages,
        add_emotion,
        call,
        contract,
    ) = recipe()
    nbs = folder / "nbs"

    settings = Notebook(nbs / "01_settings.ipynb")
    settings.insert_before("class Settings(BaseSettings):", settings_class)
    line = "    acoustics: AcousticsSettings = Field(default_factory=AcousticsSettings)\n"
    settings.change(line, line + settings_line + "\n")
    settings.save()

    schema = Notebook(nbs / "00_schema.ipynb")
    line = '    kind: Literal["word", "silence"] = field(default="word", kw_only=True)\n'
    schema.change(line, line + field + "\n")
    schema.save()

    cells = [
        cell("markdown", "# Emotion\n\n> Name what is felt in each word"),
        cell("code", "#| default_exp voice.emotion"),
        cell("code", "#| export\n" + imports),
        cell("code", "#| export\n" + stage),
        cell("code", "#| hide\nimport nbdev; nbdev.nbdev_export()"),
    ]
    (nbs / "18_emotion.ipynb").write_text(json.dumps(settings.data | {"cells": cells}, indent=1) + "\n")

    pipeline = Notebook(nbs / "20_pipeline.ipynb")
    pipeline.change("from ecg_audio_nb.stages import", f"{pipeline_import}\nfrom ecg_audio_nb.stages import")
    [old] = re.findall(
        r"^STAGES = \([^)]*\)$", "".join(pipeline.data["cells"][pipeline.find("STAGES = (")]["source"]), re.M
    )
    pipeline.change(old, stages)
    pipeline.insert_before("def _run_stages(", add_emotion)
    line = "        branches = work(run, audio, settings, engines, content)\n"
    pipeline.change(line, line + call + "\n")
    pipeline.save()

    put_after(folder / "_quarto.yml", "          - 18_checkpoints.ipynb\n", "          - 18_emotion.ipynb\n")
    rules = (folder / "pyproject.toml").read_text()
    old = 'layers = ["definitions", "acoustics", "quality", "pulses : speaker_f0 : spectrum : formants", "f0"]'
    assert rules.count(old) == 1
    rules = rules.replace(old, contract)
    (folder / "pyproject.toml").write_text(rules)
    run(folder, "nbdev-export")
    return folder


pytestmark = pytest.mark.slow


def test_the_stage_is_exported_and_nothing_else_changed(followed):
    assert "def emotion(" in (followed / "ecg_audio_nb/voice/emotion.py").read_text()
    old = {p.relative_to(ROOT) for p in (ROOT / "ecg_audio_nb").rglob("*.py")}
    changed = {str(p) for p in old if (followed / p).read_text() != (ROOT / p).read_text()}
    assert changed <= {
        f"ecg_audio_nb/{n}.py" for n in ("__init__", "_modidx", "settings", "schema", "pipeline")
    }


def test_the_import_rule_holds(followed): run(followed, "lint-imports", "--no-cache")


def test_the_schema_is_written_anew(followed):
    run(followed, sys.executable, "scripts/make_schema.py")
    schema = json.loads((followed / "ecg_audio_nb/assets/result.schema.json").read_text())
    assert "emotion" in schema["$defs"]["Word"]["properties"]


def test_every_word_has_the_field(followed):
    assert run(followed, sys.executable, "-c", ANALYZE).strip() == str(followed / "ecg_audio_nb/__init__.py")


def test_a_result_of_before_reads(followed):
    old = ROOT / "tests/fixtures/of_0.1.0/result.json"
    code = f"from ecg_audio_nb import read_result; assert read_result({str(old)!r}).words[0].emotion is None"
    run(followed, sys.executable, "-c", code)
