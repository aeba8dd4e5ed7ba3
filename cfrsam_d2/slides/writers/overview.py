"""A picture of the whole slide with the density of nuclei over it."""

import io
from collections.abc import Iterable
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pyarrow as pa
from PIL import Image
from scipy.ndimage import gaussian_filter

from ...files import write_bytes

SMOOTHING = 50.0  # µm, the deviation of the Gaussian that makes a density of points
_CELL = 10.0  # µm, of the squares in which nuclei are counted
_OPACITY = 0.65  # of the highest density
_FEW = 0.02  # of the highest density: below, only the slide is seen
_BAND = 128  # px, rows that are drawn at once
_BAR = 24, 200, 12  # px: width and height of the colour bar, and its distance from the edges


def write_overview(
    tables: Iterable[pa.Table], path: Path, *, picture: np.ndarray, px_of_level_0: float, mpp: float
) -> None:
    """Write a JPEG.

    Args:
        tables: of chunks; each is held for itself.
        path: of the file.
        picture: the slide, (h, w, 3) uint8 RGB.
        px_of_level_0: that a px of the picture is wide.
        mpp: µm per px of the picture.
    """
    height, width = picture.shape[:2]
    rows, columns = (max(round(side * mpp / _CELL), 1) for side in (height, width))
    counts = np.zeros((rows, columns))
    for table in tables:
        x, y = (table[axis].to_numpy() / px_of_level_0 for axis in ("x", "y"))
        row = np.clip((y * rows / height).astype(int), 0, rows - 1)
        column = np.clip((x * columns / width).astype(int), 0, columns - 1)
        np.add.at(counts, (row, column), 1)
    cell_mm2 = height / rows * width / columns * (mpp / 1000) ** 2
    density = gaussian_filter(counts, SMOOTHING / _CELL, mode="constant") / cell_mm2
    density = cv2.resize(
        density.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    file = io.BytesIO()
    Image.fromarray(_drawn(picture, density)).save(file, "JPEG", quality=88)
    write_bytes(path, file.getvalue())


def _drawn(picture: np.ndarray, density: np.ndarray) -> np.ndarray:
    """The picture under the density in nuclei/mm², with a colour bar if there are any."""
    highest = density.max()
    if highest == 0:
        return picture
    drawn = np.empty_like(picture)
    for top in range(0, len(picture), _BAND):  # colours take 32 times the memory of the picture
        rows = slice(top, top + _BAND)
        share = density[rows] / highest
        opacity = np.where(share > _FEW, _OPACITY * np.sqrt(share), 0)[..., None]
        mixed = (1 - opacity) * picture[rows] + opacity * _colors(share)
        drawn[rows] = mixed.round()
    return _with_bar(drawn, highest)


def _colors(share: np.ndarray) -> np.ndarray:
    return matplotlib.colormaps["inferno"](share)[..., :3] * 255


def _with_bar(picture: np.ndarray, highest: float) -> np.ndarray:
    """Add a margin on the right with the colour bar."""
    width, height, gap = _BAR
    margin = np.full((max(len(picture), height + 4 * gap), 130, 3), 255, dtype=np.uint8)
    top = 3 * gap
    margin[top : top + height, gap : gap + width] = _colors(np.linspace(1, 0, height))[:, None]
    _write(margin, "nuclei/mm2", (gap, 2 * gap))
    _write(margin, f"{highest:.0f}", (2 * gap + width, top + gap))
    _write(margin, "0", (2 * gap + width, top + height))
    below = len(margin) - len(picture)
    picture = np.pad(picture, ((0, below), (0, 0), (0, 0)), constant_values=255)
    return np.concatenate([picture, margin], axis=1)


def _write(image: np.ndarray, text: str, corner: tuple[int, int]) -> None:
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
