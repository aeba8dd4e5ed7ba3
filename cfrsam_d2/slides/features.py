"""Features of nuclei: size and form in µm, and how dark hematoxylin stains them.

N nuclei, P px of all of them, V corners of px of all their boxes.
"""

import numpy as np
import shapely
from skimage.color import rgb2hed

from ..structures.masks import BoxMasks

MORPHOLOGY = (
    "area_um2",
    "perimeter_um",
    "major_axis_um",
    "minor_axis_um",
    "eccentricity",
    "solidity",
)

# Around a corner of pixels, which of them are inside: right below 1, right above 2, left below 4,
# left above 8. By this sum, what the corner adds to the perimeter by Crofton's formula in four
# directions, as in skimage.measure.perimeter_crofton.
_DIAGONAL = np.pi / (4 * np.sqrt(2))
_PERIMETER = np.zeros(16)
_PERIMETER[[1, 5]] = np.pi / 4 + _DIAGONAL
_PERIMETER[[2, 7, 10, 11]] = _DIAGONAL
_PERIMETER[3] = 2 * _DIAGONAL
_PERIMETER[[8, 12]] = np.pi / 4
_PERIMETER[[9, 13]] = np.pi / 2


def morphology(masks: BoxMasks, mpp: float) -> dict[str, np.ndarray]:
    """Measure nuclei; areas, axes and eccentricity as skimage.measure.regionprops does.

    Args:
        masks: N, none of them empty.
        mpp: µm per px of the masks.

    Returns:
        By the names of MORPHOLOGY, (N,) float64. The perimeter is Crofton's in four directions (the
        length along the sides of pixels would be 4/π times a disc's); axes are those of the ellipse
        with the same second moments; solidity is the share of pixels among those in the convex hull
        of their centres: 1 for a disc.
    """
    owner, x, y = (each.numpy() for each in masks.to("cpu").inside())
    area = np.bincount(owner, minlength=len(masks)).astype(np.float64)
    major, minor = _axes(owner, x, y, area)
    values = (
        area * mpp**2,
        _perimeters(masks, owner, x, y) * mpp,
        major * mpp,
        minor * mpp,
        np.sqrt(1 - np.divide(minor, major, out=np.ones_like(minor), where=major > 0) ** 2),
        area / _hull_areas(owner, x, y, len(masks)),
    )
    return dict(zip(MORPHOLOGY, values, strict=True))


def hematoxylin(pixels: np.ndarray, masks: BoxMasks) -> tuple[np.ndarray, np.ndarray]:
    """How dark hematoxylin stains nuclei, by colour deconvolution with Ruifrok's stain vectors.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        masks: N in these pixels, none of them empty.

    Returns:
        Mean and standard deviation over the pixels of each nucleus, (N,) float32.
    """
    if len(masks) == 0:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    owner, x, y = (each.numpy() for each in masks.to("cpu").inside())
    stain = rgb2hed(pixels[y, x])[:, 0]
    mean = _means(owner, stain)
    deviation = np.sqrt(_means(owner, (stain - mean[owner]) ** 2))
    return mean.astype(np.float32), deviation.astype(np.float32)


def _means(owner: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean of each owner's values."""
    return np.bincount(owner, values) / np.bincount(owner)


def _axes(
    owner: np.ndarray, x: np.ndarray, y: np.ndarray, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the major and the minor axes, px."""

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(owner, values, minlength=len(area)) / area

    dx, dy = x - mean(x)[owner], y - mean(y)[owner]
    xx, yy, xy = mean(dx * dx), mean(dy * dy), mean(dx * dy)
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return 4 * np.sqrt(middle + half), 4 * np.sqrt(np.maximum(middle - half, 0))


def _perimeters(masks: BoxMasks, owner: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Perimeters in px."""
    x0, y0, x1, y1 = masks.boxes.numpy(force=True).T
    width = x1 - x0 + 1  # corners in a row of a box
    count = width * (y1 - y0 + 1)
    start = np.cumsum(count) - count
    corner = start[owner] + (y - y0[owner]) * width[owner] + x - x0[owner]  # a pixel's upper left
    inside = np.zeros(count.sum(), dtype=np.uint8)
    inside[corner] += 1
    inside[corner + width[owner]] += 2
    inside[corner + 1] += 4
    inside[corner + width[owner] + 1] += 8
    return np.bincount(
        np.arange(len(masks)).repeat(count), _PERIMETER[inside], minlength=len(masks)
    )


def _hull_areas(owner: np.ndarray, x: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
    """Px with centres in the convex hull of a nucleus's centres, (count,), by Pick's theorem."""
    new_row = (np.diff(owner) != 0) | (np.diff(y) != 0) | (np.diff(x) != 1)
    ends = np.concatenate([[1], new_row]) + np.concatenate([new_row, [1]])  # of runs in rows
    points = np.stack([x, y], axis=1).repeat(ends[: len(x)], axis=0)
    lines = shapely.linestrings(points.astype(np.float64), indices=owner.repeat(ends[: len(x)]))
    hulls = shapely.convex_hull(lines)
    corners, hull = shapely.get_coordinates(hulls, return_index=True)
    sides = np.abs(np.diff(corners.astype(np.int64), axis=0))
    steps = np.where(np.diff(hull) == 0, np.gcd(*sides.T), 0)  # of the lattice, on a side
    on_border = np.bincount(hull[:-1], steps, minlength=count)
    on_border *= np.where(shapely.get_dimensions(hulls) == 1, 2, 1)  # a line: there and back
    return shapely.area(hulls) + on_border / 2 + 1
