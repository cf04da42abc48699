"""1,100 half-open connections for a minute: does the service answer, and what is left of them

One `ecg serve` with the descriptors that a machine gives a process (1,024). A client opens connections, each
of which sends half a header and then nothing. One that is closed is opened again five seconds later, until
the minute is over.

- `health_p50_ms`, `health_p99_ms`, `health_max_ms`: of `/health`, on a new connection each time, during the
  minute; `health_errors`: of these, without an answer.
- `opened`: half-open connections in all; `left`: open files of the service, once the last of them has come to
  its limit of 20 s, beyond those before.
- `descriptors_most`: open files of the service, at most; `rss_growth_mb`: resident memory after the minute,
  less that before.
"""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

import httpx
import psutil
from _common import keep, options

HALF = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx-half: "
WHOLE = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
AT_ONCE = 1100
HEADER_TIMEOUT = 20  # seconds, the setting's default


async def hold(port, until, opened):
    "Keep a half-open connection until a time; open it again whenever it is closed"
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.append(1)
            writer.write(HALF)
            await asyncio.wait_for(reader.read(), max(until - time.monotonic(), 0.1))
            writer.close()
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(5)


async def ask(port, until, ms, errors):
    "Ask for /health on a new connection, ten times a second"
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 30)
            writer.write(WHOLE)
            answer = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            if not answer.startswith(b"HTTP/1.1 200"):
                errors.append(answer[:20])
            ms.append(1000 * (time.perf_counter() - began))
        except (OSError, TimeoutError) as e:
            errors.append(type(e).__name__)
        await asyncio.sleep(0.1)


async def attack(port, process, seconds):
    "Hold the connections; return latencies and errors of /health, openings, and the most descriptors"
    until, ms, errors, opened, most = time.monotonic() + seconds, [], [], [], 0
    tasks = [asyncio.create_task(hold(port, until, opened)) for _ in range(AT_ONCE)]
    tasks.append(asyncio.create_task(ask(port, until, ms, errors)))
    while time.monotonic() < until:
        most = max(most, process.num_fds())
        await asyncio.sleep(0.5)
    await asyncio.gather(*tasks)
    return ms, errors, len(opened), most


def percentile(values, fraction):
    return round(sorted(values)[min(int(fraction * len(values)), len(values) - 1)], 1)


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


def main():
    args = options(__doc__)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "ECG_DATA_DIR": folder}
        command = [sys.executable, "-m", "ecg_audio_nb", "serve", "--port", str(port), "--profile", "demo"]
        server = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, preexec_fn=few_descriptors)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
                while True:
                    try:
                        if http.get("/ready").status_code == 200:
                            break
                    except httpx.TransportError:
                        pass
                    time.sleep(0.2)
            process = psutil.Process(server.pid)
            files, before = process.num_fds(), process.memory_info().rss
            seconds = 10 if args.quick else 60
            ms, errors, opened, most = asyncio.run(attack(port, process, seconds))
            time.sleep(HEADER_TIMEOUT + 5)
            left, grown = max(process.num_fds() - files, 0), process.memory_info().rss - before
        finally:
            server.send_signal(signal.SIGTERM)
            status = server.wait(60)
    figures = {
        "health_p50_ms": percentile(ms, 0.5),
        "health_p99_ms": percentile(ms, 0.99),
        "health_max_ms": round(max(ms), 1),
        "health_errors": len(errors),
        "health_asked": len(ms),
        "opened": opened,
        "left": left,
        "descriptors_most": most,
        "rss_growth_mb": round(grown / 2**20, 1),
        "exit_status": status,
    }
    keep("half_open", figures, args.quick, {"at_once": AT_ONCE, "seconds": seconds})


if __name__ == "__main__":
    main()
