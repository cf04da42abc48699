"""Building blocks of the pictures in `plots`: style, axes placed in inches, time and F0 axes, speaker lanes.

pyplot is not used: no figure stays open, no display is needed, and a reader's own style neither changes
a picture nor is changed by it.
"""

from contextlib import contextmanager
from functools import partial
from io import BytesIO
from math import ceil, log10

from ecg_audio_nb.core.extras import require
from ecg_audio_nb.core.html import readable_on

DPI, WIDTH, RIGHT = 80, 9.0, 0.3  # dots an inch; a picture's width and its right margin, inches
ROW, BAR = 0.15, 0.1  # height of a row of words and of a turn's bar, inches
INK, PALE, RULE = "#444444", "#AAAAAA", "#E4E4E4"  # of text, of what belongs to nobody, of grid lines
FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Hiragino Sans",
    "Arial Unicode MS",
)  # where installed, for letters that DejaVu lacks
# seconds between two ticks
STEPS = 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600
HERTZ = 40, 50, 60, 70, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600, 800, 1000  # possible ticks


class PlotError(ValueError):
    "A span or values that can't be drawn, or the extra `lab` is missing"


def _style() -> dict:
    "Build what differs from matplotlib's default style"
    from matplotlib import font_manager

    installed = set(font_manager.fontManager.get_font_names())
    inked = "axes.edge", "axes.label", "axes.title", "xtick.", "ytick.", "text."
    thin = "axes.line", "grid.line", "xtick.major.", "ytick.major."
    return {
        **{f"{part}color": INK for part in inked},
        **{f"{part}width": 0.6 for part in thin},
        "font.family": ["DejaVu Sans", *(font for font in FONTS if font in installed)],
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": RULE,
        "text.parse_math": False,  # "$5 or $6" is no formula
    }


@contextmanager
def plot_style():
    "Use matplotlib's own style with a few changes, whatever the reader has set; raises `PlotError`"
    require("matplotlib", "lab", "pictures need", PlotError)
    from matplotlib import style

    with style.context(["default", _style()]):
        yield


def small_png(figure) -> bytes:
    "Save a figure as PNG in its 256 most frequent colours: half the size, for saved notebooks"
    import numpy as np
    from PIL import Image

    full, out = BytesIO(), BytesIO()
    figure.savefig(full, format="png", dpi=figure.dpi)
    pixels = np.asarray(Image.open(full).convert("RGBX")).view(np.uint32)[..., 0]
    colours, colour_of, count = np.unique(pixels.ravel(), return_inverse=True, return_counts=True)
    rgb = colours[:, None].view(np.uint8)[:, :3].astype(np.float32)
    palette = rgb[np.argsort(-count, kind="stable")[:256]]
    # squared, less a term that is the same for the whole palette
    distance = (palette**2).sum(1) - 2 * rgb @ palette.T
    nearest = distance.argmin(1).astype(np.uint8)
    indexed = Image.fromarray(nearest[colour_of].reshape(pixels.shape)).convert("P")
    indexed.putpalette(palette.astype(np.uint8).tobytes())
    indexed.save(out, "PNG", optimize=True)
    return out.getvalue()


def displayable(figure):
    "Lay a figure out and let it show itself in Jupyter, which otherwise needs pyplot for it"
    figure.draw_without_rendering()
    figure._repr_png_ = partial(small_png, figure)
    return figure


def stack_axes(heights, left, foot=0.5):
    "Make a figure and axes that share their time, from the top; all lengths are inches"
    from matplotlib.figure import Figure

    gap, top = 0.12, 0.28
    height = top + sum(heights) + gap * (len(heights) - 1) + foot
    figure, axes = Figure((WIDTH, height), dpi=DPI), []
    y = height - top + gap
    for axis_height in heights:
        y -= axis_height + gap
        box = left / WIDTH, y / height, (WIDTH - left - RIGHT) / WIDTH, axis_height / height
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
    return figure, axes


def write_notes(figure, left, notes):
    "Write below a picture what the reader should know; `left` is inches"
    figure.text(left / WIDTH, 0.05 / figure.get_figheight(), "; ".join(notes), size=8, va="bottom")


def write_empty(ax, text):
    "Write into empty axes why they are empty"
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", size=8)
    ax.set_yticks([])


def text_width(text, size=9) -> float:  # inches
    "Measure a text"
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)[0] / 72


def short_name(name, max_length=20) -> str:
    "Shorten a name to one line"
    name = " ".join((name or "").split()) or "no speaker"
    return name if len(name) <= max_length else name[: max_length - 1] + "…"


def left_margin(names) -> float:  # inches
    "Measure the room that names need on the left"
    return max([0.75, *(0.15 + text_width(short_name(name)) for name in names)])


def time_text(t, step) -> str:
    "Write seconds as m:ss, with as many digits as ticks every `step` seconds need"
    digits = max(0, ceil(-log10(step) - 1e-9))
    minutes, seconds = divmod(round(t, digits), 60)
    hours, minutes = divmod(int(minutes), 60)
    width = digits + 3 if digits else 2
    ss = f"{seconds:0{width}.{digits}f}"
    return f"{hours}:{minutes:02}:{ss}" if hours else f"{minutes}:{ss}"


def _tick(step, t, _):
    return time_text(t, step)


def time_axis(ax, start, end, label="time"):
    "Put at most eleven ticks at whole steps of time"
    from matplotlib.ticker import MultipleLocator

    step = next((s for s in STEPS if end - start <= 10 * s), 3600 * ceil((end - start) / 36000))
    ax.set_xlim(start, end)
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(partial(_tick, step))
    ax.set_xlabel(f"{label} (h:mm:ss)" if end >= 3600 else f"{label} (m:ss)")


def log_axis(axis, low, high):
    "Make an axis logarithmic from `low` to `high` Hz: equal steps are equal intervals"
    ticks = [f for f in HERTZ if low <= f <= high]
    if len(ticks) < 2:
        ticks = [round(low), round(high)]
    name = axis.axis_name
    getattr(axis.axes, f"set_{name}scale")("log")
    axis.set_ticks(ticks, labels=[f"{f:g}" for f in ticks])
    axis.set_ticks([], minor=True)
    getattr(axis.axes, f"set_{name}lim")(low, high)


def value_axis(ax, values, label):
    "Leave room for values and the text beside them"
    if not values:
        ax.set_xticks([])
    elif "log" in label:
        log_axis(ax.xaxis, min(values) / 1.15, max(values) * 1.4)
    else:
        room = max(max(values) - min(values), 0.05 * abs(max(values)), 1)
        ax.set_xlim(min(values) - 0.15 * room, max(values) + 0.4 * room)
    ax.set_xlabel(label)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)


def format_number(value, digits=0) -> str:
    "Write a number with the minus sign that axes have; a dash for NaN"
    return f"{value:.{digits}f}".replace("-", "−") if value == value else "–"


def _draw_words(ax, lane, top, start, inches_per_second):
    "Write the words of a lane where there is room for them"
    for word, place in zip(lane.words, lane.places):
        if not place:
            continue
        x, row = place
        colour = "#777777" if word.timing == "interpolated" else "black"
        ax.text(start + x / inches_per_second, top + row * ROW, word.word, size=8, va="top", color=colour)


def draw_lanes(ax, lanes, colours, start, inches_per_second):
    "Draw each speaker's turns as bars and write the words below; the unit of the vertical axis is an inch"
    y, middles = 0.0, []
    for lane in lanes:
        middles.append(y + 0.05 + BAR / 2)
        if lane.spans:
            ax.broken_barh(
                lane.spans, (y + 0.05, BAR), color=colours[lane.speaker], lw=0.5, gid=short_name(lane.speaker)
            )
        _draw_words(ax, lane, y + 0.08 + BAR, start, inches_per_second)
        y += lane.height
        ax.axhline(y, color=RULE, lw=0.6)
    ax.set_ylim(y or 0.2, 0)
    ax.set_yticks(middles, [short_name(lane.speaker) for lane in lanes])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    if not lanes:
        write_empty(ax, "nobody speaks")


def write_cells(ax, matrix, image):
    "Write values into the cells of a matrix, in black or white"
    from matplotlib.colors import to_hex

    for row, values in enumerate(matrix):
        for column, value in enumerate(values):
            cell = to_hex(image.to_rgba(value)) if value == value else "#ffffff"
            ink = readable_on(cell)
            ax.text(column, row, format_number(value, 2), size=8, ha="center", va="center", color=ink)
