"""MoNuSeg 2018: from the release's images and Aperio XML outlines to the project's files."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...structures.masks import BoxMask
from ...structures.outline import check_outline
from .aperio import Region, read_regions
from .outline_mask import outline_mask
from .release import find_pairs, with_validation, write_release

# The archive holds 37 training images by now; the challenge and the papers since have trained on
# the other 30.
_ADDED_LATER = {
    "TCGA-BC-A217-01Z-00-DX1",
    "TCGA-F9-A8NY-01Z-00-DX1",
    "TCGA-FG-A87N-01Z-00-DX1",
    "TCGA-MH-A561-01Z-00-DX1",
    "TCGA-UZ-A9PJ-01Z-00-DX1",
    "TCGA-UZ-A9PN-01Z-00-DX1",
    "TCGA-XS-A8TJ-01Z-00-DX1",
}


def convert_monuseg(source: Path, output: Path, classes: Sequence[str] = ()) -> str:
    """Write train, val and test; nuclei that overlap stay whole.

    Args:
        source: the folder into which the release was unpacked.
        output: the folder that gets `train/`, `val/` and `test/`; replaced at the end.
        classes: those of a model of several, of which each nucleus has one, but it is unknown
            which; none: all nuclei are of one class, "nucleus".

    Returns:
        A summary, with counts of the images and outlines that were left out or cut.

    Raises:
        UserError: the release is incomplete or damaged, or `output` holds other files.
    """
    found, test = (
        find_pairs(source, split, "monuseg(2018)?", ".xml") for split in ("train", "test")
    )
    train = [pair for pair in found if pair[0].stem not in _ADDED_LATER]
    changes = Counter({"images left out: added after the challenge": len(found) - len(train)})
    masks = partial(_masks, changes=changes)
    return write_release(with_validation(source, train, test), output, masks, changes, classes)


def _masks(
    label_file: Path, height: int, width: int, *, changes: Counter[str]
) -> Iterator[BoxMask]:
    masks: list[BoxMask] = []
    holes: list[BoxMask] = []
    for region in read_regions(label_file):
        mask = _mask(region, height, width, changes)
        if mask is not None:
            (holes if region.is_hole else masks).append(mask)
    for hole in holes:
        _cut_out(hole, masks, changes)
    for mask in masks:
        if mask.area:
            yield mask
        else:
            changes["outlines left out: they enclose no pixel"] += 1


def _mask(region: Region, height: int, width: int, changes: Counter[str]) -> BoxMask | None:
    """The mask of a region, or None and a reason why there is none."""
    outline, size = region.outline, np.array([width, height])
    if len(np.unique(outline, axis=0)) < 3:
        changes["outlines left out: fewer than three points"] += 1
        return None
    if ((outline.max(axis=0) < -0.5) | (outline.min(axis=0) > size - 0.5)).any():
        changes["outlines left out: off the image"] += 1
        return None
    try:
        check_outline(outline, height, width)
    except UserError as error:
        raise UserError(f"{region.where} {error}") from None
    mask = outline_mask(outline, height, width)
    if mask.area == 0:
        changes["outlines left out: they enclose no pixel"] += 1
        return None
    if ((outline < -0.5) | (outline > size - 0.5)).any():
        changes["outlines cut at the edge of the image"] += 1
    return mask


def _cut_out(hole: BoxMask, masks: list[BoxMask], changes: Counter[str]) -> None:
    """Take a hole out of the smallest mask that most of it lies in."""
    around = [i for i, mask in enumerate(masks) if 2 * len(_common(hole, mask)) > hole.area]
    if not around:
        changes["holes left out: in no outline"] += 1
        return
    parent = min(around, key=lambda index: masks[index].area)
    mask = masks[parent]
    pixels = mask.pixels.copy()
    rows, columns = _common(hole, mask).T
    pixels[rows - mask.top, columns - mask.left] = False
    masks[parent] = BoxMask.of_frame(pixels, mask.left, mask.top)


def _common(one: BoxMask, other: BoxMask) -> np.ndarray:
    """Rows and columns in the image of the pixels that two masks share, (n, 2)."""
    x0, y0 = max(one.left, other.left), max(one.top, other.top)
    x1, y1 = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    if x1 <= x0 or y1 <= y0:
        return np.zeros((0, 2), dtype=int)
    parts = (
        each.pixels[y0 - each.top : y1 - each.top, x0 - each.left : x1 - each.left]
        for each in (one, other)
    )
    return np.argwhere(np.logical_and(*parts)) + np.array([y0, x0])
