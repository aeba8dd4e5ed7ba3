"""Parts of the model that a config key chooses by name."""

from collections.abc import Mapping
from typing import TypeVar

from ..errors import UserError

Part = TypeVar("Part")


def choose(parts: Mapping[str, Part], name: str, key: str) -> Part:
    """The part of that name.

    Args:
        parts: by name.
        name: the value of the config key.
        key: the config key.

    Raises:
        UserError: there is none.
    """
    if name not in parts:
        raise UserError(f"{key} is {name!r}: choose one of {', '.join(parts)}.")
    return parts[name]
