"""The Hungarian matching of training, one anchor per nucleus (section 3.3.2).

A anchors, N nuclei of one image, K classes.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ...structures.coco import UNKNOWN_CLASS


@torch.no_grad()
def match_points(
    pred_points: Tensor,
    pred_logits: Tensor,
    gt_points: Tensor,
    gt_classes: Tensor,
    *,
    distance_weight: float,
) -> tuple[Tensor, Tensor]:
    """Match anchors and nuclei of one image one to one at the lowest total cost (Eq. 1).

    The cost of anchor i for nucleus j is `distance_weight·‖p̂ᵢ − gⱼ‖₂ − P(class of j | anchor i)`;
    where the class is unknown, P is the sum of all classes' probabilities.

    Args:
        pred_points: (A, 2) points in px.
        pred_logits: (A, K+1) logits, background last.
        gt_points: (N, 2) centroids in px.
        gt_classes: (N,) classes, 0..K-1 or `UNKNOWN_CLASS`, -1.
        distance_weight: cost per px of distance.

    Returns:
        Indices of the matched anchors, ascending, and of their nuclei; both (min(A, N),) int64.
    """
    distance = (pred_points[:, None] - gt_points).norm(dim=-1)  # (A, N)
    probability = pred_logits.float().softmax(dim=-1)
    probability[:, UNKNOWN_CLASS] = probability[:, :-1].sum(
        dim=-1
    )  # the last, in background's place
    probability = probability[:, gt_classes]  # (A, N)
    cost = distance_weight * distance - probability
    # Predictions that are not finite must reach the loss, whose check names the offending term.
    cost = cost.nan_to_num(nan=0.0, posinf=1e6, neginf=-1e6)
    pred_index, gt_index = linear_sum_assignment(cost.cpu().numpy())
    device = pred_points.device
    return torch.as_tensor(pred_index, device=device), torch.as_tensor(gt_index, device=device)
