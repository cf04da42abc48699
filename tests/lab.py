"""A JupyterLab of its own, with one notebook that opens the packaged sample in the explorer"""
import os, re, shutil, subprocess, sys, time
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import nbformat

CELLS = (
    (
        "from ecg_audio_nb.research.explore import explore\nexplorer = explore('talk.mp4', {'engine': "
        "'whisper'})"
    ),
    "explorer",
)


@contextmanager
def lab(home):
    """(address with {} for a path, folder with talk.mp4 and desk.ipynb); nothing outside `home` is read or
    written"""
    (folder := home / "work").mkdir()
    shutil.copy(files("ecg_audio_nb") / "assets/sample.mp4", folder / "talk.mp4")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(metadata=kernel, cells=[nbformat.v4.new_code_cell(c) for c in CELLS]),
        folder / "desk.ipynb",
    )
    news = home / "c/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # it would ask, in front of the page
    own = {
        "HOME": home,
        "JUPYTER_CONFIG_DIR": home / "c",
        "JUPYTER_DATA_DIR": home / "d",
        "JUPYTER_RUNTIME_DIR": home / "r",
        "XDG_DATA_HOME": home / "x",
        "IPYTHONDIR": home / "i",
        "PYTHONPATH": Path(__file__).parents[1],
    }
    told, command = (
        home / "log",
        [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--port=0",
            "--ServerApp.token=t",
            "--allow-root",
        ],
    )
    with open(told, "w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | {k: str(v) for k, v in own.items()}, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 180 # a busy machine starts it slowly
        while not (found := re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/lab", told.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, told.read_text()[-3000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{found[1]}/{{}}?token=t", folder
    finally:
        server.terminate()
        try: server.wait(30)
        except subprocess.TimeoutExpired: # JupyterLab waits for ever for a kernel that was just starting
            server.kill()
            server.wait(30)


def open_desk(page, address):
    "Open the notebook, run it, wait for the explorer"
    page.goto(address.format("lab/tree/desk.ipynb"))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_selector(".ecg-explore[data-ready]")
    return page.locator(".ecg-explore")


def until(page, state:str):
    "Wait until an expression over `view`, the explorer's element, is true"
    page.wait_for_function(f"() => {{ const view = document.querySelector('.ecg-explore'); return {state} }}")
