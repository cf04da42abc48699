"""The service under load: 200 submissions at once while a job runs, and its memory over many jobs

One `ecg serve` with the embedded engines works on a recording while 200 clients submit jobs at the same time.

- `p50_ms`, `p99_ms`: from a submission's first byte to the end of its answer, connections made anew.
- `errors`: submissions that were not answered with 200.
- `rss_growth_mb`: resident memory of the service after the last of its jobs, less that after the first ten.
"""
import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil
from _common import ROOT, keep, options

SAMPLE = ROOT / "ecg_audio_nb/assets/sample.mp4"


def until(true, seconds=600):
    "Wait for something that must come"
    for _ in range(seconds * 10):
        try:
            if true():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    sys.exit("the service did not get there in time")


async def submit_all(url, media, n):
    "All at once; milliseconds and statuses"
    async def one(client, i):
        start = time.perf_counter()
        answer = await client.post("/api/upload-video/process-video", json={"job_id": f"load-{i}", "video_url": str(media)})
        return 1000 * (time.perf_counter() - start), answer.status_code
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=httpx.Limits(max_connections=n)) as client:
        return await asyncio.gather(*(one(client, i) for i in range(n)))


def main():
    args = options(__doc__)
    jobs = 12 if args.quick else 60
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        media = Path(folder, "media", "talk.mp4")
        media.parent.mkdir()
        shutil.copy(SAMPLE, media)
        env = {**os.environ, "ECG_DATA_DIR": folder, "ECG_FETCH__MEDIA_ROOTS": str(media.parent)}
        command = [sys.executable, "-m", "ecg_audio_nb", "serve", "--port", str(port), "--profile", "demo",
                   "--set", "transcribe.enabled=false",
                   "--set", "server.queue=1000", "--set", "server.queue_per_key=1000", "--set", "server.requests=100000"]
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        try:
            http, seen = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60), psutil.Process(process.pid)
            until(lambda: http.get("/ready").status_code == 200)
            done = lambda: sum(http.get(f"/jobs/warm-{i}").json().get("status") == "completed" for i in range(jobs))
            for i in range(jobs):
                http.post("/api/upload-video/process-video", json={"job_id": f"warm-{i}", "video_url": str(media)})
            until(lambda: done() >= 10)
            before = seen.memory_info().rss
            until(lambda: done() == jobs)
            growth = (seen.memory_info().rss - before) / 2**20
            http.post("/api/upload-video/process-video", json={"job_id": "at-work", "video_url": str(media)})
            until(lambda: http.get("/jobs/at-work").json()["status"] == "processing")
            found = asyncio.run(submit_all(f"http://127.0.0.1:{port}", media, 200))
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(60)
    ms = sorted(m for m, _ in found)
    keep("server", {"p50_ms": round(ms[99], 1), "p99_ms": round(ms[197], 1), "errors": sum(s != 200 for _, s in found),
                    "rss_growth_mb": round(growth, 1), "jobs": jobs, "exit_status": status}, args.quick)


if __name__ == "__main__":
    main()
