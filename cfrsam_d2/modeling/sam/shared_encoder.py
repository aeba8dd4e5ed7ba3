"""The prompt learner's pyramids in SAM's place, for whoever has no weights of SAM.

As SAM's encoder it is a frozen network that knows the images, here from stage 1; what stage 2 adds
are necks and MALA adapters. B images, H×W px, h×w = H/16×W/16 cells of 16 px.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from .encoder import NECK_CHANNELS, PATCH_SIZE, LevelBackbone
from .mala import MALA

STRIDES = (4, 4, 8, 16)  # of the auxiliary mask's level, and of the three that describe a point
SIZE_DIVISIBILITY = 32  # px; ConvNeXt's coarsest level feeds all of them


class CellNeck(nn.Module):
    """A level on the grid of SAM's cells: what lies in a cell becomes channels."""

    def __init__(self, channels: int, stride: int) -> None:
        """
        Args:
            channels: C of the level.
            stride: px from one of its pixels to the next; divides 16.
        """
        super().__init__()
        self.side = PATCH_SIZE // stride  # pixels of a cell
        self.conv = nn.Conv2d(channels * self.side**2, NECK_CHANNELS, kernel_size=1, bias=False)
        self.norm = LayerNorm2d(NECK_CHANNELS)

    def forward(self, level: Tensor) -> Tensor:
        """Args: (B, C, H/stride, W/stride). Returns: (B, 256, h, w)."""
        return self.norm(self.conv(F.pixel_unshuffle(level, self.side)))


@BACKBONE_REGISTRY.register()
class SharedEncoder(LevelBackbone):
    """The levels of stage 1's frozen pyramids, each through a neck and a MALA adapter.

    It reads stage 1's maps in place of images (`CFRSAM.encode`), so no weight is there twice.
    """

    @configurable
    def __init__(self, *, channels: int, adapter_rank: int) -> None:
        """
        Args:
            channels: of each level of the pyramids.
            adapter_rank: channels of the adapters' bottleneck.
        """
        super().__init__()
        self.necks = nn.ModuleList(CellNeck(channels, stride) for stride in STRIDES)
        self.adapters = nn.ModuleList(MALA(NECK_CHANNELS, adapter_rank) for _ in STRIDES)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        return {
            "channels": cfg.MODEL.PROMPT_LEARNER.HIDDEN_DIM,
            "adapter_rank": cfg.MODEL.SAM.ADAPTER_RANK,
        }

    @property
    def size_divisibility(self) -> int:
        return SIZE_DIVISIBILITY

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Adapt the levels.

        Args:
            maps: of `CentroidProposalGenerator.pyramids`; H and W at least 64.

        Returns:
            `level0` (shallowest) to `level3`, each (B, 256, h, w).
        """
        levels = {}
        for name, level, neck, adapter in zip(
            self._out_features, maps, self.necks, self.adapters, strict=True
        ):
            adapted = adapter(neck(level).permute(0, 2, 3, 1))
            levels[name] = adapted.permute(0, 3, 1, 2).contiguous()
        return levels
