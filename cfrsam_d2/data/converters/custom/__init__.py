"""The user's own images and labels as a dataset folder.

`classes` reads the names of the classes, `label_files` finds the labels, `label_maps`, `geojson`
and `coco` each read one form of them, and `conversion` writes the folder.
"""

from .conversion import convert_custom

__all__ = ["convert_custom"]
