"""Nuclei as gzipped GeoJSON for QuPath, nucleus by nucleus, in px of level 0."""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from ...export.geojson import area_geometry, nucleus_feature
from ...files import replaced_folder, write_json, written_whole
from ..geometry import polygon_lists
from ..table import FEATURES

Colors = Sequence[Sequence[int]]  # RGB by class
_PER_CHUNK = "{:04}.geojson.gz"


def write_geojson(
    tables: Iterable[pa.Table], path: Path, colors: Colors, origin: tuple[int, int] = (0, 0)
) -> None:
    """Write one FeatureCollection.

    Args:
        tables: of chunks, in order; each is held for itself.
        path: ends in .geojson.gz.
        colors: of the classes.
        origin: x, y in px of level 0 from which QuPath counts.
    """
    # Without the name and the time of the file, its bytes are those of the nuclei alone.
    with (
        written_whole(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as file,
    ):
        file.write(b'{"type":"FeatureCollection","features":[')
        separator = b"\n"
        for table in tables:
            for feature in _features(table, colors, origin):
                file.write(separator + feature)
                separator = b",\n"
        file.write(b"\n]}\n")


def write_geojson_per_chunk(
    tables: Iterable[pa.Table], folder: Path, colors: Colors, origin: tuple[int, int] = (0, 0)
) -> None:
    """Write a FeatureCollection per chunk that has nuclei, or a single one without any.

    Call it under the lock of the slide's folder. Arguments are as of `write_geojson`.

    Args:
        folder: that is made or replaced.

    Raises:
        UserError: the folder holds other files.
    """
    with replaced_folder(folder, _PER_CHUNK.format(0)) as partial:
        write_geojson([], partial / _PER_CHUNK.format(0), colors)
        for number, table in enumerate(each for each in tables if len(each)):
            write_geojson([table], partial / _PER_CHUNK.format(number), colors, origin)


def write_tissue(tissue: shapely.Geometry, path: Path, origin: tuple[int, int]) -> None:
    """Write tissue as an annotation.

    Args:
        tissue: a MultiPolygon in px of level 0.
        path: ends in .geojson.
        origin: x, y in px of level 0 from which QuPath counts.
    """
    moved = shapely.transform(tissue, lambda points: points - origin)
    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(polygon),
            "properties": {"objectType": "annotation", "classification": {"name": "Tissue"}},
        }
        for polygon in shapely.get_parts(moved)
    ]
    write_json(path, {"type": "FeatureCollection", "features": features})


def _features(table: pa.Table, colors: Colors, origin: tuple[int, int]) -> Iterator[bytes]:
    geometries = shapely.from_wkb(table["geometry"].to_numpy())
    if origin != (0, 0):
        geometries = shapely.transform(geometries, lambda points: points - origin)
    shapes = polygon_lists(geometries)
    values: dict[str, list] = {"id": table["id"].to_pylist()}
    for name in ("score", *FEATURES):
        values[name] = table[name].to_numpy().astype(np.float64).round(4).tolist()
    classes = zip(table["class"].to_pylist(), table["class_id"].to_pylist(), strict=True)
    for row, (shape, (name, category)) in enumerate(zip(shapes, classes, strict=True)):
        measurements = {each: column[row] for each, column in values.items()}
        feature = nucleus_feature(area_geometry(shape), name, colors[category], measurements)
        yield json.dumps(feature, separators=(",", ":")).encode()
