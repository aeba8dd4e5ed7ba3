"""The size of a slide's pixels: whom to believe, and what cannot be."""

import logging

from ..errors import UserError
from ..remote_path import AnyPath
from .backend import SlideFacts

_LOWEST, _HIGHEST = 0.1, 1.1  # µm/px, about 100x and 9x
_MOST_UNEQUAL = 0.02  # of x and y
_MOST_OFF = 0.2  # of what the objective says

logger = logging.getLogger(__name__)


def resolve_mpp(path: AnyPath, facts: SlideFacts, given: float | None) -> tuple[float, str]:
    """The µm/px of level 0, and who said so.

    Args:
        path: of the slide, for the errors.
        facts: of the file.
        given: by the user, who overrules the file.

    Returns:
        µm/px, and "--mpp", "file" or "objective".

    Raises:
        UserError: nobody says, or what is said cannot be.
    """
    if given is not None:
        if not _LOWEST <= given <= _HIGHEST:
            raise UserError(
                f"--mpp is {given:g} for {path}: give µm per px from {_LOWEST} to {_HIGHEST}, such "
                "as 0.25 of 40x"
            )
        return given, "--mpp"
    if facts.mpp is not None:
        return _file_mpp(path, facts.mpp, facts.objective), "file"
    if facts.objective:
        mpp = 10 / facts.objective
        _check_range(path, mpp, f"its objective of {facts.objective:g}x means")
        logger.warning(
            "%s does not say its µm/px: taking %g of its objective (%gx), give --mpp if that is "
            "wrong",
            path,
            mpp,
            facts.objective,
        )
        return mpp, "objective"
    raise UserError(f"{path} says neither its µm/px nor its objective: give --mpp, 0.25 of 40x")


def _file_mpp(path: AnyPath, xy: tuple[float, float], objective: float | None) -> float:
    mpp = sum(xy) / 2
    for value in xy:
        _check_range(path, value, "it says")
    if abs(xy[0] - xy[1]) > _MOST_UNEQUAL * mpp:
        raise UserError(
            f"{path} says {xy[0]:g} µm/px in x and {xy[1]:g} in y: save it with square pixels, or "
            "give --mpp if the file is wrong"
        )
    if objective and abs(mpp * objective / 10 - 1) > _MOST_OFF:
        raise UserError(
            f"{path} says {mpp:g} µm/px, but its objective of {objective:g}x means "
            f"{10 / objective:g}: give by --mpp which is true"
        )
    return mpp


def _check_range(path: AnyPath, mpp: float, who_says: str) -> None:
    if not _LOWEST <= mpp <= _HIGHEST:  # nor NaN
        raise UserError(
            f"{path} cannot have the {mpp:g} µm/px that {who_says}, which is outside {_LOWEST} to "
            f"{_HIGHEST}: give the true one by --mpp"
        )
