"""The meta-architecture that trains and runs the prompt learner alone (stage 1)."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_proposal_generator
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from ..postprocessing import rescale_to_input
from ..precision import FLOAT32, Precision


@META_ARCH_REGISTRY.register()
class PromptLearner(nn.Module):
    """Images to the centroids and classes of their nuclei."""

    @configurable
    def __init__(
        self,
        *,
        proposal_generator: nn.Module,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        precision: Precision = FLOAT32,
    ) -> None:
        """
        Args:
            proposal_generator: a `CentroidProposalGenerator`.
            pixel_mean: mean of each RGB channel, 0..255.
            pixel_std: standard deviation of each RGB channel, 0..255.
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
        """Losses in training, predicted nuclei in evaluation.

        Args:
            batched_inputs: one dict per image, as the mapper gives them: "image", a (3, H, W) RGB
                tensor 0..255, and in training "instances".

        Returns:
            The losses of the proposal generator by name, or for each image `{"instances":
            Instances}` of size ("height", "width") of its dict, by default H×W, with `pred_points`
            (N, 2) in px of that size, `pred_classes` (N,) and `scores` (N,).
        """
        images = self.preprocess_image(batched_inputs)
        with self.precision.context(self.device, training=self.training):
            if not self.training:
                return self.inference(batched_inputs, images)
            gt_instances = [each["instances"].to(self.device) for each in batched_inputs]
            _, losses = self.proposal_generator(images, None, gt_instances)
            return losses

    def preprocess_image(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        """Normalise the images and pad them to a common size."""
        images = [each["image"].to(self.device) for each in batched_inputs]
        images = [(image - self.pixel_mean) / self.pixel_std for image in images]
        return ImageList.from_tensors(images)

    def inference(
        self, batched_inputs: list[dict[str, Any]], images: ImageList
    ) -> list[dict[str, Instances]]:
        """Proposals in the pixels of the original images."""
        proposals, _ = self.proposal_generator(images, None)
        results = []
        for each, proposal in zip(batched_inputs, proposals, strict=True):
            instances = Instances(
                proposal.image_size,
                pred_points=proposal.proposal_points,
                pred_classes=proposal.proposal_classes,
                scores=proposal.proposal_scores,
            )
            results.append({"instances": rescale_to_input(instances, each)})
        return results
