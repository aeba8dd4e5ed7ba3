"""Test-time augmentation: masks averaged over flips and rotations of their window.

n images, R prompts of all of them, h×w px. Prompts are (R, 2·n), or points with negative ones
(R, 1+k, 2); see `structures.prompts`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..mask_head import ImageMaps, PointPromptedMaskHead
from ..views import VIEWS


def encode_views(encode: Callable[[Tensor], ImageMaps], images: Tensor) -> list[ImageMaps]:
    """Encode windows as they look in each of `VIEWS`.

    Args:
        encode: of the model.
        images: normalised, (n, 3, h, w); padding turns with them.
    """
    return [encode(view.of_maps(images)) for view in VIEWS]


def cut_views(maps: list[ImageMaps], image: int, box: tuple[int, int, int, int]) -> list[ImageMaps]:
    """The maps of a part of a window in each of `VIEWS`, see `ImageMaps.cut`.

    Args:
        maps: of `encode_views`.
        image: index of the window.
        box: of the window itself, turned with it in its views.
    """
    size = maps[0].frame_size
    return [
        of_view.cut(image, view.of_box(box, *size))
        for view, of_view in zip(VIEWS, maps, strict=True)
    ]


def average_views(
    head: PointPromptedMaskHead, maps: list[ImageMaps], prompts: Tensor, prompt_image: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Masks from the mean of the probabilities that the network gives in all views.

    Args:
        head: the model's.
        maps: of `encode_views`.
        prompts: in px of the windows.
        prompt_image: index of each prompt's window, (R,).

    Returns:
        Masks (R, h, w), bool, where the mean probability is above 0.5, the mean scores (R,) and,
        with a class head, the means of its `class_log_probs` (R, K).
    """
    height, width = maps[0].frame_size
    probabilities = prompts.new_zeros(len(prompts), height, width)
    scores = prompts.new_zeros(len(prompts))
    class_log_probs = []
    for view, of_view in zip(VIEWS, maps, strict=True):
        turned = view.of_prompts(prompts, height, width)
        predictions = head.predict(of_view, turned, prompt_image)
        logits = predictions.logits[head.final_mask]
        probabilities += view.undo(logits.sigmoid()) / len(VIEWS)
        scores += predictions.decoded.pred_iou / len(VIEWS)
        if predictions.class_log_probs is not None:
            class_log_probs.append(predictions.class_log_probs)
    mean = torch.stack(class_log_probs).mean(dim=0) if class_log_probs else None
    return probabilities > 0.5, scores, mean
