"""The project's own small stand-in for Detectron2: the names it uses, by the same paths.

Importing any other name answers with one sentence that says to install Detectron2.
"""

import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

__version__ = "0.6+standin"

_INSTALL = "pip install 'git+https://github.com/facebookresearch/detectron2.git'"


class _Finder:
    """Finds the stand-in's modules, and raises for those that it lacks."""

    @staticmethod
    def find_spec(
        fullname: str, path: list[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None:
            raise ModuleNotFoundError(
                f"{fullname} is not in the stand-in for Detectron2 that comes with cfrsam_d2:"
                f" install Detectron2 ({_INSTALL})",
                name=__name__,
            )
        # As a package, so that Python looks for a name that a module lacks among its modules, too.
        spec.submodule_search_locations = spec.submodule_search_locations or []
        return spec


sys.meta_path.insert(0, _Finder)
