"""What every benchmark needs: where data lies, what machine this is, and how results are kept."""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "ecg-audio-nb",
    "numpy",
    "scipy",
    "onnxruntime",
    "av",
    "ctranslate2",
    "tokenizers",
    "pyannote.metrics",
    "jiwer",
    "whisperx",
    "faster-whisper",
    "torch",
    "torchaudio",
    "pocketsphinx",
)


def options(text: str, **more) -> argparse.Namespace:
    "The command line all benchmarks share"
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a part of it, within 60 s on 2 cores; nothing is kept"
    )
    for name, settings in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **settings)
    return parser.parse_args()


def need_data(name: str) -> Path:
    "A folder of the real speech, or the end with one clear line"
    if not (DATA / name).is_dir():
        sys.exit(f"no data: {DATA / name} is not there, and this benchmark measures on it")
    return DATA / name


def pyannote_sample() -> Path | None:
    "The telephone talk that comes with pyannote.audio, without importing it; None where it is not installed"
    found = importlib.util.find_spec("pyannote")
    for folder in found.submodule_search_locations if found else ():
        path = Path(folder) / "audio/sample/sample.wav"
        if path.exists():
            return path
    return None


def cores() -> int:
    "Processor cores this process may use"
    return len(os.sched_getaffinity(0))


def machine() -> dict:
    "Where a figure was measured"
    cpu, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        names = (
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        )
        cpu = next(names, cpu)
    return {"cpu": cpu, "cores": cores(), "system": platform.system(), "python": platform.python_version()}


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def keep(name: str, figures: dict, quick: bool, details: object = None):
    "Write the full result, unless this was only a quick look, and print the figures as the last line"
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        versions = {p: _version(p) for p in PACKAGES}
        full = {
            **figures,
            "date": date.today().isoformat(),
            "machine": machine(),
            "versions": versions,
            "details": details,
        }
        (RESULTS / f"{name}.json").write_text(
            json.dumps(full, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    print(json.dumps({**figures, "quick": quick}, ensure_ascii=False))


_CLOCK = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(json.loads(sys.argv[1]), capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
seconds, cpu = time.perf_counter() - start, used.ru_utime + used.ru_stime
print(json.dumps([done.returncode, seconds, cpu, used.ru_maxrss / 1024,
                  done.stdout[-800:] + done.stderr[-1500:]]))
"""


def measured(command: list[str]) -> dict:
    "Run a command to its end: wall seconds, processor seconds, peak memory (MB) of its largest process"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYANNOTE_METRICS_ENABLED": "0"}
    clock = [sys.executable, "-c", _CLOCK, json.dumps(command)]
    out = subprocess.run(clock, capture_output=True, text=True, env=env, check=True).stdout
    status, seconds, cpu, peak, tail = json.loads(out)
    if status:
        sys.exit(f"{command[1:4]} failed:\n{tail}")
    return {"seconds": round(seconds, 2), "cpu_s": round(cpu, 2), "peak_mb": round(peak)}
