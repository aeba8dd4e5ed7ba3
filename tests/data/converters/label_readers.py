"""Every reader of labels, as a function of a file alone: what it finds, or a UserError."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.data.converters.aperio import read_regions
from cfrsam_d2.data.converters.custom.classes import ClassNames
from cfrsam_d2.data.converters.custom.geojson import geojson_nuclei
from cfrsam_d2.data.converters.custom.label_maps import label_map_nuclei
from cfrsam_d2.structures.rle import rle_from_segmentation

SIZE = (32, 40)  # H, W in px of the image that belongs to every label
CLASSES = ClassNames(Path("classes.yaml"), {1: "a", 2: "b"})


def read_coco(path: Path) -> Any:
    return load_nucleus_json(path, path.parent)


def read_geojson(path: Path) -> Any:
    return list(geojson_nuclei(path, SIZE, CLASSES, Counter()))


def read_label_file(path: Path) -> Any:
    return list(label_map_nuclei(path, SIZE, CLASSES, Counter()))


def read_segmentation(path: Path) -> Any:
    return rle_from_segmentation(json.loads(path.read_bytes()), *SIZE)


# By the start of the names of the files in cases/malformed: the suffix to be given, and the reader.
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "coco_": (".json", read_coco),
    "huge": (".json", read_coco),
    "geojson_": (".geojson", read_geojson),
    "mat_": (".mat", read_label_file),
    "rle_": (".json", read_segmentation),
    "bomb": (".xml", read_regions),
}
