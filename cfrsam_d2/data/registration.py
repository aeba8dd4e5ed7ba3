"""Putting nucleus datasets into Detectron2's catalogs, the user's own among them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from ..errors import UserError
from .coco import load_nucleus_json, metadata_from_json, read_nucleus_json


def register_nucleus_json(
    name: str,
    json_file: str | Path,
    image_root: str | Path,
    *,
    prepare: Callable[[], None] = lambda: None,
    **metadata: Any,
) -> None:
    """Register a COCO-style JSON; a dataset of that name is replaced. Nothing is read yet.

    Args:
        name: what configs call it.
        json_file: see `load_nucleus_json`.
        image_root: the folder of the images.
        prepare: called before each reading; makes the file, or says how to.
        metadata: what shall be known before the file is read, `thing_classes` for instance.
    """
    unregister(name)

    def load() -> list[dict[str, Any]]:
        prepare()
        return load_nucleus_json(json_file, image_root, name)

    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        json_file=str(json_file),
        image_root=str(image_root),
        evaluator_type="nucleus",
        **metadata,
    )


def unregister(name: str) -> None:
    """Take a dataset out of both catalogs, if it is there."""
    for catalog in (DatasetCatalog, MetadataCatalog):
        if name in catalog.list():
            catalog.remove(name)


def register_custom_datasets(cfg: CfgNode) -> None:
    """Register the user's own data as custom_train, custom_val, custom_test, custom_<name>.

    Args:
        cfg: `DATASETS.CUSTOM.{TRAIN,VAL,TEST}`, and others of any <NAME>, each have `JSON`, the
            file, and `IMAGES`, the folder of its images (empty: the folder of the file). One
            without a file is not there.

    Raises:
        UserError: a file or folder is missing or is not as `load_nucleus_json` wants it, or the
            splits have different classes.
    """
    classes_of_first: tuple[str, list[str]] | None = None
    for name in [name for name in DatasetCatalog.list() if name.startswith("custom_")]:
        unregister(name)
    for split, node in cfg.DATASETS.CUSTOM.items():
        name = f"custom_{split.lower()}"
        if not node.JSON:
            continue
        image_root = Path(node.IMAGES or Path(node.JSON).parent)
        if not image_root.is_dir():
            raise UserError(
                f"{image_root} is not a folder: "
                f"let DATASETS.CUSTOM.{split}.IMAGES name the folder of the images"
            )
        metadata = metadata_from_json(read_nucleus_json(node.JSON))
        classes = metadata["thing_classes"]
        classes_of_first = classes_of_first or (node.JSON, classes)
        if classes != classes_of_first[1]:
            raise UserError(
                f"{node.JSON} has the classes {classes}, but {classes_of_first[0]} has "
                f"{classes_of_first[1]}: let every split list the same `categories`"
            )
        register_nucleus_json(name, node.JSON, image_root, **metadata)
