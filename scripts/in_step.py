"""Do nbdev-clean and nbdev-export change nothing? Run in a copy, so that a working tree is never touched

python scripts/in_step.py
"""

import difflib, os, shutil, subprocess, sys, tempfile
from pathlib import Path

root = Path(__file__).resolve().parents[1]
parts = "pyproject.toml", "_quarto.yml", "settings.ini", "README.md", "nbs", "ecg_audio_nb"
leave_out = shutil.ignore_patterns(
    "__pycache__", ".ipynb_checkpoints", "nbdev.yml", "*.qmd", "*.onnx", "*.mp4"
)


def copied(folder):
    for part in parts:
        if (root / part).is_dir():
            shutil.copytree(root / part, folder / part, symlinks=True, ignore=leave_out)
        else:
            shutil.copy2(root / part, folder / part)
    return folder


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(name, folder):
    "One of nbdev's commands, from the environment this runs in"
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [Path(sys.executable).parent / name], cwd=folder, env=env, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stdout}{done.stderr}")


def shown(path, before, after):
    "What a command would change in one file, the first lines of it"
    if before is None or after is None:
        return f"{path}: would be {'written anew' if before is None else 'removed'}\n"
    lines = [b.decode(errors="replace").splitlines(keepends=True) for b in (before, after)]
    return "".join(list(difflib.unified_diff(*lines, f"{path} as it is", f"{path} as it would be", n=1))[:40])


def main():
    with tempfile.TemporaryDirectory() as tmp:
        folder = copied(Path(tmp))
        for command in ("nbdev-clean", "nbdev-export"):
            before = contents(folder)
            run(command, folder)
            after = contents(folder)
            changed = [p for p in {**before, **after} if before.get(p) != after.get(p)]
            if changed:
                print("".join(shown(p, before.get(p), after.get(p)) for p in changed))
                sys.exit(
                    f"{command} changes {', '.join(map(str, changed))}: run it, look at the change, keep it"
                )


if __name__ == "__main__":
    main()
