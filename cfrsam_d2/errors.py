"""The one exception for what a user can put right: a file, a value, a missing dataset."""

import functools
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Bad input. The message is one sentence naming the file, the value and the remedy."""


class DiskError(UserError):
    """A file cannot be written, and no other could be in its place: the disk is full, say."""


def exits_on_user_error(main: Callable) -> Callable:
    """Let a command line `main` end with `error: …` and status 2 instead of a traceback."""

    @functools.wraps(main)
    def wrapper(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {_message(error)}", file=sys.stderr)
            sys.exit(2)

    return wrapper


def _message(error: UserError) -> str:
    """What the error says; one from a data loader's worker says it after the worker's traceback."""
    return str(error).rpartition(f"{__name__}.{UserError.__name__}: ")[2].strip()
