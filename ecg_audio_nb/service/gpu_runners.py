"""One runner for each GPU: the service's own worker has the first, a process each of the others

The processes claim jobs from the service's queue as its worker does, and write messages into its outbox; the
service delivers them. A process that dies is started again, and its job goes on from its checkpoints. They
stop with the service, and when the service is killed.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from ecg_audio_nb.core.system import die_with_parent, visible_gpus
from ecg_audio_nb.service.jobs import run_worker, stop_worker
from ecg_audio_nb.service.logs import log_as_json
from ecg_audio_nb.service.settings import ServerSettings
from ecg_audio_nb.service.state import Service
from ecg_audio_nb.settings import Settings, load_settings

_log = logging.getLogger(__name__)
_CODE = "from ecg_audio_nb.service.gpu_runners import runner_main; runner_main()"


def take_first_gpu(
    settings: Settings,
) -> list[str]:  # the other GPUs, as CUDA_VISIBLE_DEVICES names them
    "Let this process see the first of several GPUs alone; call it before anything uses one"
    devices = [] if settings.runtime.device == "cpu" else visible_gpus()
    if len(devices) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[0]
    return devices[1:]


class GpuRunners:
    "The processes of all GPUs but the first"

    def __init__(
        self,
        service: Service,
        devices: Sequence[str],  # of `take_first_gpu`
        pause: float = 5.0,  # seconds before a process that died is started again
    ):
        self.service, self.devices, self.pause = service, list(devices), pause
        self.processes: dict[str, subprocess.Popen] = {}  # by device
        self._thread = threading.Thread(target=self._keep, name="gpu-runners", daemon=True)

    def start(self) -> None:
        "Start one process for each device, and keep them alive until the service stops"
        if self.devices:
            for device in self.devices:
                self._start_process(device)
            self._thread.start()

    def _start_process(self, device):
        options = {
            "settings": self.service.settings.model_dump(mode="json"),
            "limits": self.service.limits.model_dump(mode="json"),
            "lease": self.service.lease,
        }
        command = [sys.executable, "-P", "-c", _CODE, json.dumps(options)]
        env = os.environ | {"CUDA_VISIBLE_DEVICES": device}
        self.processes[device] = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env)

    def _keep(self):
        while not self.service.stopping.wait(self.pause):
            for device, process in list(self.processes.items()):
                if process.poll() is not None and not self.service.stopping.is_set():
                    more = {"device": device, "status": process.returncode}
                    _log.warning("a runner ended and is started again", extra={"more": more})
                    self._start_process(device)

    def ask_to_stop(self) -> None:
        "Ask all processes to end their stages and give their jobs back"
        self.service.stopping.set()  # none is started again
        for process in self.processes.values():
            process.terminate()

    def wait(self) -> None:
        "Wait `server.shutdown_timeout` for all processes, and end those that remain"
        deadline = time.monotonic() + self.service.limits.shutdown_timeout + 10
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def runner_main() -> None:
    "Run a process of `GpuRunners`; its options are JSON in the first argument"
    options = json.loads(sys.argv[1])
    die_with_parent(signal.SIGTERM)
    log_as_json()
    limits = ServerSettings(**options["limits"])
    service = Service(load_settings(options["settings"]), limits, lease=options["lease"], is_runner=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stopping.set())
    service.worker = threading.Thread(target=run_worker, args=(service,), name="worker", daemon=True)
    service.worker.start()
    while service.worker.is_alive() and not service.stopping.wait(0.5):
        pass
    stop_worker(service)
    logging.shutdown()
    os._exit(0)  # though a stage may still run
