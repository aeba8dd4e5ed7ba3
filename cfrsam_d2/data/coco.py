"""Reading nuclei from COCO-style JSON: the project's own, or any COCO instance file."""

import logging
import reprlib
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.structures import BoxMode
from pycocotools import mask as mask_utils

from ..errors import UserError
from ..structures.coco import UNKNOWN_CLASS, UNKNOWN_NAME
from ..structures.masks import BoxMask
from ..structures.outline import as_numbers
from ..structures.rle import decode_mask, rle_from_segmentation
from .coco_records import check_records, image_file
from .json_file import read_json
from .magnification import DEFAULT_MAGNIFICATION, check_magnification
from .palette import class_colors
from .pixel_size import FileMagnifications, stated_magnification
from .points import mask_point

DEFAULT_TISSUE = "unknown"
CROWD = "crowd regions (of nuclei that count, set `iscrowd` to 0)"
_COMPARED = 16  # images whose files are looked at, as all would take long

logger = logging.getLogger(__name__)


def load_nucleus_json(
    json_file: str | Path, image_root: str | Path, dataset_name: str | None = None
) -> list[dict[str, Any]]:
    """Read a COCO-style JSON of nuclei.

    Category ids become 0..K-1 in the order of the ids, that of the category "unknown" -1, which is
    no class (`UNKNOWN_CLASS`). An image without `tissue` is of tissue
    "unknown", one without `magnification` of what its file states, else of 40. Boxes are those of
    the masks; a nucleus without `point` gets the one of its mask. Crowd regions and outlines
    without a pixel are left out, and the log says how many; masks drawn with CVAT's brush, which
    calls them crowds, are nuclei if they are in one piece.

    Args:
        json_file: the file; its format is described in datasets/README.md.
        image_root: the folder that `file_name` is relative to.
        dataset_name: a registered name, whose metadata get the classes and tissues of the file.

    Returns:
        Dataset dicts in the order of the file. Each has `file_name`, `image_id`, `height`,
        `width`, `tissue`, `magnification` and `annotations`, each of these with `bbox` (XYWH),
        `bbox_mode`, `segmentation` (compressed RLE), `category_id`, `point` ([x, y] in px) and
        `iscrowd`.

    Raises:
        UserError: the file is missing or is not such a JSON, ids are repeated or refer to nothing,
            an image is listed twice or lies outside of its folder, a mask does not fit its image,
            or classes or tissues differ from the metadata's.
    """
    data = read_nucleus_json(json_file)
    metadata = metadata_from_json(data)
    if dataset_name is not None:
        _set_metadata(dataset_name, metadata, json_file)
    dataset_dicts, left_out = dataset_dicts_from_json(data, json_file, image_root)
    _compare_with_files(dataset_dicts[:_COMPARED], json_file)
    for reason, count in left_out.items():
        logger.warning("%s: left out %d %s", json_file, count, reason)
    return dataset_dicts


def dataset_dicts_from_json(
    data: dict[str, Any], json_file: str | Path, image_root: str | Path
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The second half of `load_nucleus_json`.

    Args:
        data: what `read_nucleus_json` returned.
        json_file: what errors call it.
        image_root: the folder that `file_name` is relative to.

    Returns:
        The dataset dicts, and what was left out, with counts.

    Raises:
        UserError: see `load_nucleus_json`.
    """
    contiguous_ids = metadata_from_json(data)["thing_dataset_id_to_contiguous_id"]
    images = {
        image["id"]: _dataset_dict(image, json_file, Path(image_root)) for image in data["images"]
    }
    _check_listed_once(list(images.values()), json_file)
    left_out: Counter[str] = Counter()
    for annotation in data["annotations"]:
        record = images[annotation["image_id"]]
        try:
            nucleus = _nucleus(annotation, record["height"], record["width"], contiguous_ids)
        except UserError as error:
            raise UserError(f"{json_file}: annotation {annotation['id']} {error}") from None
        if isinstance(nucleus, str):
            left_out[nucleus] += 1
            continue
        record["annotations"].append(nucleus)
    return list(images.values()), left_out


def read_nucleus_json(json_file: str | Path) -> dict[str, Any]:
    """Read the file and check its records: needed keys, unique ids, references that exist.

    Returns:
        The parsed JSON: `images`, `annotations` and `categories`.

    Raises:
        UserError: see `load_nucleus_json`.
    """
    data = read_json(json_file)
    check_records(data, json_file)
    return data


def metadata_from_json(data: dict[str, Any]) -> dict[str, Any]:
    """The catalog's metadata that a file defines: classes, their ids and colours, tissues."""
    categories = sorted(data["categories"], key=lambda category: category["id"])
    categories = [category for category in categories if category["name"] != UNKNOWN_NAME]
    return {
        "thing_classes": [category["name"] for category in categories],
        "thing_colors": class_colors(len(categories)),
        "thing_dataset_id_to_contiguous_id": {
            category["id"]: index for index, category in enumerate(categories)
        },
        "tissues": sorted({image.get("tissue") or DEFAULT_TISSUE for image in data["images"]}),
    }


def _dataset_dict(image: dict[str, Any], json_file: str | Path, image_root: Path) -> dict[str, Any]:
    try:
        file_name = str(image_file(image_root, image["file_name"]))
    except UserError as error:
        raise UserError(f"{json_file}: image {image['id']} {error}") from None
    magnification = image.get("magnification") or stated_magnification(file_name)
    magnification = magnification or DEFAULT_MAGNIFICATION
    check_magnification(f"{json_file}: the magnification of image {image['id']}", magnification)
    return {
        "file_name": file_name,
        "image_id": image["id"],
        "height": image["height"],
        "width": image["width"],
        "tissue": image.get("tissue") or DEFAULT_TISSUE,
        "magnification": magnification,
        "annotations": [],
    }


def _compare_with_files(dataset_dicts: list[dict[str, Any]], json_file: str | Path) -> None:
    """Say in the log if the file of an image states another magnification than the JSON."""
    of_files = FileMagnifications()
    for each in dataset_dicts:
        instead = f"{json_file} says {each['magnification']}, which counts"
        of_files.choose(each["file_name"], each["magnification"], instead)


def _nucleus(
    annotation: dict[str, Any], height: int, width: int, contiguous_ids: dict[int, int]
) -> dict[str, Any] | str:
    """One annotation of a dataset dict, or what it is if it is no nucleus."""
    if annotation.get("iscrowd") and not _is_of_cvat(annotation):
        return CROWD
    rle: Any = rle_from_segmentation(annotation["segmentation"], height, width)
    if mask_utils.area(rle) == 0:
        return "outlines without a pixel"
    if annotation.get("iscrowd") and not _is_in_one_piece(decode_mask(rle)):
        return CROWD
    point = annotation.get("point")
    if point is None:
        point = list(mask_point(decode_mask(rle)))
    if not _is_point(point, height, width):
        shown = reprlib.repr(point)
        raise UserError(f"has the point {shown}: write [x, y] in px of the image, or leave it out")
    return {
        "bbox": mask_utils.toBbox(rle).tolist(),
        "bbox_mode": BoxMode.XYWH_ABS,
        "segmentation": rle,
        "category_id": contiguous_ids.get(annotation["category_id"], UNKNOWN_CLASS),
        "point": point,
        "iscrowd": 0,
    }


def _is_of_cvat(annotation: dict[str, Any]) -> bool:
    """Whether CVAT wrote it, which calls every mask that is drawn with its brush a crowd."""
    attributes = annotation.get("attributes")
    is_mask = isinstance(annotation["segmentation"], dict)
    return is_mask and isinstance(attributes, dict) and "occluded" in attributes


def _is_in_one_piece(mask: BoxMask) -> bool:
    return cv2.connectedComponents(mask.pixels.astype(np.uint8), connectivity=8)[0] == 2


def _check_listed_once(records: list[dict[str, Any]], json_file: str | Path) -> None:
    id_of: dict[str, int] = {}
    for record in records:
        path, image_id = record["file_name"], record["image_id"]
        if id_of.setdefault(path, image_id) != image_id:
            raise UserError(
                f"{json_file} lists {path} twice, as images {id_of[path]} and {image_id}: let all "
                "its annotations be of one of them, and remove the other"
            )


def _is_point(value: Any, height: int, width: int) -> bool:
    """Whether a value is [x, y] in the image or at its edge."""
    numbers = as_numbers(value) if isinstance(value, list) else None
    if numbers is None or numbers.size != 2:
        return False
    return bool((numbers >= -1).all() and (numbers <= (width, height)).all())


def _set_metadata(dataset_name: str, metadata: dict[str, Any], json_file: str | Path) -> None:
    registered = MetadataCatalog.get(dataset_name)
    classes = registered.get("thing_classes", metadata["thing_classes"])
    if metadata["thing_classes"] != classes:
        raise UserError(
            f"{json_file} has the classes {metadata['thing_classes']}, but {dataset_name} has "
            f"{classes}: prepare the dataset again"
        )
    tissues = registered.get("tissues", metadata["tissues"])
    if unknown := sorted(set(metadata["tissues"]) - set(tissues)):
        raise UserError(
            f"{json_file} has images of tissue {unknown[0]!r}, but {dataset_name} has {tissues}: "
            "prepare the dataset again"
        )
    registered.set(**{**metadata, "tissues": tissues})
