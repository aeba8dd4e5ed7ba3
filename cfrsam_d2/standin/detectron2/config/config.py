"""`CfgNode` with a version, and `configurable`."""

import functools
import inspect
from collections.abc import Callable

from fvcore.common.config import CfgNode as _CfgNode

from detectron2.utils.file_io import PathManager


class CfgNode(_CfgNode):
    """fvcore's CfgNode, which also checks the VERSION of the files that are merged into it."""

    @classmethod
    def _open_cfg(cls, filename: str):
        return PathManager.open(filename, "r")

    def merge_from_file(self, cfg_filename: str, allow_unsafe: bool = True) -> None:
        """Merge a YAML file and its `_BASE_`; keys that this config lacks raise KeyError."""
        assert PathManager.isfile(cfg_filename), f"Config file '{cfg_filename}' does not exist!"
        loaded = type(self)(self.load_yaml_with_base(cfg_filename, allow_unsafe=allow_unsafe))
        version = loaded.get("VERSION", None) or self.VERSION
        assert version <= self.VERSION, f"Cannot merge a v{version} config into v{self.VERSION}."
        if version < self.VERSION:
            raise NotImplementedError(f"'{cfg_filename}' is of v{version}: write it as v2")
        self.merge_from_other_cfg(loaded)


def get_cfg() -> CfgNode:
    """A copy of the default config."""
    from .defaults import _C

    return _C.clone()


def configurable(init_func: Callable | None = None, *, from_config: Callable | None = None):
    """Let `__init__`, or a function with a `from_config`, also be called with a config.

    Called with a config, the arguments are what `from_config(cfg, …)` returns; keyword arguments
    that `from_config` does not take override them.
    """
    if init_func is not None:
        assert from_config is None and getattr(init_func, "__name__", "") == "__init__", (
            "Incorrect use of @configurable: it decorates __init__, or takes from_config="
        )
        return _configurable_init(init_func)
    if from_config is None:  # @configurable() is @configurable
        return configurable
    assert inspect.isfunction(from_config), "from_config of configurable must be a function!"

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            if _has_config(args, kwargs):
                return function(**_explicit_arguments(from_config, args, kwargs))
            return function(*args, **kwargs)

        wrapped.from_config = from_config
        return wrapped

    return decorate


def _configurable_init(init: Callable) -> Callable:
    missing = "Class with @configurable must have a 'from_config' classmethod."

    @functools.wraps(init)
    def wrapped(self, *args, **kwargs) -> None:
        from_config = getattr(type(self), "from_config", None)
        if from_config is None:
            raise AttributeError(missing)
        if not inspect.ismethod(from_config):
            raise TypeError(missing)
        if _has_config(args, kwargs):
            init(self, **_explicit_arguments(from_config, args, kwargs))
        else:
            init(self, *args, **kwargs)

    return wrapped


def _has_config(args: tuple, kwargs: dict) -> bool:
    return isinstance(args[0] if args else kwargs.get("cfg"), _CfgNode)


def _explicit_arguments(from_config: Callable, args: tuple, kwargs: dict) -> dict:
    parameters = inspect.signature(from_config).parameters
    if next(iter(parameters), None) != "cfg":
        raise TypeError(f"{from_config} must take 'cfg' as the first argument!")
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values()):
        return from_config(*args, **kwargs)
    taken = {name: value for name, value in kwargs.items() if name in parameters}
    overrides = {name: value for name, value in kwargs.items() if name not in parameters}
    return {**from_config(*args, **taken), **overrides}
