"""The page that lists a batch: what failed and why first, then every job with its times and links to what it made.

Plain HTML without scripts; links are relative, so that a copied folder still works.
"""
from collections import Counter
from datetime import datetime, timezone
from html import escape
from pathlib import PurePosixPath
from urllib.parse import quote

from ecg_audio_nb.core.html import clock, page

_STATES = ("failed", "running", "queued", "cancelled", "done") # in the order of the page
_WHY = {"user": "The notebook raised it, so it was not tried again.", "infra": "A fault of the machine.",
        "timeout": "It took longer than it may.", "crash": "Its runner died every time."}
_CSS = """
:root{color-scheme:light dark;--ink:#1c2127;--soft:#59616b;--line:#dde1e6;--back:#fff;--card:#fdf3f3;--link:#0b5cad;
--failed:#b3261e;--running:#0a66a8;--queued:#7a5d00;--cancelled:#5c636c;--done:#17734a}
@media(prefers-color-scheme:dark){:root{--ink:#e1e5ea;--soft:#a0a9b4;--line:#343b44;--back:#15181c;--card:#2b1a1b;--link:#7db8f0;
--failed:#ff8a80;--running:#74b9f2;--queued:#e0bd55;--cancelled:#a7afb9;--done:#6cd0a0}}
*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--back)}
main{max-width:74rem;margin:0 auto;padding:1.5rem 1rem 3rem}h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .6rem}
a{color:var(--link)}a:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px}
p{margin:.2rem 0}.soft,small,summary,caption{color:var(--soft)}small{font-size:.85em}.wrap{overflow-wrap:anywhere}
.bar{display:flex;gap:2px;height:.7rem;margin:.9rem 0 .5rem;list-style:none;padding:0}.bar svg{width:100%;height:100%;border-radius:4px}
.tally{display:flex;flex-wrap:wrap;gap:.1rem 1.3rem;margin:0;padding:0;list-style:none}b.s{font-weight:650}
.failed{color:var(--failed)}.running{color:var(--running)}.queued{color:var(--queued)}.cancelled{color:var(--cancelled)}.done{color:var(--done)}
rect.failed{fill:var(--failed)}rect.running{fill:var(--running)}rect.queued{fill:var(--queued)}rect.cancelled{fill:var(--cancelled)}rect.done{fill:var(--done)}
.faults{margin:0;padding:0;list-style:none}.faults li{border-left:4px solid var(--failed);background:var(--card);padding:.6rem .9rem;margin:.6rem 0;border-radius:0 6px 6px 0}
code{font:.88em ui-monospace,monospace;overflow-wrap:anywhere}.error{margin:.3rem 0;font-weight:550}
table{border-collapse:collapse;width:100%}caption{text-align:left;padding-bottom:.4rem}
th,td{padding:.45rem .6rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}thead th{font-weight:600;border-bottom:2px solid var(--line)}
tbody th{font-weight:550;min-width:12rem;max-width:26rem}tbody th small{font-weight:400}.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}td.t{min-width:6.3rem}
th:first-child,td:first-child{padding-left:0}td.files{min-width:11rem}details{font-weight:400;font-size:.85em}summary{cursor:pointer}details ul{margin:.2rem 0;padding-left:1.1rem}
@media(max-width:64rem){table,tbody,tr,th,td,caption{display:block}thead{position:absolute;clip-path:inset(50%);height:1px;width:1px;overflow:hidden}
tr{border-bottom:1px solid var(--line);padding:.7rem 0}tbody th,td{border:0;padding:.08rem 0;min-width:0;max-width:none}
td.n,td.t{text-align:left;display:inline-block;margin-right:1rem}td.n:empty,td.t:empty,td:empty{display:none}td[data-is]:not(:empty)::before{content:attr(data-is) " ";color:var(--soft)}}
"""
_HEAD = (("job", ""), ("state", ""), ("recording", "n"), ("segments", "n"), ("speakers", "n"), ("took", "n"), ("tries", "n"),
         ("ended, UTC", "t"), ("files", "files"))


def _text(x)->str: return escape(str(x).encode("utf-8", "replace").decode()) # a file's name need not be UTF-8
def _link(path, text): return f'<a href="{quote(path, errors="surrogateescape")}">{_text(text)}</a>'
def _state(name, more=""): return f'<b class="s {name}">{name}</b>{more}'


def _links(job):
    "Of a finished job: its notebook, result and report, then what else there is"
    names = (job.result or {}).get("files", []) if job.state == "done" else []
    words = {".ipynb": "notebook", ".html": "report", ".json": "json"}
    order = sorted(names, key=lambda n: ([*words].index(s) if (s := PurePosixPath(n).suffix) in words else 9, n))
    several = Counter(PurePosixPath(n).suffix for n in names) # two of a kind are told apart by their whole names
    say = lambda n, s: n if several[s] > 1 or not s else words.get(s, s[1:])
    return " · ".join(_link(f"{job.name}/{n}", say(n, PurePosixPath(n).suffix)) for n in order)


def _time(seconds):
    if not seconds: return ""
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M:%S}</time>'


def _took(job):
    if not (job.ended and job.started): return ""
    seconds = job.ended - job.started
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def _fault(job, shown, there):
    "A failed job: what it was, why, and what can be done"
    tries = f" It was tried {job.attempt} times." if job.attempt > 1 else ""
    notebook = f"failed/{job.name}.ipynb"
    look = f" · {_link(notebook, 'notebook, as far as it got')}" if there(notebook) else ""
    return (f'<li><b class="wrap">{_text(job.name)}</b>{look}<br><small class="wrap">{_text(shown(job.source))}</small>'
            f'<p class="error wrap">{_text(job.error or "no reason is known")}</p><p class="soft">{_WHY.get(job.kind, "")}{tries}</p></li>')


def _notes(job):
    "What the analysis warned of, and what went wrong in tries before; folded"
    notes = [*((job.result or {}).get("warnings") or []), *([f"before: {job.error}"] if job.error else [])]
    if not notes or job.state == "failed": return ""
    return f"<details><summary>{len(notes)} note{'s' * (len(notes) > 1)}</summary><ul>{''.join(f'<li>{_text(n)}</li>' for n in notes)}</ul></details>"


def _row(job, shown):
    said = job.result or {}
    number = lambda key: "" if said.get(key) is None else _text(said[key])
    length = said.get("duration")
    cells = [_state(job.state, f" {_text(job.stage)}" if job.state == "running" and job.stage else ""), clock(length) if length is not None else "",
             number("total_segments"), number("unique_speakers"), _took(job), str(job.attempt or ""), _time(job.ended), _links(job)]
    name = f'<th scope="row" role="rowheader" class="wrap">{_text(job.name)}<br><small>{_text(shown(job.source))}</small>{_notes(job)}</th>'
    label = lambda title: f' data-is="{title.partition(",")[0]}"' if title not in ("state", "files") else ""
    return f'<tr role="row">{name}' + "".join(
        f'<td role="cell" class="{c}"{label(t)}>{x}</td>' for (t, c), x in zip(_HEAD[1:], cells)) + "</tr>"


def _bar(counts, total):
    "The states as shares of a line; the words below say the same"
    parts, x = [], 0.0
    for s in ("done", "failed", "cancelled", "running", "queued"):
        width = 100 * counts[s] / total
        parts.append(f'<rect class="{s}" x="{x:.2f}" width="{width:.2f}" height="1"/>' if counts[s] else "")
        x += width
    return f'<div class="bar" aria-hidden="true"><svg viewBox="0 0 100 1" preserveAspectRatio="none">{"".join(parts)}</svg></div>'


def _table(jobs, shown):
    heads = "".join(f'<th scope="col" role="columnheader" class="{c}">{t}</th>' for t, c in _HEAD)
    rows = "\n".join(_row(j, shown) for j in jobs)
    return f'<table role="table"><thead role="rowgroup"><tr role="row">{heads}</tr></thead><tbody role="rowgroup">\n{rows}\n</tbody></table>'


def index_html(
    jobs, # of the queue
    place, # where the batch lies: `Folder` or `Bucket`
    shown=str, # gives a source without its secrets
    now=None, # when the page is made, seconds since 1970
)->str:
    "The page; failed jobs come first"
    counts, now = Counter(j.state for j in jobs), now or datetime.now(timezone.utc).timestamp()
    order = sorted(jobs, key=lambda j: _STATES.index(j.state))
    failed, rest = [j for j in order if j.state == "failed"], [j for j in order if j.state != "failed"]
    folder = getattr(place, "path", None) # of a bucket nothing is asked
    there = lambda name: folder is None or (folder / name).exists()
    tally = [(s, counts[s]) for s in ("done", "failed", "cancelled", "running", "queued") if counts[s]]
    title = ", ".join(f"{n} {s}" for s, n in tally) or "no jobs"
    parts = [f'<h1>Batch</h1><p class="soft wrap">{_text(place)}</p>']
    parts += [_bar(counts, len(jobs)), '<ul class="tally">' + "".join(f'<li>{_state(s, f" {n}")}</li>' for s, n in tally) + "</ul>"] if jobs else ["<p>No jobs yet.</p>"]
    parts += [f'<p class="soft"><small>As of {_time(now)} UTC. The same command again does what is missing, and brings this page up to date.</small></p>']
    if failed:
        faults = "\n".join(_fault(j, shown, there) for j in failed)
        parts += [f'<h2 id="failed">Failed</h2><p class="soft">When the cause is gone: <code>ecg jobs retry NAME -o {_text(place)}</code>, '
                  f'or the batch again with <code>--retry-failed</code>.</p><ul class="faults">\n{faults}\n</ul>']
    if rest: parts += [f'<h2 id="jobs">{"The others" if failed else "Jobs"}</h2>', _table(rest, shown)]
    return page(f"Batch: {title}", "".join(parts), _CSS)
