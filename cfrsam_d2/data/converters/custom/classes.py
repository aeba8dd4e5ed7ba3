"""The classes of the user's own data: a YAML file of ids and names."""

import reprlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ....errors import UserError
from ....structures.coco import UNKNOWN_CLASS, UNKNOWN_NAME

_EXAMPLE = "write `classes: {1: tumour, 2: lymphocyte}`"


@dataclass(frozen=True)
class ClassNames:
    """Names of classes by the ids that label maps use. Ids of one name are one class.

    Attributes:
        file: that they come from.
        by_id: names in the order of their ids. "unknown" is no class: it says that nuclei of
            unknown class are allowed.
    """

    file: Path
    by_id: Mapping[int, str]

    @property
    def names(self) -> list[str]:
        """The names by class index."""
        return [name for name in dict.fromkeys(self.by_id.values()) if name != UNKNOWN_NAME]

    @property
    def has_unknown(self) -> bool:
        """Whether nuclei may be of unknown class."""
        return UNKNOWN_NAME in self.by_id.values()

    def index(self, wanted: int | str | None, nucleus: str) -> int:
        """The index of a class.

        Args:
            wanted: its id or its name; None, of a nucleus without either, is of unknown class if
                that is allowed, else of the only class.
            nucleus: what the error calls it.

        Returns:
            The index, or `UNKNOWN_CLASS`.

        Raises:
            UserError: there is no such class.
        """
        names = self.names
        if wanted is None and len(names) == 1 and not self.has_unknown:
            return 0
        name = self.by_id.get(wanted) if isinstance(wanted, int) else wanted or UNKNOWN_NAME
        if name == UNKNOWN_NAME and self.has_unknown:
            return UNKNOWN_CLASS
        if name in names:
            return names.index(name)
        listed = ", ".join(f"{class_id}: {name}" for class_id, name in self.by_id.items())
        if wanted is None:
            raise UserError(
                f"{nucleus} has no class: give it one of those in {self.file} ({listed}), or add "
                f"`0: {UNKNOWN_NAME}` there"
            )
        raise UserError(
            f"{nucleus} is of class {reprlib.repr(wanted)}, which {self.file} does not have "
            f"({listed}): add it there, or correct the label"
        )


def read_classes(file: Path) -> ClassNames:
    """Read a file such as `classes: {1: tumour, 2: lymphocyte}`.

    Raises:
        UserError: it is missing or is not such a YAML, or an id stands there twice.
    """
    try:
        data = yaml.load(file.read_bytes(), Loader=_StrictLoader)
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): {_EXAMPLE} there") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is no YAML ({' '.join(str(error).split())}): {_EXAMPLE}") from None
    classes = data.get("classes") if isinstance(data, dict) else None
    if not isinstance(classes, dict) or not classes:
        raise UserError(f"{file} has no `classes` with ids and names: {_EXAMPLE}")
    for class_id, name in classes.items():
        first = 0 if name == UNKNOWN_NAME else 1
        is_id = type(class_id) is int and first <= class_id < 2**53
        if not is_id or not isinstance(name, str) or not name or not name.isprintable():
            shown = f"{_shown(class_id)}: {_shown(name)}"
            raise UserError(
                f"{file} has the class {shown}: let ids be whole numbers from 1 on, and names text"
            )
    names = ClassNames(file, dict(sorted(classes.items())))
    if not names.names:
        raise UserError(f"{file} has no class but {UNKNOWN_NAME!r}: {_EXAMPLE}")
    return names


def _shown(value: Any) -> str:
    """A value, shortened: aliases of YAML repeat, and whole numbers may have any length."""
    is_long = type(value) is int and abs(value) >= 2**53
    return "a huge number" if is_long else reprlib.repr(value)


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, where YAML lets the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(
                problem="a key stands twice", problem_mark=node.start_mark
            )
        return mapping
