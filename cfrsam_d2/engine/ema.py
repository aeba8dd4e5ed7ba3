"""The exponential moving average of a model's weights, which is what gets evaluated."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..checkpoint.checkpointer import describe_differences
from ..errors import UserError


class WeightAverage:
    """Averages of the trainable parameters and of the float buffers, by their names.

    After each update, average = decay · average + (1 − decay) · weight.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """
        Args:
            model: whose weights are averaged; not wrapped for distribution.
            decay: in (0, 1).
        """
        self._model = model
        self._decay = decay
        self._averages: dict[str, Tensor] = {}

    def start(self) -> None:
        """Begin at the model's present weights, unless averages were loaded."""
        if not self._averages:
            self._averages = {name: each.clone() for name, each in self._weights().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the model's present weights."""
        for name, weight in self._weights().items():
            self._averages[name].lerp_(weight, 1 - self._decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A context in which the model has the averages as its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        return self._averages

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """
        Raises:
            UserError: the averages are of other weights than the ones that train.
        """
        weights = self._weights()
        if found := describe_differences(weights, state_dict):
            raise UserError(
                f"the checkpoint averages other weights than this config trains, {found}: resume "
                "with the config of the run"
            )
        self._averages = {
            name: state_dict[name].to(weight.device, copy=True) for name, weight in weights.items()
        }

    def _weights(self) -> dict[str, Tensor]:
        """The model's own tensors, without gradients."""
        names = {name for name, each in self._model.named_parameters() if each.requires_grad}
        names |= {name for name, _ in self._model.named_buffers()}
        return {
            name: each
            for name, each in self._model.state_dict().items()
            if name in names and each.is_floating_point()
        }

    @torch.no_grad()
    def _swap(self) -> None:
        for name, weight in self._weights().items():
            held = weight.clone()
            weight.copy_(self._averages[name])
            self._averages[name].copy_(held)
