"""kill -9 of everything, again and again, while one long recording is analyzed

What is done is kept: the work of all attempts together is at most 1.3 times that of one run, and the result is
the same. Work is processor time, because a busy machine stretches seconds.
"""
import json
import os
import random
from contextlib import suppress

import numpy as np
import psutil
import pytest
import soundfile

from batch_helpers import ecg, open_queue
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.batch.queue import attempts, list_jobs
from ecg_audio_nb.core.files import PACKAGE
from waiting import until

MINUTES, KILLS = int(os.environ.get("SOAK_MINUTES", 30)), int(os.environ.get("SOAK_KILLS", 10))


def long_recording(path):
    sample = load_audio(PACKAGE / "assets/sample.mp4").samples
    n = MINUTES * 60 * 16000
    soundfile.write(path, np.tile(sample, -(-n // len(sample)))[:n], 16000)
    return path


class Batch:
    "`ecg batch` on one recording, and the processor time of all its processes"

    def __init__(self, folder, source):
        self.folder = folder
        command = ("batch", source, "-o", folder, "--profile", "demo")
        options = ("--set", "transcribe.language=en", "--set", "export.formats=json")
        self.process = ecg(*command, *options, env=os.environ | {"ECG_DATA_DIR": str(folder / "data")}, merge=True)
        self.seconds = {} # by process id

    def tree(self):
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def is_over(self):
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self.seconds[process.pid] = times.user + times.system
        return self.process.poll() is not None

    def work(self): return sum(self.seconds.values())

    def kill_after(self, work):
        "kill -9 of all processes, when they have done so much; returns what they did"
        until(lambda: self.work() >= work or self.is_over(), 7200)
        for process in self.tree():
            with suppress(psutil.NoSuchProcess): process.kill()
        self.process.communicate()
        return self.work()

    def result(self):
        until(self.is_over, 7200)
        said, _ = self.process.communicate()
        assert self.process.returncode == 0, said
        return json.loads((self.folder / "long/long.json").read_text())


def without_costs(result):
    for key in ("timing", "environment", "settings"): result["metadata"].pop(key, None)
    return result


@pytest.mark.soak
@pytest.mark.timeout(8 * 3600)
def test_a_job_that_is_killed_goes_on(tmp_path):
    source, chance = long_recording(tmp_path / "long.wav"), random.Random(6)
    undisturbed = Batch(tmp_path / "one", source)
    expected, once = without_costs(undisturbed.result()), undisturbed.work()
    work = []
    while sum(seconds > 0 for seconds in work) < KILLS:
        work.append(Batch(tmp_path / "out", source).kill_after(chance.uniform(0.02, 1.8 / KILLS) * once))
    last = Batch(tmp_path / "out", source)
    result = without_costs(last.result())
    total, queue = sum(work) + last.work(), open_queue(tmp_path / "out")
    print(f"once {once:.0f} s, all attempts {total:.0f} s: {total / once:.2f} times; each",
          " ".join(f"{seconds:.0f}" for seconds in work))  # fmt: skip
    assert result == expected
    [job] = list_jobs(queue)
    assert len(attempts(queue, job)) >= KILLS
    assert total <= 1.3 * once
