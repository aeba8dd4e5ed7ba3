"""What a ViT's cells of 16 px leave out of an image, by a few convolutions at full resolution.

B images, H×W px, h×w = H/16×W/16 cells of 16 px.
"""

from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from .shared_encoder import CellNeck

CHANNELS = 32
STRIDE = 4  # px


class DetailBranch(nn.Module):
    """Images to an addition to the encoder's shallowest level; it starts as zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_halve(3), _halve(CHANNELS))
        self.neck = CellNeck(CHANNELS, STRIDE)
        nn.init.zeros_(self.neck.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Args: normalised images (B, 3, H, W). Returns: (B, 256, h, w)."""
        return self.neck(self.stem(x))


def _halve(channels: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, CHANNELS, kernel_size=3, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, LayerNorm2d(CHANNELS), nn.GELU())
