"""Which prompts train stage 2, and which nucleus each of them stands for.

P prompts and N nuclei of one image, H×W px; prompts as in `sliding_window`.
"""

from collections.abc import Callable

import torch
from detectron2.structures import Instances
from torch import Tensor

from .sliding_window import box_prompts, centers, prompts_of

# Proposals and ground truth of an image to prompts (K, 2) or (K, 4), and each one's nucleus (K,).
PromptSource = Callable[[Instances, Instances], tuple[Tensor, Tensor]]


def learner_prompts(gt_instances: Instances, proposals: Instances) -> tuple[Tensor, Tensor]:
    """The learner's prompts whose centers lie on a nucleus, one per nucleus (the first).

    Returns:
        Prompts (K, 2) or (K, 4) and the index of each one's nucleus (K,).
    """
    gt_masks = gt_instances.gt_masks.tensor  # (N, H, W)
    prompts = prompts_of(proposals)
    points = centers(prompts)
    height, width = gt_masks.shape[-2:]
    if len(points) == 0 or len(gt_masks) == 0:
        return prompts[:0], torch.zeros(0, dtype=torch.long, device=points.device)
    columns = points[:, 0].round().long().clamp(0, width - 1)
    rows = points[:, 1].round().long().clamp(0, height - 1)
    hits = gt_masks[:, rows, columns].T  # (P, N)
    on_nucleus = hits.any(dim=1).nonzero().squeeze(1)
    nuclei = hits[on_nucleus].int().argmax(dim=1)
    first = torch.full((len(gt_masks),), len(points), device=points.device)
    first.scatter_reduce_(0, nuclei, on_nucleus, reduce="amin")
    found = (first < len(points)).nonzero().squeeze(1)
    return prompts[first[found]], found


def centroid_prompts(
    gt_instances: Instances, proposals: Instances | None = None
) -> tuple[Tensor, Tensor]:
    """The centroids of the nuclei that have theirs in the image; returns as `learner_prompts`."""
    points = gt_instances.gt_points
    located = points.isfinite().all(dim=1).nonzero().squeeze(1)
    return points[located], located


def random_prompts(
    gt_instances: Instances, proposals: Instances | None = None
) -> tuple[Tensor, Tensor]:
    """A random pixel of each nucleus; returns as `learner_prompts`."""
    gt_masks = gt_instances.gt_masks.tensor
    points = gt_instances.gt_points.clone()
    for nucleus, mask in enumerate(gt_masks):
        pixels = mask.nonzero()  # (n, 2), row before column
        chosen = int(torch.randint(len(pixels), (1,)))
        points[nucleus] = pixels[chosen].flip(0).to(points.dtype)
    return points, torch.arange(len(points), device=points.device)


def gt_box_prompts(
    gt_instances: Instances, proposals: Instances | None = None
) -> tuple[Tensor, Tensor]:
    """The nuclei's own tight boxes; returns as `learner_prompts`."""
    boxes = gt_instances.gt_boxes.tensor
    return box_prompts(boxes), torch.arange(len(boxes), device=boxes.device)


POINT_SOURCES: dict[str, PromptSource] = {
    "learner": learner_prompts,
    "centroid": centroid_prompts,
    "random": random_prompts,
}
BOX_SOURCES: dict[str, PromptSource] = {"learner": learner_prompts, "centroid": gt_box_prompts}


def draw_prompts(prompts: Tensor, nuclei: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """At most `most` of the prompts with their nuclei, drawn at random without repetition."""
    drawn = torch.randperm(len(prompts))[:most].to(prompts.device)
    return prompts[drawn], nuclei[drawn]
