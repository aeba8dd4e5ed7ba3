"""A CFR-SAM small enough to run in a test, and learners whose points are known beforehand."""

from typing import Any

import torch
from detectron2.structures import BitMasks, Boxes, ImageList, Instances
from torch import nn

from cfrsam_d2.modeling.mask_head import ImageMaps, PointPromptedMaskHead, mask_head_parts
from cfrsam_d2.modeling.mask_head.fusions import FUSIONS
from cfrsam_d2.modeling.mask_head.refiners import REFINERS
from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.prompt_learner.box_generator import boxes_around
from cfrsam_d2.modeling.sam import SAMEncoder
from cfrsam_d2.modeling.sam.adapters import ADAPTERS
from cfrsam_d2.modeling.sliding_window import SlidingWindow
from cfrsam_d2.modeling.training_prompts import learner_prompts

TINY_ENCODER = {
    "embed_dim": 48,
    "depth": 4,
    "num_heads": 3,
    "global_attn_indexes": [1, 3],
    "attention_window": 14,
    "adapter_rank": 8,
    "frozen": True,
}


class GridPoints(nn.Module):
    """A proposal generator that puts a point on every 24th pixel of each image, classes in turn.

    It has a parameter and running statistics, which nothing should change.
    """

    proposes_boxes = False

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def points(self, image: int, height: int, width: int) -> torch.Tensor:
        rows, columns = torch.meshgrid(
            torch.arange(12, height, 24), torch.arange(12, width, 24), indexing="ij"
        )
        return torch.stack([columns.flatten(), rows.flatten()], dim=1).float()

    def forward(
        self, images: ImageList, features: None, gt_instances: None = None
    ) -> tuple[list[Instances], dict]:
        assert not self.training
        self.norm(images.tensor)
        proposals = []
        for i, size in enumerate(images.image_sizes):
            points = self.points(i, *size).to(images.tensor.device)
            proposals.append(
                Instances(
                    tuple(size),
                    proposal_points=points,
                    proposal_classes=torch.arange(len(points), device=points.device) % 3,
                    proposal_scores=points.new_ones(len(points)),
                )
            )
        return proposals, {}


class GridBoxes(GridPoints):
    """A proposal generator of boxes of 15×9 px, cut to their image, around the points of a grid."""

    proposes_boxes = True

    def forward(self, images: ImageList, *args: None) -> tuple[list[Instances], dict]:
        proposals, losses = super().forward(images, *args)
        for each in proposals:
            each.proposal_boxes = Boxes(
                boxes_around(
                    each.proposal_points,
                    each.proposal_points.new_tensor([15.0, 9.0]),
                    each.image_size,
                )
            )
        return proposals, losses


class GivenPoints(GridPoints):
    """A proposal generator that predicts the given (x, y) of each image of a batch."""

    def __init__(self, *points: list[tuple[float, float]]) -> None:
        super().__init__()
        self.given = points

    def points(self, image: int, height: int, width: int) -> torch.Tensor:
        return torch.tensor(self.given[image], dtype=torch.float32).reshape(-1, 2)


def tiny_encoder(adapter: str = "MALA", **changes: Any) -> SAMEncoder:
    """An encoder with position tables that are not all zero, as new ones are."""
    encoder = SAMEncoder(**{**TINY_ENCODER, **changes}, adapter=ADAPTERS[adapter])
    for name, parameter in encoder.vit.named_parameters():
        if "pos" in name:
            nn.init.normal_(parameter, std=0.2)
    return encoder


def tiny_head(fusion: str = "HMFM", refiner: str = "BGMR", **options: Any) -> PointPromptedMaskHead:
    """The mask head in its own size: SAM's decoder has no other."""
    parts = mask_head_parts(FUSIONS[fusion], REFINERS[refiner])
    return PointPromptedMaskHead(**parts, **options)


def tiny_cfrsam(
    proposal_generator: nn.Module | None = None,
    mask_head: nn.Module | None = None,
    **changes: Any,
) -> CFRSAM:
    return CFRSAM(
        proposal_generator=proposal_generator or GridPoints(),
        backbone=tiny_encoder(),
        mask_head=mask_head or tiny_head(),
        **{
            "pixel_mean": [120.0, 120.0, 120.0],
            "pixel_std": [60.0, 60.0, 60.0],
            "train_prompts": learner_prompts,
            "max_train_nuclei": 25,
            "nms_thresh": 0.5,
            "sliding_window": SlidingWindow(128, 32, edge_tolerance=3, batch=4),
            **changes,
        },
    )


def encode(model: CFRSAM, image: torch.Tensor) -> ImageMaps:
    """What the prompts of one image (3, H, W) share; H and W are multiples of 16."""
    return model.encode(model.normalize(image)[None])


@torch.no_grad()
def nuclei_of(model: nn.Module, image: torch.Tensor) -> Instances:
    """What a model finds in one image (3, H, W)."""
    return model.eval()([{"image": image}])[0]["instances"]


def random_image(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


def squares(size: tuple[int, int], corners: list[tuple[int, int]], side: int = 8) -> Instances:
    """Squares with the given upper left corners (x, y) as nuclei, prompted in their middle."""
    masks = torch.zeros(len(corners), *size, dtype=torch.bool)
    for mask, (x, y) in zip(masks, corners, strict=True):
        mask[y : y + side, x : x + side] = True
    first = torch.tensor(corners).reshape(-1, 2)
    centers = first + (side - 1) / 2
    return Instances(
        size,
        gt_boxes=Boxes(torch.cat([first, first + side], dim=1)),
        gt_points=centers,
        proposal_prompts=centers,
        gt_classes=torch.arange(len(corners)) % 3,
        gt_masks=BitMasks(masks),
    )
