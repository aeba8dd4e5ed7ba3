"""Stained tissue of the Data Science Bowl 2018: label maps of nuclei without classes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from ...errors import UserError
from ...structures.masks import BoxMask
from ..image_files import find_images
from .custom.label_files import find_labels, pair_labels
from .custom.label_maps import read_label_map
from .instance_map import instance_masks
from .release import MAGNIFICATION, write_release

LARGE = 36  # px: where nuclei are of this extent and more, the image is taken for one at 80×


def convert_dsb2018(source: Path, output: Path, classes: Sequence[str]) -> str:
    """Write its images with nuclei of unknown class; what was there before is replaced at the end.

    Their resolution is not known: where half of the nuclei are large, an image is taken for one at
    80×, else at 40×.

    Args:
        source: a folder with `images/` and a label map of each in `labels/`.
        output: the folder that gets `train/`.
        classes: of the model that trains with them.

    Returns:
        A summary.

    Raises:
        UserError: an image has no label map, a file is damaged, or `output` holds other files.
    """
    for name in ("images", "labels"):
        if not (source / name).is_dir():
            raise UserError(f"{source} has no folder {name}/: give the one that has both")
    images = find_images([source / "images"], output)
    _, labels = find_labels(source / "labels", set())
    labels = pair_labels(images, source / "labels", labels)
    pairs = [(image.path, label) for image, label in zip(images, labels, strict=True)]
    guesses: Counter[str] = Counter()
    return write_release(
        {"train": pairs}, output, _masks, guesses, classes, partial(_guess, guesses=guesses)
    )


def _masks(label_file: Path, height: int, width: int) -> Iterator[BoxMask]:
    ids, _ = read_label_map(label_file, (height, width))
    for _, mask in instance_masks(ids):
        yield mask


def _guess(masks: Sequence[BoxMask], guesses: Counter[str]) -> float:
    """The magnification of an image by the extents of its nuclei; `guesses` counts it."""
    extents = [max(mask.pixels.shape) for mask in masks]
    is_large = extents and median(extents) >= LARGE
    magnification = 2 * MAGNIFICATION if is_large else MAGNIFICATION
    guesses[f"images taken for {magnification}×"] += 1
    return magnification
