"""The user's images and nuclei as one COCO JSON lists them."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ....errors import UserError
from ....structures.coco import UNKNOWN_NAME
from ....structures.masks import BoxMask
from ....structures.rle import decode_mask
from ...coco import dataset_dicts_from_json, metadata_from_json, read_nucleus_json
from .classes import ClassNames
from .labelled_image import LabelledImage


def coco_images(
    json_file: Path,
    image_root: Path,
    magnification: float | None,
    classes: ClassNames,
    changes: Counter[str],
) -> list[LabelledImage]:
    """List the images of a COCO JSON with their nuclei.

    Args:
        json_file: read as `load_nucleus_json` does.
        image_root: the folder that `file_name` is relative to.
        magnification: of images that do not state theirs; None: what their files do.
        classes: to whose names the names in `categories` belong.
        changes: gets what is left out, with counts.

    Raises:
        UserError: the file is not as `load_nucleus_json` wants it, or an image is missing.
    """
    data = read_nucleus_json(json_file)
    for image in data["images"]:
        image["magnification"] = image.get("magnification") or magnification
    records, left_out = dataset_dicts_from_json(data, json_file, image_root)
    changes.update({f"{reason} left out": count for reason, count in left_out.items()})
    if missing := [each["file_name"] for each in records if not Path(each["file_name"]).is_file()]:
        raise UserError(
            f"{json_file} lists {missing[0]}, which does not exist ({len(missing)} such images): "
            "add the images, or take them out of the JSON"
        )
    # Of unknown class, -1, is the last.
    names = [*metadata_from_json(data)["thing_classes"], UNKNOWN_NAME]
    return [
        LabelledImage(
            Path(record["file_name"]),
            Path(record["file_name"]).relative_to(image_root),
            partial(_nuclei, record, names, classes, json_file, changes),
            record["tissue"],
            record["magnification"],
        )
        for record in records
    ]


def _nuclei(
    record: dict[str, Any],
    names: list[str],
    classes: ClassNames,
    json_file: Path,
    changes: Counter[str],
    size: tuple[int, int],
) -> Iterator[tuple[BoxMask, int]]:
    if size != (record["height"], record["width"]):
        raise UserError(
            f"{record['file_name']} has {size[1]}×{size[0]} px, but {json_file} says "
            f"{record['width']}×{record['height']}: put back the image that was annotated"
        )
    nucleus = f"{json_file}: a nucleus of {record['file_name']}"
    seen: set[tuple[int, str]] = set()
    for annotation in record["annotations"]:
        class_index = classes.index(names[annotation["category_id"]], nucleus)
        outline = class_index, annotation["segmentation"]["counts"]
        if outline in seen:
            changes["outlines left out: they repeat another"] += 1
            continue
        seen.add(outline)
        yield decode_mask(annotation["segmentation"]), class_index
