"""The plain form of what is also there in a fast one.

A module that computes the paper's sums in another order, because that is faster, has both forms in
its `forward` and an attribute `fast`. Multiply-adds are counted of the plain form, times compared
with it, and tests hold both to the same numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def plain_form(model: nn.Module) -> Iterator[None]:
    """A context in which all modules of a model, or of a part of it, compute in plain form."""
    modules: list[Any] = [module for module in model.modules() if hasattr(module, "fast")]
    before = [module.fast for module in modules]
    for module in modules:
        module.fast = False
    try:
        yield
    finally:
        for module, fast in zip(modules, before, strict=True):
            module.fast = fast
