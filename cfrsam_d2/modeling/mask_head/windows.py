"""Which part of the frame BGMR refines for each nucleus. R nuclei; boxes and windows in px."""

import torch

from ..boxes import mask_boxes

ALIGNMENT = 4  # px; a window starts on a cell of the quarter-size maps


class CropLadder:
    """The sizes a nucleus's window can have in a frame, from the smallest crop to the frame.

    Args:
        crop_sizes: sides of the crops in px, ascending, multiples of 4; a side larger than the
            frame's becomes the frame's.
        frame_size: (H, W) of the frame, multiples of 4.
        halo: px of context around a nucleus.
    """

    def __init__(self, crop_sizes: list[int], frame_size: tuple[int, int], halo: int) -> None:
        self.frame_size = frame_size
        self.halo = halo
        crops = [(min(side, frame_size[0]), min(side, frame_size[1])) for side in crop_sizes]
        self.sizes = [*dict.fromkeys(crop for crop in crops if crop != frame_size), frame_size]

    def rungs(self, boxes: torch.Tensor) -> torch.Tensor:
        """The first size that holds each box, (R, 4) as x0, y0, x1, y1, with its halo: (R,)."""
        extents = boxes[:, 2:] - boxes[:, :2] + 2 * self.halo  # (R, 2), width and height
        sizes = boxes.new_tensor([(width, height) for height, width in self.sizes])
        full = boxes.new_tensor(self.frame_size[::-1])
        fits = (extents[:, None] <= sizes) | (sizes == full)
        return fits.all(dim=2).int().argmax(dim=1)

    def windows(self, boxes: torch.Tensor, rung: int) -> torch.Tensor:
        """Windows of one size around boxes, moved into the frame: corners x0, y0, (R, 2).

        Corners lie on multiples of 4, which may take up to 3 px off a box's halo.
        """
        height, width = self.sizes[rung]
        size = boxes.new_tensor([width, height])
        room = boxes.new_tensor(self.frame_size[::-1]) - size
        corners = (boxes[:, :2] + boxes[:, 2:] - size) // 2
        corners = torch.minimum(corners.clamp(min=0), room)
        return corners // ALIGNMENT * ALIGNMENT


def nucleus_boxes(masks: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The smallest box that holds a mask (R, H, W) and has its point (R, 2) in the middle.

    The point is known in training and in inference, and the same for both: were it the mask that
    lies in the middle, training would give away where a nucleus is.

    Returns:
        x0, y0, x1, y1 in px, ends excluded, (R, 4), int64; they may leave the frame. A mask without
        a pixel leaves its point.
    """
    height, width = masks.shape[1:]
    pixels = points.round().long()
    pixels = torch.minimum(pixels.clamp(min=0), pixels.new_tensor([width - 1, height - 1]))
    boxes = mask_boxes(masks)
    reach = torch.maximum(pixels - boxes[:, :2], boxes[:, 2:] - 1 - pixels)  # (R, 2)
    reach = torch.where(masks.flatten(1).any(dim=1, keepdim=True), reach, 0)
    return torch.cat([pixels - reach, pixels + reach + 1], dim=1)
