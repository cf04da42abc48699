"""What the pictures of `plots` are drawn on: style, axes placed in inches, a time axis, an axis for F0.

Nothing of pyplot: no figure stays open, no display is needed, and a reader's own style neither changes a picture nor is changed.
"""
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from math import ceil, log10

from ecg_audio_nb.core.extras import require

DPI, WIDTH, RIGHT = 80, 9.0, 0.3 # dots an inch; a picture's width and its right margin, inches
ROW, BAR = 0.15, 0.1 # height of a row of words and of a turn's bar, inches
INK, PALE, RULE = "#444444", "#AAAAAA", "#E4E4E4"
FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Hiragino Sans",
         "Arial Unicode MS") # for what DejaVu has no letters for, where they are installed
STEPS = .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600 # seconds between two ticks
HERTZ = 40, 50, 60, 70, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600, 800, 1000


class PlotError(ValueError):
    "A span or values that can't be drawn; or the extra `lab` is missing"


@contextmanager
def paper():
    "matplotlib's own style with a few changes, whatever the reader has set"
    require("matplotlib", "lab", "pictures need", PlotError)
    from matplotlib import font_manager, style
    here = set(font_manager.fontManager.get_font_names())
    with style.context(["default", {
        **{f"{part}color": INK for part in ("axes.edge", "axes.label", "axes.title", "xtick.", "ytick.", "text.")},
        **{f"{part}width": 0.6 for part in ("axes.line", "grid.line", "xtick.major.", "ytick.major.")},
        "font.family": ["DejaVu Sans", *(f for f in FONTS if f in here)], "font.size": 9, "axes.titlesize": 9,
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left", "grid.color": RULE,
        "axes.axisbelow": True, "text.parse_math": False}]): # "$5 or $6" is no formula
        yield


def png(figure)->bytes:
    "In its 256 most frequent colours, less than half the size: pictures stay in saved notebooks"
    import numpy as np
    from PIL import Image
    full, out = BytesIO(), BytesIO()
    figure.savefig(full, format="png", dpi=figure.dpi)
    pixels = np.asarray(Image.open(full).convert("RGBX")).view(np.uint32)[..., 0]
    found, place, count = np.unique(pixels.ravel(), return_inverse=True, return_counts=True)
    rgb = found[:, None].view(np.uint8)[:, :3].astype(np.float32)
    kept = rgb[np.argsort(-count, kind="stable")[:256]]
    distance = (kept**2).sum(1) - 2*rgb @ kept.T # and a term that is the same for all that are kept
    indexed = Image.fromarray(distance.argmin(1).astype(np.uint8)[place].reshape(pixels.shape)).convert("P")
    indexed.putpalette(kept.astype(np.uint8).tobytes())
    indexed.save(out, "PNG", optimize=True)
    return out.getvalue()


def shown(figure):
    "Laid out, and able to show itself in Jupyter, which knows a bare figure only where pyplot was imported"
    figure.draw_without_rendering()
    figure._repr_png_ = partial(png, figure)
    return figure


def sheet(heights, left, foot=0.5):
    "A figure and its axes, from the top, which share their time; all lengths in inches"
    from matplotlib.figure import Figure
    gap, top, axes = 0.12, 0.28, []
    height = top + sum(heights) + gap*(len(heights) - 1) + foot
    figure, y = Figure((WIDTH, height), dpi=DPI), height - top + gap
    for h in heights:
        y -= h + gap
        box = left/WIDTH, y/height, (WIDTH - left - RIGHT)/WIDTH, h/height
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
    for ax in axes[:-1]: ax.tick_params(labelbottom=False)
    return figure, axes


def note(figure, left, notes):
    "What the reader should know, below"
    figure.text(left/WIDTH, 0.05/figure.get_figheight(), "; ".join(notes), size=8, va="bottom")


def empty(ax, text):
    "Say why there is nothing"
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", size=8)
    ax.set_yticks([])


def text_width(text, size=9)->float:
    "Inches that a text takes"
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)[0]/72


def short(name, most=20)->str:
    "A name on one line"
    name = " ".join((name or "").split()) or "no speaker"
    return name if len(name) <= most else name[:most - 1] + "…"


def margin(names)->float:
    "Inches that names need on the left"
    return max([0.75, *(0.15 + text_width(short(name)) for name in names)])


def time_text(t, step)->str:
    "m:ss, with as many digits as ticks every `step` seconds need"
    digits = max(0, ceil(-log10(step) - 1e-9))
    minutes, seconds = divmod(round(t, digits), 60)
    hours, minutes = divmod(int(minutes), 60)
    ss = f"{seconds:0{digits + 3 if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02}:{ss}" if hours else f"{minutes}:{ss}"


def _tick(step, t, _): return time_text(t, step)


def time_axis(ax, start, end, label="time"):
    "Ticks at whole steps, at most eleven"
    from matplotlib.ticker import MultipleLocator
    step = next((s for s in STEPS if end - start <= 10*s), 3600*ceil((end - start)/36000))
    ax.set_xlim(start, end)
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(partial(_tick, step))
    ax.set_xlabel(f"{label} (h:mm:ss)" if end >= 3600 else f"{label} (m:ss)")


def semitones(axis, low, high):
    "A logarithmic axis from `low` to `high` Hz: equal steps are equal intervals"
    ticks = [f for f in HERTZ if low <= f <= high]
    if len(ticks) < 2: ticks = [round(low), round(high)]
    name = axis.axis_name
    getattr(axis.axes, f"set_{name}scale")("log")
    axis.set_ticks(ticks, labels=[f"{f:g}" for f in ticks])
    axis.set_ticks([], minor=True)
    getattr(axis.axes, f"set_{name}lim")(low, high)


def value_axis(ax, values, label):
    "Room for values and what is written beside them"
    if not values: ax.set_xticks([])
    elif "log" in label: semitones(ax.xaxis, min(values)/1.15, max(values)*1.4)
    else:
        room = max(max(values) - min(values), 0.05*abs(max(values)), 1)
        ax.set_xlim(min(values) - 0.15*room, max(values) + 0.4*room)
    ax.set_xlabel(label)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)


def number(value, digits=0)->str:
    "With a minus as axes write it; a dash where there is none"
    return f"{value:.{digits}f}".replace("-", "−") if value == value else "–"


def draw_lanes(ax, lanes, colour, start, inch):
    "Bars and words; `inch` is inches a second, and the unit of the vertical axis is an inch"
    y, middles = 0.0, []
    for lane in lanes:
        middles.append(y + 0.05 + BAR/2)
        if lane.spans: ax.broken_barh(lane.spans, (y + 0.05, BAR), color=colour[lane.speaker], lw=0.5, gid=short(lane.speaker))
        for word, place in zip(lane.words, lane.places):
            if place: ax.text(start + place[0]/inch, y + 0.08 + BAR + place[1]*ROW, word.word, size=8, va="top",
                              color="#777777" if word.timing == "interpolated" else "black")
        y += lane.height
        ax.axhline(y, color=RULE, lw=0.6)
    ax.set_ylim(y or 0.2, 0)
    ax.set_yticks(middles, [short(lane.speaker) for lane in lanes])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    if not lanes: empty(ax, "nobody is heard")


def write_cells(ax, matrix, image):
    "The values, in ink that can be read on the cell's colour"
    for row, values in enumerate(matrix):
        for column, v in enumerate(values):
            r, g, b, _ = image.to_rgba(v) if v == v else (1, 1, 1, 1)
            ink = "white" if 0.3*r + 0.59*g + 0.11*b < 0.5 else "black"
            ax.text(column, row, number(v, 2), size=8, ha="center", va="center", color=ink)
