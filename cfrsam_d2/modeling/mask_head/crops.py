"""Refine each nucleus in a crop around its prompt, and lay the result back into the frame.

BGMR works at full resolution once per nucleus: on a crop that is a fraction of the work. R nuclei,
H×W px of the frame; boxes and crops in px of it, x0, y0, x1, y1, ends excluded.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ...structures.masks import mask_boxes

ALIGNMENT = 4  # px; a crop starts on a cell of the quarter-size maps
# Logit of what lies outside a nucleus's crop: background beyond doubt.
OUTSIDE_LOGIT = -20.0
# Of all crops refined at once in inference. It bounds memory; on a CPU, activations of so few stay
# in the caches.
MOST_PIXELS, MOST_PIXELS_ON_CPU = 2**18, 2**15

Area = tuple  # the index of a crop in a batch of maps


def refine_in_crops(
    refiner: nn.Module,
    detail: Tensor,
    deep_features: Tensor,
    mask_features: Tensor,
    prompt_image: Tensor,
    boxes: Tensor,
    sizes: "CropSizes",
    *,
    one_size: bool,
) -> tuple[Tensor, ...]:
    """The logits that the refiner gives, the refined ones first, at full frame: each (R, H, W).

    In training all nuclei take one size, the smallest that holds the largest of them, and the part
    of a nucleus that the largest size does not hold is not trained. So the refiner is called once:
    batch norm sees all crops together and updates its statistics once; and a crop's size does not
    tell how large its nucleus is. In inference each takes its own size, and
    is refined again in the next larger one if its mask reaches the crop's edge.

    Args:
        refiner: BGMR, or what is in its place.
        detail: D of each image, from the refiner's `detail`, (B, 32, H, W).
        deep_features: G of each image, (B, 32, H/4, W/4).
        mask_features: U of each nucleus, (R, 32, H/4, W/4).
        prompt_image: index of each nucleus's image, (R,).
        boxes: what each crop has to hold, (R, 4).
        sizes: of crops.
        one_size: for all nuclei, as in training.
    """
    most_pixels = MOST_PIXELS_ON_CPU if boxes.device.type == "cpu" else MOST_PIXELS
    smallest = sizes.smallest_fitting(boxes)
    if one_size:
        smallest = smallest.max().expand_as(smallest)

    def refine(nuclei: Tensor, size: tuple[int, int]) -> tuple[list[Tensor], Tensor]:
        """Logits at full frame, and which nuclei reach the edge of their crop."""
        corners, images = sizes.corners(boxes[nuclei], size), prompt_image[nuclei]
        quarter = (corners // ALIGNMENT, (size[0] // ALIGNMENT, size[1] // ALIGNMENT))
        outputs = refiner(
            crop(detail, images, corners, size),
            crop(mask_features, nuclei, *quarter),
            crop(deep_features, images, *quarter),
        )
        logits = [paste(each, corners, sizes.frame_size, OUTSIDE_LOGIT) for each in outputs]
        return logits, nuclei[_reach_edge(outputs[0] > 0, corners, sizes.frame_size)]

    too_large = smallest[:0]  # nuclei that reach the edge of the crop before
    order, frames = [], []
    for index, size in enumerate(sizes.sizes):
        nuclei = torch.cat([(smallest == index).nonzero().squeeze(1), too_large])
        too_large = smallest[:0]
        at_once = len(nuclei) if one_size else max(most_pixels // (size[0] * size[1]), 1)
        for some in nuclei.split(at_once) if len(nuclei) else ():
            logits, reaching = refine(some, size)
            order.append(some)
            frames.append(logits)
            too_large = too_large if one_size else torch.cat([too_large, reaching])
    order = torch.cat(order)
    last = order.new_zeros(len(boxes))  # of each nucleus, the last of its crops
    last[order] = torch.arange(len(order), device=order.device)
    return tuple(torch.cat(of_kind)[last] for of_kind in zip(*frames, strict=True))


class CropSizes:
    """The sizes that crops have in a frame.

    Attributes:
        frame_size: (H, W).
        sizes: (height, width) in px, ascending.
    """

    def __init__(
        self,
        sides: Sequence[int],
        frame_size: tuple[int, int],
        halo: int,
        *,
        up_to_frame: bool = True,
    ) -> None:
        """
        Args:
            sides: of the crops in px, ascending, multiples of 4; a side larger than the frame's
                becomes the frame's.
            frame_size: (H, W), multiples of 4.
            halo: px of context around a nucleus.
            up_to_frame: the frame is the last of the sizes; without sides it is the only one.
        """
        self.frame_size = frame_size
        self.halo = halo
        crops = [(min(side, frame_size[0]), min(side, frame_size[1])) for side in sides]
        last = [frame_size] if up_to_frame or not crops else []
        self.sizes = list(dict.fromkeys([*crops, *last]))

    def smallest_fitting(self, boxes: Tensor) -> Tensor:
        """The index of the first size that holds each box (R, 4) with its halo, or else the last:
        (R,)."""
        extents = boxes[:, 2:] - boxes[:, :2] + 2 * self.halo  # (R, 2), width and height
        sizes = boxes.new_tensor([(width, height) for height, width in self.sizes])
        full = boxes.new_tensor(self.frame_size[::-1])
        fits = ((extents[:, None] <= sizes) | (sizes == full)).all(dim=2)
        fits[:, -1] = True
        return fits.int().argmax(dim=1)

    def corners(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Crops of one (height, width) around boxes, moved into the frame: x0, y0, (R, 2).

        Corners lie on multiples of 4, which may take up to 3 px off a box's halo.
        """
        sides = boxes.new_tensor(size[::-1])
        room = boxes.new_tensor(self.frame_size[::-1]) - sides
        corners = (boxes[:, :2] + boxes[:, 2:] - sides) // 2
        corners = torch.minimum(corners.clamp(min=0), room)
        return corners // ALIGNMENT * ALIGNMENT


def boxes_around_points(masks: Tensor, points: Tensor) -> Tensor:
    """The smallest box that holds a mask (R, H, W) and has its point (R, 2) in the middle.

    The point is known in training and in inference, and the same for both: were it the mask that
    lies in the middle, training would give away where a nucleus is.

    Returns:
        (R, 4), int64; boxes may leave the frame. A mask without a pixel leaves its point.
    """
    height, width = masks.shape[1:]
    pixels = points.round().long()
    pixels = torch.minimum(pixels.clamp(min=0), pixels.new_tensor([width - 1, height - 1]))
    boxes = mask_boxes(masks)
    reach = torch.maximum(pixels - boxes[:, :2], boxes[:, 2:] - 1 - pixels)  # (R, 2)
    reach = torch.where(masks.flatten(1).any(dim=1, keepdim=True), reach, 0)
    return torch.cat([pixels - reach, pixels + reach + 1], dim=1)


def _reach_edge(masks: Tensor, corners: Tensor, frame_size: tuple[int, int]) -> Tensor:
    """Whether a mask (n, h, w) reaches an edge of its crop that is not the frame's: (n,)."""
    height, width = masks.shape[-2:]
    x, y = corners.unbind(dim=1)
    left = masks[:, :, 0].any(dim=1) & (x > 0)
    right = masks[:, :, -1].any(dim=1) & (x + width < frame_size[1])
    top = masks[:, 0].any(dim=1) & (y > 0)
    bottom = masks[:, -1].any(dim=1) & (y + height < frame_size[0])
    return left | right | top | bottom


def crop(maps: Tensor, index: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut one crop per nucleus from its map.

    Args:
        maps: (n, C, h, w).
        index: which map each crop is cut from, (R,).
        corners: x0, y0 of each crop, (R, 2).
        size: (height, width) of all crops.

    Returns:
        (R, C, height, width).
    """
    return _Crop.apply(maps, _areas(index.tolist(), corners, size))


def paste(crops: Tensor, corners: Tensor, frame_size: tuple[int, int], outside: float) -> Tensor:
    """Lay each crop into a frame of its own.

    Args:
        crops: (R, height, width).
        corners: x0, y0 of each crop in its frame, (R, 2).
        frame_size: (H, W).
        outside: what fills the rest of the frame.

    Returns:
        (R, H, W).
    """
    areas = _areas(range(len(crops)), corners, crops.shape[-2:])
    return _Paste.apply(crops, areas, frame_size, outside)


def _areas(index: Iterable[int], corners: Tensor, size: Sequence[int]) -> list[Area]:
    height, width = size
    return [
        (i, ..., slice(y, y + height), slice(x, x + width))
        for i, (x, y) in zip(index, corners.tolist(), strict=True)
    ]


class _Crop(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps: Tensor, areas: list[Area]) -> Tensor:
        ctx.areas, ctx.shape = areas, maps.shape
        return torch.stack([maps[area] for area in areas])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        of_maps = grad.new_zeros(ctx.shape)
        for area, each in zip(ctx.areas, grad, strict=True):
            of_maps[area] += each
        return of_maps, None


class _Paste(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, crops: Tensor, areas: list[Area], frame_size: tuple[int, int], outside: float
    ) -> Tensor:
        ctx.areas = areas
        frames = crops.new_full((len(crops), *frame_size), outside)
        for area, each in zip(areas, crops, strict=True):
            frames[area] = each
        return frames

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return torch.stack([grad[area] for area in ctx.areas]), None, None, None
