"""The catalogue of models: names, where a model lies, what is incomplete"""
import pytest

from ecg_audio_nb import catalogue as cat


def test_a_name_has_an_entry_and_two_names_are_short():
    assert cat.catalogue()["large-v3-turbo"]["repo"].endswith("large-v3-turbo")
    assert cat.entry_of("turbo") is cat.entry_of("large-v3-turbo") and cat.entry_of("large") is cat.entry_of(
        "large-v3"
    )
    assert cat.entry_of("owner/name") == {}


def test_what_a_folder_lacks(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"")
    assert cat.missing_files(tmp_path, "transcribe") == [
        "config.json",
        "tokenizer.json",
        "vocabulary.json or vocabulary.txt",
    ]


def test_a_model_of_the_hubs_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert cat.cached("small", "transcribe") is None and cat.where("small", "transcribe") == ""
    home = tmp_path / "models--Systran--faster-whisper-small"
    for name in (
        "refs/main",
        *(f"snapshots/abc/{n}" for n in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt")),
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("abc")
    weights = cat.cached("small", "transcribe")
    assert (
        weights.revision == "abc"
        and cat.where("small", "transcribe") == "cache"
        and cat.is_available("small", "transcribe")
    )
    assert [p.name for p in weights.files] == ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"]
    assert weights.mb == pytest.approx(12 / 2**20)


def test_a_model_of_torchs_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = cat.align_model("en")
    assert cat.cached(name, "align") is None
    path = tmp_path / "hub/checkpoints" / cat.entry_of(name)["file"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert cat.cached(name, "align").files == [path]


def test_a_folder_is_available(tmp_path):
    assert cat.is_available(str(tmp_path), "diarize") and not cat.is_available("./nowhere", "diarize")


@pytest.mark.parametrize(
    "language, name",
    [("auto", "WAV2VEC2_ASR_BASE_960H"), ("ko", "kresnik/wav2vec2-large-xlsr-korean"), ("xx", None)],
)
def test_the_aligner_of_a_language(language, name): assert cat.align_model(language) == name
