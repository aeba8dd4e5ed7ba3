"""The one exception for what a user can put right: a file, a value, a missing dataset."""

import functools
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Bad input. The message is one sentence naming the file, the value and the remedy."""


def exits_on_user_error(main: Callable) -> Callable:
    """Let a command line `main` end with `error: …` and status 2 instead of a traceback."""

    @functools.wraps(main)
    def wrapper(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    return wrapper
