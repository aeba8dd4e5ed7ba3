"""The networks of a model: from tensors to tensors, for any number of images and prompts.

B images, R prompts of all of them, H×W px, h×w = H/16×W/16 cells, A anchors, K classes, C = 256.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling import PromptEncoder
from torch import Tensor, nn
from torch.export import Dim

from ..errors import UserError
from ..modeling.mask_head import ImageMaps, PointPromptedMaskHead
from ..modeling.mask_head.class_head import ClassHead
from ..modeling.mask_head.decoder import NOT_A_POINT, build_prompt_encoder
from ..modeling.meta_arch import CFRSAM, PromptLearner
from ..modeling.prompt_learner import CentroidProposalGenerator
from ..modeling.sam.encoder import NECK_CHANNELS, PATCH_SIZE

MOST = 1024  # images or cells along a side, and prompts at once
LEAST_SIDE = 64  # px of an image: adapters reflect their maps, and a cell is not seen as a map


@dataclass(frozen=True)
class Network:
    """
    Attributes:
        name: of its file.
        module: tensors to a tuple of tensors.
        inputs: by name, such as it may be called with.
        sizes: of each input, which of its dimensions may be of what size.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    sizes: tuple[dict[int, Any], ...]


class Points(nn.Module):
    """Stage 1: images (B, 3, H, W) to points (B, A, 2), logits (B, A, K+1) and mask (B, H, W)."""

    def __init__(self, generator: CentroidProposalGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        predictions = self.generator.predict(images)
        return predictions.points, predictions.logits, predictions.mask_logits


class Encoder(nn.Module):
    """Images to what their prompts share: the embeddings (B, C, h, w) and, of the refiner,
    D (B, 32, H, W) and G (B, 32, H/4, W/4)."""

    def __init__(self, model: CFRSAM) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.model.encode(images)
        if maps.detail is None or maps.deep_features is None:
            return (maps.embeddings,)
        return maps.embeddings, maps.detail, maps.deep_features


class PointEncoder(PromptEncoder):
    """SAM's prompt encoder, which embeds all points alike.

    SAM's own picks out those of each label in turn, which an exported network would have to count.
    """

    def _embed_points(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        """Embed R points with their labels, as SAM's does.

        Args:
            points: (R, n, 2), in px.
            labels: (R, n).
            pad: add one that is none, as SAM does where no boxes prompt.

        Returns:
            (R, n, C), or (R, n + 1, C).
        """
        if pad:
            points, labels = F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=NOT_A_POINT)
        positions = self.pe_layer.forward_with_coords(points + 0.5, self.input_image_size)
        kinds = [self.not_a_point_embed, *self.point_embeddings]  # of the labels -1, 0, 1, …
        embeddings = torch.cat([kind.weight for kind in kinds])
        is_point = (labels != NOT_A_POINT)[..., None]
        return torch.where(is_point, positions, 0) + embeddings[labels.long() - NOT_A_POINT]


class Decoder(nn.Module):
    """SAM's decoder: embeddings, prompts (R, 2) or (R, 1+k, 2) and the index of each one's image to
    initial logits (R, H/4, W/4), estimated IoU (R,) and U (R, 32, H/4, W/4)."""

    def __init__(self, head: PointPromptedMaskHead) -> None:
        super().__init__()
        encoder = build_prompt_encoder(PointEncoder)
        encoder.load_state_dict(head.prompt_encoder.state_dict())
        self.head = deepcopy(head)
        self.head.prompt_encoder = encoder.to(next(head.parameters()).device)

    def forward(self, embeddings: Tensor, prompts: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        height, width = (PATCH_SIZE * side for side in embeddings.shape[-2:])
        decoded = self.head.decode(ImageMaps((height, width), embeddings), prompts, image)
        return decoded.logits, decoded.pred_iou, decoded.features


class Classes(nn.Module):
    """The class head: initial logits (R, H/4, W/4), U (R, 32, H/4, W/4) and the embeddings of each
    prompt's image (R, C, h, w) to the logarithms of classes' probabilities (R, K)."""

    def __init__(self, class_head: ClassHead) -> None:
        super().__init__()
        self.class_head = class_head

    def forward(self, mask_logits: Tensor, features: Tensor, embeddings: Tensor) -> tuple[Tensor]:
        return (self.class_head(mask_logits, features, embeddings),)


def networks_of(model: PromptLearner) -> Iterator[Network]:
    """The networks that a model of either stage is made of, in the order of the flow.

    Raises:
        UserError: one of them cannot be exported.
    """
    generator = model.proposal_generator
    if generator.proposes_boxes:
        raise UserError(
            "MODEL.PROPOSAL_GENERATOR.NAME is BoxProposalGenerator: only models that points prompt "
            "can be exported, name a config of CentroidProposalGenerator"
        )
    images = Dim("images", min=1, max=MOST)
    step = generator.pad_cell
    height, width = (Dim(side, min=LEAST_SIDE // step, max=MOST) for side in ("height", "width"))
    example = torch.zeros(2, 3, 17 * step, 26 * step, device=model.device)
    of_stage1 = {0: images, 2: step * height, 3: step * width}
    yield Network("points", Points(generator), {"images": example}, (of_stage1,))
    if isinstance(model, CFRSAM):
        yield from _networks_of_stage2(model)


def _networks_of_stage2(model: CFRSAM) -> Iterator[Network]:
    # Of several windows of attention: an export might take one for the only number.
    images = torch.zeros(2, 3, 256, 480, device=model.device)
    head, step = model.mask_head, model.backbone.size_divisibility
    count, prompts = Dim("images", min=1, max=MOST), Dim("prompts", min=1, max=MOST)
    height, width = (Dim(side, min=LEAST_SIDE // step, max=MOST) for side in ("height", "width"))
    sizes = ({0: count, 2: step * height, 3: step * width},)
    yield Network("encoder", Encoder(model), {"images": images}, sizes)

    cells = Dim("height", min=4, max=MOST), Dim("width", min=4, max=MOST)
    batch = images.shape[0]
    side = images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE
    points = images.new_zeros((5, 2))
    sizes = ({0: count, 2: cells[0], 3: cells[1]}, {0: prompts}, {0: prompts})
    if model.negative_prompts:
        points = images.new_zeros((5, 1 + model.negative_prompts, 2))
    inputs = {
        "embeddings": images.new_zeros((batch, NECK_CHANNELS, *side)),
        "prompts": points,
        "image": torch.arange(len(points), device=images.device) % batch,
    }
    yield Network("decoder", Decoder(head), inputs, sizes)

    if head.class_head is not None:
        inputs = {
            "mask_logits": images.new_zeros((5, 48, 96)),
            "features": images.new_zeros((5, 32, 48, 96)),
            "embeddings": images.new_zeros((5, NECK_CHANNELS, 12, 24)),
        }
        sizes = (
            {0: prompts, 1: 4 * cells[0], 2: 4 * cells[1]},
            {0: prompts, 2: 4 * cells[0], 3: 4 * cells[1]},
            {0: prompts, 2: cells[0], 3: cells[1]},
        )
        yield Network("class_head", Classes(head.class_head), inputs, sizes)

    if head.bgmr is not None:
        quarter = {0: prompts, 2: cells[0], 3: cells[1]}
        full = {0: prompts, 2: 4 * cells[0], 3: 4 * cells[1]}
        inputs = {
            "detail": images.new_zeros((5, 32, 48, 96)),
            "mask_features": images.new_zeros((5, 32, 12, 24)),
            "deep_features": images.new_zeros((5, 32, 12, 24)),
        }
        yield Network("refiner", head.bgmr, inputs, (full, quarter, quarter))
