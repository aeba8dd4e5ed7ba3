"""Reading an image file of any common kind as 8-bit RGB."""

import numpy as np
from PIL import Image

from ..errors import UserError

# What PIL raises, depending on where a damaged file breaks off.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_rgb(file_name: str) -> np.ndarray:
    """Read an image file as 8-bit RGB.

    Grayscale is repeated over the three channels, a palette is looked up, transparency is dropped
    without blending. Of 16-bit samples the high byte is kept: 65535 becomes 255, whatever the
    image's own maximum. Of a file with several pages the first is read.

    Args:
        file_name: path of a PNG, JPEG, TIFF or other file that PIL reads.

    Returns:
        (H, W, 3) uint8 array.

    Raises:
        UserError: the file is missing, damaged, cut off, no image, or has 32-bit samples.
    """
    return rgb_from_pil(read_pil(file_name), file_name)


def read_pil(file_name: str) -> Image.Image:
    """Read an image file, whole, in its own mode.

    Raises:
        UserError: the file is missing, damaged, cut off or no image.
    """
    try:
        with Image.open(file_name) as image:
            image.load()
    except FileNotFoundError as error:
        raise UserError(
            f"{file_name} does not exist: check the dataset's image folder or convert it again"
        ) from error
    except _UNREADABLE as error:
        raise UserError(
            f"{file_name} cannot be read as an image ({error}): "
            "replace it by a complete PNG, JPEG or TIFF file"
        ) from error
    return image


def rgb_from_pil(image: Image.Image, name: str) -> np.ndarray:
    """Turn a PIL image of any mode into 8-bit RGB, as `read_rgb` does with a file's.

    Args:
        image: of PIL.
        name: what the error calls it.

    Returns:
        (H, W, 3) uint8 array.

    Raises:
        UserError: it has 32-bit samples.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        # Older PIL calls 16-bit PNG "I". Its own conversion would clip at 255.
        return rgb_from_array(np.asarray(image).astype(np.uint16))
    if image.mode in ("I", "F"):
        raise UserError(f"{name} has 32-bit samples: save it with 8 or 16 bits a channel")
    return np.array(image.convert("RGB"))


def rgb_from_array(array: np.ndarray) -> np.ndarray:
    """Turn samples into 8-bit RGB, as `read_rgb` does with a file's.

    Args:
        array: uint8 or uint16; (H, W) or (H, W, 1) is gray, (H, W, 3) RGB, (H, W, 4) RGB and
            transparency, which is dropped.

    Returns:
        (H, W, 3) uint8 array.

    Raises:
        UserError: the array has no pixels, another shape or another type.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise UserError(
            f"the image array has the shape {array.shape}: give (H, W) or (H, W, 3), rows first"
        )
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise UserError(
            f"the image array has samples of type {array.dtype}: give uint8 from 0 to 255 or uint16"
        )
    if array.dtype.itemsize == 2:
        array = (array >> 8).astype(np.uint8)
    if channels == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return array[:, :, :3]
