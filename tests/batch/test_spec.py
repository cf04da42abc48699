"""What a batch does with its sources: notebook, parameters, settings; and which work is the same work"""
import json
import shutil

import pytest

from batch_helpers import notebook, recordings
from ecg_audio_nb.batch.failures import BatchError
from ecg_audio_nb.batch.queue import Job, finish, claim, list_jobs, owner_name
from ecg_audio_nb.batch.spec import (
    BatchSpec,
    enqueue,
    job_notebook,
    job_parameters,
    kept_notebook,
    notebook_digest,
    packaged_notebooks,
    parameter_names,
    to_jobs,
)
from ecg_audio_nb.settings import SettingsError


def test_the_packages_notebooks_are_found_by_name():
    assert parameter_names(job_notebook("analyze"))[:2] == ["source", "output_dir"]
    assert packaged_notebooks() == ["analyze", "benchmark", "evaluate"]
    with pytest.raises(
        BatchError, match="analyse: no such notebook; give a path, or one of analyze, benchmark"
    ):
        job_notebook("analyse")
    with pytest.raises(BatchError, match="sweep: this notebook is no job for one recording.*papermill"):
        job_notebook("sweep")


def test_the_parameters_of_the_packages_notebook():
    given = job_parameters(BatchSpec(job_notebook("analyze"), "demo", {"export.formats": "json"}))
    assert given == {"output_dir": ".", "profile": "demo", "overrides": {"export.formats": "json"}}


def test_two_files_of_one_content_are_one_job_with_a_note(tmp_path, queue, store, sample):
    for name in ("a.mp4", "b.MP4"): shutil.copy(sample, tmp_path / name)
    spec = BatchSpec(job_notebook("analyze"), "demo", {"export.formats": "json"})
    jobs, notes = enqueue(queue, spec, [str(tmp_path / "a.mp4"), str(tmp_path / "b.MP4")], store)
    assert [j.name for j in jobs] == ["a"]
    assert notes == [
        f"note: {tmp_path}/b.MP4 is the same recording as {tmp_path}/a.mp4; it is processed once"
    ]


def test_a_job_is_made_of_a_source_and_a_copy_of_the_notebook(tmp_path, queue, store):
    [source], path = (
        recordings(tmp_path / "in", 1),
        notebook(tmp_path / "nb.ipynb", parameters="source = 1\nseed = 0"),
    )
    [job] = to_jobs(queue, BatchSpec(path, timeout=60, max_tries=2), [str(source)])
    assert (job.name, job.state, job.max_tries, job.task["timeout"]) == ("recording000", "queued", 2, 60)
    assert job.task["parameters"] == {"source": str(source), "seed": int(job.id[:8], 16)}
    enqueue(queue, BatchSpec(path), [str(source)], store)
    assert kept_notebook(queue, job.task["notebook"]).read_bytes() == path.read_bytes()


def test_a_done_job_whose_results_were_removed_runs_again(tmp_path, queue, store, inbox):
    spec = BatchSpec(notebook(tmp_path / "nb.ipynb"))
    enqueue(queue, spec, [str(inbox[0])], store)
    finish(queue, claim(queue, owner_name()))
    [job], _ = enqueue(queue, spec, [str(inbox[0])], store)
    assert isinstance(job, Job) and job.state == "queued"


def test_what_the_notebook_is_given(tmp_path):
    path = notebook(
        tmp_path / "nb.ipynb",
        parameters="source = 1\noverrides = None\nprofile = None\nlanguage = 'x'\nseed = {seconds}",
    )
    assert parameter_names(path) == ["source", "overrides", "profile", "language", "seed"]
    spec = BatchSpec(path, "demo", {"language": "en", "transcribe.language": "ko"})
    assert job_parameters(spec) == {
        "profile": "demo",
        "overrides": {"transcribe.language": "ko"},
        "language": "en",
    }


@pytest.mark.parametrize("given, cells, error, words", [
    ({"transcribe.engin": 1}, "source = 1\noverrides = 1", SettingsError, "transcribe.engine"),
    ({"transcribe.beam_size": 0}, "source = 1\noverrides = 1", SettingsError, "beam_size"),
    ({"engine": "whisper"}, "source = 1", BatchError, "takes no settings"),
    ({}, "path = 1", BatchError, "assigns no `source`")])
def test_a_wrong_plan_is_refused_before_the_work(tmp_path, queue, store, inbox, given, cells, error, words):
    spec = BatchSpec(notebook(tmp_path / "nb.ipynb", parameters=cells), None, given)
    with pytest.raises(error, match=words): enqueue(queue, spec, map(str, inbox), store)
    assert not list_jobs(queue)


def test_no_notebook_and_no_parameters_cell_are_named(tmp_path):
    with pytest.raises(BatchError, match="no such notebook"): job_notebook("nowhere.ipynb")
    (tmp_path / "a.ipynb").write_text("{}")
    with pytest.raises(BatchError, match="no notebook"): parameter_names(tmp_path / "a.ipynb")
    (tmp_path / "b.ipynb").write_text('{"cells": []}')
    with pytest.raises(BatchError, match="tagged `parameters`"): parameter_names(tmp_path / "b.ipynb")


def test_the_same_work_is_one_job_and_other_work_another(tmp_path, queue, store, inbox):
    path = notebook(tmp_path / "nb.ipynb", parameters="source = 1\noverrides = None\nprofile = None")
    shutil.copy(inbox[0], tmp_path / "in/copy.wav")
    sources = [*map(str, inbox), str(tmp_path / "in/copy.wav")]
    jobs, notes = enqueue(queue, BatchSpec(path), sources, store)
    assert len(jobs) == 4 and "the same recording" in notes[0]
    assert [j.id for j in enqueue(queue, BatchSpec(path), sources, store)[0]] == [j.id for j in jobs]
    for other in (
        BatchSpec(path, "demo"),
        BatchSpec(path, None, {"voice.onset": 0.6}),
        BatchSpec(notebook(tmp_path / "c.ipynb", "1 + 1", parameters="source = 1\noverrides = None")),
    ):
        assert not {j.id for j in enqueue(queue, other, sources, store)[0]} & {j.id for j in jobs}
    same = {
        j.id
        for j in enqueue(
            queue, BatchSpec(path, None, {"runtime.threads": 1, "fetch.timeout": 5}), sources, store
        )[0]
    }
    assert not same & {j.id for j in jobs}, (
        "settings that change no result are still parameters of the notebook"
    )
    inbox[0].write_text("changed")
    assert len({j.id for j in enqueue(queue, BatchSpec(path), sources, store)[0]} - {j.id for j in jobs}) == 1


def test_outputs_of_a_notebook_do_not_make_it_another(tmp_path):
    path = notebook(tmp_path / "a.ipynb")
    first, nb = notebook_digest(path), json.loads(path.read_text())
    nb["cells"][1] |= {
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}],
        "execution_count": 7,
    }
    path.write_text(json.dumps(nb))
    assert notebook_digest(path) == first


def test_a_notebook_without_a_kernel_is_refused_before_the_work(tmp_path, queue, store, inbox):
    path = notebook(tmp_path / "nb.ipynb")
    nb = json.loads(path.read_text())
    nb["metadata"] = {}
    path.write_text(json.dumps(nb))
    with pytest.raises(BatchError, match="save it once"):
        enqueue(queue, BatchSpec(path), map(str, inbox), store)
