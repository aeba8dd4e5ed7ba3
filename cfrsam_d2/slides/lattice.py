"""How a slide is divided: chunks on a lattice from its origin, and what each pass computes in them.

Coordinates are px at the model's resolution; boxes are x0, y0, x1, y1, ends excluded.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import UserError
from ..modeling.sliding_window import SlidingWindow, Window

COARSEST_STRIDE = 32  # px per cell of the network's coarsest map
CHUNK = 3840  # px, about: 0.92 mm² at 0.25 µm/px


class Box(NamedTuple):
    """A rectangle of the slide."""

    x0: int
    y0: int
    x1: int
    y1: int


class Chunk(NamedTuple):
    """A piece of the slide whose results make one part of each pass."""

    number: int  # row by row
    box: Box


class Tile(NamedTuple):
    """What stage 1 sees at once: anchors of the core count, the region gives them their context."""

    core: Box
    region: Box


@dataclass(frozen=True)
class Lattice:
    """The chunks of a slide, their tiles for stage 1 and their windows for stage 2.

    Attributes:
        width, height: of the slide.
        tile: side of a tile's core.
        halo: context around it.
        sliding_window: of stage 2.

    Raises:
        UserError: the networks' cells of two tiles would not meet.
    """

    width: int
    height: int
    tile: int
    halo: int
    sliding_window: SlidingWindow

    def __post_init__(self) -> None:
        for key, value, least in (("SLIDE.TILE", self.tile, 1), ("SLIDE.HALO", self.halo, 0)):
            if value < least or value % COARSEST_STRIDE:
                raise UserError(f"{key} is {value}: give a multiple of {COARSEST_STRIDE} px")

    @property
    def chunk(self) -> int:
        """Side of a chunk: whole steps of the window, and whole cells of the network."""
        step = math.lcm(self.sliding_window.stride, COARSEST_STRIDE)
        return max(CHUNK // step, 1) * step

    def chunks(self) -> list[Chunk]:
        """All chunks, row by row."""
        boxes = _divided(Box(0, 0, self.width, self.height), self.chunk)
        return [Chunk(number, box) for number, box in enumerate(boxes)]

    def tiles(self, chunk: Chunk) -> list[Tile]:
        """The tiles whose cores fill a chunk."""
        return [Tile(core, self._with_halo(core)) for core in _divided(chunk.box, self.tile)]

    def windows(self, chunk: Chunk) -> list[Window]:
        """The windows that start in a chunk (the last of a row before it is moved back)."""
        x0, y0, x1, y1 = chunk.box
        size, stride = self.sliding_window.size, self.sliding_window.stride
        rows, columns = (
            self.sliding_window.starts(length)[math.ceil(first / stride) : math.ceil(end / stride)]
            for length, first, end in ((self.height, y0, y1), (self.width, x0, x1))
        )
        return [
            Window(0, x, y, min(x + size, self.width), min(y + size, self.height))
            for y in rows
            for x in columns
        ]

    def _with_halo(self, core: Box) -> Box:
        return Box(
            max(core.x0 - self.halo, 0),
            max(core.y0 - self.halo, 0),
            min(core.x1 + self.halo, self.width),
            min(core.y1 + self.halo, self.height),
        )


def _divided(box: Box, side: int) -> list[Box]:
    """Squares of a side that fill a box row by row, cut at its end."""
    return [
        Box(x, y, min(x + side, box.x1), min(y + side, box.y1))
        for y in range(box.y0, box.y1, side)
        for x in range(box.x0, box.x1, side)
    ]
