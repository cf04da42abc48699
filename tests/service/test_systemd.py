"""Files for systemd, cron and Docker, as text: what they call exists, and systemd and pip understand them"""
import configparser, json, re, shlex, shutil, subprocess, sys, tomllib
from functools import cache
from pathlib import Path

import pytest
import typer

from ecg_audio_nb.cli import app
from ecg_audio_nb.service.app import server_settings
from ecg_audio_nb.settings import load_settings

UNITS = Path(__file__).resolve().parents[2] / "ecg_audio_nb/assets/units"
SERVE = UNITS / "ecg-serve.service"
SERVICES = sorted(p for p in UNITS.glob("ecg-*.service") if p != SERVE)
DASK = sorted(UNITS.glob("dask-*.service"))
ECG = "/opt/ecg/bin/ecg"


class Unit(configparser.RawConfigParser):
    "A unit file, in which a key may stand more than once"
    def __init__(self, path):
        super().__init__(delimiters=("=",), comment_prefixes=("#",), strict=False)
        self.optionxform = str
        self.read_string(path.read_text())
        self.lines = [
            line.partition("=")[::2] for line in path.read_text().splitlines() if line and line[0] not in "#["
        ]

    def all(self, key): return [v for k, v in self.lines if k == key]


@cache
def command(name): return typer.main.get_command(app).commands[name]


def understood(words):
    "What `ecg` would make of a command line: its parameters, as typer reads them; a misspelt option raises"
    tool, name, *rest = words
    assert tool == ECG
    return command(name).make_context(name, rest).params


def commands_of_cron():
    line = next(s for s in (UNITS / "ecg-batch.cron").read_text().splitlines() if s and not s.startswith("#"))
    return line, [shlex.split(part) for part in re.search(r"sh -c '([^']+)'", line)[1].split("&&")]


def test_all_kinds_are_there():
    assert {p.name for p in UNITS.iterdir()} == {
        "compose.yaml",
        "kubernetes.yaml",
        "ecg-batch.service",
        "ecg-batch.timer",
        "ecg-batch.cron",
        "ecg-inbox.service",
        "ecg-serve.service",
        "dask-scheduler.service",
        "dask-worker@.service",
    }


@pytest.mark.parametrize("path", SERVICES, ids=lambda p: p.name)
def test_a_service_calls_what_there_is(path):
    unit = Unit(path)
    batch, = (understood(shlex.split(v)) for v in unit.all("ExecStart"))
    doctor, = (understood(shlex.split(v)) for v in unit.all("ExecStartPre"))
    assert batch["profile"] == doctor["profile"] and load_settings(profile=batch["profile"])
    assert (
        batch["output"] in unit["Service"]["ReadWritePaths"].split()
        and batch["workers"] == 1
        and batch["timeout"]
    )


def test_the_service_for_the_backend():
    unit = Unit(SERVE)
    serve, = (understood(shlex.split(v)) for v in unit.all("ExecStart"))
    doctor, = (understood(shlex.split(v)) for v in unit.all("ExecStartPre"))
    service, stop = unit["Service"], server_settings().shutdown_timeout
    assert (
        serve["host"] == "127.0.0.1"
        and not serve["without_keys"]
        and serve["profile"] == doctor["profile"]
        and load_settings(profile=serve["profile"])
    )
    assert service["EnvironmentFile"] == "/etc/ecg/serve.env", (
        "without the file that holds its keys it must not start"
    )
    assert (
        service["Restart"] == "always"
        and unit["Unit"]["StartLimitIntervalSec"] == "0"
        and unit["Install"]["WantedBy"] == "multi-user.target"
    )
    assert int(service["TimeoutStopSec"]) > stop + 5 + 5, "the stage in hand, connections, callbacks"
    assert (
        f"ECG_DATA_DIR=/var/lib/{service['StateDirectory']}" in unit.all("Environment")[-1].split()
        and service["StateDirectoryMode"] == "0700"
    )
    assert not re.search(r"(KEYS|SECRET|TOKEN)=", "".join(f"{k}={v}" for k, v in unit.lines))


@pytest.mark.parametrize("path", SERVICES, ids=lambda p: p.name)
def test_a_service_stops_gently_and_writes_little(path):
    service = Unit(path)["Service"]
    assert (service["KillMode"], service["KillSignal"], service["ProtectSystem"], service["User"]) == (
        "mixed",
        "SIGTERM",
        "strict",
        "ecg",
    )
    assert int(service["TimeoutStopSec"]) >= 60 and int(service["Nice"]) > 0
    assert service["EnvironmentFile"].startswith("-/"), (
        "tokens stand in a file of their own, and it may be missing"
    )
    assert not re.search(r"token|secret|password", "".join(f"{k}={v}" for k, v in Unit(path).lines), re.I)


def test_the_night_ends_and_the_inbox_does_not():
    night, inbox = Unit(UNITS / "ecg-batch.service"), Unit(UNITS / "ecg-inbox.service")
    assert night["Service"]["Type"] == "oneshot" and "Install" not in night, (
        "the timer starts it, and nobody else"
    )
    assert "Restart" not in night["Service"] and inbox["Service"]["Restart"] == "always"
    assert (
        not understood(shlex.split(night["Service"]["ExecStart"]))["watch"]
        and understood(shlex.split(inbox["Service"]["ExecStart"]))["watch"]
    )
    assert (
        inbox["Unit"]["StartLimitIntervalSec"] == "0" and inbox["Install"]["WantedBy"] == "multi-user.target"
    )


def test_the_timer_names_a_time():
    timer = Unit(UNITS / "ecg-batch.timer")
    assert timer["Install"]["WantedBy"] == "timers.target" and timer["Timer"]["Persistent"] == "true"
    assert re.fullmatch(r"\*-\*-\* ([01]\d|2[0-3]):[0-5]\d:[0-5]\d", timer["Timer"]["OnCalendar"])


def test_the_cron_line():
    line, (doctor, batch) = commands_of_cron()
    bounds, rest = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)], line.split(maxsplit=5)
    assert all(f == "*" or low <= int(f) <= high for f, (low, high) in zip(rest[:5], bounds))
    assert "flock -n" in rest[5] and "%" not in line, "cron takes % for the end of a line"
    assert understood(doctor)["profile"] == understood(batch)["profile"] and understood(batch)["timeout"]
    assert not subprocess.run(["sh", "-n", "-c", rest[5]], capture_output=True).returncode


def test_a_misspelt_option_would_be_found():
    with pytest.raises(Exception, match="No such option: --wokers"):
        understood([ECG, "batch", "a", "-o", "b", "--wokers", "1"])


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd on this machine: its files are read as text only"
)
def test_systemd_understands_them(tmp_path):
    tool = shutil.which("true")
    for path in (*SERVICES, SERVE, UNITS / "ecg-batch.timer"):
        (tmp_path / path.name).write_text(path.read_text().replace(ECG, tool))
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(tmp_path.iterdir())], capture_output=True, text=True
    )
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or line.startswith("ecg-")]
    assert not said, done.stderr
    when = Unit(UNITS / "ecg-batch.timer")["Timer"]["OnCalendar"]
    assert subprocess.run(["systemd-analyze", "calendar", when], capture_output=True).returncode == 0


# The cluster's

def dask_understood(words):
    "What Dask's own command would make of a command line; a misspelt option raises"
    from distributed.cli.dask_scheduler import main as scheduler
    from distributed.cli.dask_worker import main as worker
    tool, name, *rest = words
    assert tool == "/opt/ecg/bin/dask"
    return (
        {"scheduler": scheduler, "worker": worker}[name]
        .make_context(name, rest, ignore_unknown_options=False, allow_extra_args=False)
        .params
    )


@pytest.mark.parametrize("path", DASK, ids=lambda p: p.name)
def test_dask_units_call_what_there_is_and_are_started_again(path):
    unit = Unit(path)
    [params] = (dask_understood(shlex.split(v)) for v in unit.all("ExecStart"))
    assert unit["Service"]["Restart"] == "always" and unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert "tls" in (params.get("protocol") or params["scheduler"]) and unit["Service"][
        "EnvironmentFile"
    ].startswith("-/")
    if "worker" in path.name:
        assert (
            params["nthreads"] == 1
            and params["n_workers"] in (1, "1")
            and params["resources"] == "GPU=1"
            and not params["nanny"]
        )
        assert "CUDA_VISIBLE_DEVICES=%i" in unit.all("Environment")
    else: assert "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0" in unit.all("Environment")


# The container's

ROOT = Path(__file__).resolve().parents[2]

def steps():
    "(instruction, its arguments) of the Dockerfile"
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(k, v.strip()) for k, _, v in (line.partition(" ") for line in text.splitlines() if line.strip())]

def only(key):
    [value] = [v for k, v in steps() if k == key]
    return value


def test_the_container_runs_what_there_is_as_nobody_in_particular():
    assert json.loads(only("ENTRYPOINT")) == ["ecg"], "a shell before it would swallow SIGTERM"
    params = understood([ECG, *json.loads(only("CMD"))])
    assert (
        params["host"] == "0.0.0.0" and str(params["port"]) == only("EXPOSE") and not params["without_keys"]
    )
    kinds = [k for k, _ in steps()]
    assert (
        only("USER").isdigit()
        and only("USER") != "0"
        and "RUN" not in kinds[kinds.index("USER") :]
        and "COPY" not in kinds[kinds.index("USER") :]
    )
    assert f"--uid {only('USER')} " in "".join(v for k, v in steps() if k == "RUN")
    assert not re.search(r"(KEYS|SECRET|TOKEN|PASSWORD)=", (ROOT / "Dockerfile").read_text())
    for k, v in steps():
        if k == "RUN": assert not subprocess.run(["sh", "-n", "-c", v], capture_output=True).returncode, v


def test_the_container_is_healthy_when_the_service_is():
    options, _, words = only("HEALTHCHECK").partition("CMD ")
    tool, *rest = json.loads(words)
    assert tool == "python" and "--start-period" in options
    def asked(status):
        answer = f"HTTP/1.0 {status} x\\r\\n\\r\\n"
        fake = "import urllib.request as r, io\n"
        fake += (
            "def urlopen(url, timeout):\n    if url != 'http://127.0.0.1:8080/health': raise SystemExit(9)\n"
        )
        fake += f"    if {status} != 200: raise OSError({answer!r})\nr.urlopen = urlopen\n"
        return subprocess.run([sys.executable, rest[0], fake + rest[1]], capture_output=True).returncode
    assert asked(200) == 0 and asked(503) == 1


def test_the_container_is_built_from_what_is_there(tmp_path):
    "What is copied is all that pip needs: a wheel is built from it alone"
    ignored = (ROOT / ".dockerignore").read_text().split()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"EXTRAS=([\w,]+)", (ROOT / "Dockerfile").read_text())
    assert named and all(e in extras for names in named for e in names.split(","))
    for k, v in steps():
        if k != "COPY": continue
        *sources, target = v.split()
        for source in sources:
            assert f"!{source}" in ignored and (ROOT / source).exists(), source
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source,
                    tmp_path / target,
                    symlinks=True,
                    ignore=shutil.ignore_patterns("__pycache__"),
                )
            else: shutil.copy(ROOT / source, tmp_path / target)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        tmp_path / "out",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", next((tmp_path / "out").glob("*.whl"))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for part in (
        "ecg_audio_nb/service/app.py",
        "assets/server.html",
        "assets/jobs/analyze.ipynb",
        "assets/units/ecg-serve.service",
        "assets/sample.mp4",
    ):
        assert part in names
