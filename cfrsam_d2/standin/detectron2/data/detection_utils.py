"""Reading images."""

import numpy as np
from PIL import Image, ImageOps

from detectron2.utils.file_io import PathManager


def read_image(file_name: str, format: str | None = None) -> np.ndarray:
    """(H, W, C) uint8 in a mode of PIL or "BGR", upright by its EXIF tag."""
    with PathManager.open(file_name, "rb") as file:
        image = ImageOps.exif_transpose(Image.open(file))
        if format is not None:
            image = image.convert("RGB" if format == "BGR" else format)
        array = np.asarray(image)
    if format == "BGR":
        return array[:, :, ::-1]
    return array[:, :, None] if format == "L" else array
