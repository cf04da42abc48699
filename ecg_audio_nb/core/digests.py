"""Digests of values: equal values have equal digests"""

import hashlib
import json
from collections.abc import Callable
from typing import Any


def digest_of(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Compute the SHA-256 of a value as canonical JSON, 64 hexadecimal digits.

    Keys are sorted, nothing is escaped, no white space. `default` converts values that JSON can't hold."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=default)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
