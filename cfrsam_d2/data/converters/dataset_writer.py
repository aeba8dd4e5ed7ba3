"""Writing a dataset: PNG images one by one, and at the end the COCO-style JSON about them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from ...errors import UserError
from ...files import add_png, make_folder, write_json, write_png
from ...structures.coco import UNKNOWN_NAME, coco_annotation
from ...structures.masks import BoxMask
from ..coco import read_nucleus_json
from ..points import mask_point

JSON_NAME = "nuclei.json"
IMAGE_FOLDER = "images"


class NucleusJsonWriter:
    """Writes one split of a dataset; only the records, never the images, stay in memory.

    The format is COCO's for instances (see datasets/README.md) with `tissue` and `magnification`
    for every image and a `point` for every nucleus.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        """
        Args:
            folder: gets `nuclei.json` and `images/`.
            class_names: names of the classes by index; category ids are index + 1. If there are
                nuclei of unknown class, the category "unknown" of id 0 follows.
        """
        self._folder = folder
        self._categories = [
            {"id": index + 1, "name": name} for index, name in enumerate(class_names)
        ]
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._write_image = add_png
        make_folder(folder / IMAGE_FOLDER)

    def read(self, without: str) -> None:
        """Take up what the folder has already, if it has anything.

        Args:
            without: file name of an image that is left out, as it will be added anew.

        Raises:
            UserError: its JSON is damaged, or of other classes.
        """
        self._write_image = write_png  # whole or not at all: the folder is in use
        path = self._folder / JSON_NAME
        if not path.is_file():
            return
        data = read_nucleus_json(path)
        classes = [category for category in data["categories"] if category["id"]]
        if classes != self._categories:
            raise UserError(
                f"{path} has the classes {', '.join(each['name'] for each in classes)}, not "
                f"{', '.join(each['name'] for each in self._categories)}: name another folder"
            )
        self._images = [each for each in data["images"] if each["file_name"] != without]
        kept = {image["id"] for image in self._images}
        self._annotations = [each for each in data["annotations"] if each["image_id"] in kept]

    def add(
        self,
        file_name: str,
        image: np.ndarray,
        nuclei: Iterable[tuple[BoxMask, int]],
        *,
        tissue: str,
        magnification: float = 40,
    ) -> None:
        """Write one image and keep the records of its nuclei.

        Args:
            file_name: of the PNG, inside `images/`.
            image: (H, W, 3) uint8, RGB.
            nuclei: pairs of a mask, whole and cut to the box of its pixels (one at least), and a
                class index, or `UNKNOWN_CLASS`.
            tissue: name of the tissue.
            magnification: of the objective, 40 or 20 for instance.
        """
        self._write_image(self._folder / IMAGE_FOLDER / file_name, image)
        image_id = _next_id(self._images)
        height, width = image.shape[:2]
        self._images.append(
            {
                "id": image_id,
                "file_name": file_name,
                "height": height,
                "width": width,
                "tissue": tissue,
                "magnification": magnification,
            }
        )
        for mask, class_index in nuclei:
            ids = {"id": _next_id(self._annotations), "image_id": image_id}
            nucleus = coco_annotation(mask, class_index, (height, width), point=mask_point(mask))
            self._annotations.append(ids | nucleus)

    def write(self) -> None:
        """Write the JSON; call it after the last image."""
        data = {
            "images": self._images,
            "annotations": self._annotations,
            "categories": self._used_categories(),
        }
        write_json(self._folder / JSON_NAME, data)

    def summary(self) -> str:
        """The counts of images, and of nuclei by tissue (rows) and class (columns), as text."""
        tissue_of = {image["id"]: image["tissue"] for image in self._images}
        images = Counter(tissue_of.values())
        nuclei = Counter(
            (tissue_of[annotation["image_id"]], annotation["category_id"])
            for annotation in self._annotations
        )
        filled = {annotation["image_id"] for annotation in self._annotations}
        categories = self._used_categories()
        ids = [category["id"] for category in categories]
        rows = []
        for tissue in sorted(images):
            counts = [nuclei[tissue, category] for category in ids]
            rows.append([tissue, images[tissue], *counts, sum(counts)])
        rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
        names = [category["name"] for category in categories]
        table = tabulate(rows, headers=["tissue", "images", *names, "nuclei"])
        return f"{table}\nimages without nuclei: {len(tissue_of) - len(filled)}"

    def _used_categories(self) -> list[dict[str, Any]]:
        """The classes, and the category of unknown class if there are such nuclei."""
        has_unknown = any(annotation["category_id"] == 0 for annotation in self._annotations)
        unknown = [{"id": 0, "name": UNKNOWN_NAME}] if has_unknown else []
        return [*self._categories, *unknown]


def _next_id(records: Sequence[dict[str, Any]]) -> int:
    """Behind that of the last one: they lie in the order of their ids."""
    return records[-1]["id"] + 1 if records else 1
