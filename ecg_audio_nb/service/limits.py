"""Who may call, and how often: API keys, and rate limits for each caller"""

import hashlib
import hmac
import ipaddress
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NAME = re.compile(r"([A-Za-z0-9_.-]{1,40})=(?!=?\Z)")  # base64 ends with one or two = that name nothing
_KEY = re.compile(r"[\x21-\x7e]{16,256}\Z")
_MEANS_DIGEST = re.compile(r"sha256[:=]", re.I)
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z", re.I)


def read_keys(
    text: str | None,  # entries `[NAME=]KEY` or `[NAME=]sha256:HEX`, separated by commas or spaces
) -> dict[str, bytes]:  # SHA-256 digests by name; the keys themselves are not kept
    "Read `ECG_API_KEYS`; raises `ValueError`, which never shows a key"
    keys = {}
    for n, entry in enumerate((text or "").replace(",", " ").split(), 1):
        named = _NAME.match(entry)
        name, key = (named[1], entry[named.end() :]) if named else (f"key{n}", entry)
        if name in keys:
            raise ValueError(f"ECG_API_KEYS: two entries are called {name}; give each its own name")
        which = f"the entry {name}" if named else f"entry {n}"
        keys[name] = _digest_of_key(key, which, is_digest=bool(_MEANS_DIGEST.search(entry)))
    return keys


def _digest_of_key(
    key: str,  # what an entry holds after its name
    which: str,  # the entry, in a message
    is_digest: bool,  # it is written as a digest: mistyped, it must not become a key
) -> bytes:  # SHA-256
    "Digest a key, or read the digest that stands for it; raises `ValueError`, which shows neither"
    if is_digest:
        digest = _DIGEST.match(key)
        if not digest:
            raise ValueError(
                f"ECG_API_KEYS: the digest of {which} is not sha256: and exactly 64 hexadecimal digits; "
                "write NAME=sha256: and what `printf %s KEY | sha256sum` shows"
            )
        return bytes.fromhex(digest[1])
    if not _KEY.match(key):
        raise ValueError(
            f"ECG_API_KEYS: {which} is no key; write at least 16 characters, or sha256: and the 64 "
            "digits that `printf %s KEY | sha256sum` shows, with NAME= before it if you like"
        )
    return hashlib.sha256(key.encode()).digest()


def key_name(
    keys: Mapping[str, bytes],  # digests by name, of `read_keys`
    key: str | None,  # as the caller sent it
) -> str | None:  # None: the key is unknown
    "Find the name of a key; compares with every one, so that the time reveals nothing"
    digest, match = hashlib.sha256((key or "").encode("utf-8", "replace")).digest(), None
    for name, known in keys.items():
        if hmac.compare_digest(digest, known):
            match = name
    return match


def key_of_request(headers: Mapping[str, str]) -> str | None:
    "Return the key that a request carries: `Authorization: Bearer KEY`, or `X-API-Key: KEY`"
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    return headers.get("x-api-key")


@lru_cache(maxsize=4096)
def address_block(
    address: str,  # of a caller
) -> str:  # of IPv6 the /64 network: who has one address there has them all
    "Return what stands for a caller without a key"
    if in_brackets := re.match(r"\[([^\]]+)\]", address):
        address = in_brackets[1]
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if ip.version == 4 or ip.is_loopback:
        return str(ip)
    return str(ipaddress.ip_network((int(ip), 64), strict=False))


class RateLimit:
    "An amount that each caller may use within a time; refilled steadily (token bucket)"

    def __init__(
        self,
        capacity: float,  # amount a caller may use at once
        seconds: float,  # until an empty bucket is full again
        max_callers: int = 10_000,  # of these the longest silent one is forgotten
    ):
        self.capacity, self.refill, self.max_callers = capacity, capacity / seconds, max_callers
        self._lock, self._left = threading.Lock(), OrderedDict()

    def take(self, caller: str, amount: float = 1) -> float | None:
        "Use an amount: None if the caller may; else the seconds until it may"
        now = time.monotonic()
        with self._lock:
            left, since = self._left.pop(caller, (self.capacity, now))
            left = min(self.capacity, left + (now - since) * self.refill)
            allowed = amount <= left
            self._left[caller] = (left - amount if allowed else left), now
            while len(self._left) > self.max_callers:
                self._left.popitem(last=False)
        return None if allowed else (amount - left) / self.refill
