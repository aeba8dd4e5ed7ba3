"""A synthetic H&E-like dataset, made on first use: what the training demo and the tests run on.

`scene` says what lies where (its `nuclei` have shapes and overlaps), `rendering` stains it, and
this module writes the files.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ...files import folder_lock, replaced_folder, write_json
from ..converters.dataset_writer import NucleusJsonWriter
from .rendering import render
from .scene import SYNTHETIC_TISSUES, random_scene

__all__ = [
    "SYNTHETIC_CLASSES",
    "SYNTHETIC_SPLITS",
    "SYNTHETIC_TISSUES",
    "make_synthetic_dataset",
]

SYNTHETIC_CLASSES = ("epithelial", "lymphocyte", "spindle")
SYNTHETIC_SPLITS: Mapping[str, int] = MappingProxyType({"train": 160, "val": 32, "test": 48})
_IMAGE_SIZE = 128  # px
_EMPTY_EVERY = 15  # one image in so many has no nucleus; odd, so that both tissues have such
_VERSION = 1  # count up when an image would look different: stored datasets are then made again
_VERSION_FILE = "version.json"

logger = logging.getLogger(__name__)


def make_synthetic_dataset(folder: Path, counts: Mapping[str, int] = SYNTHETIC_SPLITS) -> None:
    """Make the dataset unless it is there already; it is always the same, image by image.

    Args:
        folder: gets a folder for every split, with `nuclei.json` and `images/`.
        counts: images by split.

    Raises:
        UserError: the folder cannot be written to, or holds other files.
    """
    version = {"version": _VERSION, "counts": dict(counts)}
    if _stored_version(folder) == version:
        return
    with folder_lock(folder):
        if _stored_version(folder) == version:  # made by another process meanwhile
            return
        logger.info("Making the synthetic dataset in %s", folder)
        with replaced_folder(folder, made_with=_VERSION_FILE) as partial:
            for split, count in counts.items():
                _write_split(partial / split, list(SYNTHETIC_SPLITS).index(split), count)
            write_json(partial / _VERSION_FILE, version)


def _stored_version(folder: Path) -> dict | None:
    try:
        return json.loads((folder / _VERSION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write_split(folder: Path, split_index: int, count: int) -> None:
    writer = NucleusJsonWriter(folder, SYNTHETIC_CLASSES)
    for index in range(count):
        rng = np.random.default_rng([_VERSION, split_index, index])
        tissue = SYNTHETIC_TISSUES[index % len(SYNTHETIC_TISSUES)]
        empty = index % _EMPTY_EVERY == _EMPTY_EVERY - 1
        scene = random_scene(rng, tissue, _IMAGE_SIZE, empty)
        writer.add(
            f"{folder.name}_{index:04d}.png",
            render(rng, scene),
            [(nucleus.mask(scene.size), nucleus.class_index) for nucleus in scene.nuclei],
            tissue=tissue,
        )
    writer.write()
