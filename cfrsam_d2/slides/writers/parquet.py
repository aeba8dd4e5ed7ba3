"""Nuclei as GeoParquet 1.1, a row group a chunk, with boxes that readers can filter by."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from ...errors import UserError
from ...files import written_whole
from ..table import SCHEMA


def write_parquet(
    tables: Iterable[pa.Table], path: Path, schema: pa.Schema = SCHEMA, *, covering: bool = True
) -> None:
    """Write nuclei in px of level 0, as all files of a slide.

    Args:
        tables: of chunks, in order; each is held for itself.
        path: of the file.
        schema: the columns that are written.
        covering: whether `bbox` is among them.
    """
    extent = _Extent()
    with written_whole(path) as partial, pq.ParquetWriter(partial, schema, **_FORM) as writer:
        for table in tables:
            if len(table):
                extent.add(table)
                writer.write_table(table.select(schema.names).cast(schema), len(table))
        writer.add_key_value_metadata({"geo": json.dumps(_metadata(extent, covering))})


def read_tables(path: Path) -> Iterator[pa.Table]:
    """The nuclei that a file holds, chunk by chunk.

    Raises:
        UserError: there is no such file, it is damaged, or it holds something else.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there: `tools/slides.py` writes nuclei.parquet")
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise UserError(f"{path} holds no nuclei: name a nuclei.parquet")
            for number in range(file.num_row_groups):
                yield file.read_row_group(number)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run again") from error


_FORM: dict[str, Any] = {"compression": "zstd", "store_schema": True}
_COVERING = {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}


class _Extent:
    """What the metadata say of all geometries."""

    def __init__(self) -> None:
        self.box = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self.types: set[str] = set()

    def add(self, table: pa.Table) -> None:
        geometries = shapely.from_wkb(table["geometry"].to_numpy())
        x0, y0, x1, y1 = shapely.total_bounds(geometries)
        self.box[:2] = np.minimum(self.box[:2], (x0, y0))
        self.box[2:] = np.maximum(self.box[2:], (x1, y1))
        self.types |= {shapely.GeometryType(each).name for each in shapely.get_type_id(geometries)}


def _metadata(extent: _Extent, covering: bool) -> dict[str, Any]:
    """GeoParquet's metadata."""
    names = {"POLYGON": "Polygon", "MULTIPOLYGON": "MultiPolygon"}
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": [names[each] for each in sorted(extent.types)],
        "crs": None,  # px, not degrees
        "orientation": "counterclockwise",
    }
    if covering:
        column["covering"] = _COVERING
    if extent.types:
        column["bbox"] = extent.box.tolist()
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
