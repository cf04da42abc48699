"""The site that is built without Quarto: every page, every link and picture, what it shows of the notebooks,
how it behaves"""
import ast, json, os, re, subprocess, sys, tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urljoin, urlsplit

import nbformat
import pytest
from browsers import chromium_browser
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
make_site = pytest.importorskip("make_site", reason="nbconvert or nbdev is not installed: no site is built")
import site_pages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REPOSITORY = PROJECT["project"]["urls"]["Repository"]


class Read(HTMLParser):
    "What a page holds"
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.pictures, self.loads, self.meta, self.lang, self.title, self.h1 = (
            [],
            [],
            [],
            [],
            {},
            None,
            "",
            0,
        )
        self.tags, self.alternate = [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.tags.append(tag)
        if tag == "html": self.lang = a["lang"]
        if tag == "h1": self.h1 += 1
        if "id" in a: self.ids.append(a["id"])
        if tag == "a" and "href" in a: self.links.append(a["href"])
        if tag == "img": self.pictures.append((a["src"], a.get("alt")))
        if tag in ("script", "img", "iframe", "video", "audio", "source") and "src" in a:
            self.loads.append(a["src"])
        if tag == "link":
            (
                self.alternate.update({a["hreflang"]: a["href"]})
                if "hreflang" in a
                else self.loads.append(a["href"])
            )
        if tag == "meta" and "name" in a: self.meta[a["name"]] = a["content"]

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "title" and not self.title: self.title = data


CANARY = "a-secret-of-this-machine-4711"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "Built in a process of its own, with a secret in its environment, and nothing of it imported before"
    folder = tmp_path_factory.mktemp("site") / "_docs"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/make_site.py", "--out", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "ECG_API_KEYS": CANARY},
    )
    assert not done.returncode, done.stderr
    built = make_site.Site()
    assert done.stdout.startswith(f"{len(built.pages)} pages") and "broken links 0" in done.stdout
    text = {p.url: (folder / p.url).read_text() for p in built.pages}
    return SimpleNamespace(
        folder=folder, pages=built.pages, text=text, read={u: Read(t) for u, t in text.items()}
    )


# Every page

def test_every_notebook_is_a_page_and_nothing_else_is(site):
    notebooks = {
        p.relative_to(ROOT / "nbs").as_posix()
        for p in (ROOT / "nbs").rglob("*.ipynb")
        if ".ipynb_checkpoints" not in p.parts
    }
    assert {p.source for p in site.pages} == notebooks | set(site_pages.PAGES)
    assert {p.relative_to(site.folder).as_posix() for p in site.folder.rglob("*.html")} == set(site.text)


def test_every_page_has_a_title_and_a_description(site):
    for url, page in site.read.items(): assert page.title and page.meta["description"] and page.h1 == 1, url
    titles = [p.title for p in site.read.values()]
    assert sorted(titles) == sorted(set(titles))


def test_every_link_and_picture_leads_somewhere(site):
    broken, seen = [], 0
    for url, page in site.read.items():
        for link in [*page.links, *page.loads, *page.alternate.values()]:
            if re.match("(https?|data|mailto):", link): continue
            seen += 1
            path, part = urlsplit(urljoin(url, link)).path, unquote(urlsplit(link).fragment)
            if not (site.folder / path).is_file() or part and part not in site.read[path].ids:
                broken.append(f"{url}: {link}")
    assert seen > 1000 and not broken


def test_links_into_the_repository_name_files_that_are_there(site):
    there = {
        m
        for p in site.read.values()
        for link in p.links
        for m in re.findall(rf"{re.escape(REPOSITORY)}/(?:blob|tree)/main/([^#]+)", link)
    }
    assert len(there) > 30 and not [t for t in there if not (ROOT / t).exists()]


def test_nothing_is_loaded_from_elsewhere(site):
    assert not [(u, x) for u, p in site.read.items() for x in p.loads if re.match("(https?:)?//", x)]
    assert not re.findall(
        r"@import|url\(|https?:",
        (site.folder / "site.css").read_text() + (site.folder / "site.js").read_text(),
    )


def test_every_picture_is_described_and_ids_are_unique(site):
    assert not [(u, src) for u, p in site.read.items() for src, alt in p.pictures if not alt]
    assert {
        u: [i for i in p.ids if p.ids.count(i) > 1]
        for u, p in site.read.items()
        if len(set(p.ids)) < len(p.ids)
    } == {}


def test_nothing_stands_below_the_title_in_its_cell():
    "nbdev makes the first cell the head of its page, and drops what else is in it"
    first = {
        p: nbformat.read(p, as_version=4).cells[0].source
        for p in (ROOT / "nbs").rglob("*.ipynb")
        if ".ipynb_checkpoints" not in p.parts
    }
    assert not [
        p.name
        for p, text in first.items()
        if make_site.heading(text) is None or make_site.heading(text)[1].strip()
    ]


# What a page shows

def test_hidden_cells_and_directives_are_not_shown(site):
    for url, text in site.text.items():
        assert "nbdev_export" not in text.replace("nbdev-export", "") and "#| " not in re.sub(
            "<[^>]+>", "", text
        ), url
    index = re.sub("<[^>]+>", "", site.text["index.html"])
    assert "def measured" not in index and "% DER" in index # a cell that shows its output alone


def test_an_export_shows_how_it_is_called_and_where_it_stands(site):
    page = site.text["export.html"]
    api = re.search(r'<section class="api">(?:(?!</section>).)*id="render".*?</section>', page, re.S)[0]
    plain = re.sub("<[^>]+>", "", api)
    assert (
        "format:str, # one of `WRITERS`" in plain
        and ")-&gt;Content: # the file's content" in plain
        and "Write an analysis in one format" in plain
    )
    line = int(re.search(r"ecg_audio_nb/results/export\.py#L(\d+)", api)[1])
    assert (
        (ROOT / "ecg_audio_nb/results/export.py").read_text().splitlines()[line - 1].startswith("def render(")
    )
    assert "import csv, difflib" not in re.sub("<[^>]+>", "", page) # what only the package needs


@pytest.mark.parametrize(
    "code, want",
    [
        ("def f(a:int=1): return a", "def f(a:int=1):"),
        ("def f(\n    a, # é\n)->int: return 3", "def f(\n    a, # é\n)->int:"),
        ('def f(\n    a, # metres\n):\n    "Text"\n    return a', "def f(\n    a, # metres\n):"),
        ('class E(ValueError): "Text"', "class E(ValueError):"),
        (
            (
                'class C:\n    "Text"\n    x: int # metres\n    _y: int = 0\n    z: float = 1.0\n    def '
                "f(self): return 1"
            ),
            "class C:\n    x: int # metres\n    z: float = 1.0",
        ),
        (
            (
                'class C:\n    "Text"\n    def __init__(self,\n            a=1, # metres\n    ):\n        '
                "self.a = a"
            ),
            "class C:\n    def __init__(self,\n            a=1, # metres\n    ):",
        ),
    ],
)
def test_a_signature_is_shown_as_it_is_written(code, want):
    assert make_site.signature(code.splitlines(), ast.parse(code).body[0]) == want


def test_a_settings_class_shows_its_fields(site):
    api = re.search(
        r'<section class="api">(?:(?!</section>).)*id="diarizesettings".*?</section>',
        site.text["settings.html"],
        re.S,
    )[0]
    plain = re.sub("<[^>]+>", "", api)
    assert (
        "threshold: float" in plain
        and "embeddings more alike (cosine) are one speaker" in plain
        and "**data" not in plain
    )


def exported_names(page, directive):
    "Functions and classes of the cells of a notebook that have a directive"
    cells = nbformat.read(ROOT / "nbs" / page.source, as_version=4).cells
    return [
        n
        for c in cells
        if c.cell_type == "code" and re.search(rf"^#\| *{directive} *$", c.source, re.M)
        for n in make_site.definitions(c.source)
    ]


def test_what_others_need_is_described_once_and_listed_first(site):
    for page in (p for p in site.pages if p.module):
        names, text = exported_names(page, "export"), site.text[page.url]
        assert sorted(re.findall(r'aria-label="(\w+) on GitHub"', text)) == sorted(names), page.source
        listed = re.search(r'<nav class="offers".*?</nav>', text, re.S)
        if len(names) > 1:
            assert re.findall(r"<li><a[^>]*><code>(\w+)</code>", listed[0]) == names[::-1]
            assert listed.start() < text.index('<section class="api">')
        exported = ast.parse((ROOT / f"ecg_audio_nb/{page.module.replace('.', '/')}.py").read_text()).body
        public = next(ast.literal_eval(n.value) for n in exported if ast.unparse(n).startswith("__all__"))
        assert set(names) <= set(public) and not set(exported_names(page, "exporti")) & set(public)


def test_helpers_are_folded(site):
    helpers = 0
    for page in (p for p in site.pages if p.module):
        folded = "".join(
            re.findall(r'<details class="fold helper"><summary>.*?</summary>', site.text[page.url], re.S)
        )
        for name in exported_names(page, "exporti"):
            helpers += 1
            assert f"<code>{name}</code>" in folded, (page.source, name)
    assert helpers > 50


def test_the_python_api_names_every_module_that_offers_something(site):
    plain = re.sub("<[^>]+>", "", site.text["api.html"])
    for path in (ROOT / "ecg_audio_nb").rglob("*.py"):
        parts = path.relative_to(ROOT / "ecg_audio_nb").with_suffix("").parts
        if parts[0] in ("cli", "core") or parts[-1].startswith("_"): continue
        names = [n.name for n in site_pages.offered(ast.parse(path.read_text()))]
        assert not names or f"\n{'.'.join(parts)} " in plain, path
        for name in names: assert name in plain, (path, name)


def test_a_page_tells_nothing_of_the_machine_it_was_built_on(site):
    told = re.compile(
        "|".join(map(re.escape, {CANARY, str(Path.home()), str(site.folder.parent)} - {"/", "/root"}))
    )
    found = [
        p.name
        for p in site.folder.rglob("*")
        if p.suffix in (".html", ".js") and (told.search(p.read_text()) or "environ({" in p.read_text())
    ]
    assert not found


def test_no_default_of_the_package_is_the_environment():
    "nbdev shows a default by its value: a site built with Quarto would publish what the environment holds"
    def defaults(thing):
        for n in ast.walk(thing):
            if isinstance(n, ast.arguments):
                yield from (ast.unparse(d) for d in (*n.defaults, *n.kw_defaults) if d)

    found = {
        p.name: d
        for p in (ROOT / "ecg_audio_nb").glob("*.py")
        for d in defaults(ast.parse(p.read_text()))
        if "environ" in d
    }
    assert not found


def test_the_pages_of_jobs_list_their_parameters(site):
    for path in (ROOT / "nbs/jobs").glob("*.ipynb"):
        code = "".join(site_pages.parameters_cell(json.loads(path.read_text()))["source"])
        names = [n for n, _, _ in site_pages.parameters(code)]
        assert names == [m for m in re.findall(r"^(\w+) *=", code, re.M)] # one assignment a line
        for url in (f"jobs/{path.stem}.html", "job_notebooks.html"):
            assert set(names) <= set(re.findall(r"<tr>\s*<td><code>(\w+)</code></td>", site.text[url])), url


def test_the_benchmarks_are_what_was_measured(site):
    page = site.text["benchmarks.html"]
    for script in (p for p in (ROOT / "benchmarks").glob("*.py") if p.name[0] != "_"):
        part = re.search(rf'<h2 id="{script.stem}">.*?(?=<h2|<nav)', page, re.S)[0]
        plain = re.sub(r"<[^>]+>", "", part)
        kept = ROOT / f"benchmarks/results/{script.stem}.json"
        if not kept.exists():
            assert "No result is kept" in plain
            continue
        result = json.loads(kept.read_text())
        assert (
            result["date"] in plain
            and result["machine"]["cpu"] in plain
            and f"numpy {result['versions']['numpy']}" in plain
        )
        for k, v in result.items():
            if k not in site_pages.APART:
                assert f"<td><code>{k}</code></td>" in part and site_pages.figure(v) in plain, k


def test_bars_are_as_long_as_their_figures():
    drawn = site_pages.drawn(
        {"speed_ours": 25, "speed_peer": 10, "alone": 3, "minutes": [10, 60], "peak_mb": [100, 400]}
    )
    assert re.findall(r"<td>([\d.]+)</td>.*?width:([\d.]+)%", drawn) == [
        ("25", "100.0"),
        ("10", "40.0"),
        ("100", "25.0"),
        ("400", "100.0"),
    ]
    drawn = site_pages.drawn(
        {
            "wer": {"base": 8, "tiny.en": 10},
            "wer_whisperx": {"base": 9},
            "mb_ours": {"base": 7},
            "mb_whisperx": {"base": 14},
        }
    )
    assert re.findall(r">([\w., ]+)</th><td>(\d+)</td>", drawn) == [
        ("ecg_audio_nb, base", "8"),
        ("WhisperX, base", "9"),
        ("ecg_audio_nb, tiny.en", "10"),
        ("ecg_audio_nb, base", "7"),
        ("WhisperX, base", "14"),
    ]
    assert "not known" == site_pages.figure(None)


def test_the_changelog_is_the_changelog(site):
    version = re.search(r'__version__ = "(.+)"', (ROOT / "ecg_audio_nb/__init__.py").read_text())[1]
    assert f"[{version}]" in re.sub("<[^>]+>", "", site.text["changelog.html"])


def test_korean_pages_say_so_and_lead_to_the_original(site):
    korean = [p for p in site.pages if p.source.startswith("ko/")]
    assert {p.source for p in korean} >= {"ko/index.ipynb", "ko/quick_start.ipynb"}
    for p in site.pages: assert site.read[p.url].lang == ("ko" if p in korean else "en")
    for p in korean:
        original = urljoin(p.url, site.read[p.url].alternate["en"])
        assert urljoin(original, site.read[original].alternate["ko"]) == p.url
        assert re.search("[가-힣]", p.title + p.description)


# What goes wrong

def test_a_link_that_leads_nowhere_is_named(site):
    one = object.__new__(make_site.Site)
    page = make_site.Page("guides/x.ipynb", "")
    one.by_source, one.faults, one.files, one.fragments, one.names = (
        {"index.ipynb": make_site.Page("index.ipynb", "")},
        [],
        {},
        [],
        {},
    )
    html = one.markdown(
        page,
        "[here](../index.ipynb) [gone](gone.ipynb) [file](../../LICENSE) ![picture](../images/none.png)",
    )
    assert 'href="../index.html"' in html and f"{REPOSITORY}/blob/main/LICENSE" in html
    assert one.faults == [
        "nbs/guides/x.ipynb: gone.ipynb: no such page or file",
        "nbs/guides/x.ipynb: ../images/none.png: no such page or file",
    ]
    with pytest.raises(make_site.SiteError, match="none.png has no description"):
        one.markdown(page, "![](none.png)")


def test_a_folder_of_somebody_else_stays_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(make_site.SiteError, match="not a site"): make_site.build(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_build_that_fails_leaves_the_old_site(tmp_path, monkeypatch):
    old = tmp_path / "_docs"
    old.mkdir()
    for name in ("search.js", "index.html"): (old / name).write_text("old")
    def fail(*_): raise make_site.SiteError("broken")
    monkeypatch.setattr(make_site, "Site", lambda: SimpleNamespace(render=lambda: None, write=fail))
    with pytest.raises(make_site.SiteError): make_site.build(old)
    assert [p.name for p in tmp_path.iterdir()] == ["_docs"] and (old / "index.html").read_text() == "old"


# With Quarto

@pytest.mark.parametrize("quarto", [True, False])
def test_make_docs_takes_quarto_where_there_is_one(tmp_path, quarto):
    "The recipe, with an environment of stand-ins that tell what was called"
    bin, path = tmp_path / "dev/bin", tmp_path / "path"
    for folder in (bin, path): folder.mkdir(parents=True)
    def program(file, line):
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(0o755)
    program(bin / "python", f'echo "$1" >> {tmp_path}/called')
    program(bin / "nbdev-docs", f"echo nbdev-docs >> {tmp_path}/called")
    (bin.parent / ".installed").touch()
    if quarto: program(path / "quarto", "exit 0")
    others = [d for d in os.environ["PATH"].split(os.pathsep) if not Path(d, "quarto").exists()]
    done = subprocess.run(
        ["make", "-o", bin.parent / ".installed", "docs", f"DEV={bin.parent}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": os.pathsep.join([str(path), *others])},
    )
    assert not done.returncode, done.stderr
    assert (tmp_path / "called").read_text().split() == (
        ["scripts/site_pages.py", "nbdev-docs"] if quarto else ["scripts/make_site.py"]
    )


def test_what_an_annotation_in_quotes_names_is_defined_before_it(site):
    """nbdev evaluates signatures cell by cell: a name that only a later cell defines would end the build with
    Quarto"""
    late = []
    for page in (p for p in site.pages if p.module):
        trees = [
            ast.parse(c.source)
            for c in page.cells
            if c.cell_type == "code" and not re.search(r"^\s*[%!]", c.source, re.M)
        ]
        defined = {}
        for i, tree in enumerate(trees):
            for n in tree.body:
                if isinstance(n, ast.FunctionDef | ast.ClassDef): defined.setdefault(n.name, i)
        for i, tree in enumerate(trees):
            for n in ast.walk(tree):
                told = (
                    n.annotation
                    if isinstance(n, ast.arg)
                    else n.returns
                    if isinstance(n, ast.FunctionDef)
                    else None
                )
                if isinstance(told, ast.Constant) and isinstance(told.value, str):
                    late += [
                        (page.source, x) for x in re.findall(r"\w+", told.value) if defined.get(x, i) > i
                    ]
    assert not late


def test_the_pages_for_quarto_have_their_front_matter():
    for text in site_pages.PAGES.values():
        _, front, body = text().split("---\n", 2)
        assert {"title", "description"} <= set(yaml.safe_load(front)) and body.strip()


def test_the_workflow_builds_with_quarto_and_publishes_the_folder():
    flow = yaml.safe_load((ROOT / ".github/workflows/docs.yml").read_text())
    steps = flow["jobs"]["build"]["steps"]
    uses = [s.get("uses", "").partition("@")[0] for s in steps]
    made = next(i for i, s in enumerate(steps) if s.get("run", "").startswith("make docs"))
    assert uses.index("quarto-dev/quarto-actions/setup") < made < uses.index("actions/upload-pages-artifact")
    assert (
        next(s for s in steps if "upload-pages" in s.get("uses", ""))["with"]["path"]
        == PROJECT["tool"]["nbdev"]["doc_path"]
    )
    assert flow["jobs"]["deploy"]["needs"] == "build"


# In a browser

@pytest.fixture(scope="module")
def chromium():
    with chromium_browser("the site is not opened") as found: yield found


@pytest.fixture
def visit(chromium, site):
    "Open pages from the disk; at the end, none may have complained or asked for anything elsewhere"
    contexts, said, asked = [], [], []
    def open_page(url="index.html", width=1280, height=900, scheme="light", script=True):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=script
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.goto((site.folder / url).as_uri())
        if script: page.wait_for_selector("html[data-ready]", state="attached")
        return page
    yield open_page
    for c in contexts: c.close()
    assert said == [] and [u for u in asked if not u.startswith((site.folder.as_uri(), "data:"))] == []


def back(page): return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_no_page_is_wider_than_a_phone(visit, site):
    page = visit(width=390, height=844)
    wide = {}
    for url in site.text:
        page.goto((site.folder / url).as_uri(), wait_until="domcontentloaded")
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390: wide[url] = width
    assert wide == {}


def test_light_and_dark_by_the_system_and_by_hand(visit):
    light, dark = back(visit()), back(page := visit(scheme="dark"))
    assert light != dark
    page.click("button.theme")
    assert back(page) == light
    page.goto(page.url.replace("index.html", "export.html"))
    assert back(page) == light # remembered
    page.click("button.theme")
    assert back(page) == dark


def test_search_finds_by_keyboard(visit):
    page = visit("guides/batch.html")
    page.keyboard.press("/")
    page.keyboard.type("to_srt")
    page.wait_for_selector("#found li")
    assert page.locator("#found li").first.inner_text().startswith("Subtitles › to_srt")
    assert page.get_attribute("input[type=search]", "aria-expanded") == "true"
    page.keyboard.press("Enter")
    page.wait_for_url("**/subtitles.html#to_srt")
    page.fill("input[type=search]", "speaker")
    page.wait_for_selector("#found #hit2")
    for _ in range(2): page.keyboard.press("ArrowDown")
    assert page.get_attribute("input[type=search]", "aria-activedescendant") == "hit2"
    page.fill("input[type=search]", "<b>xyzzy")
    page.wait_for_selector("#found .none")
    assert page.inner_text("#found") == "Nothing found"
    page.keyboard.press("Escape")
    assert page.is_hidden("#found")


def test_the_menu_of_a_phone(visit):
    page = visit(width=390, height=844)
    assert page.is_hidden("#menu")
    page.click("button.menu")
    assert (
        page.is_visible("#menu")
        and page.evaluate("document.activeElement.getAttribute('aria-current')") == "page"
    )
    page.click("#menu a:text-is('Export')")
    page.wait_for_url("**/export.html")
    assert page.is_hidden("#menu")


@pytest.mark.parametrize("width", [390, 1280])
def test_without_scripts_it_still_reads(visit, width):
    page = visit("export.html", width=width, script=False)
    assert page.is_visible("#menu") and page.is_visible("main h1") and page.is_hidden("input[type=search]")
