"""PanNuke: from the release's arrays to the project's files, and back to its mask format."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...files import folder_lock, replaced_folder
from ...structures.masks import BoxMask
from .dataset_writer import JSON_NAME, NucleusJsonWriter
from .instance_map import instance_masks
from .pannuke_layout import NUM_CHANNELS, PANNUKE_CLASSES, PanNukeFold

MAGNIFICATION = 40


def convert_pannuke_fold(fold: PanNukeFold, output: Path) -> NucleusJsonWriter:
    """Write the images and the JSON of a fold; what was there before is replaced at the end.

    Every instance stays whole: also one in several pieces or under an instance of another channel.

    Args:
        fold: from `find_pannuke_fold`.
        output: the folder that gets `nuclei.json` and `images/`.

    Returns:
        The writer, for its summary.

    Raises:
        UserError: an image or a mask holds something else, or `output` holds other files.
    """
    with folder_lock(output), replaced_folder(output, made_with=JSON_NAME) as folder:
        writer = NucleusJsonWriter(folder, PANNUKE_CLASSES)
        for index in tqdm(range(len(fold)), desc=f"fold {fold.number}", unit="image", disable=None):
            writer.add(
                f"fold{fold.number}_{index:04d}.png",
                fold.image(index),
                _instances(fold.channels(index)),
                tissue=fold.tissues[index],
                magnification=MAGNIFICATION,
            )
        writer.write()
    return writer


def pannuke_masks(
    masks: Iterable[BoxMask], classes: Iterable[int], height: int, width: int
) -> np.ndarray:
    """Lay nuclei out as one entry of PanNuke's `masks.npy`, which the official script reads.

    Args:
        masks: inside the image; a later nucleus covers an earlier one of its class.
        classes: index of each nucleus's class, 0 to 4.
        height, width: of the image in px.

    Returns:
        (H, W, 6) int32: ids 1..N by channel, and in the last 1 where no nucleus is.
    """
    channels = np.zeros((height, width, NUM_CHANNELS), dtype=np.int32)
    for instance_id, (mask, class_index) in enumerate(zip(masks, classes, strict=True), start=1):
        channels[..., class_index][mask.in_image][mask.pixels] = instance_id
    channels[..., -1] = ~channels[..., :-1].any(axis=-1)
    return channels


def _instances(channels: np.ndarray) -> Iterator[tuple[BoxMask, int]]:
    for class_index, inst_map in enumerate(np.moveaxis(channels, -1, 0)):
        for _, mask in instance_masks(inst_map):
            yield mask, class_index
