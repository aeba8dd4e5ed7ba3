"""What ends a training and is no bug is said in one sentence."""

import errno
import logging

import pytest

from cfrsam_d2.engine.failures import full_disk_named, log_without_traceback
from cfrsam_d2.errors import UserError


def fail(error: Exception) -> None:
    with full_disk_named("out"):
        assert not logging.raiseExceptions
        raise error


def test_a_full_disk() -> None:
    for code in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(UserError, match=r"^the disk of out is full \(no room\): .* make room"):
            fail(OSError(code, "no room"))
        assert logging.raiseExceptions


def test_other_errors_stay_what_they_are() -> None:
    for error in (OSError(errno.EIO, "broken"), RuntimeError("bug"), UserError("mistake")):
        with pytest.raises(type(error), match=str(error.args[-1])):
            fail(error)


def test_only_bugs_are_logged_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test_failures")
    logger.addFilter(log_without_traceback)
    for error in (UserError("mistake"), OSError(errno.ENOSPC, "no room"), ValueError("bug")):
        try:
            raise error
        except ValueError:
            logger.exception("Ended:")
        except OSError:
            logger.exception("Ended:")
    mistake, full_disk, bug = caplog.records
    assert mistake.getMessage() == "Ended: mistake"
    assert full_disk.getMessage() == "Ended: [Errno 28] no room"
    assert mistake.exc_info is full_disk.exc_info is None
    assert bug.exc_info
