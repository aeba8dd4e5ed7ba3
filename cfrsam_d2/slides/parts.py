"""The results of a pass, a Parquet file per chunk: one that exists is complete."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError
from ..files import make_folder, written_whole
from .lattice import Chunk
from .steady import PAUSES

Item = TypeVar("Item")


class Share(NamedTuple):
    """Every `count`-th of some items from `number` on: what one of several workers does."""

    number: int
    count: int

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        return items[self.number :: self.count]


WHOLE = Share(0, 1)


class Parts:
    """The parts of one pass in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: of the parts; made if there is none.
        """
        self.folder = folder
        make_folder(folder)

    def missing(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """The chunks whose part is still to be made."""
        return [chunk for chunk in chunks if not self._path(chunk).is_file()]

    def write(self, chunk: Chunk, table: pa.Table) -> None:
        """Write the part of a chunk; where that fails, again after growing pauses.

        Raises:
            UserError: it cannot be written.
        """
        for pause in PAUSES:
            try:
                return self._write(chunk, table)
            except UserError:  # a network may come back, and a disk be emptied
                time.sleep(pause)
        return self._write(chunk, table)

    @contextmanager
    def write_behind(
        self, done: Callable[[Chunk, int], None]
    ) -> Iterator[Callable[[Chunk, pa.Table], None]]:
        """Write parts in a thread, each while the next one is computed.

        Args:
            done: is told of each part that is written, and its rows.

        Yields:
            What takes the place of `write`.

        Raises:
            UserError: a part cannot be written; this is known at the next one, or at the end.
        """

        def write(chunk: Chunk, table: pa.Table) -> None:
            self.write(chunk, table)
            done(chunk, len(table))

        def submit(chunk: Chunk, table: pa.Table) -> None:
            if writing:
                writing.pop().result()
            writing.append(thread.submit(write, chunk, table))

        writing: list[Future[None]] = []
        with ThreadPoolExecutor(1, "writer") as thread:
            yield submit
            if writing:
                writing.pop().result()

    def _write(self, chunk: Chunk, table: pa.Table) -> None:
        with written_whole(self._path(chunk)) as partial:
            pq.write_table(table, partial, compression="zstd")

    def read(self, chunk: Chunk, columns: Sequence[str] | None = None) -> pa.Table:
        """Read some columns of a part, by default all.

        Raises:
            UserError: the part is damaged.
        """
        path = self._path(chunk)
        try:
            return pq.read_table(path, columns=None if columns is None else list(columns))
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run again") from error

    def _path(self, chunk: Chunk) -> Path:
        return self.folder / f"{chunk.number:06}.parquet"
