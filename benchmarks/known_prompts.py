"""Models with random weights to which the prompts of an image are known.

Their prompt learner runs, but points on a grid take the place of those that it would choose; and
crops are laid around discs instead of initial masks. All else is what the models do to predict.

R nuclei, images of size×size px.
"""

import math

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances
from torch import Tensor

from cfrsam_d2.complexity import IMAGE_SIZE
from cfrsam_d2.modeling.mask_head.head import ImageMaps, MaskPredictions, PointPromptedMaskHead
from cfrsam_d2.modeling.meta_arch import CFRSAM

DIAMETER = 20  # px, of a nucleus


def spread_points(count: int, size: int = IMAGE_SIZE) -> Tensor:
    """Points x, y in px, column by column on a square grid over an image, (R, 2)."""
    side = math.isqrt(count - 1) + 1
    steps = (torch.arange(side) + 0.5) * size / side
    return torch.cartesian_prod(steps, steps)[:count]


def discs(points: Tensor, height: int = IMAGE_SIZE, width: int = IMAGE_SIZE) -> Tensor:
    """A nucleus around each point (R, 2): bool, (R, height, width)."""
    x, y = (
        (torch.arange(length, device=points.device) - each[:, None]) ** 2
        for length, each in zip((width, height), points.unbind(dim=1), strict=True)
    )  # (R, width), (R, height)
    # Compared at once: a sum would be a frame of floats for each nucleus.
    return y[:, :, None] < (DIAMETER / 2) ** 2 - x[:, None]


def find_discs(head: PointPromptedMaskHead) -> None:
    """Let an untrained head find a disc around each prompt; its scores stay its own."""
    predict = head.predict

    def with_discs(
        maps: ImageMaps, prompts: Tensor, prompt_image: Tensor, gt_masks: Tensor | None = None
    ) -> MaskPredictions:
        predictions = predict(maps, prompts, prompt_image, gt_masks)
        points = prompts.flatten(1)[:, :2]  # without negative ones
        predictions.logits["initial"] = discs(points, *maps.frame_size).float() - 0.5
        return predictions

    head.predict = with_discs


def random_image(size: int = IMAGE_SIZE) -> Tensor:
    """Noise, as the mapper gives images: (3, size, size) uint8."""
    return torch.randint(0, 256, (3, size, size), dtype=torch.uint8)


def random_model(cfg: CfgNode) -> CFRSAM:
    """The model of a config of stage 2, with random weights."""
    torch.manual_seed(0)
    return build_model(cfg).eval()


def known_proposals(count: int, size: int = IMAGE_SIZE) -> Instances:
    """What a prompt learner would propose that knew the R nuclei of an image."""
    return Instances(
        (size, size),
        proposal_points=spread_points(count, size),
        proposal_classes=torch.zeros(count, dtype=torch.int64),
    )


def give_prompts(model: CFRSAM, count: int, size: int = IMAGE_SIZE) -> None:
    """Let a model know the nuclei of its image.

    Args:
        model: changed in place.
        count: R.
        size: of the image.
    """
    proposals = known_proposals(count, size).to(model.device)
    model.proposal_generator.inference = lambda predictions, image_sizes: [proposals]
    predict = model.mask_head.predict
    model.mask_head.predict = lambda maps, prompts, prompt_image, gt_masks=None: predict(
        maps, prompts, prompt_image, discs(prompts.flatten(1)[:, :2], *maps.frame_size)
    )
