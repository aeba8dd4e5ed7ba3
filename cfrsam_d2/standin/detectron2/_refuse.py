"""Options that Detectron2 has and the project does not use are refused, never ignored."""

from typing import Any


def refuse(**options: Any) -> None:
    """Raise NotImplementedError naming the first option that is set."""
    for name, value in options.items():
        if value:
            raise NotImplementedError(
                f"{name}={value!r} is not in the stand-in that comes with cfrsam_d2: "
                "install Detectron2 to use it"
            )
