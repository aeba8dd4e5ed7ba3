"""Nuclei drawn onto their image: contours by class and points.

N nuclei, H×W image px, s the integer upscaling factor, P vertices of an outline.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from ..structures.masks import BoxMask

RGB = tuple[int, int, int]

HALO_COLOR = (20, 20, 20)
CONTOUR_WIDTH = 2  # px of the upscaled image
HALO_WIDTH = 4
POINT_RADIUS = 3
POINT_OUTLINE = 1

_TARGET_SIDE = 1024  # px of an upscaled image's longer side
_MAX_SCALE = 8


def upscaling_factor(height: int, width: int) -> int:
    """The factor that makes contours thin relative to nuclei and keeps the picture readable."""
    return min(_MAX_SCALE, -(-_TARGET_SIDE // max(height, width)))


def draw_instances(
    image: np.ndarray,
    masks: Iterable[BoxMask] | None,
    classes: Sequence[int],
    points: np.ndarray | None,
    colors: Sequence[RGB],
    scale: int,
) -> np.ndarray:
    """Draw contours and points, coloured by class, over the upscaled image.

    A dark halo lies under every contour, so that no halo covers a neighbour's contour.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: N masks, read once; None draws points alone.
        classes: N class numbers, indices into `colors`.
        points: (N, 2) x, y in pixel-index units (the centre of the first pixel is 0, 0); None
            draws contours alone.
        colors: one RGB triple per class.
        scale: integer upscaling factor s, at least 1.

    Returns:
        (s·H, s·W, 3) uint8 RGB; `image` stays as it is.
    """
    height, width = image.shape[:2]
    size = (width * scale, height * scale)
    canvas = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))
    outlines = [mask_outlines(mask, scale) for mask in (() if masks is None else masks)]
    for polygons in outlines:
        cv2.polylines(canvas, polygons, True, HALO_COLOR, HALO_WIDTH, cv2.LINE_AA)
    for polygons, category in zip(outlines, classes, strict=masks is not None):
        cv2.polylines(canvas, polygons, True, colors[category], CONTOUR_WIDTH, cv2.LINE_AA)
    if points is not None:
        for point, category in zip(points, classes, strict=True):
            _draw_point(canvas, point, colors[category], scale)
    return canvas


def mask_outlines(mask: BoxMask, scale: int) -> list[np.ndarray]:
    """The smooth closed outlines of a mask's parts and holes in the upscaled image.

    Args:
        mask: in its box.
        scale: integer upscaling factor.

    Returns:
        One (P, 1, 2) int32 array of x, y in upscaled px for each part or hole; [] if empty.
    """
    # A pixel of margin, outside the image too, so that linear interpolation rounds the corners.
    pixels = np.pad(mask.pixels, 1).astype(np.float32)
    fine = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    offset = (scale * (mask.left - 1), scale * (mask.top - 1))
    found = cv2.findContours(
        (fine >= 0.5).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=offset
    )
    return list(found[0])


def _draw_point(canvas: np.ndarray, point: np.ndarray, color: RGB, scale: int) -> None:
    x, y = (round(scale * float(value) + (scale - 1) / 2) for value in point)
    cv2.circle(canvas, (x, y), POINT_RADIUS + POINT_OUTLINE, HALO_COLOR, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), POINT_RADIUS, color, cv2.FILLED, cv2.LINE_AA)
