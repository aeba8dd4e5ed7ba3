"""Mixed precision: products and convolutions in bfloat16, on CUDA and on CPUs."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode


@dataclass(frozen=True)
class Precision:
    """Where a model computes in mixed precision.

    bfloat16 has the range of float32, so gradients need no scaling. What is no product or
    convolution of features stays in float32: positions, losses, logits of masks.

    Attributes:
        mixed_in_training: SOLVER.AMP.ENABLED.
        mixed_in_inference: TEST.AMP.ENABLED.
    """

    mixed_in_training: bool = False
    mixed_in_inference: bool = False

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "Precision":
        return cls(cfg.SOLVER.AMP.ENABLED, cfg.TEST.AMP.ENABLED)

    def context(self, device: torch.device, *, training: bool) -> AbstractContextManager:
        """For a forward pass on a device."""
        is_mixed = self.mixed_in_training if training else self.mixed_in_inference
        # Without: an autocast that is around the model stays.
        return torch.autocast(device.type, torch.bfloat16) if is_mixed else nullcontext()


FLOAT32 = Precision()
