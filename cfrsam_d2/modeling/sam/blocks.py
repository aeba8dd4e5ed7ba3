"""SAM's transformer blocks without work for padding: `segment_anything`'s weights and results.

SAM pads a map with zeros to whole windows: 16×16 cells to 28×28, three times the tokens. Padded
tokens all have the same key and value, the projection's bias, and only those that an adapter reads
beside real ones need an output.

n windows of one shape, w×w cells of a whole window, D width, E heads, d = D/E.
"""

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention, Block, get_rel_pos
from torch import Tensor

from .mala import KERNEL_SIZES

# Cells beside a real one whose attention output its adapter reads.
READ_MARGIN = max(KERNEL_SIZES) // 2


class UnpaddedAttention(Attention):
    """Attention of the real cells of windows, and of the padded ones that are read.

    Attributes:
        window_size: w; 0: a window is the whole map, and nothing is padded.
    """

    window_size: int

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each window.

        Args:
            x: the real cells, those at the top left of each window, (n, h, w, D).

        Returns:
            The same with up to `READ_MARGIN` padded cells to their right and below, as far as the
            window reaches.
        """
        height, width = x.shape[1:3]
        window = (self.window_size or height, self.window_size or width)
        read = (min(height + READ_MARGIN, window[0]), min(width + READ_MARGIN, window[1]))
        qkv = self.qkv(x)
        if (height, width) != window:
            real, qkv = qkv, self.qkv.bias.to(qkv.dtype).repeat(len(x), *window, 1)
            qkv[:, :height, :width] = real
        qkv = qkv.unflatten(3, (3, self.num_heads, -1))  # (n, w, w, 3, E, d)
        q, k, v = qkv.permute(3, 0, 4, 1, 2, 5)  # (n, E, w, w, d) each
        q = q[:, :, : read[0], : read[1]]
        attended = F.scaled_dot_product_attention(
            q.flatten(2, 3), k.flatten(2, 3), v.flatten(2, 3), self._position_bias(q, window)
        )
        return self.proj(attended.unflatten(2, read).permute(0, 2, 3, 1, 4).flatten(3))

    def _position_bias(self, q: Tensor, window: tuple[int, int]) -> Tensor:
        """What relative positions add to the logits: (n, E, queries, keys)."""
        height, width = q.shape[2:4]
        of_rows = get_rel_pos(window[0], window[0], self.rel_pos_h)[:height]  # (h, w, d)
        of_columns = get_rel_pos(window[1], window[1], self.rel_pos_w)[:width]
        rows = torch.einsum("nehwd,hkd->nehwk", q, of_rows)
        columns = torch.einsum("nehwd,wkd->nehwk", q, of_columns)
        bias = rows[..., :, None] + columns[..., None, :]  # queries by rows and columns of keys
        return bias.flatten(4).flatten(2, 3)


class UnpaddedBlock(Block):
    """A block that gives its attention only cells that are real."""

    def forward(self, x: Tensor) -> Tensor:
        """Args and returns: a map (B, H, W, D)."""
        x = x + self._attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def _attend(self, x: Tensor) -> Tensor:
        if not self.window_size:
            return self.attn(x)
        bands = (
            torch.cat([self._attend_alike(part) for part in self._split(band, dim=2)], dim=2)
            for band in self._split(x, dim=1)
        )
        return torch.cat(list(bands), dim=1)

    def _split(self, x: Tensor, dim: int) -> list[Tensor]:
        """The part of a map that whole windows cover, and the rest."""
        whole = x.shape[dim] // self.window_size * self.window_size
        sizes = [size for size in (whole, x.shape[dim] - whole) if size]
        return list(x.split(sizes, dim=dim))

    def _attend_alike(self, x: Tensor) -> Tensor:
        """Attend within the windows of a map (B, H, W, D) that are all of one shape."""
        batch, height, width, dim = x.shape
        h, w = min(height, self.window_size), min(width, self.window_size)
        grid = (batch, height // h, width // w)
        windows = x.reshape(*grid[:2], h, grid[2], w, dim).transpose(2, 3).flatten(0, 2)
        # Contiguous: of a view, torch would project the cells row by row.
        attended = self.attn(windows.contiguous())[:, :h, :w]
        return attended.unflatten(0, grid).transpose(2, 3).reshape(x.shape)


def skip_padding(vit: ImageEncoderViT) -> None:
    """Let the blocks of a ViT compute without padding; weights, their names and hooks stay."""
    for block in vit.blocks:
        block.__class__, block.attn.__class__ = UnpaddedBlock, UnpaddedAttention
        block.attn.window_size = block.window_size
