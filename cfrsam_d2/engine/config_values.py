"""Values of config keys have the types of their defaults."""

import ast
import reprlib
from collections.abc import Sequence
from typing import Any

from ..errors import UserError

_WANTED = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a list",
    list: "a list",
}

# What stands in lists that are empty by default: of a key, or else of its section.
_OF_EMPTY = {
    "DATASETS": str,
    "MODEL": int,
    "MODEL.PROMPT_LEARNER.CLASS_WEIGHTS": float,
    "MODEL.TIMM.PIXEL_MEAN": float,
    "MODEL.TIMM.PIXEL_STD": float,
}


def typed_value(key: str, value: Any, default: Any, source: str) -> Any:
    """The value of a key in the type of its default; a text may say it as Python does.

    Args:
        key: of the config.
        value: from a command line or a YAML file.
        default: the key's default; None where it may be a number or None.
        source: what the value is from.

    Raises:
        UserError: the value is of another type.
    """
    try:
        return _converted(key, _read(value, type(default)), default)
    except (TypeError, OverflowError):
        wanted = _WANTED.get(type(default), "a number or None")
        raise UserError(
            f"{source} sets {key} to {reprlib.repr(value)}: give {wanted}, such as {default!r}"
        ) from None


def _read(value: Any, kind: type) -> Any:
    """What a text says in Python's form; where a text is wanted, it may be any text."""
    if not isinstance(value, str):
        return value
    try:
        read = ast.literal_eval(value)
    except Exception:  # of many kinds, depending on where reading stops
        return value
    return value if kind is str and not isinstance(read, str) else read


def _converted(key: str, value: Any, default: Any) -> Any:
    if default is None:
        return None if value is None else _as(float, value)
    if not isinstance(default, list | tuple):
        return _as(type(default), value)
    if not isinstance(value, list | tuple):
        raise TypeError
    kind = _element_type(key, default)
    return type(default)(_as(kind, each) if kind else each for each in value)


def _element_type(key: str, default: Sequence[Any]) -> type | None:
    if default:
        return type(default[0]) if type(default[0]) in (int, float, str) else None
    return _OF_EMPTY.get(key) or _OF_EMPTY.get(key.split(".")[0])


def _as(kind: type, value: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError
    return value
