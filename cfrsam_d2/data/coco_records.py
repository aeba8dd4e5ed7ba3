"""The records of a COCO JSON, checked before anything is made of them."""

import os
import reprlib
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import UserError
from ..structures.coco import UNKNOWN_NAME

_TABLES = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "segmentation"),
    "categories": ("id", "name"),
}
_WHOLE = {"id", "image_id", "category_id", "height", "width"}


def check_records(data: Any, json_file: str | Path) -> None:
    """Check tables, needed keys, types, unique ids, and references.

    Args:
        data: the parsed JSON. Whole numbers that it writes as 1.0 become 1.
        json_file: what errors call it.

    Raises:
        UserError: something is missing or of another type, stands twice, or refers to nothing.
    """
    for table, keys in _TABLES.items():
        if not isinstance(data, dict) or not isinstance(data.get(table), list):
            raise UserError(f"{json_file} has no list `{table}`: export it as COCO instances")
        _check_table(data[table], table, keys, json_file)
    for image in data["images"]:
        _check_image(image, f"{json_file}: image {image['id']}")
    for category in data["categories"]:
        if not _is_text(category["name"]):
            raise _wrong(f"{json_file}: category {category['id']}", "name", category, "a text")
    if {category["name"] for category in data["categories"]} == {UNKNOWN_NAME}:
        raise UserError(
            f"{json_file} has no category but {UNKNOWN_NAME!r}: list the classes of the model in "
            "`categories`, even if no nucleus is of them"
        )
    _check_references(data, json_file)


def image_file(image_root: Path, file_name: str) -> Path:
    r"""Where an image lies that a COCO JSON names; it need not be there.

    Args:
        image_root: the folder of the images.
        file_name: below it, or from its own name on, as in `images/a.png`; folders may be separated
            by `\`, as on Windows.

    Raises:
        UserError: it lies outside. The message starts in the middle of a sentence: the caller says
            which image it is.
    """
    root, below = os.path.abspath(image_root), PurePosixPath(file_name.replace("\\", "/"))
    if not os.path.normpath(os.path.join(root, below)).startswith(os.path.join(root, "")):
        raise UserError(
            f"has the file_name {reprlib.repr(file_name)}, which is not below the folder of images "
            f"{image_root}: name it relative to that folder"
        )
    places = [image_root / below, image_root / file_name]
    if below.parts[0] == os.path.basename(root):
        places.append(image_root.joinpath(*below.parts[1:]))
    return next((place for place in places if os.path.isfile(place)), places[0])


def _check_table(records: list, table: str, keys: tuple[str, ...], json_file: str | Path) -> None:
    seen = set()
    for position, record in enumerate(records):
        where = f"{json_file}: entry {position} of `{table}`"
        for key in keys:
            if not isinstance(record, dict) or key not in record:
                raise UserError(
                    f"{where} has no `{key}`: export it as COCO instances with outlines"
                )
            if key in _WHOLE and type(record[key]) is float and record[key].is_integer():
                record[key] = int(record[key])
        if type(record["id"]) is not int:
            shown = reprlib.repr(record["id"])
            raise UserError(f"{where} has the id {shown}: number them with integers")
        if record["id"] in seen:
            raise UserError(
                f"{json_file}: id {record['id']} appears twice in `{table}`: make the ids unique"
            )
        seen.add(record["id"])


def _check_image(image: dict[str, Any], where: str) -> None:
    if not _is_text(image["file_name"]):
        raise _wrong(where, "file_name", image, "the name of a file")
    for side in ("height", "width"):
        if type(image[side]) is not int or image[side] < 1:
            raise _wrong(where, side, image, "a whole number of px")
    if image.get("tissue") and not _is_text(image["tissue"]):
        raise _wrong(where, "tissue", image, "a text")


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be printed and may be part of a path."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    return value.encode(errors="ignore").decode() == value  # a JSON may hold halves of characters


def _wrong(where: str, key: str, record: dict[str, Any], wanted: str) -> UserError:
    return UserError(f"{where} has the {key} {reprlib.repr(record[key])}: let it be {wanted}")


def _check_references(data: dict[str, Any], json_file: str | Path) -> None:
    image_ids = {image["id"] for image in data["images"]}
    category_ids = {category["id"] for category in data["categories"]}
    for annotation in data["annotations"]:
        where = f"{json_file}: annotation {annotation['id']}"
        image_id, category_id = annotation["image_id"], annotation["category_id"]
        if type(image_id) is not int or image_id not in image_ids:
            raise UserError(
                f"{where} is of image {reprlib.repr(image_id)}, which `images` does not list: "
                "add the image or remove the annotation"
            )
        if type(category_id) is not int or category_id not in category_ids:
            raise UserError(
                f"{where} is of category {reprlib.repr(category_id)}, but `categories` lists "
                f"{reprlib.repr(sorted(category_ids))}: add the category with its name"
            )
        if annotation.get("iscrowd") not in (None, 0, 1):
            raise _wrong(where, "iscrowd", annotation, "0 or 1")
