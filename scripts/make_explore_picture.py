"""Photograph the explorer in JupyterLab for the guide and the README

    python scripts/make_explore_picture.py [--out nbs/images/explore.png]

Two settings of the packaged sample side by side, the second with a threshold that takes two voices for one.
Needs the `[lab]` extra, playwright and a Chromium.
"""

import argparse, sys, tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from browsers import chromium_tool  # noqa: E402
from lab import lab, open_desk, until  # noqa: E402


def photograph(page, address, out):
    view = open_desk(page, address)
    page.keyboard.press("Control+b")  # the file browser's room
    page.get_by_role("button", name="compare").click()
    until(page, "view.dataset.shown == 'B'")
    page.locator(".widget-slider:has-text('threshold') .noUi-handle").locator("visible=true").focus()
    for _ in range(5):
        page.keyboard.press("PageDown")
    turns = "[...view.querySelectorAll('.turn[data-layer=B]')]"
    until(page, f"new Set({turns}.map(t => t.dataset.who)).size == 2")
    until(page, "view.querySelector('.status').textContent == 'no model ran'")
    view.locator(".w", has_text="captions").first.click()
    until(page, "view.dataset.playing == 'true'")
    until(page, "view.dataset.playing == 'false'")
    page.locator(".jp-OutputArea-output:has(.ecg-explore)").first.screenshot(path=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "nbs/images/explore.png")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, lab(Path(home)) as (address, _), sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium_tool(), args=["--no-sandbox", "--mute-audio"])
        page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        page.set_default_timeout(120_000)  # a busy machine starts its kernel slowly
        photograph(page, address, args.out)
        browser.close()
    Image.open(args.out).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
