"""A slide at another resolution, tile by tile, with the pixels that it has when scaled whole."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from .backend import Box, Level

_AS_IS = 0.05  # off the wanted resolution
# Ratios are whole numbers of 1 / _STEPS: PIL takes boxes in float32, and those are exact in it.
_STEPS = 1024
_SUPPORT = 2  # px on either side of a new pixel's centre that PIL's bicubic filter weighs


class Grid(NamedTuple):
    """The pixels of a slide at one resolution: i covers px i · ratio to (i + 1) · ratio of a level.

    Attributes:
        level: which its pixels are made of.
        ratio: px of the level per px.
        size: W and H in px; what is left of a pixel at the right and lower edges is dropped.
        level_size: width and height in px of the level.
    """

    level: int
    ratio: float
    size: tuple[int, int]
    level_size: tuple[int, int]


def working_scale(levels: Sequence[Level], wanted: float) -> float:
    """Level-0 px per px to work at.

    A level's own if one is within 5 % of `wanted`, else that, rounded so that the px of a tile do
    not depend on where it begins.
    """
    scales = [level.downsample for level in levels if level.exact]
    nearest = min(scales, key=lambda scale: abs(scale / wanted - 1))
    if abs(nearest / wanted - 1) <= _AS_IS:
        return nearest
    downsample = levels[choose_grid(levels, wanted).level].downsample
    return round(wanted / downsample * _STEPS) / _STEPS * downsample


def choose_grid(levels: Sequence[Level], scale: float, exact: bool = True) -> Grid:
    """Take the coarsest level that is fine enough, the finest if none is.

    Args:
        levels: of the slide, finest first.
        scale: level-0 px per px.
        exact: pass over levels that cannot be read without interpolation.
    """
    fine = [
        index
        for index, level in enumerate(levels)
        if level.downsample <= scale and (level.exact or not exact)
    ]
    index = fine[-1] if fine else 0
    width, height = levels[index].size
    ratio = scale / levels[index].downsample
    size = (max(math.floor(width / ratio), 1), max(math.floor(height / ratio), 1))
    return Grid(index, ratio, size, levels[index].size)


def read_grid(read: Callable[[int, Box], np.ndarray], grid: Grid, box: Box) -> np.ndarray:
    """Read and scale a part: the same px as of the slide scaled whole.

    Args:
        read: gives a box of a level.
        grid: to read from, of `working_scale`; those of others differ by a grey level or two.
        box: in its px.

    Returns:
        (h, w, 3) uint8.
    """
    if grid.ratio == 1:
        return read(grid.level, box)
    margin = math.ceil(_SUPPORT * max(grid.ratio, 1)) + 1
    ends = [edge * grid.ratio for edge in box]
    left, top = (max(math.floor(end) - margin, 0) for end in ends[:2])
    right, bottom = (
        min(math.ceil(end) + margin, side)
        for end, side in zip(ends[2:], grid.level_size, strict=True)
    )
    image = Image.fromarray(read(grid.level, (left, top, right, bottom)))
    inside = (ends[0] - left, ends[1] - top, *_clipped(ends, left, top, image.size))
    size = (box[2] - box[0], box[3] - box[1])
    return np.array(image.resize(size, Image.Resampling.BICUBIC, box=inside))


def _clipped(ends: list[float], left: int, top: int, size: tuple[int, int]) -> tuple[float, float]:
    """The right and lower ends in an image, which rounding must not carry past its edge."""
    return min(ends[2] - left, size[0]), min(ends[3] - top, size[1])
