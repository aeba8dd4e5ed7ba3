"""Reading an image file of any common kind as 8-bit RGB, upright."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

from ..errors import UserError
from .pil_image import opened, rgb_from_pil
from .tiff import is_tiff, read_tiff

IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".tif",
    ".tiff",
    ".btf",
    ".tf8",
    ".svs",
    ".jp2",
    ".j2k",
    ".jpx",
    ".bmp",
    ".dib",
    ".webp",
    ".gif",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)


def read_rgb(file_name: str) -> np.ndarray:
    """Read an image file as 8-bit RGB, turned as its orientation tag says.

    Grayscale is repeated over the three channels, a palette is looked up, transparency is dropped
    without blending. Of 16-bit samples the high byte is kept: 65535 becomes 255, whatever the
    image's own maximum. Floating point samples are of 0 to 1, else of 0 to 255. Of a pyramid the
    largest level is read; three gray pages or channels are an RGB.

    Args:
        file_name: path of a file of one of IMAGE_SUFFIXES; the suffix itself does not count.

    Returns:
        (H, W, 3) uint8 array.

    Raises:
        UserError: the file is missing, damaged, cut off, no image, too large, holds several images
            or other than three channels, or has 32-bit whole numbers.
    """
    with reading(file_name):
        if is_tiff(file_name):
            return read_tiff(file_name)
        with opened(file_name) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a camera's, with a preview behind it
                raise UserError(f"{file_name} has {frames} frames: save the one image by itself")
            return rgb_from_pil(image, file_name)


def read_pil(file_name: str) -> Image.Image:
    """Read an image file, whole, in its own mode, turned as its orientation tag says.

    Raises:
        UserError: the file is missing, damaged, cut off, no image or too large.
    """
    with reading(file_name), opened(file_name) as image:
        return ImageOps.exif_transpose(image)  # a copy, where nothing is to be turned, too


@contextmanager
def reading(file_name: str) -> Iterator[None]:
    """
    Raises:
        UserError: the block could not read the file, whatever the reason.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(
            f"{file_name} does not exist: check the dataset's image folder or convert it again"
        ) from error
    except (MemoryError, Image.DecompressionBombError) as error:
        raise UserError(f"{file_name} does not fit into memory: cut it into tiles") from error
    # Readers check little: damaged bytes end in whatever their arithmetic ends in.
    except Exception as error:
        raise UserError(
            f"{file_name} cannot be read as an image ({' '.join(str(error).split())}): "
            "replace it by a complete PNG, JPEG or TIFF file"
        ) from error
