"""Shapes of synthetic nuclei, and how they come to lie: alone, touching, or overlapping."""

from dataclasses import dataclass

import cv2
import numpy as np

from ...structures.masks import BoxMask

EPITHELIAL, LYMPHOCYTE, SPINDLE = range(3)
# Range of the major axis in px, and of the minor axis as a fraction of it, by class.
_MAJOR_AXIS = {EPITHELIAL: (16.0, 28.0), LYMPHOCYTE: (8.0, 12.0), SPINDLE: (17.0, 30.0)}
_AXIS_RATIO = {EPITHELIAL: (0.64, 0.9), LYMPHOCYTE: (0.85, 1.0), SPINDLE: (0.22, 0.3)}
_PATCH_RADIUS = 18  # px; holds the longest nucleus

# Shares of nuclei that lie alone, touch an earlier nucleus, and overlap one.
_RELATION_SHARES = (0.62, 0.22, 0.16)
_MAX_HIDDEN = 0.4  # of the smaller of two nuclei
_MIN_VISIBLE = 20  # px of every nucleus
_GAP = 2  # px around a nucleus that lies alone

Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Nucleus:
    """A nucleus whose patch's centre is a pixel of the image; it may reach over the border.

    Attributes:
        level: (P, P) distance from the centre relative to the outline: 1 on it, less inside.
        class_index: of its class.
        row, column: of the patch's centre in the image.
    """

    level: np.ndarray
    class_index: int
    row: int
    column: int

    def window(self, size: int) -> tuple[Slices, Slices]:
        """The patch's place in an image of size×size px, and the part of it that is inside."""
        top, left = self.row - _PATCH_RADIUS, self.column - _PATCH_RADIUS
        side = 2 * _PATCH_RADIUS + 1
        rows = slice(*np.clip([top, top + side], 0, size).tolist())
        columns = slice(*np.clip([left, left + side], 0, size).tolist())
        patch_rows = slice(rows.start - top, rows.stop - top)
        patch_columns = slice(columns.start - left, columns.stop - left)
        return (rows, columns), (patch_rows, patch_columns)

    def mask(self, size: int) -> BoxMask:
        """All its pixels in an image of size×size px, also those under other nuclei."""
        (rows, columns), patch = self.window(size)
        return BoxMask.of_frame(self.level[patch] <= 1, columns.start, rows.start)

    def moved_to(self, row: float, column: float) -> "Nucleus":
        return Nucleus(self.level, self.class_index, round(row), round(column))


def random_nucleus(
    rng: np.random.Generator, class_index: int, row: float, column: float, angle: float
) -> Nucleus:
    """Draw a nucleus: an ellipse with an uneven outline, bent if it is a spindle.

    Args:
        rng: random numbers.
        class_index: of its class.
        row, column: its centre in px.
        angle: of its major axis against the x axis, in radians.
    """
    semi_major = rng.uniform(*_MAJOR_AXIS[class_index]) / 2
    semi_minor = semi_major * rng.uniform(*_AXIS_RATIO[class_index])
    grid = np.arange(-_PATCH_RADIUS, _PATCH_RADIUS + 1, dtype=np.float64)
    x, y = np.meshgrid(grid - rng.uniform(-0.5, 0.5), grid - rng.uniform(-0.5, 0.5))
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    if class_index == SPINDLE:
        across -= rng.uniform(-0.2, 0.2) * along**2 / semi_major
    along, across = along / semi_major, across / semi_minor
    theta = np.arctan2(across, along)
    outline = np.ones_like(theta)
    for wave in (2, 3, 4):
        outline += rng.normal(0, 0.08 / wave) * np.cos(wave * theta + rng.uniform(0, 2 * np.pi))
    level = np.hypot(along, across) / outline
    return Nucleus(level, class_index, round(row), round(column))


class Placement:
    """Places nuclei one after the other, each over the earlier ones.

    Whatever comes later, at least half and at least 20 px of every nucleus stay visible.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng = rng
        self._size = size
        self._masks: list[BoxMask] = []
        self._visible: list[BoxMask] = []  # what later nuclei leave of them
        self.nuclei: list[Nucleus] = []

    def try_to_add(self, nucleus: Nucleus) -> None:
        """Add `nucleus` alone where it is, or moved to touch or overlap another, if it fits."""
        relation = self._rng.choice(["alone", "touching", "overlapping"], p=_RELATION_SHARES)
        if relation == "alone" or not self.nuclei:
            if self._fits(nucleus, gap=_GAP):
                self._add(nucleus)
            return
        hidden = 0.0 if relation == "touching" else self._rng.uniform(0.15, _MAX_HIDDEN)
        neighbour = self.nuclei[self._rng.integers(len(self.nuclei))]
        angle = self._rng.uniform(0, 2 * np.pi)
        nearest = None
        # Come nearer, until more than `hidden` would be covered.
        for distance in range(2 * _PATCH_RADIUS, 0, -1):
            moved = nucleus.moved_to(
                neighbour.row + distance * np.sin(angle),
                neighbour.column + distance * np.cos(angle),
            )
            if self._fits(moved, hidden):
                nearest = moved
            elif nearest is not None:
                break
        if nearest is not None:
            self._add(nearest)

    def _fits(self, nucleus: Nucleus, hidden: float = 0.0, gap: int = 0) -> bool:
        mask = nucleus.mask(self._size)
        area = mask.area
        if area < _MIN_VISIBLE:
            return False
        if gap:
            mask = _grown(mask, gap)
        for other, visible in zip(self._masks, self._visible, strict=True):
            if _overlap(other, mask) > hidden * min(area, other.area):
                return False
            if visible.area - _overlap(visible, mask) < max(_MIN_VISIBLE, other.area / 2):
                return False
        return True

    def _add(self, nucleus: Nucleus) -> None:
        mask = nucleus.mask(self._size)
        for visible in self._visible:
            below, above = _where_both_are(visible, mask)
            below &= ~above
        self._masks.append(mask)
        self._visible.append(mask._replace(pixels=mask.pixels.copy()))
        self.nuclei.append(nucleus)


def _grown(mask: BoxMask, gap: int) -> BoxMask:
    """The mask with all pixels at most `gap` px away from it, row-wise and column-wise."""
    padded = np.pad(mask.pixels.astype(np.uint8), gap)
    pixels = cv2.dilate(padded, np.ones((2 * gap + 1, 2 * gap + 1))) > 0
    return BoxMask(mask.left - gap, mask.top - gap, pixels)


def _overlap(first: BoxMask, second: BoxMask) -> int:
    """Px that are of both masks."""
    return int(np.count_nonzero(np.logical_and(*_where_both_are(first, second))))


def _where_both_are(first: BoxMask, second: BoxMask) -> tuple[np.ndarray, np.ndarray]:
    """Both masks where their boxes overlap, as views."""
    left, top = max(first.left, second.left), max(first.top, second.top)
    right, bottom = (min(ends) for ends in zip(first.box[2:], second.box[2:], strict=True))
    views = []
    for mask in (first, second):
        rows = slice(top - mask.top, max(bottom, top) - mask.top)
        columns = slice(left - mask.left, max(right, left) - mask.left)
        views.append(mask.pixels[rows, columns])
    return views[0], views[1]
