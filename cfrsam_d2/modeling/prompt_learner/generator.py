"""The prompt learner: centroids and classes of nuclei as proposals (section 3.3).

B images, H×W px, gh×gw = A anchors, K classes, C channels, L pyramid levels, N nuclei.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY
from detectron2.structures import ImageList, Instances
from fvcore.nn import weight_init
from torch import Tensor, nn

from ...config import choose
from ...errors import UserError
from ..postprocessing import suppress_within_radius
from ..views import VIEWS, View
from .backbone import build_convnext
from .losses import average_over_ranks, classification_loss, mask_loss, regression_loss
from .matcher import match_points
from .padding import reflect_pad
from .points import anchor_grid, enlarge_mask, foreground_points, sample_at_points


class PointPredictions(NamedTuple):
    """The output of the network, before matching or selection."""

    anchors: Tensor  # (B, A, 2) in px, row-major
    points: Tensor  # (B, A, 2) in px
    logits: Tensor  # (B, A, K+1), background last
    mask_logits: Tensor | None  # (B, H, W) of the foreground; None where nothing reads them
    descriptors: Tensor  # (B, A, C), what the heads see
    levels: list[Tensor]  # L maps (B, C, hᵢ, wᵢ), finest first


class FeaturePyramid(nn.Module):
    """A feature pyramid without norms or activations, output on its finest levels only.

    All maps feed the top-down path, whose maps need not halve exactly: a coarse map is enlarged
    (nearest) to the size of the next finer one. Weights start as those of mmcv's ConvModule.
    """

    def __init__(self, *, in_channels: Sequence[int], out_channels: int, num_outputs: int) -> None:
        """
        Args:
            in_channels: channels of the incoming maps, finest first.
            out_channels: C.
            num_outputs: how many of the finest levels to return.
        """
        super().__init__()
        self.lateral_convs = nn.ModuleList(
            nn.Conv2d(channels, out_channels, kernel_size=1) for channels in in_channels
        )
        self.output_convs = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
            for _ in range(num_outputs)
        )
        for conv in [*self.lateral_convs, *self.output_convs]:
            weight_init.c2_msra_fill(conv)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, Cᵢ, hᵢ, wᵢ), finest first, to the finest `num_outputs` levels (B, C, hᵢ, wᵢ)."""
        levels = [conv(feature) for conv, feature in zip(self.lateral_convs, maps, strict=True)]
        for i in reversed(range(len(levels) - 1)):
            coarser = F.interpolate(levels[i + 1], size=levels[i].shape[-2:], mode="nearest")
            levels[i] = levels[i] + coarser
        # Fewer convolutions than levels: the coarsest levels only feed the top-down path.
        return [conv(level) for conv, level in zip(self.output_convs, levels, strict=False)]


def point_head(dim: int, out_dim: int) -> nn.Sequential:
    """A two-layer MLP on the descriptor of a point: (…, dim) to (…, out_dim)."""
    return nn.Sequential(
        nn.Linear(dim, dim),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(dim, out_dim),
    )


def auxiliary_mask_head(dim: int) -> nn.Sequential:
    """Foreground logits of a map: (B, dim, h, w) to (B, 1, h + 2, w + 2).

    The last convolution is padded although it is 1×1: the published model's map grows by 2.
    """
    return nn.Sequential(
        nn.Conv2d(dim, dim, kernel_size=3, padding=1),
        nn.BatchNorm2d(dim),
        nn.ReLU(),
        nn.Conv2d(dim, 1, kernel_size=1, padding=1),
    )


def is_located(gt_instances: Instances) -> Tensor:
    """Which nuclei of an image have their point in it, (N,) bool."""
    return gt_instances.gt_points.isfinite().all(dim=1)


@PROPOSAL_GENERATOR_REGISTRY.register()
class CentroidProposalGenerator(nn.Module):
    """Finds nuclei as points: anchors move onto centroids and are classified.

    It has a backbone of its own, so the `features` of Detectron2's contract are not used.
    """

    proposes_boxes = False

    @configurable
    def __init__(
        self,
        *,
        backbone: Any,
        num_classes: int,
        hidden_dim: int = 256,
        num_levels: int = 3,
        anchor_stride: int = 8,
        distance_weight: float = 0.1,
        background_weight: float = 0.4,
        class_weights: Sequence[float] = (),
        regression_weight: float = 5e-3,
        suppression_radius: float = 3.0,
        keep_on_mask_only: bool = False,
        foreground_thresh: float = 0.0,
        centred_sampling: bool = False,
        averages_views: bool = False,
        gives_class_probs: bool = False,
    ) -> None:
        """
        Args:
            backbone: images to four maps; its `feature_info` tells their channels and strides.
            num_classes: K.
            hidden_dim: C, channels of necks, descriptor and heads.
            num_levels: L, how many of the finest levels describe a point.
            anchor_stride: px between anchors.
            distance_weight: matching cost per px of distance.
            background_weight: β, weight of background in the classification loss.
            class_weights: of each class there, K numbers; none: all 1.
            regression_weight: λ of the regression loss.
            suppression_radius: px within which the best of several points stays.
            keep_on_mask_only: drop points off the auxiliary mask.
            foreground_thresh: which anchors see a nucleus, see `foreground_points`.
            centred_sampling: what is found somewhere does not depend on the image's size; not as
                published, see `sample_at_points`.
            averages_views: in evaluation, see `predict_views`.
            gives_class_probs: proposals come with `proposal_class_probs`, which stage 2's class
                head needs.

        Raises:
            UserError: the backbone has fewer than `num_levels` levels.
        """
        super().__init__()
        channels = backbone.feature_info.channels()
        if not 1 <= num_levels <= len(channels):
            raise UserError(
                f"num_levels is {num_levels}: the backbone has {len(channels)} levels, choose 1 to "
                f"{len(channels)}"
            )
        self.backbone = backbone
        self.neck = FeaturePyramid(
            in_channels=channels, out_channels=hidden_dim, num_outputs=num_levels
        )
        self.offset_head = point_head(hidden_dim, 2)
        self.descriptor = nn.Conv2d(hidden_dim * num_levels, hidden_dim, kernel_size=3, padding=1)
        self.regression_head = point_head(hidden_dim, 2)
        self.classification_head = point_head(hidden_dim, num_classes + 1)
        self.mask_neck = FeaturePyramid(
            in_channels=channels, out_channels=hidden_dim, num_outputs=1
        )
        self.mask_head = auxiliary_mask_head(hidden_dim)

        self.num_classes = num_classes
        self.strides = backbone.feature_info.reduction()
        self.anchor_stride = anchor_stride
        self.distance_weight = distance_weight
        self.background_weight = background_weight
        self.class_weights = class_weights
        self.regression_weight = regression_weight
        self.suppression_radius = suppression_radius
        self.keep_on_mask_only = keep_on_mask_only
        self.foreground_thresh = foreground_thresh
        self.centred_sampling = centred_sampling
        self.averages_views = averages_views
        self.gives_class_probs = gives_class_probs
        self.pad_cell = self.strides[-1] if centred_sampling else anchor_stride

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec] | None) -> dict[str, Any]:
        node = cfg.MODEL.PROMPT_LEARNER
        return {
            "backbone": build_convnext(node.BACKBONE, depths=node.DEPTHS, dims=node.DIMS),
            "num_classes": node.NUM_CLASSES,
            "hidden_dim": node.HIDDEN_DIM,
            "num_levels": node.NUM_LEVELS,
            "anchor_stride": node.ANCHOR_STRIDE,
            "distance_weight": node.DISTANCE_WEIGHT,
            "background_weight": node.BACKGROUND_WEIGHT,
            "class_weights": node.CLASS_WEIGHTS,
            "regression_weight": node.REGRESSION_WEIGHT,
            "suppression_radius": node.SUPPRESSION_RADIUS,
            "keep_on_mask_only": node.KEEP_ON_MASK_ONLY,
            "foreground_thresh": node.FOREGROUND_THRESH,
            "centred_sampling": choose(
                {"published": False, "centred": True},
                node.SAMPLING,
                "MODEL.PROMPT_LEARNER.SAMPLING",
            ),
            "averages_views": cfg.TEST.AUG.POINTS,
            "gives_class_probs": cfg.MODEL.MASK_HEAD.CLASS_HEAD,
        }

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor] | None = None,
        gt_instances: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Losses in training, proposals in evaluation.

        Args:
            images: normalised images of any sizes; its padding is replaced by mirrored pixels.
            features: not used.
            gt_instances: in training, `gt_points`, `gt_classes` and `gt_masks` of each image. A
                nucleus whose point is NaN, out of the image, is only a part of the auxiliary mask;
                of one of `UNKNOWN_CLASS`, "nucleus or background" is trained in place of a class.

        Returns:
            No proposals and the losses `loss_point_cls`, `loss_point_reg`, `loss_point_mask`, or
            the proposals of each image (see `inference`) and no losses.
        """
        predictions = self.find(self.pad(images))
        if self.training:
            assert gt_instances is not None, "training needs the ground truth"
            return [], self.losses(predictions, gt_instances, self.match(predictions, gt_instances))
        return self.inference(predictions, images.image_sizes), {}

    def pad(self, images: ImageList) -> Tensor:
        """Mirror each image at bottom right, to whole anchor cells and a cell of the coarsest map.

        Where sampling is centred, to whole cells of that map: else the maps of the levels, whose
        sizes are rounded, lie upon each other in a way that depends on the image's size.

        Returns:
            (B, 3, H, W), with H×W of the largest.
        """
        height, width = (
            max(math.ceil(side / self.pad_cell) * self.pad_cell, self.strides[-1])
            for side in images.tensor.shape[-2:]
        )
        return torch.stack([reflect_pad(images[i], height, width) for i in range(len(images))])

    def find(self, images: Tensor) -> PointPredictions:
        """As `predict`, of padded images; in evaluation as `predict_views` where asked for.

        The auxiliary mask, nearly a quarter of stage 1's arithmetic, is found where it is read:
        by the loss and by `keep_on_mask_only`.
        """
        predict = self.predict if self.training or not self.averages_views else self.predict_views
        return predict(images, finds_mask=self.training or self.keep_on_mask_only)

    def predict_views(self, images: Tensor, *, finds_mask: bool = True) -> PointPredictions:
        """The mean of what the network finds in the flips and rotations of images, as `predict`.

        Anchors are the same in all of them; averaged are their points and the probabilities of
        their classes, and the logits of the mask. Descriptors and levels are of the image itself.
        """
        height, width = images.shape[-2:]
        grid = (height // self.anchor_stride, width // self.anchor_stride)
        first, points, probabilities, masks = None, [], [], []
        for view in VIEWS:
            found = self.predict(view.of_maps(images), finds_mask=finds_mask)
            first = first or found
            sides = grid[::-1] if view.transposed else grid

            def on_grid(of_anchors: Tensor, view: View = view, sides: tuple = sides) -> Tensor:
                """(B, A, n) of the view's anchors to the same of the image's."""
                maps = of_anchors.unflatten(1, sides).movedim(-1, 1)
                return view.undo(maps).movedim(1, -1).flatten(1, 2)

            points.append(view.undo_points(on_grid(found.points), height, width))
            probabilities.append(on_grid(found.logits.float().softmax(dim=-1)))
            if found.mask_logits is not None:
                masks.append(view.undo(found.mask_logits))
        assert first is not None
        return first._replace(
            points=torch.stack(points).mean(dim=0),
            logits=torch.stack(probabilities).mean(dim=0).log(),
            mask_logits=torch.stack(masks).mean(dim=0) if masks else None,
        )

    def predict(self, images: Tensor, *, finds_mask: bool = True) -> PointPredictions:
        """The network itself, on normalised images (B, 3, H, W) of at least 32 px a side."""
        height, width = images.shape[-2:]
        sample = partial(sample_at_points, centred=self.centred_sampling)
        maps = self.backbone(images)
        levels = self.neck(maps)

        anchors = anchor_grid(height, width, self.anchor_stride, images.device)  # (gh, gw, 2)
        anchors = anchors.expand(images.shape[0], -1, -1, -1)  # (B, gh, gw, 2)
        finest = sample(levels[0], anchors, self.strides[0])  # (B, C, gh, gw)
        moved = anchors + self.offset_head(finest.permute(0, 2, 3, 1))  # (B, gh, gw, 2)

        samples = [
            sample(level, moved, stride)
            for level, stride in zip(levels, self.strides, strict=False)
        ]
        descriptor = self.descriptor(torch.cat(samples, dim=1))  # (B, C, gh, gw)
        descriptor = descriptor.permute(0, 2, 3, 1)  # (B, gh, gw, C)
        points = moved + self.regression_head(descriptor)
        logits = self.classification_head(descriptor)

        return PointPredictions(
            anchors=anchors.flatten(1, 2),
            points=points.flatten(1, 2),
            logits=logits.flatten(1, 2),
            mask_logits=self._find_mask(maps, (height, width)) if finds_mask else None,
            descriptors=descriptor.flatten(1, 2),
            levels=levels,
        )

    def _find_mask(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """The logits of the auxiliary mask (B, H, W) of images of a size, by their maps."""
        logits = self.mask_head(self.mask_neck(maps)[0])  # (B, 1, H/4 + 2, W/4 + 2)
        logits = enlarge_mask(logits, size, self.strides[0], centred=self.centred_sampling)
        return logits.squeeze(1)

    def pyramids(self, images: Tensor) -> list[Tensor]:
        """What stage 2's `SharedEncoder` reads of images (B, 3, H, W).

        Returns:
            The finest level of the auxiliary mask's pyramid, and the L of the points', (B, C, …).
        """
        maps = self.backbone(images)
        return [*self.mask_neck(maps), *self.neck(maps)]

    def match(
        self, predictions: PointPredictions, gt_instances: list[Instances]
    ) -> list[tuple[Tensor, Tensor]]:
        """The matched anchors of each image and their nuclei, see `match_points`."""
        matches = []
        for points, logits, gt in zip(
            predictions.points, predictions.logits, gt_instances, strict=True
        ):
            located = is_located(gt).nonzero().squeeze(1)
            pred_index, gt_index = match_points(
                points,
                logits,
                gt.gt_points[located],
                gt.gt_classes[located],
                distance_weight=self.distance_weight,
            )
            matches.append((pred_index, located[gt_index]))
        return matches

    def count_nuclei(self, gt_instances: list[Instances], device: torch.device) -> float:
        """The nuclei of the batch that have a point, averaged over ranks, at least 1."""
        return average_over_ranks(sum(int(is_located(gt).sum()) for gt in gt_instances), device)

    def losses(
        self,
        predictions: PointPredictions,
        gt_instances: list[Instances],
        matches: list[tuple[Tensor, Tensor]],
    ) -> dict[str, Tensor]:
        """Three losses over the batch (Eq. 2); `matches` as from `match`."""
        points, logits, mask_logits = (
            predictions.points,
            predictions.logits,
            predictions.mask_logits,
        )
        target_classes = logits.new_full(logits.shape[:2], self.num_classes, dtype=torch.int64)
        assert mask_logits is not None
        target_masks = torch.zeros_like(mask_logits)
        matched_points, matched_gt_points = [], []
        for i, (gt, (pred_index, gt_index)) in enumerate(zip(gt_instances, matches, strict=True)):
            target_classes[i, pred_index] = gt.gt_classes[gt_index]
            matched_points.append(points[i, pred_index])
            matched_gt_points.append(gt.gt_points[gt_index])
            foreground = gt.gt_masks.tensor.any(dim=0)
            target_masks[i] = reflect_pad(foreground, *target_masks.shape[1:])
        num_nuclei = self.count_nuclei(gt_instances, points.device)
        return {
            "loss_point_cls": classification_loss(
                logits,
                target_classes,
                background_weight=self.background_weight,
                class_weights=self.class_weights,
            ),
            "loss_point_reg": self.regression_weight
            * regression_loss(torch.cat(matched_points), torch.cat(matched_gt_points), num_nuclei),
            "loss_point_mask": mask_loss(mask_logits, target_masks),
        }

    def inference(
        self, predictions: PointPredictions, image_sizes: list[tuple[int, int]]
    ) -> list[Instances]:
        """The proposals of each image, highest score first: of the foreground's points within
        `suppression_radius` of each other the best; fields as of `foreground_points`."""
        return [
            found[
                suppress_within_radius(
                    found.proposal_points, found.proposal_scores, self.suppression_radius
                )
            ]
            for found in self.foreground(predictions, image_sizes)
        ]

    def foreground(
        self, predictions: PointPredictions, image_sizes: list[tuple[int, int]]
    ) -> list[Instances]:
        """The points of each image before suppression, see `foreground_points`.

        Args:
            predictions: of the images.
            image_sizes: (height, width) without padding.
        """
        masks = predictions.mask_logits
        return [
            foreground_points(
                points,
                logits,
                mask,
                cells,
                size,
                keep_on_mask_only=self.keep_on_mask_only,
                foreground_thresh=self.foreground_thresh,
                class_probs=self.gives_class_probs,
            )
            for points, logits, mask, cells, size in zip(
                predictions.points,
                predictions.logits,
                [None] * len(image_sizes) if masks is None else masks,
                predictions.anchors - self.anchor_stride / 2,
                image_sizes,
                strict=True,
            )
        ]
