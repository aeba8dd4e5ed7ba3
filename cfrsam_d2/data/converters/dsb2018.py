"""Stained tissue of the Data Science Bowl 2018: label maps of nuclei without classes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ...errors import UserError
from ...files import folder_lock, replaced_folder
from ...structures.coco import UNKNOWN_CLASS
from ..image import read_rgb
from ..image_files import InputImage, find_images
from .custom.label_files import find_labels, pair_labels
from .custom.label_maps import read_label_map
from .dataset_writer import JSON_NAME, NucleusJsonWriter
from .instance_map import instance_masks

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
    pairs = zip(images, pair_labels(images, source / "labels", labels), strict=True)
    magnifications: Counter[int] = Counter()
    train = output / "train"
    with folder_lock(train), replaced_folder(train, made_with=JSON_NAME) as folder:
        writer = NucleusJsonWriter(folder, classes)
        for image, label in pairs:
            magnifications[_add(writer, image, label)] += 1
        writer.write()
    counts = [f"{count} images taken for {at}×" for at, count in sorted(magnifications.items())]
    return "\n".join([str(output), writer.summary(), *counts])


def _add(writer: NucleusJsonWriter, image: InputImage, label: Path) -> int:
    """Add an image, and return its magnification."""
    rgb = read_rgb(str(image.path))
    ids, _ = read_label_map(label, rgb.shape[:2])
    masks = [mask for _, mask in instance_masks(ids)]
    extents = [max(mask.pixels.shape) for mask in masks]
    magnification = 80 if extents and median(extents) >= LARGE else 40
    nuclei = [(mask, UNKNOWN_CLASS) for mask in masks]
    writer.add(image.path.stem + ".png", rgb, nuclei, tissue="unknown", magnification=magnification)
    return magnification
