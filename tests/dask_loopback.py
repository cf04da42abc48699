"""Real Dask schedulers and workers on this machine, started and started again as a supervisor would"""
import os, socket, subprocess, sys, time
from contextlib import contextmanager

ENV = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s",
    "DASK_DISTRIBUTED__DEATH_TIMEOUT": "60s",
    "DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH": "0",
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Part:
    "One process of the cluster"
    def __init__(self, args, log, env=None, before=()):
        self.command, self.log, self.env = (
            [*before, sys.executable, "-m", *(str(a) for a in args)],
            log,
            {**os.environ, **ENV, **(env or {})},
        )
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.env, start_new_session=True
            )

    def supervise(self):
        "Start it again if it has ended"
        if self.process.poll() is not None: self.start()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.terminate()
        try: self.process.wait(15)
        except subprocess.TimeoutExpired: self.kill()


def scheduler(folder, host="127.0.0.1", scheme="tcp", options=(), env=None):
    "(address, its process)"
    port = free_port()
    part = Part(
        [
            "distributed.cli.dask_scheduler",
            "--host",
            f"{scheme}://{host}",
            "--port",
            port,
            "--no-dashboard",
            "--no-show",
            *options,
        ],
        folder / "scheduler.log",
        env,
    )
    until_open(host, port)
    return f"{scheme}://{host}:{port}", part


def worker(folder, address, name, options=(), env=None, resource="CPU", before=()):
    return Part(
        [
            "distributed.cli.dask_worker",
            address,
            "--nthreads",
            1,
            "--nworkers",
            1,
            "--no-dashboard",
            "--no-nanny",
            "--resources",
            f"{resource}=1",
            "--name",
            name,
            "--local-directory",
            folder / name,
            *options,
        ],
        folder / f"{name}.log",
        env,
        before,
    )


@contextmanager
def cluster(folder, workers=2, scheme="tcp", env=None):
    "(address, scheduler, workers) on loopback"
    parts = []
    try:
        address, part = scheduler(folder, scheme=scheme, env=env)
        parts.append(part)
        parts += [worker(folder, address, f"w{i}", env=env) for i in range(workers)]
        yield address, part, parts[1:]
    finally:
        for p in reversed(parts): p.end()


def until_open(host, port):
    for _ in range(600):
        with socket.socket() as s:
            if s.connect_ex((host, port)) == 0: return
        time.sleep(0.05)
    raise AssertionError("no scheduler")
