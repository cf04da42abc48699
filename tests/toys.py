"""Small notebooks for tests of the batch: what they make is a function of their source's content"""
import hashlib
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

TOY = """\
import hashlib, pathlib, time
text = pathlib.Path(source).read_text() if "://" not in source else source
if text.startswith("bad"): raise ValueError("this recording is bad; take another")
time.sleep(seconds)
pathlib.Path(output_dir, "result.txt").write_text(hashlib.sha256(text.encode()).hexdigest())"""

STAGES = """\
import time
from types import SimpleNamespace
from ecg_audio_nb.batch.runner import job_hook
hook = job_hook()
for stage in ("media", "voice", "transcribe", "align", "diarize", "acoustics"):
    hook(SimpleNamespace(stage=stage, status="start", fraction=None))
    for i in range(10): time.sleep(seconds / 10); hook(SimpleNamespace(stage=stage, status="progress", fraction=i / 10))
    hook(SimpleNamespace(stage=stage, status="done", fraction=None))"""


def notebook(path, *cells, seconds=0.1, parameters="source = None\noutput_dir = '.'\nseconds = {seconds}")->Path:
    "A notebook with these cells behind its parameters"
    nb = new_notebook(cells=[new_code_cell(parameters.format(seconds=seconds)), *(new_code_cell(c) for c in cells or [TOY])])
    nb.cells[0].metadata["tags"] = ["parameters"]
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    for i, cell in enumerate(nb.cells): cell["id"] = f"cell-{i}"
    nbformat.write(nb, path)
    return Path(path)


def recordings(folder, n, start="recording")->list[Path]:
    "Sources that are all different"
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = [Path(folder) / f"{start}{i:03}.wav" for i in range(n)]
    for i, path in enumerate(paths): path.write_text(f"{start} {i}")
    return paths


def made_of(path)->str:
    "What the toy writes for a source"
    return hashlib.sha256(Path(path).read_text().encode()).hexdigest()
