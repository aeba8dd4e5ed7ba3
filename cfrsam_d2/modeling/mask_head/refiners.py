"""The refiners of initial masks by the names of MODEL.MASK_HEAD.REFINEMENT (Table 7).

A refiner is called as `BGMR` is. Its `detail` makes what it needs of an image, and its `outputs`
name the logits that it gives: "refined", and after that "boundary", if it finds boundaries.
R nuclei, H×W px of a frame or a crop.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from .bgmr import BGMR
from .layers import conv_bn_relu


class MLP(nn.Module):
    """As many parameters as BGMR's in two hidden layers: no surroundings, no image, no boundaries.

    Args:
        channels: of the mask features and of the deep features.
        hidden_channels: of the hidden layers.
    """

    outputs: tuple[str, ...] = ("refined",)

    def __init__(self, channels: int = 32, hidden_channels: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels, hidden_channels, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, hidden_channels, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, 1, kernel_size=1),
        )

    def detail(self, images: torch.Tensor) -> torch.Tensor:
        """Nothing of normalised images (B, 3, H, W): a map without channels, (B, 0, H, W)."""
        return images[:, :0]

    def forward(
        self, detail: torch.Tensor, mask_features: torch.Tensor, deep_features: torch.Tensor
    ) -> tuple[torch.Tensor]:
        """Refined logits (R, H, W), computed at a quarter of the size; arguments as of `BGMR`."""
        logits = self.layers(torch.cat([mask_features, deep_features], dim=1))
        logits = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
        return (logits.squeeze(1),)


class BGMRWithoutMCBE(BGMR):
    """D is the base features of the image, no boundaries enhanced."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__(channels)
        self.mcbe = conv_bn_relu(3, channels, 3)


class DetailAlone(nn.Module):
    """In place of BGFF: Y is D."""

    def forward(self, semantic: torch.Tensor, detail: torch.Tensor) -> torch.Tensor:
        """Args: S and D (R, 32, H, W). Returns: Y (R, 32, H, W)."""
        return detail


class BGMRWithoutBGFF(BGMR):
    """D guides the refinement and gives the boundaries, not aligned with S before."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__(channels)
        self.bgff = DetailAlone()


# "none": the initial masks are the result.
REFINERS: dict[str, Callable[[], nn.Module] | None] = {
    "BGMR": BGMR,
    "none": None,
    "MLP": MLP,
    "BGMR-without-MCBE": BGMRWithoutMCBE,
    "BGMR-without-BGFF": BGMRWithoutBGFF,
}
