"""The project's own small stand-in for Detectron2: the names it uses, by the same paths.

Importing any other name answers with one sentence that says to install Detectron2.
"""

import logging
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

__version__ = "0.6+standin"


class _Finder:
    """Finds the stand-in's modules, and raises for those that it lacks."""

    @staticmethod
    def find_spec(fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None:
            raise ModuleNotFoundError(
                f"{fullname} is not in cfrsam_d2's stand-in for Detectron2: install Detectron2"
                " (pip install 'git+https://github.com/facebookresearch/detectron2.git')",
                name=__name__,
            )
        # As a package, so that Python looks for a name that a module lacks among its modules, too.
        spec.submodule_search_locations = spec.submodule_search_locations or []
        return spec


sys.meta_path.insert(0, _Finder)
logging.getLogger(__name__).warning(
    "Detectron2 is not installed: running on the stand-in that comes with cfrsam_d2."
)
