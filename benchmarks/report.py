"""Measure the page of a result: how soon it opens and how fast it searches, in the system's Chromium.

    python benchmarks/report.py [--quick]

A two-hour talk of 20,000 words in 2,000 segments, without media.

- `open_s`: from the request to the page being built and painted, median of several visits;
- `search_ms`: from typing a word that is said 4,000 times to its matches being counted and painted, the same;
- `build_s`: making the page; `page_mb`: its size.
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _common import keep, options

from ecg_audio_nb.results.report import write_report
from ecg_audio_nb.schema import AcousticFeatures, Analysis, Metadata, Segment, Speaker, Turn, Word

TEXT = "we all went down to the market today for apples".split()
OPEN = """() => new Promise(done => {
  requestAnimationFrame(() => setTimeout(() => done(performance.now() / 1000)))
})"""
SEARCH = """query => new Promise(done => {
  const field = document.getElementById("query"), start = performance.now()
  field.value = query
  field.dispatchEvent(new Event("input"))
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)))
})"""


def talk(segments=2000, seconds=3.6) -> Analysis:
    "Four people in turn, ten words each"

    def words(i, who):
        return tuple(
            Word(
                w,
                round(i * seconds + 0.3 * k, 3),
                round(i * seconds + 0.3 * k + 0.28, 3),
                speaker_id=who,
                confidence=0.9,
                timing="aligned",
                acoustic_features=AcousticFeatures(-23.4, 123.4, 1234.5),
            )
            for k, w in enumerate(TEXT)
        )

    names = [f"SPEAKER_{i % 4:02d}" for i in range(segments)]
    spoken = tuple(
        Segment(i, i * seconds, i * seconds + 3, speaker_id=who, text=" ".join(TEXT),
                words=words(i, who)) for i, who in enumerate(names)
    )
    turns = tuple(Turn(s.start_time, s.end_time, s.speaker_id) for s in spoken)
    speakers = tuple(Speaker(f"SPEAKER_{i:02d}", 1500, 500, 5000) for i in range(4))
    return Analysis(spoken, turns, speakers, Metadata("talk.wav", duration=segments * seconds))


def visits(path: Path, times: int):
    "(open in s, search in ms) of each visit"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("no playwright: pip install 'ecg-audio-nb[dev]'")
    if not (tool := shutil.which("chromium")):
        sys.exit("no chromium on this machine, and this benchmark measures in it")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=tool, args=["--no-sandbox"])
        for _ in range(times):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            opened = page.evaluate(OPEN)
            page.wait_for_timeout(300)
            yield opened, statistics.median(page.evaluate(SEARCH, query) for query in ("the", "market", "to"))
            page.close()
        browser.close()


def main():
    args = options(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = write_report(talk(), Path(folder) / "report.html")
        build, size = time.perf_counter() - start, path.stat().st_size / 1e6
        rows = [*visits(path, 3 if args.quick else 7)]
    for row in rows:
        print("open %.2f s, search %.0f ms" % row, flush=True)
    opened, search = (statistics.median(column) for column in zip(*rows))
    keep(
        "report",
        {"open_s": round(opened, 2), "search_ms": round(search, 1), "build_s": round(build, 2),
         "page_mb": round(size, 2)},
        args.quick,
        rows,
    )


if __name__ == "__main__":
    main()
