"""Arrays of ids in PNG, TIFF and NPY files: their shapes first, so that none is read in vain."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tifffile import TiffFile

from ....errors import UserError


class LabelArray(NamedTuple):
    """
    Attributes:
        shape: as the file says it.
        read: reads the whole of it, in this shape and in the type of the file.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def open_labels(path: Path) -> LabelArray:
    """Read the head of a file. Palettes are not looked up: their indices are the ids.

    Raises:
        UserError: the file is damaged or no array; so does `read`.
    """
    of_suffix = {".npy": _open_npy, ".tif": _open_tiff, ".tiff": _open_tiff}
    with _names(path):
        opened = of_suffix.get(path.suffix.lower(), _open_image)(path)

    def read() -> np.ndarray:
        with _names(path):
            return opened.read().reshape(opened.shape)

    return LabelArray(opened.shape, read)


@contextmanager
def _names(path: Path) -> Iterator[None]:
    """Turn what readers raise, which is nearly anything when bytes are damaged."""
    try:
        yield
    except Exception as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise UserError(
                f"{path} holds Python objects, a dict perhaps: save the array of its instance ids "
                "alone, or write `inst_map` and `inst_type` with scipy.io.savemat"
            ) from None
        if path.suffix.lower() == ".npy":
            raise UserError(f"{path} is damaged or no array ({error}): save it again") from None
        raise UserError(
            f"{path} cannot be read as an image ({error}): replace it by a complete PNG or TIFF"
        ) from None


def _open_npy(path: Path) -> LabelArray:
    array = np.load(path, mmap_mode="r")
    if not isinstance(array, np.ndarray):
        raise TypeError("it is an archive")
    return LabelArray(array.shape, partial(np.array, array))


def _open_tiff(path: Path) -> LabelArray:
    with TiffFile(path) as tiff:
        return LabelArray(tiff.series[0].shape, partial(_read_tiff, path))


def _read_tiff(path: Path) -> np.ndarray:
    try:
        with TiffFile(path) as tiff:
            return tiff.series[0].asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):  # which is needed for LZW, but Pillow knows it, too
            raise
    return _read_image(path)


def _open_image(path: Path) -> LabelArray:
    with _any_size(), Image.open(path) as image:
        bands = len(image.getbands())
        return LabelArray(
            (image.height, image.width, bands)[: 2 + (bands > 1)], partial(_read_image, path)
        )


def _read_image(path: Path) -> np.ndarray:
    with _any_size(), Image.open(path) as image:
        return np.asarray(image)


@contextmanager
def _any_size() -> Iterator[None]:
    """Lift Pillow's limit: what is read whole has the size of an image that was read before."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
