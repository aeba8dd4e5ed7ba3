"""The ROI-free, point-prompted mask head: HMFM, SAM's decoder, deep branch, BGMR (3.5, 3.6).

B images, R prompts of all of them, H×W px, h×w = H/16×W/16 cells, C = 256.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from segment_anything.modeling import MaskDecoder, PromptEncoder
from torch import Tensor, nn

from ...config import choose
from ...errors import UserError
from ...structures.prompts import centers, split_prompts
from .bgmr import BGMR
from .class_head import ClassHead, class_loss
from .crops import ALIGNMENT, CropSizes, boxes_around_points, refine_in_crops
from .decoder import EMBED_DIM, build_mask_decoder, build_prompt_encoder, point_labels
from .deep_branch import deep_branch
from .fusions import FUSIONS
from .hmfm import HMFM
from .losses import boundary_bce, boundary_map, mask_losses
from .refiners import REFINERS

FINAL_MASKS = ("refined", "initial")
MASK_TOKEN = 0  # SAM's single-mask output


@dataclass
class ImageMaps:
    """The maps of images, computed once, whatever the number of nuclei.

    Attributes:
        frame_size: (H, W) of the images.
        embeddings: the fused levels F, (B, C, h, w).
        detail: D of the refiner, (B, 32, H, W); None where nothing refines.
        deep_features: G of the deep branch, (B, 32, H/4, W/4); None where nothing refines.
    """

    frame_size: tuple[int, int]
    embeddings: Tensor
    detail: Tensor | None = None
    deep_features: Tensor | None = None

    def cut(self, image: int, box: tuple[int, int, int, int]) -> "ImageMaps":
        """The maps of a part of an image; not a copy.

        Args:
            image: its index.
            box: x0, y0, x1, y1 in px, ends excluded, multiples of 16.
        """
        of_refiner = (self.detail, self.deep_features)
        return ImageMaps(
            (box[3] - box[1], box[2] - box[0]),
            self._part(self.embeddings, image, box),
            *(None if each is None else self._part(each, image, box) for each in of_refiner),
        )

    def _part(self, maps: Tensor, image: int, box: tuple[int, int, int, int]) -> Tensor:
        x0, y0, x1, y1 = (side * maps.shape[-2] // self.frame_size[0] for side in box)
        return maps[image : image + 1, :, y0:y1, x0:x1]


@dataclass
class DecodedPrompts:
    """The output of SAM's decoder for R prompts.

    Attributes:
        logits: of the initial masks, (R, H/4, W/4).
        pred_iou: estimated IoU of each mask, (R,).
        features: U, the up-scaled embedding, (R, 32, H/4, W/4).
    """

    logits: Tensor
    pred_iou: Tensor
    features: Tensor


@dataclass
class MaskPredictions:
    """Masks of R prompts.

    Attributes:
        decoded: the decoder's output for them.
        logits: by name, each (R, H, W): "initial", and as far as the refiner gives them "refined"
            and "boundary".
        class_log_probs: of the class head, (R, K); None without one.
    """

    decoded: DecodedPrompts
    logits: dict[str, Tensor]
    class_log_probs: Tensor | None = None


def mask_head_parts(
    build_fusion: Callable[[int], nn.Module] = HMFM,
    build_refiner: Callable[[], nn.Module] | None = BGMR,
) -> dict[str, nn.Module | None]:
    """The modules of a `PointPromptedMaskHead` in the order of the flow, by default the published.

    Args:
        build_fusion: one of `FUSIONS`.
        build_refiner: one of `REFINERS`; None refines nothing.
    """
    return {
        "fusion": build_fusion(EMBED_DIM),
        "prompt_encoder": build_prompt_encoder(),
        "mask_decoder": build_mask_decoder(),
        "deep_branch": deep_branch(EMBED_DIM) if build_refiner else None,
        "refiner": build_refiner() if build_refiner else None,
    }


class PointPromptedMaskHead(nn.Module):
    """One mask per prompt: a point, a box (4.5.8), or both together."""

    # BGMR or another refiner, and its deep branch; None where nothing refines.
    bgmr: Any
    deep_branch: Any
    class_head: Any  # `ClassHead`, or None

    @configurable
    def __init__(
        self,
        *,
        fusion: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        deep_branch: nn.Module | None,
        refiner: nn.Module | None,
        class_head: ClassHead | None = None,
        focal_weight: float = 20.0,
        boundary_weight: float = 0.01,
        crop_sizes: Sequence[int] = (),
        train_crop_sizes: Sequence[int] = (),
        crop_halo: int = 24,
        checkpoint_activations: bool = False,
        prompts_per_chunk: int = 16,
        final_mask: str = "refined",
    ) -> None:
        """
        Args:
            fusion: makes one map of the encoder's levels: HMFM, or what is in its place.
            prompt_encoder, mask_decoder: SAM's.
            deep_branch: makes G of the fused map; None where nothing refines.
            refiner: refines the initial masks: BGMR, or what is in its place; None: they are the
                result.
            class_head: classifies the masks; None: their classes are stage 1's.
            focal_weight: of the focal terms of the loss (Eq. 16).
            boundary_weight: of the boundary loss (Eq. 15).
            crop_sizes: sides in px of the crops that are refined in inference; none: full frame.
            train_crop_sizes: the same in training, where all nuclei of a step take one of them.
            crop_halo: px of context around a nucleus in its crop.
            checkpoint_activations: of BGMR, in training, see there.
            prompts_per_chunk: prompts decoded at once in inference.
            final_mask: "refined", or "initial" to return the decoder's own masks; these they are,
                too, where nothing refines.

        Raises:
            UserError: an argument has none of its values.
        """
        super().__init__()
        if final_mask not in FINAL_MASKS:
            raise UserError(f"final_mask is {final_mask!r}: choose one of {FINAL_MASKS}")
        for name, sides in (("crop_sizes", crop_sizes), ("train_crop_sizes", train_crop_sizes)):
            if any(side <= 0 or side % ALIGNMENT for side in sides):
                raise UserError(
                    f"{name} is {list(sides)}: give positive multiples of {ALIGNMENT} px"
                )
        self.fusion = fusion
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.deep_branch = deep_branch
        self.bgmr = refiner
        self.class_head = class_head
        if isinstance(refiner, BGMR):
            refiner.checkpoint_activations = checkpoint_activations
        outputs = ("initial", *(self.bgmr.outputs if refiner else ()))
        self.masks = tuple(name for name in FINAL_MASKS if name in outputs)
        self.finds_boundaries = "boundary" in outputs
        self.focal_weight = focal_weight
        self.boundary_weight = boundary_weight
        self.crop_sizes = sorted(crop_sizes)
        self.train_crop_sizes = sorted(train_crop_sizes)
        self.crop_halo = crop_halo
        self.prompts_per_chunk = prompts_per_chunk
        self.final_mask = final_mask if final_mask in self.masks else "initial"

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        node = cfg.MODEL.MASK_HEAD
        return {
            **mask_head_parts(
                choose(FUSIONS, node.FUSION, "MODEL.MASK_HEAD.FUSION"),
                choose(REFINERS, node.REFINEMENT, "MODEL.MASK_HEAD.REFINEMENT"),
            ),
            "class_head": (
                ClassHead(cfg.MODEL.PROMPT_LEARNER.NUM_CLASSES) if node.CLASS_HEAD else None
            ),
            "focal_weight": node.FOCAL_WEIGHT,
            "boundary_weight": node.BOUNDARY_WEIGHT,
            "crop_sizes": node.CROP_SIZES,
            "train_crop_sizes": node.TRAIN_CROP_SIZES,
            "crop_halo": node.CROP_HALO,
            "checkpoint_activations": node.CHECKPOINT_ACTIVATIONS,
            "prompts_per_chunk": node.PROMPTS_PER_CHUNK,
            "final_mask": node.FINAL_MASK,
        }

    @property
    def loss_names(self) -> list[str]:
        """The names of what `losses` returns."""
        terms = ("focal", "dice", "iou")
        names = [f"loss_{mask}_{term}" for mask in self.masks for term in terms]
        names += ["loss_boundary"] if self.finds_boundaries else []
        return [*names, "loss_class"] if self.class_head else names

    def encode(self, images: Tensor, features: dict[str, Tensor]) -> ImageMaps:
        """The maps that the prompts of an image share.

        Args:
            images: normalised, (B, 3, H, W), H and W multiples of 16.
            features: the encoder's levels, shallow to deep, each (B, C, h, w).
        """
        height, width = images.shape[-2:]
        maps = ImageMaps((height, width), self.fusion(list(features.values())))
        if self.bgmr is not None:
            maps.detail = self.bgmr.detail(images)
            maps.deep_features = self.deep_branch(maps.embeddings)
        return maps

    def predict(
        self,
        maps: ImageMaps,
        prompts: Tensor,
        prompt_image: Tensor,
        gt_masks: Tensor | None = None,
    ) -> MaskPredictions:
        """Masks of R prompts, R at least 1.

        Crops have the prompt in their middle. With `gt_masks` (training) they hold the nucleus;
        without, the initial mask.

        Args:
            maps: of the images.
            prompts: points (R, 2), points with negative ones (R, 1+k, 2), boxes (R, 4), or points
                with their boxes (R, 6), in px, see `structures.prompts`.
            prompt_image: index of each prompt's image, (R,).
            gt_masks: of each prompt's nucleus, bool, (R, H, W).
        """
        decoded = self.decode(maps, prompts, prompt_image)
        initial = F.interpolate(
            decoded.logits[:, None], maps.frame_size, mode="bilinear", align_corners=False
        ).squeeze(1)
        predictions = MaskPredictions(decoded, {"initial": initial})
        if self.class_head is not None:
            embeddings = maps.embeddings.index_select(0, prompt_image)
            predictions.class_log_probs = self.class_head(
                decoded.logits, decoded.features, embeddings
            )
        if self.bgmr is not None and (self.training or self.final_mask == "refined"):
            assert maps.detail is not None
            assert maps.deep_features is not None
            held = initial > 0 if gt_masks is None else gt_masks
            sides = self.train_crop_sizes if self.training else self.crop_sizes
            refined = refine_in_crops(
                self.bgmr,
                maps.detail,
                maps.deep_features,
                decoded.features,
                prompt_image,
                boxes_around_points(held, centers(prompts)),
                CropSizes(sides, maps.frame_size, self.crop_halo, up_to_frame=not self.training),
                one_size=gt_masks is not None,
            )
            for name, logits in zip(self.bgmr.outputs, refined, strict=True):
                predictions.logits[name] = logits.to(initial.dtype)
        return predictions

    def decode(self, maps: ImageMaps, prompts: Tensor, prompt_image: Tensor) -> DecodedPrompts:
        """The initial mask of each prompt; arguments as for `predict`.

        `MaskDecoder.forward` takes one image a call; here an index tells each prompt its image.
        """
        encoder, decoder = self.prompt_encoder, self.mask_decoder
        count = prompts.shape[0]  # not `len`, which an export would take for a constant
        height, width = maps.embeddings.shape[-2:]
        encoder.image_embedding_size, encoder.input_image_size = (height, width), maps.frame_size
        with torch.autocast(prompts.device.type, enabled=False):  # too coarse for positions
            points, boxes = split_prompts(prompts)
            labelled = None if points is None else (points, point_labels(points))
            sparse, dense = encoder(labelled, boxes=boxes, masks=None)
            positions = encoder.get_dense_pe().expand(count, -1, -1, -1)

        own_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        # n tokens of a prompt: 2+k of a point, 2 of a box, 3 of both.
        tokens = torch.cat([own_tokens.expand(count, -1, -1), sparse], dim=1)  # (R, 5+n, C)
        # Not `embeddings[prompt_image]`: on CPUs, threads of its backward pass add up the prompts
        # of an image in the order in which they come, another in every run.
        embeddings = maps.embeddings.index_select(0, prompt_image)  # (R, C, h, w)
        tokens, image_tokens = decoder.transformer(embeddings + dense, positions, tokens)
        image_map = image_tokens.transpose(1, 2).unflatten(2, (height, width))  # (R, C, h, w)
        features = decoder.output_upscaling(image_map)  # (R, 32, 4h, 4w)
        weights = decoder.output_hypernetworks_mlps[MASK_TOKEN](tokens[:, 1 + MASK_TOKEN])
        return DecodedPrompts(
            logits=torch.einsum("rc,rchw->rhw", weights, features).to(prompts.dtype),
            pred_iou=decoder.iou_prediction_head(tokens[:, 0])[:, MASK_TOKEN].to(prompts.dtype),
            features=features,
        )

    def inference(
        self, maps: ImageMaps, prompts: Tensor, prompt_image: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Final masks (R, H, W), bool, their estimated IoU (R,), and `class_log_probs` as of
        `MaskPredictions`; arguments as for `predict`."""
        found = self.predict(maps, prompts, prompt_image)
        return found.logits[self.final_mask] > 0, found.decoded.pred_iou, found.class_log_probs

    def losses(
        self,
        maps: ImageMaps,
        prompts: Tensor,
        prompt_image: Tensor,
        gt_masks: Tensor,
        gt_classes: Tensor,
    ) -> dict[str, Tensor]:
        """The weighted terms of Eq. 15, and that of the class head; arguments as for `predict`.

        Args:
            gt_classes: of each prompt's nucleus, (R,); `UNKNOWN_CLASS` among them.
        """
        predictions = self.predict(maps, prompts, prompt_image, gt_masks)
        targets = gt_masks.to(prompts.dtype)
        losses = {}
        for name in self.masks:
            terms = mask_losses(predictions.logits[name], targets, predictions.decoded.pred_iou)
            losses[f"loss_{name}_focal"] = self.focal_weight * terms["focal"]
            losses[f"loss_{name}_dice"] = terms["dice"]
            losses[f"loss_{name}_iou"] = terms["iou"]
        if self.finds_boundaries:
            boundary = boundary_bce(predictions.logits["boundary"], boundary_map(targets))
            losses["loss_boundary"] = self.boundary_weight * boundary
        if predictions.class_log_probs is not None:
            losses["loss_class"] = class_loss(predictions.class_log_probs, gt_classes)
        return losses
