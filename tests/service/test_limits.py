"""Keys, rates, and what may be said to strangers"""
import pytest

from ecg_audio_nb.service.limits import RateLimit, key_name, read_keys
from ecg_audio_nb.service.problems import redact_text

KEY, OTHER = "a-key-of-some-length", "another-key-of-some-length"


def test_keys_are_read_and_compared():
    keys = read_keys(f"one={KEY}, {OTHER}")
    assert (
        list(keys),
        key_name(keys, KEY),
        key_name(keys, OTHER),
        key_name(keys, "none"),
        key_name(keys, None),
    ) == (["one", "key2"], "one", "key2", None, None)
    assert KEY.encode() not in b"".join(keys.values())
    for wrong in ("short", "sha256:12", f"a={KEY} a={OTHER}"):
        with pytest.raises(ValueError, match="ECG_API_KEYS") as e: read_keys(wrong)
        assert KEY not in str(e.value)

def test_an_allowance_is_each_callers_own():
    a = RateLimit(2, 1e9)
    assert [a.take("x"), a.take("x"), a.take("y")] == [None, None, None]
    assert a.take("x") > 0 and a.take("y") is None

@pytest.mark.parametrize(
    "text, shown",
    [
        ("/data/in/talk.mp4: no such file", "talk.mp4: no such file"),
        ("https://user:pass@x.org/a.mp4?key=1: gone", "https://x.org/a.mp4"),
        ("'/a/b c/d.mp4'", "'b c/d.mp4'"),
        ("one\ntwo", "one two"),
    ],
)
def test_what_may_be_said(text, shown):
    assert (
        redact_text(text).startswith(shown)
        and "pass" not in redact_text(text)
        and "key=" not in redact_text(text)
    )
