"""Which nuclei of a slide exclude each other: of pairs, those that overlap too much.

N nuclei, E pairs of them (E, 2), the lower index first.
"""

from collections.abc import Iterator

import numpy as np
import shapely

BOXES_AT_ONCE = 100_000  # of which pairs are looked for; bounds memory


def overlapping_boxes(
    boxes: np.ndarray, areas: np.ndarray, iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which boxes overlap, as torchvision's NMS tells, and between which masks that is to be seen.

    Args:
        boxes: of the nuclei, integers, ends excluded, (N, 4).
        areas: px of their masks, (N,).
        iou: above which two overlap.

    Returns:
        The pairs whose boxes do, and those of the others whose masks may.
    """
    above, near = [np.zeros((0, 2), dtype=np.int64)], [np.zeros((0, 2), dtype=np.int64)]
    for pairs in _touching(boxes):
        one, other = pairs.T
        common = _common_areas(boxes[one], boxes[other])
        is_above = _box_iou(boxes[one], boxes[other], common) > iou
        most = np.minimum(common, np.minimum(areas[one], areas[other]))  # px that masks can share
        may_be_above = most > iou * (areas[one] + areas[other] - most)
        above.append(pairs[is_above])
        near.append(pairs[may_be_above & ~is_above])
    return np.concatenate(above), np.concatenate(near)


def _touching(boxes: np.ndarray) -> Iterator[np.ndarray]:
    """All pairs of boxes that touch or overlap, some at a time."""
    shapes = shapely.box(*boxes.T.astype(np.float64)) if len(boxes) else np.empty(0, object)
    tree = shapely.STRtree(shapes)
    for start in range(0, len(boxes), BOXES_AT_ONCE):
        one, other = tree.query(shapes[start : start + BOXES_AT_ONCE])
        one = one + start
        yield np.column_stack([one, other])[one < other]


def _common_areas(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    first = np.maximum(one[:, :2], other[:, :2])
    end = np.minimum(one[:, 2:], other[:, 2:])
    return (end - first).clip(0).prod(axis=1, dtype=np.int64)


def _box_iou(one: np.ndarray, other: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Rounded to float32 as torchvision's, which decides where it is the threshold, as 3/10 can."""
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1, dtype=np.int64) for boxes in (one, other)]
    return (common / (sum(areas) - common)).astype(np.float32).astype(np.float64)
