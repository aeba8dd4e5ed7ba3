"""The datasets every config can name, registered when the package is imported.

Nothing is read or made until a dataset is loaded. The folders are below DETECTRON2_DATASETS.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import UserError
from .converters.dataset_writer import IMAGE_FOLDER, JSON_NAME
from .converters.pannuke_layout import PANNUKE_CLASSES, PANNUKE_TISSUES
from .converters.release import RELEASE_CLASSES, RELEASE_SPLITS, RELEASE_TISSUES
from .palette import class_colors
from .registration import register_nucleus_json
from .synthetic import (
    SYNTHETIC_CLASSES,
    SYNTHETIC_SPLITS,
    SYNTHETIC_TISSUES,
    make_synthetic_dataset,
)

# Dataset: its folder, the splits with a folder each, classes, tissues in report order.
_DATASETS = {
    "synthetic": ("synthetic_he", SYNTHETIC_SPLITS, SYNTHETIC_CLASSES, SYNTHETIC_TISSUES),
    "pannuke": ("pannuke", ("fold1", "fold2", "fold3"), PANNUKE_CLASSES, PANNUKE_TISSUES),
    "cpm17": ("cpm17", RELEASE_SPLITS, RELEASE_CLASSES, RELEASE_TISSUES),
    "monuseg": ("monuseg", RELEASE_SPLITS, RELEASE_CLASSES, RELEASE_TISSUES),
    "cpm17_unknown": ("cpm17_unknown", RELEASE_SPLITS, PANNUKE_CLASSES, RELEASE_TISSUES),
    "monuseg_unknown": ("monuseg_unknown", RELEASE_SPLITS, PANNUKE_CLASSES, RELEASE_TISSUES),
    "dsb2018": ("dsb2018", ("train",), PANNUKE_CLASSES, RELEASE_TISSUES),
}
# Whose nuclei are of unknown class, for models of PanNuke's classes.
_OF_UNKNOWN_CLASS = ("cpm17_unknown", "monuseg_unknown", "dsb2018")


def dataset_root() -> Path:
    """The folder of all datasets: the environment's DETECTRON2_DATASETS, or `./datasets`."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def register_builtin_datasets(root: Path) -> None:
    """Register `pannuke_fold{1,2,3}`, `{synthetic,cpm17,monuseg}_{train,val,test}`, and those of
    unknown class: `{cpm17,monuseg}_unknown_{train,val,test}` and `dsb2018_train`.

    Args:
        root: the folder of all datasets, where the files are or shall be.
    """
    for dataset, (folder, splits, classes, tissues) in _DATASETS.items():
        for split in splits:
            json_file = root / folder / split / JSON_NAME
            register_nucleus_json(
                f"{dataset}_{split}",
                json_file,
                json_file.parent / IMAGE_FOLDER,
                prepare=_preparation(dataset, root / folder, json_file),
                thing_classes=list(classes),
                thing_colors=class_colors(len(classes)),
                tissues=list(tissues),
            )


def _preparation(dataset: str, folder: Path, json_file: Path) -> Callable[[], None]:
    if dataset == "synthetic":
        return partial(make_synthetic_dataset, folder)
    return partial(_require, json_file, dataset)


def _require(json_file: Path, dataset: str) -> None:
    command = f"python datasets/prepare.py {dataset.removesuffix('_unknown')} SOURCE"
    if dataset in _OF_UNKNOWN_CLASS:
        command += " --classes datasets/pannuke_classes.yaml"
    if not json_file.is_file():
        raise UserError(
            f"{json_file} does not exist: run `{command}` "
            "(see datasets/README.md), or set DETECTRON2_DATASETS to where it is"
        )


register_builtin_datasets(dataset_root())
