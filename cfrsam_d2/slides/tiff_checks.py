"""Which image of a TIFF file is the slide, and whether it can be read."""

import operator
import re
from pathlib import Path
from typing import Any

import tifffile

from ..errors import UserError
from ..remote_path import AnyPath
from .backend import no_brightfield, no_slide

_RGB, _YCBCR = 2, 6  # photometric interpretations
_ASSOCIATED = re.compile(r"^\W*(label|macro|thumbnail|overview)\b", re.IGNORECASE | re.MULTILINE)
_REDUCED = (1, 9)  # what Aperio writes in its label's and its macro image's NewSubfileType


def find_series(path: AnyPath, file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The largest image that is neither a label nor an overview, with its levels.

    Raises:
        UserError: there is none.
    """
    slides = [series for series in file.series if not _is_associated(series)]
    if not slides:
        names = " and ".join(_name(series) for series in file.series) or "nothing"
        raise no_slide(path, names)
    largest = max(slides, key=_area)
    if largest.axes not in ("YXS", "SYX"):
        raise no_brightfield(path, f"axes {largest.axes} of {largest.dtype}")
    return largest


def check_colors(path: AnyPath, page: Any) -> None:
    """
    Raises:
        UserError: the page is not in 8-bit RGB.
    """
    if page.dtype != "uint8":
        raise no_brightfield(path, f"samples of {page.bitspersample} bits")
    if page.samplesperpixel not in (3, 4) or page.photometric not in (_RGB, _YCBCR):
        name = getattr(page.photometric, "name", page.photometric)
        raise no_brightfield(path, f"{page.samplesperpixel} channels of {name}")


def check_decodable(path: AnyPath, page: Any) -> None:
    """
    Raises:
        UserError: tifffile cannot decode pages like this; with its reason.
    """
    try:
        page.decode(None, 0)
    except (ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path} cannot be decoded ({error}): save it with JPEG, JPEG 2000 or Deflate"
        ) from None


def check_whole(path: AnyPath, file: tifffile.TiffFile, page: Any) -> None:
    """
    Args:
        path: of the file.
        file: opened.
        page: whose pixels are wanted.

    Raises:
        UserError: its pixels lie behind the end of the file, or nowhere, or further pages do.
    """
    end = max(map(operator.add, page.dataoffsets, page.databytecounts), default=0)
    size = file.filehandle.size
    if end == 0 or end > size:
        raise UserError(
            f"{path} is cut off (its pixels reach to byte {end or 'unknown'}, it has {size}): "
            "copy it again"
        )
    if _names_another_page(file):
        raise UserError(f"{path} is cut off ({len(file.pages)} pages are left): copy it again")


def check_opened(path: Path, size: tuple[int, int]) -> None:
    """Check the finest level of a TIFF that another library has opened.

    Args:
        path: of the file.
        size: width and height of that level, by which its page is found.

    Raises:
        UserError: see `check_colors` and `check_whole`.
    """
    with tifffile.TiffFile(path) as file:
        for frame in file.pages:
            page = frame.aspage()
            if (page.imagewidth, page.imagelength) == size:
                check_colors(path, page)
                check_whole(path, file, page)
                return


def _names_another_page(file: tifffile.TiffFile) -> bool:
    """Whether the last page that is there says where one follows, or ends before it says so."""
    size = file.tiff.offsetsize
    file.filehandle.seek(file.pages.next_page_offset or 0)
    return file.filehandle.read(size) != bytes(size)


def _area(series: tifffile.TiffPageSeries) -> int:
    return series.keyframe.imagewidth * series.keyframe.imagelength


def _is_associated(series: tifffile.TiffPageSeries) -> bool:
    page = series.keyframe
    reduced = page.subfiletype in _REDUCED and not page.is_tiled
    return reduced or any(_ASSOCIATED.search(text) for text in (series.name, page.description))


def _name(series: tifffile.TiffPageSeries) -> str:
    page = series.keyframe
    words = _ASSOCIATED.search(f"{series.name}\n{page.description}")
    name = words.group(1).lower() if words else "reduced image"
    return f"a {name} of {page.imagewidth} × {page.imagelength} px"
