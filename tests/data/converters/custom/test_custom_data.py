"""The user's own data through the command line: every form, and what is left out or cut."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from custom_labels import (
    CLASSES,
    NUCLEI,
    SIZES,
    coco_data,
    collection,
    feature,
    label_maps,
    write_labels,
)
from detectron2.structures import Instances
from PIL import Image
from scipy.io import savemat

from cfrsam_d2.data.coco import metadata_from_json, read_nucleus_json
from cfrsam_d2.export import Prediction, best_first
from cfrsam_d2.export.geojson import feature_collection
from cfrsam_d2.structures.masks import BoxMask, BoxMasks
from cfrsam_d2.structures.rle import decode_mask

FORMS = ["png", "tif", "npy", "mat with type_map", "mat with inst_type", "geojson", "coco"]


def frame_of(annotation: dict) -> np.ndarray:
    """The mask of a nucleus in the whole of the first image, (H, W) bool."""
    return decode_mask(annotation["segmentation"]).frame(*SIZES["tile.1"])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_dataset(
    form: str, prepare: Callable, work: Path, capsys: pytest.CaptureFixture
) -> None:
    write_labels(form, work / "labels")
    records = {Path(each["file_name"]).name: each for each in prepare("--magnification", "20")}
    assert records.keys() == {"tile.1.png", "deep_empty.png"}
    record, empty = records["tile.1.png"], records["deep_empty.png"]
    assert empty["annotations"] == []
    assert (empty["height"], empty["width"]) == SIZES["deep/empty"]
    assert empty["magnification"] == record["magnification"] == 20
    assert empty["tissue"] == ("Skin" if form == "coco" else "unknown")
    for annotation, (class_id, mask) in zip(record["annotations"], NUCLEI, strict=True):
        np.testing.assert_array_equal(frame_of(annotation), mask)
        assert annotation["category_id"] == class_id - 1
    with (
        Image.open(work / "images" / "tile.1.tif") as image,
        Image.open(record["file_name"]) as png,
    ):
        np.testing.assert_array_equal(np.asarray(png), np.asarray(image))
    metadata = metadata_from_json(read_nucleus_json(work / "out" / "nuclei.json"))
    assert metadata["thing_classes"] == ["tumour", "lymphocyte"]  # by id, not as in the file
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["tissue", "images", "tumour", "lymphocyte", "nuclei"] in lines
    if form != "coco":
        assert ["unknown", "2", "2", "1", "3"] in lines
    assert ["every", "nucleus,", "none", "left", "out"] in lines


def test_running_again_gives_the_same_files(prepare: Callable, work: Path) -> None:
    write_labels("png", work / "labels")
    prepare()
    first = {path: path.read_bytes() for path in (work / "out").rglob("*.*")}
    prepare()
    assert {path: path.read_bytes() for path in (work / "out").rglob("*.*")} == first


def test_labels_and_images_may_lie_together(prepare: Callable, work: Path) -> None:
    (work / "images" / "all.json").write_text(json.dumps(coco_data()))
    for form, folder in (("coco", "images/all.json"), ("geojson", "images"), ("png", "images/png")):
        if form == "geojson":
            (work / "images" / "all.json").unlink()
        if form != "coco":
            write_labels(form, work / folder)
        assert sum(len(each["annotations"]) for each in prepare(labels=folder)) == 3


def test_what_predict_writes_comes_back(prepare: Callable, work: Path) -> None:
    """Beside the outlines it writes files that are no labels."""
    size = SIZES["tile.1"]
    masks = [BoxMask.of_frame(mask) for _, mask in NUCLEI]
    predicted = Instances(
        size,
        pred_masks=BoxMasks.from_box_masks(masks, size),
        pred_points=torch.zeros(3, 2),
        pred_classes=torch.tensor([class_id - 1 for class_id, _ in NUCLEI]),
        scores=torch.tensor([0.9, 0.8, 0.7]),
    )
    image = np.zeros((*size, 3), dtype=np.uint8)
    found, colors = best_first(predicted), [(0, 0, 0)] * 2
    prediction = Prediction("tile.1.tif", image, found, list(CLASSES.values()), colors)
    write_labels("geojson", work / "labels")
    (work / "labels" / "tile.1.geojson").write_text(json.dumps(feature_collection(prediction)))
    for name in ("tile.1.csv", "config.yaml", ".coco/tile.1.json", ".DS_Store"):
        (work / "labels" / name).parent.mkdir(exist_ok=True)
        (work / "labels" / name).write_text("{}")
    (_, record) = prepare()
    for annotation, (class_id, mask) in zip(record["annotations"], NUCLEI, strict=True):
        np.testing.assert_array_equal(frame_of(annotation), mask)
        assert annotation["category_id"] == class_id - 1


def test_ids_of_one_name_are_one_class(prepare: Callable, work: Path) -> None:
    write_labels("png", work / "labels")
    (work / "classes.yaml").write_text("classes: {2: cell, 1: cell, 3: other}")
    (_, record) = prepare()
    assert [each["category_id"] for each in record["annotations"]] == [0, 0, 0]
    data = read_nucleus_json(work / "out" / "nuclei.json")
    assert metadata_from_json(data)["thing_classes"] == ["cell", "other"]


def test_nuclei_of_the_only_class_need_none(prepare: Callable, work: Path) -> None:
    (work / "classes.yaml").write_text("classes: {1: nucleus}")
    maps, outlines, mats = (work / name for name in ("maps", "outlines", "mats"))
    for folder in (maps, outlines, mats):
        (folder / "deep").mkdir(parents=True)
    for name in SIZES:
        instances, _ = label_maps(name)
        np.save(maps / f"{name}.npy", instances)
        savemat(mats / f"{name}.mat", {"inst_map": instances})
        features = [feature(mask, "") for _, mask in NUCLEI] if name == "tile.1" else []
        (outlines / f"{name}.geojson").write_text(collection(features))
    for folder in ("maps", "mats", "outlines"):
        (empty, record) = prepare(labels=folder)
        assert [each["category_id"] for each in record["annotations"]] == [0, 0, 0]
        assert empty["annotations"] == []


def test_the_geojson_of_qupath(prepare: Callable, work: Path) -> None:
    """Cells have a nucleus of their own, derived classes several names; a list will do, too."""
    write_labels("geojson", work / "labels")
    (work / "classes.yaml").write_text("classes: {1: 'Tumor: Positive', 2: Stroma}")
    (_, one), (_, two), (_, three) = NUCLEI
    cell = {**feature(one | two, "x"), "nucleusGeometry": feature(two, "x")["geometry"]}
    cell["properties"]["classification"] = {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}
    plain = feature(three, "Stroma")
    plain["properties"]["classification"] |= {"colorRGB": -3670016}
    short = feature(one, "x")
    short["properties"]["classification"] = "Stroma"
    (work / "labels" / "tile.1.geojson").write_text(json.dumps([cell, plain, short]))
    (_, record) = prepare()
    assert [each["category_id"] for each in record["annotations"]] == [0, 1, 1]
    for annotation, mask in zip(record["annotations"], (two, three, one), strict=True):
        np.testing.assert_array_equal(frame_of(annotation), mask)


def test_outlines_that_are_no_nuclei_are_counted(
    prepare: Callable, work: Path, capsys: pytest.CaptureFixture
) -> None:
    write_labels("geojson", work / "labels")

    def drawn(kind: str, coordinates: list) -> dict:
        geometry = {"type": kind, "coordinates": coordinates}
        return {**feature(NUCLEI[0][1], "no such class"), "geometry": geometry}

    def square(x: float, y: float, side: float) -> list:
        return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]

    features = [
        drawn("Point", [3, 3]),
        drawn("LineString", [[3, 3], [9, 9]]),
        {**drawn("Polygon", []), "geometry": None},
        drawn("Polygon", [[[1, 1], [5, 5]]]),
        drawn("Polygon", [[[1, 1], [5, 5], [1, 1]]]),
        drawn("Polygon", [square(50, 3, 4)]),
        drawn("MultiPolygon", [[square(-9, 3, 4)], [square(-9, -9, 4)]]),
        drawn("Polygon", [square(3.6, 3.6, 0.8)]),
        {
            **feature(NUCLEI[0][1], "tumour"),
            "geometry": drawn("Polygon", [square(-2, 1, 5)])["geometry"],
        },
        *[feature(NUCLEI[1][1], "tumour")] * 3,
    ]
    (work / "labels" / "tile.1.geojson").write_text(collection(features))
    (_, record) = prepare()
    cut, _ = record["annotations"]
    assert cut["bbox"] == [0, 1, 3, 5]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-6:] == [
        "3 objects left out: points or lines",
        "1 outlines cut at the edge of the image",
        "2 outlines left out: fewer than three points",
        "2 outlines left out: off the image",
        "1 outlines left out: they enclose no pixel",
        "2 outlines left out: they repeat another",
    ]


def test_of_a_coco_json_its_images_are_taken(
    prepare: Callable, work: Path, capsys: pytest.CaptureFixture
) -> None:
    """One folder of images may serve several splits."""
    data = coco_data()
    data["images"][0]["magnification"] = 10
    data["annotations"][0]["iscrowd"] = 1
    data["annotations"][1]["segmentation"] = [[1, 1, 2, 2]]
    del data["images"][1]
    (work / "train.json").write_text(json.dumps(data))
    (record,) = prepare("--magnification", "20", labels="train.json")
    assert record["magnification"] == 10
    assert len(record["annotations"]) == 1
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "1 crowd regions (of nuclei that count, set `iscrowd` to 0) left out",
        "1 images left out: the JSON does not list them",
        "1 outlines without a pixel left out",
    ]
