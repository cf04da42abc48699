"""Write README.md from nbs/index.ipynb, links and pictures as GitHub wants them

python scripts/make_readme.py           write it
python scripts/make_readme.py --check   exit 1 where it is not in step
"""

import re, sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

head = "<!-- Made from nbs/index.ipynb by `make readme`: edit that. -->"
root = Path(__file__).resolve().parents[1]
link = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s]+)(?=\))")  # the target of a relative link or picture
directives = re.compile(r"(?:^[ \t]*#\|.*\n?)+", re.M)


def flagged(cell, *flags):
    return re.search(rf"^[ \t]*#\|[ \t]*(?:{'|'.join(flags)})[ \t]*$", cell.source, re.M)


def shown(notebook):
    "The notebook as a reader sees it: without hidden cells, directives and cells that hold only those"
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if flagged(cell, "hide"):
                continue
            source = "" if flagged(cell, "echo: *false") else directives.sub("", cell.source).strip()
            if not source and not cell.outputs:
                continue
            cell.source = source
        cells.append(cell)
    language = {"language_info": {"name": "python"}}
    return {**notebook, "cells": cells, "metadata": {**notebook.metadata, **language}}


def readme() -> str:
    "What README.md must hold"
    notebook = nbformat.from_dict(shown(nbformat.read(root / "nbs/index.ipynb", as_version=4)))
    exporter = MarkdownExporter(
        config=Config(NbConvertBase={"display_data_priority": ["text/markdown", "text/plain"]})
    )
    text, resources = exporter.from_notebook_node(notebook)
    if resources.get("outputs"):
        sys.exit("nbs/index.ipynb: a picture as output can't go to README.md; use nbs/images/")
    text = re.sub(r"^```python\n\s*```\n", "", text, flags=re.M)  # a cell that shows its output alone
    text = link.sub(lambda m: re.sub(r"^nbs/\.\./", "", f"nbs/{m[1]}"), text)
    return f"{head}\n\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def main():
    file = root / "README.md"
    if sys.argv[1:] == ["--check"]:
        if not file.exists() or file.read_text() != readme():
            sys.exit("README.md is not in step with nbs/index.ipynb: make readme")
    else:
        file.write_text(readme())


if __name__ == "__main__":
    main()
