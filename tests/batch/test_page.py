"""The page of a batch: what stands in it, that nothing in it can do harm, and how it looks in a browser"""
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from typer.testing import CliRunner

from batch_helpers import notebook
from browsers import chromium_browser
from ecg_audio_nb.audio.fetch import redact
from ecg_audio_nb.batch.monitor import IndexPage, describe_job
from ecg_audio_nb.batch.page import index_html
from ecg_audio_nb.batch.queue import STATES, Job, attempts, claim, fail, get, owner_name, release
from ecg_audio_nb.batch.runner import BatchSpec, batch, enqueue
from ecg_audio_nb.cli import app

EVIL = "</style><script>window.hurt=1</script><img src=x onerror=window.hurt=1>\"'<!--&amp;"
BUCKET = "s3://talks/out"


def job(name="talk", state="done", **more):
    ended = {"started": 1e9, "ended": 1e9 + 75, "attempt": 1} if state in ("done", "failed") else {}
    result = {
        "result": {
            "files": [f"{name}.{s}" for s in ("srt", "json", "html", "ipynb")],
            "duration": 61.25,
            "total_segments": 3,
            "unique_speakers": 2,
        }
    }
    return Job(
        name,
        name,
        more.pop("source", f"/in/{name}.mp4"),
        state=state,
        **{**ended, **(result if state == "done" else {}), **more},
    )


class Page(HTMLParser):
    "Elements in order, links, and the text without the style"
    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text, self.open = [], {}, "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "rect", "img"): self.open.append(tag)
        self.href = dict(attrs).get("href")

    def handle_startendtag(self, tag, attrs): self.tags.append((tag, dict(attrs)))
    def handle_endtag(self, tag): assert self.open.pop() == tag, f"{tag} ends where another should"

    def handle_data(self, data):
        if "style" in self.open: return
        self.text += data
        if self.open and self.open[-1] == "a": self.links[data] = self.href


def page(*jobs, store=BUCKET, **kwargs):
    made = Page(index_html(jobs, store, **kwargs))
    assert not made.open, "every element is closed"
    return made


# What stands in it

def test_an_empty_batch():
    seen = page()
    assert "No jobs yet." in seen.text and not {"table", "h2"} & {t for t, _ in seen.tags}


def test_every_state_is_counted_and_listed():
    seen = page(*(job(s, s) for s in STATES))
    assert all(f"{s} 1" in seen.text for s in STATES)
    names = [s for s in re.findall(r"\w+", seen.text.split("files")[-1]) if s in STATES]
    assert list(dict.fromkeys(names)) == ["running", "queued", "cancelled", "done"]


def test_what_failed_comes_first_with_its_reason():
    seen = page(job("fine"), job("bad", "failed", failure_kind="user", error="MediaError: no picture in it"),
                job("late", "failed", failure_kind="timeout", error="TimedOut: 60 s", attempt=3, tries=3))
    assert seen.text.index("bad") < seen.text.index("fine")
    assert (
        "MediaError: no picture in it" in seen.text
        and "not tried again" in seen.text
        and "It was tried 3 times." in seen.text
    )
    assert f"ecg jobs retry NAME -o {BUCKET}" in seen.text


def test_a_failed_notebook_is_linked_only_if_there_is_one(tmp_path):
    bad, store = job("a b", "failed", failure_kind="crash"), SimpleNamespace(path=tmp_path)
    assert not page(bad, store=store).links
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed/a b.ipynb").touch()
    assert page(bad, store=store).links == {"notebook, as far as it got": "failed/a%20b.ipynb"}
    assert "no reason is known" in page(bad, store=store).text


def test_files_by_kind_the_notebook_first():
    seen = page(job())
    assert list(seen.links.items()) == [
        ("notebook", "talk/talk.ipynb"),
        ("report", "talk/talk.html"),
        ("json", "talk/talk.json"),
        ("srt", "talk/talk.srt"),
    ]
    several = page(job(result={"files": ["a.json", "b.json", "sub/LICENSE", "t.csv"]}))
    assert sorted(several.links) == ["a.json", "b.json", "csv", "sub/LICENSE"]


def test_numbers_and_what_is_not_known():
    cells = lambda *jobs: re.findall(r"<td[^>]*>(.*?)</td>", index_html(jobs, BUCKET))
    assert cells(job())[1:6] == ["1:01.2", "3", "2", "1:15.0", "1"] or cells(job())[1:6] == [
        "1:01.3",
        "3",
        "2",
        "1:15.0",
        "1",
    ]
    assert cells(job(state="queued"))[1:] == [""] * 7
    assert cells(job(result={"files": [], "duration": 0.0, "total_segments": 0, "unique_speakers": None}))[
        1:4
    ] == ["0:00.0", "0", ""]
    assert "2001-09-09 01:48:01" in index_html([job()], BUCKET, now=1e9 + 81), "the end of the job is UTC"
    assert 'datetime="2001-09-09T01:47:55Z"' in index_html([job()], BUCKET)


def test_warnings_and_earlier_tries_are_folded():
    done = job(result={"files": [], "warnings": ["truncated: it ends after 0.3 s"]}, error="KernelDied: gone")
    seen = page(done)
    assert (
        "2 notes" in seen.text
        and "truncated: it ends after 0.3 s" in seen.text
        and "before: KernelDied: gone" in seen.text
    )
    assert "note" not in page(job(result={"files": []})).text


def test_a_running_job_tells_its_stage():
    assert "running diarize" in page(job(state="running", stage="diarize")).text


# What can do no harm

def test_text_cannot_become_html():
    plain, evil = (
        page(job("x", "failed"), job("y"), job("z", "running")),
        page(
            job(EVIL, "failed", error=EVIL, failure_kind=EVIL),
            job(
                "y",
                source=EVIL,
                error=None,
                result={"files": [EVIL], "unique_speakers": EVIL, "warnings": []},
            ),
            job("z", "running", stage=EVIL),
            store=EVIL,
        ),
    )
    assert not {"script", "img"} & {t for t, _ in evil.tags}
    assert [t for t, _ in evil.tags if t not in ("a",)] == [t for t, _ in plain.tags if t not in ("a",)]
    assert evil.text.count(EVIL) >= 6


@pytest.mark.parametrize(
    "name", ["a b", "50%", "q?x=1#2", "Käse & Brot", "javascript:alert(1)", "'quoted\"", "日本", "a+b"]
)
def test_links_lead_to_the_file_and_stay_in_the_folder(name):
    for href in page(job(name), job(f"{name}2", "failed")).links.values():
        parts = urlsplit(urljoin("file:///batch/index.html", href))
        assert (parts.scheme, parts.query, parts.fragment) == ("file", "", "")
        assert unquote(parts.path).rpartition("/")[0] in (f"/batch/{name}", "/batch/failed")


def test_names_that_are_no_utf8():
    html = index_html([job(source="/in/\udcff.mp4", result={"files": ["\udcff.txt"]})], BUCKET)
    assert html.encode("utf-8") and "talk/%FF.txt" in html and "/in/?.mp4" in html


def test_secrets_of_an_address_stay_out():
    signed = "https://user:pass@x.org/a.mp4?X-Amz-Signature=0f1e"
    for state in ("done", "failed"):
        assert not re.search("pass|0f1e", index_html([job(state=state, source=signed)], BUCKET, redact))


def test_no_script_and_nothing_from_elsewhere():
    html = index_html([job(s, s) for s in STATES], BUCKET)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert not re.search(r"<script|\son\w+=|\sstyle=|https?://", html)


def test_it_can_be_read_aloud():
    seen = page(job("bad", "failed"), job())
    find = lambda tag: [a for t, a in seen.tags if t == tag]
    assert (
        find("html") == [{"lang": "en"}] and len(find("h1")) == len(find("main")) == len(find("title")) == 1
    )
    roles = [a.get("role") for t, a in seen.tags if t in ("table", "tr", "th", "td")]
    assert None not in roles, "laid out as blocks, a table is one only by its roles"
    assert {a.get("scope") for a in find("th")} == {"col", "row"}


# In a browser

@pytest.fixture(scope="module")
def chromium():
    with chromium_browser("the page is not looked at") as found: yield found


@pytest.mark.parametrize("width", [1200, 1000, 900, 420, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_its_style_is_in_force(chromium, tmp_path, width, scheme):
    long = "a_very_long_name_without_a_space_" * 4
    jobs = [job("bad", "failed", error="x" * 300), job(long), job(long + "2", "running", stage="transcribe")]
    path = Path(tmp_path, "index.html")
    path.write_text(index_html(jobs, "/srv/" + "deep/" * 30), encoding="utf-8")
    context = chromium.new_context(viewport={"width": width, "height": 700}, color_scheme=scheme)
    tab, said = context.new_page(), []
    tab.on("console", lambda m: said.append(m.text))
    tab.goto(path.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark") and not said
    context.close()


def jobs_command(command, out):
    done = CliRunner().invoke(app, ["jobs", command, "recording000", "-o", str(out)])
    assert done.exit_code == 0, done.output


def plain(page):
    "The text of a page"
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<style.*?</style>", "", page.read_text(), flags=re.S)).split())


def test_retry_and_cancel_are_seen_on_the_page(tmp_path, inbox):
    inbox[0].write_text("bad")
    out = tmp_path / "out"
    batch([str(inbox[0])], out, BatchSpec(notebook(tmp_path / "toy.ipynb")))
    page, seen = out / "index.html", []
    for command in (None, "retry", "cancel"):
        if command: jobs_command(command, out)
        seen.append(plain(page))
    for text, state in zip(seen, ("1 failed", "1 queued", "1 cancelled")): assert state in text, text[:300]


def test_page_and_show_name_the_same_tries(tmp_path, inbox, queue, store):
    "A stop counts none"
    [job], _ = enqueue(queue, BatchSpec(notebook(tmp_path / "toy.ipynb")), [str(inbox[0])], store)
    release(queue, claim(queue, owner_name()))
    for _ in range(2): fail(queue, claim(queue, owner_name()), "infra", "no memory", wait=0)
    fail(queue, claim(queue, owner_name()), "user", "no good")
    IndexPage(queue, store).write()
    ended = get(queue, job.id)
    assert ended.attempt == 4 and "(3 of 3 tries)" in describe_job(ended, attempts(queue, ended))
    assert "It was tried 3 times" in plain(store.path / "index.html")
