"""Keys, rates, and what may be said to strangers"""
import hashlib

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

DIGEST = hashlib.sha256(KEY.encode()).hexdigest()

@pytest.mark.parametrize("entry", [f"SHA256:{DIGEST}", f"Sha256:{DIGEST.upper()}", f"sha256:{DIGEST.upper()}"])
def test_a_digest_may_have_capitals(entry):
    assert key_name(read_keys(f"backend={entry}"), KEY) == "backend"

@pytest.mark.parametrize("value", ["sha256:zz", f"sha256:{DIGEST[1:]}", f"sha256:{DIGEST}0", f"SHA256: {DIGEST}",
                                   "sha256:a-key-of-some-length", f"x:sha256:{DIGEST}"])
def test_a_mistyped_digest_is_no_key(value):
    "It would let in whoever reads the settings, and not the key that was meant"
    with pytest.raises(ValueError, match="the digest of the entry backend is not sha256: and exactly 64") as e:
        read_keys(f"backend={value}")
    assert value.strip() not in str(e.value)
    with pytest.raises(ValueError, match="the digest of entry 1"): read_keys(value)
    with pytest.raises(ValueError, match="the entry sha256 "): read_keys(f"sha256={DIGEST}")

def test_a_short_key_does_not_become_one_with_its_name():
    with pytest.raises(ValueError, match="the entry backend is no key"): read_keys("backend=short-key")
    padded = "QUJDREVGR0hJSktMTU5PUA=="
    assert key_name(read_keys(padded), padded) == "key1"

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
