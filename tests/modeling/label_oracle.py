"""A network that knows the truth, in place of SAM's encoder and the mask head."""

from collections.abc import Callable
from typing import Any

import torch
from detectron2.structures import BitMasks, Instances
from tiny_segmenter import tiny_cfrsam
from torch import Tensor, nn

from cfrsam_d2.modeling.mask_head import ImageMaps
from cfrsam_d2.modeling.mask_head.head import DecodedPrompts, MaskPredictions
from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.sliding_window import SlidingWindow

SURE = 100.0  # a logit whose probability is 1


class Pixels(nn.Module):
    """In place of an encoder: no levels."""

    size_divisibility = 16

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {}


class LabelOracle(nn.Module):
    """A mask head that gives each prompt the nucleus under it, as far as its window shows that.

    The images' third channel holds the nuclei's numbers.

    Attributes:
        inputs: the shapes of the images that it was given.
        prompts: that it was given, (n,) each.
    """

    final_mask = "initial"
    prompts_per_chunk = 1000

    def __init__(self, score: Callable[[Tensor], Tensor] = torch.rand_like) -> None:
        """
        Args:
            score: of the numbers of the nuclei under prompts, float, (R,).
        """
        super().__init__()
        self.score = score
        self.inputs: list[tuple[int, ...]] = []
        self.prompts: list[list[float]] = []

    def encode(self, images: Tensor, features: dict[str, Tensor]) -> ImageMaps:
        self.inputs.append(tuple(images.shape))
        return ImageMaps((images.shape[2], images.shape[3]), images)

    def predict(self, maps: ImageMaps, prompts: Tensor, prompt_image: Tensor) -> MaskPredictions:
        self.prompts += prompts.tolist()
        columns, rows = prompts.unflatten(1, (-1, 2)).mean(dim=1).round().long().unbind(dim=1)
        labels = maps.embeddings[prompt_image, 2]  # (R, h, w)
        numbers = labels[torch.arange(len(prompts)), rows, columns]
        masks = (labels == numbers[:, None, None]) & (numbers[:, None, None] > 0)
        decoded = DecodedPrompts(masks, self.score(numbers), masks)
        return MaskPredictions(decoded, {"initial": torch.where(masks, SURE, -SURE)})

    def inference(
        self, maps: ImageMaps, prompts: Tensor, prompt_image: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        predictions = self.predict(maps, prompts, prompt_image)
        return predictions.logits["initial"] > 0, predictions.decoded.pred_iou, None


def oracle_model(oracle: nn.Module, **changes: Any) -> CFRSAM:
    """A CFRSAM that sees pixels as they are."""
    window = SlidingWindow(256, 64, edge_tolerance=7, batch=3)
    model = tiny_cfrsam(mask_head=oracle, **{"sliding_window": window, **changes})
    model.backbone = Pixels()
    return model.eval()


def image_of(labels: Tensor) -> Tensor:
    """The image whose nuclei these are: (H, W) to (3, H, W)."""
    return torch.stack([torch.zeros_like(labels), torch.zeros_like(labels), labels]).float()


def proposals_at(size: tuple[int, int], points: Tensor, **fields: Any) -> Instances:
    """Proposals of an image at points (P, 2), of the classes 0, 1, 2, …"""
    classes = torch.arange(len(points))
    return Instances(size, proposal_points=points, proposal_classes=classes, **fields)


def segment(model: CFRSAM, images: list[Tensor], proposals: list[Instances]) -> list[Instances]:
    """Encode the windows that hold a prompt, and segment them."""
    windows = model.encode_windows(images, proposals)
    return model.segment(windows, proposals)


def frames(nuclei: Instances) -> Tensor:
    """Masks in their whole image, (N, H, W)."""
    bitmasks: BitMasks = nuclei.pred_masks.to_bitmasks()
    return bitmasks.tensor
