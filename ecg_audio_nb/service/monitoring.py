"""Figures for Prometheus, and whether work should be sent here

| metric | meaning |
| --- | --- |
| `ecg_jobs{state}` | jobs in the queue by state: queued, running, done, failed, cancelled |
| `ecg_queue_depth` | jobs that wait |
| `ecg_queue_age_seconds` | age of the job that waits longest |
| `ecg_stage_seconds{stage}` | seconds the stages ran, since the service started |
| `ecg_callbacks{state}` | messages to backends by state: waiting, sending, delivered, dead, gone, dropped |
| `ecg_callback_attempts` | how often the messages that are kept were sent |
| `ecg_gpu_memory_bytes` | memory in use on all GPUs; absent where there is none |

All but the stages are counted in the queue's file when they are asked for, so they are right after a restart
too. An alarm is worth `ecg_queue_age_seconds` above what your users wait for, and
`ecg_callbacks{state="dead"}` above 0: final messages that a backend did not take in three days.
"""

import shutil
import time

from ecg_audio_nb.batch.queue import counts
from ecg_audio_nb.core.system import gpu_usage
from ecg_audio_nb.service.state import Service


def metrics(service: Service) -> bytes:
    "Return the service's figures as Prometheus reads them"
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Figures(service))
    return generate_latest(registry)


class _Figures:
    "Collects the figures when Prometheus asks for them"

    def __init__(self, service: Service):
        self.service = service

    def describe(self):
        return []

    def collect(self):
        yield from self._queue()
        yield self._stages()
        yield from self._callbacks()
        megabytes = gpu_usage()[0]
        if megabytes is not None:
            yield _gauge("ecg_gpu_memory_bytes", "memory in use on all GPUs", megabytes * 2**20)

    def _queue(self):
        queue = self.service.queue
        depth, oldest = queue.db.execute(
            "select count(*), min(created) from jobs where state='queued'"
        ).fetchone()
        yield _gauges("ecg_jobs", "jobs by state", counts(queue))
        yield _gauge("ecg_queue_depth", "jobs that wait", depth)
        age = max(0, time.time() - oldest) if oldest else 0
        yield _gauge("ecg_queue_age_seconds", "age of the job that waits longest", age)

    def _stages(self):
        from prometheus_client.core import SummaryMetricFamily

        summary = SummaryMetricFamily("ecg_stage_seconds", "seconds the stages ran", labels=["stage"])
        for stage, (seconds, runs) in list(self.service.stage_seconds.items()):
            summary.add_metric([stage], runs, seconds)
        return summary

    def _callbacks(self):
        rows = self.service.queue.db.execute(
            "select state, count(*), sum(tries) from outbox group by state"
        ).fetchall()
        by_state = {state: n for state, n, _ in rows}
        yield _gauges("ecg_callbacks", "messages to backends by state; dead ones were given up", by_state)
        attempts = sum(tries for _, _, tries in rows)
        yield _gauge("ecg_callback_attempts", "how often the messages that are kept were sent", attempts)


def _gauge(name: str, help: str, value: float):
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, help, value)


def _gauges(name: str, help: str, values: dict[str, float]):
    from prometheus_client.core import GaugeMetricFamily

    gauge = GaugeMetricFamily(name, help, labels=["state"])
    for state, value in values.items():
        gauge.add_metric([state], value)
    return gauge


def readiness(service: Service) -> dict[str, bool]:
    "Tell what must be true before work is sent here: models, room on disk and in the queue, worker"
    worker = service.worker
    return {
        "models": service.models_loaded is True,
        "disk": shutil.disk_usage(service.root).free >= service.limits.min_free_mb * 1e6,
        "queue": counts(service.queue)["queued"] < service.limits.max_queued,
        "worker": worker is not None and worker.is_alive() and not service.stopping.is_set(),
    }
