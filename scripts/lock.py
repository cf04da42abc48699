"""Write constraints.txt, the tested set: the versions in the environment that runs this, resolved for every
Python

Run it in the environment that the tests have just passed in: `make lock`. Each Python that the project
supports resolves `.[all,dev]` by a dry run under those versions; what only one of them needs gets a marker.
"""

import json, re, shutil, subprocess, sys, tempfile
from importlib.metadata import distributions
from pathlib import Path

root = Path(__file__).resolve().parents[1]
pythons = "3.11", "3.12", "3.13", "3.14"
head = """\
# The tested versions: `make demo` and `make test` install exactly these.
# Made by `make lock`, from the environment in which the tests passed. pyproject.toml holds the ranges.
"""


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def installed():
    "Name to version of all that this environment holds, but for the project itself and the installers"
    found = {canonical(d.metadata["Name"]): d.version for d in distributions()}
    return {n: v for n, v in found.items() if n not in ("ecg-audio-nb", "pip", "setuptools", "wheel")}


def interpreter(version):
    "The path of that Python on this machine, or None"
    for path in filter(None, (sys.executable, shutil.which(f"python{version}"))):
        said = subprocess.run(
            [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
        )
        if said.stdout.strip() == version:
            return path


def resolved(python, tested, folder):
    "Name to version of all that a fresh `.[all,dev]` takes there"
    venv, pins, report = folder / "venv", folder / "pins.txt", folder / "report.json"
    pins.write_text("".join(f"{n}=={v}\n" for n, v in tested.items()))
    subprocess.run([python, "-m", "venv", "--clear", venv], check=True)
    subprocess.run(
        [
            venv / "bin/python",
            "-m",
            "pip",
            "install",
            "-qq",
            "--dry-run",
            "--ignore-installed",
            "--report",
            report,
            "-c",
            pins,
            f"{root}[all,dev]",
        ],
        check=True,
    )
    rows = [r["metadata"] for r in json.loads(report.read_text())["install"]]
    return {canonical(r["name"]): r["version"] for r in rows if canonical(r["name"]) != "ecg-audio-nb"}


def marker(versions):
    "The shortest marker that holds for these Pythons and for no other supported one"
    if set(versions) == set(pythons):
        return ""
    if list(versions) == list(pythons[-len(versions) :]):
        return f' ; python_version >= "{versions[0]}"'
    if list(versions) == list(pythons[: len(versions)]):
        return f' ; python_version <= "{versions[-1]}"'
    return " ; " + " or ".join(f'python_version == "{v}"' for v in versions)


def main():
    tested, sets = installed(), {}
    for version in pythons:
        if not (python := interpreter(version)):
            sys.exit(f"Python {version} is not on the PATH; lock where {', '.join(pythons)} all are")
        with tempfile.TemporaryDirectory() as folder:
            sets[version] = resolved(python, tested, Path(folder))
        print(f"Python {version}: {len(sets[version])} packages")
    pins = {}
    for version, rows in sets.items():
        for pin in rows.items():
            pins.setdefault(pin, []).append(version)
    lines = [f"{name}=={number}{marker(versions)}\n" for (name, number), versions in sorted(pins.items())]
    (root / "constraints.txt").write_text(head + "".join(lines))
    print(f"constraints.txt: {len(lines)} lines")


if __name__ == "__main__":
    main()
