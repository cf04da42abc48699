"""The system's Chromium, for tests and scripts that open a page"""
import shutil
from contextlib import contextmanager


# None: not here
def chromium_tool():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium_browser(otherwise, *args):
    """A browser; where there is none the test is skipped, and `otherwise` says what is not done, such as: the
    page is not driven"""
    import pytest
    sync = pytest.importorskip("playwright.sync_api", reason=f"playwright is not installed: {otherwise}")
    if not (tool := chromium_tool()): pytest.skip(f"no chromium on this machine: {otherwise}")
    with sync.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=tool, args=["--no-sandbox", *args])
        yield browser
        browser.close()
