"""The three passes over a slide, each of which goes on where it was broken off.

The first two can be shared by several workers: each makes the parts of every n-th chunk.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from ..memory import give_back_memory
from ..modeling.meta_arch import CFRSAM
from ..modeling.sliding_window import Window
from . import candidates, points
from .bad_tiles import BadTiles
from .lattice import Box, Chunk, Lattice
from .nuclei import measured_nuclei
from .parts import WHOLE, Parts, Share
from .progress import Progress
from .read_ahead import ReadAhead
from .reader import SlideReader
from .table import numbered
from .tissue import TissueMask

Item = TypeVar("Item")
BATCHES_AHEAD = 2
WINDOWS_BETWEEN = 8  # freed memory is given back after so many: less often, it grows with the slide


@dataclass
class SlideJob:
    """What is needed to find the nuclei of one slide.

    Attributes:
        model: in evaluation mode, with SAMPLING centred.
        class_names: of the model.
        reader: of the slide.
        tissue: on it.
        lattice: of it.
        folder: of the parts.
        progress: is told of finished chunks.
        most_bad: the share of the tissue above which tiles that cannot be read fail the slide.
        share: the chunks whose points and masks are made here.
    """

    model: CFRSAM
    class_names: Sequence[str]
    reader: SlideReader
    tissue: TissueMask
    lattice: Lattice
    folder: Path
    progress: Progress
    most_bad: float
    share: Share = WHOLE

    def find_nuclei(self, regions: ReadAhead) -> Iterator[pa.Table]:
        """Run what is left of the passes.

        Args:
            regions: of the slide.

        Returns:
            The nuclei of chunk after chunk, see `table.SCHEMA`; `id` runs on.
        """
        self.find_points(regions)
        found = self.kept_points()
        windows = self.cut_masks(regions, found)
        return numbered(self.measure(found, windows))

    def find_points(self, regions: ReadAhead) -> None:
        """First pass: the points of the share's chunks, before suppression.

        Raises:
            UserError: too much of the slide cannot be read.
        """
        chunks = self.share.of(self._chunks())
        parts, unreadable = Parts(self.folder / "points"), self._unreadable()
        missing = parts.missing(chunks)
        tiles = {
            chunk: [each for each in self.lattice.tiles(chunk) if self.tissue.touches(*each.core)]
            for chunk in missing
        }
        pixels = regions.read(_all(tiles), lambda tile: tile.region, ahead=BATCHES_AHEAD)
        found = _giving_back((points.points_of_tile(self.model, *each) for each in pixels), every=1)
        progress = self.progress.of_pass("points", chunks, missing)
        with progress as done, parts.write_behind(done) as write:
            for chunk, tables in _by_chunk(tiles, found):
                unreadable.check(self.most_bad * self.tissue.mm2)
                write(chunk, pa.concat_tables([points.SCHEMA.empty_table(), *tables]))

    def kept_points(self) -> pa.Table:
        """The points of the slide, see `points.SCHEMA`, when those of all chunks are found."""
        radius = self.model.proposal_generator.suppression_radius
        return points.kept_points(Parts(self.folder / "points"), self._chunks(), radius)

    def cut_masks(self, regions: ReadAhead, found: pa.Table) -> list[Chunk]:
        """Second pass: the masks of the points in the windows of the share's chunks.

        Args:
            regions: of the slide.
            found: its points.

        Returns:
            The chunks of the whole slide that have such windows.
        """
        index = points.PointIndex(
            np.column_stack([found["x"].to_numpy(), found["y"].to_numpy()]),
            self.lattice.sliding_window.stride,
        )
        windows = self._windows(index)
        chunks = self.share.of(list(windows))
        parts, unreadable = Parts(self.folder / "candidates"), self._unreadable()
        left = {chunk: windows[chunk] for chunk in parts.missing(chunks)}
        ahead = BATCHES_AHEAD * self.lattice.sliding_window.at_once
        masks = candidates.masks_in_windows(
            self.model,
            index,
            points.proposals_of(found, (self.lattice.height, self.lattice.width)),
            regions.read(_all(left), lambda window: Box(*window[1:]), ahead),
        )
        progress = self.progress.of_pass("masks", chunks, list(left))
        with progress as done, parts.write_behind(done) as write:
            for chunk, tables in _by_chunk(left, _giving_back(masks, WINDOWS_BETWEEN)):
                unreadable.check(self.most_bad * self.tissue.mm2)
                table = pa.concat_tables(tables)
                write(chunk, table.take(candidates.best_of_each_point(table)))
        return list(windows)

    def measure(self, found: pa.Table, chunks: Sequence[Chunk]) -> Iterator[pa.Table]:
        """Third pass: the nuclei of chunk after chunk, see `table.SCHEMA`."""
        of_masks, parts = Parts(self.folder / "candidates"), Parts(self.folder / "nuclei")
        kept = candidates.kept_candidates(of_masks, chunks, self.model.nms_thresh)
        missing = parts.missing(chunks)
        progress = self.progress.of_pass("nuclei", chunks, missing)
        with progress as done, parts.write_behind(done) as write:
            for chunk in missing:
                table = measured_nuclei(
                    of_masks.read(chunk).take(kept[chunk]),
                    found,
                    (self.lattice.height, self.lattice.width),
                    class_names=self.class_names,
                    scale=self.reader.scale,
                    mpp=self.reader.slide_mpp,
                )
                write(chunk, table)
        return (parts.read(chunk) for chunk in chunks)

    def _chunks(self) -> list[Chunk]:
        """Those with tissue."""
        return [each for each in self.lattice.chunks() if self.tissue.touches(*each.box)]

    def _windows(self, index: points.PointIndex) -> dict[Chunk, list[Window]]:
        """The windows that decode points, of each chunk that has any."""
        size = (self.lattice.height, self.lattice.width)
        core = partial(self.lattice.sliding_window.core, image_size=size)
        windows = {
            chunk: [each for each in self.lattice.windows(chunk) if index.has(Box(*core(each)[1:]))]
            for chunk in self.lattice.chunks()
        }
        return {chunk: each for chunk, each in windows.items() if each}

    def _unreadable(self) -> BadTiles:
        unreadable = BadTiles(self.folder / "bad_tiles", self.reader, self.share.number)
        unreadable.check(self.most_bad * self.tissue.mm2)  # those of other workers, too
        return unreadable


def _giving_back(results: Iterable[Item], every: int) -> Iterator[Item]:
    """Results, each of which needs much memory to be made; it goes back after so many."""
    for number, each in enumerate(results):
        if number % every == 0:
            give_back_memory()
        yield each


def _all(of_chunks: dict[Chunk, list[Item]]) -> Iterator[Item]:
    return (item for items in of_chunks.values() for item in items)


def _by_chunk(
    of_chunks: dict[Chunk, list[Any]], results: Iterable[Item]
) -> Iterator[tuple[Chunk, list[Item]]]:
    """The chunks with the results of their items, which come one by one in the same order."""
    stream = iter(results)
    for chunk, items in of_chunks.items():
        yield chunk, list(islice(stream, len(items)))
