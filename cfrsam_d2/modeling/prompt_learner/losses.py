"""The three losses of the prompt learner (Eq. 2).

B images, A anchors, M matched anchors of the batch, K classes, H×W px.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.utils import comm
from fvcore.nn import sigmoid_focal_loss
from torch import Tensor

from ...structures.coco import UNKNOWN_CLASS


def classification_loss(
    pred_logits: Tensor,
    gt_classes: Tensor,
    *,
    background_weight: float,
    class_weights: Sequence[float] = (),
) -> Tensor:
    """Cross-entropy over all anchors, a weighted mean with `background_weight` for background.

    Of an anchor with a nucleus of unknown class, it is minus the logarithm of the sum of the
    probabilities of all classes, and weighs 1.

    Args:
        pred_logits: (B, A, K+1) logits, background last.
        gt_classes: (B, A) classes, `UNKNOWN_CLASS` among them; K for anchors without a nucleus.
        background_weight: β.
        class_weights: of the classes of nuclei, K numbers; none: all 1.
    """
    logits = pred_logits.flatten(0, 1).float()  # (B·A, K+1)
    num_classes = logits.shape[-1] - 1
    weight = logits.new_ones(num_classes + 2)
    weight[num_classes] = background_weight
    if class_weights:
        weight[:num_classes] = weight.new_tensor(class_weights)
    classes = gt_classes.flatten()
    unknown = classes == UNKNOWN_CLASS
    logits = _with_nucleus(logits, unknown)
    return F.cross_entropy(logits, classes.where(~unknown, num_classes + 1), weight=weight)


def _with_nucleus(logits: Tensor, unknown: Tensor) -> Tensor:
    """Add "a nucleus of any class" as a last one: (N, K+1) to (N, K+2) logits.

    It stands for all K where the class is `unknown`, (N,) bool, and else for nothing.
    """
    nothing = torch.full_like(logits[:, :-1], float("-inf"))
    known = torch.cat([logits, nothing[:, :1]], dim=-1)
    nucleus = logits[:, :-1].logsumexp(dim=-1, keepdim=True)
    joined = torch.cat([nothing, logits[:, -1:], nucleus], dim=-1)
    return torch.where(unknown[:, None], joined, known)


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
