"""The service's settings: four sources in their order, old names in every one of them, errors that name the
nearest key"""
import warnings

import pytest

from ecg_audio_nb.core import renamed
from ecg_audio_nb.service.app import ServerSettings, server_settings
from ecg_audio_nb.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def no_settings_of_mine(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

def profile(tmp_path, *lines):
    (tmp_path / "settings.ini").write_text("\n".join(("[mine]", *lines)))

def test_values_are_read_from_text():
    assert server_settings({"max_queued": "50"}).max_queued == 50
    assert ServerSettings(cors_origins="https://a.org, https://b.org").cors_origins == (
        "https://a.org",
        "https://b.org",
    )

def test_another_site_is_read_as_browsers_write_it():
    assert ServerSettings(cors_origins="https://A.org/, null, http://b:8000").cors_origins == (
        "https://a.org",
        "null",
        "http://b:8000",
    )
    for wrong in ("foo", "a.org", "https://a.org/page", "*"):
        with pytest.raises(SettingsError, match="server.cors_origins = .* is not the origin of a site; write https://app"):
            server_settings({"cors_origins": wrong})

def test_later_sources_win(tmp_path, monkeypatch):
    profile(
        tmp_path, "server.max_queued = 1", "server.keep_days = 2", "server.language = ko", "engine = whisper"
    )
    monkeypatch.setenv("ECG_SERVER__MAX_QUEUED", "3")
    monkeypatch.setenv("ECG_SERVER__KEEP_DAYS", "4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = server_settings({"max_queued": 5}, "mine")
        assert (found.max_queued, found.keep_days, found.language, found.min_free_mb) == (5, 4, "ko", 500)
        # the service's lines and variables are none of its business
        assert load_settings(profile="mine").engine == "whisper"
        monkeypatch.setenv("ECG_PROFILE", "mine")
        assert server_settings().language == "ko"

@pytest.mark.parametrize("old, new", renamed.SERVER.items())
def test_a_renamed_key_works_in_every_source_and_says_its_new_name(old, new, tmp_path, monkeypatch):
    old_key, new_key = old.removeprefix("server."), new.removeprefix("server.")
    first, second = {"private": (True, False), "origins": (("https://a.org",), ("https://b.org",))}.get(
        old_key, (7, 9)
    )

    def text(value): return ",".join(value) if isinstance(value, tuple) else str(value)
    def told(written, now, *args, **kwargs):
        with pytest.warns(renamed.RenamedKey, match=f"{written} is now called {now};"):
            return getattr(server_settings(*args, **kwargs), new_key)

    assert told(old, new, {old_key: first}) == first
    profile(tmp_path, f"{old} = {text(first)}")
    assert told(old, new, profile="mine") == first
    variable = f"ECG_SERVER__{new_key}".upper()
    for written in (f"ECG_SERVER_{old_key}".upper(), f"ECG_SERVER__{old_key}".upper()):
        with monkeypatch.context() as patch:
            patch.setenv(written, text(second))
            assert told(written, variable, profile="mine") == second
            patch.setenv(variable, text(first))
            assert told(written, variable) == first # the present name wins
    monkeypatch.setenv(variable, text(second))
    assert told(old, new, {old_key: first}) == first
    with pytest.warns(renamed.RenamedKey):
        assert getattr(ServerSettings(**{old_key: first}), new_key) == first


@pytest.mark.parametrize("key", ServerSettings.model_fields)
def test_the_variable_of_before_works_for_every_key(key, monkeypatch):
    value = getattr(ServerSettings(), key)
    monkeypatch.setenv(
        f"ECG_SERVER_{key}".upper(), ",".join(value) if isinstance(value, tuple) else str(value)
    )
    with pytest.warns(renamed.RenamedKey, match=f"is now called ECG_SERVER__{key.upper()};"):
        assert server_settings() == ServerSettings()


def test_a_misspelt_key_is_an_error_that_names_the_nearest(tmp_path, monkeypatch):
    with pytest.raises(
        SettingsError,
        match=(
            "server.max_queud is not a setting; the nearest is server.max_queued. The service has language, "
        ),
    ):
        server_settings({"max_queud": 50})
    with pytest.raises(SettingsError, match="server.zzz is not a setting; The service has"):
        server_settings({"zzz": 50})
    with pytest.raises(SettingsError, match="server.max_queued = 0: .*greater than or equal to 1"):
        server_settings({"max_queued": 0})
    profile(tmp_path, "server.keep_dais = 3")
    with pytest.raises(SettingsError, match="the nearest is server.keep_days"):
        server_settings(profile="mine")
    monkeypatch.setenv("ECG_SERVER__MAX_QUEUEDD", "3")
    with pytest.raises(SettingsError, match="the nearest is server.max_queued"): server_settings()
    load_settings() # it is the service that says so
