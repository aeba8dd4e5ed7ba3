"""The losses of stage 2 (paper 3.7, Eq. 15 and 16). R nuclei, H×W px."""

import torch
import torch.nn.functional as F
from fvcore.nn import sigmoid_focal_loss

FOCAL_GAMMA = 2.0


def mask_losses(
    logits: torch.Tensor, gt_masks: torch.Tensor, pred_iou: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The three terms of the mask loss, not weighted.

    Args:
        logits: (R, H, W).
        gt_masks: 0 or 1, float, (R, H, W).
        pred_iou: the decoder's estimate of each mask's IoU, (R,).

    Returns:
        `focal` (mean over all pixels), `dice` (one ratio over the whole batch), `iou` (mean
        squared error of the estimate against the soft IoU).
    """
    focal = sigmoid_focal_loss(logits, gt_masks, gamma=FOCAL_GAMMA, alpha=-1, reduction="mean")
    probabilities = logits.sigmoid()
    intersections = (probabilities * gt_masks).sum(dim=(1, 2))
    areas = probabilities.sum(dim=(1, 2)) + gt_masks.sum(dim=(1, 2))
    has_foreground = gt_masks.any()
    dice = torch.where(has_foreground, 1 - 2 * intersections.sum() / areas.sum(), 0.0)
    iou = ((intersections / (areas - intersections) - pred_iou) ** 2).mean()
    return {"focal": focal, "dice": dice, "iou": iou}


def boundary_bce(boundary_logits: torch.Tensor, boundary_targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy over all pixels of all nuclei; both arguments (R, H, W)."""
    return F.binary_cross_entropy_with_logits(boundary_logits, boundary_targets)


def boundary_map(masks: torch.Tensor) -> torch.Tensor:
    """Where the Sobel magnitude of a mask is above 0, as 0 or 1: (R, H, W) to (R, H, W).

    The released code divides by the maximum and casts to integers, which erases almost all of it.
    """
    sobel_x = masks.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([sobel_x, sobel_x.T]).unsqueeze(1)  # (2, 1, 3, 3)
    padded = F.pad(masks.unsqueeze(1), (1, 1, 1, 1), mode="replicate")
    return (F.conv2d(padded, kernels) != 0).any(dim=1).to(masks.dtype)
