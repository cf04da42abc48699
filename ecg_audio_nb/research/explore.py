"""Tune, play, compare and correct a recording in JupyterLab: `explore("talk.mp4")` as a cell's value

The explorer shows waveform, speaker lanes, words, level and F0, with every setting beside them. Settings that
need no model take effect at once, the others with `run`. `research.session` holds what the widgets show; this
module holds the widgets: the view is `assets/explore.js`, carried by anywidget, the controls are ipywidgets.
Analyses run in a thread, so sound plays and sliders move meanwhile; their results are drawn in the kernel's
own loop, never in the middle of a cell. Sound is sent as it is played. It needs the extra `lab`.

Guide: https://ecg-audio.github.io/ecg_audio_nb/guides/explorer.html"""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ecg_audio_nb.audio.fetch import source_stem
from ecg_audio_nb.core.extras import require
from ecg_audio_nb.pipeline import StageEvent
from ecg_audio_nb.research.references import find_references
from ecg_audio_nb.research.session import (
    CONTROL_STAGES,
    Control,
    Session,
    controls,
    correct,
    find_draft,
    is_instant,
    is_own_reference,
    run_analysis,
    save_corrections,
    save_draft,
    static_html,
    view_state,
)
from ecg_audio_nb.results.corrections import CorrectionError, Draft
from ecg_audio_nb.results.cues import ExportError
from ecg_audio_nb.results.report import lane_data
from ecg_audio_nb.schema import Analysis
from ecg_audio_nb.settings import Settings, SettingsError, as_text, format_value, load_settings

__all__ = ["ExploreError", "Panel", "BackgroundWorker", "Explorer", "explore", "Session", "static_html"]

PICTURE_DELAY = 2  # seconds without a change after which the static picture, which is slow, is drawn again
PANEL_WIDTH = 400  # pixels
LABEL_WIDTH = 190  # pixels of a control's name: the longest has 27 characters

_log = logging.getLogger("ecg_audio_nb.research.explore")


class ExploreError(ValueError):
    "A layer that does not exist, or a missing extra `lab`"


def _need(module):
    return require(module, "lab", "the explorer needs", ExploreError)


# Controls


def _widget(
    control: Control,
    text: str,  # the setting's value as `as_text` spells it
    inherited: str = "auto",  # what an engine of `None` stands for: the engine of all stages
):
    "Make the ipywidget of a control"
    ipw = _need("ipywidgets")
    common = dict(
        description=control.label,
        tooltip=control.hint,
        layout=ipw.Layout(width="auto"),
        style={"description_width": f"{LABEL_WIDTH}px"},
    )
    if control.kind == "check":
        return ipw.Checkbox(text == "true", indent=True, **common)
    if control.kind == "choice":
        return ipw.Dropdown(options=_options(control, inherited), value=text, **common)
    if control.kind == "text":
        value = "" if text == "none" else text
        return ipw.Text(value, continuous_update=False, placeholder=control.none_label, **common)
    if control.kind == "number":
        return _number_box(control, text, common)
    return _slider(control, text, common)


def _options(control, inherited):
    "Pairs of label and value of a list; `None` is shown by what it stands for"
    none_label = f"{inherited} (default)" if control.key.endswith(".engine") else control.none_label
    return [(none_label if option == "none" else option, option) for option in control.options]


def _number_box(control, text, common):
    ipw = _need("ipywidgets")
    minimum = -1e9 if control.minimum is None else control.minimum
    maximum = 1e9 if control.maximum is None else control.maximum
    if control.is_integer:
        return ipw.BoundedIntText(int(text), min=minimum, max=maximum, step=1, **common)
    return ipw.BoundedFloatText(float(text), min=minimum, max=maximum, step=0.05, **common)


def _slider(control, text, common):
    ipw = _need("ipywidgets")
    if control.is_integer:
        return ipw.IntSlider(int(text), control.minimum, control.maximum, continuous_update=False, **common)
    step = 0.01 if control.maximum - control.minimum <= 2 else 1
    return ipw.FloatSlider(
        float(text),
        min=control.minimum,
        max=control.maximum,
        step=step,
        readout_format=".2f",
        continuous_update=False,
        **common,
    )


def _setting_text(control, value):
    "Return a widget's value as `load_settings` takes it; what a box shows for `None` means `None`"
    if isinstance(value, float):
        return f"{value:g}"
    text = format_value(value)
    is_none = control.kind == "text" and text.strip().lower() in ("", control.none_label)
    return "none" if is_none else text


class Panel:
    "The controls of all settings, by stage"

    def __init__(
        self,
        settings: Settings,
        on_change: Callable[
            [str, str], None
        ],  # called with a setting's dotted name and its new value as text
    ):
        ipw, values, by_stage = _need("ipywidgets"), as_text(settings), controls()
        self.on_change, self.is_updating = on_change, False
        self.controls = {c.key: c for stage in by_stage.values() for c in stage}
        self.widgets = {key: _widget(c, values[key], settings.engine) for key, c in self.controls.items()}
        for key, widget in self.widgets.items():
            widget.observe(lambda change, key=key: self._changed(key, change["new"]), "value")
        boxes = [ipw.VBox([self.widgets[c.key] for c in stage]) for stage in by_stage.values()]
        self.box = ipw.Accordion(boxes, titles=tuple(by_stage))
        self.box.selected_index = CONTROL_STAGES.index("diarize")

    def _changed(self, key, value):
        if not self.is_updating:
            self.on_change(key, _setting_text(self.controls[key], value))

    def show(self, settings: Settings):
        "Set all controls to these settings, without calling `on_change`"
        values, self.is_updating = as_text(settings), True
        try:
            for key, widget in self.widgets.items():
                self._set(key, widget, values[key])
        finally:
            self.is_updating = False

    def _set(self, key, widget, text):
        kind = self.controls[key].kind
        if kind == "check":
            widget.value = text == "true"
        elif kind == "text":
            widget.value = "" if text == "none" else text
        else:
            widget.value = type(widget.value)(text)


# Work in the background


class BackgroundWorker:
    "Works on names in a thread; a name that is requested again before its turn is worked on once"

    def __init__(
        self,
        work: Callable[[str], Any],  # called in the thread
        on_done: Callable[[str, Any], None],  # called with name and result, in the kernel's loop or by `wait`
    ):
        self.work, self.on_done, self.requested, self.results = work, on_done, {}, []
        self.thread, self.lock = None, threading.Lock()
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            self.loop = None

    def request(self, name: str):
        with self.lock:
            self.requested[name] = True
            if self.thread:
                return
            self.thread = threading.Thread(target=self._run, daemon=True)
            self.thread.start()

    def _next(self):
        with self.lock:
            if self.requested:
                return self.requested.popitem()[0]
            self.thread = None

    def _run(self):
        while name := self._next():
            self.results.append((name, self.work(name)))
            if self.loop and not self.loop.is_closed():
                self.loop.call_soon_threadsafe(self.finish)

    def finish(self):
        "Hand on the results that are there"
        while self.results:
            self.on_done(*self.results.pop(0))

    def wait(self):
        "Wait until nothing is left to do"
        while thread := self.thread:
            thread.join()
        self.finish()


def _describe_stages(stage_seconds):
    if not stage_seconds.keys() - {"adapt", "quality"}:  # these measure, and follow every change of turns
        return "no model ran"
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stage_seconds.items())
    return f"computed: {stages}" + ("" if len(stage_seconds) > 5 else "; the rest from checkpoints")


def _sound_chunk(audio, message):
    "Samples of one chunk as 16-bit integers"
    size = int(message["seconds"] * audio.sample_rate)
    samples = audio.samples[message["chunk"] * size : (message["chunk"] + 1) * size]
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


# The explorer


@cache
def _view_class():
    anywidget, traitlets = _need("anywidget"), _need("traitlets")

    def asset(name):
        return (files("ecg_audio_nb") / "assets" / name).read_text(encoding="utf-8")

    traits = {
        "data": traitlets.Dict(),
        "lanes": traitlets.Dict(),
        "status": traitlets.Unicode(),
        "rate": traitlets.Int(16000),
    }
    synced = {name: trait.tag(sync=True) for name, trait in traits.items()}
    return type(
        "ExploreView",
        (anywidget.AnyWidget,),
        {"_esm": asset("explore.js"), "_css": asset("explore.css"), **synced},
    )


def _button(description, tooltip, action):
    ipw = _need("ipywidgets")
    button = ipw.Button(description=description, tooltip=tooltip, layout=ipw.Layout(width="auto"))
    button.on_click(lambda _: action())
    return button


class Explorer:
    "A recording to tune, play and correct; displays itself as a cell's value"

    def __init__(
        self,
        session: Session,
        folder: str | Path = "references",  # folder in which corrections are saved
        overwrite: bool = False,  # True: replace references of this recording that exist in the folder
    ):
        self.session, self.folder, self.overwrite = session, Path(folder), overwrite
        self.id = secrets.token_hex(4)
        self.pending = {}  # changed setting that did not run yet -> its slot
        self.worker = BackgroundWorker(self._try_analysis, self._on_result)
        self.view = _view_class()(rate=session.runs["A"].artifacts.audio.sample_rate)
        self.view.on_msg(lambda _, message, buffers: self.on_message(message))
        self.panel = Panel(session.settings["A"], lambda key, text: self.set({key: text}))
        self.box = self._layout()
        self.version, self.drawn_frames = 0, None
        self.picture_handles, self.picture_timer = [], None
        self.draw()

    def _layout(self):
        ipw = _need("ipywidgets")
        run = _button("run", "analyze with the changed settings", self.run)
        compare = _button("compare", "add a second set of settings, B, beginning with these", self.compare)
        self.view.layout = ipw.Layout(flex="1 1 560px", min_width="0")
        left = ipw.VBox(
            [ipw.HBox([run, compare]), self.panel.box],
            layout=ipw.Layout(flex=f"0 1 {PANEL_WIDTH}px", min_width="300px"),
        )
        return ipw.HBox([left, self.view], layout=ipw.Layout(flex_flow="row wrap", align_items="flex-start"))

    # What is shown

    @property
    def slot(self) -> str:
        "The slot whose settings the panel shows, A or B"
        return self.session.slot

    @property
    def settings(self) -> Settings:
        "The settings that the panel shows"
        return self.session.settings[self.slot]

    @property
    def analysis(self) -> Analysis:
        "The result that is shown"
        return self.session.analysis

    def report(self, text: str):
        "Write a line of status"
        self.view.status = text

    def draw(self):
        "Show the present state"
        self.version += 1
        self.view.data = view_state(self.session) | {"id": self.id, "version": self.version}
        frames = self.session.runs[self.slot].artifacts.frames
        if frames is not self.drawn_frames:
            self.view.lanes = lane_data(self.session.runs["A"].artifacts.audio, frames)
            self.drawn_frames = frames
        self.panel.show(self.settings)
        self._draw_picture_later()

    def _draw_picture_later(self):
        if self.picture_timer:
            self.picture_timer.cancel()
        if self.picture_handles and self.worker.loop:
            self.picture_timer = self.worker.loop.call_later(PICTURE_DELAY, self._draw_picture)

    def _draw_picture(self):
        for handle in self.picture_handles:
            handle.update(self._picture(), raw=True)

    def _picture(self):
        return {
            "text/plain": f"Explorer({self.session.source!r})",
            "text/html": static_html(self.session, self.id),
        }

    def _ipython_display_(self):
        from IPython.display import display

        display(self.box)
        self.picture_handles.append(display(self._picture(), raw=True, display_id=secrets.token_hex(8)))

    # Settings

    def set(self, changes: Mapping[str, Any]):
        "Change settings by dotted name; a change that needs a model waits for `run`"
        try:
            self.session.settings[self.slot] = load_settings(as_text(self.settings) | dict(changes))
        except SettingsError as e:
            return self.report(str(e))
        self.pending |= dict.fromkeys(changes, self.slot)
        analysis = self.session.runs[self.slot].analysis
        if all(is_instant(key, analysis) for key in self.pending):
            return self.run()
        self.report(f"press “run”: a model has to run again for {', '.join(self.pending)}")

    def run(self):
        "Analyze with the changed settings, in the background; `wait` waits for it"
        for slot in dict.fromkeys(self.pending.values()) or [self.slot]:
            self.worker.request(slot)
        self.pending = {}

    def wait(self):
        "Wait until all analyses have ended, and draw them"
        self.worker.wait()

    def compare(self):
        "Add a second set of settings, B, beginning with those that are shown"
        self.session.runs["B"], self.session.settings["B"] = self.session.runs[self.slot], self.settings
        self.show("B")

    def show(
        self,
        layer: str,  # A, B or R
    ):
        "Show a layer"
        layers = self.session.layers()
        if layer not in layers:
            raise ExploreError(f"layer = {layer!r}: there are {', '.join(layers)}")
        self.session.shown = layer
        self.draw()

    # Corrections

    def correct(
        self,
        change: Callable[[Draft], Draft],  # such as `lambda draft: edit_word(draft, 0, "Good")`
    ):
        "Correct the result that is shown"
        self.session.correct(change)
        self._draw_corrections()

    def undo(self):
        "Undo the last correction"
        self.session.undo()
        self._draw_corrections()

    def _draw_corrections(self):
        save_draft(self.session)
        self.draw()

    def save(self) -> list[Path]:  # the files written
        "Save the corrections as a reference"
        written = save_corrections(self.session, self.folder, self.overwrite)
        self.overwrite = True  # from now on it is our own
        self.draw()
        self.report("saved " + ", ".join(map(str, written)) + self._why_renamed(written[0].stem))
        return written

    def _why_renamed(self, stem):
        name = source_stem(self.session.source)
        return "" if stem == name else f": another recording's references are called {name}"

    # Messages and events

    def on_message(self, message: Mapping):
        "Handle a message of the page"
        try:
            self._handle(message)
        except KeyError:
            _log.warning("the explorer was sent %.80r", message)
        except (CorrectionError, ExportError, ExploreError) as e:
            self.report(str(e))

    def _handle(self, message):
        kind = message.get("kind")
        if kind == "sound":
            chunk = _sound_chunk(self.session.runs["A"].artifacts.audio, message)
            self.view.send({"kind": "sound", "chunk": message["chunk"]}, [chunk])
        elif kind == "show":
            self.show(message["layer"])
        elif kind == "undo":
            self.undo()
        elif kind == "save":
            self.save()
        elif kind == "correct":
            self._correct_by_message(message)
        else:
            raise KeyError(kind)

    def _correct_by_message(self, message):
        if self.session.drafts and message["layer"] != "R":
            self.show("R")
            return self.report("corrections are a layer of their own, shown now; A and B are scored on it")
        self.correct(lambda draft: correct(draft, message))

    def _try_analysis(self, slot):
        "Run the analysis of a slot, in the worker's thread; returns an `AnalysisRun`, or why there is none"
        session = self.session
        try:
            return run_analysis(session.source, session.settings[slot], self._on_event, session.engines)
        except (ValueError, OSError) as e:
            return str(e)
        except Exception as e:  # nobody catches what a thread raises
            _log.exception("the explorer's run failed")
            return f"{type(e).__name__}: {e}"

    def _on_event(self, event: StageEvent):
        "Report a stage's progress; called from any thread"
        if event.status == "start":
            self.report(f"{event.stage} …")
        elif event.status == "progress":
            self.report(f"{event.stage} {100 * event.fraction:.0f} %")

    def _on_result(self, slot, result):
        if isinstance(result, str):
            return self.report(result)
        self.session.runs[slot] = result
        try:
            self.draw()
        except Exception as e:  # nobody sees what is raised in the kernel's loop
            self.report(f"{type(e).__name__}: {e}")
            raise
        self.report(_describe_stages(result.stage_seconds))


def explore(
    source,  # path, or http(s):// or s3:// URL, of an audio or video file
    settings: Settings | Mapping | None = None,  # as `analyze` takes them
    profile: str | None = None,  # section of settings.ini, with `settings` a mapping or None
    folder: str | Path = "references",  # folder in which corrections are saved, and found again
    references: str | Path | None = None,  # folder of STEM.stm or .txt, and STEM.rttm, to score against
    engines: Mapping | None = None,  # instances by stage, as `analyze` takes them
    overwrite: bool = False,  # True: replace references of this recording that exist in the folder
) -> Explorer:
    "Open a recording to tune, play and correct; raises `EvaluateError`, `ExploreError` or `analyze`'s errors"
    _need("anywidget")
    if isinstance(settings, Settings):
        profile = None
    else:
        settings = load_settings(settings, profile)
    source, stem = str(source), source_stem(str(source))
    reference_files = find_references(source, references) if references else None
    run = _run_with_progress(source, settings, engines)
    sha256 = run.analysis.metadata.source_sha256
    if references and "://" in source:  # its content is known only now
        reference_files = find_references(source, references, sha256=sha256)
    draft, state = find_draft(run, folder, stem)
    session = Session(source, {"A": run}, {"A": settings}, reference_files, engines, profile=profile)
    if draft:
        session.drafts = [draft]
    if state == "unsaved":
        session.unsaved = 1
    return Explorer(session, folder, overwrite or is_own_reference(folder, stem, sha256))


def _run_with_progress(source, settings, engines):
    "Run the first analysis; in a notebook a line shows its progress"
    from IPython import get_ipython
    from IPython.display import display

    if not get_ipython():
        return run_analysis(source, settings, engines=engines)
    handle = display({"text/plain": "…"}, raw=True, display_id=secrets.token_hex(8))

    def on_event(event):
        if event.status == "done":
            return
        progress = "…" if event.fraction is None else f"{100 * event.fraction:.0f} %"
        handle.update({"text/plain": f"{event.stage} {progress}"}, raw=True)

    run = run_analysis(source, settings, on_event, engines)
    handle.update({"text/plain": "", "text/html": ""}, raw=True)
    return run
