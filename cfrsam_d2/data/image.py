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
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        # Older PIL calls 16-bit PNG "I". Its own conversion would clip at 255.
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise UserError(f"{file_name} has 32-bit samples: save it with 8 or 16 bits a channel")
    return np.array(image.convert("RGB"))
