"""Sweeps: a stage runs where its settings differ and nowhere else, nothing is lost to a kill, and no point
wins by failing"""
import json, os, signal, subprocess, sys, time
from collections import Counter
from pathlib import Path

import pytest

from ecg_audio_nb.research import sweep_plots, sweep as sw
from ecg_audio_nb.research.references import EvaluateError
from ecg_audio_nb.settings import SettingsError
from ecg_audio_nb.research.sweep import Range, Trial, Sweep, SweepError, grid, search
from sweep_points import QUIET, check_stage_runs, clips_of_the_sample, tried


@pytest.fixture(scope="module")
def clips(sample, tmp_path_factory): return clips_of_the_sample(tmp_path_factory.mktemp("clips"), sample)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    "A data folder whose checkpoints several tests share"
    return str(tmp_path_factory.mktemp("data"))


# What runs

@pytest.mark.slow
def test_of_16_points_each_stage_runs_where_its_settings_differ(clips, tmp_path):
    "48 points of three recordings in tests/soak/test_research.py"
    check_stage_runs(clips[:2], tmp_path, speakers=[None, 1], shortest=[0.1, 3.0], model="tiny.en")


def test_a_grid_and_workers_give_the_same(clips, tmp_path, data):
    space = {"diarize.threshold": [0.3, 0.7]}
    one, two = (tried(clips, space, tmp_path / str(n), data, workers=n) for n in (1, 2))
    assert [(r.source, r.point, r.errors, r.denominator) for r in one.trials] == [
        (r.source, r.point, r.errors, r.denominator) for r in two.trials
    ]
    assert sum(r.denominator for r in one.trials[::2]) > 10 # seconds of speech
    [best] = [s for p, s in sw._point_scores(one) if p == one.best]
    assert best == pytest.approx(
        sum(r.errors for r in one.trials if r.point == one.best)
        / sum(r.denominator for r in one.trials if r.point == one.best)
    )


# Nothing is lost

def lines(path): return path.read_bytes().count(b"\n") if path.exists() else 0

def children(pid):
    def parent(p):
        try: return int(p.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError): return None
    return [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/stat") if parent(p) == pid]

def alive(pid):
    try: return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError: return False

def until(holds, process=None):
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end and (process is None or process.poll() is None), (
            "it did not come to that"
        )
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_killed_and_resumed(clips, tmp_path, data):
    space = {"diarize.threshold": [0.1 * n for n in range(1, 5)], "diarize.min_turn": [0.1, 2.0]}
    script = tmp_path / "script.py"
    script.write_text(f"""
from ecg_audio_nb.research.sweep import sweep
if __name__ == "__main__":
    sweep({[str(c) for c in clips]!r}, {space!r}, "der", {str(clips[0].parent)!r}, {QUIET | {"runtime.data_dir": data}!r}, folder={str(tmp_path / "sweep")!r}, workers=2)
""")
    state = tmp_path / "sweep/sweep.jsonl"
    process = subprocess.Popen([sys.executable, script])
    until(lambda: lines(state) >= 5, process)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL); process.wait()
    assert len(workers) >= 2
    until(lambda: not any(map(alive, workers)))
    known, said = lines(state), []
    assert 5 <= known < 24
    found = tried(
        clips, space, tmp_path / "sweep", data, on_trial=lambda row, done, total: said.append((done, total))
    )
    assert said == [(n, 24) for n in range(1, 25)] and lines(state) == 24
    whole = tried(clips, space, tmp_path / "new", data)
    assert [(r.source, r.point, r.value) for r in found.trials] == [
        (r.source, r.point, r.value) for r in whole.trials
    ]
    assert all(r.value is not None for r in whole.trials) and len({r.value for r in whole.trials}) > 3


def test_what_is_known_is_not_asked_again(clips, tmp_path, data, monkeypatch):
    tried(clips[:1], {"diarize.threshold": [0.5, 0.7]}, tmp_path, data)
    asked = []
    run_point = sw.run_trial
    monkeypatch.setattr(
        sw,
        "run_trial",
        lambda source, given: asked.append(given["diarize.threshold"]) or run_point(source, given),
    )
    more = tried(clips[:1], {"diarize.threshold": [0.5, 0.6, 0.7], "diarize.min_turn": [0.1]}, tmp_path, data)
    assert asked == ["0.6"] and [r.point for r in more.trials] == [
        {"diarize.threshold": t, "diarize.min_turn": 0.1} for t in (0.5, 0.6, 0.7)
    ]
    tried(clips[:1], {"diarize.threshold": [0.5]}, tmp_path, data, metric="jer")
    assert asked == ["0.6", "0.5"]


def test_another_reference_is_scored_anew(clips, tmp_path, data):
    truth = tmp_path / "truth"
    truth.mkdir()
    (truth / "c0.rttm").write_bytes(clips[0].with_suffix(".rttm").read_bytes())
    first = tried(clips[:1], {"diarize.threshold": [0.7]}, tmp_path, data, references=truth)
    (truth / "c0.rttm").write_text("SPEAKER c0 1 0.0 0.5 <NA> <NA> Ann <NA> <NA>\n")
    other = tried(clips[:1], {"diarize.threshold": [0.7]}, tmp_path, data, references=truth)
    assert (first.trials[0].denominator > 3, other.trials[0].denominator) == (True, 0.5)


@pytest.mark.parametrize(
    "harm",
    [b'{"key": "cut', b"[1]\n", b"\xff\xfe\n", b'{"key": "x", "nope": 1}\n', b"\n\n", b'{"key": []}\n'],
)
def test_lines_that_are_none_are_passed_over(clips, tmp_path, data, harm):
    first = tried(clips[:1], {"diarize.threshold": [0.7]}, tmp_path, data)
    path = tmp_path / "sweep.jsonl"
    path.write_bytes(path.read_bytes() + harm)
    more = tried(clips[:1], {"diarize.threshold": [0.7, 0.5]}, tmp_path, data)
    assert more.trials[0] == first.trials[0]
    assert len(sw._Log(path).trials) == 2


def test_a_search_goes_on_where_it_stopped(clips, tmp_path, data):
    space = {"diarize.threshold": Range(0.2, 0.9), "diarize.num_speakers": [1, 2, None]}
    short = tried(clips[:1], space, tmp_path / "a", data, points=6)
    n = lines(tmp_path / "a/sweep.jsonl")
    long = tried(clips[:1], space, tmp_path / "a", data, points=14)
    assert (
        long.trials[: len(short.trials)] == short.trials
        and len(long.trials) > len(short.trials)
        and n == len(short.trials)
    )
    assert [r.point for r in tried(clips[:1], space, tmp_path / "b", data, points=14).trials] == [
        r.point for r in long.trials
    ]


# Faults

def _leave(source, given): os._exit(3)

def test_a_lost_worker_is_reported(monkeypatch, clips, tmp_path, data):
    monkeypatch.setattr(sw, "run_trial", _leave)
    with pytest.raises(SweepError, match="a worker was lost: .* fewer `workers`"):
        tried(clips, {"diarize.threshold": [0.7]}, tmp_path, data, workers=2)


def test_a_log_of_before_is_read(tmp_path):
    "Two keys of a line had another name in 0.1"
    path = tmp_path / "sweep.jsonl"
    path.write_text(
        (
            '{"key": "k", "source": "a.wav", "point": {"diarize.threshold": 0.7}, "errors": 3.0, '
            '"over": 12.0, "made": {"diarize": 0.5}, "error": null}\n'
        )
    )
    assert sw._Log(path).trials == {
        "k": Trial("a.wav", {"diarize.threshold": 0.7}, 3.0, 12.0, {"diarize": 0.5})
    }


def test_a_recording_that_fails_is_a_row_and_is_tried_again(clips, tmp_path, data):
    sources = {
        str(clips[0]): {"turns": clips[0].with_suffix(".rttm")},
        str(tmp_path / "nowhere.wav"): {"turns": clips[1].with_suffix(".rttm")},
    }
    found = tried(sources, {"diarize.threshold": [0.7]}, tmp_path, data, references=None)
    assert (
        found.trials[1].error.startswith("FetchError")
        and found.trials[1].value is None
        and found.best == {"diarize.threshold": 0.7}
    )


def test_what_failed_once_is_tried_again(clips, tmp_path, data, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sw, "run_trial", lambda *_: ("OSError: no route to host", {}))
        assert (
            tried(clips[:1], {"diarize.threshold": [0.7]}, tmp_path, data).trials[0].error
            == "OSError: no route to host"
        )
    [row] = tried(clips[:1], {"diarize.threshold": [0.7]}, tmp_path, data).trials
    assert row.error is None and row.value is not None


def test_a_reference_of_another_file_is_a_row(clips, tmp_path, data):
    (tmp_path / "c0.rttm").write_text("SPEAKER c0 1 90.0 0.5 <NA> <NA> Ann <NA> <NA>\n")
    (tmp_path / "c1.rttm").write_text("what is this\n")
    found = tried(clips[:2], {"diarize.threshold": [0.7]}, tmp_path, data, references=tmp_path)
    assert (
        found.best is None
        and found.to_ini() == "# no point has a score"
        and found.ranking()["der"].isna().all()
    )
    assert found.trials[1].error.startswith("EvaluateError") and "turns with SPEAKER" in found.trials[1].error
    with pytest.raises(SweepError, match="nothing to draw"): sw.plot_parallel(found)


@pytest.mark.parametrize(
    "space, more, error, says",
    [
        ({}, {}, SweepError, "no setting to vary"),
        ({"diarize.threshold": []}, {}, SweepError, "no list of values"),
        ({"diarize.threshold": "0.5"}, {}, SweepError, "no list of values"),
        ({"diarize.threshold": {"lo": 1}}, {}, SweepError, "no range"),
        ({"diarize.treshold": [1]}, {}, SettingsError, "diarize.threshold"),
        ({"diarize.threshold": [0.5, 7]}, {}, SettingsError, "diarize.threshold"),
        ({"diarize.threshold": [0.5]}, {"metric": "ber"}, SweepError, "metric = 'ber'"),
        ({"diarize.threshold": [0.5]}, {"workers": 0}, SweepError, "at least 1"),
        ({"diarize.threshold": [0.5]}, {"points": 0}, SweepError, "points = 0"),
        ({"diarize.threshold": [0.5]}, {"references": None}, SweepError, "no references"),
        ({"diarize.threshold": [0.5]}, {"references": "/nowhere"}, EvaluateError, "holds no c0.stm"),
        ({"diarize.threshold": {"low": 0, "high": 0.5, "log": True}}, {"points": 2}, SweepError, "above 0"),
    ],
)
def test_a_sweep_that_is_none_is_refused_before_it_runs(
    clips, tmp_path, data, monkeypatch, space, more, error, says
):
    def run_point(*_): raise AssertionError("it ran")
    monkeypatch.setattr(sw, "run_trial", run_point)
    with pytest.raises(error, match=says): tried(clips, space, tmp_path, data, **more)


# What follows from rows

def test_no_point_wins_by_failing():
    rows = [
        Trial("a", {"x": 1}, 5, 10),
        Trial("b", {"x": 1}, 1, 90),
        Trial("a", {"x": 2}, 0, 10),
        Trial("b", {"x": 2}, error="no"),
    ]
    found = Sweep(tuple(rows), "wer")
    assert (
        found.best == {"x": 1}
        and found.ranking()["wer"].tolist()[:1] == [0.06]
        and Sweep(tuple(rows[2:]), "wer").best == {"x": 2}
    )


def test_more_is_better_when_it_is_said():
    rows = tuple(Trial("a", {"x": n, "y": n % 2 == 0}, n, 1) for n in (2, 3, 1))
    assert (Sweep(rows, "m").best["x"], Sweep(rows, "m", True).best["x"]) == (1, 3)
    assert Sweep(rows, "m", True).ranking()["x"].tolist() == [3, 2, 1]
    assert Sweep(rows, "m").to_ini() == "[best]\nx = 1\ny = false"


def test_a_metric_of_ones_own_may_have_no_number(clips, tmp_path, data):
    def hers(analysis, reference):
        return {0.5: None, 0.7: float("inf")}.get(analysis.metadata.settings["diarize"]["threshold"], 2)

    found = tried(
        clips[:1], {"diarize.threshold": [0.5, 0.6, 0.7]}, tmp_path, data, metric=hers, references=None
    )
    assert (
        [r.value for r in found.trials] == [None, 2, None]
        and found.best == {"diarize.threshold": 0.6}
        and found.metric == "hers"
    )


def test_points_are_each_combination_once():
    assert Counter(json.dumps(p) for p in grid({"a": [1, 2, 2], "b": [None, "x"]})) == Counter(
        json.dumps({"a": a, "b": b}) for a in (1, 2) for b in (None, "x")
    )


def test_a_search_draws_within_bounds():
    asked = search(
        {"n": Range(1, 5), "f": Range(0.1, 10.0, log=True), "s": Range(0.0, 1.0, step=0.25), "c": ["a", "b"]},
        25,
        seed=3,
    )
    points = [next(asked)]
    for _ in range(24): points.append(asked.send(None if len(points) % 5 == 0 else points[-1]["f"]))
    assert (
        {type(p["n"]) for p in points} == {int}
        and {p["n"] for p in points} <= {1, 2, 3, 4, 5}
        and {p["c"] for p in points} == {"a", "b"}
    )
    assert all(0.1 <= p["f"] <= 10 and p["s"] in (0, 0.25, 0.5, 0.75, 1) for p in points)
    with pytest.raises(StopIteration): asked.send(1.0)


# Pictures

def test_many_values_stand_by_their_size():
    assert sweep_plots.heights(["1", "2", "9"]) == {"1": 0, "2": 0.5, "9": 1}
    assert sweep_plots.heights([str(n * n) for n in range(11)])["25"] == 0.25 and sweep_plots.heights(
        ["auto"]
    ) == {"auto": 0.5}
    assert len(set(sweep_plots.heights([f"v{n}" for n in range(12)]).values())) == 12


@pytest.mark.parametrize("n", [2, 30])
def test_pictures_of_few_and_of_many(n):
    rows = tuple(Trial("a", {"x": x, "y": y, "z": "auto"}, x * y, 1) for x in range(n) for y in range(3))
    heat = sw.plot_heatmap(Sweep(rows, "wer"), "y", "x")
    assert [t.get_text() for t in heat.axes[0].texts] == (["0"] * 3 + ["0", "1", "2"] if n == 2 else [])
    assert heat._repr_png_()[:4] == b"\x89PNG"
    lines = sw.plot_parallel(Sweep(rows, "wer", True)).axes[0].lines
    assert len(lines) == 4 + 3 * n and sum(line.get_linewidth() == 3 for line in lines) == 1
