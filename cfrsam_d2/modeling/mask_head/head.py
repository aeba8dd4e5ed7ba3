"""The ROI-free, point-prompted mask head: HMFM, SAM's decoder, deep branch, BGMR (3.5, 3.6).

B images, R prompts of all of them, H×W px, h×w = H/16×W/16 cells, C = 256.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import nn

from ...config import choose
from ...errors import UserError
from ..prompt_geometry import centers
from .crop_refinement import refine
from .decoder import EMBED_DIM, PATCH_SIZE, build_mask_decoder, build_prompt_encoder, decode_points
from .deep_branch import deep_branch
from .fusions import FUSIONS
from .losses import boundary_bce, boundary_map, mask_losses
from .refiners import REFINERS
from .windows import ALIGNMENT, CropLadder, nucleus_boxes

FINAL_MASKS = ("refined", "initial")


@dataclass
class ImageMaps:
    """What is computed once an image, whatever its number of nuclei.

    Attributes:
        embeddings: the fused levels, (B, C, h, w).
        detail: D of the refiner, (B, 32, H, W); None where nothing refines.
        deep_features: G of the deep branch, (B, 32, H/4, W/4); None where nothing refines.
    """

    embeddings: torch.Tensor
    detail: torch.Tensor | None = None
    deep_features: torch.Tensor | None = None

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        height, width = self.embeddings.shape[-2:]
        return PATCH_SIZE * height, PATCH_SIZE * width


@dataclass
class MaskPredictions:
    """Masks of R prompts.

    Attributes:
        low_res_logits: (R, H/4, W/4).
        initial_logits: the same at full size, (R, H, W).
        pred_iou: estimated IoU, (R,).
        refined_logits, boundary_logits: (R, H, W); None where the initial masks are final or the
            refiner gives none.
    """

    low_res_logits: torch.Tensor
    initial_logits: torch.Tensor
    pred_iou: torch.Tensor
    refined_logits: torch.Tensor | None = None
    boundary_logits: torch.Tensor | None = None


class PointPromptedMaskHead(nn.Module):
    """One mask a prompt: a point, or a box (4.5.8).

    Args:
        focal_weight: of the focal terms of the loss (Eq. 16).
        boundary_weight: of the boundary loss (Eq. 15).
        crop_sizes: sides in px of the crops that BGMR refines, ascending; none: full frame.
        crop_halo: px of context around a nucleus in its crop.
        prompts_per_chunk: prompts decoded at once in inference.
        final_mask: "refined", or "initial" to return the decoder's own masks; these they are, too,
            where nothing refines.
        fusion: what makes one map of the encoder's levels, one of `FUSIONS`.
        refinement: what refines the initial masks, one of `REFINERS`.
    """

    @configurable
    def __init__(
        self,
        *,
        focal_weight: float = 20.0,
        boundary_weight: float = 0.01,
        crop_sizes: tuple[int, ...] = (),
        crop_halo: int = 24,
        prompts_per_chunk: int = 16,
        final_mask: str = "refined",
        fusion: str = "HMFM",
        refinement: str = "BGMR",
    ) -> None:
        super().__init__()
        if final_mask not in FINAL_MASKS:
            raise UserError(
                f"MODEL.MASK_HEAD.FINAL_MASK is {final_mask!r}: choose one of {FINAL_MASKS}."
            )
        if any(size <= 0 or size % ALIGNMENT for size in crop_sizes):
            raise UserError(
                f"MODEL.MASK_HEAD.CROP_SIZES is {list(crop_sizes)}: give positive multiples of "
                f"{ALIGNMENT} px."
            )
        build_refiner = choose(REFINERS, refinement, "MODEL.MASK_HEAD.REFINEMENT")
        self.fusion = choose(FUSIONS, fusion, "MODEL.MASK_HEAD.FUSION")(EMBED_DIM)
        self.prompt_encoder = build_prompt_encoder()
        self.mask_decoder = build_mask_decoder()
        self.deep_branch = deep_branch(EMBED_DIM) if build_refiner else None
        self.bgmr = build_refiner() if build_refiner else None  # or what is in its place
        outputs = ("initial", *(self.bgmr.outputs if build_refiner else ()))
        self.masks = tuple(name for name in FINAL_MASKS if name in outputs)
        self.finds_boundaries = "boundary" in outputs
        self.focal_weight = focal_weight
        self.boundary_weight = boundary_weight
        self.crop_sizes = sorted(crop_sizes)
        self.crop_halo = crop_halo
        self.prompts_per_chunk = prompts_per_chunk
        self.final_mask = final_mask if final_mask in self.masks else "initial"

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        node = cfg.MODEL.MASK_HEAD
        return {
            "focal_weight": node.FOCAL_WEIGHT,
            "boundary_weight": node.BOUNDARY_WEIGHT,
            "crop_sizes": node.CROP_SIZES,
            "crop_halo": node.CROP_HALO,
            "prompts_per_chunk": node.PROMPTS_PER_CHUNK,
            "final_mask": node.FINAL_MASK,
            "fusion": node.FUSION,
            "refinement": node.REFINEMENT,
        }

    @property
    def loss_names(self) -> list[str]:
        """The names of what `losses` returns."""
        terms = ("focal", "dice", "iou")
        names = [f"loss_{mask}_{term}" for mask in self.masks for term in terms]
        return [*names, "loss_boundary"] if self.finds_boundaries else names

    def losses(
        self,
        images: torch.Tensor,
        features: dict[str, torch.Tensor],
        prompts: torch.Tensor,
        prompt_image: torch.Tensor,
        gt_masks: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """The weighted terms of Eq. 15.

        Args:
            images: normalised, (B, 3, H, W), H and W multiples of 16.
            features: the encoder's levels, shallow to deep, each (B, C, h, w).
            prompts: points (R, 2) or boxes (R, 4) in px, see `prompt_geometry`; R at least 1.
            prompt_image: index of each prompt's image, (R,).
            gt_masks: of each prompt's nucleus, bool, (R, H, W).
        """
        maps = self.encode(images, features)
        predictions = self.predict(maps, prompts, prompt_image, gt_masks)
        targets = gt_masks.to(images.dtype)
        losses = {}
        for name in self.masks:
            logits = getattr(predictions, f"{name}_logits")
            terms = mask_losses(logits, targets, predictions.pred_iou)
            losses[f"loss_{name}_focal"] = self.focal_weight * terms["focal"]
            losses[f"loss_{name}_dice"] = terms["dice"]
            losses[f"loss_{name}_iou"] = terms["iou"]
        if self.finds_boundaries:
            boundary = boundary_bce(predictions.boundary_logits, boundary_map(targets))
            losses["loss_boundary"] = self.boundary_weight * boundary
        return losses

    def inference(
        self, maps: ImageMaps, prompts: torch.Tensor, prompt_image: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Final masks (R, H, W), bool, and their estimated IoU (R,); prompts as for `losses`."""
        masks = [torch.zeros((0, *maps.frame_size), dtype=torch.bool, device=prompts.device)]
        scores = [prompts.new_zeros(0)]
        for _, logits, pred_iou in self.final_logits(maps, prompts, prompt_image):
            masks.append(logits > 0)
            scores.append(pred_iou)
        return torch.cat(masks), torch.cat(scores)

    def final_logits(
        self, maps: ImageMaps, prompts: torch.Tensor, prompt_image: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield chunks of n prompts, because logits take much memory; prompts as for `losses`.

        Yields:
            Indices of the prompts (n,), final logits (n, H, W) and estimated IoU (n,).
        """
        indices = torch.arange(len(prompts), device=prompts.device)
        for chunk in indices.split(self.prompts_per_chunk):
            if len(chunk):
                predictions = self.predict(maps, prompts[chunk], prompt_image[chunk])
                logits = getattr(predictions, f"{self.final_mask}_logits")
                yield chunk, logits, predictions.pred_iou

    def encode(self, images: torch.Tensor, features: dict[str, torch.Tensor]) -> ImageMaps:
        """What the prompts of an image share; arguments as for `losses`."""
        embeddings = self.fusion(list(features.values()))
        if self.bgmr is None:
            return ImageMaps(embeddings)
        return ImageMaps(embeddings, self.bgmr.detail(images), self.deep_branch(embeddings))

    def predict(
        self,
        maps: ImageMaps,
        prompts: torch.Tensor,
        prompt_image: torch.Tensor,
        gt_masks: torch.Tensor | None = None,
    ) -> MaskPredictions:
        """Logits of R prompts, R at least 1; arguments as for `losses`.

        Crops have the prompt in their middle. With `gt_masks` (training) they hold the nucleus;
        without, the initial mask, and a refined mask that reaches its crop's edge is refined again
        in a larger one.
        """
        coarse = decode_points(
            self.prompt_encoder, self.mask_decoder, maps.embeddings, prompts, prompt_image
        )
        initial_logits = F.interpolate(
            coarse.logits[:, None], maps.frame_size, mode="bilinear", align_corners=False
        ).squeeze(1)
        predictions = MaskPredictions(coarse.logits, initial_logits, coarse.pred_iou)
        if self.bgmr is not None and (self.training or self.final_mask == "refined"):
            refined = refine(
                self.bgmr,
                maps.detail,
                maps.deep_features,
                coarse.features,
                prompt_image,
                nucleus_boxes(
                    initial_logits > 0 if gt_masks is None else gt_masks, centers(prompts)
                ),
                CropLadder(self.crop_sizes, maps.frame_size, self.crop_halo),
                enlarge=gt_masks is None,
            )
            for name, logits in zip(self.bgmr.outputs, refined, strict=True):
                setattr(predictions, f"{name}_logits", logits.to(initial_logits.dtype))
        return predictions
