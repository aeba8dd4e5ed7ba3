"""Masks as COCO's compressed run-length encoding, and every other COCO outline turned into it."""

from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from ..errors import UserError


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Encode a mask.

    Args:
        mask: (H, W) array; pixels other than 0 are encoded.

    Returns:
        `{"size": [H, W], "counts": str}`, which JSON can hold.
    """
    rle = mask_utils.encode(np.asfortranarray(mask != 0, dtype=np.uint8))
    return _with_text_counts(rle)


def decode_mask(rle: dict[str, Any]) -> np.ndarray:
    """Decode a compressed RLE to a (H, W) boolean mask."""
    return mask_utils.decode(rle).astype(bool)


def encode_pixels(pixels: np.ndarray, height: int, width: int) -> dict[str, Any]:
    """Encode a mask that is given by its pixels; a fraction of the time of `encode_mask`.

    Args:
        pixels: indices into the flattened (H, W) image, one at least.
        height, width: H and W.

    Returns:
        `{"size": [H, W], "counts": str}`.
    """
    runs = {"size": [height, width], "counts": _runs(pixels, height, width)}
    return _with_text_counts(mask_utils.frPyObjects(runs, height, width))


def mask_pixels(rle: dict[str, Any]) -> np.ndarray:
    """Return the indices of an encoded mask's pixels in the flattened (H, W) image."""
    mask = decode_mask(rle)
    height, width = mask.shape
    # Run lengths go down the columns, and so lie the decoded pixels in memory.
    columns, rows = np.divmod(np.flatnonzero(mask.T), height)
    return rows * width + columns


def rle_from_segmentation(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Turn any COCO outline of one instance into compressed RLE.

    Args:
        segmentation: polygons (each `[x0, y0, x1, y1, …]`; those of fewer than three points have
            no area and are left out), or RLE with `counts` as a list or as compressed text.
        height, width: size of the image in px.

    Returns:
        `{"size": [H, W], "counts": str}`; it has no pixel if the outline encloses none.

    Raises:
        UserError: not an outline, of another size than the image, or damaged. The message starts
            in the middle of a sentence: the caller says which annotation it is.
    """
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
        return _with_text_counts(mask_utils.frPyObjects(segmentation, height, width))
    return _with_text_counts(segmentation)


def _runs(pixels: np.ndarray, height: int, width: int) -> list[int]:
    """Lengths of the runs outside, inside, outside and so on, down the columns."""
    rows, columns = np.divmod(pixels, width)
    inside = np.sort(columns * height + rows)
    gaps = np.flatnonzero(inside[1:] - inside[:-1] > 1)
    bounds = np.zeros(2 * gaps.size + 4, dtype=np.intp)
    bounds[1], bounds[3:-1:2] = inside[0], inside[gaps + 1]  # where runs inside start
    bounds[2:-2:2], bounds[-2] = inside[gaps] + 1, inside[-1] + 1  # and where they end
    bounds[-1] = height * width
    counts = (bounds[1:] - bounds[:-1]).tolist()
    return counts if counts[-1] else counts[:-1]


def _rle_from_polygons(polygons: list, height: int, width: int) -> dict[str, Any]:
    try:
        outlines = [np.asarray(polygon, dtype=np.float64).ravel() for polygon in polygons]
    except (TypeError, ValueError):
        raise UserError("has a polygon that is not a list of numbers: export it again") from None
    if any(outline.size % 2 or not np.isfinite(outline).all() for outline in outlines):
        raise UserError("has a polygon that is not made of x, y pairs: export it again")
    # pycocotools would take four numbers for a box.
    outlines = [outline.tolist() for outline in outlines if outline.size >= 6]
    if not outlines:
        return encode_mask(np.zeros((height, width), dtype=np.uint8))
    return _with_text_counts(
        mask_utils.merge(mask_utils.frPyObjects(outlines, height, width)),
    )


def _covered_pixels(counts: Any) -> int:
    """Pixels that all runs cover; pycocotools reads past the end of runs that are too short."""
    if isinstance(counts, list):
        is_runs = all(isinstance(run, int) and run >= 0 for run in counts)
        return sum(counts) if is_runs else -1
    if not isinstance(counts, str) or not counts:
        return -1
    # Five bits a character, lowest first; bit 5 says that the number goes on, and bit 4 of its
    # last character is its sign.
    codes = np.frombuffer(counts.encode(), dtype=np.uint8).astype(np.int64) - 48
    last = (codes & 32) == 0
    if not last[-1] or codes.min() < 0 or codes.max() > 63:
        return -1
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    lengths = np.diff(np.append(starts, codes.size))
    if lengths.max() > 12:
        return -1
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[last] & 16, np.int64(1) << (5 * lengths), 0)
    # From the fourth on, a number is the difference to the run before the previous one.
    odd, even = np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])
    if numbers[0] < 0 or (odd < 0).any() or (even < 0).any():
        return -1
    return int(numbers[0] + odd.sum() + even.sum())


def _with_text_counts(rle: dict[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in rle["size"]], "counts": text}
