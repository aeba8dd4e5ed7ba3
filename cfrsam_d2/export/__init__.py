"""Predicted nuclei as files for other programs.

`prediction` is what is written of an image; `geojson` (with `outlines`), `label_map`, `table`,
`coco` and `overlay` each make one kind of file, and `folder` writes them.
"""

from .folder import FORMATS, ExportFolder
from .prediction import Prediction, best_first

__all__ = ["FORMATS", "ExportFolder", "Prediction", "best_first"]
