"""TIFF by tifffile, where OpenSlide sees too little: OME-TIFF with SubIFDs, strips, JPEG XL."""

import logging
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Self

import numpy as np
import tifffile

from ..errors import UserError
from ..remote_path import AnyPath, RemotePath
from .backend import WHITE, Box, Level, SlideFacts, on_background
from .quickhash import quickhash
from .remote import RemoteFile
from .tiff_checks import check_colors, check_decodable, check_whole, find_series
from .tiff_resolution import tiff_mpp, tiff_objective

_CACHE = 64 * 2**20  # bytes of decoded tiles or strips
_LARGEST_SEGMENT = 256 * 2**20  # bytes
_JPEG = {6, 7, 34892, 33007}  # compressions whose tables are apart

# What it logs of a damaged file comes as a `UserError`, in one sentence.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


class TiffBackend:
    """See `Backend`.

    Args:
        path: of a TIFF file; one in a store is read by range.

    Raises:
        UserError: the file is damaged, not in 8-bit RGB, compressed in an unknown way, in strips
            that are too large, or holds only a label or an overview.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = path
        self._file = open_tiff(path)
        series = find_series(path, self._file)
        self._pages: list[Any] = [_page(level) for level in series.levels]
        for page in self._pages:
            check_colors(path, page)
            check_decodable(path, page)
            check_whole(path, self._file, page)
            _check_segment(path, page)
        self.facts = _facts(self._file, self._pages)
        segment_bytes = max(int(np.prod(page.chunks)) for page in self._pages)
        self._segment = lru_cache(maxsize=max(_CACHE // segment_bytes, 1))(self._decode)

    def read(self, level: int, box: Box) -> np.ndarray:
        x0, y0, x1, y1 = box
        page = self._pages[level]
        width, height = self.facts.levels[level].tile
        region = np.full((y1 - y0, x1 - x0, page.samplesperpixel), 255, np.uint8)
        for row in range(y0 // height, -(-y1 // height)):
            for column in range(x0 // width, -(-x1 // width)):
                segment = self._segment(level, row, column)
                if segment is not None:
                    _paste(segment, region, column * width - x0, row * height - y0)
        if _has_opacity(page):
            return on_background(region, WHITE)
        return region[..., :3]

    def reopen(self) -> Self:
        return type(self)(self.path)

    def close(self) -> None:
        self._segment.cache_clear()
        self._file.close()

    def _decode(self, level: int, row: int, column: int) -> np.ndarray | None:
        """A tile or strip, (h, w, samples); None where the file has left it out."""
        page = self._pages[level]
        (width, height), _, (tile_width, tile_height), _ = self.facts.levels[level]
        rows, columns = -(-height // tile_height), -(-width // tile_width)
        planes = page.samplesperpixel if page.planarconfig == 2 else 1
        indices = ((plane * rows + row) * columns + column for plane in range(planes))
        decoded = [_decode_segment(self._file, page, index) for index in indices]
        whole = [plane for plane in decoded if plane is not None]
        return np.concatenate(whole, axis=-1) if len(whole) == planes else None


def open_tiff(path: AnyPath) -> tifffile.TiffFile:
    """A TIFF file, or one of a store, read by range."""
    file: Any = RemoteFile(path) if isinstance(path, RemotePath) else path
    return tifffile.TiffFile(file)


def is_ome_tiff(path: AnyPath) -> bool:
    """Whether it is a TIFF whose levels and µm/px OpenSlide does not see."""
    try:
        with open_tiff(path) as file:
            return file.is_ome
    except tifffile.TiffFileError:
        return False


def _page(level: tifffile.TiffPageSeries) -> Any:
    page = level.pages[0]
    assert page is not None
    return page.aspage()


def _decode_segment(file: tifffile.TiffFile, page: Any, index: int) -> np.ndarray | None:
    offset, count = page.dataoffsets[index], page.databytecounts[index]
    if count == 0:
        return None
    file.filehandle.seek(offset)
    data = file.filehandle.read(count)
    tables = {}
    if page.compression in _JPEG:
        # Its decoder fills up with grey what is cut off.
        if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise ValueError("a JPEG tile is cut off")
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    decoded, _, shape = page.decode(data, index, **tables)
    return decoded.reshape(-1, *decoded.shape[-2:])[: shape[1]]


def _paste(segment: np.ndarray, region: np.ndarray, left: int, top: int) -> None:
    """Copy what of a segment lies in a region, which it may overlap on all sides."""
    y0, x0 = max(top, 0), max(left, 0)
    part = segment[y0 - top :, x0 - left :][: len(region) - y0, : region.shape[1] - x0]
    region[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part


def _has_opacity(page: Any) -> bool:
    return page.samplesperpixel == 4 and page.extrasamples[:1] in ((1,), (2,))


def _facts(file: tifffile.TiffFile, pages: list[Any]) -> SlideFacts:
    width = pages[0].imagewidth
    objective = tiff_objective(file)
    return SlideFacts(
        levels=tuple(_level(page, width) for page in pages),
        mpp=tiff_mpp(file, pages[0]),
        objective=objective,
        properties={
            "reader": f"tifffile {version('tifffile')}",
            "vendor": "ome" if file.is_ome else "tiff",
            "objective": "" if objective is None else f"{objective:g}",
            "quickhash": quickhash(file.filehandle),
        },
    )


def _level(page: Any, full_width: int) -> Level:
    size = (page.imagewidth, page.imagelength)
    tile = (page.tilewidth, page.tilelength) if page.is_tiled else (size[0], page.rowsperstrip)
    downsample = full_width / size[0]
    # Sizes of levels are rounded: 2,051 px are 512 px at a fourth.
    if abs(round(downsample) * size[0] - full_width) <= round(downsample):
        downsample = round(downsample)
    return Level(size, float(downsample), tile)


def _check_segment(path: AnyPath, page: Any) -> None:
    size = int(np.prod(page.chunks))
    if size > _LARGEST_SEGMENT:
        raise UserError(
            f"{path} has strips or tiles of {size / 1e6:.0f} MB, which have to be decoded whole: "
            "save it as TIFF with tiles of 256 px"
        )
