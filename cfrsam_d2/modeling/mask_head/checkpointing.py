"""Activations that are computed again in the backward pass instead of being kept."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_once(module: nn.Module, *inputs: Tensor) -> Tensor:
    """What a module makes of its inputs."""
    return module(*inputs)


def run_twice(module: nn.Module, *inputs: Tensor) -> Tensor:
    """The same, with the same gradients; only the inputs are kept for them.

    Batch norm's running statistics are updated once.
    """
    output: Any = checkpoint(
        module,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), buffers_kept(module)),
    )
    return output


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """A context in which what a module writes to its buffers goes to copies of them."""
    before = [
        (layer, name, buffer)
        for layer in module.modules()
        for name, buffer in layer.named_buffers(recurse=False)
    ]
    for layer, name, buffer in before:
        setattr(layer, name, buffer.clone())
    try:
        yield
    finally:
        for layer, name, buffer in before:
            setattr(layer, name, buffer)
