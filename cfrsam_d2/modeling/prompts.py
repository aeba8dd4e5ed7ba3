"""Which points train stage 2, and which nucleus each of them stands for.

P points and N nuclei of one image, H×W px.
"""

from collections.abc import Callable

import torch
from detectron2.structures import Instances

from ..errors import UserError


def learner_prompts(
    gt_instances: Instances, proposals: Instances
) -> tuple[torch.Tensor, torch.Tensor]:
    """The learner's points that lie on a nucleus, one a nucleus (the first).

    Returns:
        Points (K, 2) and the index of each one's nucleus (K,).
    """
    gt_masks = gt_instances.gt_masks.tensor  # (N, H, W)
    points = proposals.proposal_points
    height, width = gt_masks.shape[-2:]
    if len(points) == 0 or len(gt_masks) == 0:
        return points[:0], torch.zeros(0, dtype=torch.long, device=points.device)
    columns = points[:, 0].round().long().clamp(0, width - 1)
    rows = points[:, 1].round().long().clamp(0, height - 1)
    hits = gt_masks[:, rows, columns].T  # (P, N)
    on_nucleus = hits.any(dim=1).nonzero().squeeze(1)
    nuclei = hits[on_nucleus].int().argmax(dim=1)
    first = torch.full((len(gt_masks),), len(points), device=points.device)
    first.scatter_reduce_(0, nuclei, on_nucleus, reduce="amin")
    found = (first < len(points)).nonzero().squeeze(1)
    return points[first[found]], found


def centroid_prompts(
    gt_instances: Instances, proposals: Instances | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The nuclei's own centroids; returns as `learner_prompts`."""
    points = gt_instances.gt_points
    return points, torch.arange(len(points), device=points.device)


def random_prompts(
    gt_instances: Instances, proposals: Instances | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random pixel of each nucleus; returns as `learner_prompts`."""
    gt_masks = gt_instances.gt_masks.tensor
    points = gt_instances.gt_points.clone()
    for nucleus, mask in enumerate(gt_masks):
        pixels = mask.nonzero()  # (n, 2), row before column
        chosen = int(torch.randint(len(pixels), (1,)))
        points[nucleus] = pixels[chosen].flip(0).to(points.dtype)
    return points, torch.arange(len(points), device=points.device)


PROMPT_SOURCES: dict[str, Callable] = {
    "learner": learner_prompts,
    "centroid": centroid_prompts,
    "random": random_prompts,
}


def prompt_source(name: str) -> Callable:
    """The function of a value of MODEL.CFRSAM.TRAIN_PROMPTS."""
    if name not in PROMPT_SOURCES:
        raise UserError(
            f"MODEL.CFRSAM.TRAIN_PROMPTS is {name!r}: choose one of {sorted(PROMPT_SOURCES)}."
        )
    return PROMPT_SOURCES[name]


def draw_nuclei(
    points: torch.Tensor, nuclei: torch.Tensor, most: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """At most `most` of the prompts, drawn at random without repetition."""
    drawn = torch.randperm(len(points))[:most].to(points.device)
    return points[drawn], nuclei[drawn]
