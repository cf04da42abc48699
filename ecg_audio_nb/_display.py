"""How an analysis shows itself in Jupyter: a strip of who spoke when, and a table of what was said.

Plain HTML and SVG without scripts, so that it stays in a saved notebook and on the docs site.
"""
from html import escape

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666") # Okabe and Ito's
_WIDTH, _LANE, _LEFT = 720, 16, 96 # pixels


def colours(speakers)->dict:
    "One colour a speaker, the same everywhere"
    return {s: PALETTE[i % len(PALETTE)] for i, s in enumerate(speakers)}


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
    titles = "".join(f"<th>{t}</th>" for t in ("start", "speaker", "text", "level", "F0", "centroid"))
    notes = "".join(f"<p><small>{escape(w)}</small></p>" for w in m.warnings)
    table = f'<table style="white-space:nowrap"><tr>{titles}</tr>{table}</table>'
    return f"<div>{head}<br>{strip_svg(analysis)}{table}{more}{notes}</div>"
