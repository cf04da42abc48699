"""HTML: whole pages, colours, and how an analysis shows itself in Jupyter: a strip of who spoke when, a table of what was said, and what the run was and cost.

Plain HTML and SVG without scripts, so that it stays in a saved notebook and on the docs site.
"""
import base64
import hashlib
from html import escape

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666") # Okabe and Ito's
_WIDTH, _LANE, _LEFT = 720, 16, 96 # pixels


def colours(speakers)->dict:
    "One colour a speaker, the same everywhere"
    return {s: PALETTE[i % len(PALETTE)] for i, s in enumerate(speakers)}


def luminance(colour: str) -> float:
    "Relative luminance of '#RRGGBB', 0 (black) to 1 (white); WCAG 2.2"
    parts = [v / 255 for v in bytes.fromhex(colour[1:])]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    "Contrast of two colours, 1 (none) to 21; WCAG 2.2"
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def readable_on(background: str) -> str:
    "Choose black or white for text on '#RRGGBB': whichever has more contrast"
    return max(("#000000", "#FFFFFF"), key=lambda ink: contrast(background, ink))


def source_hash(text: str) -> str:
    "What a Content-Security-Policy calls an inline style or script"
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page(title: str, body: str, css: str, policy: str = "default-src 'none'") -> str:
    "A whole HTML page with one inline style, which its Content-Security-Policy allows; `title` is text, `body` is HTML"
    policy = f"{policy}; style-src {source_hash(css)}"
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(title)}</title><style>{css}</style></head>\n'
            f"<body><main>{body}</main></body></html>\n")


def clock(seconds:float)->str:
    "Seconds as m:ss.s, or h:mm:ss.s"
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def strip_svg(analysis)->str:
    "A lane a speaker, a bar a turn"
    ids, end = [s.speaker_id for s in analysis.speakers], analysis.metadata.duration or 1
    colour, height = colours(ids), _LANE * len(ids) + 18
    x = lambda t: _LEFT + (_WIDTH - _LEFT - 4) * t / end
    parts = [f'<text x="{_LEFT - 6}" y="{_LANE * i + 12}" text-anchor="end">{escape(name)}</text>' for i, name in enumerate(ids)]
    parts += [f'<rect x="{x(t.start_time):.1f}" y="{_LANE * ids.index(t.speaker_id) + 2}" height="{_LANE - 4}" '
              f'width="{max(x(t.end_time) - x(t.start_time), 0.7):.1f}" fill="{colour[t.speaker_id]}"/>' for t in analysis.turns]
    parts += [f'<text x="{x(end * i / 4):.0f}" y="{height - 4}" text-anchor="{("start", "middle", "middle", "middle", "end")[i]}">'
              f"{clock(end * i / 4)}</text>" for i in range(5)]
    return (f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" style="max-width:100%" role="img" aria-label="who spoke when" '
            f'font-size="10" font-family="sans-serif" fill="currentColor">{"".join(parts)}</svg>')


def _figure(value, unit): return "–" if value is None else f"{value:.0f} {unit}"


def _row(segment, colour):
    f = segment.acoustic_features
    return (f'<tr><td>{clock(segment.start_time)}</td><td style="border-left:4px solid {colour}">{escape(segment.speaker_id or "")}</td>'
            f'<td style="text-align:left;white-space:normal">{escape(segment.text)}</td><td>{_figure(f.volume_db, "dB")}</td>'
            f'<td>{_figure(f.pitch_hz, "Hz")}</td><td>{_figure(f.spectral_centroid, "Hz")}</td></tr>')


def analysis_html(analysis, rows:int=20)->str:
    "The strip, then the first segments"
    m, colour = analysis.metadata, colours(s.speaker_id for s in analysis.speakers)
    head = (f"<b>{escape(m.filename)}</b> · {clock(m.duration)} · {len(analysis.words)} words · "
            f"{len(analysis.segments)} segments · {len(analysis.speakers)} speakers")
    table = "".join(_row(s, colour.get(s.speaker_id, "transparent")) for s in analysis.segments[:rows])
    more = f"<p>… and {len(analysis.segments) - rows} more segments</p>" if len(analysis.segments) > rows else ""
    titles = "<th>start</th><th>speaker</th><th style=\"text-align:left\">text</th><th>level</th><th>F0</th><th>centroid</th>"
    notes = "".join(f"<p><small>{escape(w)}</small></p>" for w in m.warnings)
    table = f'<table style="white-space:nowrap"><tr>{titles}</tr>{table}</table>'
    return f"<div>{head}<br>{strip_svg(analysis)}{table}{more}{notes}</div>"


# Tables of a run

_BAR = "#2f6fde"


def _table(head, rows):
    "Cells are HTML; those of the first column stand left"
    line = lambda tag, cells: "<tr>" + "".join(f'<{tag} style="text-align:{"right" if i else "left"}">{c}</{tag}>'
                                               for i, c in enumerate(cells)) + "</tr>"
    return f'<table>{line("th", head) if head else ""}{"".join(line("td", r) for r in rows)}</table>'


def _left(text): return f'<div style="text-align:left">{text}</div>'


def _number(value, unit="", digits=2): return "–" if value is None else f"{value:,.{digits}f}{unit}"


def _bar(value, whole, best=None, worst=None):
    "A bar on a scale from 0 to `whole`; and from the best to the worst, a line with ends"
    x = lambda v: 200 * v / (whole or 1)
    whisker = "" if best is None else (f'<path d="M{x(best):.1f} 2v8M{x(best):.1f} 6H{x(worst):.1f}M{x(worst):.1f} 2v8" '
                                       'stroke="currentColor" fill="none"/>')
    return (f'<svg width="204" height="12" role="img"><rect x="0" y="2" height="8" fill="{_BAR}" '
            f'width="{max(x(value), 0.7):.1f}"/>{whisker}</svg>')


def timing_html(timing)->str:
    "Seconds a stage as bars, then what the run cost as a whole"
    whole = max(timing.stages.values(), default=0)
    rows = [(escape(name), _number(s, " s"), _bar(s, whole)) for name, s in timing.stages.items()]
    total = [("the whole run", _number(timing.processing_time, " s"), _left("stages overlap, so it is less than their sum")),
             ("real-time factor", _number(timing.real_time_factor, digits=3), _left("seconds of work for a second of sound")),
             ("peak memory", _number(timing.peak_rss_mb, " MB", 0), ""), ("peak GPU memory", _number(timing.peak_gpu_mb, " MB", 0), "")]
    return _table(("stage", "at work", ""), rows + total)


def costs_html(costs)->str:
    "Seconds a stage over several runs: a bar for the median, a line from the best to the worst"
    stages = {**costs.stages, "the whole run": costs.whole}
    whole = max((s["worst"] for s in costs.stages.values()), default=0)
    def row(name, s):
        bar = _bar(s["median"], whole, s["best"], s["worst"]) if name in costs.stages else ""
        return escape(name), *(_number(s[k], " s") for k in ("first", "median", "best")), bar
    facts = (f"{len(costs.runs)} run{'' if len(costs.runs) == 1 else 's'} over {clock(costs.duration)} of sound · real-time factor "
             f"{_number(costs.real_time_factor, digits=3)} (median) · peak memory {_number(costs.peak_rss_mb, ' MB', 0)} · "
             f"peak GPU memory {_number(costs.peak_gpu_mb, ' MB', 0)} · "
             f"{'every run gave the same result' if costs.same_result else '<b>the runs gave different results</b>'}")
    table = _table(("stage", "first", "median", "best", ""), [row(*x) for x in stages.items()])
    return f"<div>{facts}{table}<small>bar: median; line: best to worst run; stages overlap</small></div>"


def settings_html(values, changed)->str:
    "What differs from the defaults as a table, the rest folded"
    code = lambda name: (f"<code>{escape(name)}</code>", _left(f"<code>{escape(values[name]) or '(empty)'}</code>"))
    rest = [name for name in values if name not in changed]
    shown = _table(("setting", _left("value")), map(code, changed)) if changed else "<p>all settings are the defaults</p>"
    return f"<div>{shown}<details><summary>{len(rest)} settings at their defaults</summary>{_table((), map(code, rest))}</details></div>"


def _fact(value):
    if value in (None, "", (), [], {}): return "–"
    if isinstance(value, dict): return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else f"{value:,g}" if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6 else str(value)


def metadata_html(m)->str:
    "Which model did each stage, and what it ran on; package versions folded"
    def which(x): return escape(x.name + (f" ({x.revision[:12]})" if x.revision else ""))
    models = [(escape(stage), _left(escape(x.engine)), _left(which(x)), escape(x.device or "–"), escape(x.compute_type or "–"))
              for stage, x in m.models.items()]
    packages = {**m.environment.get("packages", {}), **m.versions}
    facts = [(escape(k.replace("memory_mb", "memory, MB").replace("_", " ")), _left(escape(_fact(v))))
             for k, v in m.environment.items() if k != "packages"]
    rows = [(escape(k), _left(escape(str(v)))) for k, v in sorted(packages.items())]
    return (f'<div>{_table(("stage", _left("engine"), _left("model"), "device", "compute type"), models)}{_table((), facts)}'
            f"<details><summary>versions of {len(rows)} packages</summary>{_table((), rows)}</details></div>")


def _curve(points, label, unit):
    "One quantity over time, with its greatest value; `points` are (seconds, value)"
    if not points: return _table((), [(label, "not measured")])
    end, top = max(points[-1][0], 1e-9), max(max(v for _, v in points), 1e-9)
    line = " ".join(f"{2 + 296 * t / end:.1f},{50 - 46 * v / top:.1f}" for t, v in points)
    return (f'<div><small>{label}: at most {max(v for _, v in points):,.0f} {unit}</small><br><svg width="300" height="66" role="img" '
            f'font-size="10" font-family="sans-serif" fill="currentColor"><path d="M2 51H298" stroke="#999"/>'
            f'<polyline fill="none" stroke="{_BAR}" stroke-width="1.5" points="{line}"/><text x="2" y="63">0 s</text>'
            f'<text x="298" y="63" text-anchor="end">{end:.1f} s</text></svg></div>')


def watched_html(samples)->str:
    "Memory and card over the seconds of a block; `samples` as of `environment.Watched`"
    known = lambda i: [(s[0], s[i]) for s in samples if s[i] is not None]
    curves = _curve(known(1), "memory of this process and those it started", "MB")
    if not known(2) and not known(3): return f"<div>{curves}<small>no GPU was seen</small></div>"
    return f'<div>{curves}{_curve(known(2), "GPU memory", "MB")}{_curve(known(3), "GPU at work", "%")}</div>'
