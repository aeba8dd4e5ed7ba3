"""Small images (PNG, JPEG …) as slides of one level, by Pillow, decoded whole."""

from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from ..data.image import read_pil
from ..errors import UserError
from .backend import WHITE, Box, Level, SlideFacts, no_brightfield, on_background
from .quickhash import quickhash

_MOST_PIXELS = 10**8  # 0.3 GB
_MODES = ("RGB", "RGBA", "P")


class ImageBackend:
    """See `Backend`. All handles share the pixels.

    Args:
        path: of an image that Pillow knows.

    Raises:
        UserError: it is damaged, too large to be read whole, or not in 8-bit RGB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pixels = _pixels(path)
        height, width = self._pixels.shape[:2]
        with path.open("rb") as file:
            identity = quickhash(file)
        self.facts = SlideFacts(
            levels=(Level((width, height), tile=(width, height)),),
            # Their dots per inch are those of a screen or a printer.
            properties={"reader": "Pillow", "quickhash": identity},
        )

    def read(self, level: int, box: Box) -> np.ndarray:
        x0, y0, x1, y1 = box
        return self._pixels[y0:y1, x0:x1].copy()

    def reopen(self) -> Self:
        return self

    def close(self) -> None:
        """Nothing is open."""


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as header:  # decodes nothing
        if header.mode not in _MODES:
            raise no_brightfield(path, f"{header.format} of mode {header.mode}")
        if header.width * header.height > _MOST_PIXELS:
            raise UserError(
                f"{path} is a {header.format} of {header.width} × {header.height} px, which has to "
                "be decoded whole: save it as tiled TIFF"
            )
    return on_background(np.asarray(read_pil(str(path)).convert("RGBA")), WHITE)
