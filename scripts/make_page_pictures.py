"""Take the docs' pictures of the report and the service's page.

    python scripts/make_page_pictures.py [--out nbs/images]

Both are from the packaged sample, as `--profile demo` analyses it. Needs the extras `server` and `jobs`
(matplotlib brings Pillow), playwright and a Chromium.
"""

import argparse, os, shutil, socket, subprocess, sys, tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from ecg_audio_nb import analyze
from ecg_audio_nb.results.report import write_report

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from browsers import chromium_tool  # noqa: E402

SAMPLE = ROOT / "ecg_audio_nb/assets/sample.mp4"


def save(picture, path):
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def photograph_report(browser, result, folder, out):
    # it allows no eval
    page = browser.new_context(viewport={"width": 1280, "height": 860}, bypass_csp=True).new_page()
    page.goto(write_report(result, folder / "sample.html", SAMPLE).as_uri())
    page.wait_for_function("document.querySelector('#media').readyState > 1")
    page.fill("#query", "speak")
    page.evaluate("document.querySelector('#media').currentTime = 5.8")
    page.wait_for_function("document.querySelector('#word').textContent.includes('Hz')")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(500)  # the frame is drawn
    page.screenshot(path=out)


def photograph_service(browser, folder, out):
    (folder / "media").mkdir()
    talk = shutil.copy(SAMPLE, folder / "media/talk.mp4")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "ecg_audio_nb", "serve", "--port", str(port), "--profile", "demo"]
    env = {**os.environ, "ECG_DATA_DIR": str(folder / "data"),
           "ECG_FETCH__MEDIA_ROOTS": str(folder / "media")}
    service = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        page = browser.new_context(viewport={"width": 900, "height": 900}).new_page()
        for _ in range(600):
            try:
                page.goto(f"http://127.0.0.1:{port}")
            except Exception:
                page.wait_for_timeout(200)
            else:
                break
        page.fill("#url", str(talk))
        page.click("#go")
        page.get_by_text("Open the report").wait_for(timeout=300_000)
        page.fill("#url", "")
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=out)
    finally:
        service.terminate()
        service.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "nbs/images")
    out, result = parser.parse_args().out, analyze(SAMPLE, profile="demo")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as p:
        folder = Path(place)
        browser = p.chromium.launch(executable_path=chromium_tool(), args=["--no-sandbox", "--mute-audio"])
        photograph_report(browser, result, folder, out / "report.png")
        photograph_service(browser, folder, out / "service.png")
        browser.close()
    for name in ("report", "service"):
        save(Image.open(out / f"{name}.png"), out / f"{name}.png")


if __name__ == "__main__":
    main()
