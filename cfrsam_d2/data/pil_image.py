"""Images that Pillow reads, as 8-bit RGB. H×W px."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from .pixels import MAX_PIXELS, check_pixels, repeated, to_8_bits, upright

# Other formats of Pillow are no images of tissue, and some of its plug-ins start other programs.
_FORMATS = ("PNG", "JPEG", "JPEG2000", "BMP", "DIB", "WEBP", "GIF", "PPM", "TIFF")
_BAND = 2**22  # px that are converted at a time
_ORIENTATION = 0x0112  # the EXIF tag
_pillow_limit = threading.Lock()


@contextmanager
def opened(file_name: str) -> Iterator[Image.Image]:
    """Open a file with Pillow, whose limit of 179 Mpx, with its wrong remedy, gives way to ours.

    Raises:
        UserError: the image is too large.
    """
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(file_name, formats=_FORMATS) as image:
                check_pixels(file_name, image.size, os.path.getsize(file_name))
                Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # of tiles
                yield image
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def rgb_from_pil(image: Image.Image, name: str) -> np.ndarray:
    """Turn a PIL image of any mode into 8-bit RGB, upright, as `read_rgb` does with a file's.

    Args:
        image: of PIL.
        name: what the error calls it.

    Returns:
        (H, W, 3) uint8 array.

    Raises:
        UserError: it has 32-bit whole numbers.
    """
    image.load()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        # Older PIL calls 16-bit PNG "I". Its own conversion would clip at 255.
        rgb = repeated(to_8_bits(np.asarray(image).astype(np.uint16), name))
    elif image.mode in ("I", "F"):
        rgb = repeated(to_8_bits(np.asarray(image), name))
    else:
        rgb = _converted(image)
    return np.ascontiguousarray(upright(rgb, image.getexif().get(_ORIENTATION)))


def _converted(image: Image.Image) -> np.ndarray:
    """Pillow's RGB of an image, band by band, as it holds 4 bytes a px and would copy them."""
    width, height = image.size
    rgb = np.empty((height, width, 3), dtype=np.uint8)
    rows = max(_BAND // width, 1)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        rgb[top : top + rows] = np.asarray(band.convert("RGB"))
    return rgb
