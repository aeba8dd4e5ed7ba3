"""Slides of any size made from real pixels, for tests and benchmarks.

An image is tiled over the plane, every other time mirrored, so that it has no seams; a smooth
random field cuts an irregular piece of tissue out of it, and around is glass.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

_FIELD = 64  # random values along each side of a slide


class SyntheticPlane:
    """An endless image of which a slide shows W×H px.

    Args:
        source: (h, w, 3) uint8 RGB, all tissue.
        size: W and H of the slide.
        glass: RGB around the tissue; None fills the slide with tissue.
        seed: of the tissue's outline.
    """

    def __init__(
        self,
        source: np.ndarray,
        size: tuple[int, int],
        glass: tuple[int, int, int] | None = (242, 242, 242),
        seed: int = 1,
    ) -> None:
        self.source, self.size, self.glass = source, size, glass
        self._field = _tissue_field(seed)

    def read(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """(y1 − y0, x1 − x0, 3) uint8 of a box, which may reach over the slide's edge."""
        height, width = self.source.shape[:2]
        columns, rows = _mirrored(x0, x1, width), _mirrored(y0, y1, height)
        pixels = self.source[rows[:, None], columns]
        if self.glass is not None:
            pixels[~self.tissue(x0, y0, x1, y1)] = self.glass
        return pixels

    def tissue(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """(y1 − y0, x1 − x0) bool: where there is tissue."""
        x = ((np.arange(x0, x1) + 0.5) / self.size[0] * _FIELD - 0.5).astype(np.float32)
        y = ((np.arange(y0, y1) + 0.5) / self.size[1] * _FIELD - 0.5).astype(np.float32)
        maps = np.broadcast_arrays(x[None], y[:, None])
        field = cv2.remap(
            self._field,
            np.ascontiguousarray(maps[0]),
            np.ascontiguousarray(maps[1]),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return field > 0

    def tiles(self, tile: int, downsample: int) -> Iterator[np.ndarray]:
        """The tiles of a level, row by row, (tile, tile, 3) uint8."""
        step = tile * downsample
        for y in range(0, self.size[1] // downsample * downsample, step):
            for x in range(0, self.size[0] // downsample * downsample, step):
                pixels = self.read(x, y, x + step, y + step)
                yield cv2.resize(pixels, (tile, tile), interpolation=cv2.INTER_AREA)


def write_svs(
    path: Path,
    plane: SyntheticPlane,
    *,
    mpp: float | None = 0.25,
    objective: int | None = 40,
    levels: Sequence[int] = (1, 4, 16),
    tile: int = 240,
    compression: str = "jpeg",
) -> None:
    """Write a slide as Aperio does, with a thumbnail behind the first level.

    Args:
        path: of the file.
        plane: what it shows.
        mpp: µm/px that it says; None says nothing.
        objective: likewise.
        levels: downsampling of each.
        tile: px of their sides.
        compression: "jpeg", "jpegxl", …
    """
    width, height = plane.size
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for downsample in levels:
            size = f"{width // downsample}x{height // downsample}"
            _write_level(
                file,
                plane,
                downsample,
                tile=tile,
                compression=compression,
                description=_aperio(plane, f" [0,0 {size}] ({tile}x{tile})", mpp, objective),
                metadata=None,
            )
            if downsample == 1:
                _write_thumbnail(file, plane, _aperio(plane, " -> 256x256 - ", mpp, objective))


def write_ome_tiff(
    path: Path,
    plane: SyntheticPlane,
    *,
    mpp: float | tuple[float, float] | None = 0.25,
    levels: Sequence[int] = (1, 2, 4, 8, 16),
    tile: int = 256,
    compression: str = "jpeg",
) -> None:
    """Write an OME-TIFF whose coarser levels are SubIFDs; arguments as of `write_svs`."""
    x, y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    metadata: dict[str, Any] = {"axes": "YXS"}
    if mpp is not None:
        metadata |= {"PhysicalSizeX": x, "PhysicalSizeXUnit": "µm"}
        metadata |= {"PhysicalSizeY": y, "PhysicalSizeYUnit": "µm"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        for downsample in levels:
            first = downsample == 1
            _write_level(
                file,
                plane,
                downsample,
                tile=tile,
                compression=compression,
                metadata=metadata if first else None,
                subifds=len(levels) - 1 if first else None,
                subfiletype=0 if first else 1,
            )


def _write_level(
    file: tifffile.TiffWriter,
    plane: SyntheticPlane,
    downsample: int,
    *,
    tile: int,
    compression: str,
    **arguments: Any,
) -> None:
    width, height = (side // downsample for side in plane.size)
    file.write(
        plane.tiles(tile, downsample),
        shape=(height, width, 3),
        dtype=np.uint8,
        tile=(tile, tile),
        compression=compression,
        compressionargs={"level": 80} if compression == "jpeg" else None,
        photometric="rgb",
        **arguments,
    )


def _write_thumbnail(file: tifffile.TiffWriter, plane: SyntheticPlane, description: str) -> None:
    pixels = cv2.resize(plane.source, (256, 256), interpolation=cv2.INTER_AREA)
    file.write(
        pixels, photometric="rgb", compression="jpeg", description=description, metadata=None
    )


def _aperio(plane: SyntheticPlane, geometry: str, mpp: float | None, objective: int | None) -> str:
    facts = "".join(
        f"|{name} = {value}"
        for name, value in (("AppMag", objective), ("MPP", mpp))
        if value is not None
    )
    size = f"{plane.size[0]}x{plane.size[1]}"
    return f"Aperio Image Library v11.2.1 \r\n{size}{geometry}{facts}"


def _mirrored(start: int, end: int, length: int) -> np.ndarray:
    """Indices into an axis that is repeated for ever, every other time backwards."""
    indices = np.arange(start, end) % (2 * length)
    return np.minimum(indices, 2 * length - 1 - indices)


def _tissue_field(seed: int) -> np.ndarray:
    """(_FIELD, _FIELD) float32, above 0 where there is tissue: a disc with an uneven edge."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(_FIELD, _FIELD)).astype(np.float32), (0, 0), 5)
    y, x = np.mgrid[0:_FIELD, 0:_FIELD] / (_FIELD - 1) - 0.5
    return (noise / noise.std() * 0.12 + 0.36 - np.hypot(x, y)).astype(np.float32)
