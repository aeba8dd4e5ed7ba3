"""Which of the nuclei of an image are written, and whether their masks are in one piece."""

from dataclasses import dataclass

import cv2
import numpy as np
from detectron2.structures import Instances

from ..structures.masks import BoxMask, BoxMasks


@dataclass(frozen=True)
class Selection:
    """What is asked of nuclei.

    Attributes:
        min_score: of the estimated IoU, or stage 1's probability; 0: any.
        min_area: px of the image.
        largest_part: of a mask in several pieces only the largest stays.
    """

    min_score: float = 0.0
    min_area: float = 0.0
    largest_part: bool = False

    @property
    def needs_masks(self) -> bool:
        return self.min_area > 0 or self.largest_part

    def of(self, nuclei: Instances) -> Instances:
        """Those that are good enough, their order kept."""
        if self.min_score:  # estimated IoUs may lie below 0
            nuclei = nuclei[nuclei.scores >= self.min_score]
        if self.largest_part:
            nuclei = nuclei[:]
            parts = [largest_part(mask) for mask in nuclei.pred_masks]
            nuclei.pred_masks = BoxMasks.from_box_masks(parts, nuclei.image_size)
            nuclei.pred_boxes = nuclei.pred_masks.get_bounding_boxes()
        if self.min_area:
            nuclei = nuclei[nuclei.pred_masks.areas() >= self.min_area]
        return nuclei


ALL = Selection()


def count_in_pieces(nuclei: Instances) -> int:
    """How many masks have several parts, cells that touch at a corner being one."""
    return sum(_parts(mask)[0] > 1 for mask in nuclei.pred_masks)


def largest_part(mask: BoxMask) -> BoxMask:
    """The part of a mask with the most pixels, the first of several such."""
    count, labels = _parts(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels[labels > 0])
    return BoxMask.of_frame(labels == sizes.argmax(), mask.left, mask.top)


def _parts(mask: BoxMask) -> tuple[int, np.ndarray]:
    """How many parts a mask has, and the number of each pixel's from 1 on, 0 outside."""
    if mask.pixels.size == 0:
        return 0, mask.pixels.astype(np.int32)
    count, labels = cv2.connectedComponents(mask.pixels.astype(np.uint8), connectivity=8)
    return count - 1, labels
