"""Nuclei as a SpatialData folder: outlines, their features as AnnData, tissue, scale to µm."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from spatialdata import SpatialData
from spatialdata.models import ShapesModel, TableModel
from spatialdata.transformations import Identity, Scale

from ...files import replaced_folder, write_errors_named
from ..table import FEATURES, SCHEMA
from .parquet import write_parquet

_RECORD = "zarr.json"  # the file that every SpatialData folder has
_AREAS = ("bbox", "geometry")
_COLUMNS = ("class", "class_id", "score")  # of AnnData's obs


def write_spatial(
    tables: Iterable[pa.Table], path: Path, *, tissue: Sequence[shapely.Geometry], mpp: float
) -> None:
    """Write a SpatialData folder. Call it under the lock of the slide's folder.

    Elements are `nuclei` (shapes), `tissue` (shapes) and `features` (table), in px of level 0 in
    the coordinate system `global` and in µm in `um`; shapes that there are none of are left out, as
    SpatialData has no empty ones.

    Args:
        tables: of chunks, in order; outlines are held for one alone, features for all.
        path: the folder that is made or replaced.
        tissue: polygons in px of level 0.
        mpp: µm per px of level 0.

    Raises:
        UserError: the folder holds other files.
    """
    with replaced_folder(path, _RECORD) as partial, write_errors_named(path):
        outlines = partial.with_name(f"{partial.name}.parquet")
        try:
            first, features = _split(tables, outlines)
            shapes = {"nuclei": first, "tissue": gpd.GeoDataFrame(geometry=list(tissue))}
            data = SpatialData(
                shapes={name: _shapes(each, mpp) for name, each in shapes.items() if len(each)},
                tables={"features": _features_table(features)},
            )
            partial.rmdir()  # SpatialData makes it
            with warnings.catch_warnings(action="ignore"):  # of one library to another
                data.write(partial)
            if len(first):  # in place of which all are put
                outlines.replace(partial / "shapes" / "nuclei" / "shapes.parquet")
        finally:
            outlines.unlink(missing_ok=True)


def _split(tables: Iterable[pa.Table], outlines: Path) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Write the outlines as GeoParquet, and keep the first one, and all else of all nuclei."""
    kept = [SCHEMA.empty_table().drop_columns(list(_AREAS))]

    def passing() -> Iterator[pa.Table]:
        for table in tables:
            kept.append(table.drop_columns(list(_AREAS)))
            yield table

    write_parquet(passing(), outlines, _outlines_schema(), covering=False)
    first = next(pq.ParquetFile(outlines).iter_batches(1), _outlines_schema().empty_table())
    geometry = shapely.from_wkb(first["geometry"].to_numpy(zero_copy_only=False))
    return gpd.GeoDataFrame(geometry=geometry, index=pd.Index([1][: len(geometry)])), _joined(kept)


def _outlines_schema() -> pa.Schema:
    """`id` and `geometry`, of which pandas shall take `id` as the index."""
    return pa.Schema.from_pandas(pd.DataFrame({"geometry": [b""]}, pd.Index([1], name="id")))


def _joined(tables: list[pa.Table]) -> pd.DataFrame:
    """All rows, with classes in the order of their indices."""
    rows = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    names = rows.groupby("class_id")["class"].first()
    rows["class"] = pd.Categorical(rows["class"], pd.Index(names.tolist(), dtype=object))
    return rows


def _shapes(frame: gpd.GeoDataFrame, mpp: float) -> gpd.GeoDataFrame:
    to_um = Scale([mpp, mpp], axes=("x", "y"))
    return ShapesModel.parse(frame, transformations={"global": Identity(), "um": to_um})


def _features_table(rows: pd.DataFrame) -> ad.AnnData:
    """Features as X, class and score as columns, the prompts as places."""
    names = pd.Index([str(each) for each in rows["id"]], dtype=object)
    table = ad.AnnData(
        rows[list(FEATURES)].to_numpy(np.float32),
        obs=pd.DataFrame({name: rows[name].array for name in _COLUMNS}, index=names),
        var=pd.DataFrame(index=pd.Index(FEATURES, dtype=object)),
    )
    table.obsm["spatial"] = rows[["x", "y"]].to_numpy()
    if not len(rows):
        return TableModel.parse(table)  # it annotates no shapes
    table.obs["id"] = rows["id"].to_numpy()
    table.obs["region"] = pd.Categorical.from_codes(
        [0] * len(rows), pd.Index(["nuclei"], dtype=object)
    )
    return TableModel.parse(table, region="nuclei", region_key="region", instance_key="id")
