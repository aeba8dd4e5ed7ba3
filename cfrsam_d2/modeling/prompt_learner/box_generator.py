"""The prompt learner that proposes boxes in place of points (section 4.5.8, Table 11).

B images, A anchors, M matched anchors of the batch, N nuclei.
"""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY
from detectron2.structures import Boxes, Instances
from torch import Tensor

from .generator import CentroidProposalGenerator, PointPredictions, point_head


@PROPOSAL_GENERATOR_REGISTRY.register()
class BoxProposalGenerator(CentroidProposalGenerator):
    """Finds nuclei as boxes around its points, whose sizes one more head tells.

    The paper does not say how its boxes are predicted. Here all that finds points stays as it is,
    and the head gives the logarithms of width and height in anchor strides.
    """

    proposes_boxes = True

    @configurable
    def __init__(self, *, hidden_dim: int = 256, **of_points: Any) -> None:
        """
        Args:
            hidden_dim: C, channels of necks, descriptor and heads.
            of_points: see `CentroidProposalGenerator`.
        """
        super().__init__(hidden_dim=hidden_dim, **of_points)
        self.size_head = point_head(hidden_dim, 2)

    def losses(
        self,
        predictions: PointPredictions,
        gt_instances: list[Instances],
        matches: list[tuple[Tensor, Tensor]],
    ) -> dict[str, Tensor]:
        """The losses of points, and `loss_box_size`: the absolute error of the logarithms of both
        sides of the nuclei's `gt_boxes`, summed and divided by the nuclei."""
        losses = super().losses(predictions, gt_instances, matches)
        log_sizes = self._log_sizes(predictions)
        matched, gt_sizes = [], []
        for each, gt, (pred_index, gt_index) in zip(log_sizes, gt_instances, matches, strict=True):
            boxes = gt.gt_boxes.tensor[gt_index]
            matched.append(each[pred_index])
            gt_sizes.append(boxes[:, 2:] - boxes[:, :2])
        gt_log_sizes = (torch.cat(gt_sizes) / self.anchor_stride).log()  # (M, 2)
        num_nuclei = self.count_nuclei(gt_instances, log_sizes.device)
        error = F.l1_loss(torch.cat(matched), gt_log_sizes, reduction="sum")
        losses["loss_box_size"] = error / num_nuclei
        return losses

    def inference(
        self, predictions: PointPredictions, image_sizes: list[tuple[int, int]]
    ) -> list[Instances]:
        """The proposals of each image, with `proposal_boxes` (N, 4) around their points."""
        proposals = super().inference(predictions, image_sizes)
        for each, log_sizes in zip(proposals, self._log_sizes(predictions), strict=True):
            sizes = self.anchor_stride * log_sizes[each.proposal_anchors].exp()
            each.proposal_boxes = Boxes(boxes_around(each.proposal_points, sizes, each.image_size))
        return proposals

    def _log_sizes(self, predictions: PointPredictions) -> Tensor:
        """Logarithms of width and height in anchor strides, (B, A, 2)."""
        return self.size_head(predictions.descriptors).float()


def boxes_around(points: Tensor, sizes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Boxes with the given centers, cut to the image.

    Args:
        points: x, y in px of pixels' centres, in the image, (N, 2).
        sizes: width and height in px, (N, 2); at least a pixel is taken.
        image_size: height and width in px.

    Returns:
        x0, y0, x1, y1 in px, ends excluded, (N, 4).
    """
    middle = points + 0.5  # a pixel is as wide as from its number to the next
    reach = sizes.clamp(min=1) / 2
    height, width = image_size
    first = (middle - reach).clamp(min=0)
    end = (middle + reach).minimum(points.new_tensor([width, height]))
    return torch.cat([first, end], dim=1)
