"""The rule that a refused value breaks, in words: settings and the command line say the same

pydantic's own messages ("Input should be a valid integer, unable to parse string as an integer") say one
thing twice, in words of its parser.
"""

from collections.abc import Mapping
from typing import Any

_KINDS = {  # beginnings of pydantic's types of error
    "int_": "a whole number",
    "float_": "a number",
    "finite_number": "a finite number",
    "bool_": "true or false",
    "string_type": "text",
    "path_": "a path",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "too_short": "at least {min_length} values",
    "string_too_short": "at least {min_length} characters long",
}


def broken_rule(
    error: Mapping[str, Any],  # one of pydantic's `ValidationError.errors()`
) -> str:  # such as "must be a whole number"
    "Say what a refused value must be; a rule of our own, or one without better words, as pydantic has it"
    for beginning, words in _KINDS.items():
        if error["type"].startswith(beginning):
            limits = {key: _short(value) for key, value in error.get("ctx", {}).items()}
            return "must be " + words.format(**limits)
    text = error["msg"].removeprefix("Value error, ")
    return text.replace("Input should be", "must be", 1)


def _short(value):
    "A limit as a person writes it: 1 for 1.0, and words without quotes"
    return f"{value:g}" if isinstance(value, float) else str(value).replace("'", "")
