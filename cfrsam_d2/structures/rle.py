"""Masks as COCO's compressed run-length encoding, and every other COCO outline turned into it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from ..errors import UserError
from .masks import BoxMask
from .outline import as_numbers, check_outline, is_off_image

LARGEST = 30_000_000  # px of a nucleus's box: those of nuclei have thousands
_MOST_PIXELS = 2**32 - 1  # that pycocotools counts


def encode_mask(mask: BoxMask, height: int, width: int) -> dict[str, Any]:
    """Encode a mask, in a time that does not depend on the size of its image.

    Args:
        mask: inside the image.
        height, width: of the image in px.

    Returns:
        `{"size": [height, width], "counts": str}`, which JSON can hold.
    """
    columns, rows = np.nonzero(mask.pixels.T)  # down the columns, as run lengths go
    places = (columns + mask.left) * height + rows + mask.top
    return _compressed(_runs(places, height * width), height, width)


def decode_mask(rle: dict[str, Any]) -> BoxMask:
    """Decode a compressed RLE to a mask in its box; one of 0×0 px if it has no pixel.

    Args:
        rle: what `encode_mask` or `rle_from_segmentation` returned.
    """
    height = rle["size"][0]
    runs = _run_lengths(rle["counts"])
    assert runs is not None, "damaged run lengths: they were not checked when they were read"
    ends = runs.cumsum()[1::2]  # of the runs inside
    inside = runs[1::2][: len(ends)]
    starts = np.repeat(ends - inside, inside)
    firsts = np.repeat(inside.cumsum() - inside, inside)
    columns, rows = np.divmod(starts + np.arange(len(starts)) - firsts, height)
    if rows.size == 0:
        return BoxMask(0, 0, np.zeros((0, 0), dtype=bool))
    left, top = int(columns[0]), int(rows.min())
    pixels = np.zeros((int(rows.max()) - top + 1, int(columns[-1]) - left + 1), dtype=bool)
    pixels[rows - top, columns - left] = True
    return BoxMask(left, top, pixels)


def rle_from_segmentation(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Turn any COCO outline of one instance into compressed RLE.

    Args:
        segmentation: polygons (each `[x0, y0, x1, y1, …]`; those of fewer than three points have
            no area and are left out), or RLE with `counts` as a list or as compressed text.
        height, width: size of the image in px.

    Returns:
        `{"size": [H, W], "counts": str}`; it has no pixel if the outline encloses none.

    Raises:
        UserError: not an outline, of another size than the image, damaged, or larger than any
            nucleus. The message starts in the middle of a sentence: the caller says which
            annotation it is.
    """
    if height * width > _MOST_PIXELS:
        raise UserError(
            f"is of an image of {width}×{height} px, too large for RLE: cut it in tiles"
        )
    rle = _rle_from_any(segmentation, height, width)
    left, top, box_width, box_height = map(int, mask_utils.toBbox(rle))
    if box_width * box_height > LARGEST:
        raise UserError(
            f"covers {box_width}×{box_height} px from ({left}, {top}) on, which is no nucleus: "
            "take it out"
        )
    return rle


def _rle_from_any(segmentation: Any, height: int, width: int) -> Any:
    if isinstance(segmentation, list):
        return _rle_from_polygons(segmentation, height, width)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise UserError("has neither polygons nor RLE as its segmentation: export it with outlines")
    size, counts = segmentation["size"], segmentation["counts"]
    if size != [height, width]:
        raise UserError(
            f"has an RLE of size {size} in an image of [height, width] = [{height}, {width}]:"
            " export masks and images at one size"
        )
    if _covered_pixels(counts) != height * width:
        raise UserError("has an RLE that does not cover its image: it is damaged, export it again")
    if isinstance(counts, list):
        return _compressed(counts, height, width)
    return _with_text_counts(segmentation)


def _runs(inside: np.ndarray, end: int) -> list[int]:
    """Lengths of the runs outside, inside, outside and so on of places that rise, up to `end`."""
    if inside.size == 0:
        return [end]
    gaps = np.flatnonzero(inside[1:] - inside[:-1] > 1)
    bounds = np.zeros(2 * gaps.size + 4, dtype=np.int64)
    bounds[1], bounds[3:-1:2] = inside[0], inside[gaps + 1]  # where runs inside start
    bounds[2:-2:2], bounds[-2] = inside[gaps] + 1, inside[-1] + 1  # and where they end
    bounds[-1] = end
    counts = (bounds[1:] - bounds[:-1]).tolist()
    return counts if counts[-1] else counts[:-1]


def _compressed(counts: Any, height: int, width: int) -> dict[str, Any]:
    """Run lengths as compressed text."""
    rle = mask_utils.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return _with_text_counts(rle)


def _rle_from_polygons(polygons: list, height: int, width: int) -> dict[str, Any]:
    outlines = [_corners(polygon) for polygon in polygons]
    # pycocotools would take four numbers for a box.
    outlines = [
        each for each in outlines if len(each) > 2 and not is_off_image(each, height, width)
    ]
    for outline in outlines:
        check_outline(outline, height, width)
    if not outlines:
        return encode_mask(BoxMask.of_frame(np.zeros((1, 1))), height, width)
    lists: list[Any] = [outline.ravel().tolist() for outline in outlines]
    return _with_text_counts(mask_utils.merge(mask_utils.frPyObjects(lists, height, width)))


def _corners(polygon: Any) -> np.ndarray:
    """The corners of `[x0, y0, x1, y1, …]` or `[[x0, y0], …]`, (n, 2)."""
    pairs = polygon if isinstance(polygon, list) else [None]
    values = [value for pair in pairs for value in (pair if isinstance(pair, list) else [pair])]
    if not {type(value) for value in values} <= {int, float}:
        raise UserError("has a polygon that is not a list of numbers: export it again")
    numbers = as_numbers(values)
    if numbers is None or numbers.size % 2:
        raise UserError("has a polygon that is not made of x, y pairs: export it again")
    return numbers.reshape(-1, 2)


def _covered_pixels(counts: Any) -> int:
    """Pixels that all runs cover; pycocotools reads past the end of runs that are too short."""
    if isinstance(counts, list):
        is_runs = all(type(run) is int and 0 <= run <= _MOST_PIXELS for run in counts)
        return sum(counts) if is_runs else -1
    runs = _run_lengths(counts)
    return -1 if runs is None else int(runs.sum())


def _run_lengths(counts: Any) -> np.ndarray | None:
    """The runs of a compressed text, (n,) int64; None if it is damaged."""
    if not isinstance(counts, str) or not counts or not counts.isascii():
        return None
    # Five bits a character, lowest first; bit 5 says that the number goes on, and bit 4 of its
    # last character is its sign.
    codes = np.frombuffer(counts.encode(), dtype=np.uint8).astype(np.int64) - 48
    last = (codes & 32) == 0
    if not last[-1] or codes.min() < 0 or codes.max() > 63:
        return None
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    lengths = np.diff(np.append(starts, codes.size))
    if lengths.max() > 7:  # 35 bits: no run is longer than 32, no difference than 33
        return None
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[last] & 16, np.int64(1) << (5 * lengths), 0)
    # From the fourth on, a number is the difference to the run before the previous one.
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return None if (runs < 0).any() else runs


def _with_text_counts(rle: Mapping[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in rle["size"]], "counts": text}
