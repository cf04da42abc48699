"""Parameters of a notebook: what its cell tagged `parameters` assigns, and values of the type it wants

The cell is read as papermill reads it, and a little further:

| in the cell | parameters |
| --- | --- |
| `a = 1`, `a = b = 1` | `a`; `a` and `b` |
| `a: int = 3`, `a: int` | `a`, of the annotated type |
| `a = None  # type: int` | `a`, of the type in the comment |
| `a, b = 1, 2`, `(a, *b) = …` | `a` and `b` |

A value keeps the type that the parameter has by its annotation, or else by its default:

| type | `--set x=1.10` | `--set x=3` | `--set x=NaN` |
| --- | --- | --- | --- |
| `str` | `"1.10"` | `"3"` | `"NaN"` |
| `float`, or a number as default | `1.1` | `3` | refused |
| `int` | refused | `3` | refused |
| unknown: no annotation, default `None` | `"1.10"`, because `1.1` is another text | `3` | refused |

Where the type is unknown, a text is read as JSON if nothing of it is lost: numbers, `true`, `null`, lists,
and texts in quotes.
"""

import ast
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Optional, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ecg_audio_nb.batch.failures import BatchError

__all__ = ["Parameter", "check_parameter", "parameter_names", "parameters_of", "read_parameters"]

_NAMES = {  # what annotations name; a parameter's value is plain JSON, so a path is a text
    "str": str,
    "Path": str,
    "PathLike": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "List": list,
    "tuple": list,
    "Tuple": list,
    "Sequence": list,
    "dict": dict,
    "Dict": dict,
    "Mapping": dict,
    "None": NoneType,
    "Any": Any,
    "object": Any,
}
_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list in JSON",
    dict: "an object in JSON",
    NoneType: "None",
}
_CONSTANTS = {"True": True, "False": False, "None": None}


@dataclass(frozen=True)
class Parameter:
    "A name that the cell tagged `parameters` assigns"

    name: str
    type: Any = Any  # what `typing` calls it; Any: unknown


def cells_of(
    path: str | os.PathLike,  # of a notebook
) -> list[tuple[str, str, list[str]]]:
    "List source, type and tags of each cell; raises `BatchError`"
    try:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
        return [("".join(c["source"]), c["cell_type"], c.get("metadata", {}).get("tags", [])) for c in cells]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise BatchError(f"{path}: this is no notebook ({e}); give the path of an .ipynb file") from None


def parameters_of(
    path: str | os.PathLike,  # of a notebook
) -> dict[str, Parameter]:  # by name, in order
    "Read the cell tagged `parameters`; raises `BatchError` if there is none, or if it is no Python"
    for text, kind, tags in cells_of(path):
        if kind == "code" and "parameters" in tags:
            return {parameter.name: parameter for parameter in _assigned(_parse(text, path))}
    raise BatchError(
        f"{path}: no cell is tagged `parameters`, so the notebook can be given no source; "
        "add the tag in JupyterLab"
    )


def parameter_names(
    path: str | os.PathLike,  # of a notebook
) -> list[str]:  # in order
    "List the names that the cell tagged `parameters` assigns; raises `BatchError`"
    return list(parameters_of(path))


def _parse(text, path):
    "The cell as a tree; lines of IPython (`%matplotlib inline`, `!ls`) are left out"
    lines = [re.sub(r"^\s*[%!].*", "", line) for line in text.splitlines()]
    for candidate in (text, "\n".join(lines)):
        for comments in (True, False):  # a type comment that is no type is a comment
            try:
                return ast.parse(candidate, type_comments=comments)
            except SyntaxError as e:
                error = e
    raise BatchError(
        f"{path}: its cell `parameters` is no Python ({error.msg}, line {error.lineno}); "
        "it may hold assignments and comments"
    )


def _assigned(tree) -> Iterator[Parameter]:
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield Parameter(node.target.id, _type(node.annotation, node.value))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _of_target(target, node)


def _of_target(target, node):
    "Parameters of one target of an assignment: a name, or names in a tuple or list"
    if isinstance(target, ast.Name):
        comment = node.type_comment and _expression(node.type_comment)
        yield Parameter(target.id, _type(comment, node.value))
    elif isinstance(target, (ast.Tuple, ast.List)):
        pairs = _pairs(target.elts, node.value)
        for element, value in pairs:
            inner = ast.Assign([element], value, type_comment=None)
            yield from _of_target(element.value if isinstance(element, ast.Starred) else element, inner)


def _pairs(targets, value):
    "Each target of an unpacking with the node of its value; None where that is not known"
    values = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
    plain = [*targets, *values]
    if len(values) != len(targets) or any(isinstance(node, ast.Starred) for node in plain):
        values = [None] * len(targets)
    return zip(targets, values)


# Types


def _expression(text):
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


def _type(annotation, value):
    "The type of a parameter: by its annotation, or else by its default"
    if annotation is not None:
        try:
            return _annotated(annotation)
        except LookupError:
            pass  # a class of the notebook's own: the default decides
    return _type_of_default(value)


def _annotated(node):
    "The type that an annotation names; raises `LookupError` for one that is not known"
    if isinstance(node, ast.Constant) and node.value is None:
        return NoneType
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _annotated(_expression(node.value))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[_annotated(node.left), _annotated(node.right)]
    if isinstance(node, ast.Subscript):
        return _subscripted(node)
    return _NAMES[_name_of(node)]


def _name_of(node):
    return getattr(node, "id", None) or getattr(node, "attr", None)


def _subscripted(node):
    name = _name_of(node.value)
    arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Optional":
        return Optional[_annotated(arguments[0])]
    if name == "Union":
        return Union[tuple(_annotated(argument) for argument in arguments)]
    if name == "Literal":
        return Literal[tuple(ast.literal_eval(argument) for argument in arguments)]
    if name in ("Annotated", "Final"):
        return _annotated(arguments[0])
    kind = _NAMES[name]
    if kind is list and name not in ("tuple", "Tuple"):
        return list[_annotated(arguments[0])]
    if kind is dict:
        return dict[_annotated(arguments[0]), _annotated(arguments[1])]
    return kind


def _type_of_default(node):
    "The type that a default tells; None is always a value too"
    try:
        default = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return Any
    for kind, type in ((bool, bool), ((int, float), int | float), (str, str), ((list, tuple), list)):
        if isinstance(default, kind):
            return type | None
    return dict | None if isinstance(default, dict) else Any


# Values


def read_parameters(
    path: str | os.PathLike,  # of a notebook
    given: Mapping[str, object],  # texts of a command line, by name; other values stay
) -> dict[str, object]:
    """Read the values of parameters from the texts of a command line; raises `BatchError`

    Keys with a dot are settings and stay as they are."""
    parameters, values = parameters_of(path), {}
    for key, value in given.items():
        is_text = isinstance(value, str) and "." not in key
        values[key] = read_text(parameters.get(key, Parameter(key)), value) if is_text else value
    return values


def read_text(
    parameter: Parameter,
    text: str,
) -> object:  # a plain value
    "Read a text as the value of a parameter; raises `BatchError`"
    if parameter.type is Any:
        return _read_unknown(parameter, text)
    members = _members(parameter.type)
    if NoneType in members and text in ("None", "null"):
        return None
    if all(member in (str, NoneType) or isinstance(member, str) for member in members):
        return check_parameter(parameter, text)
    for value in _readings(text):
        try:
            return _validate(parameter.type, value)
        except ValidationError as e:
            error = e
    raise _wrong(parameter, text, error)


def _members(type):
    "The types that a union names, and the values of a `Literal`"
    if get_origin(type) in (Union, UnionType):
        return set().union(*(_members(member) for member in get_args(type)))
    return set(get_args(type)) if get_origin(type) is Literal else {type}


def _readings(text):
    "What a text may mean, the plainest first; itself last"
    for read in (_CONSTANTS.__getitem__, _json_or_error, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, KeyError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, (bool, int, float, list, tuple, dict, NoneType)):
            yield value
    yield text


def _json_or_error(text):
    "Like `json.loads`; raises `ValueError` for NaN and numbers that are too large"
    value = json.loads(text)
    if not _is_finite(value):
        raise ValueError("not finite")
    return value


def _is_finite(value):
    "Whether a value, and all values in it, are finite where they are numbers"
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, (list, tuple)) else True


def _read_unknown(parameter, text):
    "A text where no type is known: as JSON if nothing of it is lost; raises `BatchError` for NaN"
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    try:
        value = json.loads(text)
    except ValueError:
        return text
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not _is_finite(value):
        raise BatchError(
            f"{parameter.name}={text:.60}: a parameter is a finite number; "
            f"for the text, annotate it in the notebook: `{parameter.name}: str = ...`"
        )
    if is_number and "e" not in text.lower() and str(value) != text:
        return text
    return value


def check_parameter(
    parameter: Parameter,
    value: object,
) -> object:  # a plain value
    "Check that a value has the type of its parameter; raises `BatchError`"
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not _is_finite(value):
        raise BatchError(f"{parameter.name} = {value!r:.60}: a parameter holds finite numbers alone")
    if parameter.type is Any:
        return value
    try:
        return _validate(parameter.type, value)
    except ValidationError as e:
        raise _wrong(parameter, value, e) from None


def _validate(type, value):
    value = list(value) if isinstance(value, tuple) else value
    adapter = TypeAdapter(type, config=ConfigDict(allow_inf_nan=False))
    if get_origin(type) is Literal:
        return adapter.validate_python(value)
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError:
        if isinstance(value, str) and _members(type) & {int, float, bool}:
            return adapter.validate_python(value)  # `yes`, `1_000`
        raise


def _wrong(parameter, value, error):
    members = sorted(_members(parameter.type), key=lambda m: m is NoneType)
    wanted = " or ".join(_describe(member) for member in members)
    shown = value if isinstance(value, str) else repr(value)
    return BatchError(
        f"{parameter.name}={shown:.60}: the notebook's cell `parameters` wants {wanted}; "
        "give such a value, or change the annotation or the default there"
    )


def _describe(member):
    origin = get_origin(member) or member
    return _WORDS.get(origin) if isinstance(origin, type) else repr(member)
