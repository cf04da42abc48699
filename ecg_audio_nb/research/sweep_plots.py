"""Plots of a sweep: scores over two settings, and every point as a line over all settings"""

from math import ceil, nan

from ecg_audio_nb.results.figures import DPI, WIDTH, displayable, plot_style, short_name

MAX_TICK_VALUES = 10 # values of a setting that are all written beside its axis


def _score_colours(scores, maximize):
    "Map scores to colours: dark is good"
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    colormap = colormaps["cividis_r" if maximize else "cividis"]
    return ScalarMappable(Normalize(min(scores), max(scores)), colormap)


def _new_axes(height):
    from matplotlib.figure import Figure
    figure = Figure((WIDTH, height), dpi=DPI, layout="constrained")
    return figure, figure.add_subplot()


def heatmap(
    x, # name of the setting across
    y, # name of the setting upwards
    across, # values across, as text
    up, # values upwards, as text
    scores, # (value across, value upwards) -> score
    metric,
    maximize,
): # a matplotlib Figure
    "Plot scores by the values of two settings"
    with plot_style():
        colours = _score_colours(list(scores.values()), maximize)
        figure, ax = _new_axes(1.2 + 0.35*min(len(up), 20))
        cells = [[scores.get((a, b), nan) for a in across] for b in up]
        ax.imshow(cells, origin="lower", aspect="auto", cmap=colours.cmap, norm=colours.norm)
        if len(across) <= 16 and len(up) <= 20:
            _write_scores(ax, across, up, scores, colours)
        for values, set_ticks in ((across, ax.set_xticks), (up, ax.set_yticks)):
            ticks = range(0, len(values), ceil(len(values)/16))
            set_ticks(ticks, [short_name(values[i], 12) for i in ticks])
        ax.set(xlabel=x, ylabel=y)
        figure.colorbar(colours, ax=ax, label=metric)
        return displayable(figure)


def _write_scores(ax, across, up, scores, colours):
    "Write each score into its cell, in black on light cells and in white on dark ones"
    for (a, b), score in scores.items():
        brightness = sum(colours.to_rgba(score)[:3])
        ink = "black" if brightness > 1.5 else "white"
        ax.text(across.index(a), up.index(b), f"{score:.3g}", ha="center", va="center", size=8, color=ink)


def heights(
    values, # of a setting, as text
) -> dict: # value -> height, 0 to 1
    "Place the values on an axis: evenly if they are few or no numbers, else by their size"
    numbers = list(range(len(values)))
    if len(values) > MAX_TICK_VALUES:
        try:
            numbers = [float(v) for v in values]
        except ValueError:
            pass
    low, span = min(numbers), max(numbers) - min(numbers)
    return {v: (n - low)/span if span else 0.5 for v, n in zip(values, numbers)}


def _draw_axis(ax, x, places):
    "Draw the axis of one setting, with all values, or the lowest and the highest"
    ax.axvline(x, color="0.6", lw=0.8, zorder=0)
    names = list(places)
    if len(places) > MAX_TICK_VALUES:
        names = [min(places, key=places.get), max(places, key=places.get)]
    background = dict(facecolor="white", edgecolor="none", alpha=0.85, pad=1)
    for name in names:
        ax.text(
            x - 0.02,
            places[name],
            short_name(name, 12),
            ha="right",
            va="center",
            size=8,
            bbox=background,
            zorder=5,
        )


def parallel(
    values, # setting -> its values, as text
    ranked, # points with their scores, best first
    metric,
    maximize,
): # a matplotlib Figure
    "Plot each point as a line over the axes of all settings to the axis of the score"
    places, scores = [heights(v) for v in values.values()], [score for _, score in ranked]
    low, span = min(scores), max(scores) - min(scores)
    score_axis = {f"{low:.4g}": 0.0, f"{low + span:.4g}": 1.0} if span else {f"{low:.4g}": 0.5}
    with plot_style():
        colours, (figure, ax) = _score_colours(scores, maximize), _new_axes(3)
        for x, axis in enumerate([*places, score_axis]):
            _draw_axis(ax, x, axis)
        for n, (point, score) in enumerate(ranked):
            ys = [place[point[name]] for name, place in zip(values, places)]
            ys.append((score - low)/span if span else 0.5)
            style = dict(lw=1, alpha=0.7, zorder=2) if n else dict(lw=3, zorder=3)
            ax.plot(range(len(ys)), ys, color=colours.to_rgba(score), **style)
        ax.set_xticks(range(len(places) + 1), [*(short_name(name, 26) for name in values), metric])
        ax.set(yticks=[], xlim=(-0.3, len(places) + 0.1))
        ax.spines[:].set_visible(False)
        return displayable(figure)
