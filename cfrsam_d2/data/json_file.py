"""Reading the JSON of other programs."""

import json
from pathlib import Path
from typing import Any

from ..errors import UserError


def read_json(path: str | Path, what: str = "a JSON file") -> Any:
    """Read a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Args:
        path: of the file.
        what: it should be, for the error.

    Raises:
        UserError: it is missing, cannot be read, is no JSON, or is nested too deeply.
    """
    try:
        return json_from_bytes(Path(path).read_bytes())
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path} does not exist: check the path of the JSON file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not {what} ({error}): export it again") from None


def json_from_bytes(data: bytes) -> Any:
    """Parse JSON; `json` tells the encoding by the first bytes.

    Raises:
        ValueError: it is damaged or nested too deeply.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
