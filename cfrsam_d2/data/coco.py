"""Reading nuclei from COCO-style JSON: the project's own, or any COCO instance file."""

import json
import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.structures import BoxMode
from pycocotools import mask as mask_utils

from ..errors import UserError
from ..structures.rle import decode_mask, rle_from_segmentation
from .magnification import DEFAULT_MAGNIFICATION, check_magnification
from .palette import class_colors
from .pixel_size import FileMagnifications, stated_magnification
from .points import mask_point

DEFAULT_TISSUE = "unknown"
_COMPARED = 16  # images whose files are looked at, as all would take long

logger = logging.getLogger(__name__)


def load_nucleus_json(
    json_file: str | Path, image_root: str | Path, dataset_name: str | None = None
) -> list[dict[str, Any]]:
    """Read a COCO-style JSON of nuclei.

    Category ids become 0..K-1 in the order of the ids. An image without `tissue` is of tissue
    "unknown", one without `magnification` of what its file states, else of 40. Boxes are those of
    the masks; a nucleus without `point` gets the one of its mask. Crowd regions and outlines
    without a pixel are left out, and the log says how many.

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
            a mask does not fit its image, or classes or tissues differ from the metadata's.
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
    left_out: Counter[str] = Counter()
    for annotation in data["annotations"]:
        record = images[annotation["image_id"]]
        if annotation.get("iscrowd", 0):
            left_out["crowd regions"] += 1
            continue
        try:
            nucleus = _nucleus(annotation, record["height"], record["width"], contiguous_ids)
        except UserError as error:
            raise UserError(f"{json_file}: annotation {annotation['id']} {error}") from None
        if nucleus is None:
            left_out["outlines without a pixel"] += 1
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
    try:
        data = json.loads(Path(json_file).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{json_file} does not exist: check the path of the JSON file") from None
    except ValueError as error:
        raise UserError(f"{json_file} is not a JSON file ({error}): export it again") from None
    tables = {
        "images": ("id", "file_name", "height", "width"),
        "annotations": ("id", "image_id", "category_id", "segmentation"),
        "categories": ("id", "name"),
    }
    for table, keys in tables.items():
        if not isinstance(data, dict) or not isinstance(data.get(table), list):
            raise UserError(f"{json_file} has no list `{table}`: export it as COCO instances")
        _check_records(data[table], table, keys, json_file)
    _check_references(data, json_file)
    return data


def metadata_from_json(data: dict[str, Any]) -> dict[str, Any]:
    """The catalog's metadata that a file defines: classes, their ids and colours, tissues."""
    categories = sorted(data["categories"], key=lambda category: category["id"])
    return {
        "thing_classes": [category["name"] for category in categories],
        "thing_colors": class_colors(len(categories)),
        "thing_dataset_id_to_contiguous_id": {
            category["id"]: index for index, category in enumerate(categories)
        },
        "tissues": sorted({image.get("tissue") or DEFAULT_TISSUE for image in data["images"]}),
    }


def _check_records(records: list, table: str, keys: tuple[str, ...], json_file: str | Path) -> None:
    seen = set()
    for position, record in enumerate(records):
        for key in keys:
            if not isinstance(record, dict) or key not in record:
                raise UserError(
                    f"{json_file}: entry {position} of `{table}` has no `{key}`: "
                    "export it as COCO instances with outlines"
                )
        if not isinstance(record["id"], int):
            raise UserError(
                f"{json_file}: entry {position} of `{table}` has the id {record['id']!r}: "
                "number them with integers"
            )
        if record["id"] in seen:
            raise UserError(
                f"{json_file}: id {record['id']} appears twice in `{table}`: make the ids unique"
            )
        seen.add(record["id"])


def _check_references(data: dict[str, Any], json_file: str | Path) -> None:
    image_ids = {image["id"] for image in data["images"]}
    category_ids = {category["id"] for category in data["categories"]}
    for annotation in data["annotations"]:
        if annotation["image_id"] not in image_ids:
            raise UserError(
                f"{json_file}: annotation {annotation['id']} is of image "
                f"{annotation['image_id']!r}, which `images` does not list: "
                "add the image or remove the annotation"
            )
        if annotation["category_id"] not in category_ids:
            raise UserError(
                f"{json_file}: annotation {annotation['id']} is of category "
                f"{annotation['category_id']!r}, but `categories` lists {sorted(category_ids)}: "
                "add the category with its name"
            )


def _dataset_dict(image: dict[str, Any], json_file: str | Path, image_root: Path) -> dict[str, Any]:
    file_name = str(image_root / image["file_name"])
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
) -> dict[str, Any] | None:
    """One annotation of a dataset dict, or None if its mask has no pixel."""
    rle: Any = rle_from_segmentation(annotation["segmentation"], height, width)
    if mask_utils.area(rle) == 0:
        return None
    point = annotation.get("point")
    if point is None:
        point = list(mask_point(decode_mask(rle)))
    if not _is_point(point):
        raise UserError(f"has the point {point!r}: write [x, y] in px, or leave it out")
    return {
        "bbox": mask_utils.toBbox(rle).tolist(),
        "bbox_mode": BoxMode.XYWH_ABS,
        "segmentation": rle,
        "category_id": contiguous_ids[annotation["category_id"]],
        "point": point,
        "iscrowd": 0,
    }


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(number, int | float) and math.isfinite(number) for number in value)
    )


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
