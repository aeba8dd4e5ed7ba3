"""The three losses of the prompt learner (Eq. 2).

B images, A anchors, M matched anchors of the batch, K classes, H×W px.
"""

import torch
import torch.nn.functional as F
from detectron2.utils import comm
from fvcore.nn import sigmoid_focal_loss
from torch import Tensor

from ...structures.coco import UNKNOWN_CLASS


def classification_loss(
    pred_logits: Tensor, gt_classes: Tensor, *, background_weight: float
) -> Tensor:
    """Cross-entropy over all anchors, a weighted mean with `background_weight` for background.

    Of an anchor with a nucleus of unknown class, it is minus the logarithm of the sum of the
    probabilities of all classes.

    Args:
        pred_logits: (B, A, K+1) logits, background last.
        gt_classes: (B, A) classes, `UNKNOWN_CLASS` among them; K for anchors without a nucleus.
        background_weight: β; the classes of nuclei weigh 1.
    """
    logits = pred_logits.flatten(0, 1).float()  # (B·A, K+1)
    weight = logits.new_ones(logits.shape[-1])
    weight[-1] = background_weight
    classes = gt_classes.flatten()
    unknown = classes == UNKNOWN_CLASS
    logits = torch.where(unknown[:, None], _nucleus_or_background(logits), logits)
    return F.cross_entropy(logits, classes.where(~unknown, 0), weight=weight)


def _nucleus_or_background(logits: Tensor) -> Tensor:
    """Logits (N, K+1) in which the first class stands for all K, the others for nothing."""
    joined = torch.full_like(logits, float("-inf"))
    joined[:, 0] = logits[:, :-1].logsumexp(dim=-1)
    joined[:, -1] = logits[:, -1]
    return joined


def regression_loss(pred_points: Tensor, gt_points: Tensor, num_nuclei: float) -> Tensor:
    """Squared distance in px² between matched points, summed and divided by the nuclei.

    Args:
        pred_points: (M, 2) matched predictions of the whole batch.
        gt_points: (M, 2) their centroids.
        num_nuclei: nuclei in the batch, averaged over ranks.
    """
    return F.mse_loss(pred_points, gt_points, reduction="sum") / num_nuclei


def mask_loss(pred_mask_logits: Tensor, gt_masks: Tensor) -> Tensor:
    """Focal loss (γ=2, no α), mean over pixels.

    Args:
        pred_mask_logits: (B, H, W) logits of the foreground.
        gt_masks: (B, H, W), 1 on nuclei.
    """
    return sigmoid_focal_loss(
        pred_mask_logits.float(), gt_masks.float(), alpha=-1, gamma=2, reduction="mean"
    )


def average_over_ranks(count: int, device: torch.device) -> float:
    """`count` averaged over all processes, at least 1: what makes a sum a mean."""
    if comm.get_world_size() == 1:
        return max(float(count), 1.0)
    total = torch.tensor(float(count), device=device)
    torch.distributed.all_reduce(total)
    return max(total.item() / comm.get_world_size(), 1.0)
