"""An image of the user's with its nuclei, which are read when it is written."""

from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from ....structures.masks import BoxMask


class LabelledImage(NamedTuple):
    """
    Attributes:
        path: of the file.
        relative: its path below the folder of all images.
        nuclei: called with height and width in px; gives pairs of a mask and a class
            index, or raises UserError.
        tissue: its name.
        magnification: of the objective.
    """

    path: Path
    relative: PurePath
    nuclei: Callable[[tuple[int, int]], Iterable[tuple[BoxMask, int]]]
    tissue: str
    magnification: float

    @property
    def png_name(self) -> str:
        """The name of its copy, of which folders become a part."""
        return "_".join(self.relative.with_suffix("").parts) + ".png"
