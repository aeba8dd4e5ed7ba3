"""Test-time augmentation: masks averaged over flips and rotations of their window.

n images, R prompts of all of them, h×w px. Prompts are points (R, 2), boxes (R, 4) or points with
negative ones (R, 1+k, 2); see `sliding_window`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..mask_head import ImageMaps, PointPromptedMaskHead


@dataclass(frozen=True)
class View:
    """A way to look at an image.

    Attributes:
        transposed: rows become columns.
        flipped: dimensions then reversed, -2 for rows and -1 for columns.
    """

    transposed: bool
    flipped: tuple[int, ...]

    def of_maps(self, maps: Tensor) -> Tensor:
        """(…, h, w) to (…, h, w), or (…, w, h) if transposed."""
        return (maps.mT if self.transposed else maps).flip(self.flipped)

    def undo(self, maps: Tensor) -> Tensor:
        """The inverse of `of_maps`."""
        maps = maps.flip(self.flipped)
        return maps.mT if self.transposed else maps

    def of_prompts(self, prompts: Tensor, height: int, width: int) -> Tensor:
        """Move prompts with the images, which are of height×width px before."""
        xy = prompts.unflatten(-1, (-1, 2))
        if self.transposed:
            xy, width, height = xy.flip(-1), height, width
        if -1 in self.flipped:
            xy = torch.stack([width - 1 - xy[..., 0], xy[..., 1]], dim=-1)
        if -2 in self.flipped:
            xy = torch.stack([xy[..., 0], height - 1 - xy[..., 1]], dim=-1)
        return xy.sort(dim=-2).values.flatten(-2)  # the first corner of a box is its upper left one


# The image itself and its seven others.
VIEWS = [
    View(transposed, flipped)
    for transposed in (False, True)
    for flipped in ((), (-1,), (-2,), (-2, -1))
]


def encode_views(encode: Callable[[Tensor], ImageMaps], images: Tensor) -> list[ImageMaps]:
    """Encode windows as they look in each of `VIEWS`.

    Args:
        encode: of the model.
        images: normalised, (n, 3, h, w); padding turns with them.
    """
    return [encode(view.of_maps(images)) for view in VIEWS]


def average_views(
    head: PointPromptedMaskHead, maps: list[ImageMaps], prompts: Tensor, prompt_image: Tensor
) -> tuple[Tensor, Tensor]:
    """Masks from the mean of the probabilities that the network gives in all views.

    Args:
        head: the model's.
        maps: of `encode_views`.
        prompts: in px of the windows.
        prompt_image: index of each prompt's window, (R,).

    Returns:
        Masks (R, h, w), bool, where the mean probability is above 0.5, and the mean scores (R,).
    """
    height, width = maps[0].frame_size
    probabilities = prompts.new_zeros(len(prompts), height, width)
    scores = prompts.new_zeros(len(prompts))
    for view, of_view in zip(VIEWS, maps, strict=True):
        turned = view.of_prompts(prompts, height, width)
        predictions = head.predict(of_view, turned, prompt_image)
        logits = predictions.logits[head.final_mask]
        probabilities += view.undo(logits.sigmoid()) / len(VIEWS)
        scores += predictions.decoded.pred_iou / len(VIEWS)
    return probabilities > 0.5, scores
