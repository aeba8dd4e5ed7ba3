"""Which outlines are drawn around nuclei, as QuPath's annotations are, and are none themselves."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from ....structures.masks import BoxMask
from ..polygons import Polygon, polygons_mask

_DETECTED = ("detection", "cell")
_HOLDS = 4  # times the area of a box that lies inside: less may be an overlap
_DWARFS = 20  # times the area: more than nuclei of one image differ


class Outline(NamedTuple):
    """
    Attributes:
        where: what errors call it.
        kind: one of `geojson_file.KINDS`, or "".
        class_name: or None.
        polygons: one or more, each with three corners or more.
    """

    where: str
    kind: str
    class_name: str | None
    polygons: Sequence[Polygon]

    @property
    def corners(self) -> np.ndarray:
        """Of the outer rings, (n, 2) x, y in px."""
        return np.concatenate([polygon[0] for polygon in self.polygons])


def are_regions(outlines: Sequence[Outline], size: tuple[int, int]) -> list[bool]:
    """Tell regions from nuclei.

    Detections and cells are nuclei. Annotations are regions, and so is an outline of no kind and no
    class, if a detection or a cell lies inside, or two others, or one that is far smaller; if they
    cover the whole image; or if they are far larger than every detection and cell.

    Args:
        outlines: of one image; in part inside of it.
        size: H, W of the image.
    """
    if not outlines:
        return []
    layout = _Layout(outlines, size)
    return [layout.is_region(index) for index in range(len(outlines))]


class _Layout:
    """The outlines of one image by their places."""

    def __init__(self, outlines: Sequence[Outline], size: tuple[int, int]) -> None:
        self._outlines, self._size = outlines, size
        corners = [outline.corners for outline in outlines]
        self._low = np.array([each.min(axis=0) for each in corners])
        self._high = np.array([each.max(axis=0) for each in corners])
        self._areas = (self._high - self._low).prod(axis=1)
        self._detected = np.array([outline.kind in _DETECTED for outline in outlines])
        self._tree = KDTree((self._low + self._high) / 2)

    def is_region(self, index: int) -> bool:
        outline = self._outlines[index]
        if outline.kind != "annotation" and (outline.kind or outline.class_name):
            return False
        largest = self._areas[self._detected].max(initial=0)
        if largest and self._areas[index] > _DWARFS * largest:
            return True
        return self._covers_image(index) or self._is_around_others(index)

    def _covers_image(self, index: int) -> bool:
        height, width = self._size
        holds = (self._low[index] <= 0.5).all() and (
            self._high[index] >= (width - 0.5, height - 0.5)
        ).all()
        return bool(holds) and self._mask(index).area == height * width

    def _is_around_others(self, index: int) -> bool:
        for count, other in enumerate(self._inside(index), start=1):
            is_small = self._areas[other] * _DWARFS <= self._areas[index]
            if count > 1 or is_small or self._detected[other]:
                return True
        return False

    def _inside(self, index: int) -> Iterator[int]:
        """The others of which most corners lie in the mask of one, but for those of like size."""
        sides = self._high[index] - self._low[index]
        near = self._tree.query_ball_point(self._low[index] + sides / 2, sides.max() / 2, p=np.inf)
        small = [each for each in near if self._areas[each] * _HOLDS <= self._areas[index]]
        mask = self._mask(index) if small else None
        for other in small:
            if mask and _share_inside(mask, self._outlines[other].corners) > 0.5:
                yield other

    def _mask(self, index: int) -> BoxMask:
        return polygons_mask(self._outlines[index].polygons, *self._size)


def _share_inside(mask: BoxMask, corners: np.ndarray) -> float:
    columns, rows = np.floor(corners - (mask.left, mask.top)).astype(int).T
    height, width = mask.pixels.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    inside[inside] = mask.pixels[rows[inside], columns[inside]]
    return inside.mean()
