"""Reading on where a file is damaged, and after a network has failed for a while."""

import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from .backend import Backend, Box

PAUSES = (1, 4, 16)  # s before a file that has gone is tried again


class BadTile(NamedTuple):
    level: int
    box: Box  # px of the level


class SteadyBackend:
    """A backend whose handle is renewed when it has failed: OpenSlide's stays in error.

    Args:
        backend: open; this object closes it.
        bad_tiles: gets the tiles that were read twice in vain; shared by several threads.
    """

    def __init__(self, backend: Backend, bad_tiles: set[BadTile]) -> None:
        self._backend = backend
        self.facts = backend.facts
        self.bad_tiles = bad_tiles

    def read(self, level: int, box: Box) -> np.ndarray:
        """As `Backend.read`; tiles of the file that are damaged have the background's colour.

        Raises:
            UserError: the file can no longer be opened.
        """
        pixels = self._try(level, box)
        return self._read_by_tiles(level, box) if pixels is None else pixels

    def reopen(self) -> "SteadyBackend":
        """Another handle, which shares the list of bad tiles."""
        return SteadyBackend(self._backend.reopen(), self.bad_tiles)

    def close(self) -> None:
        self._backend.close()

    def _try(self, level: int, box: Box) -> np.ndarray | None:
        try:
            return self._backend.read(level, box)
        except (MemoryError, UserError):  # a store out of reach is no damage, either
            raise
        except Exception as error:  # each library and codec has its own
            self._renew(error)
            return None

    def _renew(self, reason: Exception) -> None:
        for pause in (0, *PAUSES):
            time.sleep(pause)
            try:
                renewed = self._backend.reopen()
            except Exception as error:
                reason = error
                continue
            self._backend.close()
            self._backend = renewed
            return
        raise UserError(
            f"{self._backend.path} can no longer be read ({reason}): run the same command again "
            "when it is back"
        )

    def _read_by_tiles(self, level: int, box: Box) -> np.ndarray:
        """Only what the file itself decodes at once is lost, however a region is cut."""
        pixels = np.empty((box[3] - box[1], box[2] - box[0], 3), np.uint8)
        for tile in self._tiles(level, box):
            x0, y0, x1, y1 = _overlap(tile.box, box)
            part = pixels[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]
            part[:] = self._read_twice(tile, (x0, y0, x1, y1))
        return pixels

    def _read_twice(self, tile: BadTile, box: Box) -> np.ndarray:
        if tile not in self.bad_tiles:
            for _ in range(2):
                pixels = self._try(tile.level, box)
                if pixels is not None:
                    return pixels
            self.bad_tiles.add(tile)
        return np.array(self.facts.background, np.uint8)

    def _tiles(self, level: int, box: Box) -> Iterator[BadTile]:
        size, (width, height) = self.facts.levels[level].size, self.facts.levels[level].tile
        rows = range(box[1] // height * height, box[3], height)
        columns = range(box[0] // width * width, box[2], width)
        for y, x in itertools.product(rows, columns):
            yield BadTile(level, _overlap((x, y, x + width, y + height), (0, 0, *size)))


def _overlap(a: Box, b: Box) -> Box:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
