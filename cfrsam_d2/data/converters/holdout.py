"""The validation images of datasets that come without: a fixed 15 % of the training images."""

import random
from collections.abc import Iterable

_PERCENT = 15
_SEED = 0


def hold_out(names: Iterable[str]) -> set[str]:
    """Draw the images that validate instead of train: the same ones of the same names, always.

    Args:
        names: of all training images, in any order.

    Returns:
        15 % of the names, rounded (halves to even), and at least one.
    """
    # Unlike sample and shuffle, random() gives the same numbers in every version of Python.
    generator = random.Random(_SEED)
    drawn = sorted(sorted(names), key=lambda _: generator.random())
    return set(drawn[: max(1, round(len(drawn) * _PERCENT / 100))])
