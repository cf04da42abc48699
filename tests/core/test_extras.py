"""One error for a missing extra"""
import pytest

from ecg_audio_nb.core.extras import require, require_installed


def test_what_is_installed_is_imported():
    import json
    assert require("json", "lab", "a test needs") is json
    require_installed("json", "lab", "a test needs")


@pytest.mark.parametrize("check", [require, require_installed])
def test_what_is_missing_is_named_with_its_extra(check):
    with pytest.raises(
        LookupError,
        match=(
            r"^a test needs no_such_module, which is not installed: pip "
            r"install 'ecg-audio-nb\[lab\]'$"
        ),
    ):
        check("no_such_module", "lab", "a test needs", LookupError)


def test_what_a_module_imports_is_named(tmp_path, monkeypatch):
    (tmp_path / "half.py").write_text("import no_such_part")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="a test needs no_such_part"): require("half", "lab", "a test needs")
