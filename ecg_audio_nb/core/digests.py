"""Digests: the same for what is the same"""

import hashlib
import json
from collections.abc import Callable
from typing import Any


def digest_of(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """SHA-256 of a value as canonical JSON: 64 hexadecimal digits.

    Keys are sorted, nothing is escaped, no white space. `default` turns what JSON has no form for into what it has."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=default)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
