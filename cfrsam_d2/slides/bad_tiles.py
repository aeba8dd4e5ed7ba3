"""Tiles of the file that cannot be read: how many are too many, and remembered when resuming."""

import json
from pathlib import Path

from ..errors import UserError
from ..files import write_json
from .lattice import Box
from .reader import SlideReader
from .steady import BadTile


class BadTiles:
    """The tiles of a slide that were read twice in vain, also by other processes."""

    def __init__(self, folder: Path, reader: SlideReader, worker: int) -> None:
        """
        Args:
            folder: where they are remembered: parts that stand are not read again.
            reader: of the slide.
            worker: number of who reads here; each that does so at the same time has its own file.

        Raises:
            UserError: what is remembered is damaged.
        """
        self._path, self._reader = folder / f"{worker}.json", reader
        for path in folder.glob("*.json"):
            reader.damaged.update(_remembered(path))
        self._written = set(reader.damaged)

    def check(self, most_mm2: float) -> None:
        """Remember those that have been met so far.

        Raises:
            UserError: they cover more than `most_mm2`.
        """
        damaged = set(self._reader.damaged)
        if damaged != self._written:
            write_json(self._path, sorted(damaged))
            self._written = damaged
        mm2 = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in self._reader.bad_tiles)
        mm2 *= (self._reader.slide_mpp / 1000) ** 2
        if mm2 > most_mm2:
            raise UserError(
                f"{self._reader.path} has {len(damaged)} tiles that cannot be read, {mm2:.3f} mm²: "
                "copy it again, or allow a larger share of the tissue by --max-bad-tiles"
            )


def _remembered(path: Path) -> list[BadTile]:
    try:
        return [BadTile(level, Box(*box)) for level, box in json.loads(path.read_bytes())]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): delete its folder and run again") from None
