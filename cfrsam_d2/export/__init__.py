"""Predicted nuclei as files for other programs.

`nuclei` numbers and cuts them out, `geojson` (with `outlines`), `label_map`, `table`, `coco` and
`overlay` each make one kind of file, `folder` writes them, `inputs` finds the images of a run.
"""

from ..data.image_files import find_images
from .folder import FORMATS, ExportFolder
from .nuclei import Prediction, nuclei_from_instances

__all__ = ["FORMATS", "ExportFolder", "Prediction", "find_images", "nuclei_from_instances"]
