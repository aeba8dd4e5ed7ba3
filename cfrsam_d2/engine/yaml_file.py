"""Read a config file and those that it extends; what is wrong with one is said in one sentence."""

import os
import reprlib
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from ..errors import UserError

BASE = "_BASE_"
VERSION = 2  # of Detectron2's configs; the keys of version 1 had other names
_MAX_BYTES = 200_000  # all keys are 10 kB
_MAX_DEPTH = 20


def read_config_file(path: str, extending: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read the keys of a YAML file and of its `_BASE_`, one file or a list; later ones override.

    Args:
        path: of the file; that of a `_BASE_` is relative to the file that names it.
        extending: the files that have led to this one.

    Raises:
        UserError: one of the files is missing, cannot be read or is no YAML of keys, or they extend
            each other in a circle.
    """
    source = path if not extending else f"{path}, the {BASE} of {extending[-1]},"
    if os.path.realpath(path) in map(os.path.realpath, extending):
        raise UserError(f"{source} extends itself: take that {BASE} out")
    keys = _parse(path, source)
    if keys.get("VERSION", VERSION) != VERSION:
        raise UserError(
            f"{source} has VERSION {keys['VERSION']!r}: give its keys the names of version "
            f"{VERSION}, and leave VERSION out"
        )
    merged: dict[str, Any] = {}
    for base in _bases(keys.pop(BASE, []), source):
        file = str(Path(path).parent / Path(base).expanduser())
        _merge(read_config_file(file, (*extending, path)), merged, source)
    _merge(keys, merged, source)
    return merged


class _Loader(yaml.SafeLoader):
    """Refuses what would be misread: a key that stands twice, or with a point, and an alias."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ComposerError(problem="it is nested too deeply")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and isinstance(node, yaml.MappingNode):  # a few lines can make millions of keys
            raise ComposerError(
                problem="an alias stands for keys: write them out", problem_mark=node.start_mark
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, name in enumerate(names):
            problem = ""
            if name in names[:index]:
                problem = f"{name} stands twice: leave one out"
            elif "." in str(name):
                problem = f"{name} has a point: write what is behind it below what is before it"
            if problem:
                raise ConstructorError(problem=problem, problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def _parse(path: str, source: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise UserError(
            f"the config file {source!r} does not exist: "
            "let --config-file name one, such as configs/prompt_learner.yaml"
            if source == path
            else f"{source} does not exist: correct that {BASE}, which is relative to its file"
        )
    try:
        data = Path(path).read_bytes()
        if len(data) > _MAX_BYTES:
            raise ValueError(f"it has {len(data):,} bytes")
        keys = yaml.load(data.decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source} is not in UTF-8 (byte {error.start}): save it as UTF-8"
        ) from None
    except Exception as error:  # of many kinds: of YAML, of the values in it, of its depth
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{source} is no YAML of keys: {reason}") from error
    if not isinstance(keys, dict):
        raise UserError(f"{source} is no YAML of keys, but begins with {reprlib.repr(keys)}")
    return keys


def _bases(value: Any, source: str) -> list[str]:
    bases = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in bases):
        raise UserError(f"{source} has a {BASE} that is no path: name one file, or a list of files")
    return bases


def _merge(keys: dict[str, Any], into: dict[str, Any], source: str) -> None:
    for name, value in keys.items():
        if isinstance(value, dict) and name in into:
            if not isinstance(into[name], dict):
                raise UserError(f"{source} has keys below {name}, which is a value in its {BASE}")
            _merge(value, into[name], source)
        else:
            into[name] = value
