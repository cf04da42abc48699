"""Build the documentation without Quarto: the notebooks of nbs/ as pages in _docs/, readable from a disk or
any web server

    python scripts/make_site.py [--out _docs]

The sidebar of `_quarto.yml` says which pages there are. A page shows what Quarto and nbdev would show: no
hidden cells, the signature and documentation of what a notebook exports in place of its code (which is folded
below), outputs as they were kept. A link that leads nowhere ends the build with an error. Nothing is fetched,
and nothing is executed: what a page says of the package is read from its source.
"""

import argparse, ast, base64, hashlib, json, os, re, shutil, sys, tempfile, tomllib
from dataclasses import dataclass, field
from functools import cache
from html import escape, unescape
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]  # this repository's package, not an installed one

import jinja2
import mistune
import nbformat
import yaml
from make_readme import shown
from nbconvert.filters.ansi import ansi2html, strip_ansi
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound
from site_pages import NBS, PAGES, in_cell, parameter_table, summary

LOOKS = ROOT / "scripts/site"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REPOSITORY = PROJECT["project"]["urls"]["Repository"]
GENERATED = {
    "api.qmd": "tree/main/ecg_audio_nb",
    "benchmarks.qmd": "tree/main/benchmarks",
    "changelog.qmd": "blob/main/CHANGELOG.md",
    "job_notebooks.qmd": "tree/main/nbs/jobs",
}
# by the search
UNREAD = re.compile(
    r"<pre[^>]*>.*?</pre>|<style.*?</style>|<svg.*?</svg>|<h\d.*?</h\d>|<summary>.*?</summary>", re.S
)
# of an output: tells a reader nothing
NO_TEXT = re.compile(r"<[\w.]+ (?:object )?at 0x\w+>|<[\w.]+ object>|<Figure size .+>")
WORDS = {  # what stands around a page, by its language
    "en": {
        "search": "Search",
        "menu": "Contents",
        "theme": "Light or dark",
        "here": "On this page",
        "previous": "Previous",
        "next": "Next",
        "source": "Source",
        "skip": "Skip to the text",
        "page": "This page on GitHub",
        "fault": "Report a fault",
        "other": "한국어",
        "nothing": "Nothing found",
        "results": "{} found",
        "helper": "Helper",
    },
    "ko": {
        "search": "검색",
        "menu": "목차",
        "theme": "밝게 또는 어둡게",
        "here": "이 페이지에서",
        "previous": "이전",
        "next": "다음",
        "source": "소스",
        "skip": "본문으로",
        "page": "GitHub에서 이 페이지 보기",
        "fault": "문제 알리기",
        "other": "English",
        "nothing": "찾지 못했습니다",
        "results": "{}건",
        "helper": "내부 함수",
    },
}


NEWLINE = "\n"


class SiteError(Exception):
    "A page that can't be built, with the reason"


@dataclass
class Page:
    "A page on its way from a notebook to HTML"

    source: str  # its path below nbs/
    section: str  # of the sidebar; empty: none
    title: str = ""
    description: str = ""
    lang: str = "en"
    cells: list = field(default_factory=list)
    body: str = ""
    contents: list = field(default_factory=list)  # (level, id, heading)
    ids: set = field(default_factory=set)
    module: str | None = None  # that the notebook writes

    @property
    def url(self):
        path = Path(self.source)
        return path.with_name(re.sub(r"^\d+[a-z]?_", "", path.stem) + ".html").as_posix()

    @property
    def origin(self):
        "Where its text stands on GitHub"
        return f"{REPOSITORY}/{GENERATED.get(self.source, f'blob/main/nbs/{self.source}')}"

    def to(self, url):
        "The way from this page to another address of the site"
        path, hash, part = url.partition("#")
        return os.path.relpath(path, Path(self.url).parent.as_posix()).replace(os.sep, "/") + hash + part


# Reading


def sidebar(config):
    "(section, source) of every page, in order"

    def leaves(entries, section=""):
        for e in entries:
            if isinstance(e, str):
                yield section, e
            else:
                yield from leaves(e["contents"], e["section"])

    return list(leaves(config["website"]["sidebar"]["contents"]))


def heading(text):
    "Title, description and further values of a first cell: `# title`, `> one line`, `- key: value`"
    m = re.match(r"# (.+)\n+(?:> (.+)\n*)?((?:- \w+: .+\n?)*)", text)
    if not m:
        return None
    return {
        "title": m[1].strip(),
        "description": (m[2] or "").strip(),
        **dict(re.findall(r"- (\w+): (.+)", m[3])),
    }, text[m.end() :]


def read(section, source):
    "A page with its cells, not yet rendered"
    page = Page(source, section)
    if source in PAGES:
        _, front, text = PAGES[source]().split("---\n", 2)
        head, cells = yaml.safe_load(front), [nbformat.v4.new_markdown_cell(text)]
    else:
        notebook = nbformat.read(NBS / source, as_version=4)
        for c in notebook.cells:
            c.metadata.directives = dict(
                re.findall(
                    (
                        r"^[ \t]*#\|[ \t]*([\w-]+):?[ "
                        r"\t]*(.*?)[ \t]*$"
                    ),
                    c.source,
                    re.M,
                )
            )
        cells = shown(notebook)["cells"]
        head, cells[0].source = heading(cells[0].source) or ({}, cells[0].source)
        page.module = next(
            (
                c.metadata.directives["default_exp"]
                for c in notebook.cells
                if "default_exp" in c.metadata.directives
            ),
            None,
        )
    if not head.get("title") or not head.get("description"):
        raise SiteError(f"nbs/{source}: a page begins with a cell of `# title` and `> one line`")
    page.title, page.description, page.lang, page.cells = (
        head["title"],
        head["description"],
        head.get("lang", "en"),
        cells,
    )
    if page.lang not in WORDS:
        raise SiteError(f"nbs/{source}: no words for the language {page.lang}; there are {', '.join(WORDS)}")
    return page


def exported(cell):
    return cell.cell_type == "code" and bool({"export", "exports"} & set(cell.metadata.get("directives", ())))


def helper(cell):
    "Whether a cell exports what only its own module needs: it is in no `__all__`"
    return cell.cell_type == "code" and "exporti" in cell.metadata.get("directives", ())


def definitions(code):
    "Public functions and classes of a cell"
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [n.name for n in ast.parse(code).body if isinstance(n, kinds) and n.name[0] != "_"]


def only_imports(code):
    return all(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.parse(code).body)


# Rendering


def coloured(code, language):
    "Code as HTML, in the classes of pygments"
    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    return highlight(code.strip("\n"), lexer, HtmlFormatter(cssclass="code", wrapcode=True)).replace(
        "<pre>", '<pre tabindex="0">'
    )


def identifier(text):
    "A heading's id, as pandoc forms it"
    plain = re.sub(r"[^\w\s.-]", "", unescape(re.sub(r"<[^>]+>", "", text)).lower())
    return re.sub(r"\s+", "-", plain.strip()).strip("-") or "section"


class Html(mistune.HTMLRenderer):
    """Markdown of one page; links are resolved in the site, names of the package lead to where they are
    described"""

    def __init__(self, site, page):
        super().__init__(escape=False)
        self.site, self.page, self.linked = site, page, False

    def heading(self, text, level, **attrs):
        level, wanted, n = max(level, 2), identifier(text), 1
        id = wanted
        while id in self.page.ids:
            n, id = n + 1, f"{wanted}-{n}"
        self.page.ids.add(id)
        self.page.contents.append((level, id, re.sub(r"<[^>]+>", "", text)))
        return (
            f'<h{level} id="{id}">{text} <a class="anchor" href="#{id}" aria-hidden="true" '
            f'tabindex="-1">#</a></h{level}>\n'
        )

    def link(self, text, url, title=None):
        return f'<a href="{escape(self.site.resolve(self.page, url))}">{text}</a>'

    def image(self, text, url, title=None):
        if not text:
            raise SiteError(f"nbs/{self.page.source}: the picture {url} has no description")
        return (
            f'<img src="{escape(self.site.resolve(self.page, url))}" alt="{escape(unescape(text))}" '
            'loading="lazy">'
        )

    def codespan(self, text):
        code = f"<code>{escape(text, quote=False)}</code>"
        place = self.site.place(text, self.page)
        return f'<a class="name" href="{self.page.to(place)}">{code}</a>' if place else code

    def block_code(self, code, info=None):
        return coloured(code, (info or "").split()[0] if info else "text")

    def table(self, text):
        return f'<div class="wide" tabindex="0"><table>{text}</table></div>\n'


class Site:
    "All pages, and what links need to know of each other"

    def __init__(self):
        self.config = yaml.safe_load((ROOT / "_quarto.yml").read_text())
        self.pages = [read(section, source) for section, source in sidebar(self.config)]
        self.by_source = {p.source: p for p in self.pages}
        self.files, self.faults, self.fragments = {}, [], []
        self.names = self.described()
        if len({p.url for p in self.pages}) < len(self.pages):
            raise SiteError("two pages of _quarto.yml have one address")

    def described(self):
        "Name to address of what the package exports; a name that two modules define leads nowhere"
        found, twice = {}, set()
        for p in self.pages:
            if not p.module:
                continue
            found[p.module] = p.url
            for name in (n for c in p.cells if exported(c) or helper(c) for n in definitions(c.source)):
                found[f"{p.module}.{name}"] = f"{p.url}#{identifier(name)}"
                if name in found:
                    twice.add(name)
                found.setdefault(name, f"{p.url}#{identifier(name)}")
        return {n: u for n, u in found.items() if n not in twice}

    def place(self, text, page):
        "Where a name of the package is described; None for any other text"
        name = re.fullmatch(r"(?:ecg_audio_nb\.)?(\w+(?:\.\w+)*)(\(\))?", text)
        if not name or not (name[2] or re.search("[A-Z_.]", name[1])):
            return None  # a plain word may mean anything
        here = self.names.get(f"{page.module}.{name[1]}")
        return here or self.names.get(name[1])

    def resolve(self, page, url):
        """A link of a page's text as it stands in the site: to a page, to a picture beside it, or to a file
        on GitHub"""
        if re.match(r"[a-z][a-z+.-]*:", url):
            if (there := url.removeprefix(f"{REPOSITORY}/blob/main/")) != url and not (
                ROOT / there.partition("#")[0]
            ).exists():
                self.faults.append(f"nbs/{page.source}: {url}: no such file in the repository")
            return url
        if url.startswith("#"):
            self.fragments.append((page, page, unquote(url[1:])))
            return url
        path, _, part = url.partition("#")
        target = Path(os.path.normpath((NBS / page.source).parent / unquote(path)))
        inside = target.relative_to(NBS).as_posix() if target.is_relative_to(NBS) else None
        if inside in self.by_source:
            other = self.by_source[inside]
            if part:
                self.fragments.append((page, other, unquote(part)))
            return page.to(other.url + (f"#{part}" if part else ""))
        if not target.exists() or not target.is_relative_to(ROOT):
            self.faults.append(f"nbs/{page.source}: {url}: no such page or file")
            return url
        if target.suffix in (".png", ".svg", ".jpg", ".webp"):
            self.files[inside or target.name] = target.read_bytes()
            return page.to(inside or target.name)
        return f"{REPOSITORY}/blob/main/{target.relative_to(ROOT).as_posix()}" + (f"#{part}" if part else "")

    def markdown(self, page, text):
        return mistune.create_markdown(
            renderer=Html(self, page), plugins=["table", "strikethrough", "footnotes"]
        )(text)

    # What a notebook holds

    def cell(self, page, cell):
        d = cell.metadata.get("directives", {})
        if cell.cell_type == "markdown":
            return self.markdown(page, re.sub(r"^[ \t]*#\|.*\n", "", cell.source, flags=re.M))
        if cell.cell_type != "code":
            return ""
        if "default_exp" in d and not cell.source:
            return ""
        if exported(cell):
            return self.exported(page, cell)
        if helper(cell):
            return self.helper(page, cell)
        if "parameters" in cell.metadata.get("tags", ()):
            return self.markdown(page, parameter_table(cell.source)) + self.folded(page, cell.source)
        if not cell.source:
            code = ""
        elif "code-fold" in d:
            code = self.folded(page, cell.source, d["code-fold"] == "show")
        else:
            code = coloured(cell.source, "python")
        outputs = "" if d.get("output") == "false" else "".join(self.output(page, o) for o in cell.outputs)
        return f'<div class="cell">{code}{outputs}</div>\n'

    def folded(self, page, code, opened=False, what=""):
        summary = WORDS[page.lang]["source"] + (f" of <code>{escape(what)}</code>" if what else "")
        start = '<details class="fold" open>' if opened else '<details class="fold">'
        return f"{start}<summary>{summary}</summary>{coloured(code, 'python')}</details>\n"

    def exported(self, page, cell):
        "What a cell exports: how each definition is called and what it does, then the code, folded"
        if only_imports(cell.source):
            return ""
        docs = "".join(self.api(page, name) for name in definitions(cell.source))
        named = ", ".join(
            n.name if hasattr(n, "name") else ast.unparse(n.targets[0])
            for n in ast.parse(cell.source).body
            if hasattr(n, "name") or isinstance(n, ast.Assign)
        )
        return docs + self.folded(page, cell.source, what="" if docs else named)

    def helper(self, page, cell):
        "What only its own module needs: a line in sight, signature, documentation and code folded"
        names = definitions(cell.source)
        if not names:
            return self.exported(page, cell)
        ids = [i for n in names if (i := identifier(n)) not in page.ids]
        page.ids.update(ids)
        anchors = "".join(f'<span id="{i}"></span>' for i in ids)
        lines, nodes = module_source(page.module)
        docs = "".join(self.described_body(page, nodes[n], lines) for n in names)
        named = ", ".join(f"<code>{n}</code>" for n in names)
        line = self.inline(page, summary(nodes[names[0]]))
        return (
            f'{anchors}<details class="fold helper"><summary>{WORDS[page.lang]["helper"]} {named}: {line}'
            f"</summary>{docs}{coloured(cell.source, 'python')}</details>\n"
        )

    def offers(self, page):
        "What a module offers to others: name and first sentence, the last one defined first"
        lines, nodes = module_source(page.module)
        names = [n for c in page.cells if exported(c) for n in definitions(c.source)]
        if len(names) < 2:
            return ""
        rows = "".join(
            f'<li><a href="#{identifier(n)}"><code>{n}</code></a> {self.inline(page, summary(nodes[n]))}</li>'
            for n in reversed(names)
        )
        title = f"<code>from ecg_audio_nb.{page.module} import ...</code>"
        return f'<nav class="offers" aria-label="{page.module}"><p>{title}</p><ul>{rows}</ul></nav>\n'

    def inline(self, page, text):
        "One line of Markdown, without the paragraph around it"
        return re.sub(r"^<p>|</p>\n?$", "", self.markdown(page, text).strip())

    def api(self, page, name):
        """As nbdev's `show_doc`: signature with its comments, docstring, the place in the source; public
        methods a line each"""
        lines, nodes = module_source(page.module)
        node = nodes[name]
        link = f"{REPOSITORY}/blob/main/ecg_audio_nb/{page.module.replace('.', '/')}.py#L{node.lineno}"
        where = (
            f'<a class="to-source" href="{link}" aria-label="{name} on '
            f'GitHub">{WORDS[page.lang]["source"]}</a>'
        )
        body = self.described_body(page, node, lines)
        return f'<section class="api">{where}{self.markdown(page, f"### {name}")}{body}</section>\n'

    def described_body(self, page, node, lines):
        "Signature, docstring and public methods of a definition"
        text = ast.get_docstring(node) or ""
        body = coloured(signature(lines, node), "python") + self.markdown(page, text)
        return body + (self.methods(page, node) if isinstance(node, ast.ClassDef) else "")

    def methods(self, page, node):
        rows = []
        for f in (n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)):
            if f.name[0] == "_" or not (said := ast.get_docstring(f)):
                continue
            marks = {ast.unparse(d).rpartition(".")[2] for d in f.decorator_list}
            taken = re.sub(r"^(self|cls)(, |$)", "", ast.unparse(bare(f.args)))
            rows.append(
                (
                    f"| `{f.name}{'' if marks & {'property', 'cached_property'} else f'({taken})'}` | "
                    f"{in_cell(said)} |"
                )
            )
        return self.markdown(page, "| method | |\n| --- | --- |\n" + "\n".join(rows)) if rows else ""

    def output(self, page, output):
        "An output as it was kept, in the richest form a page can show"
        if output.output_type == "stream":
            text = re.sub(r"[^\n]*\r(?!\n)", "", output.text).strip("\n")  # a progress bar: its last state
            return f'<pre class="output" tabindex="0">{ansi2html(text)}</pre>' if text.strip() else ""
        if output.output_type == "error":
            return (
                '<pre class="output error" '
                f'tabindex="0">{escape(strip_ansi(NEWLINE.join(output.traceback)))}</pre>'
            )
        data = output.data
        if "text/html" in data:
            return f'<div class="output html" tabindex="0">{data["text/html"]}</div>'
        if "text/markdown" in data:
            return self.markdown(page, data["text/markdown"])
        if "image/svg+xml" in data:
            return f'<div class="output html">{data["image/svg+xml"]}</div>'
        if "image/png" in data:
            return self.picture(page, base64.b64decode(data["image/png"]))
        text = data.get("text/plain", "")
        return (
            ""
            if not text or NO_TEXT.fullmatch(text)
            else f'<pre class="output" tabindex="0">{ansi2html(text)}</pre>'
        )

    def picture(self, page, png):
        name = f"files/{hashlib.sha256(png).hexdigest()[:16]}.png"
        self.files[name] = png
        width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
        part = page.contents[-1][2] if page.contents else page.title
        size = f'width="{width}" height="{height}"'
        return (
            f'<img class="output" src="{page.to(name)}" {size} alt="{escape(f"Output: {part}")}" '
            'loading="lazy">'
        )

    # Writing

    def render(self):
        for page in self.pages:
            first, *others = (self.cell(page, c) for c in page.cells)
            page.body = first + (self.offers(page) if page.module else "") + "".join(others)
        for page, other, part in self.fragments:
            if part not in other.ids:
                self.faults.append(f"nbs/{page.source}: no heading #{part} in {other.source}")
        if self.faults:
            raise SiteError("\n".join(self.faults))

    def sections(self):
        "The index of the search: (page, heading, address, text) of every part of every page"
        for page in self.pages:
            parts = re.split(r'(?=<h[2-6] id=")', page.body)
            for i, part in enumerate(parts):
                m = re.match(r'<h\d id="([^"]+)"', part)
                title = next((t for _, id, t in page.contents if m and id == m[1]), "")
                text = " ".join(unescape(re.sub(r"<[^>]+>", " ", UNREAD.sub(" ", part))).split())
                if not i:
                    text = f"{page.description}. {text}"
                if title or not i:
                    yield [page.title, title, page.url + (f"#{m[1]}" if m else ""), text[:1500], page.lang]

    def neighbours(self, page):
        same = [p for p in self.pages if p.lang == page.lang]
        i = same.index(page)
        return (same[i - 1] if i else None), (same[i + 1] if i + 1 < len(same) else None)

    def translation(self, page):
        "The page of the same name in the other language, or None"
        return next(
            (p for p in self.pages if p.lang != page.lang and Path(p.source).stem == Path(page.source).stem),
            None,
        )

    def write(self, folder):
        loader = jinja2.FileSystemLoader(LOOKS)
        look = jinja2.Environment(
            loader=loader, autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
        )
        sections = list(dict.fromkeys(p.section for p in self.pages))
        menu = [(s, [p for p in self.pages if p.section == s]) for s in sections]
        for page in self.pages:
            before, after = self.neighbours(page)
            text = look.get_template("page.html").render(
                page=page,
                menu=menu,
                before=before,
                after=after,
                translation=self.translation(page),
                words=WORDS[page.lang],
                site=PROJECT["tool"]["nbdev"]["title"],
                repository=REPOSITORY,
                root=page.to("index.html").removesuffix("index.html"),
            )
            path = folder / page.url
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / "site.css").write_text((LOOKS / "site.css").read_text() + code_colours())
        shutil.copy2(LOOKS / "site.js", folder)
        index = json.dumps(list(self.sections()), ensure_ascii=False, separators=(",", ":"))
        # a script, as a page on a disk may not fetch
        (folder / "search.js").write_text(f"window.pages = {index}\n", encoding="utf-8")


@cache
def module_source(module):
    "Lines of a module, and name to node of what it defines"
    text = (ROOT / f"ecg_audio_nb/{module.replace('.', '/')}.py").read_text()
    return text.splitlines(), {n.name: n for n in ast.parse(text).body if hasattr(n, "name")}


def head(lines, node):
    "A definition up to its body, as it is written: a value would tell of this machine, its name does not"
    first = node.body[0]
    text = lines[node.lineno - 1 : first.lineno]
    text[-1] = text[-1].encode()[: first.col_offset].decode()
    return "\n".join(text).rstrip()


def signature(lines, node):
    "How a function is called; of a class what it is made of: its fields, or its `__init__`"
    if not isinstance(node, ast.ClassDef):
        return head(lines, node)
    init = next((n for n in node.body if getattr(n, "name", "") == "__init__"), None)
    parts = [head(lines, node)]
    if init:
        parts.append(head(lines, init))
    else:
        fields = (n for n in node.body if isinstance(n, ast.AnnAssign) and n.target.id[0] != "_")
        parts += ["\n".join(lines[n.lineno - 1 : n.end_lineno]) for n in fields]
    return "\n".join(parts)


def bare(args):
    "Parameters by name alone"
    for a in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
        if a:
            a.annotation = None
    args.defaults, args.kw_defaults = [], [None] * len(args.kwonlyargs)
    return args


def code_colours():
    "pygments' colours, light and dark"

    def rules(style, where):
        lines = HtmlFormatter(style=style).get_style_defs(f"{where} .code").splitlines()
        return "\n".join(line for line in lines if re.match(rf"{re.escape(where)} \.code \.", line))

    dark = rules("github-dark", ":root[data-theme=dark]")
    return (
        f"\n{rules('xcode', ':root')}\n{dark}\n@media (prefers-color-scheme: dark) {{\n"
        + dark.replace(":root[data-theme=dark]", ":root:not([data-theme=light])")
        + "\n}\n"
    )


def build(out):
    "Write the site; the folder appears whole, and an old one stays until then"
    out = Path(out).resolve()
    if (
        out.exists()
        and any(out.iterdir())
        and not (out / "search.js").exists()
        and not (out / "search.json").exists()
    ):
        raise SiteError(
            f"{out} is not a site of ours, and it is not empty: name another folder, or remove it"
        )
    site = Site()
    site.render()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as tmp:
        new = Path(tmp, "new")
        new.mkdir()
        site.write(new)
        if out.exists():
            out.rename(Path(tmp, "old"))
        new.rename(out)
    return site


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "_docs", help="folder to write (default: _docs)")
    args = parser.parse_args()
    try:
        site = build(args.out)
    except SiteError as e:
        sys.exit(str(e))
    print(f"{len(site.pages)} pages, {len(site.files)} pictures, broken links 0: {args.out / 'index.html'}")


if __name__ == "__main__":
    main()
