"""The service under load: 200 submissions at once while a job runs, and its memory over 1,000 jobs

One `ecg serve` with the embedded engines. Clients and service share this machine's processors with the job at
work.

- `p50_ms`, `p99_ms`: from a submission's first byte to its answer, over bursts of 200 that are sent at once
  over open connections; `worst_burst_p99_ms` is that of the slowest burst.
- `errors`: submissions that were not answered with 200.
- `health_p99_ms`: of `/health` during the bursts; `events`: messages of the running job's event stream
  during them.
- `rss_growth_mb`: resident memory of the service and its children after its last job, less that after a
  tenth of them.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import soundfile
from _common import ROOT, keep, options

from ecg_audio_nb.audio.media import load_audio

SAMPLE = ROOT / "ecg_audio_nb/assets/sample.mp4"
AT_ONCE = 200


def wait_for(condition, seconds=3600):
    "Wait until a function returns something true"
    for _ in range(seconds * 10):
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    sys.exit(f"the service did not do what was waited for within {seconds} s")


def request(path, job, media):
    "A submission's bytes"
    body = json.dumps({"job_id": job, "video_url": str(media)}).encode()
    return (
        b"POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % (path, len(body))
        + body
    )


async def timed(reader, writer, message):
    "Send one request over an open connection; return milliseconds and status"
    began = time.perf_counter()
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    spent = 1000 * (time.perf_counter() - began)
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    await reader.readexactly(length)
    return spent, int(head.split()[1])


async def burst(port, media, name):
    "Send 200 submissions at once; return milliseconds and status of each"
    pairs = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(AT_ONCE)))
    messages = [request(b"/api/upload-video/process-video", f"{name}-{i}", media) for i in range(AT_ONCE)]
    answers = await asyncio.gather(*(timed(*pair, message) for pair, message in zip(pairs, messages)))
    for _, writer in pairs:
        writer.close()
    return answers


async def ask_health(port, times):
    "Ask for /health until cancelled"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        times.append((await timed(reader, writer, b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"))[0])
        await asyncio.sleep(0.02)


async def follow(port, job, events):
    "Read a job's event stream until cancelled"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /jobs/%s/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" % job.encode())
    while line := await reader.readline():
        if line.startswith(b"data:"):
            events.append(json.loads(line[5:]))


async def load(port, media, job, bursts):
    "Send bursts; return the latencies of every burst and of /health, and the events"
    health, events, bursts_ms = [], [], []
    others = [asyncio.create_task(ask_health(port, health)), asyncio.create_task(follow(port, job, events))]
    for n in range(bursts):
        bursts_ms.append(await burst(port, media, f"burst-{n}"))
        await asyncio.sleep(1)
    for task in others:
        task.cancel()
    return bursts_ms, health, events


def percentile(values, fraction):
    "Return the value below which a fraction of the values lies"
    return round(sorted(values)[max(0, int(np.ceil(fraction * len(values))) - 1)], 1)


def rss(process):
    "Return MB of a process and its children"
    family = [process, *process.children(recursive=True)]
    return sum(q.memory_info().rss for q in family if q.is_running()) / 2**20


def memory(http, process, media, jobs):
    "Return MB after each tenth of the jobs, and jobs a minute"
    megabytes, began = [], time.monotonic()
    for tenth in range(10):
        names = [f"short-{tenth}-{i}" for i in range(jobs // 10)]
        for name in names:
            http.post(
                "/api/upload-video/process-video", json={"job_id": name, "video_url": str(media)}
            ).raise_for_status()
        wait_for(lambda last=names[-1]: http.get(f"/jobs/{last}").json()["status"] in ("completed", "failed"))
        if (job := http.get(f"/jobs/{names[-1]}").json())["status"] == "failed":
            sys.exit(f"the job {names[-1]} failed: {job['error']}")
        megabytes.append(round(rss(process), 1))
    return megabytes, 60 * jobs / (time.monotonic() - began)


def main():
    args = options(__doc__)
    jobs, bursts = (10, 5) if args.quick else (1000, 20)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        audio = load_audio(SAMPLE)
        short, long = Path(folder, "media", "short.wav"), Path(folder, "media", "long.wav")
        short.parent.mkdir()
        soundfile.write(short, audio.cut(1.5, 3.5).samples, audio.sample_rate)
        soundfile.write(long, np.tile(audio.samples, 8), audio.sample_rate)
        env = {**os.environ, "ECG_DATA_DIR": folder, "ECG_FETCH__MEDIA_ROOTS": str(short.parent)}
        command = [
            sys.executable,
            "-m",
            "ecg_audio_nb",
            "serve",
            "--port",
            str(port),
            "--profile",
            "demo",
            "--set",
            "server.max_queued=100000",
            "--set",
            "server.max_queued_per_key=100000",
            "--set",
            "server.requests_per_minute=1000000",
        ]
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        try:
            http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)
            wait_for(lambda: http.get("/ready").status_code == 200)
            megabytes, rate = memory(http, psutil.Process(process.pid), short, jobs)
            http.post(
                "/api/upload-video/process-video", json={"job_id": "at-work", "video_url": str(long)}
            ).raise_for_status()
            wait_for(lambda: http.get("/jobs/at-work").json()["stage"] == "transcribe")
            answers, health, events = asyncio.run(load(port, short, "at-work", bursts))
            still = http.get("/jobs/at-work").json()["status"]
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(60)
    ms = [m for b in answers for m, _ in b]
    keep(
        "server",
        {
            "p99_ms": percentile(ms, 0.99),
            "rss_growth_mb": round(megabytes[-1] - megabytes[0], 1),
            "p50_ms": percentile(ms, 0.5),
            "worst_burst_p99_ms": max(percentile([m for m, _ in b], 0.99) for b in answers),
            "errors": sum(s != 200 for b in answers for _, s in b),
            "health_p99_ms": percentile(health, 0.99),
            "events": len(events),
            "jobs": jobs,
            "jobs_per_minute": round(rate, 1),
            "exit_status": status,
        },
        args.quick,
        {
            "mb_by_tenths": megabytes,
            "burst_p99_ms": [percentile([m for m, _ in b], 0.99) for b in answers],
            "job_at_work_after": still,
        },
    )


if __name__ == "__main__":
    main()
