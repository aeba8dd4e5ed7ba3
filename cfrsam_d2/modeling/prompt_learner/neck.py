"""Feature pyramid: lateral 1×1 convolutions, a top-down path, output 3×3 convolutions.

B images, h×w cells of a map, C channels.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """A feature pyramid without norms or activations, output on its finest levels only.

    All maps feed the top-down path, whose maps need not halve exactly: a coarse map is enlarged
    (nearest) to the size of the next finer one.
    """

    def __init__(self, *, in_channels: Sequence[int], out_channels: int, num_outputs: int) -> None:
        """
        Args:
            in_channels: channels of the incoming maps, finest first.
            out_channels: C.
            num_outputs: how many of the finest levels to return.
        """
        super().__init__()
        self.lateral_convs = nn.ModuleList(
            nn.Conv2d(channels, out_channels, kernel_size=1) for channels in in_channels
        )
        self.output_convs = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
            for _ in range(num_outputs)
        )
        for conv in [*self.lateral_convs, *self.output_convs]:
            weight_init.c2_xavier_fill(conv)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, Cᵢ, hᵢ, wᵢ), finest first, to the finest `num_outputs` levels (B, C, hᵢ, wᵢ)."""
        levels = [conv(feature) for conv, feature in zip(self.lateral_convs, maps, strict=True)]
        for i in reversed(range(len(levels) - 1)):
            coarser = F.interpolate(levels[i + 1], size=levels[i].shape[-2:], mode="nearest")
            levels[i] = levels[i] + coarser
        # Fewer convolutions than levels: the coarsest levels only feed the top-down path.
        return [conv(level) for conv, level in zip(self.output_convs, levels, strict=False)]
