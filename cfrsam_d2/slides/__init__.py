"""Whole slides in bounded memory, in the order in which pixels meet the modules:

`opening` chooses the library that reads a file, `resolution` its µm/px, `scaling` the level, and
`reader` joins them; `tissue` says where on the slide to look.
"""

from .reader import SlideReader, open_slide
from .tissue import TissueMask, find_tissue, read_tissue, whole_slide

__all__ = [
    "SlideReader",
    "TissueMask",
    "find_tissue",
    "open_slide",
    "read_tissue",
    "whole_slide",
]
