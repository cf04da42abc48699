"""The pictures of `sweep`: scores over two knobs, and every point as a line over all knobs."""
from math import ceil, nan

from ecg_audio_nb.results.figures import DPI, WIDTH, paper, short, shown

FEW = 10 # values of a knob that all stand beside its axis


def _colours(scores, maximize):
    "A colour for a score: dark is good"
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    return ScalarMappable(Normalize(min(scores), max(scores)), colormaps["cividis_r" if maximize else "cividis"])


def _sheet(height):
    from matplotlib.figure import Figure
    figure = Figure((WIDTH, height), dpi=DPI, layout="constrained")
    return figure, figure.add_subplot()


def heatmap(x, y, across, up, scores, metric, maximize):
    "Scores by two values, text, of those that `across` and `up` list"
    with paper():
        colours, (figure, ax) = _colours(list(scores.values()), maximize), _sheet(1.2 + 0.35*min(len(up), 20))
        cells = [[scores.get((a, b), nan) for a in across] for b in up]
        ax.imshow(cells, origin="lower", aspect="auto", cmap=colours.cmap, norm=colours.norm)
        if len(across) <= 16 and len(up) <= 20:
            for (a, b), score in scores.items():
                ink = "black" if sum(colours.to_rgba(score)[:3]) > 1.5 else "white"
                ax.text(across.index(a), up.index(b), f"{score:.3g}", ha="center", va="center", size=8, color=ink)
        for values, ticks in ((across, ax.set_xticks), (up, ax.set_yticks)):
            some = range(0, len(values), ceil(len(values)/16))
            ticks(some, [short(values[i], 12) for i in some])
        ax.set(xlabel=x, ylabel=y)
        figure.colorbar(colours, ax=ax, label=metric)
        return shown(figure)


def heights(values)->dict:
    "Where each value of a knob stands, 0 to 1: evenly, if there are few; numbers by their size, if there are many"
    try: numbers = [float(v) for v in values] if len(values) > FEW else list(range(len(values)))
    except ValueError: numbers = list(range(len(values)))
    low, span = min(numbers), max(numbers) - min(numbers)
    return {v: (n - low)/span if span else 0.5 for v, n in zip(values, numbers)}


def _axis(ax, at, places):
    ax.axvline(at, color="0.6", lw=0.8, zorder=0)
    names = list(places) if len(places) <= FEW else [min(places, key=places.get), max(places, key=places.get)]
    paper = dict(facecolor="white", edgecolor="none", alpha=0.85, pad=1)
    for name in names: ax.text(at - 0.02, places[name], short(name, 12), ha="right", va="center", size=8, bbox=paper, zorder=5)


def parallel(values, scored, metric, maximize):
    "Values, text, by knob; points, the best first, with their scores"
    places, scores = [heights(v) for v in values.values()], [score for _, score in scored]
    low, span = min(scores), max(scores) - min(scores)
    with paper():
        colours, (figure, ax) = _colours(scores, maximize), _sheet(3)
        for at, p in enumerate([*places, {f"{low:.4g}": 0.0, f"{low + span:.4g}": 1.0} if span else {f"{low:.4g}": 0.5}]): _axis(ax, at, p)
        for n, (point, score) in enumerate(scored):
            ys = [p[point[k]] for k, p in zip(values, places)] + [(score - low)/span if span else 0.5]
            look = dict(lw=1, alpha=0.7, zorder=2) if n else dict(lw=3, zorder=3)
            ax.plot(range(len(ys)), ys, color=colours.to_rgba(score), **look)
        ax.set_xticks(range(len(places) + 1), [*(short(k, 26) for k in values), metric])
        ax.set(yticks=[], xlim=(-0.3, len(places) + 0.1))
        ax.spines[:].set_visible(False)
        return shown(figure)
