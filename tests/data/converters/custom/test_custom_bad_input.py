"""Faults of the user's own data are named, and nothing is written."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from custom_labels import NUCLEI, SIZES, coco_data, collection, feature, write_labels
from scipy.io import savemat


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "classes.yaml cannot be read (No such file or directory): write `classes: {1: tum"),
        ("classes: {1: a, 1: b}", "classes.yaml is no YAML (a key stands twice"),
        ("classes: {1: a", "classes.yaml is no YAML (while parsing a flow mapping"),
        ("1: tumour", "classes.yaml has no `classes` with ids and names: write `classes: {1:"),
        ("classes: {}", "classes.yaml has no `classes` with ids and names"),
        ("classes: [a, b]", "classes.yaml has no `classes` with ids and names"),
        ("", "classes.yaml has no `classes` with ids and names"),
        (
            "classes: {0: a}",
            "classes.yaml has the class 0: 'a': let ids be whole numbers from 1 on",
        ),
        ("classes: {a: 1}", "classes.yaml has the class 'a': 1: let ids be whole numbers"),
        (
            "classes: {1: no}",
            "classes.yaml has the class 1: False: let ids be whole numbers from 1",
        ),
        ("classes: {1: }", "classes.yaml has the class 1: None"),
    ],
)
def test_bad_classes(text: str | None, message: str, failure: Callable, work: Path) -> None:
    write_labels("png", work / "labels")
    (work / "classes.yaml").unlink()
    if text is not None:
        (work / "classes.yaml").write_text(text)
    assert f"error: {message}" in failure()


def change_coco(key: str, value: object) -> Callable[[Path], None]:
    def change(labels: Path) -> None:
        data = coco_data()
        table, index, field = key.split(".")
        data[table][int(index)][field] = value
        (labels / "nuclei.json").write_text(json.dumps(data))

    return change


def write(name: str, content: str) -> Callable[[Path], None]:
    return lambda labels: (labels / name).write_text(content)


def truncate(name: str) -> Callable[[Path], None]:
    def change(labels: Path) -> None:
        data = (labels / name).read_bytes()
        (labels / name).write_bytes(data[: len(data) // 2])

    return change


def save(name: str, values: np.ndarray) -> Callable[[Path], None]:
    return lambda labels: np.save(labels / f"{name}.npy", values)


def save_mat(name: str, **values: object) -> Callable[[Path], None]:
    return lambda labels: savemat(labels / name, values)


TILE = np.zeros(SIZES["tile.1"], dtype=np.int64)
PARTS = np.where(NUCLEI[1][1], 255, TILE)
ONE_OF_CLASS_9 = collection([feature(NUCLEI[0][1], "stroma")])
UNCLASSIFIED = collection([feature(NUCLEI[0][1], "")])
OPEN = collection([{"geometry": {"type": "Polygon", "coordinates": [[1, 2], [3, 4]]}}])
NAN = collection(
    [{"geometry": {"type": "Polygon", "coordinates": [[[1, 2], [3, np.nan], [4, 5]]]}}]
)


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        (
            "png",
            lambda labels: (labels / "tile.1.png").unlink(),
            "images/tile.1.tif has no label of its name in labels (1 such images): add them",
        ),
        (
            "png",
            write("more.png", ""),
            "labels/more.png has no image of its name (1 such labels): add the images or take",
        ),
        (
            "png",
            save("tile.1", TILE),
            "labels/tile.1.npy and labels/tile.1.png are labels of o",
        ),
        ("png", truncate("tile.1.png"), "labels/tile.1.png cannot be read as an image"),
        ("png", truncate("tile.1_types.png"), "labels/tile.1_types.png cannot be read as an ima"),
        ("npy", truncate("tile.1.npy"), "labels/tile.1.npy is damaged or no array"),
        (
            "npy",
            lambda labels: [save(name, TILE[:30])(labels) for name in ("tile.1", "tile.1_types")],
            "labels/tile.1.npy has 50×30 px, its image 50×40: export labels and image at one size",
        ),
        (
            "npy",
            save("tile.1", TILE[..., None].repeat(3, 2)),
            "tile.1.npy has the shape (40, 5",
        ),
        (
            "npy",
            save("tile.1", TILE - 1),
            "labels/tile.1.npy has the value -1: write whole num",
        ),
        ("npy", save("tile.1", PARTS), "labels/tile.1.npy has one value, 255, in all nuclei"),
        (
            "npy",
            save("tile.1_types", TILE[:30]),
            "tile.1_types.npy has the shape (30, 50), the",
        ),
        (
            "npy",
            save("tile.1_types", TILE + 9),
            "tile.1.npy: nucleus 7 is of class 9, which classes.yaml does not have (1: tumour",
        ),
        (
            "npy",
            lambda labels: (labels / "tile.1_types.npy").unlink(),
            "nucleus 7 has no class: give it one of those in classes.yaml (1: tumour, 2: lymphoc",
        ),
        (
            "mat with type_map",
            save_mat("tile.1.mat", instances=TILE),
            "tile.1.mat has no `inst_map`",
        ),
        ("mat with type_map", truncate("tile.1.mat"), "labels/tile.1.mat is damaged or no MATLAB"),
        (
            "mat with type_map",
            save_mat("tile.1.mat", inst_map=TILE + 3, type_map=TILE + 5),
            "labels/tile.1.mat: nucleus 3 is of class 5, which classes.yaml does not have",
        ),
        (
            "mat with type_map",
            save_mat("tile.1.mat", inst_map=TILE.T),
            "has 40×50 px, its image 50×40",
        ),
        ("geojson", truncate("tile.1.geojson"), "labels/tile.1.geojson is damaged or no GeoJSON"),
        (
            "geojson",
            write("tile.1.geojson", "{}"),
            "tile.1.geojson has no list of `features`: expo",
        ),
        (
            "geojson",
            write("tile.1.geojson", ONE_OF_CLASS_9),
            "tile.1.geojson: object 1 is of class 'stroma', which classes.yaml does not have (1",
        ),
        (
            "geojson",
            write("tile.1.geojson", UNCLASSIFIED),
            "object 1 has no class: give it one of th",
        ),
        (
            "geojson",
            write("tile.1.geojson", OPEN),
            "object 1 has an outline that is not made of x, y",
        ),
        (
            "geojson",
            write("tile.1.geojson", NAN),
            "object 1 has an outline that is not made of x, y",
        ),
        (
            "geojson",
            write("a.mat", ""),
            "labels holds .mat files (a.mat) and GeoJSON files (empty.geojson): keep labels of one",
        ),
        (
            "coco",
            write("a.geojson", "{}"),
            "labels holds GeoJSON files (a.geojson) and a COCO JSON",
        ),
        (
            "coco",
            write("a.json", "{}"),
            "labels holds a.json and nuclei.json: let --labels name one",
        ),
        ("coco", truncate("nuclei.json"), "labels/nuclei.json is not a JSON file"),
        ("coco", change_coco("annotations.0.id", 1), "id 1 appears twice in `annotations`"),
        ("coco", change_coco("images.0.id", 4), "id 4 appears twice in `images`"),
        (
            "coco",
            change_coco("images.0.file_name", "gone.png"),
            "lists images/gone.png, which does n",
        ),
        (
            "coco",
            change_coco("images.1.height", 34),
            "empty.png has 32×33 px, but labels/nuclei.json",
        ),
        (
            "coco",
            change_coco("categories.0.name", "glia"),
            "a nucleus of images/tile.1.tif is of cla",
        ),
        (
            "coco",
            change_coco("images.1.file_name", "tile.1.tif"),
            "lists images/tile.1.tif twice, as images 5 and 4: let all its annotations be of one",
        ),
    ],
)
def test_bad_labels(
    form: str, change: Callable[[Path], None], message: str, failure: Callable, work: Path
) -> None:
    write_labels(form, work / "labels")
    change(work / "labels")
    assert message in failure()


def test_bad_places(failure: Callable, work: Path) -> None:
    assert "labels does not exist: let --labels name a folder or a COCO JSON" in failure()
    (work / "labels").mkdir()
    assert "labels holds no labels: name a COCO .json, or a folder of label maps" in failure()
    write_labels("geojson", work / "labels")
    one = "labels/tile.1.geojson"
    assert f"{one} holds no labels: name a COCO .json" in failure(labels=one)
    assert "--output labels holds the labels labels: name another" in failure(output="labels")
    assert "--output . holds the" in failure(output=".").replace(str(work), ".")
    assert "--magnification is 0.25: give the objective's" in failure("--magnification", "0.25")
    (work / "images" / "deep" / "empty.png").write_bytes(b"no image")
    assert "images/deep/empty.png cannot be read as an image" in failure()
    for path in (work / "images").rglob("*.*"):
        path.unlink()
    assert "images has no images: put .png, .jpg" in failure()
    (work / "images").rename(work / "gone")
    assert "images is not a folder: name the folder of the images" in failure()


def test_a_folder_of_somebody_else_is_not_touched(
    prepare: Callable, work: Path, capsys: pytest.CaptureFixture
) -> None:
    write_labels("png", work / "labels")
    (work / "out").mkdir()
    (work / "out" / "thesis.tex").write_text("")
    with pytest.raises(SystemExit):
        prepare()
    assert "out exists and holds other files (no nuclei.json): move it" in capsys.readouterr().err
    assert [path.name for path in (work / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("missing", ["--labels", "--classes", "--output"])
def test_what_the_command_needs(
    missing: str, main: Callable, capsys: pytest.CaptureFixture
) -> None:
    options = [f"--{name}=x" for name in ("labels", "classes", "output") if f"--{name}" != missing]
    with pytest.raises(SystemExit):
        main(["custom", "images", *options])
    assert f"required: {missing}" in capsys.readouterr().err
