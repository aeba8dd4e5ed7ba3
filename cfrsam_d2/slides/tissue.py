"""Where on a slide there is tissue. It chooses tiles and windows, and never cuts a nucleus."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..data.image import read_pil
from ..errors import UserError
from .reader import SlideReader

TISSUE_MPP = 8.0  # µm per px of a mask
_MEDIAN = 5  # px of the filter's side
# Of 255. Below, Otsu's threshold would part the noise of an empty slide; above, pale stroma from
# dark nuclei where a slide is full of tissue.
_LOWEST_THRESHOLD, _HIGHEST_THRESHOLD = 20, 50
_DARKEST = 40  # of 255; the saturation of black is noise
_SMALLEST_PIECE = 0.05  # mm², but no more than
_SMALLEST_SHARE = 0.05  # of the slide
_GROWTH = 64.0  # µm


@dataclass(frozen=True)
class TissueMask:
    """
    Attributes:
        mask: (h, w) bool, of `TISSUE_MPP`.
        cell: slide px per px of the mask.
        scale: level-0 px per slide px.
        level0_size: width and height of the slide in level-0 px.
    """

    mask: np.ndarray
    cell: float
    scale: float
    level0_size: tuple[int, int]

    @property
    def mm2(self) -> float:
        """Area of the tissue."""
        return float(self.mask.sum()) * (TISSUE_MPP / 1000) ** 2

    def touches(self, x0: float, y0: float, x1: float, y1: float) -> bool:
        """Whether there is tissue in a box of slide px."""
        columns = self._cells(x0, x1, self.mask.shape[1])
        rows = self._cells(y0, y1, self.mask.shape[0])
        return bool(self.mask[rows, columns].any())

    def mm2_in(self, x0: int, y0: int, x1: int, y1: int) -> float:
        """Area of the tissue in a box of slide px, to a px of the mask."""
        edges = (slice(round(a / self.cell), round(b / self.cell)) for a, b in ((y0, y1), (x0, x1)))
        return float(self.mask[tuple(edges)].sum()) * (TISSUE_MPP / 1000) ** 2

    def polygons(self) -> Any:
        """A MultiPolygon of shapely along the mask's pixel edges, in level-0 px."""
        import shapely

        padded = np.pad(self.mask, ((0, 0), (1, 1))).astype(np.int8)
        rows, starts = np.nonzero(np.diff(padded) == 1)
        ends = np.nonzero(np.diff(padded) == -1)[1]
        factor = self.cell * self.scale
        boxes = np.stack([starts, rows, ends, rows + 1]).T * factor
        boxes = np.minimum(boxes, np.tile(self.level0_size, 2))
        union = shapely.union_all(shapely.box(*boxes.T)).simplify(0)
        parts = [part for part in shapely.get_parts(union) if not part.is_empty]
        return shapely.MultiPolygon(parts)

    def digest(self) -> str:
        """SHA-256 of the mask, in hexadecimal digits."""
        digest = hashlib.sha256(str((self.mask.shape, self.cell)).encode())
        digest.update(np.packbits(self.mask).tobytes())
        return digest.hexdigest()

    def _cells(self, start: float, end: float, count: int) -> slice:
        # The last px of a slide lie beyond the last whole px of the mask, and belong to it.
        first = min(math.floor(start / self.cell), count - 1)
        return slice(first, max(math.ceil(end / self.cell), first + 1))


def find_tissue(reader: SlideReader) -> TissueMask:
    """Find stained tissue by its saturation."""
    overview = reader.overview(TISSUE_MPP)
    stained = _stained(overview)
    slide_mm2 = stained.size * (TISSUE_MPP / 1000) ** 2
    smallest = min(_SMALLEST_PIECE, _SMALLEST_SHARE * slide_mm2) / (TISSUE_MPP / 1000) ** 2
    return _tissue_mask(reader, _grown_pieces(stained, smallest))


def whole_slide(reader: SlideReader) -> TissueMask:
    """Take the whole slide, without looking."""
    width, height = reader.overview_size(TISSUE_MPP)
    return _tissue_mask(reader, np.ones((height, width), bool))


def read_tissue(path: str | Path, reader: SlideReader) -> TissueMask:
    """Read the user's mask of a slide.

    Args:
        path: an image of the slide's aspect, of any size, not 0 where there is tissue; or GeoJSON
            with polygons in level-0 px, as QuPath exports annotations.
        reader: of the slide.

    Raises:
        UserError: the file is missing or damaged, has another aspect, or no polygon on the slide.
    """
    path = Path(path)
    size = reader.overview_size(TISSUE_MPP)
    if path.suffix.lower() in (".json", ".geojson"):
        return _tissue_mask(reader, _paint(path, _read_rings(path), reader, size))
    return _tissue_mask(reader, _read_mask(path, reader, size))


def _tissue_mask(reader: SlideReader, mask: np.ndarray) -> TissueMask:
    return TissueMask(mask, TISSUE_MPP / reader.slide_mpp, reader.scale, reader.level0_size)


def _stained(overview: np.ndarray) -> np.ndarray:
    """(h, w) bool of (h, w, 3) uint8."""
    saturation = cv2.cvtColor(overview, cv2.COLOR_RGB2HSV)[..., 1]
    saturation[overview.max(axis=2) < _DARKEST] = 0
    saturation = cv2.medianBlur(saturation, _MEDIAN)
    otsu, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return saturation > np.clip(otsu, _LOWEST_THRESHOLD, _HIGHEST_THRESHOLD)


def _grown_pieces(stained: np.ndarray, smallest: float) -> np.ndarray:
    """Grow pieces, and drop those of fewer stained px than `smallest`.

    What grows together is one piece: a strand that hangs on the tissue by a thread is kept.
    """
    radius = round(_GROWTH / TISSUE_MPP)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    count, grown = cv2.connectedComponents(cv2.dilate(stained.astype(np.uint8), disc))
    pieces = np.asarray(grown, np.int64)
    keeps = np.bincount(pieces[stained], minlength=count) >= smallest
    keeps[0] = False  # what is outside of all
    return keeps[pieces]


def _read_mask(path: Path, reader: SlideReader, size: tuple[int, int]) -> np.ndarray:
    image = np.asarray(read_pil(str(path)).convert("RGB")).max(axis=2)
    height, width = image.shape
    x, y = reader.level0_size[0] / width, reader.level0_size[1] / height
    # Sizes of masks are rounded: half a px at either end.
    if abs(x - y) > 0.02 * max(x, y) + max(x / width, y / height):
        raise UserError(
            f"{path} has {width} × {height} px, the slide {reader.level0_size[0]} × "
            f"{reader.level0_size[1]}: give a mask of the whole slide"
        )
    filled = (image > 0).astype(np.uint8) * 255
    return cv2.resize(filled, size, interpolation=cv2.INTER_AREA) > 0


def _read_rings(path: Path) -> list[list[np.ndarray]]:
    """The polygons of a GeoJSON file, each its rings, (K, 2) x, y."""
    try:
        content = json.loads(path.read_bytes())
        return [
            [np.array(ring, np.float64)[:, :2] for ring in rings]
            for geometry in _geometries(content)
            for rings in _polygons(geometry)
        ]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: name a PNG or GeoJSON of the tissue") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise UserError(
            f"{path} is no GeoJSON ({error}): export the annotations of QuPath as GeoJSON"
        ) from None


def _geometries(content: Any) -> list[dict[str, Any]]:
    """Of a FeatureCollection, a list of features, a feature or a geometry."""
    if isinstance(content, list):
        return [geometry for item in content for geometry in _geometries(item)]
    if content["type"] == "FeatureCollection":
        return _geometries(content["features"])
    return [content["geometry"] if content["type"] == "Feature" else content]


def _polygons(geometry: dict[str, Any]) -> list[Any]:
    if geometry["type"] == "Polygon":
        return [geometry["coordinates"]]
    return geometry["coordinates"] if geometry["type"] == "MultiPolygon" else []


def _paint(
    path: Path, polygons: list[list[np.ndarray]], reader: SlideReader, size: tuple[int, int]
) -> np.ndarray:
    """(h, w) bool: what polygons in QuPath's px touch."""
    mask = np.zeros(size[::-1], np.uint8)
    per_cell = TISSUE_MPP / reader.mpp  # level-0 px
    for rings in polygons:
        # OpenCV's px have their zero at the centre of the first.
        cells = [np.round((ring + reader.origin) / per_cell - 0.5) for ring in rings]
        one = np.zeros_like(mask)
        cv2.fillPoly(one, [ring.astype(np.int32) for ring in cells], 1)
        mask |= one
    if not mask.any():
        raise UserError(
            f"{path} has no polygon on the slide: draw tissue as areas, in px of full resolution"
        )
    return mask > 0
