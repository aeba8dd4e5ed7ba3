"""Nuclei as gzipped GeoJSON for QuPath, nucleus by nucleus, in px of level 0."""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import shapely

from ...export.geojson import area_geometry, nucleus_feature
from ...files import written_whole
from ..geometry import polygon_lists
from ..table import FEATURES

Colors = Sequence[Sequence[int]]  # RGB by class


def write_geojson(tables: Iterable[pa.Table], path: Path, colors: Colors) -> None:
    """Write one FeatureCollection.

    Args:
        tables: of chunks, in order; each is held for itself.
        path: ends in .geojson.gz.
        colors: of the classes.
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
            for feature in _features(table, colors):
                file.write(separator + feature)
                separator = b",\n"
        file.write(b"\n]}\n")


def write_geojson_per_chunk(
    tables: Iterable[tuple[str, pa.Table]], folder: Path, colors: Colors
) -> None:
    """Write a FeatureCollection per chunk that has nuclei.

    Args:
        tables: with the names of their chunks, which the files are called by.
        folder: made if it is not there.
        colors: of the classes.
    """
    folder.mkdir(exist_ok=True)
    for name, table in tables:
        if len(table):
            write_geojson([table], folder / f"{name}.geojson.gz", colors)


def _features(table: pa.Table, colors: Colors) -> Iterator[bytes]:
    shapes = polygon_lists(shapely.from_wkb(table["geometry"].to_numpy()))
    names = ("id", "score", *FEATURES)
    values = {name: table[name].to_numpy().round(4).tolist() for name in names}
    classes = zip(table["class"].to_pylist(), table["class_id"].to_pylist(), strict=True)
    for row, (shape, (name, category)) in enumerate(zip(shapes, classes, strict=True)):
        measurements = {each: column[row] for each, column in values.items()}
        feature = nucleus_feature(area_geometry(shape), name, colors[category], measurements)
        yield json.dumps(feature, separators=(",", ":")).encode()
