"""Labels as other programs of the field write them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from custom_labels import CLASSES, NUCLEI, SIZES, coco_data, collection, feature, label_maps
from custom_labels import write_labels as write
from PIL import Image
from scipy.io import savemat

from cfrsam_d2.structures.rle import decode_mask

NAME = "tile.1"


def areas(records: list[dict]) -> list[tuple[int, int]]:
    """Classes and px of all nuclei, sorted."""
    return sorted(
        (each["category_id"], decode_mask(each["segmentation"]).area)
        for record in records
        for each in record["annotations"]
    )


EXPECTED = sorted((class_id - 1, int(mask.sum())) for class_id, mask in NUCLEI)
INSTANCES, TYPES = label_maps(NAME)


def square(x: float, y: float, side: float) -> list:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def drawn(kind: str | None, *polygons: list, name: str | None = "tumour") -> dict:
    """A feature of outer rings."""
    properties: dict = {} if kind is None else {"objectType": kind}
    if name:
        properties["classification"] = {"name": name}
    geometry = {"type": "MultiPolygon", "coordinates": [[ring] for ring in polygons]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


@pytest.fixture
def geojson(prepare: Callable, work: Path, capsys: pytest.CaptureFixture) -> Callable:
    """A function: the text of a GeoJSON file to its nuclei and the lines after the table."""
    write("geojson", work / "labels")

    def run(text: str | bytes) -> tuple[list[tuple[int, int]], list[str]]:
        content = text if isinstance(text, bytes) else text.encode()
        (work / "labels" / f"{NAME}.geojson").write_bytes(content)
        found = areas(prepare())
        return found, capsys.readouterr().out.splitlines()[6:]

    return run


def test_forms_of_geojson(geojson: Callable) -> None:
    features = [feature(mask, CLASSES[class_id]) for class_id, mask in NUCLEI]
    lines = [json.dumps(each) for each in features]
    as_text = [dict(each) for each in features]
    for each, (class_id, _) in zip(as_text, NUCLEI, strict=True):
        each["properties"] = {"classification": json.dumps({"name": CLASSES[class_id]})}
    collected = {"type": "GeometryCollection", "geometries": [features[1]["geometry"]]}
    for text in (
        json.dumps(features),
        "\n".join(lines) + "\n",
        "\x1e" + "\n\x1e".join(lines),
        collection(features[:1]) + "\r\n" + collection(features[1:]),
        json.dumps([json.loads(collection(features))]),
        "\ufeff" + collection(features),
        collection(features).encode("utf-16"),
        collection(as_text),
        collection([features[0], {**features[1], "geometry": collected}, features[2]]),
    ):
        assert geojson(text) == (EXPECTED, ["every nucleus, none left out"])
    assert geojson(lines[0])[0] == [EXPECTED[-1]]


def test_parts_far_apart_are_nuclei_of_their_own(geojson: Callable) -> None:
    row = [square(x, 2, 6) for x in (2, 14, 22, 40)]  # gaps of 6, 2 and 12 px
    two = drawn("annotation", *row), drawn("annotation", square(2, 20, 6), square(20, 20, 6))
    found, lines = geojson(collection(two))
    assert found == [(0, 36)] * 6
    assert lines == ["6 nuclei found as parts of one feature, far apart"]
    for close in (row[1:3], [square(2, 2, 6), square(8, 8, 6)]):
        assert geojson(collection([drawn("annotation", *close)])) == (
            [(0, 72)],
            ["every nucleus, none left out"],
        )
    touching = drawn(None, square(2, 2, 6), square(8, 8, 6), square(40, 30, 6))
    assert geojson(collection([touching]))[0] == [(0, 36), (0, 72)]


def test_what_lies_around_nuclei_is_counted_by_kind(geojson: Callable) -> None:
    around, inner = square(1, 1, 38), square(0, 0, 16)
    cells = [drawn("cell", square(x, 3, 4)) for x in (4, 12, 20)]
    third = {"type": "Feature", "id": "TMACoreObject", "geometry": cells[0]["geometry"]}
    found, lines = geojson(
        collection(
            [
                drawn("annotation", around, name=None),
                drawn("annotation", inner, name="no class of a nucleus"),
                drawn("annotation", square(30, 10, 25), name=None),  # empty, but no nucleus either
                drawn("annotation", square(40, 2, 5)),  # a nucleus that was added by hand
                drawn("tile", square(2, 2, 20), name=None),
                {**drawn(None, around), "properties": {"object_type": "tma_core"}},
                third,
                *cells,
            ]
        )
    )
    assert found == [(0, 16)] * 3 + [(0, 25)]
    assert lines == [
        "2 TMA cores left out",
        "3 annotations left out: drawn around nuclei",
        "1 tiles left out",
    ]


def test_a_parent_of_no_kind_and_no_class(geojson: Callable) -> None:
    nuclei = [drawn(None, square(x, 3, 4)) for x in (4, 12)]
    found, lines = geojson(collection([drawn(None, square(1, 1, 30), name=None), *nuclei]))
    assert found == [(0, 16)] * 2
    assert lines == ["1 objects without a class left out: drawn around nuclei"]
    image = [[0, 0], [50, 0], [50, 40], [0, 40]]
    assert geojson(collection([drawn("annotation", image, name=None)]))[0] == []
    overlapping = [drawn("annotation", square(2, 2, 20)), drawn("annotation", square(5, 5, 9))]
    assert geojson(collection(overlapping))[0] == [(0, 81), (0, 400)]


def save_mat(folder: Path, **values: object) -> None:
    savemat(folder / f"{NAME}.mat", values)


def test_mat_files(prepare: Callable, work: Path, capsys: pytest.CaptureFixture) -> None:
    labels = work / "labels"
    write("mat with type_map", labels)
    order = {"id": [[301], [7], [300], [9]]}  # Lizard lists what a crop has lost, too
    save_mat(labels, inst_map=INSTANCES, **order, **{"class": [[1], [2], [1], [2]]})
    assert areas(prepare()) == EXPECTED
    save_mat(labels, inst_map=INSTANCES.astype(float), class_labels=[[2], [1], [1]])
    assert areas(prepare()) == EXPECTED
    mostly_background = np.where(INSTANCES == 7, 0, TYPES)
    mostly_background[np.unravel_index(np.flatnonzero(INSTANCES == 7)[0], TYPES.shape)] = 2
    save_mat(labels, inst_map=INSTANCES, type_map=mostly_background)
    assert areas(prepare()) == EXPECTED
    capsys.readouterr()
    save_mat(labels, inst_map=INSTANCES, inst_type=[[2], [0], [1]])
    assert areas(prepare()) == sorted((NUCLEI[i][0] - 1, int(NUCLEI[i][1].sum())) for i in (0, 2))
    assert "1 nuclei left out: of type 0, background" in capsys.readouterr().out


def test_label_images_of_every_type(prepare: Callable, work: Path) -> None:
    labels = work / "labels"
    write("tif", labels)
    for dtype in ("int64", "uint64", "int32", "uint16", "int16", "float32", "float64"):
        tifffile.imwrite(labels / f"{NAME}.tif", INSTANCES.astype(dtype))
        assert areas(prepare()) == EXPECTED
    Image.fromarray(INSTANCES).save(labels / f"{NAME}.tif", compression="tiff_lzw")
    assert areas(prepare()) == EXPECTED
    for values in (INSTANCES[None], INSTANCES[..., None], np.stack([INSTANCES, TYPES])):
        tifffile.imwrite(labels / f"{NAME}.tif", values, photometric="minisblack")
        assert areas(prepare()) == EXPECTED


def test_arrays_and_palettes(prepare: Callable, work: Path) -> None:
    write("npy", work / "labels")
    for values in (INSTANCES[..., None], np.stack([INSTANCES, TYPES], axis=-1)):
        np.save(work / "labels" / f"{NAME}.npy", values)
        assert areas(prepare()) == EXPECTED
    write("png", work / "palette")
    ranks = np.searchsorted(np.unique(INSTANCES), INSTANCES).astype(np.uint8)
    palette = Image.fromarray(ranks).convert("P")
    palette.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    palette.save(work / "palette" / f"{NAME}.png")
    assert areas(prepare(labels="palette")) == EXPECTED


def test_coco_files(prepare: Callable, work: Path, capsys: pytest.CaptureFixture) -> None:
    data = coco_data()
    for image in data["images"]:
        image["file_name"] = "images\\" + image["file_name"].replace("/", "\\")
        image["id"] = float(image["id"])
    first, second, third = data["annotations"]
    first |= {"image_id": 5.0, "iscrowd": 1, "attributes": {"occluded": False}}  # CVAT's brush
    second |= {"iscrowd": 1, "attributes": {"occluded": False}}  # in two pieces
    data["annotations"].append({**third, "id": 9})
    data["annotations"].append({**third, "id": 10, "segmentation": [], "bbox": [1, 1, 5, 5]})
    for encoding in ("utf-8-sig", "utf-16"):
        (work / "a.json").write_text(json.dumps(data), encoding=encoding)
        records = prepare(labels="a.json")
        masks = [NUCLEI[0], NUCLEI[2]]
        assert areas(records) == sorted((each[0] - 1, int(each[1].sum())) for each in masks)
        assert {Path(each["file_name"]).name for each in records} == {
            f"{name.replace('/', '_')}.png" for name in SIZES
        }
        assert capsys.readouterr().out.splitlines()[-3:] == [
            "1 crowd regions (of nuclei that count, set `iscrowd` to 0) left out",
            "1 outlines left out: they repeat another",
            "1 outlines without a pixel left out",
        ]
