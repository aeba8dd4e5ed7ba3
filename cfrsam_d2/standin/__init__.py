"""Where Detectron2 is not installed, the project's own small stand-in takes its name.

`detectron2/` beside this file holds the names the project uses, with Detectron2's signatures and
behaviour. Nothing outside this folder knows which of the two runs.
"""

import importlib.util
import logging
import sys
from pathlib import Path


def install_if_missing() -> None:
    """Append the stand-in to `sys.path` unless a `detectron2` can be found; say so once."""
    if importlib.util.find_spec("detectron2") is not None:
        return
    sys.path.append(str(Path(__file__).resolve().parent))
    logging.getLogger(__name__).warning(
        "Detectron2 is not installed: running on the stand-in that comes with cfrsam_d2."
    )
