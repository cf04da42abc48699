"""Files: which ones are the package's code"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def code_files() -> list[Path]:
    "Every Python module and settings file of the package, subpackages too, in a fixed order"
    return sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".ini") and "assets" not in p.relative_to(PACKAGE).parts)
