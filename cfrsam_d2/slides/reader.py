"""One open slide, read at the resolution that a model works at."""

import math
from functools import partial
from typing import Self

import numpy as np

from ..remote_path import AnyPath, path_or_url
from .backend import Box
from .opening import open_backend
from .resolution import resolve_mpp
from .scaling import Grid, choose_grid, read_grid, working_scale
from .steady import BadTile, SteadyBackend

_BLOCK = 2048  # px of a level that an overview decodes at once


def open_slide(path: str | AnyPath, *, model_mpp: float, mpp: float | None = None) -> "SlideReader":
    """Open a slide or a small image.

    Args:
        path: of a file that OpenSlide, tifffile or Pillow reads, or URL of an OME-TIFF, which is
            read by range.
        model_mpp: µm/px that the model works at: 10 / cfg.INPUT.MAGNIFICATION.
        mpp: µm/px of the file, instead of what it says itself.

    Raises:
        UserError: the file cannot be read, is no H&E slide, or its µm/px are unknown or cannot be;
            or the packages of `[slides]` are not installed.
    """
    path = path_or_url(path) if isinstance(path, str) else path
    backend = open_backend(path)
    try:
        file_mpp, source = resolve_mpp(path, backend.facts, mpp)
    except BaseException:
        backend.close()
        raise
    scale = working_scale(backend.facts.levels, model_mpp / file_mpp)
    return SlideReader(
        path, SteadyBackend(backend, set()), mpp=file_mpp, mpp_source=source, scale=scale
    )


class SlideReader:
    """A slide in px of the model's resolution, "slide px"; one thread may read at a time.

    A level of the file within 5 % of the model's resolution is taken as it is, else the coarsest
    fine enough is scaled. Tiles of the file that cannot be decoded have the background's colour.

    Attributes:
        path: of the file.
        size: W and H in slide px.
        level0_size: width and height in px of the file's finest level.
        mpp: µm per level-0 px.
        mpp_source: who said so: "--mpp", "file" or "objective".
        scale: level-0 px per slide px.
        origin: x, y in level-0 px of the scanned part, which QuPath counts from.
        properties: for the record of a run: reader, vendor, objective, quickhash.
    """

    def __init__(
        self,
        path: AnyPath,
        backend: SteadyBackend,
        *,
        mpp: float,
        mpp_source: str,
        scale: float,
    ) -> None:
        facts = backend.facts
        self.path = path
        self.mpp, self.mpp_source, self.scale = mpp, mpp_source, scale
        self.level0_size = facts.levels[0].size
        self.origin = facts.origin
        self.properties = dict(facts.properties)
        self._backend = backend
        self._grid = choose_grid(facts.levels, scale)
        self.size = self._grid.size

    @property
    def slide_mpp(self) -> float:
        """µm per slide px."""
        return self.mpp * self.scale

    @property
    def damaged(self) -> set[BadTile]:
        """The tiles of the file that were read twice in vain, by any handle: those handles share
        this set, and do not try its tiles again."""
        return self._backend.bad_tiles

    @property
    def bad_tiles(self) -> list[Box]:
        """Where `damaged` tiles lie, in slide px."""
        return sorted({self._in_slide(tile) for tile in tuple(self.damaged)})

    def read(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """(y1 − y0, x1 − x0, 3) uint8 RGB of a box of slide px inside the slide.

        Raises:
            UserError: the file can no longer be opened.
        """
        if not (0 <= x0 < x1 <= self.size[0] and 0 <= y0 < y1 <= self.size[1]):
            raise ValueError(f"box {(x0, y0, x1, y1)} is not inside a slide of {self.size} px")
        return read_grid(self._backend.read, self._grid, (x0, y0, x1, y1))

    def overview_size(self, mpp: float) -> tuple[int, int]:
        """Width and height in px of `overview(mpp)`."""
        return self._overview_grid(mpp).size

    def overview(self, mpp: float) -> np.ndarray:
        """The whole slide, (h, w, 3) uint8 RGB of `mpp` µm/px, decoded block by block."""
        grid = self._overview_grid(mpp)
        width, height = grid.size
        step = max(math.floor(_BLOCK / grid.ratio), 1)
        read = partial(read_grid, self._backend.read, grid)
        overview = np.empty((height, width, 3), np.uint8)
        for y in range(0, height, step):
            for x in range(0, width, step):
                box = (x, y, min(x + step, width), min(y + step, height))
                overview[box[1] : box[3], box[0] : box[2]] = read(box)
        return overview

    def reopen(self) -> "SlideReader":
        """Another handle of the same slide, for another thread; `bad_tiles` is common to both."""
        return SlideReader(
            self.path,
            self._backend.reopen(),
            mpp=self.mpp,
            mpp_source=self.mpp_source,
            scale=self.scale,
        )

    def close(self) -> None:
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _overview_grid(self, mpp: float) -> Grid:
        return choose_grid(self._backend.facts.levels, mpp / self.mpp, exact=False)

    def _in_slide(self, tile: BadTile) -> Box:
        factor = self._backend.facts.levels[tile.level].downsample / self.scale
        x0, y0, x1, y1 = (edge * factor for edge in tile.box)
        width, height = self.size
        return (
            math.floor(x0),
            math.floor(y0),
            min(math.ceil(x1), width),
            min(math.ceil(y1), height),
        )
