"""Damaged labels of every form: a reader finds something in them or raises a UserError."""

import copy
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from label_readers import CLASSES, SIZE, read_coco, read_geojson, read_label_file
from PIL import Image
from scipy.io import savemat

from cfrsam_d2.data.converters.aperio import read_regions
from cfrsam_d2.data.converters.custom.classes import read_classes
from cfrsam_d2.errors import UserError

# The same examples on every run; a failure is not made smaller, as that may take minutes.
bounded = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

RING = [[1, 1], [9, 1], [9, 9], [1, 9]]
GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "PathCellObject",
            "geometry": {"type": "Polygon", "coordinates": [RING, [[3, 3], [4, 3], [4, 4]]]},
            "nucleusGeometry": {"type": "MultiPolygon", "coordinates": [[RING], [RING[:3]]]},
            "properties": {"objectType": "cell", "classification": {"name": "a"}},
        },
        {
            "type": "Feature",
            "geometry": {"type": "GeometryCollection", "geometries": []},
            "properties": {"classification": {"names": ["a", "b"]}},
        },
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [40, 0], [40, 32], [0, 32]]]},
            "properties": {"objectType": "annotation", "classification": "b"},
        },
    ],
}
COCO = {
    "images": [
        {"id": 1, "file_name": "a.png", "height": 32, "width": 40, "tissue": "t"},
        {"id": 2, "file_name": "b\\c.png", "height": 32.0, "width": 40, "magnification": 20},
    ],
    "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]},
        {
            "id": 2,
            "image_id": 2,
            "category_id": 2,
            "segmentation": {"size": [32, 40], "counts": [100, 5, 1175]},
            "iscrowd": 1,
            "attributes": {"occluded": False},
        },
        {
            "id": 3,
            "image_id": 1,
            "category_id": 2,
            "segmentation": {"size": [32, 40], "counts": "T35gT1"},
            "point": [3, 4],
        },
    ],
}
CLASSES_DATA = {"classes": dict(CLASSES.by_id)}
VALUES = (
    *(None, True, "", "a", "../x", "\ud800", "\0", "=1", [], {}, [[]], [[1, 2]], {"a": 1}),
    *(0, -1, 0.5, 1e8, 1e9, -1e9, 1e300, 1e308, 10**30, 10**400, 2**31, 2**63),
    *(float("nan"), float("inf"), "9" * 400),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON with every key in it."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def mutated(data: Any, draw: Callable) -> Any:
    """A copy of which some values are others, missing, repeated, or nested."""
    data = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(data))))
        change = draw(st.sampled_from(["replace", "replace", "drop", "repeat", "nest", "swap"]))
        if change == "drop":
            del container[key]
        elif change == "repeat" and isinstance(container, list):
            container *= 2
        elif change == "nest":
            container[key] = [container[key]]
        elif change == "swap":
            other, other_key = draw(st.sampled_from(list(places(data))))
            container[key] = copy.deepcopy(other[other_key])
        else:
            container[key] = draw(st.sampled_from(VALUES))
        if not list(places(data)):
            break
    return data


def damaged(content: bytes, draw: Callable) -> bytes:
    """Some bytes changed, some cut off or doubled."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(changed))] * 2)))
    kind = draw(st.sampled_from(["whole", "whole", "cut", "double"]))
    ends = {"whole": changed, "cut": changed[:end], "double": changed[:end] + changed[start:]}
    return bytes(ends[kind])


def survives(read: Callable[[Path], Any], suffix: str, content: bytes) -> None:
    """The reader ends, with a result or with a sentence that names the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"label{suffix}")
        path.write_bytes(content)
        message = ""
        try:
            read(path)
        except UserError as error:
            message = str(error)
        assert not message or (path.stem in message and len(message) < 2000)


@pytest.mark.parametrize(
    ("read", "suffix", "valid"), [(read_coco, ".json", COCO), (read_geojson, ".geojson", GEOJSON)]
)
@given(data=st.data())
@bounded
def test_json(read: Callable, suffix: str, valid: dict, data: st.DataObject) -> None:
    survives(read, suffix, json.dumps(mutated(valid, data.draw)).encode())
    survives(read, suffix, damaged(json.dumps(valid).encode(), data.draw))


@given(data=st.data())
@bounded
def test_yaml(data: st.DataObject) -> None:
    with suppress(ValueError):  # whole numbers too long to be written
        text = yaml.safe_dump(mutated(CLASSES_DATA, data.draw))
        survives(read_classes, ".yaml", text.encode(errors="replace"))
    survives(read_classes, ".yaml", damaged(yaml.safe_dump(CLASSES_DATA).encode(), data.draw))


def array_files() -> dict[str, bytes]:
    """Small label files by suffix."""
    ids = np.zeros(SIZE, dtype=np.uint16)
    ids[2:9, 3:9], ids[20:29, 3:9] = 1, 300
    files = {suffix: io.BytesIO() for suffix in (".npy", ".png", ".tif", ".mat")}
    np.save(files[".npy"], np.stack([ids, ids > 0], axis=-1))
    Image.fromarray(ids).save(files[".png"], format="png")
    tifffile.imwrite(files[".tif"], ids.astype(np.int64), compression="zlib")
    savemat(files[".mat"], {"inst_map": ids, "id": [[300], [1]], "class": [[1], [2]]})
    return {suffix: file.getvalue() for suffix, file in files.items()}


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif", ".mat"])
@given(data=st.data())
@bounded
def test_arrays(suffix: str, data: st.DataObject) -> None:
    survives(read_label_file, suffix, damaged(array_files()[suffix], data.draw))


@given(data=st.data())
@bounded
def test_xml(data: st.DataObject) -> None:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in RING)
    regions = "".join(f'<Region Id="{i}" NegativeROA="{i}">{vertices}</Region>' for i in (0, 1))
    survives(read_regions, ".xml", damaged(f"<A>{regions}</A>".encode(), data.draw))
