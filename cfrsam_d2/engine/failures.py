"""Failures of a training that are no bugs: they end it with one sentence, not with a traceback."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UserError


@contextmanager
def full_disk_named(folder: str) -> Iterator[None]:
    """
    Raises:
        UserError: the disk is full.
    """
    raise_exceptions, logging.raiseExceptions = logging.raiseExceptions, False  # of each log line
    try:
        yield
    except OSError as error:
        if not _is_full_disk(error):
            raise
        raise UserError(
            f"the disk of {folder} is full ({error.strerror}): what was complete is still there; "
            "make room, and continue with --resume"
        ) from error
    finally:
        logging.raiseExceptions = raise_exceptions


def _is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def log_without_traceback(record: logging.LogRecord) -> bool:
    """A filter for Detectron2's loop, which logs whatever ends it as a bug."""
    if record.exc_info and isinstance(record.exc_info, tuple):
        error = record.exc_info[1]
        if isinstance(error, UserError) or (error and _is_full_disk(error)):
            record.msg, record.args, record.exc_info = f"{record.msg} {error}", (), None
    return True
