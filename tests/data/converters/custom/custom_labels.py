"""Two images with known nuclei, and their labels in each form that the project reads."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image
from pycocotools import mask as mask_utils
from scipy.io import savemat

from cfrsam_d2.export.outlines import mask_polygons
from cfrsam_d2.structures.masks import BoxMask

CLASSES = {1: "tumour", 2: "lymphocyte"}
CLASSES_YAML = "classes: {2: lymphocyte, 1: tumour}"
SIZES = {"tile.1": (40, 50), "deep/empty": (33, 32)}  # H, W in px, by name; the second has none


def _disc(x: int, y: int, radius: int) -> np.ndarray:
    canvas = np.zeros(SIZES["tile.1"], dtype=np.uint8)
    return cv2.circle(canvas, (x, y), radius, 1, cv2.FILLED).astype(bool)


# Class ids and masks: one with a hole, one in two parts, one that the edge cuts.
NUCLEI = (
    (2, _disc(12, 12, 9) & ~_disc(12, 12, 3)),
    (1, _disc(30, 8, 4) | _disc(40, 8, 3)),
    (1, _disc(48, 36, 7)),
)


def write_images(folder: Path) -> None:
    for index, (name, size) in enumerate(SIZES.items()):
        image = np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)
        path = folder / f"{name}.{'png' if index else 'tif'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def label_maps(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Instance ids, which are not contiguous, and class ids."""
    instances, types = np.zeros((2, *SIZES[name]), dtype=np.uint16)
    for index, (class_id, mask) in enumerate(NUCLEI if name == "tile.1" else ()):
        instances[mask] = (7, 300, 301)[index]
        types[mask] = class_id
    return instances, types


def feature(mask: np.ndarray, name: str) -> dict:
    """As QuPath writes it."""
    polygons = mask_polygons(BoxMask.of_frame(mask))
    one = len(polygons) == 1
    return {
        "type": "Feature",
        "id": "PathDetectionObject",
        "geometry": {
            "type": "Polygon" if one else "MultiPolygon",
            "coordinates": polygons[0] if one else polygons,
        },
        "properties": {"objectType": "detection", "classification": {"name": name}},
    }


def collection(features: Sequence[dict]) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features})


def coco_data() -> dict:
    images = [
        {"id": 5, "file_name": "tile.1.tif", "height": 40, "width": 50},
        {"id": 4, "file_name": "deep/empty.png", "height": 33, "width": 32, "tissue": "Skin"},
    ]
    annotations = []
    for index, (class_id, mask) in enumerate(NUCLEI):
        rle = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
        rle["counts"] = rle["counts"].decode()
        annotations.append(
            {"id": index, "image_id": 5, "category_id": 20 - class_id, "segmentation": rle}
        )
    categories = [{"id": 20 - class_id, "name": name} for class_id, name in CLASSES.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_labels(form: str, folder: Path) -> None:
    """Write the labels of both images.

    Args:
        form: "png", "tif", "npy", "mat with type_map", "mat with inst_type", "geojson" or "coco".
        folder: made if it is not there.
    """
    folder.mkdir(exist_ok=True)
    if form == "coco":
        (folder / "nuclei.json").write_text(json.dumps(coco_data()))
        return
    for name in SIZES:
        (folder / name).parent.mkdir(exist_ok=True)
        instances, types = label_maps(name)
        nuclei = NUCLEI if name == "tile.1" else ()
        if form == "png":
            Image.fromarray(instances).save(folder / f"{name}.png")
            Image.fromarray(types.astype(np.uint8)).save(folder / f"{name}_types.png")
        elif form == "tif":
            maps = {f"{name}.tif": instances, f"{name}_types.tif": types}
            for file, values in maps.items():
                tifffile.imwrite(folder / file, values.astype(np.uint32), compression="zlib")
        elif form == "npy":
            np.save(folder / f"{name}.npy", instances.astype(np.float64))
            np.save(folder / f"{name}_types.npy", types.astype(np.int8))
        elif form == "mat with type_map":
            savemat(folder / f"{name}.mat", {"inst_map": instances, "type_map": types})
        elif form == "mat with inst_type":
            # In the order of the ids, a column.
            data = {"inst_map": instances, "inst_type": np.array([[each[0]] for each in nuclei])}
            savemat(folder / f"{name}.mat", data)
        elif form == "geojson":
            features = [feature(mask, CLASSES[class_id]) for class_id, mask in nuclei]
            (folder / f"{name}.geojson").write_text(collection(features))
