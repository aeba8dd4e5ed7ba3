"""Pictures of nuclei: `drawing` draws, `layout` arranges panels and text, `pictures` joins both.

`pictures` alone knows dataset dicts and model outputs; the other two know numpy arrays.
"""

from .pictures import choose_images, draw_picture, write_picture

__all__ = ["choose_images", "draw_picture", "write_picture"]
