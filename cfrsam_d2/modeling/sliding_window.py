"""Segment images of any size from their prompts, window by window.

P prompts of an image, R masks, H×W px of an image, h×w px of a window. Prompts are points (P, 2) or
boxes (P, 4); see `prompt_geometry`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import mask_boxes
from .prompt_geometry import centers, move_to_window
from .tiling import Window, cut_by_edge, cut_windows, points_inside

# A side of the encoder's input: a multiple of its patches, and four of them for the adapters.
PATCH_SIZE = 16
SMALLEST_INPUT = 64

# Images (n, 3, h, w), R prompts and their image indices (R,) to masks (R, h, w), scores (R,).
Segment = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Tile:
    """One window of one image, with the prompts in it.

    Attributes:
        image: index of the image.
        window: where it lies.
        prompts: indices of the image's prompts, (R,).
        input_size: height and width as the encoder gets it, padded at bottom right.
    """

    image: int
    window: Window
    prompts: Tensor
    input_size: tuple[int, int]


@dataclass
class NucleusMasks:
    """Masks of one image, each kept within its window.

    Attributes:
        masks: bool, one (h, w) each.
        windows: where each lies.
        prompts: index of each one's prompt, (R,).
        boxes: x0, y0, x1, y1 in px of the image, ends excluded, (R, 4).
        scores: (R,).
    """

    masks: list[Tensor]
    windows: list[Window]
    prompts: Tensor
    boxes: Tensor
    scores: Tensor

    @classmethod
    def empty(cls, like: Tensor) -> "NucleusMasks":
        return cls([], [], like.new_zeros(0).long(), like.new_zeros(0, 4), like.new_zeros(0))

    def extend(self, other: "NucleusMasks") -> None:
        self.masks += other.masks
        self.windows += other.windows
        self.prompts = torch.cat([self.prompts, other.prompts])
        self.boxes = torch.cat([self.boxes, other.boxes])
        self.scores = torch.cat([self.scores, other.scores])

    def select(self, indices: Tensor) -> "NucleusMasks":
        return NucleusMasks(
            [self.masks[i] for i in indices.tolist()],
            [self.windows[i] for i in indices.tolist()],
            self.prompts[indices],
            self.boxes[indices],
            self.scores[indices],
        )

    def paste(self, height: int, width: int) -> Tensor:
        """The masks in the whole image, (R, H, W)."""
        size = (len(self.masks), height, width)
        pasted = torch.zeros(size, dtype=torch.bool, device=self.scores.device)
        for full, mask, window in zip(pasted, self.masks, self.windows, strict=True):
            full[window.y0 : window.y1, window.x0 : window.x1] = mask
        return pasted


def pad_for_encoder(images: Tensor) -> Tensor:
    """Pad (…, h, w) with zeros at bottom right to a size that the encoder takes."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, _pad_side(width) - width, 0, _pad_side(height) - height))


def segment_images(
    segment: Segment,
    images: list[Tensor],
    prompts: list[Tensor],
    *,
    window_size: int,
    overlap: int,
    edge_tolerance: int,
    windows_per_batch: int,
) -> list[NucleusMasks]:
    """At most one mask a prompt: the best-scored over the windows that its center lies in.

    Masks without a pixel are dropped, and so are those that come near a window edge inside the
    image: a neighbouring window has them whole.

    Args:
        segment: the network.
        images: normalised, (3, H, W) each.
        prompts: in px, (P, 2) or (P, 4) each.
        window_size, overlap, edge_tolerance: px.
        windows_per_batch: most windows in one call of `segment`.
    """
    found = [NucleusMasks.empty(each) for each in prompts]
    tiles = [
        tile
        for i in range(len(images))
        for tile in _cut_tiles(i, images[i], prompts[i], window_size, overlap)
    ]
    for batch in _batches(tiles, windows_per_batch):
        counts = torch.tensor([len(tile.prompts) for tile in batch])
        masks, scores = segment(
            torch.stack([_cut_image(images[tile.image], tile) for tile in batch]),
            torch.cat([_cut_prompts(prompts[tile.image], tile) for tile in batch]),
            torch.arange(len(batch)).repeat_interleave(counts).to(images[0].device),
        )
        for tile, *each in zip(
            batch, masks.split(counts.tolist()), scores.split(counts.tolist()), strict=True
        ):
            image_size = images[tile.image].shape[-2:]
            found[tile.image].extend(_whole_masks(tile, *each, image_size, edge_tolerance))
    return [each.select(_best_of_each_prompt(each)) for each in found]


def _cut_tiles(
    index: int, image: Tensor, prompts: Tensor, window_size: int, overlap: int
) -> Iterator[Tile]:
    height, width = image.shape[-2:]
    for window in cut_windows(height, width, window_size, overlap):
        inside = points_inside(centers(prompts), window)
        if len(inside):
            size = (window.y1 - window.y0, window.x1 - window.x0)
            yield Tile(index, window, inside, (_pad_side(size[0]), _pad_side(size[1])))


def _pad_side(side: int) -> int:
    return max(math.ceil(side / PATCH_SIZE) * PATCH_SIZE, SMALLEST_INPUT)


def _batches(tiles: list[Tile], most: int) -> Iterator[list[Tile]]:
    """Tiles of one input size, at most `most` at once."""
    input_size = attrgetter("input_size")
    for _, group in groupby(sorted(tiles, key=input_size), input_size):
        same_size = list(group)
        yield from (same_size[i : i + most] for i in range(0, len(same_size), most))


def _cut_image(image: Tensor, tile: Tile) -> Tensor:
    window = tile.window
    return pad_for_encoder(image[:, window.y0 : window.y1, window.x0 : window.x1])


def _cut_prompts(prompts: Tensor, tile: Tile) -> Tensor:
    return move_to_window(prompts[tile.prompts], tile.window)


def _whole_masks(
    tile: Tile, masks: Tensor, scores: Tensor, image_size: tuple[int, int], edge_tolerance: int
) -> NucleusMasks:
    """The masks of a tile that have pixels and are not cut by the edge of its window."""
    window = tile.window
    masks = masks[:, : window.y1 - window.y0, : window.x1 - window.x0]
    present = masks.flatten(1).any(dim=1).nonzero().squeeze(1)
    boxes = mask_boxes(masks[present]).float()  # scores may be of half precision: too coarse
    boxes += boxes.new_tensor([window.x0, window.y0, window.x0, window.y0])
    whole = ~cut_by_edge(boxes, window, *image_size, edge_tolerance)
    kept = present[whole]
    return NucleusMasks(
        # Copies: a view would keep every mask of the batch in memory.
        [mask.clone() for mask in masks[kept]],
        [window] * len(kept),
        tile.prompts[kept],
        boxes[whole],
        scores[kept],
    )


def _best_of_each_prompt(found: NucleusMasks) -> Tensor:
    """Indices of the highest-scored mask of each prompt, highest first."""
    order = found.scores.argsort(descending=True, stable=True)
    prompts, prompt_of = found.prompts[order].unique(return_inverse=True)
    ranks = torch.arange(len(order), device=order.device)
    first = ranks.new_zeros(len(prompts)).scatter_reduce(
        0, prompt_of, ranks, "amin", include_self=False
    )
    return order[first.sort().values]
