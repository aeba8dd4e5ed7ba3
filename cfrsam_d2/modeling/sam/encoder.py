"""SAM's image encoder as a Detectron2 backbone, adapted by forward hooks (paper 3.1, 3.4).

The ViT is `segment_anything`'s, with its weights; its blocks do without work for padding. SAM pads
a map with zeros to whole attention windows: 16×16 cells to 28×28, three times the tokens. Padded
tokens all have the same key and value, the projection's bias, and only those that an adapter reads
beside real ones need an output.

B images, H×W px, h×w = H/16×W/16 cells of 16 px, D width, E attention heads, d = D/E; n attention
windows of one shape, w×w cells of a whole one.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import segment_anything.modeling.image_encoder as sam
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import Backbone
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from .adapters import ADAPTERS, AdapterKind, adapter_options, attach_adapters, build_adapters

PATCH_SIZE = 16  # px
SMALLEST_MAP = 4  # cells
PRETRAINED_IMAGE_SIZE = 1024  # px; sets the lengths of SAM's position tables
NECK_CHANNELS = 256
NUM_LEVELS = 4
# Logits of attention at once: those of all cells of a large map with all others would be GB, and so
# few stay in a CPU's caches.
MOST_LOGITS = 2**22


class Attention(sam.Attention):
    """Attention within windows, with decomposed relative positions.

    Attributes:
        fast: the keys of padding are made, not computed, and of its outputs only those that are
            read; and the fused kernel of `scaled_dot_product_attention`.
    """

    fast = True

    def __init__(self, attention: sam.Attention, window_size: int, reads_padding: int) -> None:
        """
        Args:
            attention: SAM's, whose weights this one takes over.
            window_size: w; 0: a window is the whole map, and nothing is padded.
            reads_padding: how many padded cells beside real ones an adapter of the output reads.
        """
        nn.Module.__init__(self)
        self.num_heads, self.scale = attention.num_heads, attention.scale
        self.qkv, self.proj = attention.qkv, attention.proj
        self.use_rel_pos = True
        self.rel_pos_h, self.rel_pos_w = attention.rel_pos_h, attention.rel_pos_w
        self.window_size = window_size
        self.reads_padding = reads_padding

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each window.

        Args:
            x: the real cells, those at the top left of each window, (n, h, w, D).

        Returns:
            The same with padded cells to their right and below: up to `reads_padding` of them, as
            far as the window reaches, or all of them in the plain form.
        """
        height, width = x.shape[1:3]
        window = (self.window_size or height, self.window_size or width)
        if not self.fast:
            return super().forward(F.pad(x, (0, 0, 0, window[1] - width, 0, window[0] - height)))
        read = [
            w if n == w else min(n + self.reads_padding, w)
            for n, w in zip((height, width), window, strict=True)
        ]
        qkv = self.qkv(x)
        if (height, width) != window:
            real, qkv = qkv, self.qkv.bias.to(qkv.dtype).repeat(x.shape[0], *window, 1)
            qkv[:, :height, :width] = real
        qkv = qkv.unflatten(3, (3, self.num_heads, -1))  # (n, w, w, 3, E, d)
        q, k, v = qkv.permute(3, 0, 4, 1, 2, 5)  # (n, E, w, w, d) each
        q = q[:, :, : read[0], : read[1]]
        of_rows = relative_positions(window[0], self.rel_pos_h)[: read[0]]  # (h, w, d)
        of_columns = relative_positions(window[1], self.rel_pos_w)[: read[1]]
        keys, values = k.flatten(2, 3), v.flatten(2, 3)
        is_export = isinstance(q.numel(), torch.SymInt)  # to any size: then nothing is split
        attended = [
            F.scaled_dot_product_attention(
                some.flatten(2, 3), keys, values, _position_bias(some, of_some, of_columns)
            )
            for some, of_some in ([(q, of_rows)] if is_export else _some_rows(q, of_rows))
        ]
        attended = torch.cat(torch.cat(attended, dim=2).unbind(1), dim=2)  # (n, queries, D)
        return self.proj(attended.unflatten(1, read))


def _some_rows(q: Tensor, of_rows: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """Rows of queries (n, E, h, w, d), and what relative positions say of them, no more at once
    than `MOST_LOGITS` allows, as if windows were square."""
    at_once = max(MOST_LOGITS // (q[:, :, 0, :, 0].numel() * of_rows.shape[1] ** 2), 1)
    return zip(q.split(at_once, dim=2), of_rows.split(at_once), strict=True)


def _position_bias(q: Tensor, of_rows: Tensor, of_columns: Tensor) -> Tensor:
    """The part of relative positions in the logits: (n, E, queries, keys)."""
    # Contiguous: of einsum's own layouts, the sum would be laid out anew.
    rows = torch.einsum("nehwd,hkd->nehwk", q, of_rows).contiguous()
    columns = torch.einsum("nehwd,wkd->nehwk", q, of_columns).contiguous()
    bias = rows[..., :, None] + columns[..., None, :]  # queries by rows and columns of keys
    return bias.flatten(4).flatten(2, 3)


def relative_positions(length: int, table: Tensor) -> Tensor:
    """What a table says of each cell seen from each other one, as SAM's `get_rel_pos`.

    Args:
        length: w, cells of a side.
        table: (t, d), resized to the 2w − 1 distances that there are.

    Returns:
        (w, w, d).
    """
    distances = torch.arange(length, device=table.device)[:, None] + torch.arange(
        length - 1, -1, -1, device=table.device
    )
    return F.interpolate(table.T[None], size=2 * length - 1, mode="linear")[0].T[distances]


class Block(nn.Module):
    """Attention and MLP, each added to what comes in."""

    def __init__(self, block: sam.Block, reads_padding: int = 0) -> None:
        """
        Args:
            block: SAM's, whose weights this one takes over.
            reads_padding: see `Attention`.
        """
        super().__init__()
        self.norm1 = block.norm1
        self.attn = Attention(block.attn, block.window_size, reads_padding)
        self.norm2 = block.norm2
        self.mlp = block.mlp
        self.window_size = block.window_size

    def forward(self, x: Tensor) -> Tensor:
        """Args and returns: a map (B, H, W, D)."""
        x = x + (self._attend(self.norm1(x)) if self.window_size else self.attn(self.norm1(x)))
        return x + self.mlp(self.norm2(x))

    def _attend(self, x: Tensor) -> Tensor:
        """Attend within windows, (B, H, W, D): those that are whole, and those cut by an edge."""
        rest = [length % self.window_size for length in x.shape[1:3]]
        if any(isinstance(length, torch.SymInt) for length in rest):  # for an export to any size
            return self._attend_padded(x)
        bands = []
        for band in x.split([x.shape[1] - rest[0], rest[0]], dim=1):
            parts = band.split([x.shape[2] - rest[1], rest[1]], dim=2)
            side = self.window_size
            alike = [
                self._attend_alike(part, (min(part.shape[1], side), min(part.shape[2], side)))
                for part in parts
                if part.numel()
            ]
            bands += [torch.cat(alike, dim=2)] if alike else []
        return torch.cat(bands, dim=1)

    def _attend_padded(self, x: Tensor) -> Tensor:
        """As `_attend`, all windows made whole by zeros, as SAM does."""
        height, width = x.shape[1:3]
        missing = [-length % self.window_size for length in (height, width)]
        padded = F.pad(x, (0, 0, 0, missing[1], 0, missing[0]))
        whole = (self.window_size, self.window_size)
        return self._attend_alike(padded, whole)[:, :height, :width]

    def _attend_alike(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """Attend within the windows of a map (B, H, W, D) that are all of one shape (h, w)."""
        batch, height, width, dim = x.shape
        h, w = shape
        grid = (batch, height // h, width // w)
        windows = x.reshape(*grid[:2], h, grid[2], w, dim).transpose(2, 3).flatten(0, 2)
        # Contiguous: of a view, torch would project the cells row by row.
        attended = self.attn(windows.contiguous())[:, :h, :w]
        return attended.unflatten(0, grid).transpose(2, 3).reshape(x.shape)


def level_depths(depth: int) -> tuple[int, ...]:
    """After which of a ViT's blocks, counted from 1, its levels are taken."""
    step = depth // NUM_LEVELS
    return step, depth // 2, 3 * step, depth


def padded_to_smallest_map(x: Tensor) -> Tensor:
    """Images (B, 3, H, W) with the cells that adapters need, which pad by reflection."""
    missing = [max(SMALLEST_MAP - side // PATCH_SIZE, 0) * PATCH_SIZE for side in x.shape[-2:]]
    return F.pad(x, (0, missing[1], 0, missing[0])) if any(missing) else x


class LevelBackbone(Backbone):
    """Gives four levels on the grid of SAM's cells, `level0` (shallowest) to `level3`."""

    def __init__(self) -> None:
        super().__init__()
        self._out_features = [f"level{i}" for i in range(NUM_LEVELS)]
        self._out_feature_strides = dict.fromkeys(self._out_features, PATCH_SIZE)
        self._out_feature_channels = dict.fromkeys(self._out_features, NECK_CHANNELS)

    @property
    def size_divisibility(self) -> int:
        return PATCH_SIZE


@BACKBONE_REGISTRY.register()
class SAMEncoder(LevelBackbone):
    """SAM's ViT with adapters in its blocks, giving four levels through SAM's one neck."""

    vit: Any  # segment_anything's ImageEncoderViT, with other blocks
    adapters: Any  # of each block, by the names of their places

    @configurable
    def __init__(
        self,
        *,
        embed_dim: int,
        depth: int,
        num_heads: int,
        global_attn_indexes: Sequence[int],
        attention_window: int,
        adapter_rank: int,
        frozen: bool,
        adapter: AdapterKind = ADAPTERS["MALA"],
    ) -> None:
        """
        Args:
            embed_dim: D.
            depth: number of blocks, at least 4.
            num_heads: attention heads; divides `embed_dim`.
            global_attn_indexes: blocks that attend over the whole map; the others in windows.
            attention_window: side of the attention windows in cells.
            adapter_rank: channels of the adapters' bottleneck, at least 1.
            frozen: whether SAM's own weights stay as they are.
            adapter: what adapts the blocks.

        Raises:
            UserError: the rank is below 1.
        """
        super().__init__()
        norm_layer: Any = partial(nn.LayerNorm, eps=1e-6)
        self.vit = ImageEncoderViT(
            img_size=PRETRAINED_IMAGE_SIZE,
            patch_size=PATCH_SIZE,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            out_chans=NECK_CHANNELS,
            norm_layer=norm_layer,
            use_rel_pos=True,
            window_size=attention_window,
            global_attn_indexes=tuple(global_attn_indexes),
        )
        self.vit.blocks = nn.ModuleList(Block(each, adapter.reach) for each in self.vit.blocks)
        self.vit.requires_grad_(not frozen)
        self.adapters = build_adapters(adapter, depth, embed_dim, adapter_rank)
        for block, adapters in zip(self.vit.blocks, self.adapters, strict=True):
            attach_adapters(adapter, block, adapters)
        self._level_depths = level_depths(depth)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        node = cfg.MODEL.SAM
        return {
            "embed_dim": node.EMBED_DIM,
            "depth": node.DEPTH,
            "num_heads": node.NUM_HEADS,
            "global_attn_indexes": node.GLOBAL_ATTN_INDEXES,
            "attention_window": node.ATTENTION_WINDOW,
            **adapter_options(cfg),
        }

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Encode normalised RGB images.

        Args:
            x: (B, 3, H, W), H and W multiples of 16.

        Returns:
            `level0` (shallowest) to `level3`, each (B, 256, H/16, W/16).
        """
        height, width = (side // PATCH_SIZE for side in x.shape[-2:])
        x = self.vit.patch_embed(padded_to_smallest_map(x))  # (B, h, w, D)
        # SAM's absolute positions, resized to the map.
        table = self.vit.pos_embed.permute(0, 3, 1, 2)
        table = F.interpolate(table, x.shape[1:3], mode="bicubic", align_corners=False)
        x = x + table.permute(0, 2, 3, 1)
        levels = []
        for number, block in enumerate(self.vit.blocks, start=1):
            x = block(x)
            levels += [x] * self._level_depths.count(number)
        # Contiguous: CPU kernels for the permuted layout round four times more coarsely.
        maps = (self.vit.neck(level.permute(0, 3, 1, 2).contiguous()) for level in levels)
        maps = (level[:, :, :height, :width] for level in maps)
        return dict(zip(self._out_features, maps, strict=True))
