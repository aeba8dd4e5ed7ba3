"""Models with random weights to which the nuclei of an image are known.

Their prompt learner runs, but finds nothing: given points take the place of its own, and crops are
laid around discs instead of initial masks. All else is what the models do to predict.

R nuclei, images of size×size px.
"""

import math

import torch
from torch import Tensor, nn

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances

from cfrsam_d2.complexity import IMAGE_SIZE
from cfrsam_d2.modeling.mask_head.decoder import PATCH_SIZE

DIAMETER = 20  # px, of a nucleus


def spread_points(count: int, size: int = IMAGE_SIZE) -> Tensor:
    """Points x, y in px on a square grid over an image, (R, 2); `count` is a square."""
    side = math.isqrt(count)
    steps = (torch.arange(side) + 0.5) * size / side
    return torch.cartesian_prod(steps, steps)


def discs(points: Tensor, size: int = IMAGE_SIZE) -> Tensor:
    """A nucleus around each point (R, 2): bool, (R, size, size)."""
    pixels = torch.arange(size, device=points.device)
    x, y = ((pixels - each[:, None]) ** 2 for each in points.unbind(dim=1))  # (R, W), (R, H)
    return y[:, :, None] + x[:, None] < (DIAMETER / 2) ** 2


def random_image(size: int = IMAGE_SIZE) -> Tensor:
    """Noise, as the mapper gives images: (3, size, size) uint8."""
    return torch.randint(0, 256, (3, size, size), dtype=torch.uint8)


def random_model(cfg: CfgNode) -> nn.Module:
    """The model of a config, with random weights."""
    torch.manual_seed(0)
    return build_model(cfg).eval()


def give_nuclei(model: nn.Module, count: int, size: int = IMAGE_SIZE) -> None:
    """Let a model know the nuclei of its image."""
    proposals = Instances(
        (size, size),
        proposal_points=spread_points(count, size),
        proposal_classes=torch.zeros(count, dtype=torch.int64),
    ).to(model.device)
    model.proposal_generator.register_forward_hook(lambda *_: ([proposals], {}))
    predict = model.mask_head.predict
    model.mask_head.predict = lambda maps, points, image: predict(
        maps, points, image, discs(points, PATCH_SIZE * maps.embeddings.shape[-1])
    )
