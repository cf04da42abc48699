"""The explorer, driven in a real JupyterLab in Chromium: as a researcher would, with mouse and keys"""
import json, re, shutil, sys, time, urllib.request
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from browsers import chromium_browser
from lab import lab, open_desk, until

from ecg_audio_nb.research.evaluate import read_transcript, read_turns
from ecg_audio_nb.research.explore import Session, ExploreError, Explorer, at_once, controls, explore, take
from ecg_audio_nb.pipeline import ArtifactHook, analyze
from ecg_audio_nb.settings import known_keys, load_settings

SAMPLE = files("ecg_audio_nb") / "assets/sample.mp4"


# Without a browser

@pytest.fixture(scope="module")
def given(tmp_path_factory): return {"engine": "whisper", "runtime.data_dir": str(tmp_path_factory.mktemp("data"))}


@pytest.fixture
def explorer(given, tmp_path):
    shutil.rmtree(Path(given["runtime.data_dir"], "drafts"), ignore_errors=True) # of the test before
    return explore(str(SAMPLE), given, folder=tmp_path / "references")


def test_every_setting_of_an_analysis_has_a_control():
    shown = {c.key for cs in controls().values() for c in cs}
    assert {k for k in known_keys() if k.split(".")[0] in controls() and k != "export.formats"} == shown


def test_what_runs_at_once_runs_no_model(given):
    first = take(str(SAMPLE), load_settings(given))
    other = {"diarize.threshold": 0.5, "diarize.num_speakers": 2, "diarize.min_turn": 0.5, "segments.max_pause": 0.2, "segments.max_duration": 2.0,
             "export.silence_marks": True, "acoustics.f0_floor": 80.0}
    assert all(at_once(k, first.analysis) for k in other) and not at_once("voice.onset", first.analysis)
    for key, value in other.items():
        assert take(str(SAMPLE), load_settings(given | {key: value})).made.keys() <= {"acoustics"}, key
    assert not any(at_once(c.key, first.analysis) for stage in ("voice", "transcribe", "align") for c in controls()[stage])
    assert not any(at_once(f"diarize.{name}", first.analysis) for name in ("enabled", "engine", "model"))


def test_what_is_turned_while_it_runs_is_run_once_more(explorer):
    for n in (1, 2, 3, 2): explorer.set({"diarize.num_speakers": n})
    explorer.wait()
    assert len(explorer.analysis.speakers) == 2 and explorer.desk.takes["A"].settings.diarize.num_speakers == 2


def test_a_run_that_fails_says_why_and_leaves_what_was_there(explorer):
    before = explorer.analysis
    explorer.set({"diarize.min_speakers": 3, "diarize.max_speakers": 2})
    explorer.wait()
    assert "diarize.min_speakers = 3 is more than" in explorer.view.status and explorer.analysis is before


def test_settings_do_not_touch_what_was_corrected(explorer):
    explorer.heard({"kind": "correct", "layer": "A", "act": "turn", "number": 0, "start": 0.5, "end": 3.0, "speaker": "Ben"})
    turns = explorer.analysis.turns
    explorer.show("A")
    explorer.set({"diarize.num_speakers": 1})
    explorer.wait()
    assert explorer.desk.layers()["R"].turns == turns and len(explorer.analysis.speakers) == 1
    assert re.search(r"DER [1-9]", explorer.view.data["layers"]["A"]["line"])


def test_corrections_survive_the_kernel_and_are_one_s_own_to_replace(explorer, given, tmp_path):
    explorer.heard({"kind": "correct", "layer": "A", "act": "word", "number": 0, "word": "Hello", "start": 0.7, "end": 1.0, "speaker": ""})
    again = explore(str(SAMPLE), given, folder=tmp_path / "references")
    assert again.desk.layers()["R"].words[0].word == "Hello" and again.desk.unsaved
    again.save()
    third = explore(str(SAMPLE), given, folder=tmp_path / "references")
    third.heard({"kind": "correct", "layer": "R", "act": "word", "number": 0, "word": "Bye", "start": 0.7, "end": 1.0, "speaker": ""})
    assert [p.suffix for p in third.save()] == [".stm", ".rttm", ".json"]
    assert read_transcript(tmp_path / "references/sample.stm")[0].text.startswith("Bye ")


def test_somebody_s_reference_is_not_written_over(explorer, tmp_path):
    (tmp_path / "references").mkdir()
    (tmp_path / "references/sample.rttm").write_text("mine")
    explorer.heard({"kind": "correct", "layer": "A", "act": "rename", "number": 0, "word": "", "start": 0, "end": 1, "speaker": "Ben", "of": "SPEAKER_00"})
    explorer.heard({"kind": "save"})
    assert "stands there already" in explorer.view.status and (tmp_path / "references/sample.rttm").read_text() == "mine"


@pytest.mark.parametrize("message", [{}, {"kind": "dance"}, {"kind": "show"}, {"kind": "show", "layer": "Z"}, {"kind": "correct", "layer": "A", "act": "sing", "start": 0, "end": 1},
                                     {"kind": "correct", "layer": "A", "act": "word", "number": 9999, "word": "x", "start": 0, "end": 1},
                                     {"kind": "correct", "layer": "A", "act": "add-turn", "number": None, "start": 2, "end": 1, "speaker": "A"}])
def test_no_message_of_a_page_breaks_the_explorer(explorer, message):
    before = explorer.analysis
    explorer.heard(message)
    assert explorer.analysis == before


def test_sound_is_what_was_heard(explorer):
    sent = []
    explorer.view.send = lambda message, buffers=None: sent.append((message, buffers))
    explorer.heard({"kind": "sound", "chunk": 1, "seconds": 10})
    kept = ArtifactHook()
    analyze(SAMPLE, {"engine": "whisper", "transcribe.enabled": False, "diarize.enabled": False}, kept)
    pcm = np.frombuffer(sent[0][1][0], "<i2")
    assert len(pcm) == 160_000 and np.abs(pcm / 32767 - kept.audio.samples[160_000:320_000]).max() < 1e-4


def test_without_the_extra_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ExploreError, match="pip install 'ecg-audio-nb\\[lab\\]'"): explore(str(SAMPLE))


def test_text_of_a_recording_is_no_markup(given):
    evil = "<img src=x onerror=alert(1)>"
    first = take(str(SAMPLE), load_settings(given))
    named = replace(first, analysis=replace(first.analysis, metadata=replace(first.analysis.metadata, filename=evil)))
    desk = Session(str(SAMPLE), {"A": named}, {"A": load_settings(given | {"transcribe.hotwords": evil})})
    assert evil not in Explorer(desk)._picture()["text/html"]


# In JupyterLab

@pytest.fixture(scope="module")
def served(tmp_path_factory):
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed: the explorer is not driven")
    with lab(tmp_path_factory.mktemp("home")) as found: yield found


@pytest.fixture(scope="module")
def browser():
    with chromium_browser("the explorer is not driven", "--mute-audio") as found: yield found


def turns(page, layer="A"): return page.eval_on_selector_all(f".ecg-explore .turn[data-layer={layer}]", "found => found.map(t => t.dataset.who)")


@pytest.mark.slow
def test_the_desk_in_jupyterlab(browser, served, tmp_path):
    address, folder = served
    page, faults = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page(), []
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda e: faults.append(str(e)))
    view = open_desk(page, address)
    assert page.locator(".ecg-picture").is_hidden() and "87 words · 3 speakers" in view.locator(".summary").inner_text()
    assert len(set(turns(page))) == 3

    # a slider is moved, and lanes change; the models do not run again
    page.locator(".widget-slider:has-text('threshold') .noUi-handle").focus()
    for _ in range(5): page.keyboard.press("PageDown")
    until(page, "new Set([...view.querySelectorAll('.turn[data-layer=A]')].map(t => t.dataset.who)).size == 2")
    until(page, "view.querySelector('.status').textContent == 'no model had to run'")

    # two settings side by side, differences marked
    page.get_by_role("button", name="compare").click()
    until(page, "view.dataset.shown == 'B'")
    number = page.locator(".widget-text:has-text('num_speakers') input")
    number.fill("3")
    number.press("Enter")
    until(page, "new Set([...view.querySelectorAll('.turn[data-layer=B]')].map(t => t.dataset.who)).size == 3")
    assert page.locator(".ecg-explore .moved").count() and view.locator(".w.changed").count()
    assert re.search(r"differ in [1-9]\d* words and [1-9]", view.locator(".differences").inner_text())

    # a word is clicked, and plays from its beginning to its end
    word = view.locator(".w", has_text="softly").first
    word.click()
    until(page, "view.dataset.playing == 'true'")
    until(page, "view.dataset.playing == 'false'")
    span = [float(x) for x in re.findall(r"([\d.]+) to ([\d.]+) s", view.locator(".about").inner_text())[0]]
    assert abs(float(view.locator(".now").inner_text().split(":")[1]) - span[1]) < 0.05 and span[1] > span[0]

    # a selection plays
    track = view.locator(".track")
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 40, steps=4)
    page.mouse.up()
    until(page, "view.dataset.playing == 'true'")
    assert "selection" in view.locator(".about").inner_text()
    page.keyboard.press("Escape")
    until(page, "view.dataset.playing == 'false'")

    # a word and a speaker are corrected, and saved
    word.click()
    view.locator("form input[name=word]").fill("And")
    view.locator("form input[name=word]").press("Enter")
    until(page, "view.dataset.shown == 'R'")
    view.locator(".w", has_text="good").first.click()
    view.locator("form input[name=speaker]").fill("Ben")
    view.get_by_role("button", name="everywhere").click()
    until(page, "[...view.querySelectorAll('.turn[data-layer=R]')].some(t => t.dataset.who == 'Ben')")
    view.locator(".turn[data-layer=R]").last.click()
    view.locator("form input[name=speaker]").fill("Eve")
    view.locator("form input[name=speaker]").press("Enter")
    until(page, "[...view.querySelectorAll('.turn[data-layer=R]')].at(-1).dataset.who == 'Eve'")
    view.locator(".save").click()
    until(page, "view.querySelector('.status').textContent.startsWith('saved references/talk.stm')")
    said, spoke = read_transcript(folder / "references/talk.stm"), read_turns(folder / "references/talk.rttm")
    assert " And " in " ".join(u.text for u in said) and spoke[0].speaker_id == "Ben" and spoke[-1].speaker_id == "Eve"
    assert re.search(r"A .* WER 1\.\d % · DER \d", view.locator(".summary").inner_text())

    # undone
    view.get_by_role("button", name="undo").click()
    until(page, "[...view.querySelectorAll('.turn[data-layer=R]')].at(-1).dataset.who != 'Eve'")

    # what was found is taken along
    view.locator("summary").click()
    view.get_by_role("button", name="A", exact=True).click()
    until(page, "view.querySelector('pre[data-name=\"settings.ini\"]').textContent == '[mine]\\nengine = whisper\\ndiarize.threshold = 0.35'")
    assert "'diarize.threshold': 0.35" in view.locator("pre[data-name=code]").inner_text()
    assert '"diarize.threshold": 0.35' in view.locator("pre[data-name=papermill]").inner_text()
    page.screenshot(path=tmp_path / "live.png")
    assert not faults

    # saved, and opened again without its kernel: a picture, and no broken view
    page.wait_for_timeout(3000) # the picture follows when nobody turns anything
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 30
    while not any("text/html" in o.get("data", {}) for c in json.loads((folder / "desk.ipynb").read_text())["cells"][1:] for o in c["outputs"]):
        assert time.monotonic() < deadline, "the notebook was not saved"
        time.sleep(0.2)
    for kernel in json.loads(urllib.request.urlopen(address.format("api/kernels")).read()):
        urllib.request.urlopen(urllib.request.Request(address.format(f"api/kernels/{kernel['id']}"), method="DELETE"))
    page.reload()
    page.locator(".ecg-picture img").first.wait_for()
    page.wait_for_timeout(1000)
    assert "diarize.threshold = 0.35" in page.locator(".ecg-picture").inner_text()
    assert page.locator(".ecg-picture").is_visible() and not page.get_by_text("model not found").is_visible()
    page.screenshot(path=tmp_path / "still.png")
