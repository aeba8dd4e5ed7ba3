"""The results of a pass, a Parquet file per chunk: one that exists is complete."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError
from ..files import written_whole
from .lattice import Chunk


class Parts:
    """The parts of one pass in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: of the parts; made if there is none.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def missing(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """The chunks whose part is still to be made."""
        return [chunk for chunk in chunks if not self._path(chunk).is_file()]

    def write(self, chunk: Chunk, table: pa.Table) -> None:
        """Write the part of a chunk."""
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
