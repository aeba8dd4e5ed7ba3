"""MoNuSeg 2018: from the release's images and Aperio XML outlines to the project's files."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from ...errors import UserError
from ...structures.masks import BoxMask
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


def convert_monuseg(source: Path, output: Path) -> str:
    """Write train, val and test; nuclei that overlap stay whole.

    Args:
        source: the folder into which the release was unpacked.
        output: the folder that gets `train/`, `val/` and `test/`; replaced at the end.

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
    return write_release(with_validation(source, train, test), output, masks, changes)


def read_outlines(path: str | Path) -> list[np.ndarray]:
    """Read the outlines of an Aperio ImageScope annotation file, of all its layers.

    Args:
        path: an XML file with `Region`s of `Vertex` elements that have `X` and `Y`.

    Returns:
        One (V, 2) array of x, y in px per region; V may be any number, 0 too.

    Raises:
        UserError: the file is damaged, has no region, or a vertex without two numbers.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path} is damaged or no XML ({error}): download it again") from None
    outlines = [_outline(region, path) for region in root.iter("Region")]
    if not outlines:
        raise UserError(f"{path} has no Region: give the annotations as ImageScope saves them")
    return outlines


def outline_mask(outline: np.ndarray, height: int, width: int) -> BoxMask:
    """Fill an outline: a pixel belongs to it if its centre lies inside or on it.

    Args:
        outline: (V, 2) x, y in px, V ≥ 1; the centre of column 3, row 5 is (3, 5). It may leave the
            image.
        height: H in px.
        width: W in px.

    Returns:
        The mask; without a pixel if the outline encloses no centre or is off the image.
    """
    left, top = np.ceil(outline.min(axis=0)).clip(min=0).astype(int).tolist()
    right, bottom = np.floor(outline.max(axis=0)).clip(max=(width - 1, height - 1)).astype(int)
    columns, contour = range(left, right + 1), outline.astype(np.float32)
    inside = [
        [cv2.pointPolygonTest(contour, (x, y), measureDist=False) >= 0 for x in columns]
        for y in range(top, bottom + 1)
    ]
    return BoxMask.of_frame(np.array(inside, dtype=bool, ndmin=2), left, top)


def _outline(region: ElementTree.Element, path: str | Path) -> np.ndarray:
    try:
        vertices = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
        outline = np.array(vertices).reshape(-1, 2)
        if not np.isfinite(outline).all():
            raise ValueError("not finite")
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path}: region {region.get('Id')} has a vertex without a number as X or Y ({error}): "
            "correct it or remove the region"
        ) from None
    return outline


def _masks(
    label_file: Path, height: int, width: int, *, changes: Counter[str]
) -> Iterator[BoxMask]:
    size = np.array([width, height])
    for outline in read_outlines(label_file):
        if len(np.unique(outline, axis=0)) < 3:
            changes["outlines left out: fewer than three points"] += 1
            continue
        if ((outline.max(axis=0) < -0.5) | (outline.min(axis=0) > size - 0.5)).any():
            changes["outlines left out: off the image"] += 1
            continue
        mask = outline_mask(outline, height, width)
        if mask.area == 0:
            changes["outlines left out: they enclose no pixel"] += 1
            continue
        if ((outline < -0.5) | (outline > size - 0.5)).any():
            changes["outlines cut at the edge of the image"] += 1
        yield mask
