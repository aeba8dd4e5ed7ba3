"""The meta-architecture of stage 1: images to points and classes. The whole extends it."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_proposal_generator
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from ..postprocessing import rescale_to_input
from ..precision import FLOAT32, Precision
from ..prompt_learner import CentroidProposalGenerator


@META_ARCH_REGISTRY.register()
class PromptLearner(nn.Module):
    """Images to the centroids and classes of their nuclei."""

    proposal_generator: CentroidProposalGenerator
    pixel_mean: Tensor
    pixel_std: Tensor

    @configurable
    def __init__(
        self,
        *,
        proposal_generator: CentroidProposalGenerator,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        precision: Precision = FLOAT32,
    ) -> None:
        """
        Args:
            proposal_generator: finds the points.
            pixel_mean, pixel_std: of RGB, 0..255.
            precision: where it is mixed.
        """
        super().__init__()
        self.proposal_generator = proposal_generator
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1), False)
        self.precision = precision

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return {
            "proposal_generator": build_proposal_generator(cfg, None),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "precision": Precision.from_config(cfg),
        }

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training, nuclei in evaluation.

        Args:
            batched_inputs: one dict per image, as the mapper gives them: "image", a (3, H, W) RGB
                tensor 0..255, and in training "instances".

        Returns:
            The losses by name, or for each image `{"instances": Instances}`, see `inference`, in
            the size ("height", "width") of its dict, by default H×W.
        """
        images = [self.normalize(each["image"]) for each in batched_inputs]
        with self.precision.context(self.device, training=self.training):
            if self.training:
                gt_instances = [each["instances"].to(self.device) for each in batched_inputs]
                return self.losses(images, gt_instances)
            nuclei = self.inference(images)
        return [
            {"instances": rescale_to_input(*each)}
            for each in zip(nuclei, batched_inputs, strict=True)
        ]

    def normalize(self, image: Tensor) -> Tensor:
        """An RGB image (3, H, W) 0..255 as the networks see it."""
        return (image.to(self.device) - self.pixel_mean) / self.pixel_std

    def losses(self, images: list[Tensor], gt_instances: list[Instances]) -> dict[str, Tensor]:
        """The losses of the proposal generator by name.

        Args:
            images: normalised, (3, H, W) each.
            gt_instances: with `gt_points`, `gt_classes` and `gt_masks`.
        """
        _, losses = self.proposal_generator(ImageList.from_tensors(images), None, gt_instances)
        return losses

    def inference(self, images: list[Tensor]) -> list[Instances]:
        """The nuclei of each image: `pred_points` (N, 2), `pred_classes` (N,) and `scores` (N,).

        Args:
            images: normalised, (3, H, W) each.
        """
        return [
            Instances(
                proposal.image_size,
                pred_points=proposal.proposal_points,
                pred_classes=proposal.proposal_classes,
                scores=proposal.proposal_scores,
            )
            for proposal in self.propose(images)
        ]

    def propose(self, images: list[Tensor]) -> list[Instances]:
        """The proposals of each image, of normalised images (3, H, W)."""
        proposals, _ = self.proposal_generator(ImageList.from_tensors(images), None)
        return proposals
