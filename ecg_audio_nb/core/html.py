"""HTML: whole pages, colours, and how an analysis, its run and its settings show themselves in Jupyter.

Plain HTML and SVG without scripts, so that it stays in a saved notebook and on the docs site.
"""

import base64
import hashlib
from html import escape

# Okabe and Ito's
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666")
_WIDTH, _LANE, _LEFT = 720, 16, 96  # pixels


def colours(speakers) -> dict:
    "Give each speaker a colour, the same everywhere"
    return {s: PALETTE[i % len(PALETTE)] for i, s in enumerate(speakers)}


def luminance(colour: str) -> float:
    "Compute the relative luminance of '#RRGGBB', 0 (black) to 1 (white); WCAG 2.2"
    parts = [v / 255 for v in bytes.fromhex(colour[1:])]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    "Compute the contrast of two colours, 1 (none) to 21; WCAG 2.2"
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def readable_on(background: str) -> str:
    "Choose black or white for text on '#RRGGBB': whichever has more contrast"
    return max(("#000000", "#FFFFFF"), key=lambda ink: contrast(background, ink))


def source_hash(text: str) -> str:
    "Return the source by which a Content-Security-Policy allows an inline style or script"
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page(title: str, body: str, css: str, policy: str = "default-src 'none'") -> str:
    "Make a whole HTML page with one inline style, which its policy allows; `title` is text, `body` is HTML"
    policy = f"{policy}; style-src {source_hash(css)}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)}</title><style>{css}</style></head>\n"
        f"<body><main>{body}</main></body></html>\n"
    )


def clock(seconds: float) -> str:
    "Write seconds as m:ss.s, or h:mm:ss.s"
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def _axis_texts(end, height):
    "Write five times below the strip"
    texts = []
    for i, anchor in enumerate(("start", "middle", "middle", "middle", "end")):
        time = end * i / 4
        texts.append(
            f'<text x="{_time_x(time, end):.0f}" y="{height - 4}" text-anchor="{anchor}">{clock(time)}</text>'
        )
    return texts


def _time_x(time, end):
    return _LEFT + (_WIDTH - _LEFT - 4) * time / end  # pixels


def strip_svg(analysis) -> str:
    "Draw who spoke when: a lane for each speaker, a bar for each turn"
    ids, end = [s.speaker_id for s in analysis.speakers], analysis.metadata.duration or 1
    colour, height = colours(ids), _LANE * len(ids) + 18
    parts = [
        f'<text x="{_LEFT - 6}" y="{_LANE * i + 12}" text-anchor="end">{escape(name)}</text>'
        for i, name in enumerate(ids)
    ]
    for turn in analysis.turns:
        left, right = _time_x(turn.start_time, end), _time_x(turn.end_time, end)
        parts.append(
            f'<rect x="{left:.1f}" y="{_LANE * ids.index(turn.speaker_id) + 2}" '
            f'height="{_LANE - 4}" '
            f'width="{max(right - left, 0.7):.1f}" fill="{colour[turn.speaker_id]}"/>'
        )
    parts += _axis_texts(end, height)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" style="max-width:100%" role="img" '
        f'aria-label="who spoke when" font-size="10" font-family="sans-serif" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )


def _figure(value, unit):
    return "–" if value is None else f"{value:.0f} {unit}"


def _segment_row(segment, colour):
    f = segment.acoustic_features
    cells = [
        f"<td>{clock(segment.start_time)}</td>",
        f'<td style="border-left:4px solid {colour}">{escape(segment.speaker_id or "")}</td>',
        f'<td style="text-align:left;white-space:normal">{escape(segment.text)}</td>',
    ]
    values = _figure(f.volume_db, "dB"), _figure(f.pitch_hz, "Hz"), _figure(f.spectral_centroid, "Hz")
    return f"<tr>{''.join(cells)}{''.join(f'<td>{value}</td>' for value in values)}</tr>"


def _segment_table(segments, colour):
    titles = (
        '<th>start</th><th>speaker</th><th style="text-align:left">text</th>'
        "<th>level</th><th>F0</th><th>centroid</th>"
    )
    rows = "".join(_segment_row(s, colour.get(s.speaker_id, "transparent")) for s in segments)
    return f'<table style="white-space:nowrap"><tr>{titles}</tr>{rows}</table>'


def analysis_html(analysis, rows: int = 20) -> str:
    "Show an analysis: who spoke when, then the first segments"
    m, colour = analysis.metadata, colours(s.speaker_id for s in analysis.speakers)
    head = (
        f"<b>{escape(m.filename)}</b> · {clock(m.duration)} · {len(analysis.words)} words · "
        f"{len(analysis.segments)} segments · {len(analysis.speakers)} speakers"
    )
    left_out = len(analysis.segments) - rows
    more = f"<p>… and {left_out} more segments</p>" if left_out > 0 else ""
    notes = "".join(f"<p><small>{escape(w)}</small></p>" for w in m.warnings)
    table = _segment_table(analysis.segments[:rows], colour)
    return f"<div>{head}<br>{strip_svg(analysis)}{table}{more}{notes}</div>"


# Tables of a run

_BAR = "#2f6fde"


def _table_row(tag, cells):
    row = "".join(
        f'<{tag} style="text-align:{"right" if i else "left"}">{cell}</{tag}>' for i, cell in enumerate(cells)
    )
    return f"<tr>{row}</tr>"


def _table(head, rows):
    "Make a table of cells that are HTML; those of the first column stand left"
    titles = _table_row("th", head) if head else ""
    return f"<table>{titles}{''.join(_table_row('td', cells) for cells in rows)}</table>"


def _left(text):
    return f'<div style="text-align:left">{text}</div>'


def _number(value, unit="", digits=2):
    return "–" if value is None else f"{value:,.{digits}f}{unit}"


def _whisker(best, worst):
    return (
        f'<path d="M{best:.1f} 2v8M{best:.1f} 6H{worst:.1f}M{worst:.1f} 2v8" '
        'stroke="currentColor" fill="none"/>'
    )


def _bar(value, whole, best=None, worst=None):
    "Draw a bar on a scale from 0 to `whole`; and from the best to the worst value, a line with ends"
    pixels = 200 / (whole or 1)
    whisker = "" if best is None else _whisker(best * pixels, worst * pixels)
    return (
        f'<svg width="204" height="12" role="img"><rect x="0" y="2" height="8" fill="{_BAR}" '
        f'width="{max(value * pixels, 0.7):.1f}"/>{whisker}</svg>'
    )


def timing_html(timing) -> str:
    "Show the seconds of each stage as bars, then what the run cost as a whole"
    whole = max(timing.stages.values(), default=0)
    rows = [(escape(name), _number(s, " s"), _bar(s, whole)) for name, s in timing.stages.items()]
    total = [
        (
            "the whole run",
            _number(timing.processing_time, " s"),
            _left("stages overlap, so it is less than their sum"),
        ),
        (
            "real-time factor",
            _number(timing.real_time_factor, digits=3),
            _left("seconds of work for a second of sound"),
        ),
        ("peak memory", _number(timing.peak_rss_mb, " MB", 0), ""),
        ("peak GPU memory", _number(timing.peak_gpu_mb, " MB", 0), ""),
    ]
    return _table(("stage", "at work", ""), rows + total)


def _benchmark_facts(result):
    runs = len(result.runs)
    same = "every run gave the same result"
    if not result.same_result:
        same = "<b>the runs gave different results</b>"
    return " · ".join(
        [
            f"{runs} run{'' if runs == 1 else 's'} over {clock(result.duration)} of sound",
            f"real-time factor {_number(result.real_time_factor, digits=3)} (median)",
            f"peak memory {_number(result.peak_rss_mb, ' MB', 0)}",
            f"peak GPU memory {_number(result.peak_gpu_mb, ' MB', 0)}",
            same,
        ]
    )


def benchmark_html(result) -> str:
    "Show each stage's seconds over several runs: a bar for the median, a line from the best to the worst"
    longest = max((s["worst"] for s in result.stages.values()), default=0)
    rows = []
    for name, s in {**result.stages, "the whole run": result.whole}.items():
        bar = _bar(s["median"], longest, s["best"], s["worst"]) if name in result.stages else ""
        rows.append((escape(name), *(_number(s[k], " s") for k in ("first", "median", "best")), bar))
    table = _table(("stage", "first", "median", "best", ""), rows)
    key = "<small>bar: median; line: best to worst run; stages overlap</small>"
    return f"<div>{_benchmark_facts(result)}{table}{key}</div>"


def _setting_row(name, value):
    return f"<code>{escape(name)}</code>", _left(f"<code>{escape(value) or '(empty)'}</code>")


def settings_html(values, changed) -> str:
    "Show the settings that differ from the defaults as a table, the rest folded"
    rest = [_setting_row(name, value) for name, value in values.items() if name not in changed]
    table = "<p>all settings are the defaults</p>"
    if changed:
        table = _table(("setting", _left("value")), [_setting_row(name, values[name]) for name in changed])
    summary = f"<summary>{len(rest)} settings at their defaults</summary>"
    return f"<div>{table}<details>{summary}{_table((), rest)}</details></div>"


def _fact(value):
    "Write a value of any type"
    if value in (None, "", (), [], {}):
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:,g}" if is_number and abs(value) < 1e6 else str(value)


def _model_cells(stage, model):
    name = model.name + (f" ({model.revision[:12]})" if model.revision else "")
    texts = [_left(escape(model.engine)), _left(escape(name))]
    return escape(stage), *texts, escape(model.device or "–"), escape(model.compute_type or "–")


def metadata_html(m) -> str:
    "Show which model did each stage, and what it ran on; package versions folded"
    models = [_model_cells(*item) for item in m.models.items()]
    head = "stage", _left("engine"), _left("model"), "device", "compute type"
    facts = [
        (escape(k.replace("memory_mb", "memory, MB").replace("_", " ")), _left(escape(_fact(v))))
        for k, v in m.environment.items()
        if k != "packages"
    ]
    packages = {**m.environment.get("packages", {}), **m.versions}
    versions = [(escape(k), _left(escape(str(v)))) for k, v in sorted(packages.items())]
    summary = f"<summary>versions of {len(versions)} packages</summary>"
    folded = f"<details>{summary}{_table((), versions)}</details>"
    return f"<div>{_table(head, models)}{_table((), facts)}{folded}</div>"


def _curve(points, label, unit):
    "Draw one quantity over time, with its greatest value; `points` are (seconds, value)"
    if not points:
        return _table((), [(label, "not measured")])
    greatest = max(value for _, value in points)
    end, top = max(points[-1][0], 1e-9), max(greatest, 1e-9)
    line = " ".join(f"{2 + 296 * t / end:.1f},{50 - 46 * v / top:.1f}" for t, v in points)
    return (
        f'<div><small>{label}: at most {greatest:,.0f} {unit}</small><br><svg width="300" height="66" '
        'role="img" '
        f'font-size="10" font-family="sans-serif" fill="currentColor"><path d="M2 51H298" stroke="#999"/>'
        f'<polyline fill="none" stroke="{_BAR}" stroke-width="1.5" points="{line}"/>'
        f'<text x="2" y="63">0 s</text>'
        f'<text x="298" y="63" text-anchor="end">{end:.1f} s</text></svg></div>'
    )


def resource_usage_html(samples) -> str:
    "Show memory and GPU over the seconds of a block; `samples` as of `environment.ResourceUsage`"

    def known(column):
        return [(sample[0], sample[column]) for sample in samples if sample[column] is not None]

    memory = _curve(known(1), "memory of this process and those it started", "MB")
    if not known(2) and not known(3):
        return f"<div>{memory}<small>no GPU was seen</small></div>"
    return f"<div>{memory}{_curve(known(2), 'GPU memory', 'MB')}{_curve(known(3), 'GPU at work', '%')}</div>"
