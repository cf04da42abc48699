"""A wall clock that steps, for the processes of a test: `time.time` is ahead by what a file says

Only Python's wall clock is changed, as `date --set` changes a machine's: the monotonic clock goes on."""
import os
from pathlib import Path

CODE = """\
import os, time
_true = time.time
def _stepped():
    try:
        with open({path!r}) as file: return _true() + float(file.read() or 0)
    except OSError: return _true()
time.time = _stepped
time.time_ns = lambda: int(_stepped() * 1e9)
"""


class SteppedClock:
    "`env` is for the processes that see the clock; `step(seconds)` sets it"

    def __init__(self, folder):
        self.path, site = Path(folder) / "step", Path(folder) / "site"
        site.mkdir(parents=True)
        (site / "sitecustomize.py").write_text(CODE.format(path=str(self.path)))
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.env = {"PYTHONPATH": os.pathsep.join(paths)}
        self.step(0)

    def step(self, seconds):
        part = self.path.with_suffix(".part")
        part.write_text(str(seconds))
        os.replace(part, self.path)
