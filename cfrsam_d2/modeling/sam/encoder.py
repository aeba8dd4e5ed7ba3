"""SAM's image encoder as a Detectron2 backbone, adapted by forward hooks (paper 3.1, 3.4).

B images, H×W px, h×w = H/16×W/16 cells, D ViT width.
"""

from functools import partial

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import Backbone
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from ...config import choose
from ...errors import UserError
from .adapters import ADAPTERS
from .blocks import skip_padding

PATCH_SIZE = 16  # px
PRETRAINED_IMAGE_SIZE = 1024  # px; sets the lengths of SAM's position tables
NECK_CHANNELS = 256
NUM_LEVELS = 4


@BACKBONE_REGISTRY.register()
class SAMEncoder(Backbone):
    """SAM's ViT with adapters in its blocks, giving four levels through SAM's one neck.

    The ViT is `segment_anything`'s, its blocks without work for padding (see `blocks`): adapters
    hang on outputs of its submodules. MALA's hang on each block's attention (inside its windows, as
    much padding included as it reads) and on the block itself.

    Args:
        embed_dim: D.
        depth: number of blocks, at least 4.
        num_heads: attention heads; divides `embed_dim`.
        global_attn_indexes: blocks that attend over the whole map; the others in windows.
        window_size: side of the attention windows in cells.
        adapter_rank: rank of the adapters, at least 1.
        frozen: whether SAM's own weights stay as they are.
        adapter: their kind, one of `ADAPTERS`.
    """

    @configurable
    def __init__(
        self,
        *,
        embed_dim: int,
        depth: int,
        num_heads: int,
        global_attn_indexes: list[int],
        window_size: int,
        adapter_rank: int,
        frozen: bool,
        adapter: str = "MALA",
    ) -> None:
        super().__init__()
        if adapter_rank < 1:
            raise UserError(f"MODEL.SAM.ADAPTER_RANK is {adapter_rank}: give 1 or more.")
        kind = choose(ADAPTERS, adapter, "MODEL.SAM.ADAPTER")
        self.vit = ImageEncoderViT(
            img_size=PRETRAINED_IMAGE_SIZE,
            patch_size=PATCH_SIZE,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            out_chans=NECK_CHANNELS,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=window_size,
            global_attn_indexes=tuple(global_attn_indexes),
        )
        skip_padding(self.vit)
        self.vit.requires_grad_(not frozen)
        self.adapters = nn.ModuleList(
            nn.ModuleDict({name: kind.build(embed_dim, adapter_rank) for name in kind.places})
            for _ in range(depth)
        )
        for block, adapters in zip(self.vit.blocks, self.adapters, strict=True):
            for name, place in kind.places.items():
                # A partial, not a closure: a deep copy of the encoder then hooks its own adapters.
                hook = partial(kind.hook, adapters[name])
                block.get_submodule(place).register_forward_hook(hook)
        step = depth // NUM_LEVELS
        self._level_depths = (step, depth // 2, 3 * step, depth)  # blocks, counted from 1
        self._out_features = [f"level{i}" for i in range(NUM_LEVELS)]
        self._out_feature_strides = dict.fromkeys(self._out_features, PATCH_SIZE)
        self._out_feature_channels = dict.fromkeys(self._out_features, NECK_CHANNELS)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        node = cfg.MODEL.SAM
        return {
            "embed_dim": node.EMBED_DIM,
            "depth": node.DEPTH,
            "num_heads": node.NUM_HEADS,
            "global_attn_indexes": node.GLOBAL_ATTN_INDEXES,
            "window_size": node.ATTENTION_WINDOW,
            "adapter_rank": node.ADAPTER_RANK,
            "frozen": node.FREEZE,
            "adapter": node.ADAPTER,
        }

    @property
    def size_divisibility(self) -> int:
        return PATCH_SIZE

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Encode normalised RGB images.

        Args:
            x: (B, 3, H, W), H and W multiples of 16 and at least 64 (the adapters pad by
                reflection and need four cells).

        Returns:
            `level0` (shallowest) to `level3`, each (B, 256, H/16, W/16).
        """
        x = self.vit.patch_embed(x)  # (B, h, w, D)
        x = x + self._position_table(x.shape[1], x.shape[2])
        levels = []
        for number, block in enumerate(self.vit.blocks, start=1):
            x = block(x)
            levels += [x] * self._level_depths.count(number)
        # Contiguous: CPU kernels for the permuted layout round four times more coarsely.
        maps = (self.vit.neck(level.permute(0, 3, 1, 2).contiguous()) for level in levels)
        return dict(zip(self._out_features, maps, strict=True))

    def _position_table(self, height: int, width: int) -> torch.Tensor:
        """SAM's absolute positions, resized to (1, h, w, D)."""
        table = self.vit.pos_embed.permute(0, 3, 1, 2)
        table = F.interpolate(table, size=(height, width), mode="bicubic", align_corners=False)
        return table.permute(0, 2, 3, 1)
