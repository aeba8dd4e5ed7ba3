"""Any plain ViT of timm in SAM's place, such as those trained on pathology.

As SAM's encoder it is a frozen network with adapters on its blocks; what else trains are a neck for
each level, and a branch of convolutions for detail. B images, H×W px, h×w = H/16×W/16 cells of
16 px, p px of the ViT's own patches, D width; N tokens: the h·w cells behind the prefix tokens, as
the class token and registers.
"""

import ast
from collections.abc import Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

import timm
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from timm.data.config import resolve_model_data_config
from timm.layers.mlp import GluMlp, Mlp, SwiGLU, SwiGLUPacked
from timm.layers.patch_embed import PatchEmbed
from timm.models import VisionTransformer
from torch import Tensor, nn

from ...config import choose
from ...errors import UserError
from .adapters import (
    ADAPTERS,
    Adapter,
    AdapterKind,
    adapter_options,
    attach_adapters,
    build_adapters,
)
from .detail_branch import DetailBranch
from .encoder import NUM_LEVELS, PATCH_SIZE, LevelBackbone, level_depths, padded_to_smallest_map
from .shared_encoder import CellNeck

MLPS = {"Mlp": Mlp, "GluMlp": GluMlp, "SwiGLU": SwiGLU, "SwiGLUPacked": SwiGLUPacked}
# h, w of the images that are being encoded, for adapters of maps: tokens do not tell.
_MAP_SIZE: ContextVar[tuple[int, int]] = ContextVar("map size")


@BACKBONE_REGISTRY.register()
class TimmEncoder(LevelBackbone):
    """A ViT of timm with adapters in its blocks, giving four levels through necks of their own."""

    network: Any  # timm's VisionTransformer
    scale: Tensor
    shift: Tensor

    @configurable
    def __init__(
        self,
        *,
        network: VisionTransformer,
        scale: Sequence[float],
        shift: Sequence[float],
        adapter_rank: int,
        frozen: bool,
        adapter: AdapterKind = ADAPTERS["MALA"],
    ) -> None:
        """
        Args:
            network: made for any size of images (`dynamic_img_size`); it loses its head.
            scale, shift: what makes the images' values those that the network knows, of R, G, B.
            adapter_rank: channels of the adapters' bottleneck, at least 1.
            frozen: whether the network's own weights stay as they are.
            adapter: what adapts the blocks.

        Raises:
            UserError: the rank is below 1.
        """
        super().__init__()
        self.network = network.requires_grad_(not frozen)
        self.network.prune_intermediate_layers(prune_norm=True)
        self.register_buffer("scale", torch.tensor(scale).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift).view(3, 1, 1), persistent=False)
        depth, width = len(self.network.blocks), self.network.embed_dim
        self.adapters = build_adapters(adapter, depth, width, adapter_rank)
        for block, modules in zip(self.network.blocks, self.adapters, strict=True):
            attach_adapters(adapter, block, self._for_tokens(modules, adapter.reach))
        self.necks = nn.ModuleList(
            CellNeck(network.embed_dim, PATCH_SIZE) for _ in range(NUM_LEVELS)
        )
        self.detail = DetailBranch()

    def _for_tokens(self, adapters: Any, reach: int) -> dict[str, Adapter]:
        """Adapters of a block as functions of tokens; those that see no neighbours are already."""
        prefix = self.network.num_prefix_tokens
        return {
            name: partial(_adapt_map, each, prefix) if reach else each
            for name, each in adapters.items()
        }

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        network = build_vit(cfg.MODEL.TIMM.NAME, cfg.MODEL.TIMM.OPTIONS)
        own = resolve_model_data_config(network)
        mean, std = cfg.MODEL.TIMM.PIXEL_MEAN or own["mean"], cfg.MODEL.TIMM.PIXEL_STD or own["std"]
        given = (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD)
        statistics = [*zip(*given, mean, std, strict=True)]  # of R, G and B
        return {
            "network": network,
            "scale": [given_std / 255 / std for _, given_std, _, std in statistics],
            "shift": [(given_mean / 255 - mean) / std for given_mean, _, mean, std in statistics],
            **adapter_options(cfg),
        }

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Encode normalised RGB images.

        Args:
            x: (B, 3, H, W), H and W multiples of 16.

        Returns:
            `level0` (shallowest) to `level3`, each (B, 256, h, w).
        """
        height, width = (side // PATCH_SIZE for side in x.shape[-2:])
        x = padded_to_smallest_map(x)
        levels = [
            neck(level) for neck, level in zip(self.necks, self.encode_blocks(x), strict=True)
        ]
        levels[0] = levels[0] + self.detail(x)
        maps = (level[:, :, :height, :width] for level in levels)
        return dict(zip(self._out_features, maps, strict=True))

    def encode_blocks(self, x: Tensor) -> list[Tensor]:
        """What comes out of the blocks of the four levels.

        Args:
            x: as of `forward`; H and W at least 64.

        Returns:
            Maps (B, D, h, w), the shallowest first.
        """
        size = (x.shape[-2] // PATCH_SIZE, x.shape[-1] // PATCH_SIZE)
        _MAP_SIZE.set(size)
        patches = self.network.patch_embed.patch_size
        x = self.scale * x + self.shift
        if tuple(patches) != (PATCH_SIZE, PATCH_SIZE):
            sides = [cells * side for cells, side in zip(size, patches, strict=True)]
            x = F.interpolate(x, sides, mode="bilinear", antialias=True)
        of_levels = [depth - 1 for depth in level_depths(len(self.network.blocks))]
        blocks = sorted(set(of_levels))
        maps = self.network.forward_intermediates(x, indices=blocks, intermediates_only=True)
        return [maps[blocks.index(block)] for block in of_levels]


def _adapt_map(adapter: nn.Module, prefix: int, tokens: Tensor) -> Tensor:
    """Adapt the cells of tokens (B, N, D) as a map; the `prefix` first of them stay."""
    cells = adapter(tokens[:, prefix:].unflatten(1, _MAP_SIZE.get()))
    return torch.cat([tokens[:, :prefix], cells.flatten(1, 2)], dim=1)


def build_vit(name: str, options: str = "") -> VisionTransformer:
    """A ViT of timm for images of any size, with random weights.

    Args:
        name: timm's name of it, such as "vit_small_patch16_224.dino"; the weights that it may name
            are not read.
        options: see `vit_options`.

    Raises:
        UserError: timm has no such network, or it is no plain ViT of four blocks or more.
    """
    if not timm.is_model(name):
        raise UserError(f"MODEL.TIMM.NAME is {name!r}: take one of timm.list_models('vit_*')")
    arguments = {**vit_options(options), "dynamic_img_size": True}
    try:
        network: Any = timm.create_model(name, **arguments)
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"MODEL.TIMM.NAME is {name!r} and MODEL.TIMM.OPTIONS is {options!r}, which timm cannot "
            f"build as a ViT for any size of images ({error}): correct them"
        ) from error
    if not _is_plain(network):
        raise UserError(
            f"MODEL.TIMM.NAME is {name!r}, which is no plain ViT of {NUM_LEVELS} blocks or more: "
            "take one of timm.list_models('vit_*') that is"
        )
    return network


def vit_options(text: str) -> dict[str, Any]:
    """The arguments of timm's constructor in "init_values=1e-5, mlp_layer=SwiGLUPacked".

    Raises:
        UserError: it is no such list, or timm has no such layer.
    """
    options: dict[str, Any] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        name, equals, value = pair.partition("=")
        try:
            options[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            options[name.strip()] = value.strip()
        if not (equals and value):
            raise UserError(
                f"MODEL.TIMM.OPTIONS has {pair!r}: give name=value, such as init_values=1e-5"
            )
    if "mlp_layer" in options:  # which timm does not take by its name
        options["mlp_layer"] = choose(MLPS, options["mlp_layer"], "mlp_layer of MODEL.TIMM.OPTIONS")
    return options


def _is_plain(network: nn.Module) -> bool:
    blocks: Any = getattr(network, "blocks", ())
    return (
        isinstance(network, VisionTransformer)
        and isinstance(network.patch_embed, PatchEmbed)
        and len(blocks) >= NUM_LEVELS
        and all(hasattr(block, "attn") and hasattr(block, "mlp") for block in blocks)
    )
