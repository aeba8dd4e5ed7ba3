"""A class for each mask: stage 2's own vote, by which it can correct stage 1's.

R prompts, K classes, C = 256 channels, h×w = H/16×W/16 cells of an image of H×W px.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...structures.coco import UNKNOWN_CLASS
from .decoder import EMBED_DIM

FEATURE_CHANNELS = EMBED_DIM // 8  # of the decoder's U
LEAST_AREA = 1e-6  # cells; a mask that is nowhere is divided by it


class ClassHead(nn.Module):
    """Classifies what lies under an initial mask: in the decoder's U, and in F at 16 px a cell.

    Each has a norm of its own: F is some 20 times larger than U.
    """

    def __init__(self, num_classes: int, hidden_dim: int = EMBED_DIM) -> None:
        """
        Args:
            num_classes: K.
            hidden_dim: of the MLP.
        """
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in (FEATURE_CHANNELS, EMBED_DIM))
        self.mlp = nn.Sequential(
            nn.Linear(FEATURE_CHANNELS + EMBED_DIM, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, num_classes),
        )

    def forward(self, mask_logits: Tensor, features: Tensor, embeddings: Tensor) -> Tensor:
        """Logarithms of the classes' probabilities, (R, K), float32.

        Where a mask lies is taken as given: its logits have no gradient from here.

        Args:
            mask_logits: of the initial masks, (R, 4h, 4w).
            features: U of each prompt, (R, 32, 4h, 4w).
            embeddings: F of each prompt's image, (R, C, h, w).
        """
        fine = mask_logits.detach().sigmoid()
        coarse = F.avg_pool2d(fine, kernel_size=4)  # (R, h, w)
        pooled = (pool_under(fine, features), pool_under(coarse, embeddings))
        normed = [norm(each) for norm, each in zip(self.norms, pooled, strict=True)]
        return self.mlp(torch.cat(normed, dim=1)).float().log_softmax(dim=1)


def pool_under(weights: Tensor, maps: Tensor) -> Tensor:
    """The mean of each map under its mask.

    Args:
        weights: from 0 to 1, (R, h, w).
        maps: (R, C, h, w).

    Returns:
        (R, C), in the type of the weights; zeros where these are.
    """
    total = torch.einsum("rhw,rchw->rc", weights, maps.to(weights.dtype))
    return total / weights.sum(dim=(1, 2)).clamp(min=LEAST_AREA)[:, None]


def class_loss(class_log_probs: Tensor, gt_classes: Tensor) -> Tensor:
    """Cross-entropy, the mean over the nuclei of known class; 0 where there are none.

    Args:
        class_log_probs: (R, K).
        gt_classes: (R,), 0..K-1 or `UNKNOWN_CLASS`.
    """
    total = F.nll_loss(class_log_probs, gt_classes, ignore_index=UNKNOWN_CLASS, reduction="sum")
    return total / (gt_classes != UNKNOWN_CLASS).sum().clamp(min=1)
