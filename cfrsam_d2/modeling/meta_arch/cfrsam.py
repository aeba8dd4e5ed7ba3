"""The whole of CFR-SAM: prompts from the frozen prompt learner, one mask a prompt (paper 3.2).

B images, R prompts of all of them, N nuclei of one, H×W px.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import batched_nms
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone, build_proposal_generator
from detectron2.modeling.backbone import Backbone
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils import comm
from torch import Tensor, nn

from ...errors import UserError
from ..mask_head import ImageMaps, PointPromptedMaskHead
from ..postprocessing import rescale_to_input
from ..precision import FLOAT32, Precision
from ..prompts import draw_nuclei, prompt_source, prompts_of
from ..sliding_window import NucleusMasks, pad_for_encoder, segment_images
from ..test_time_augmentation import segment_averaged


@META_ARCH_REGISTRY.register()
class CFRSAM(nn.Module):
    """Images to nuclei with masks and classes.

    Args:
        proposal_generator: the trained prompt learner; it stays frozen.
        backbone: SAM's encoder with adapters.
        mask_head: from levels and prompts to masks.
        pixel_mean, pixel_std: of RGB, 0..255.
        train_prompts: "learner", "centroid" or "random": the prompts that train the mask head.
        max_train_nuclei: most nuclei of an image in a training step.
        nms_thresh: box IoU above which the lower-scored of two nuclei is dropped.
        window_size, window_overlap: px; larger images are segmented window by window.
        edge_tolerance: px from an inner window edge within which masks are dropped.
        windows_per_batch: most windows encoded at once.
        test_time_augmentation: average each mask over flips and rotations of its window.
        precision: where it is mixed.
    """

    # Prefixes of the parts that `engine.load_initial_weights` filled from files of their own.
    parts_from_files: tuple[str, ...] = ()

    @configurable
    def __init__(
        self,
        *,
        proposal_generator: nn.Module,
        backbone: Backbone,
        mask_head: PointPromptedMaskHead,
        pixel_mean: list[float],
        pixel_std: list[float],
        train_prompts: str,
        max_train_nuclei: int,
        nms_thresh: float,
        window_size: int,
        window_overlap: int,
        edge_tolerance: int,
        windows_per_batch: int,
        test_time_augmentation: bool = False,
        precision: Precision = FLOAT32,
    ) -> None:
        super().__init__()
        if not 0 <= window_overlap < window_size:
            raise UserError(
                f"MODEL.CFRSAM.WINDOW_OVERLAP is {window_overlap} with windows of {window_size}: "
                "give px from 0 to below WINDOW_SIZE."
            )
        self.proposal_generator = proposal_generator.requires_grad_(False).eval()
        self.backbone = backbone
        self.mask_head = mask_head
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1), False)
        self.prompt_source = prompt_source(train_prompts, boxes=proposal_generator.proposes_boxes)
        self.max_train_nuclei = max_train_nuclei
        self.nms_thresh = nms_thresh
        self.window_size = window_size
        self.window_overlap = window_overlap
        self.edge_tolerance = edge_tolerance
        self.windows_per_batch = windows_per_batch
        self.test_time_augmentation = test_time_augmentation
        self.precision = precision

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return {
            "proposal_generator": build_proposal_generator(cfg, None),
            "backbone": build_backbone(cfg),
            "mask_head": PointPromptedMaskHead(cfg),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "train_prompts": cfg.MODEL.CFRSAM.TRAIN_PROMPTS,
            "max_train_nuclei": cfg.MODEL.CFRSAM.MAX_TRAIN_NUCLEI,
            "nms_thresh": cfg.MODEL.CFRSAM.NMS_THRESH,
            "window_size": cfg.MODEL.SLIDING_WINDOW.SIZE,
            "window_overlap": cfg.MODEL.SLIDING_WINDOW.OVERLAP,
            "edge_tolerance": cfg.MODEL.SLIDING_WINDOW.EDGE_TOLERANCE,
            "windows_per_batch": cfg.MODEL.SLIDING_WINDOW.BATCH,
            "test_time_augmentation": cfg.TEST.AUG.ENABLED,
            "precision": Precision.from_config(cfg),
        }

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def train(self, mode: bool = True) -> "CFRSAM":
        """Set the mode of all but the prompt learner, which only ever predicts."""
        super().train(mode)
        self.proposal_generator.eval()
        return self

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training, nuclei in evaluation.

        Args:
            batched_inputs: one dict an image, as the mapper gives them: "image", a (3, H, W) RGB
                tensor 0..255, and in training "instances".

        Returns:
            The losses of the mask head by name, or for each image `{"instances": Instances}` of
            size ("height", "width") of its dict, by default H×W, with `pred_points` (N, 2),
            `pred_masks` (N, height, width), `pred_boxes`, `pred_classes` and `scores` (the
            estimated IoU), highest score first.
        """
        images = [self.normalize(each["image"]) for each in batched_inputs]
        with self.precision.context(self.device, training=self.training):
            if self.training:
                gt_instances = [each["instances"].to(self.device) for each in batched_inputs]
                return self.losses(ImageList.from_tensors(images), gt_instances)
            found = self.inference(images)
        return [
            {"instances": rescale_to_input(*each)}
            for each in zip(found, batched_inputs, strict=True)
        ]

    def normalize(self, image: Tensor) -> Tensor:
        return (image.to(self.device) - self.pixel_mean) / self.pixel_std

    def losses(self, images: ImageList, gt_instances: list[Instances]) -> dict[str, Tensor]:
        """The losses of the mask head on prompts drawn anew; zeros where there is no nucleus."""
        prompts, prompt_image, gt_masks = self.training_prompts(images, gt_instances)
        if len(prompts) == 0:
            return self.no_losses()
        inputs, gt_masks = pad_for_encoder(images.tensor), pad_for_encoder(gt_masks)
        features = self.backbone(inputs)
        return self.mask_head.losses(inputs, features, prompts, prompt_image, gt_masks)

    @torch.no_grad()
    def training_prompts(
        self, images: ImageList, gt_instances: list[Instances]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the prompts of a training step.

        Returns:
            Prompts (R, 2) or (R, 4), the index of each one's image (R,), and its nucleus's mask
            (R, H, W).
        """
        proposals, _ = self.proposal_generator(images, None)
        height, width = images.tensor.shape[-2:]
        all_prompts, all_masks = [], []
        for gt, proposal in zip(gt_instances, proposals, strict=True):
            prompts, nuclei = draw_nuclei(*self.prompt_source(gt, proposal), self.max_train_nuclei)
            masks = gt.gt_masks.tensor[nuclei]
            padding = (0, width - masks.shape[2], 0, height - masks.shape[1])
            all_prompts.append(prompts)
            all_masks.append(F.pad(masks, padding))
        counts = torch.tensor([len(prompts) for prompts in all_prompts], device=self.device)
        prompt_image = torch.arange(len(counts), device=self.device).repeat_interleave(counts)
        return torch.cat(all_prompts), prompt_image, torch.cat(all_masks)

    def no_losses(self) -> dict[str, Tensor]:
        """Zeros that no parameter has a part in: the optimizer then leaves all as they are.

        Only where processes average their gradients each has to bring some: zeros.
        """
        zero = torch.zeros((), device=self.device, requires_grad=True)
        if comm.get_world_size() > 1:
            zero = sum(0 * each.sum() for each in self.parameters() if each.requires_grad)
        return {name: zero.clone() for name in self.mask_head.loss_names}

    def inference(self, images: list[Tensor]) -> list[Instances]:
        """Segment normalised images (3, H, W) of any sizes."""
        proposals, _ = self.proposal_generator(ImageList.from_tensors(images), None)
        prompts = [prompts_of(proposal) for proposal in proposals]
        masks = self.cut_out(images, prompts, self.encode, self.windows_per_batch)
        return [self.to_instances(*each) for each in zip(proposals, masks, strict=True)]

    def encode(self, images: Tensor) -> ImageMaps:
        """What the prompts of normalised images share: (n, 3, h, w), multiples of 16."""
        return self.mask_head.encode(images, self.backbone(images))

    def cut_out(
        self,
        images: list[Tensor],
        prompts: list[Tensor],
        encode: Callable[[Tensor], ImageMaps],
        windows_per_batch: int,
    ) -> list[NucleusMasks]:
        """At most one mask a prompt, see `segment_images`.

        Args:
            images: normalised, (3, H, W) each.
            prompts: in px, (P, 2) or (P, 4) each.
            encode: the method of that name, or what remembers its results.
            windows_per_batch: most windows encoded at once.
        """

        def segment(windows: Tensor, *prompts: Tensor) -> tuple[Tensor, Tensor]:
            return self.mask_head.inference(encode(windows), *prompts)

        def final_logits(windows: Tensor, *prompts: Tensor) -> Iterator[tuple[Tensor, ...]]:
            return self.mask_head.final_logits(encode(windows), *prompts)

        return segment_images(
            partial(segment_averaged, final_logits) if self.test_time_augmentation else segment,
            images,
            prompts,
            window_size=self.window_size,
            overlap=self.window_overlap,
            edge_tolerance=self.edge_tolerance,
            windows_per_batch=windows_per_batch,
        )

    def to_instances(self, proposal: Instances, masks: NucleusMasks) -> Instances:
        """The nuclei of one image; of two whose boxes overlap too much the better-scored."""
        one_class = torch.zeros_like(masks.prompts)
        masks = masks.select(batched_nms(masks.boxes, masks.scores, one_class, self.nms_thresh))
        return Instances(
            proposal.image_size,
            pred_points=proposal.proposal_points[masks.prompts],
            pred_masks=masks.paste(*proposal.image_size),
            pred_boxes=Boxes(masks.boxes),
            pred_classes=proposal.proposal_classes[masks.prompts],
            scores=masks.scores,
        )
