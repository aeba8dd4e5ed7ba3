"""The scene of a synthetic tile: a gland with its lumen, fibres, and the nuclei in them."""

from dataclasses import dataclass

import numpy as np

from .nuclei import EPITHELIAL, SPINDLE, Nucleus, Placement, random_nucleus

SYNTHETIC_TISSUES = ("gland", "stroma")
_NUM_NUCLEI = (5, 18)  # per image
# Shares of the classes by tissue.
_CLASS_SHARES = {"gland": (0.5, 0.28, 0.22), "stroma": (0.16, 0.42, 0.42)}
_MAX_TRIES = 400


@dataclass(frozen=True)
class Scene:
    """One tile.

    Attributes:
        tissue: "gland" or "stroma".
        size: side of the tile in px.
        fibre_angle: main direction of the fibres against the x axis, in radians.
        gland: (row, column, radius) of the circle on which the gland's epithelium lies, or None.
        nuclei: lowest first.
    """

    tissue: str
    size: int
    fibre_angle: float
    gland: tuple[float, float, float] | None
    nuclei: tuple[Nucleus, ...]


def random_scene(rng: np.random.Generator, tissue: str, size: int, empty: bool) -> Scene:
    """Draw a tile of `tissue`, without any nucleus if `empty`."""
    fibre_angle = rng.uniform(0, np.pi)
    gland = None
    if tissue == "gland":
        row, column = rng.uniform(0.35, 0.65, size=2) * size
        gland = (row, column, rng.uniform(0.24, 0.34) * size)
    placement = Placement(rng, size)
    wanted = 0 if empty else rng.integers(*_NUM_NUCLEI, endpoint=True)
    for _ in range(_MAX_TRIES):
        if len(placement.nuclei) >= wanted:
            break
        class_index = int(rng.choice(3, p=_CLASS_SHARES[tissue]))
        row, column, angle = _position(rng, class_index, size, fibre_angle, gland)
        placement.try_to_add(random_nucleus(rng, class_index, row, column, angle))
    return Scene(tissue, size, fibre_angle, gland, tuple(placement.nuclei))


def _position(
    rng: np.random.Generator,
    class_index: int,
    size: int,
    fibre_angle: float,
    gland: tuple[float, float, float] | None,
) -> tuple[float, float, float]:
    """Row, column and angle that suit the class: epithelium in the gland, spindles on fibres."""
    if class_index == EPITHELIAL and gland is not None:
        row, column, radius = gland
        angle = rng.uniform(0, 2 * np.pi)
        radius = radius + rng.normal(0, 2)
        # The long axis points to the lumen.
        return row + radius * np.sin(angle), column + radius * np.cos(angle), angle
    while True:
        row, column = rng.uniform(0, size, size=2)
        if gland is None or np.hypot(row - gland[0], column - gland[1]) > gland[2] + 12:
            break
    if class_index == SPINDLE:
        return row, column, fibre_angle + rng.normal(0, 0.25)
    return row, column, rng.uniform(0, np.pi)
