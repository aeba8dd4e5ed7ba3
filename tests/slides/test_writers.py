"""The files of a slide: read by the libraries they are for, and of the same bytes each time."""

import errno
import gzip
import io
import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("shapely", reason="shapely is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("zarr", reason="zarr is missing: pip install 'cfrsam_d2[slides]'")
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
import tifffile
import zarr
from PIL import Image
from shapely.geometry import shape
from slide_nuclei import CLASSES, COLORS, MPP, NONE, SIZE, chunks

from cfrsam_d2.errors import UserError
from cfrsam_d2.slides.geometry import mask_within
from cfrsam_d2.slides.table import FEATURES, SCHEMA
from cfrsam_d2.slides.writers.geojson import (
    write_geojson,
    write_geojson_per_chunk,
    write_tissue,
)
from cfrsam_d2.slides.writers.label_pyramid import write_label_tiff, write_label_zarr
from cfrsam_d2.slides.writers.overview import write_overview
from cfrsam_d2.slides.writers.parquet import read_tables, write_parquet
from cfrsam_d2.slides.writers.summary import Run, write_summary

SCALE = 2.0
PICTURE = np.full((125, 225, 3), 230, dtype=np.uint8)  # of SIZE at 2 µm/px
TISSUE = [shapely.box(0, 0, 3000, 2000)]
RUN = Run(
    slide={"format": "svs"},
    mpp=MPP / SCALE,
    mpp_source="file",
    tissue_mm2=0.1,
    seconds={"points": 1.0, "nuclei": 3.0},
    resumed=False,
    seconds_waited=0.08,
    unreadable=[],
)


def labels_of(tables: list[pa.Table], folder: Path) -> Path:
    write_label_zarr(iter(tables), folder, size=SIZE, scale=SCALE, mpp=MPP)
    return folder


def write_all(tables: list[pa.Table], folder: Path) -> None:
    folder.mkdir()
    write_parquet(iter(tables), folder / "nuclei.parquet")
    write_geojson(iter(tables), folder / "nuclei.geojson.gz", COLORS)
    write_geojson_per_chunk(iter(tables), folder / "nuclei.geojson", COLORS)
    labels = labels_of(tables, folder / "labels.ome.zarr")
    write_label_tiff(labels, folder / "labels.ome.tiff", MPP)
    place = {"picture": PICTURE, "px_of_level_0": 16, "mpp": 2.0}
    write_overview(iter(tables), folder / "overview.jpg", **place)
    write_summary(iter(tables), folder / "summary.json", RUN, CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of the slide."""
    folder = tmp_path_factory.mktemp("slide") / "full"
    write_all(chunks(SCALE), folder)
    return folder


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of a slide without a nucleus."""
    folder = tmp_path_factory.mktemp("slide") / "empty"
    write_all(NONE, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def all_nuclei() -> pa.Table:
    return pa.concat_tables(chunks(SCALE))


def painted() -> np.ndarray:
    """The label map, one nucleus after the other, the best score last."""
    table = all_nuclei()
    geometries, scores = shapely.from_wkb(table["geometry"]), table["score"].to_numpy()
    labels = np.zeros(SIZE[::-1], dtype=np.uint32)
    for row in np.argsort(scores, kind="stable"):
        mask = mask_within(geometries[row], SCALE)
        labels[mask.in_image][mask.pixels] = row + 1
    return labels


def test_the_same_nuclei_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_all(chunks(SCALE), tmp_path / "again")
    first, second = contents(folder), contents(tmp_path / "again")
    assert first.keys() == second.keys()
    different = [name for name in first if first[name] != second[name]]
    assert different == ["summary.json"] or different == []  # the peak of memory is in it
    assert not [name for name in first if "partial" in name]


def test_the_table_has_every_nucleus_once() -> None:
    table = all_nuclei()
    assert table.schema == SCHEMA
    assert table["id"].to_pylist() == list(range(1, len(table) + 1))
    assert table["class"].to_pylist() == [CLASSES[each] for each in table["class_id"].to_pylist()]
    box = np.array([list(each.values()) for each in table["bbox"].to_pylist()])
    np.testing.assert_allclose(box, shapely.bounds(shapely.from_wkb(table["geometry"])))
    points = shapely.points(table["x"], table["y"])
    disc = shapely.from_wkb(table["geometry"])[0]
    assert disc.centroid.distance(points[0]) < 1e-6


def test_parquet_has_a_row_group_a_chunk_and_its_metadata(folder: Path) -> None:
    file = pq.ParquetFile(folder / "nuclei.parquet")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert sizes == [60, 3]
    assert file.read().cast(SCHEMA).equals(all_nuclei().unify_dictionaries())
    geo = json.loads(file.metadata.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert (column["encoding"], column["crs"]) == ("WKB", None)
    assert column["geometry_types"] == ["MultiPolygon", "Polygon"]
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    bounds = shapely.total_bounds(shapely.from_wkb(all_nuclei()["geometry"]))
    np.testing.assert_array_equal(column["bbox"], bounds)
    exteriors = shapely.get_exterior_ring(
        shapely.get_parts(shapely.from_wkb(all_nuclei()["geometry"]))
    )
    assert column["orientation"] == "counterclockwise"
    assert shapely.is_ccw(exteriors).all()


def test_parquet_is_read_by_chunks_or_refused(folder: Path, tmp_path: Path) -> None:
    whole = folder / "nuclei.parquet"
    filled = [table for table in chunks(SCALE) if len(table)]
    for read, wanted in zip(read_tables(whole), filled, strict=True):
        assert read.to_pylist() == wanted.to_pylist()
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-100])
    pq.write_table(pa.table({"id": [1]}), tmp_path / "other.parquet")
    reasons = {"none": "is not there", "cut": "is damaged", "other": "holds no nuclei"}
    for name, reason in reasons.items():
        with pytest.raises(UserError, match=rf"{name}\.parquet {reason}"):
            list(read_tables(tmp_path / f"{name}.parquet"))


def test_geopandas_reads_the_parquet(folder: Path, empty: Path) -> None:
    gpd = pytest.importorskip("geopandas", reason="pip install 'cfrsam_d2[spatial]'")
    frame = gpd.read_parquet(folder / "nuclei.parquet")
    assert len(frame) == 63
    assert frame.geometry.is_valid.all()
    assert frame.crs is None
    np.testing.assert_allclose(frame.geometry.area * (MPP / SCALE) ** 2, frame.area_um2, rtol=1e-6)
    right = gpd.read_parquet(folder / "nuclei.parquet", bbox=(3300, 1900, 3500, 2000))
    assert right["id"].tolist() == [62]
    none = gpd.read_parquet(empty / "nuclei.parquet")
    assert (len(none), list(none.columns)) == (0, [n for n in SCHEMA.names if n != "bbox"])


def test_geojson_has_what_qupath_reads(folder: Path, empty: Path) -> None:
    data = json.loads(gzip.decompress((folder / "nuclei.geojson.gz").read_bytes()))
    table, geometries = all_nuclei(), shapely.from_wkb(all_nuclei()["geometry"])
    assert data["type"] == "FeatureCollection"
    shapes = [shape(feature["geometry"]) for feature in data["features"]]
    assert shapely.is_valid(shapes).all()
    assert shapely.equals(shapes, geometries).all()
    for row, feature in zip(table.to_pylist(), data["features"], strict=True):
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        color = list(COLORS[row["class_id"]])
        assert properties["classification"] == {"name": row["class"], "color": color}
        assert list(properties["measurements"]) == ["id", "score", *FEATURES]
        assert properties["measurements"]["id"] == row["id"]
        assert properties["measurements"]["area_um2"] == pytest.approx(row["area_um2"], abs=1e-4)
    none = json.loads(gzip.decompress((empty / "nuclei.geojson.gz").read_bytes()))
    assert none == {"type": "FeatureCollection", "features": []}


def test_geojson_per_chunk_is_the_same_nuclei(folder: Path, empty: Path) -> None:
    files = sorted((folder / "nuclei.geojson").iterdir())
    assert [file.name for file in files] == ["0000.geojson.gz", "0001.geojson.gz"]
    each = [json.loads(gzip.decompress(file.read_bytes()))["features"] for file in files]
    data = json.loads(gzip.decompress((folder / "nuclei.geojson.gz").read_bytes()))
    assert list(chain.from_iterable(each)) == data["features"]
    (none,) = (empty / "nuclei.geojson").iterdir()
    assert json.loads(gzip.decompress(none.read_bytes()))["features"] == []


def test_geojson_counts_from_where_qupath_does(folder: Path, tmp_path: Path) -> None:
    write_geojson(iter(chunks(SCALE)), tmp_path / "moved.geojson.gz", COLORS, origin=(100, 20))
    moved, still = (
        json.loads(gzip.decompress(path.read_bytes()))["features"]
        for path in (tmp_path / "moved.geojson.gz", folder / "nuclei.geojson.gz")
    )
    for one, other in zip(moved, still, strict=True):
        there, here = (shapely.geometry.shape(each["geometry"]) for each in (one, other))
        assert shapely.affinity.translate(there, 100, 20).equals(here)


def test_tissue_is_an_annotation_of_valid_polygons(tmp_path: Path) -> None:
    area = shapely.union_all([shapely.box(0, 0, 40, 40), shapely.box(100, 100, 140, 160)])
    write_tissue(area, tmp_path / "tissue.geojson", (10, 0))
    features = json.loads((tmp_path / "tissue.geojson").read_bytes())["features"]
    found = [shapely.geometry.shape(each["geometry"]) for each in features]
    assert sorted(each.bounds for each in found) == [(-10, 0, 30, 40), (90, 100, 130, 160)]
    assert {each["properties"]["objectType"] for each in features} == {"annotation"}


def test_labels_are_the_nuclei_best_on_top(folder: Path, tmp_path: Path) -> None:
    group = zarr.open_group(folder / "labels.ome.zarr", mode="r")
    labels = painted()
    overlapping = sum(each.area for each in shapely.from_wkb(all_nuclei()["geometry"])) / SCALE**2
    assert np.count_nonzero(labels) < overlapping  # some lie on others
    assert sorted(group.array_keys()) == ["0", "1", "2"]
    for level, factor in enumerate((1, 2, 4)):
        np.testing.assert_array_equal(group[str(level)][:], labels[::factor, ::factor])
        assert group[str(level)].dtype == np.uint32
    other_order = labels_of(chunks(SCALE)[::-1], tmp_path / "labels.ome.zarr")
    assert contents(other_order) == contents(folder / "labels.ome.zarr")


def test_labels_take_no_room_where_there_are_none(folder: Path, empty: Path) -> None:
    group = zarr.open_group(empty / "labels.ome.zarr", mode="r")
    assert group["0"].shape == SIZE[::-1]
    assert not group["0"][:].any()
    assert {path.rpartition("/")[2] for path in contents(empty / "labels.ome.zarr")} <= {
        ".zgroup",
        ".zattrs",
        ".zarray",
    }
    assert not tifffile.imread(empty / "labels.ome.tiff").any()


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "labels.ome.zarr").mkdir()
    (tmp_path / "labels.ome.zarr" / "notes.txt").touch()
    with pytest.raises(UserError, match=r"labels\.ome\.zarr exists and holds other files"):
        labels_of(NONE, tmp_path / "labels.ome.zarr")


def test_ome_zarr_reads_the_labels(folder: Path) -> None:
    pytest.importorskip("ome_zarr", reason="pip install 'cfrsam_d2[spatial]'")
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    location = parse_url(folder / "labels.ome.zarr")
    (node,) = Reader(location)()
    np.testing.assert_array_equal(np.asarray(node.data[0]), painted())
    assert [axis["name"] for axis in node.metadata["axes"]] == ["y", "x"]
    scales = [each[0]["scale"] for each in node.metadata["coordinateTransformations"]]
    assert scales == [[0.25, 0.25], [0.5, 0.5], [1, 1]]


def test_ome_tiff_has_the_same_levels(folder: Path) -> None:
    with tifffile.TiffFile(folder / "labels.ome.tiff") as file:
        assert file.is_ome
        (series,) = file.series
        for level, factor in zip(series.levels, (1, 2, 4), strict=True):
            np.testing.assert_array_equal(level.asarray(), painted()[::factor, ::factor])
        assert 'PhysicalSizeX="0.25"' in file.ome_metadata


def test_overview_shows_where_nuclei_are(folder: Path, empty: Path) -> None:
    image = np.array(Image.open(io.BytesIO((folder / "overview.jpg").read_bytes())))
    change = np.abs(image[:125, :225].astype(int) - 230).sum(axis=2)
    assert change[:, :110].mean() > 100  # 60 nuclei on the left, 2 on the right
    assert change[:100, 170:].mean() < 20
    none = np.array(Image.open(io.BytesIO((empty / "overview.jpg").read_bytes())))
    np.testing.assert_array_equal(none, PICTURE)


def test_summary_counts(folder: Path, empty: Path) -> None:
    summary = json.loads((folder / "summary.json").read_bytes())
    assert summary["nuclei"] == 63
    assert summary["nuclei_by_class"] == dict.fromkeys(CLASSES, 21)
    assert summary["nuclei_per_mm2"] == pytest.approx(630)
    assert summary["nuclei_per_mm2_by_class"]["stroma"] == pytest.approx(210)
    assert summary["mm2_per_second"] == pytest.approx(0.025)
    assert {"cfrsam_d2", "torch", "shapely"} <= summary["versions"].keys()
    assert json.loads((empty / "summary.json").read_bytes())["nuclei"] == 0


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def broken():
        yield chunks(SCALE)[0]
        raise OSError(errno.ENOSPC, "No space left on device")

    for write in (
        lambda: write_parquet(broken(), tmp_path / "nuclei.parquet"),
        lambda: write_geojson(broken(), tmp_path / "nuclei.geojson.gz", COLORS),
        lambda: labels_of(broken(), tmp_path / "labels.ome.zarr"),
    ):
        with pytest.raises(UserError, match=r"cannot write .*No space"):
            write()
    assert list(tmp_path.iterdir()) == []
