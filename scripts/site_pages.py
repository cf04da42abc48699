"""The pages of the site that are written from other files: what the job notebooks take, benchmarks, changelog

    python scripts/site_pages.py    write them into nbs/ as .qmd files, for Quarto

`make_site.py` takes the same text as it is. Git ignores the files.
"""

import ast, io, json, re, tokenize
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
APART = "date", "machine", "versions", "details"  # of a benchmark's result: all else is a figure


def page(title, description, body, **more):
    "A page as Quarto reads it"
    head = {"title": title, "description": description, **more}
    return (
        "---\n"
        + "".join(f"{k}: {json.dumps(v, ensure_ascii=False)}\n" for k, v in head.items())
        + f"---\n\n{body.strip()}\n"
    )


def in_cell(text):
    return " ".join(str(text).split()).replace("|", r"\|")


# What the jobs take


def source(cell):
    return "".join(cell["source"])


def parameters_cell(notebook):
    "The cell that papermill puts its own after, or None"
    return next((c for c in notebook["cells"] if "parameters" in c.get("metadata", {}).get("tags", ())), None)


def parameters(code):
    "(name, default, comment) of each assignment of a parameters cell"
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    assigned = [a for a in ast.parse(code).body if isinstance(a, ast.Assign)]
    return [
        (a.targets[0].id, ast.get_source_segment(code, a.value), comments.get(a.end_lineno, ""))
        for a in assigned
    ]


def parameter_table(code):
    rows = "".join(
        f"| `{name}` | `{in_cell(default)}` | {in_cell(text)} |\n"
        for name, default, text in parameters(code)
    )
    return f"| parameter | if not given | what it is |\n| --- | --- | --- |\n{rows}"


def said(notebook):
    "Title and line of description of a notebook, without the mark that it is a job"
    title, line = re.match(r"# (.+?)\n+> ([^\n]+)", source(notebook["cells"][0])).groups()
    return re.sub(r" \(job\)$", "", title), line


def job_page():
    "Every job notebook with what it takes"
    parts = []
    for path in sorted((NBS / "jobs").glob("*.ipynb")):
        notebook = json.loads(path.read_text())
        title, line = said(notebook)
        parts.append(
            (
                f"## {title}\n\n{line}. [The "
                f"notebook](jobs/{path.name})\n\n{parameter_table(source(parameters_cell(notebook)))}"
            )
        )
    body = """\
A job is a notebook that [papermill](https://papermill.readthedocs.io) fills in and runs. `ecg batch` runs
`analyze` on every recording, or the notebook that `--notebook` names. [The guide](guides/batch.ipynb) shows
how to write your own.

```sh
papermill nbs/jobs/analyze.ipynb talk.ipynb -p source talk.mp4 -p output_dir out
ecg batch inbox -o results --notebook nbs/jobs/benchmark.ipynb
```
"""
    return page(
        "Parameters of the jobs",
        "What papermill and `ecg batch` run, and the parameters each takes",
        "\n".join([body, *parts]),
    )


# What was measured


def bars(rows, unit=""):
    "Rows of (label, figure) as bars, the longest of them full"
    most = max(abs(v) for _, v in rows) or 1
    lines = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{number(v)}{unit}</td>'
        f'<td class="bar"><span style="width:{max(100 * abs(v) / most, 0.5):.1f}%"></span></td></tr>'
        for label, v in rows
    )
    return f'<table class="bars">{lines}</table>'


def number(v):
    return (
        "not known"
        if v is None
        else f"{v:,}"
        if isinstance(v, int)
        else f"{v:,.4g}"
        if abs(v) < 1e4
        else f"{v:,.0f}"
    )


def figure(v):
    "Any figure as a line of text"
    if isinstance(v, dict):
        return "; ".join(f"{k}: {figure(x)}" for k, x in v.items())
    if isinstance(v, list):
        return ", ".join(map(figure, v))
    return number(v) if v is None or isinstance(v, int | float) else str(v)


def pairs(figures):
    "Figures that were measured of ours and of a peer: name to rows of bars"
    found = {}
    for key, value in figures.items():
        stem, _, mine = key.rpartition("_ours")
        if not stem or mine:
            continue
        peers = {
            k: v
            for k, v in figures.items()
            if k.startswith(stem + "_") and k != key and isinstance(v, int | float)
        }
        if peers:
            found[stem] = [("ecg_audio_nb", value), *((k[len(stem) + 1 :], v) for k, v in peers.items())]
    return found


def by_model(figures):
    "Figures by model that were measured of ours and of WhisperX: name to rows of bars"
    found = {}
    for key, theirs in figures.items():
        stem = key.removesuffix("_whisperx")
        ours = figures.get(stem, figures.get(f"{stem}_ours"))
        if stem == key or not isinstance(ours, dict) or not isinstance(theirs, dict):
            continue
        rows = [
            (f"{who}, {m}", row.get(m))
            for m in ours
            for who, row in (("ecg_audio_nb", ours), ("WhisperX", theirs))
        ]
        found[stem] = [(label, value) for label, value in rows if value is not None]
    return found


def series(figures):
    """Figures that were measured at several lengths, by a list beside `minutes` or by a number at the end of
    their names"""
    found = {}
    minutes = figures.get("minutes")
    for key, value in figures.items():
        if minutes and key != "minutes" and isinstance(value, list) and len(value) == len(minutes):
            found[key] = [(f"{m} minutes", v) for m, v in zip(minutes, value)]
        elif m := re.fullmatch(r"(peak_mb|seconds)_(\d+)", key):
            found.setdefault(m[1], []).append((f"{m[2]} minutes", value))
    return {k: rows for k, rows in found.items() if len(rows) > 1 and all(v is not None for _, v in rows)}


def drawn(figures):
    return "".join(
        f'<div class="figure"><b><code>{escape(k)}</code></b>\n{bars(rows)}\n</div>\n\n'
        for k, rows in {**pairs(figures), **by_model(figures), **series(figures)}.items()
    )


def explained(script):
    "Title and text of a benchmark: its docstring, without the line that tells how to call it"
    title, _, text = ast.get_docstring(ast.parse(script.read_text())).partition("\n")
    return title.rstrip("."), re.sub(r"^    python .*\n+", "", text, flags=re.M).strip()


def benchmark_section(script):
    title, text = explained(script)
    kept = ROOT / f"benchmarks/results/{script.stem}.json"
    parts = [f"## {script.stem}", f"**{title}.**", text]
    if not kept.exists():
        return "\n\n".join(
            [*parts, f"No result is kept of this one yet: `python benchmarks/{script.name}` measures it."]
        )
    result = json.loads(kept.read_text())
    figures = {k: v for k, v in result.items() if k not in APART}
    table = "| figure | value |\n| --- | --- |\n" + "".join(
        f"| `{k}` | {in_cell(figure(v))} |\n" for k, v in figures.items()
    )
    m, versions = result["machine"], {k: v for k, v in result["versions"].items() if v}
    cores = f"{m['cores']} core{'s' * (m['cores'] > 1)}"
    where = (
        f"Measured on {result['date']}: {m['cpu']}, {cores}, {m['system']}, Python {m['python']}; "
        + ", ".join(f"{k} {v}" for k, v in versions.items())
        + "."
    )
    return "\n\n".join(
        [
            *parts,
            drawn(figures).strip(),
            table.strip(),
            where,
            (
                f"[The script](../benchmarks/{script.name}), [the whole "
                f"result](../benchmarks/results/{kept.name})"
            ),
        ]
    )


def benchmark_page():
    scripts = sorted(p for p in (ROOT / "benchmarks").glob("*.py") if p.name[0] != "_")
    body = (
        "Each script measures one claim: the package and, where there is one, a peer in the same run, on "
        "the same machine. "
        "The bars are drawn from the results that the scripts keep. A key with `ratio` in its name "
        "compares the two; "
        "the script's text says how."
    )
    text = "\n\n".join([body, *map(benchmark_section, scripts)])
    return page("Benchmarks", "What was measured, on which machine, with which versions", text)


# What changed


def changelog_page():
    text = (ROOT / "CHANGELOG.md").read_text().partition("\n")[2]
    # as seen from nbs/
    text = re.sub(
        r"\]\((?!https?:|#)(nbs/)?([^)]+)\)", lambda m: f"]({m[2]})" if m[1] else f"](../{m[2]})", text
    )
    return page("Changelog", "What changed, version by version", text)


# What Python can import

PACKAGE = ROOT / "ecg_audio_nb"
LAYERS = {  # heading: modules below `ecg_audio_nb`, those first that most programs start with
    "Analyze": "pipeline settings schema stages features reproduce channels checkpoints catalogue",
    "Results": "results",
    "Research": "research",
    "Speech": "speech",
    "Voice": "voice",
    "Audio": "audio",
    "Models and machine": "models environment",
    "Batch": "batch",
    "Service": "service",
}


def offered(tree):
    "Functions and classes that `__all__` of a module names; the whole before its parts: the last one first"
    listed = next((n.value for n in tree.body if ast.unparse(n).startswith("__all__ =")), None)
    names = {e.value for e in listed.elts} if listed else set()
    return [n for n in reversed(tree.body) if getattr(n, "name", None) in names]


def summary(node):
    "The first sentence of a docstring"
    return (ast.get_docstring(node) or "").partition("\n\n")[0]


def notebooks_by_module():
    "Module to the notebook that defines it"
    found = {}
    for path in sorted(NBS.glob("*.ipynb")):
        m = re.search(r"#\| default_exp ([\w.]+)", path.read_text())
        if m:
            found[m[1]] = path.name
    return found


def api_module(path, notebooks):
    "One module: what it is, then what it offers, a line each; nothing if it offers nothing"
    tree = ast.parse(path.read_text())
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    names = offered(tree)
    if not names:
        return ""
    here = notebooks.get(module)
    place = f"ecg_audio_nb/{path.relative_to(PACKAGE).as_posix()}"
    link = here or f"../{place}"
    text = f"### [{module}]({link})\n\n{ast.get_docstring(tree).partition(chr(10))[0]}\n\n"
    for n in names:
        to = f"{here}#{n.name.lower()}" if here else f"../{place}#L{n.lineno}"
        text += f"- [`{n.name}`]({to}) {' '.join(summary(n).split())}\n"
    return text


def api_page():
    notebooks, parts = notebooks_by_module(), []
    for heading, modules in LAYERS.items():
        paths = [
            path
            for m in modules.split()
            for path in sorted((PACKAGE / m).glob("*.py")) or [PACKAGE / f"{m}.py"]
        ]
        parts += [f"## {heading}", *filter(None, (api_module(path, notebooks) for path in paths))]
    body = """\
Most programs need six names, and the package itself has them:

```python
from ecg_audio_nb import Analysis, Settings, analyze, explore, load_settings, read_result

result = analyze("talk.mp4", num_speakers=2)
result.to_frame()      # a row a word
result.save("out")     # talk.json, talk.srt and the other formats
```

Below is what each module offers beyond them, in the order of the layers. What a module keeps to itself stands
folded on its page. A module without a notebook leads to its source.
"""
    return page("Python API", "What Python can import, module by module", "\n\n".join([body, *parts]))


PAGES = {
    "api.qmd": api_page,
    "job_notebooks.qmd": job_page,
    "benchmarks.qmd": benchmark_page,
    "changelog.qmd": changelog_page,
}


def main():
    for name, text in PAGES.items():
        (NBS / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
