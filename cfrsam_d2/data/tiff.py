"""The one image of a TIFF file as 8-bit RGB, upright. H×W px.

tifffile says what a file holds, and reads what is stored plainly or deflated; Pillow decodes other
compressions and colours, which tifffile leaves to a further package.
"""

import io
import logging
import math
import os
import zlib

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin
from tifffile import COMPRESSION, PHOTOMETRIC

from ..errors import UserError
from .pil_image import opened, rgb_from_pil
from .pixels import check_pixels, repeated, to_8_bits, upright

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_REMEDY = "save the one image as an RGB TIFF or PNG of its own"
_MASK = 4  # in NewSubfileType: a page of transparency
_ORIENTATION = 274  # the tag
_WORDS = {"C": "channels", "S": "channels", "Z": "planes", "T": "times", "I": "pages", "Q": "pages"}
_PLAIN = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB)
_DEFLATE = (COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE)
_APERIO_YCBCR = 33003
_JPEG_2000 = (_APERIO_YCBCR, 33004, 33005, 34712)  # Aperio's, and others'

# What it says of damaged files is no user's language, and an error follows.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def is_tiff(file_name: str) -> bool:
    """Whether a file begins as a TIFF or BigTIFF does."""
    with open(file_name, "rb") as file:
        return file.read(4) in _MAGIC


def read_tiff(file_name: str) -> np.ndarray:
    """Read the image of a TIFF file: of a pyramid the largest level, beside previews the image.

    Returns:
        (H, W, 3) uint8 array.

    Raises:
        UserError: the file holds several images, or channels that are no RGB, or is cut off, too
            large or compressed in a way that nothing here reads. Other errors: it is damaged.
    """
    with tifffile.TiffFile(file_name, _multifile=False) as tif:
        series = largest_image(tif, file_name)
        page = series.keyframe
        check_pixels(file_name, (page.imagewidth, page.imagelength), tif.filehandle.size)
        axis = _channel_axis(series, file_name)
        _check_complete(series, file_name)
        if page.compression in _JPEG_2000:
            rgb = _from_jpeg_2000(page)
        elif page.photometric in _PLAIN and page.compression in (COMPRESSION.NONE, *_DEFLATE):
            rgb = _from_samples(series, axis, file_name)
        else:
            return _by_pillow(series, file_name)
        orientation = page.tags.valueof(_ORIENTATION)
        return np.ascontiguousarray(upright(rgb, orientation))


def largest_image(tif: tifffile.TiffFile, file_name: str) -> tifffile.TiffPageSeries:
    """The largest of all images and levels in a file.

    Raises:
        UserError: there is none, or two are the largest.
    """
    images = [
        level
        for series in tif.series
        for level in series.levels
        if {*"YX"} <= {*level.axes} and not level.keyframe.subfiletype & _MASK
    ]
    largest = max(map(_area, images), default=0)
    images = [each for each in images if _area(each) == largest]
    if len(images) != 1:
        raise UserError(f"{file_name} holds {len(images)} images of one size: {_REMEDY}")
    return images[0]


def _area(series: tifffile.TiffPageSeries) -> int:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return sizes["Y"] * sizes["X"]


def _channel_axis(series: tifffile.TiffPageSeries, file_name: str) -> int | None:
    """Which axis holds the three channels, or gray and RGB with transparency; None of gray alone.

    Raises:
        UserError: pages or channels are no RGB.
    """
    page = series.keyframe
    others = [
        (index, axis, size)
        for index, (axis, size) in enumerate(zip(series.axes, series.shape, strict=True))
        if axis not in "YX" and size > 1
    ]
    if not others:
        return None
    index, axis, size = others[0]
    if axis == "S":
        transparent = (2 if page.photometric <= PHOTOMETRIC.MINISBLACK else 4) == size
        is_rgb = size == 3 or (transparent and bool(page.extrasamples or size == 4))
    else:
        # ImageJ calls the pages of any stack slices.
        is_rgb = size == 3 and axis in ("CIQZ" if series.kind == "imagej" else "CIQ")
    if len(others) > 1 or not is_rgb:
        counts = " with ".join(f"{size} {_WORDS.get(axis, axis)}" for _, axis, size in others)
        raise UserError(f"{file_name} holds {counts}, which are no RGB: {_REMEDY}")
    return index


def _pages(series: tifffile.TiffPageSeries) -> list[tifffile.TiffPage | tifffile.TiffFrame]:
    return [page for page in series.pages if page is not None]


def _check_complete(series: tifffile.TiffPageSeries, file_name: str) -> None:
    """
    Raises:
        UserError: pieces of the image are missing, which tifffile would make black, or lie on
            each other.
    """
    keyframe = series.keyframe
    end, total = os.path.getsize(file_name), 0
    for page in _pages(series):
        pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        whole = all(count > 0 and start + count <= end for start, count in pieces)
        total = total + sum(page.databytecounts) if whole and pieces else end + 1
    plain = keyframe.compression == COMPRESSION.NONE and keyframe.bitspersample >= 8
    if total > end or (plain and total < keyframe.nbytes):
        raise UserError(
            f"{file_name} cannot be read as an image (pieces of it are missing): "
            "replace it by a complete PNG, JPEG or TIFF file"
        )


def _from_samples(series: tifffile.TiffPageSeries, axis: int | None, file_name: str) -> np.ndarray:
    """(H, W, 3) of samples that tifffile reads."""
    page = series.keyframe
    if page.compression in _DEFLATE:
        for each in _pages(series):
            _check_deflated(each, page, file_name)
    samples = to_8_bits(series.asarray(), file_name)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        samples = 255 - samples
    if axis is not None:
        samples = np.moveaxis(samples, axis, -1)
    if axis is None or samples.shape[-1] == 2:
        return repeated(samples.reshape(*samples.shape[:2], -1)[:, :, 0])
    return samples[:, :, :3]


def _check_deflated(
    page: tifffile.TiffPage | tifffile.TiffFrame, keyframe: tifffile.TiffPage, file_name: str
) -> None:
    """
    Raises:
        UserError: a piece holds more than it should; tifffile would unpack all of it.
    """
    # A piece may be larger than the image, as tiles are, but not by much.
    size = min(math.prod(keyframe.chunks) * 8, keyframe.nbytes + 2**26)
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        keyframe.parent.filehandle.seek(start)
        unpacked = zlib.decompressobj()
        unpacked.decompress(keyframe.parent.filehandle.read(count), size + 1)
        if not unpacked.eof:
            raise UserError(
                f"{file_name} cannot be read as an image (a piece of it is cut off or too large): "
                "replace it by a complete PNG, JPEG or TIFF file"
            )


def _by_pillow(series: tifffile.TiffPageSeries, file_name: str) -> np.ndarray:
    """(H, W, 3) upright, of one page or of three gray ones."""
    page = series.keyframe
    # Of planes, Pillow mixes up the bytes of deep samples.
    bits = (1, 2, 4, 8, 16, 32) if page.planarconfig == 1 else (1, 8)
    if page.compression not in TiffImagePlugin.COMPRESSION_INFO or page.bitspersample not in bits:
        compression = getattr(page.compression, "name", page.compression)
        raise UserError(
            f"{file_name} has {page.bitspersample}-bit samples in {compression} compression, which "
            "cannot be read: save it with 8 bits a channel, without compression or with LZW"
        )
    with opened(file_name) as image:
        pages = []
        for each in _pages(series):
            image.seek(each.index)
            pages.append(rgb_from_pil(image, file_name))
    return pages[0] if len(pages) == 1 else np.stack([each[:, :, 0] for each in pages], axis=2)


def _from_jpeg_2000(page: tifffile.TiffPage) -> np.ndarray:
    """(H, W, 3) of tiles or strips that are JPEG 2000 each."""
    height, width = page.imagelength, page.imagewidth
    rgb = np.empty((height, width, 3), dtype=np.uint8)
    rows, columns = page.chunks[:2]
    across = math.ceil(width / columns)
    pieces = zip(page.dataoffsets, page.databytecounts, strict=True)
    for index, (start, count) in enumerate(pieces):
        page.parent.filehandle.seek(start)
        with Image.open(
            io.BytesIO(page.parent.filehandle.read(count)), formats=["JPEG2000"]
        ) as tile:
            samples = np.asarray(tile.convert("RGB"))
        if page.compression == _APERIO_YCBCR:
            samples = np.asarray(Image.fromarray(samples, "YCbCr").convert("RGB"))
        top, left = index // across * rows, index % across * columns
        place = rgb[top : top + rows, left : left + columns]
        place[:] = samples[: place.shape[0], : place.shape[1]]
    return rgb
