"""Parameters and multiply-adds of the model, part by part; neither weights nor data are needed.

Multiply-adds are fvcore's, of a 256×256 image: those of products and convolutions, and its rates
for norms and resampling. Counted is the plain form, as published, refining at full frame; fvcore
does not know deformable convolutions, so these count for nothing but their offsets.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_backbone, build_model, build_proposal_generator
from fvcore.nn import FlopCountAnalysis
from torch import nn

from .modeling.mask_head import PointPromptedMaskHead
from .modeling.plain import plain_form
from .modeling.prompt_learner import CentroidProposalGenerator
from .modeling.sam import SAMEncoder
from .modeling.sam.encoder import NECK_CHANNELS, NUM_LEVELS, PATCH_SIZE

IMAGE_SIZE = 256  # px
# Parts by their place in the model; a part's name begins with that of the part it belongs to.
STAGE2_PARTS = {
    "stage2.encoder": "backbone",
    "stage2.encoder.adapters": "backbone.adapters",
    "stage2.encoder.neck": "backbone.vit.neck",
    "stage2.mask_head": "mask_head",
    "stage2.mask_head.fusion": "mask_head.fusion",
    "stage2.mask_head.prompt_encoder": "mask_head.prompt_encoder",
    "stage2.mask_head.mask_decoder": "mask_head.mask_decoder",
    "stage2.mask_head.deep_branch": "mask_head.deep_branch",
    "stage2.mask_head.class_head": "mask_head.class_head",
    "stage2.mask_head.refiner": "mask_head.bgmr",
}


@dataclass(frozen=True)
class Cost:
    """The cost of a part.

    Attributes:
        parameters: how many it has.
        trainable: how many of them the run that trains its stage changes.
        macs: multiply-adds of an image with one nucleus, refined at full frame.
        macs_per_further_nucleus: what each further nucleus of the image adds to them.
    """

    parameters: int
    trainable: int
    macs: int
    macs_per_further_nucleus: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.parameters + other.parameters,
            self.trainable + other.trainable,
            self.macs + other.macs,
            self.macs_per_further_nucleus + other.macs_per_further_nucleus,
        )


def analyze_model(cfg: CfgNode) -> dict[str, Cost]:
    """Count what the model of a config costs.

    Args:
        cfg: of either stage.

    Returns:
        The cost of each part by name: of a prompt learner "stage1"; of CFR-SAM also "stage2" with
        the parts that it has, and "total".
    """
    model: Any = _build(cfg)
    short = _with_zeros(_build(_of_four_blocks(cfg)))
    macs = _count_stage1(short)
    is_whole = hasattr(model, "mask_head")
    further = Counter()
    if is_whole:
        one_nucleus, further = _count_stage2(short)
        macs += one_nucleus
        if isinstance(model.backbone, SAMEncoder):
            macs += _macs_of_further_blocks(one_nucleus, model.backbone.vit.blocks)

    def cost(path: str) -> Cost:
        parameters = list(model.get_submodule(path).parameters())
        return Cost(
            sum(each.numel() for each in parameters),
            sum(each.numel() for each in parameters if each.requires_grad),
            macs[path],
            further[path],
        )

    costs = {"stage1": cost("proposal_generator")}
    if is_whole:
        costs["stage2"] = cost("backbone") + cost("mask_head")
        paths = {path for path, _ in model.named_modules()}
        costs |= {name: cost(path) for name, path in STAGE2_PARTS.items() if path in paths}
        costs["total"] = costs["stage1"] + costs["stage2"]
    return costs


def count_trainable(cfg: CfgNode) -> int:
    """Parameters of stage 2 that train, by a config of it."""
    with torch.device("meta"):
        parts = build_backbone(cfg), PointPromptedMaskHead(cfg)
    parameters = (each for part in parts for each in part.parameters())
    return sum(each.numel() for each in parameters if each.requires_grad)


def _of_four_blocks(cfg: CfgNode) -> CfgNode:
    """The config with an encoder of three blocks with windows and a global one: soon traced."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.SAM.DEPTH, cfg.MODEL.SAM.GLOBAL_ATTN_INDEXES = 4, [3]
    return cfg


def _macs_of_further_blocks(macs: Counter[str], blocks: Iterable[Any]) -> Counter[str]:
    """What all blocks of an encoder add to the multiply-adds of `_of_four_blocks`."""
    is_global = [not block.window_size for block in blocks]
    times = {0: is_global.count(False) - 3, 3: is_global.count(True) - 1}
    adapters = sum(n * macs[f"backbone.adapters.{i}"] for i, n in times.items())
    vit = sum(n * macs[f"backbone.vit.blocks.{i}"] for i, n in times.items())
    return Counter({"backbone": vit + adapters, "backbone.adapters": adapters})


def _build(cfg: CfgNode) -> nn.Module:
    """The model without memory for its weights."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg)
        # Not frozen, as it is in the run of its own.
        model.proposal_generator = build_proposal_generator(cfg, None)
    return model.eval()


@torch.no_grad()
def _with_zeros(model: nn.Module) -> nn.Module:
    """The model with zeros for weights: no count depends on them, and none have to be drawn."""
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.zero_()
    return model


def _count_stage1(model: Any) -> Counter[str]:
    generator = model.proposal_generator
    return _count_macs(
        "proposal_generator", generator, partial(_find_points, generator), _blank_image()
    )


def _count_stage2(model: Any) -> tuple[Counter[str], Counter[str]]:
    """Multiply-adds with one nucleus, and what each further one adds."""
    head = model.mask_head
    image = _blank_image()
    side = IMAGE_SIZE // PATCH_SIZE
    levels = [torch.zeros(1, NECK_CHANNELS, side, side) for _ in range(NUM_LEVELS)]
    with plain_form(model):
        inputs = model.encoder_inputs(image)
        # Of a shared encoder, stage 1's maps: what makes them is counted there.
        inputs = [inputs] if isinstance(inputs, torch.Tensor) else inputs
        encoder = _count_macs("backbone", model.backbone, partial(_encode, model.backbone), *inputs)
        one, two = (
            _count_macs("mask_head", head, partial(_segment, head), image, points, *levels)
            for points in (torch.zeros(1, 2), torch.zeros(2, 2))
        )
    return encoder + one, two - one


def _encode(encoder: Any, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """The levels that an encoder makes of images, or of several maps of them."""
    return list(encoder(inputs[0] if len(inputs) == 1 else inputs).values())


def _find_points(
    generator: CentroidProposalGenerator, images: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """All that the prompt learner predicts, as tensors."""
    predictions = generator.predict(images)
    return predictions.points, predictions.logits, predictions.mask_logits


def _segment(
    head: PointPromptedMaskHead, image: torch.Tensor, points: torch.Tensor, *levels: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """All that the mask head predicts of the points of one image, at full frame."""
    maps = head.encode(image, {f"level{i}": level for i, level in enumerate(levels)})
    prompt_image = torch.zeros(len(points), dtype=torch.int64)
    decoded = head.decode(maps, points, prompt_image)
    outputs = [decoded.logits, decoded.pred_iou]
    if head.class_head is not None:
        embeddings = maps.embeddings[prompt_image]
        outputs.append(head.class_head(decoded.logits, decoded.features, embeddings))
    if maps.detail is None or maps.deep_features is None:
        return tuple(outputs)
    refined = head.bgmr(
        maps.detail[prompt_image], decoded.features, maps.deep_features[prompt_image]
    )
    return *outputs, *refined


def _blank_image() -> torch.Tensor:
    return torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)


class _Traced(nn.Module):
    """A function of tensors, below the name of the module that it runs: what fvcore can trace."""

    def __init__(self, name: str, module: nn.Module, function: Callable) -> None:
        super().__init__()
        self.add_module(name, module)
        self._function = function

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self._function(*inputs)


@torch.no_grad()
def _count_macs(
    name: str, module: nn.Module, function: Callable, *inputs: torch.Tensor
) -> Counter[str]:
    """Multiply-adds of a function of tensors by submodule, from `name` on."""
    traced = _Traced(name, module, function)
    analysis = FlopCountAnalysis(traced, inputs)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counts = Counter({path: round(count) for path, count in analysis.by_module().items()})
    counts[name] = counts[""]  # with what the function itself computes
    return counts


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Of queries (…, n, d) with keys (…, m, d), and of what comes of it with values."""
    queries, keys = (each.type().sizes() for each in inputs[:2])
    return 2 * math.prod(queries) * keys[-2]
