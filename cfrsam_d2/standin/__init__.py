"""Where Detectron2 is not installed, the project's own small stand-in takes its name.

`detectron2/` beside this file holds the names the project uses, with Detectron2's signatures and
behaviour. Nothing outside this folder knows which of the two runs.
"""

import importlib.util
import sys
from pathlib import Path


def install_if_missing() -> None:
    """Append the stand-in to `sys.path` unless a `detectron2` can be found."""
    if importlib.util.find_spec("detectron2") is None:
        sys.path.append(str(Path(__file__).resolve().parent))
