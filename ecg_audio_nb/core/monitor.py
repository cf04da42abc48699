"""Sample the memory of this process, and of the GPU, while a block runs"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ecg_audio_nb.core.html import resource_usage_html
from ecg_audio_nb.core.system import gpu_usage, rss_mb


@dataclass
class ResourceUsage:
    "Samples of one block: (seconds since its start, RSS in MB, GPU memory in MB, GPU load in percent)"

    samples: list[tuple] = field(default_factory=list)

    def _values(self, column):
        return [sample[column] for sample in self.samples if sample[column] is not None]

    def peak(self, column: int) -> float | None:
        "The largest value of a column; None where nothing could be measured"
        return max(self._values(column), default=None)

    def mean(self, column: int) -> float | None:
        "The mean of a column; None where nothing could be measured"
        values = self._values(column)
        return sum(values) / len(values) if values else None

    def as_dict(self) -> dict[str, float | None]:
        "Peaks and means: `peak_rss_mb`, `mean_rss_mb`, and so on for `gpu_mb` and `gpu_percent`"
        numbers = {}
        for column, name in enumerate(("rss_mb", "gpu_mb", "gpu_percent"), start=1):
            for kind, value in (("peak", self.peak(column)), ("mean", self.mean(column))):
                numbers[f"{kind}_{name}"] = None if value is None else round(value, 1)
        return numbers

    def _repr_html_(self):
        return resource_usage_html(self.samples)


def _display(usage: ResourceUsage):
    from IPython.display import display

    return display(usage, display_id=True)


@contextmanager
def monitor(
    every: float = 0.1,  # seconds between samples
    live: bool = False,  # True: draw it in the notebook while the block runs
) -> Iterator[ResourceUsage]:  # filled while the block runs
    "Sample memory and GPU in a thread of its own"
    usage, done, start = ResourceUsage(), threading.Event(), time.perf_counter()

    def sample():
        usage.samples.append((time.perf_counter() - start, rss_mb(), *gpu_usage()))

    def work():
        while not done.wait(every):
            sample()
            if handle:
                handle.update(usage)

    sample()
    handle = _display(usage) if live else None
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield usage
    finally:
        done.set()
        thread.join()
        sample()
        if handle:
            handle.update(usage)
