"""The explorer, driven in a real JupyterLab in Chromium: as a researcher would, with mouse and keys"""
import json, re, shutil, sys, time, urllib.request
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from browsers import chromium_browser
from lab import lab, open_desk, until

from ecg_audio_nb.research import explore as ex
from ecg_audio_nb.research.explore import BackgroundWorker, ExploreError, Explorer, Panel, explore
from ecg_audio_nb.research.references import read_transcript, read_turns
from ecg_audio_nb.research.session import Session, controls, is_instant, run_analysis
from ecg_audio_nb.pipeline import ArtifactHook, analyze
from ecg_audio_nb.settings import known_keys, load_settings

SAMPLE = files("ecg_audio_nb") / "assets/sample.mp4"


# Without a browser

@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return {"engine": "whisper", "runtime.data_dir": str(tmp_path_factory.mktemp("data"))}


@pytest.fixture
def explorer(given, tmp_path):
    shutil.rmtree(Path(given["runtime.data_dir"], "drafts"), ignore_errors=True) # of the test before
    return explore(str(SAMPLE), given, folder=tmp_path / "references")


def test_every_setting_of_an_analysis_has_a_control():
    shown = {c.key for cs in controls().values() for c in cs}
    of_files = {"export.formats", "export.style", "export.bom"}
    assert {k for k in known_keys() if k.split(".")[0] in controls()} - of_files == shown


def test_what_runs_at_once_runs_no_model(given):
    first = run_analysis(str(SAMPLE), load_settings(given))
    other = {
        "diarize.threshold": 0.5,
        "diarize.num_speakers": 2,
        "diarize.min_turn": 0.5,
        "segments.max_pause": 0.2,
        "segments.max_duration": 2.0,
        "export.silence_marks": True,
        "acoustics.f0_floor": 80.0,
    }
    assert all(is_instant(k, first.analysis) for k in other) and not is_instant("voice.onset", first.analysis)
    for key, value in other.items():
        assert run_analysis(str(SAMPLE), load_settings(given | {key: value})).stage_seconds.keys() <= {
            "acoustics", "adapt"
        }, key
    assert not any(
        is_instant(c.key, first.analysis)
        for stage in ("voice", "transcribe", "align")
        for c in controls()[stage]
    )
    assert not any(is_instant(f"diarize.{name}", first.analysis) for name in ("enabled", "engine", "model"))


def test_what_is_turned_while_it_runs_is_run_once_more(explorer):
    for n in (1, 2, 3, 2): explorer.set({"diarize.num_speakers": n})
    explorer.wait()
    assert (
        len(explorer.analysis.speakers) == 2 and explorer.session.runs["A"].settings.diarize.num_speakers == 2
    )


def test_a_run_that_fails_says_why_and_leaves_what_was_there(explorer):
    before = explorer.analysis
    explorer.set({"diarize.min_speakers": 3, "diarize.max_speakers": 2})
    explorer.wait()
    assert "diarize.min_speakers = 3 is more than" in explorer.view.status and explorer.analysis is before


def test_settings_do_not_touch_what_was_corrected(explorer):
    explorer.on_message(
        {
            "kind": "correct",
            "layer": "A",
            "act": "turn",
            "number": 0,
            "start": 0.5,
            "end": 3.0,
            "speaker": "Ben",
        }
    )
    turns = explorer.analysis.turns
    explorer.show("A")
    explorer.set({"diarize.num_speakers": 1})
    explorer.wait()
    assert explorer.session.layers()["R"].turns == turns and len(explorer.analysis.speakers) == 1
    assert re.search(r"DER [1-9]", explorer.view.data["layers"]["A"]["summary"])


def test_corrections_survive_the_kernel_and_are_one_s_own_to_replace(explorer, given, tmp_path):
    explorer.on_message(
        {
            "kind": "correct",
            "layer": "A",
            "act": "word",
            "number": 0,
            "word": "Hello",
            "start": 0.7,
            "end": 1.0,
            "speaker": "",
        }
    )
    again = explore(str(SAMPLE), given, folder=tmp_path / "references")
    assert again.session.layers()["R"].words[0].word == "Hello" and again.session.unsaved
    again.save()
    third = explore(str(SAMPLE), given, folder=tmp_path / "references")
    third.on_message(
        {
            "kind": "correct",
            "layer": "R",
            "act": "word",
            "number": 0,
            "word": "Bye",
            "start": 0.7,
            "end": 1.0,
            "speaker": "",
        }
    )
    assert [p.suffix for p in third.save()] == [".stm", ".rttm", ".json"]
    assert read_transcript(tmp_path / "references/sample.stm")[0].text.startswith("Bye ")


def test_somebody_s_reference_is_not_written_over(explorer, tmp_path):
    (tmp_path / "references").mkdir()
    (tmp_path / "references/sample.rttm").write_text("mine")
    explorer.on_message(
        {
            "kind": "correct",
            "layer": "A",
            "act": "rename",
            "number": 0,
            "word": "",
            "start": 0,
            "end": 1,
            "speaker": "Ben",
            "of": "SPEAKER_00",
        }
    )
    explorer.on_message({"kind": "save"})
    assert (
        "stands there already" in explorer.view.status
        and (tmp_path / "references/sample.rttm").read_text() == "mine"
    )


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"kind": "dance"},
        {"kind": "show"},
        {"kind": "show", "layer": "Z"},
        {"kind": "correct", "layer": "A", "act": "sing", "start": 0, "end": 1},
        {"kind": "correct", "layer": "A", "act": "word", "number": 9999, "word": "x", "start": 0, "end": 1},
        {
            "kind": "correct",
            "layer": "A",
            "act": "add-turn",
            "number": None,
            "start": 2,
            "end": 1,
            "speaker": "A",
        },
    ],
)
def test_no_message_of_a_page_breaks_the_explorer(explorer, message):
    before = explorer.analysis
    explorer.on_message(message)
    assert explorer.analysis == before


def test_sound_is_what_was_heard(explorer):
    sent = []
    explorer.view.send = lambda message, buffers=None: sent.append((message, buffers))
    explorer.on_message({"kind": "sound", "chunk": 1, "seconds": 10})
    kept = ArtifactHook()
    analyze(SAMPLE, {"engine": "whisper", "transcribe.enabled": False, "diarize.enabled": False}, kept)
    pcm = np.frombuffer(sent[0][1][0], "<i2")
    assert len(pcm) == 160_000 and np.abs(pcm / 32767 - kept.audio.samples[160_000:320_000]).max() < 1e-4


def test_without_the_extra_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ExploreError, match="pip install 'ecg-audio-nb\\[lab\\]'"): explore(str(SAMPLE))


def test_text_of_a_recording_is_no_markup(given):
    evil = "<img src=x onerror=alert(1)>"
    first = run_analysis(str(SAMPLE), load_settings(given))
    named = replace(
        first, analysis=replace(first.analysis, metadata=replace(first.analysis.metadata, filename=evil))
    )
    session = Session(str(SAMPLE), {"A": named}, {"A": load_settings(given | {"transcribe.hotwords": evil})})
    assert evil not in Explorer(session)._picture()["text/html"]


def test_the_session_of_a_cell_follows_the_page(given, tmp_path):
    "What a user does with the mouse, as messages: compare, change settings, correct, save, open again"
    explorer = explore(str(SAMPLE), given, folder=tmp_path, references=SAMPLE.parent)
    assert re.search(r"WER \d.* DER \d", explorer.view.data["layers"]["A"]["summary"])
    explorer.compare()
    explorer.set({"diarize.num_speakers": 1})
    explorer.wait()
    assert (explorer.slot, len(explorer.analysis.speakers), list(explorer.view.data["layers"])) == (
        "B",
        1,
        ["A", "B"],
    )
    assert "differ in" in explorer.view.data["differences"]
    explorer.set({"transcribe.beam_size": 0})
    assert explorer.view.status.startswith("transcribe.beam_size = 0:")
    explorer.set({"voice.onset": 0.6})
    assert explorer.pending == {"voice.onset": "B"} and "press “run”" in explorer.view.status
    explorer.on_message({"kind": "show", "layer": "A"})
    n, almost = next((n, w) for n, w in enumerate(explorer.analysis.words) if w.word == "Almost,")
    form = {
        "act": "word",
        "number": n,
        "word": "Nearly,",
        "start": round(almost.start_time, 2),
        "end": round(almost.end_time, 2),
        "speaker": "",
    }
    explorer.on_message({"kind": "correct", "layer": "A", **form})
    assert (explorer.session.shown, explorer.analysis.words[n].word) == ("R", "Nearly,")
    explorer.on_message({"kind": "save"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sample.json", "sample.rttm", "sample.stm"]
    again = explore(str(SAMPLE), given, folder=tmp_path)
    assert (list(again.view.data["layers"]), again.session.layers()["R"].words[n].word, again.overwrite) == (
        ["A", "R"],
        "Nearly,",
        True,
    )


def test_a_worker_works_once_on_a_name():
    done = []
    worker = BackgroundWorker(str.upper, lambda *result: done.append(result))
    worker.request("a")
    worker.wait()
    assert done == [("a", "A")]


def test_controls_show_settings_and_report_what_the_user_changes(given):
    changes = []
    panel = Panel(load_settings(given), lambda *change: changes.append(change))
    threshold = panel.widgets["diarize.threshold"]
    assert (type(threshold).__name__, threshold.min, threshold.max, threshold.value) == (
        "FloatSlider",
        -1,
        1,
        0.6,
    )
    assert panel.widgets["diarize.enabled"].value is True
    threshold.value = 0.5
    panel.show(load_settings({"diarize.threshold": 0.9, "transcribe.beam_size": 3}))
    assert [
        panel.widgets[k].value for k in ("diarize.threshold", "transcribe.beam_size", "diarize.num_speakers")
    ] == [0.9, 3, ""]
    assert changes == [("diarize.threshold", "0.5")]


def test_a_setting_without_a_value_reads_as_what_it_means(given):
    """`auto` where the toolkit chooses, `off` where None turns something off; an engine names the one it
    follows"""
    changes = []
    panel = Panel(load_settings({"engine": "whisper"}), lambda *change: changes.append(change))
    assert [
        panel.widgets[k].placeholder
        for k in ("diarize.num_speakers", "transcribe.model", "diarize.voices", "transcribe.hotwords")
    ] == ["auto", "auto", "off", "empty"]
    assert (
        panel.widgets["transcribe.engine"].options[0] == ("whisper (default)", "none")
        and panel.widgets["transcribe.engine"].label == "whisper (default)"
    )
    assert (
        panel.widgets["diarize.min_turn"].description == "min_turn (s)"
        and panel.widgets["acoustics.f0_floor"].description == "f0_floor (Hz)"
    )
    number = panel.widgets["diarize.num_speakers"]
    number.value = "2"
    number.value = "auto"
    number.value = ""
    assert changes == [("diarize.num_speakers", text) for text in ("2", "none", "none")]
    assert load_settings(dict(changes[-1:])).diarize.num_speakers is None


def test_settings_as_code_keep_the_profile(given):
    explorer = explore(
        str(SAMPLE),
        {"runtime.data_dir": given["runtime.data_dir"], "diarize.num_speakers": 2},
        profile="demo",
    )
    code = explorer.view.data["snippets"]["code"]
    assert (
        "'diarize.num_speakers': 2" in code and code.endswith("profile='demo')") and "'profile'" not in code
    )
    assert '"profile": "demo"' in explorer.view.data["snippets"]["papermill"]


def test_a_run_that_raises_is_a_line_of_status(explorer, monkeypatch):
    def broken(*_): raise RuntimeError("no memory")
    monkeypatch.setattr(ex, "run_analysis", broken)
    explorer.run()
    explorer.wait()
    assert explorer.view.status == "RuntimeError: no memory"


# In JupyterLab

@pytest.fixture(scope="module")
def served(tmp_path_factory):
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed: the explorer is not driven")
    with lab(tmp_path_factory.mktemp("home")) as found: yield found


@pytest.fixture(scope="module")
def browser():
    with chromium_browser("the explorer is not driven", "--mute-audio") as found: yield found


def turns(page, layer="A"):
    return page.eval_on_selector_all(
        f".ecg-explore .turn[data-layer={layer}]", "found => found.map(t => t.dataset.who)"
    )


@pytest.mark.slow
def test_the_desk_in_jupyterlab(browser, served, tmp_path):
    address, folder = served
    page, faults = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page(), []
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda e: faults.append(str(e)))
    view = open_desk(page, address)
    assert (
        page.locator(".ecg-picture").is_hidden()
        and "87 words · 3 speakers" in view.locator(".summary").inner_text()
    )
    assert len(set(turns(page))) == 3

    # a slider is moved, and lanes change; the models do not run again
    page.locator(".widget-slider:has-text('threshold') .noUi-handle").locator("visible=true").focus()
    for _ in range(5): page.keyboard.press("PageDown")
    until(
        page, "new Set([...view.querySelectorAll('.turn[data-layer=A]')].map(t => t.dataset.who)).size == 2"
    )
    until(page, "view.querySelector('.status').textContent == 'no model ran'")

    # two settings side by side, differences marked
    page.get_by_role("button", name="compare").click()
    until(page, "view.dataset.shown == 'B'")
    number = page.locator(".widget-text:has-text('num_speakers') input")
    number.fill("3")
    number.press("Enter")
    until(
        page, "new Set([...view.querySelectorAll('.turn[data-layer=B]')].map(t => t.dataset.who)).size == 3"
    )
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
    assert (
        " And " in " ".join(u.text for u in said)
        and spoke[0].speaker_id == "Ben"
        and spoke[-1].speaker_id == "Eve"
    )
    assert re.search(r"A .* WER 1\.\d % · DER \d", view.locator(".summary").inner_text())

    # undone
    view.get_by_role("button", name="undo").click()
    until(page, "[...view.querySelectorAll('.turn[data-layer=R]')].at(-1).dataset.who != 'Eve'")

    # what was found is taken along
    view.locator("summary").click()
    view.get_by_role("button", name="A", exact=True).click()
    until(
        page,
        (
            "view.querySelector('pre[data-name=\"settings.ini\"]').textContent == '[mine]\\nengine = "
            "whisper\\ndiarize.threshold = 0.35'"
        ),
    )
    assert "'diarize.threshold': 0.35" in view.locator("pre[data-name=code]").inner_text()
    assert '"diarize.threshold": 0.35' in view.locator("pre[data-name=papermill]").inner_text()
    cut_off = """() => { const right = document.querySelector('.jupyter-widgets.widget-accordion').getBoundingClientRect().right
        return [...document.querySelectorAll('.widget-accordion input, .widget-accordion select')].filter(e => e.offsetParent && e.getBoundingClientRect().right > right).length }"""
    assert page.evaluate(cut_off) == 0
    page.screenshot(path=tmp_path / "live.png")
    assert not faults

    # saved, and opened again without its kernel: a picture, and no broken view
    page.wait_for_timeout(3000) # the picture follows when nobody turns anything
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 30
    while not any(
        "text/html" in o.get("data", {})
        for c in json.loads((folder / "desk.ipynb").read_text())["cells"][1:]
        for o in c["outputs"]
    ):
        assert time.monotonic() < deadline, "the notebook was not saved"
        time.sleep(0.2)
    for kernel in json.loads(urllib.request.urlopen(address.format("api/kernels")).read()):
        urllib.request.urlopen(
            urllib.request.Request(address.format(f"api/kernels/{kernel['id']}"), method="DELETE")
        )
    page.reload()
    page.locator(".ecg-picture img").first.wait_for()
    page.wait_for_timeout(1000)
    assert "diarize.threshold = 0.35" in page.locator(".ecg-picture").inner_text()
    assert page.locator(".ecg-picture").is_visible() and not page.get_by_text("model not found").is_visible()
    page.screenshot(path=tmp_path / "still.png")


def test_words_stand_together_as_their_script_wants():
    from ecg_audio_nb.research.session import result_layer
    from ecg_audio_nb.schema import Analysis, Metadata, Segment, Word

    texts = ["今日は", "Open", "AI", "です。"]
    words = tuple(Word(text, i, i + 1, speaker_id="A") for i, text in enumerate(texts))
    segment = Segment(0, 0, 4, speaker_id="A", text="今日はOpen AIです。", words=words)
    analysis = Analysis((segment,), (), (), Metadata("a.wav", duration=4, language_detected="ja"))
    drawn = result_layer(analysis, {"A": "#000"}, "")["words"]
    assert "".join(w["space"] + w["text"] for w in drawn) == segment.text
