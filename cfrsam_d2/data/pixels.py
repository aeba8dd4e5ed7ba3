"""What readers of images share: how many pixels, samples as 8 bits, orientation. H×W px."""

from typing import Any

import numpy as np

from ..errors import UserError

MAX_PIXELS = 2**29  # 1.6 GB as RGB
# A file of more px than these has to have a byte for so many of them; scans have one for 30.
_SMALL = 2**26
_PIXELS_PER_BYTE = 200

# EXIF's orientations: rows and columns exchanged, then rows and columns counted from their ends.
_TURNS = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


def check_pixels(name: str, size: tuple[int, int], file_bytes: int) -> None:
    """Refuse what a file declares before memory is taken for it.

    Args:
        name: of the file.
        size: W, H.
        file_bytes: of the whole file.

    Raises:
        UserError: there are no pixels or too many, or so few bytes that they are no image's.
    """
    width, height = size
    pixels = width * height
    if pixels <= 0:
        raise UserError(f"{name} has no pixels ({width}×{height}): replace it by a complete image")
    if pixels > MAX_PIXELS:
        raise UserError(
            f"{name} has {width}×{height} px, more than {MAX_PIXELS:,}: cut it into tiles"
        )
    if pixels > max(_SMALL, _PIXELS_PER_BYTE * file_bytes):
        raise UserError(
            f"{name} declares {width}×{height} px in only {file_bytes:,} bytes, blank or cut off: "
            "replace it by a complete image, or cut it into tiles"
        )


def to_8_bits(samples: np.ndarray, name: str) -> np.ndarray:
    """Samples as uint8: of 16 bits the high byte, of truth values 0 and 255.

    Args:
        samples: of any shape; of floating point from 0 to 1, else from 0 to 255.
        name: what the error calls them.

    Returns:
        uint8, of the same shape; itself where it was.

    Raises:
        UserError: they are of another type, or of floating point and outside 0 to 255.
    """
    kind, itemsize = samples.dtype.kind, samples.dtype.itemsize
    if kind == "u" and itemsize == 1:
        return samples
    result = np.empty(samples.shape, dtype=np.uint8)
    if kind == "b":
        return np.multiply(samples, 255, out=result, casting="unsafe")
    if kind == "u" and itemsize == 2:
        return np.right_shift(samples, 8, out=result, casting="unsafe")
    if kind != "f":
        raise UserError(f"{name} has {samples.dtype} samples: save it with 8 or 16 bits a channel")
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= 255):  # nor NaN
        raise UserError(
            f"{name} has samples from {low:g} to {high:g}: save it with 8 or 16 bits a channel"
        )
    scaled = samples * 255 if high <= 1 else samples
    return np.rint(scaled, out=result, casting="unsafe")


def upright(image: np.ndarray, orientation: Any) -> np.ndarray:
    """A view (H, W, C) of an image that is turned as its orientation tag says.

    Args:
        image: as stored.
        orientation: EXIF's number, 1 to 8; any other value is none.
    """
    if orientation not in _TURNS:
        return image
    exchanged, rows, columns = _TURNS[orientation]
    return (image.swapaxes(0, 1) if exchanged else image)[::rows, ::columns]


def repeated(gray: np.ndarray) -> np.ndarray:
    """(H, W) as RGB, (H, W, 3)."""
    return np.repeat(gray[:, :, None], 3, axis=2)


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
    array = to_8_bits(array, "the image array")
    return repeated(array.reshape(array.shape[:2])) if channels == 1 else array[:, :, :3]
