"""A notebook's cell `parameters`, read as papermill reads it, and values of the type it wants"""
import subprocess
import sys

import pytest

from batch_helpers import ecg, notebook, recordings
from ecg_audio_nb.batch.failures import BatchError
from ecg_audio_nb.batch.parameters import (
    Parameter,
    check_parameter,
    parameter_names,
    parameters_of,
    read_parameters,
)
from ecg_audio_nb.batch.spec import BatchSpec, job_parameters

CELL = """\
# what a person set by hand
%matplotlib inline
source: str = ""          # the recording
output_dir: str = "."
session: "str" = "1.10"   # not a number
n: int = 3
level: float
either: int | None = None
mode: Literal["fast", "slow"] = "fast"
names: list[str] = []
old = None                # type: int
low, (high, *rest) = 1.5, (2, 3)
first = second = "x"
plain = None
flag = False
own: Threshold = 0.5
if True: hidden = 1
"""


@pytest.fixture
def path(tmp_path):
    return notebook(tmp_path / "nb.ipynb", parameters=CELL.replace("{", "{{").replace("}", "}}"))


def test_annotations_tuples_and_comments_are_seen(path):
    assert parameter_names(path) == [
        "source", "output_dir", "session", "n", "level", "either", "mode", "names", "old", "low", "high",
        "rest", "first", "second", "plain", "flag", "own",
    ]  # fmt: skip


def test_papermill_sees_no_parameter_that_is_missed(path):
    code = "import sys; from papermill import inspect_notebook as i; print(*i(sys.argv[1]))"
    seen = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert {"source", "session", "n", "plain"} <= set(seen.stdout.split()) <= {*parameter_names(path)}


@pytest.mark.parametrize("name, text, value", [
    ("session", "1.10", "1.10"), ("session", "NaN", "NaN"), ("session", "None", "None"), ("first", "5", "5"),
    ("n", "3", 3), ("n", "-4", -4), ("level", "0.50", 0.5), ("level", "1e-3", 0.001), ("own", "0.7", 0.7),
    ("either", "None", None), ("either", "7", 7), ("mode", "slow", "slow"), ("names", '["a", "b"]', ["a", "b"]),
    ("names", "['a']", ["a"]), ("old", "12", 12), ("low", "3", 3), ("flag", "True", True), ("flag", "yes", True),
    ("flag", "false", False), ("first", "None", None),
    ("plain", "1.10", "1.10"), ("plain", "2.0", 2.0), ("plain", "007", "007"), ("plain", "2.5", 2.5),
    ("plain", "3", 3), ("plain", "1e3", 1000.0), ("plain", "None", None), ("plain", "[1, 2]", [1, 2]),
    ("plain", "take 2", "take 2"), ("plain", '"5"', "5"), ("media.end", "5", "5")])  # fmt: skip
def test_a_value_keeps_the_type_that_is_wanted(path, name, text, value):
    read = read_parameters(path, {name: text})[name]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("name, text, words", [
    ("n", "1.10", "wants a whole number"), ("n", "three", "wants a whole number"),
    ("n", "true", "wants a whole number"), ("level", "NaN", "wants a number"),
    ("level", "Infinity", "wants a number"), ("level", "1e999", "wants a number"), ("low", "inf", "a number"),
    ("mode", "slower", "wants '(fast|slow)' or '(fast|slow)'"), ("names", "a", "wants a list in JSON"),
    ("names", "[1]", "a list"), ("flag", "3", "true or false"), ("either", "x", "a whole number or None"),
    ("plain", "NaN", "finite number; for the text, annotate"), ("plain", "[NaN]", "finite number")])  # fmt: skip
def test_a_wrong_value_is_refused_with_one_sentence(path, name, text, words):
    with pytest.raises(BatchError, match=words) as error: read_parameters(path, {name: text})
    assert str(error.value).startswith(f"{name}={text}: ") and "\n" not in str(error.value)


def test_values_of_python_are_checked_too(path):
    given = {"session": "1.10", "n": 5, "level": 2, "names": ("a",)}
    assert job_parameters(BatchSpec(path, None, given)) == {"output_dir": "."} | given | {"names": ["a"]}
    for wrong in ({"session": 1.1}, {"n": float("nan")}, {"plain": float("inf")}, {"names": "a"}):
        with pytest.raises(BatchError, match="wants|finite"): job_parameters(BatchSpec(path, None, wrong))
    assert check_parameter(Parameter("x"), {"a": [1, None]}) == {"a": [1, None]}


def test_a_cell_that_is_no_python_is_named(tmp_path):
    path = notebook(tmp_path / "r.ipynb", parameters="source <- 'a.wav'\nx = = 1")
    with pytest.raises(BatchError, match="r.ipynb: its cell `parameters` is no Python .*line 2"):
        parameters_of(path)


def test_a_batch_gives_typed_parameters(tmp_path):
    cell = 'source: str = ""\noutput_dir: str = "."\nsession: str = ""\nlow, high = 1, 2'
    write = "open('result.txt', 'w').write(repr((session, low, high)))"
    path = notebook(tmp_path / "nb.ipynb", write, parameters=cell)
    [source], out = recordings(tmp_path / "in", 1), tmp_path / "out"
    given = ["--set", "session=1.10", "--set", "high=2.5"]
    p = ecg("batch", source, "-o", out, "--notebook", path, *given, merge=True)
    said, _ = p.communicate(timeout=120)
    assert p.returncode == 0, said
    assert (out / "recording000/result.txt").read_text() == "('1.10', 1, 2.5)"
    p = ecg("batch", source, "-o", out, "--notebook", path, "--set", "low=NaN", merge=True)
    assert p.communicate(timeout=120)[0].startswith("ecg: low=NaN: ") and p.returncode == 1
