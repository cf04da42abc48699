"""The page that lists a batch: failed jobs and their errors, then every job with its times and files

Plain HTML without scripts; links are relative, so that a copied folder still works.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from html import escape
from pathlib import PurePosixPath
from urllib.parse import quote

from ecg_audio_nb.core.html import clock, page

_ORDER = ("failed", "running", "queued", "cancelled", "done")  # of the jobs
_ORDER_OF_COUNTS = ("done", "failed", "cancelled", "running", "queued")
_WHY = {  # by kind of failure
    "user": "The notebook raised this error, so the job was not tried again.",
    "infra": "An error of the machine or the network.",
    "timeout": "The job took longer than its time limit.",
    "crash": "Its runner died during every try.",
}
_CSS = """
:root{color-scheme:light dark;--ink:#1c2127;--soft:#59616b;--line:#dde1e6;--back:#fff;--card:#fdf3f3;
--link:#0b5cad;--failed:#b3261e;--running:#0a66a8;--queued:#7a5d00;--cancelled:#5c636c;--done:#17734a}
@media(prefers-color-scheme:dark){:root{--ink:#e1e5ea;--soft:#a0a9b4;--line:#343b44;--back:#15181c;
--card:#2b1a1b;--link:#7db8f0;--failed:#ff8a80;--running:#74b9f2;--queued:#e0bd55;--cancelled:#a7afb9;
--done:#6cd0a0}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--back)}
main{max-width:74rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .6rem}
a{color:var(--link)}a:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px}
p{margin:.2rem 0}.soft,small,summary,caption{color:var(--soft)}small{font-size:.85em}
.wrap{overflow-wrap:anywhere}
.bar{display:flex;gap:2px;height:.7rem;margin:.9rem 0 .5rem;list-style:none;padding:0}
.bar svg{width:100%;height:100%;border-radius:4px}
.tally{display:flex;flex-wrap:wrap;gap:.1rem 1.3rem;margin:0;padding:0;list-style:none}b.s{font-weight:650}
.failed{color:var(--failed)}.running{color:var(--running)}.queued{color:var(--queued)}
.cancelled{color:var(--cancelled)}.done{color:var(--done)}
rect.failed{fill:var(--failed)}rect.running{fill:var(--running)}rect.queued{fill:var(--queued)}
rect.cancelled{fill:var(--cancelled)}rect.done{fill:var(--done)}
.failures{margin:0;padding:0;list-style:none}
.failures li{border-left:4px solid var(--failed);background:var(--card);padding:.6rem .9rem;margin:.6rem 0;
border-radius:0 6px 6px 0}
code{font:.88em ui-monospace,monospace;overflow-wrap:anywhere}.error{margin:.3rem 0;font-weight:550}
table{border-collapse:collapse;width:100%}caption{text-align:left;padding-bottom:.4rem}
th,td{padding:.45rem .6rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
thead th{font-weight:600;border-bottom:2px solid var(--line)}
tbody th{font-weight:550;min-width:12rem;max-width:26rem}tbody th small{font-weight:400}
.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}td.t{min-width:6.3rem}
th:first-child,td:first-child{padding-left:0}td.files{min-width:11rem}
details{font-weight:400;font-size:.85em}summary{cursor:pointer}details ul{margin:.2rem 0;padding-left:1.1rem}
@media(max-width:64rem){table,tbody,tr,th,td,caption{display:block}
thead{position:absolute;clip-path:inset(50%);height:1px;width:1px;overflow:hidden}
tr{border-bottom:1px solid var(--line);padding:.7rem 0}
tbody th,td{border:0;padding:.08rem 0;min-width:0;max-width:none}
td.n,td.t{text-align:left;display:inline-block;margin-right:1rem}
td.n:empty,td.t:empty,td:empty{display:none}
td[data-is]:not(:empty)::before{content:attr(data-is) " ";color:var(--soft)}}
"""
_COLUMNS = (  # title, class
    ("job", ""),
    ("state", ""),
    ("recording", "n"),
    ("segments", "n"),
    ("speakers", "n"),
    ("took", "n"),
    ("attempts", "n"),
    ("ended, UTC", "t"),
    ("files", "files"),
)
_LINK_NAMES = {".ipynb": "notebook", ".html": "report", ".json": "json"}  # in the order of the links


def _text(x) -> str:
    "Escape a value; the name of a file need not be UTF-8"
    return escape(str(x).encode("utf-8", "replace").decode())


def _link(path, text):
    return f'<a href="{quote(path, errors="surrogateescape")}">{_text(text)}</a>'


def _state(state, more=""):
    return f'<b class="s {state}">{state}</b>{more}'


def _file_links(job):
    "Links of a done job: its notebook, report and result, then its other files"
    if job.state != "done":
        return ""
    names = (job.result or {}).get("files", [])
    extensions = {name: PurePosixPath(name).suffix for name in names}
    number = Counter(extensions.values())
    first = list(_LINK_NAMES)

    def position(name):
        extension = extensions[name]
        return first.index(extension) if extension in first else len(first), name

    def title(name):
        extension = extensions[name]
        if number[extension] > 1 or not extension:
            return name  # two files of a kind are told apart by their names
        return _LINK_NAMES.get(extension, extension[1:])

    return " · ".join(_link(f"{job.name}/{name}", title(name)) for name in sorted(names, key=position))


def _time(seconds):
    if not seconds:
        return ""
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M:%S}</time>'


def _duration(job):
    "How long the last attempt took"
    if not (job.ended and job.started) or job.ended < job.started:  # the clock was set back meanwhile
        return ""
    seconds = job.ended - job.started
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def _failure(job, redact, exists):
    "A failed job: its source, error, and notebook as far as it got"
    tries = f" It was tried {job.tries} times." if job.tries > 1 else ""
    notebook = f"failed/{job.name}.ipynb"
    link = f" · {_link(notebook, 'notebook, as far as it got')}" if exists(notebook) else ""
    return (
        f'<li><b class="wrap">{_text(job.name)}</b>{link}<br>'
        f'<small class="wrap">{_text(redact(job.source))}</small>'
        f'<p class="error wrap">{_text(job.error or "no reason is known")}</p>'
        f'<p class="soft">{_WHY.get(job.failure_kind, "")}{tries}</p></li>'
    )


def _notes(job):
    "Warnings of the analysis and errors of earlier tries, folded"
    notes = list((job.result or {}).get("warnings") or [])
    if job.error:
        notes.append(f"before: {job.error}")
    if not notes or job.state == "failed":
        return ""
    title = "1 note" if len(notes) == 1 else f"{len(notes)} notes"
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f"<details><summary>{title}</summary><ul>{items}</ul></details>"


def _row(job, redact):
    result = job.result or {}

    def number(key):
        return "" if result.get(key) is None else _text(result[key])

    stage = f" {_text(job.stage)}" if job.state == "running" and job.stage else ""
    duration = result.get("duration")
    cells = [
        _state(job.state, stage),
        "" if duration is None else clock(duration),
        number("total_segments"),
        number("unique_speakers"),
        _duration(job),
        str(job.attempt or ""),
        _time(job.ended),
        _file_links(job),
    ]
    name = f"{_text(job.name)}<br><small>{_text(redact(job.source))}</small>{_notes(job)}"
    head = f'<th scope="row" role="rowheader" class="wrap">{name}</th>'
    columns = "".join(_cell(title, kind, cell) for (title, kind), cell in zip(_COLUMNS[1:], cells))
    return f'<tr role="row">{head}{columns}</tr>'


def _cell(title, kind, content):
    "A cell of a row; a narrow window shows its title before its content"
    label = "" if title in ("state", "files") else f' data-is="{title.partition(",")[0]}"'
    return f'<td role="cell" class="{kind}"{label}>{content}</td>'


def _bar(counts, total):
    "The states as parts of a line; the words below it say the same"
    parts, x = [], 0.0
    for state in _ORDER_OF_COUNTS:
        width = 100 * counts[state] / total
        if counts[state]:
            parts.append(f'<rect class="{state}" x="{x:.2f}" width="{width:.2f}" height="1"/>')
        x += width
    svg = f'<svg viewBox="0 0 100 1" preserveAspectRatio="none">{"".join(parts)}</svg>'
    return f'<div class="bar" aria-hidden="true">{svg}</div>'


def _table(jobs, redact):
    heads = "".join(
        f'<th scope="col" role="columnheader" class="{kind}">{title}</th>' for title, kind in _COLUMNS
    )
    rows = "\n".join(_row(job, redact) for job in jobs)
    head = f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
    return f'<table role="table">{head}<tbody role="rowgroup">\n{rows}\n</tbody></table>'


def index_html(
    jobs: Iterable,  # of the queue
    store,  # of the results: `FolderStore` or `S3Store`
    redact: Callable[[str], str] = str,  # removes the secrets of a source
    now: float | None = None,  # when the page is made, seconds since 1970; None: now
) -> str:
    "Make the page; failed jobs come first"
    jobs = sorted(jobs, key=lambda job: _ORDER.index(job.state))
    counts, now = Counter(job.state for job in jobs), now or datetime.now(timezone.utc).timestamp()
    listed_counts = [(state, counts[state]) for state in _ORDER_OF_COUNTS if counts[state]]
    parts = [f'<h1>Batch</h1><p class="soft wrap">{_text(store)}</p>']
    if jobs:
        items = "".join(f"<li>{_state(state, f' {number}')}</li>" for state, number in listed_counts)
        parts += [_bar(counts, len(jobs)), f'<ul class="tally">{items}</ul>']
    else:
        parts.append("<p>No jobs yet.</p>")
    parts.append(
        f'<p class="soft"><small>As of {_time(now)} UTC. Run the same command again to run what is missing '
        "and to update this page.</small></p>"
    )
    failed = [job for job in jobs if job.state == "failed"]
    others = [job for job in jobs if job.state != "failed"]
    if failed:
        parts.append(_failed_section(failed, store, redact))
    if others:
        parts += [f'<h2 id="jobs">{"Other jobs" if failed else "Jobs"}</h2>', _table(others, redact)]
    title = ", ".join(f"{number} {state}" for state, number in listed_counts) or "no jobs"
    return page(f"Batch: {title}", "".join(parts), _CSS)


def _failed_section(jobs, store, redact):
    folder = getattr(store, "path", None)

    def exists(name):
        return folder is None or (folder / name).exists()  # a bucket is not asked

    items = "\n".join(_failure(job, redact, exists) for job in jobs)
    return (
        '<h2 id="failed">Failed</h2><p class="soft">When the cause is mended, run the batch again with '
        "<code>--retry-failed</code>. To retry single jobs: "
        f"<code>ecg jobs retry NAME -o {_text(store)}</code>, "
        f'then the batch again.</p><ul class="failures">\n{items}\n</ul>'
    )
