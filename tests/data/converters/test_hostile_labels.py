"""Labels that would take all memory, crash a library or mislead: one sentence each."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from label_readers import READERS, SIZE, read_coco, read_geojson, read_label_file
from PIL import Image
from scipy.io import savemat

from cfrsam_d2.data.converters import mat_process
from cfrsam_d2.data.converters.aperio import read_regions
from cfrsam_d2.data.converters.custom.classes import read_classes
from cfrsam_d2.data.converters.mat import read_mat
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.rle import rle_from_segmentation

NOT_X_Y = "object 1 has an outline that is not made of x, y: export it again"


def test_every_malformed_label_ends_in_a_sentence(shared: Path, tmp_path: Path) -> None:
    found = 0
    for file in sorted((shared / "cases" / "malformed").glob("*")):
        suffix, read = next(
            (each for start, each in READERS.items() if file.name.startswith(start)), ("", None)
        )
        if file.name.startswith("labelmap_"):
            suffix, read = ".npy" if b"NUMPY" in file.read_bytes()[:8] else ".png", read_label_file
        if read is None:
            continue
        copy = tmp_path / f"{file.stem}{suffix}"
        shutil.copyfile(file, copy)
        with pytest.raises(UserError) as raised:
            read(copy)
        assert "\n" not in str(raised.value), file.name
        found += 1
    assert found > 10


def coco(**changes: object) -> dict:
    image = {"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}
    nucleus = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    category = {"id": 1, "name": "a"}
    for record in (image, nucleus, category):
        record.update({key: value for key, value in changes.items() if key in record})
    nucleus |= {key: changes[key] for key in ("point", "iscrowd") if key in changes}
    image |= {key: changes[key] for key in ("tissue", "magnification") if key in changes}
    return {"images": [image], "annotations": [nucleus], "categories": [category]}


HUGE = {"size": [60000, 60000], "counts": [0, 36 * 10**8]}
NESTED: list = []
for _ in range(300):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segmentation": [[1e9, 0, 0, 1e9, 5, 5]]}, r"1 has a corner at \(1e\+09, 0\),"),
        ({"segmentation": [[1e8, 1, 5, 5, -1e8, 3]]}, "far outside its image of 40×32 px: export"),
        ({"segmentation": [[1e308, 1, 5, 5, -1e308, 3]]}, "far outside its image"),
        ({"segmentation": [[10**400, 1, 5, 5, 1, 3]]}, "not made of x, y pairs"),
        ({"segmentation": [[np.inf, 1, 5, 5, 1, 3]]}, "not made of x, y pairs"),
        ({"segmentation": [["1", 1, 5, 5, 1, 3]]}, "has a polygon that is not a list of numbers"),
        ({"segmentation": [[True, 1, 5, 5, 1, 3]]}, "has a polygon that is not a list of numbers"),
        ({"segmentation": [[0, 0, 40, 32] * 9999]}, "has an outline of .* px length, which is no"),
        ({"segmentation": NESTED}, "has a polygon that is not a list of numbers"),
        ({"height": 60000, "width": 60000, "segmentation": HUGE}, "covers 60000×60000 px"),
        ({"height": 70000, "width": 70000}, "of an image of 70000×70000 px, too large for RLE"),
        ({"height": np.inf}, "image 1 has the height inf: let it be a whole number of px"),
        ({"width": 0}, "image 1 has the width 0: let it be a whole number of px"),
        ({"width": True}, "image 1 has the width True: let it be a whole number"),
        ({"tissue": [[1]]}, r"image 1 has the tissue \[\[1\]\]: let it be a text"),
        ({"file_name": ""}, "image 1 has the file_name '': let it be the name of a file"),
        ({"file_name": "\ud800.png"}, "has the file_name .*: let it be the name of a file"),
        ({"file_name": "../a.png"}, "image 1 has the file_name '../a.png', which is not below the"),
        ({"file_name": "..\\a.png"}, "which is not below the folder of images"),
        ({"file_name": "/etc/passwd"}, "which is not below the folder of images"),
        ({"file_name": "."}, "which is not below the folder of images"),
        ({"name": NESTED}, "category 1 has the name .*: let it be a text"),
        ({"image_id": [1]}, r"annotation 1 is of image \[1\], which `images` does not list"),
        ({"category_id": {}}, "annotation 1 is of category {}, but `categories` lists"),
        ({"id": 1.5}, "has the id 1.5: number them with integers"),
        ({"id": True}, "has the id True: number them with integers"),
        ({"iscrowd": "0"}, "annotation 1 has the iscrowd '0': let it be 0 or 1"),
        ({"point": [1e300, 3]}, r"has the point \[1e\+300, 3\]: write \[x, y\] in px of the image"),
        ({"point": [10**400, 3]}, "has the point"),
        ({"magnification": 10**400}, "give the objective's"),
    ],
)  # fmt: skip
def test_coco(changes: dict, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(coco(**changes)))
    with pytest.raises(UserError, match=message):
        read_coco(tmp_path / "a.json")


def test_run_lengths_that_overflow() -> None:
    for counts in ("o" * 11 + "0", "oooooooo0" * 5, "P" * 3, "\ud800", "é"):
        with pytest.raises(UserError, match="does not cover its image: it is damaged"):
            rle_from_segmentation({"size": list(SIZE), "counts": counts}, *SIZE)


def polygon(*ring: object) -> dict:
    return {"geometry": {"type": "Polygon", "coordinates": [list(ring)]}}


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (polygon([1, 1], [1e8, 1], [9, 9]), "object 1 has a corner at"),
        (polygon([1, 1], [10**400, 1], [9, 9]), NOT_X_Y),
        (polygon([1, 1], [np.nan, 1], [9, 9]), NOT_X_Y),
        (polygon([1, 1], ["2", 1], [9, 9]), NOT_X_Y),
        (polygon([1, 1], [True, 1], [9, 9]), NOT_X_Y),
        (polygon([1, 1], [2], [9, 9]), NOT_X_Y),
        (polygon(0, 32, 40), NOT_X_Y),
        (polygon(*[[0, 0], [40, 32], [1, 9]] * 9999), "px length, which is no"),
        (polygon(NESTED), NOT_X_Y),
        ({"geometry": {"type": "MultiPolygon", "coordinates": [[]]}}, NOT_X_Y),
        ({"geometry": {"type": "MultiPolygon", "coordinates": 3}}, NOT_X_Y),
        ({"geometry": {"type": "GeometryCollection"}}, NOT_X_Y),
        ({"geometry": "Polygon"}, NOT_X_Y),
        ({"properties": 7, "geometry": None}, "object 1 has the properties 7, no names with"),
        ({"properties": {"classification": ["a", 1]}, "geometry": None}, "let its name be text"),
    ],
)  # fmt: skip
def test_geojson(feature: dict, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(json.dumps([feature]))
    with pytest.raises(UserError, match=message):
        read_geojson(tmp_path / "a.geojson")


def test_json_of_great_depth_or_in_no_encoding(tmp_path: Path) -> None:
    for name, read in (("a.json", read_coco), ("a.geojson", read_geojson)):
        for content, reason in (
            (b"[" * 200_000, "nested too deeply"),
            (b'{"a":' * 200_000, "nested too deeply"),
            (b'{"a": "\xe9"}', "can't decode"),
            (b"\xff\xfe\x00", "can't decode|truncated"),
            (b"[" + b"9" * 5000 + b"]", "limit"),
        ):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(UserError, match=rf"{name} is .*({reason}).*: export it again"):
                read(tmp_path / name)


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, {"inst_map": np.zeros(SIZE)}, allow_pickle=True)
    with pytest.raises(UserError, match=r"a\.npy holds Python objects, a dict perhaps: save the"):
        read_label_file(path)
    np.save(path, np.zeros(SIZE))
    whole = path.read_bytes()
    for old, new in (
        (b"<f8", b",f4"),
        (b"}", b"\xff"),
        (b"(32, 40)", b"(1<<40,)"),
        (b"40)", b"9" * 9),
    ):
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(UserError, match=r"a\.npy (is damaged or no array|has the shape)"):
            read_label_file(path)
    for value in (2.0**60, np.nan, 0.5, -1):
        np.save(path, np.full(SIZE, value))
        with pytest.raises(UserError, match=r"a\.npy (has the value|is not made of numbers)"):
            read_label_file(path)
    colours = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", colours)
    for name in ("a.png", "a.tif"):
        with pytest.raises(UserError, match=r"\(32, 40, 3\), colours perhaps, .*: save one"):
            read_label_file(tmp_path / name)
    with Image.new("L", (300, 300)) as large:
        large.save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    with pytest.raises(UserError, match=r"has 300×300 px, its image 40×32: export labels and"):
        read_label_file(tmp_path / "a.png")  # of another size: it is not decoded


def test_a_reader_that_crashes_is_started_again(tmp_path: Path, monkeypatch) -> None:
    savemat(tmp_path / "good.mat", {"inst_map": np.ones(SIZE)})
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, runpy\n"
        f"worker = runpy.run_path({str(mat_process._WORKER)!r})\n"
        "read, names = worker['read'], worker['main'].__globals__\n"
        "names['read'] = lambda path: os.abort() if 'bad' in path else read(path)\n"
        "names['main']()\n"
    )
    mat_process._PROCESS.end()
    monkeypatch.setattr(mat_process, "_WORKER", worker)
    try:
        for _ in range(2):
            assert read_mat(tmp_path / "good.mat")[0].sum() == SIZE[0] * SIZE[1]
            with pytest.raises(UserError, match=r"bad\.mat is damaged .* \(its reader crashed\)"):
                read_mat(tmp_path / "bad.mat")
    finally:
        mat_process._PROCESS.end()


def test_a_file_that_says_it_is_huge_takes_no_memory(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "bomb.mat"
    savemat(path, {"inst_map": np.ones(SIZE)})
    count = struct.pack("<II", 9, SIZE[0] * SIZE[1] * 8)  # of float64: bytes of all values
    assert path.read_bytes().count(count) == 1
    path.write_bytes(path.read_bytes().replace(count, struct.pack("<II", 9, 2**32 - 8)))
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import runpy\n"
        f"worker = runpy.run_path({str(mat_process._WORKER)!r})\n"
        "worker['main'].__globals__['MOST_MEMORY'] = 2**31\n"
        "worker['main'].__globals__['main']()\n"
    )
    mat_process._PROCESS.end()
    monkeypatch.setattr(mat_process, "_WORKER", worker)
    try:
        with pytest.raises(UserError, match=r"bomb\.mat does not fit into the memory"):
            read_mat(path)
    finally:
        mat_process._PROCESS.end()


def test_xml_and_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<a>" * 9_000)
    with pytest.raises(UserError, match="no XML"):
        read_regions(tmp_path / "a.xml")
    for text in (
        "[" * 1500,
        "classes: {1: &a [x, x], 2: [*a, *a]}",
        'classes: {1: "\\ud800"}',
        f"classes: {{{'9' * 400}: a}}",
        f"classes: {{0x{'f' * 9000}: a}}",
        "classes: {2024-99-99: a}",
        "\ufffe",
    ):
        (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"c\.yaml (is no YAML|has the class)"):
            read_classes(tmp_path / "c.yaml")
