"""Configs by their names, and the small model whose weights come with the project."""

import logging
from difflib import get_close_matches
from pathlib import Path

from .errors import UserError

CONFIGS = Path(__file__).parent / "configs"  # in a clone a link to those of its root
SMALL_MODEL = "small/shipped.yaml"
# Prefix of files that come with the package, as in `cfrsam_d2://weights/small.safetensors`.
PACKAGE_PREFIX = "cfrsam_d2://"

logger = logging.getLogger(__name__)


def get_config_file(name: str) -> str:
    """The path of a config that comes with the project.

    Args:
        name: below configs/, such as "cfrsam_h.yaml" or "monuseg/cfrsam_b.yaml".

    Raises:
        UserError: there is none of that name.
    """
    path = CONFIGS / name
    if not path.is_file():
        close = get_close_matches(name, config_names(), n=3, cutoff=0.0)
        raise UserError(f"there is no config {name!r}: take one such as {', '.join(close)}")
    return str(path)


def config_names() -> list[str]:
    """All that `get_config_file` takes."""
    return sorted(file.relative_to(CONFIGS).as_posix() for file in CONFIGS.rglob("*.yaml"))


def small_model() -> str:
    """The config of the model that comes with the project, which the log then names."""
    logger.warning(
        "No config is given: taking the small model that comes with the project, trained on few "
        "images; its weights are for research alone (docs/model-card.md)"
    )
    return get_config_file(SMALL_MODEL)


def local_path(path: str) -> str:
    """The file behind a name that begins with `PACKAGE_PREFIX`; any other is as it is."""
    if not path.startswith(PACKAGE_PREFIX):
        return path
    return str(Path(__file__).parent / path.removeprefix(PACKAGE_PREFIX))
