"""Photograph a batch's page for the guide and the README

    python scripts/make_batch_picture.py [--out nbs/images/batch.png]

A few clips cut from the packaged sample, one file that is none, run through `ecg batch --profile demo`.
Needs ffmpeg, the `[jobs]` extra (matplotlib brings Pillow), playwright and a Chromium.
"""

import argparse, subprocess, sys, tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from browsers import chromium_tool  # noqa: E402

# start and length in the sample, seconds
CLIPS = {"interview-01": (0, 6), "interview-02": (7, 5), "panel": (13, 8), "q-and-a": (22, 6)}


def record(folder):
    "The inbox: clips of the sample, and notes that someone named .mp4"
    folder.mkdir()
    for name, (start, seconds) in CLIPS.items():
        sample = ROOT / "ecg_audio_nb/assets/sample.mp4"
        cut = ["-ss", str(start), "-t", str(seconds), "-i", sample, "-c:a", "aac"]
        encode = ["-c:v", "libx264", "-preset", "ultrafast", folder / f"{name}.mp4"]
        subprocess.run(["ffmpeg", "-v", "error", *cut, *encode], check=True)
    (folder / "notes.mp4").write_text("Bring cake on Thursday.\n")


def photograph(page, out, width=1080, scheme="light"):
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium_tool(), args=["--no-sandbox"])
        tab = browser.new_context(viewport={"width": width, "height": 400}, color_scheme=scheme).new_page()
        tab.goto(page.as_uri())
        tab.screenshot(path=str(out), full_page=True)
        browser.close()
    Image.open(out).convert("RGB").quantize(48).save(out, optimize=True)  # a page has few colours


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "nbs/images/batch.png")
    parser.add_argument("--page", type=Path, help="photograph this page instead of making one")
    parser.add_argument("--width", type=int, default=1080)
    parser.add_argument("--scheme", default="light", choices=("light", "dark"))
    args = parser.parse_args()
    if args.page:
        return photograph(args.page.resolve(), args.out, args.width, args.scheme)
    with tempfile.TemporaryDirectory() as tmp:
        record(Path(tmp, "talks"))
        command = [sys.executable, "-m", "ecg_audio_nb", "batch", "talks", "-o", "out", "--profile", "demo"]
        status = subprocess.run(command, cwd=tmp).returncode
        if status != 1:
            sys.exit(f"one recording should have failed, and no more; the batch ended with {status}")
        page = Path(tmp, "out/index.html")
        page.write_text(page.read_text().replace(f"{tmp}/", ""))
        photograph(page, args.out, args.width, args.scheme)


if __name__ == "__main__":
    main()
