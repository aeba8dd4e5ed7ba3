"""Which prompts train stage 2, and which nucleus each of them stands for.

K prompts and N nuclei of one image, H×W px; prompts of n corners as in `structures.prompts`.
"""

from collections.abc import Callable
from functools import partial

import torch
from detectron2.structures import Instances
from torch import Tensor

from ..errors import UserError
from ..structures.prompts import beside, box_prompts

# The nuclei of an image to prompts (K, 2·n), and the index of each one's nucleus (K,).
PromptSource = Callable[[Instances], tuple[Tensor, Tensor]]


def learner_prompts(gt_instances: Instances) -> tuple[Tensor, Tensor]:
    """The learner's prompts, of the nuclei that have one.

    Args:
        gt_instances: with `proposal_prompts` (N, 2·n), NaN where a nucleus has none.

    Returns:
        Prompts (K, 2·n) and the index of each one's nucleus (K,).

    Raises:
        UserError: there is no such field.
    """
    if not gt_instances.has("proposal_prompts"):
        raise UserError(
            "MODEL.CFRSAM.TRAIN_PROMPTS is 'learner', but the training images come without the "
            "prompt learner's prompts (`proposal_prompts`): train with NucleusTrainer, which finds "
            "them, or set MODEL.CFRSAM.TRAIN_PROMPTS to 'centroid'"
        )
    return _known(gt_instances.proposal_prompts)


def centroid_prompts(gt_instances: Instances) -> tuple[Tensor, Tensor]:
    """The centroids of the nuclei that have theirs in the image; returns as `learner_prompts`."""
    return _known(gt_instances.gt_points)


def random_prompts(gt_instances: Instances) -> tuple[Tensor, Tensor]:
    """A random pixel of each nucleus; returns as `learner_prompts`."""
    gt_masks = gt_instances.gt_masks.tensor
    points = gt_instances.gt_points.clone()
    for nucleus, mask in enumerate(gt_masks):
        pixels = mask.nonzero()  # (n, 2), row before column
        chosen = int(torch.randint(len(pixels), (1,)))
        points[nucleus] = pixels[chosen].flip(0).to(points.dtype)
    return points, torch.arange(len(points), device=points.device)


def gt_box_prompts(gt_instances: Instances) -> tuple[Tensor, Tensor]:
    """The nuclei's own tight boxes; returns as `learner_prompts`."""
    boxes = gt_instances.gt_boxes.tensor
    return box_prompts(boxes), torch.arange(len(boxes), device=boxes.device)


def with_gt_boxes(points_of: PromptSource, gt_instances: Instances) -> tuple[Tensor, Tensor]:
    """The points of a source, each with the tight box of its nucleus; returns as
    `learner_prompts`."""
    points, nuclei = points_of(gt_instances)
    return beside(points, box_prompts(gt_instances.gt_boxes.tensor)[nuclei]), nuclei


def _known(prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Of one prompt per nucleus (N, c), NaN where it has none: those that there are."""
    nuclei = prompts.isfinite().all(dim=1).nonzero().squeeze(1)
    return prompts[nuclei], nuclei


POINT_SOURCES: dict[str, PromptSource] = {
    "learner": learner_prompts,
    "centroid": centroid_prompts,
    "random": random_prompts,
}
BOX_SOURCES: dict[str, PromptSource] = {"learner": learner_prompts, "centroid": gt_box_prompts}
POINT_AND_BOX_SOURCES: dict[str, PromptSource] = {
    "learner": learner_prompts,
    "centroid": partial(with_gt_boxes, centroid_prompts),
    "random": partial(with_gt_boxes, random_prompts),
}


def draw_prompts(prompts: Tensor, nuclei: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """At most `most` of the prompts with their nuclei, drawn at random without repetition."""
    drawn = torch.randperm(len(prompts))[:most].to(prompts.device)
    return prompts[drawn], nuclei[drawn]
