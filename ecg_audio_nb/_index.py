"""The page that lists a batch: every job with its state, times, and links to its notebook, JSON and report.

Plain HTML without scripts; links are relative, so a copied folder still works.
"""
from collections import Counter
from datetime import datetime, timezone
from html import escape
from pathlib import PurePosixPath
from urllib.parse import quote

from ._display import clock

_STATES = {"failed": "#c8323c", "running": "#0072B2", "queued": "#8a6d00", "cancelled": "#6b7078", "done": "#1a7f4b"}
_CSS = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c2127;background:#fff}
table{border-collapse:collapse;width:100%}th,td{padding:.35rem .6rem;text-align:left;border-bottom:1px solid #e2e5e9;vertical-align:top}
th{font-weight:600;border-bottom:2px solid #b9bfc7}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.name{overflow-wrap:anywhere}small{color:#5b626b}a{color:#0b5cad}.error{color:#8c1f28;max-width:60ch;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{color:#dfe3e8;background:#16191d}th,td{border-color:#333a42}a{color:#7db8f0}small{color:#9aa3ad}
.error{color:#f0a0a6}}
"""
_HEAD = (("job", ""), ("state", ""), ("recording", "n"), ("segments", "n"), ("speakers", "n"), ("took", "n"), ("tries", "n"), ("ended", ""), ("files", ""))


def _link(path, text): return f'<a href="{quote(path)}">{escape(text)}</a>'


def _links(job):
    "Its notebook, result and report, then what else there is"
    if job.state == "failed" and job.attempt: return _link(f"failed/{job.name}.ipynb", "notebook") if job.kind != "crash" else ""
    names = (job.result or {}).get("files", []) if job.state == "done" else []
    words = {".ipynb": "notebook", ".json": "json", ".html": "report"}
    order = sorted(names, key=lambda n: ([*words].index(s) if (s := PurePosixPath(n).suffix) in words else 9, n))
    return " · ".join(_link(f"{job.name}/{n}", words.get(PurePosixPath(n).suffix, PurePosixPath(n).suffix.lstrip(".") or n)) for n in order)


def _when(seconds): return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


def _row(job, shown):
    said, took = job.result or {}, job.ended - job.started if job.ended and job.started else None
    number = lambda key: "" if said.get(key) is None else f"{said[key]}"
    state = f'<b style="color:{_STATES[job.state]}">{job.state}</b>' + (f" {escape(job.stage)}" if job.state == "running" and job.stage else "")
    error = f'<div class="error">{escape(job.error)}</div>' if job.error else ""
    cells = [("name", f"{escape(job.name)}<br><small>{escape(shown(job.source))}</small>{error}"), ("", state),
             ("n", clock(said["duration"]) if said.get("duration") is not None else ""), ("n", number("total_segments")),
             ("n", number("unique_speakers")), ("n", f"{took:.1f} s" if took is not None else ""), ("n", str(job.attempt or "")),
             ("", _when(job.ended)), ("", _links(job))]
    return "<tr>" + "".join(f'<td class="{c}">{x}</td>' if c else f"<td>{x}</td>" for c, x in cells) + "</tr>"


def index_html(jobs, place, shown=str)->str:
    "The page; failed jobs come first. `shown` gives a source without its secrets"
    counts = Counter(j.state for j in jobs)
    order = sorted(jobs, key=lambda j: [*_STATES].index(j.state))
    heads = "".join(f'<th class="{c}">{t}</th>' if c else f"<th>{t}</th>" for t, c in _HEAD)
    tally = ", ".join(f"{counts[s]} {s}" for s in ("done", "failed", "running", "queued", "cancelled") if counts[s]) or "no jobs"
    rows = "\n".join(_row(j, shown) for j in order)
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>Batch: {escape(tally)}</title><style>{_CSS}</style><h1>Batch</h1><p>{escape(str(place))}<br>{escape(tally)}. "
            f"Times are UTC.</p><table><thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table></html>\n")
