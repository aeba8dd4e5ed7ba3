"""Every form of labels without classes, prepared for a model of PanNuke's five."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from small_release import (
    HEIGHT,
    WIDTH,
    inst_map,
    write_cpm17,
    write_image,
    write_mat,
    write_monuseg,
)

from cfrsam_d2.apps.export_pannuke import check_known_classes
from cfrsam_d2.data.converters.pannuke_layout import PANNUKE_CLASSES
from cfrsam_d2.data.registration import unregister
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.coco import UNKNOWN_CLASS
from cfrsam_d2.visualization import draw_picture

DATASETS = Path(__file__).resolve().parents[3] / "datasets"
CLASSES = str(DATASETS / "pannuke_classes.yaml")
main = runpy.run_path(str(DATASETS / "prepare.py"))["main"]


def square(name: str | None, x: int) -> dict:
    corners = [[x, 2], [x + 4, 2], [x + 4, 6], [x, 6], [x, 2]]
    properties = {"objectType": "detection", "classification": {"name": name} if name else None}
    geometry = {"type": "Polygon", "coordinates": [corners]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def write_labels(form: str, folder: Path) -> list[int]:
    """Labels of one image; returns the classes of its nuclei."""
    folder.mkdir()
    types = np.where(inst_map() == 7, 2, 0)
    if form == "map":
        np.save(folder / "a.npy", inst_map().astype(int))
        return [-1, -1]
    if form == "types":
        np.save(folder / "a.npy", np.stack([inst_map(), types], axis=-1).astype(int))
        return [-1, 1]
    if form == "mat":
        write_mat(folder / "a.mat", inst_map=inst_map())
        return [-1, -1]
    if form == "mat with types":
        write_mat(folder / "a.mat", inst_map=inst_map(), type_map=types)
        return [-1, 1]
    if form == "geojson":
        squares = [square(None, 1), square("dead", 6), square("unknown", 11)]
        collection = {"type": "FeatureCollection", "features": squares}
        (folder / "a.geojson").write_text(json.dumps(collection))
        return [-1, 3, -1]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [
            {
                "id": n,
                "image_id": 1,
                "category_id": category,
                "segmentation": [[n, 1, n + 4, 1, n + 4, 6]],
            }
            for n, category in enumerate((9, 4))
        ],
        "categories": [{"id": 4, "name": "dead"}, {"id": 9, "name": "unknown"}],
    }
    (folder / "a.json").write_text(json.dumps(data))
    return [-1, 3]


@pytest.mark.parametrize("form", ["map", "types", "mat", "mat with types", "geojson", "coco"])
def test_labels_of_ones_own(tmp_path: Path, form: str, capsys: pytest.CaptureFixture):
    write_image(tmp_path / "images" / "a.png")
    wanted = write_labels(form, tmp_path / "labels")
    labels = ["--labels", str(tmp_path / "labels"), "--classes", CLASSES]
    main(["custom", str(tmp_path / "images"), *labels, "--output", str(tmp_path / "out")])
    assert "left out" not in capsys.readouterr().out.replace("none left out", "")
    data = json.loads((tmp_path / "out" / "nuclei.json").read_text())
    assert [each["category_id"] - 1 for each in data["annotations"]] == wanted
    assert data["categories"][-1] == {"id": 0, "name": "unknown"}
    assert [each["name"] for each in data["categories"][:-1]] == list(PANNUKE_CLASSES)


def test_releases_are_registered_with_the_classes_of_another(tmp_path: Path):
    main(
        ["cpm17", str(write_cpm17(tmp_path / "1")), "--output", str(tmp_path), "--classes", CLASSES]
    )
    main(
        [
            "monuseg",
            str(write_monuseg(tmp_path / "2")),
            "--output",
            str(tmp_path),
            "--classes",
            CLASSES,
        ]
    )
    custom = {
        name: {
            "JSON": str(tmp_path / f"{name.lower()}_unknown" / "train" / "nuclei.json"),
            "IMAGES": str(tmp_path / f"{name.lower()}_unknown" / "train" / "images"),
        }
        for name in ("CPM17", "MONUSEG")
    }
    names = ["custom_cpm17", "custom_monuseg"]
    config = {"VERSION": 2, "DATASETS": {"CUSTOM": custom, "TRAIN": ["pannuke_fold1", *names]}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    cfg = load_config(str(tmp_path / "config.yaml"))
    assert ("pannuke_fold1", *names) == cfg.DATASETS.TRAIN
    for name in names:
        images = DatasetCatalog.get(name)
        found = [nucleus["category_id"] for image in images for nucleus in image["annotations"]]
        assert set(found) == {UNKNOWN_CLASS}
        metadata = MetadataCatalog.get(name)
        assert metadata.thing_classes == list(PANNUKE_CLASSES)
        assert metadata.thing_dataset_id_to_contiguous_id == {n + 1: n for n in range(5)}
        with pytest.raises(UserError, match=f"{name} has {len(found)} nuclei of unknown class"):
            check_known_classes(name, images)
        picture = draw_picture(name, images[-1], np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        assert (picture == (220, 220, 220)).all(axis=-1).any()
        unregister(name)
    with pytest.raises(UserError, match=r"CUSTOM\.CPM17\.JSN, which is no config key"):
        load_config(str(tmp_path / "config.yaml"), ["DATASETS.CUSTOM.CPM17.JSN", "x"])


def test_unknown_alone_is_no_list_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_image(tmp_path / "images" / "a.png")
    write_labels("map", tmp_path / "labels")
    (tmp_path / "classes.yaml").write_text("classes: {0: unknown}")
    labels = ["--labels", str(tmp_path / "labels"), "--classes", str(tmp_path / "classes.yaml")]
    with pytest.raises(SystemExit):
        main(["custom", str(tmp_path / "images"), *labels, "--output", str(tmp_path / "out")])
    assert "has no class but 'unknown'" in capsys.readouterr().err
