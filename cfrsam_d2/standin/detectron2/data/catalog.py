"""Datasets and what is known of them, by name."""

from collections import UserDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class _Catalog(UserDict):
    def list(self) -> list[str]:
        return list(self.keys())

    def remove(self, name: str) -> None:
        self.pop(name)


class _DatasetCatalog(_Catalog):
    """A function without arguments for each name; it returns the dataset's list of dicts."""

    def register(self, name: str, func: Callable[[], Any]) -> None:
        assert name not in self, f"Dataset '{name}' is already registered!"
        self[name] = func

    def get(self, name: str) -> Any:
        """Call the function of `name`."""
        if name not in self:
            raise KeyError(f"Dataset '{name}' is not registered! Available are: {self.list()}")
        return self[name]()


class Metadata(SimpleNamespace):
    """Attributes of a dataset; each may be set once, or again to the same value."""

    def __setattr__(self, key: str, val: Any) -> None:
        old = self.__dict__.get(key, val)
        assert old == val, f"'{key}' of '{self.name}' cannot be set from {old} to {val}!"
        super().__setattr__(key, val)

    def set(self, **kwargs: Any) -> "Metadata":
        for key, value in kwargs.items():
            setattr(self, key, value)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)


class _MetadataCatalog(_Catalog):
    """One `Metadata` for each name, made when it is first asked for."""

    def get(self, name: str) -> Metadata:
        return self.setdefault(name, Metadata(name=name))


DatasetCatalog = _DatasetCatalog()
MetadataCatalog = _MetadataCatalog()
