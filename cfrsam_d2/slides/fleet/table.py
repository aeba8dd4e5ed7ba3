"""`fleet.csv`: what has become of each slide."""

import csv
import io
from dataclasses import asdict, dataclass, fields
from typing import Any

from ...csv_cells import text_cell
from ...remote_path import AnyPath
from ..uploads import write_result


@dataclass(frozen=True)
class Row:
    """
    Attributes:
        slide: its file or URL.
        status: done, empty, partial or failed.
        seconds: that workers took for it in this run.
        nuclei, mm2: found, and tissue; None where it failed.
        attempts: 1, and one more for each worker that was lost over it.
        reason: why it failed.
    """

    slide: AnyPath
    status: str
    seconds: float
    nuclei: int | None
    mm2: float | None
    attempts: int
    reason: str

    def cells(self) -> dict[str, Any]:
        texts = {"slide": text_cell(str(self.slide)), "reason": text_cell(self.reason)}
        return asdict(self) | texts | {"seconds": round(self.seconds, 3)}


class FleetTable:
    """The file, which is written anew with each row."""

    def __init__(self, path: AnyPath) -> None:
        """
        Args:
            path: of the file; made without rows.
        """
        self.rows: list[Row] = []
        self._path = path
        self._write()

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self._write()

    def _write(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(row.cells() for row in self.rows)
        write_result(self._path, text.getvalue().encode())
