"""The whole of CFR-SAM: prompts from the frozen prompt learner, one mask per prompt (paper 3.2).

B images, P proposals and N nuclei of one, R prompts of several, H×W px; h×w px of a window.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import batched_nms
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.modeling.backbone import Backbone
from detectron2.structures import ImageList, Instances
from detectron2.utils import comm
from torch import Tensor
from tqdm import tqdm

from ...config import choose
from ...errors import UserError
from ...structures.masks import BoxMasks
from ...structures.prompts import prompts_of
from ..fragments import drop_slivers, merge_fragments
from ..mask_head import ImageMaps, PointPromptedMaskHead
from ..prompt_learner import CentroidProposalGenerator
from ..sam import SharedEncoder
from ..sliding_window import (
    Frame,
    SlidingWindow,
    Window,
    best_per_prompt,
    in_core,
    prompts_in_window,
    with_negatives,
)
from ..training_prompts import (
    BOX_SOURCES,
    POINT_AND_BOX_SOURCES,
    POINT_SOURCES,
    PromptSource,
    draw_prompts,
)
from .prompt_learner import PromptLearner
from .test_time_augmentation import average_views, cut_views, encode_views


@dataclass
class EncodedWindows:
    """Windows of one size with the maps that their prompts share.

    Attributes:
        windows: where they lie.
        maps: of all of them; with test-time augmentation those of each view.
    """

    windows: list[Window]
    maps: Any  # ImageMaps, or a list of them

    def frames(self, sliding_window: SlidingWindow) -> list[tuple[Window, Frame, Any]]:
        """The frames of each window, with their maps."""
        return [
            (window, frame, self._cut(number, frame.box_in(window)))
            for number, window in enumerate(self.windows)
            for frame in sliding_window.frames(window)
        ]

    def _cut(self, number: int, box: tuple[int, int, int, int]) -> Any:
        """The maps of a part of a window, by the window's number and in px of it."""
        is_one_view = isinstance(self.maps, ImageMaps)
        return self.maps.cut(number, box) if is_one_view else cut_views(self.maps, number, box)


@META_ARCH_REGISTRY.register()
class CFRSAM(PromptLearner):
    """Images to nuclei with masks and classes."""

    # Prefixes of the parts that `engine.load_initial_weights` filled from files of their own.
    parts_from_files: tuple[str, ...] = ()
    shows_progress: bool = False  # by a bar over the batches of windows, where there are several

    @configurable
    def __init__(
        self,
        *,
        proposal_generator: CentroidProposalGenerator,
        backbone: Backbone,
        mask_head: PointPromptedMaskHead,
        train_prompts: PromptSource,
        max_train_nuclei: int,
        nms_thresh: float,
        sliding_window: SlidingWindow,
        negative_prompts: int = 0,
        box_beside_point: bool = False,
        merge_overlap: float = 0.0,
        min_border_area: int = 0,
        test_time_augmentation: bool = False,
        **of_pixels: Any,
    ) -> None:
        """
        Args:
            proposal_generator: the trained prompt learner; it stays frozen.
            backbone: SAM's encoder with adapters, or `SharedEncoder`.
            mask_head: from levels and prompts to masks.
            train_prompts: chooses the prompts that train the mask head, one of
                `modeling.training_prompts`.
            max_train_nuclei: most nuclei of an image in a training step.
            nms_thresh: box IoU above which the lower-scored of two nuclei is dropped.
            sliding_window: how larger images are cut.
            negative_prompts: the nearest other points of a window, or of a training image, that go
                with a point as negative ones.
            box_beside_point: boxes of the prompt learner prompt together with their points, not in
                place of them.
            merge_overlap: share of the smaller of two masks of one class from which on they are one
                nucleus; 0: never.
            min_border_area: px below which a mask that touches the image's edge is dropped.
            test_time_augmentation: average each mask over flips and rotations of its window.
            of_pixels: `pixel_mean`, `pixel_std` and `precision`, see `PromptLearner`.
        """
        super().__init__(proposal_generator=proposal_generator, **of_pixels)
        self.proposal_generator.requires_grad_(False).eval()
        self.backbone = backbone
        self.mask_head = mask_head
        self.train_prompts = train_prompts
        self.max_train_nuclei = max_train_nuclei
        self.nms_thresh = nms_thresh
        self.sliding_window = sliding_window
        self.negative_prompts = negative_prompts
        self.box_beside_point = box_beside_point
        self.merge_overlap = merge_overlap
        self.min_border_area = min_border_area
        self.test_time_augmentation = test_time_augmentation

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        parts = PromptLearner.from_config(cfg)
        node, window = cfg.MODEL.CFRSAM, cfg.MODEL.SLIDING_WINDOW
        has_boxes = parts["proposal_generator"].proposes_boxes
        sources = BOX_SOURCES if has_boxes else POINT_SOURCES
        if node.BOX_BESIDE_POINT:
            _check_there_are_boxes(cfg, has_boxes)
            sources = POINT_AND_BOX_SOURCES
        if has_boxes and node.NEGATIVE_PROMPTS:
            raise UserError(
                f"MODEL.CFRSAM.NEGATIVE_PROMPTS is {node.NEGATIVE_PROMPTS}, but boxes prompt "
                "(MODEL.PROPOSAL_GENERATOR.NAME), and only points have negative ones: set it to 0"
            )
        return {
            **parts,
            "backbone": build_backbone(cfg),
            "mask_head": PointPromptedMaskHead(cfg),
            "train_prompts": choose(sources, node.TRAIN_PROMPTS, "MODEL.CFRSAM.TRAIN_PROMPTS"),
            "max_train_nuclei": node.MAX_TRAIN_NUCLEI,
            "nms_thresh": node.NMS_THRESH,
            "sliding_window": SlidingWindow(
                window.SIZE,
                window.OVERLAP,
                window.EDGE_TOLERANCE,
                window.BATCH,
                window.FRAME,
                window.REPEAT_PROMPTS,
            ),
            "negative_prompts": node.NEGATIVE_PROMPTS,
            "box_beside_point": node.BOX_BESIDE_POINT,
            "merge_overlap": node.MERGE_OVERLAP,
            "min_border_area": node.MIN_BORDER_AREA,
            "test_time_augmentation": cfg.TEST.AUG.ENABLED,
        }

    def train(self, mode: bool = True) -> "CFRSAM":
        """Set the mode of all but the prompt learner, which only ever predicts."""
        super().train(mode)
        self.proposal_generator.eval()
        return self

    def inference(self, images: list[Tensor]) -> list[Instances]:
        """The nuclei of each image, highest score first; of two that overlap too much, the better.

        Args:
            images: normalised, (3, H, W) each, of any sizes.

        Returns:
            Instances with `pred_points` (N, 2), `pred_masks`, the N `BoxMasks`, `pred_boxes`,
            `pred_classes` (with a class head the likeliest by it and stage 1 together) and `scores`
            (the estimated IoU).
        """
        proposals = self.propose(images)
        return self.find_nuclei(proposals, self.encode_windows(images, proposals))

    def find_nuclei(
        self, proposals: list[Instances], windows: Iterable[EncodedWindows]
    ) -> list[Instances]:
        """As `inference`, of images whose proposals and windows are known."""
        kept = []
        for nuclei in self.segment(windows, proposals):
            one_class = torch.zeros_like(nuclei.pred_classes)
            boxes = nuclei.pred_boxes.tensor
            found = nuclei[batched_nms(boxes, nuclei.scores, one_class, self.nms_thresh)]
            if self.merge_overlap:
                found = merge_fragments(found, self.merge_overlap)
            if self.min_border_area:
                found = drop_slivers(found, self.min_border_area)
            kept.append(found)
        return kept

    def encode_windows(
        self, images: list[Tensor], proposals: list[Instances] | None = None
    ) -> Iterator[EncodedWindows]:
        """Cut images into windows and encode these, a batch at a time.

        Args:
            images: normalised, (3, H, W) each.
            proposals: of each image; windows without any are left out.
        """
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        prompts = None if proposals is None else [self.prompts_of(each) for each in proposals]
        batches = [*self.sliding_window.batches(sizes, prompts)]
        hidden = not self.shows_progress or len(batches) < 2
        for windows in tqdm(batches, "windows", leave=False, disable=hidden):
            cut = [images[i][:, y0:y1, x0:x1] for i, x0, y0, x1, y1 in windows]
            yield EncodedWindows(windows, self.encode_cut(cut))

    def encode_cut(self, images: list[Tensor]) -> ImageMaps | list[ImageMaps]:
        """The maps of windows that are cut out, (3, h, w) of one size; normalised."""
        batch = ImageList.from_tensors(images, self.backbone.size_divisibility).tensor
        return (
            self.encode(batch)
            if not self.test_time_augmentation
            else encode_views(self.encode, batch)
        )

    def encode_views(self, images: Tensor) -> list[ImageMaps]:
        """As `encode`, of each of the views that test-time augmentation averages."""
        return encode_views(self.encode, images)

    def encode(self, images: Tensor) -> ImageMaps:
        """The maps that prompts share, of normalised images (n, 3, h, w), multiples of 16."""
        return self.mask_head.encode(images, self.backbone(self.encoder_inputs(images)))

    def encoder_inputs(self, images: Tensor) -> Any:
        """What the encoder reads: the images, or what stage 1 makes of them."""
        shared = isinstance(self.backbone, SharedEncoder)
        return self.proposal_generator.pyramids(images) if shared else images

    def segment(
        self, windows: Iterable[EncodedWindows], proposals: list[Instances]
    ) -> list[Instances]:
        """Cut out at most one nucleus per proposal: the best over the windows that decode it.

        Dropped are masks without a pixel, and those that their window cuts off.

        Args:
            windows: of the images.
            proposals: of each image: `proposal_points` (P, 2), `proposal_classes` (P,) and, where
                boxes prompt, `proposal_boxes`; `proposal_class_probs` (P, K) if a class head may
                correct the classes.

        Returns:
            The nuclei of each image, highest score first; fields as of `inference`.
        """
        candidates: list[list[Instances]] = [[] for _ in proposals]
        for each in windows:
            for window, found in self.candidates(each, proposals):
                candidates[window.image].append(found)
        return [_best_candidates(*each) for each in zip(proposals, candidates, strict=True)]

    def candidates(
        self, encoded: EncodedWindows, proposals: list[Instances]
    ) -> Iterator[tuple[Window, Instances]]:
        """The masks of the proposals in each window but those that it cuts off, a chunk at a time.

        No chunk holds prompts of two frames: what a window gives does not depend on its batch.

        Args:
            encoded: some windows.
            proposals: of each image, see `segment`.

        Yields:
            A window, and Instances with `pred_masks`, `pred_classes`, `scores` and the index of
            each `proposal`.
        """
        predict: Callable[..., tuple[Tensor, Tensor, Tensor | None]] = self.mask_head.inference
        if self.test_time_augmentation:
            predict = partial(average_views, self.mask_head)
        all_prompts = [self.prompts_of(each) for each in proposals]
        for window, frame, maps in encoded.frames(self.sliding_window):
            of_image, area = proposals[window.image], frame.area
            inside, prompts = prompts_in_window(all_prompts[window.image], area)
            if self.negative_prompts:
                prompts = with_negatives(prompts, self.negative_prompts)
            here = all_prompts[window.image][inside]
            core = self.sliding_window.core(window, of_image.image_size)
            own = (in_core(here, frame.core) & in_core(here, core)).nonzero().squeeze(1)
            corner = inside.new_tensor([[area.x0, area.y0]])
            for some in own.split(self.mask_head.prompts_per_chunk) if len(own) else ():
                proposal = inside[some]
                masks, scores, class_log_probs = predict(
                    maps, prompts[some].float(), torch.zeros_like(proposal)
                )
                frames = masks[:, : area.y1 - area.y0, : area.x1 - area.x0]
                found = Instances(
                    of_image.image_size,
                    pred_masks=BoxMasks.from_frames(frames, of_image.image_size, corner),
                    pred_classes=_classes(of_image, proposal, class_log_probs),
                    scores=scores,
                    proposal=proposal,
                )
                boxes = found.pred_masks.boxes
                whole = self.sliding_window.keeps(boxes, area, of_image.image_size)
                yield window, found[found.pred_masks.nonempty() & whole]

    @torch.no_grad()
    def find_prompts(self, images: list[Tensor]) -> list[Tensor]:
        """The prompts of RGB images (3, H, W) 0..255: (P, 2), (P, 4) or (P, 6) of each."""
        with self.precision.context(self.device, training=False):
            proposals = self.propose([self.normalize(image) for image in images])
        return [self.prompts_of(proposal) for proposal in proposals]

    def prompts_of(self, proposals: Instances) -> Tensor:
        """The prompts of an image's proposals: (P, 2), (P, 4) or (P, 6), see there."""
        return prompts_of(proposals, box_beside_point=self.box_beside_point)

    def losses(self, images: list[Tensor], gt_instances: list[Instances]) -> dict[str, Tensor]:
        """The losses of the mask head on prompts drawn anew; zeros where there is no nucleus.

        Args:
            images: normalised, (3, H, W) each.
            gt_instances: with `gt_masks`, `gt_classes`, and what `train_prompts` reads:
                `proposal_prompts`, `gt_points`, `gt_boxes`.
        """
        inputs = ImageList.from_tensors(images, self.backbone.size_divisibility).tensor
        drawn = self.draw_training_prompts(gt_instances, (inputs.shape[2], inputs.shape[3]))
        if len(drawn[0]) == 0:
            return self.no_losses()
        return self.mask_head.losses(self.encode(inputs), *drawn)

    @torch.no_grad()
    def draw_training_prompts(
        self, gt_instances: list[Instances], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw the prompts of a training step.

        Args:
            gt_instances: of each image.
            size: H, W of the padded images.

        Returns:
            Prompts (R, 2·n) or (R, 1+k, 2), the index of each one's image (R,), and its
            nucleus's mask (R, H, W) and class (R,).
        """
        all_prompts, all_masks, all_classes = [], [], []
        for gt in gt_instances:
            prompts, nuclei = self.train_prompts(gt)
            if self.negative_prompts:
                prompts = with_negatives(prompts, self.negative_prompts)
            prompts, nuclei = draw_prompts(prompts, nuclei, self.max_train_nuclei)
            masks = gt.gt_masks.tensor[nuclei]
            padding = (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1])
            all_prompts.append(prompts)
            all_masks.append(F.pad(masks, padding))
            all_classes.append(gt.gt_classes[nuclei])
        counts = torch.tensor([len(prompts) for prompts in all_prompts], device=self.device)
        prompt_image = torch.arange(len(counts), device=self.device).repeat_interleave(counts)
        return (
            torch.cat(all_prompts),
            prompt_image,
            torch.cat(all_masks),
            torch.cat(all_classes),
        )

    def no_losses(self) -> dict[str, Tensor]:
        """Zeros that no parameter has a part in: the optimizer then leaves all as they are.

        Only where processes average their gradients each has to bring some: zeros.
        """
        zero = torch.zeros((), device=self.device, requires_grad=True)
        if comm.get_world_size() > 1:
            trained = (each for each in self.parameters() if each.requires_grad)
            zero = zero + sum(0 * each.sum() for each in trained)
        return {name: zero.clone() for name in self.mask_head.loss_names}


def _check_there_are_boxes(cfg: CfgNode, has_boxes: bool) -> None:
    if not has_boxes:
        raise UserError(
            "MODEL.CFRSAM.BOX_BESIDE_POINT is True, but MODEL.PROPOSAL_GENERATOR.NAME is "
            f"{cfg.MODEL.PROPOSAL_GENERATOR.NAME}, which proposes no boxes: take "
            "BoxProposalGenerator, in both stages, or set it to False"
        )


def _classes(proposals: Instances, chosen: Tensor, class_log_probs: Tensor | None) -> Tensor:
    """The classes of the chosen proposals of an image, (R,): stage 1's, or the likeliest by the
    product of its probabilities and the class head's, as far as both are known."""
    return (
        proposals.proposal_classes[chosen]
        if class_log_probs is None or not proposals.has("proposal_class_probs")
        else (proposals.proposal_class_probs[chosen].log() + class_log_probs).argmax(dim=1)
    )


def _best_candidates(proposal: Instances, candidates: list[Instances]) -> Instances:
    """The nuclei of an image: of the masks of each proposal the highest-scored."""
    points, size = proposal.proposal_points, proposal.image_size
    nothing = Instances(
        size,
        pred_masks=BoxMasks.empty(size, points.device),
        pred_classes=proposal.proposal_classes[:0],
        scores=points.new_zeros(0),
        proposal=torch.zeros(0, dtype=torch.long, device=points.device),
    )
    found = Instances.cat([nothing, *candidates])
    found = found[best_per_prompt(found.scores, found.proposal)]
    return Instances(
        size,
        pred_points=points[found.proposal],
        pred_masks=found.pred_masks,
        pred_boxes=found.pred_masks.get_bounding_boxes(),
        pred_classes=found.pred_classes,
        scores=found.scores,
    )
