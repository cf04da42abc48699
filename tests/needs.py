"""Marks of tests that need an extra: where it is not installed, as [whisperx] on Python 3.14, they are skipped"""
from importlib.util import find_spec

import pytest

needs_whisperx = pytest.mark.skipif(find_spec("whisperx") is None, reason="needs the extra [whisperx]")
