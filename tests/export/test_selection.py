"""Which nuclei are written: by score, by area, and of masks in pieces the largest."""

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from cfrsam_d2.export.selection import ALL, Selection, count_in_pieces, largest_part
from cfrsam_d2.structures.masks import BoxMask, BoxMasks


def nuclei() -> Instances:
    """Of 24 px in two pieces (4 and 20), of 9 px in one, and of no pixel; scores 0.9, 0.5, 0.1."""
    frames = torch.zeros(3, 20, 30, dtype=torch.bool)
    frames[0, 2:4, 2:4] = True
    frames[0, 10:14, 5:10] = True
    frames[1, 0:3, 20:23] = True
    masks = BoxMasks.from_frames(frames)
    return Instances(
        (20, 30),
        pred_masks=masks,
        pred_boxes=masks.get_bounding_boxes(),
        scores=torch.tensor([0.9, 0.5, 0.1]),
    )


def test_all_of_them_by_default() -> None:
    assert ALL.of(nuclei()).pred_masks.areas().tolist() == [24, 9, 0]
    assert not ALL.needs_masks


def test_by_score_and_by_area_the_bounds_included() -> None:
    assert (
        Selection(min_score=0.5).of(nuclei()).scores.tolist() == torch.tensor([0.9, 0.5]).tolist()
    )
    assert Selection(min_area=9).of(nuclei()).pred_masks.areas().tolist() == [24, 9]
    assert Selection(min_area=10).of(nuclei()).pred_masks.areas().tolist() == [24]


def test_the_largest_part_has_its_own_box_and_is_what_has_the_area() -> None:
    kept = Selection(largest_part=True, min_area=20).of(nuclei())
    assert kept.pred_masks.areas().tolist() == [20]
    assert kept.pred_boxes.tensor.tolist() == [[5, 10, 10, 14]]
    assert count_in_pieces(nuclei()) == 1
    assert count_in_pieces(kept) == 0


def test_pixels_that_touch_at_a_corner_are_one_part() -> None:
    mask = BoxMask(3, 4, np.eye(5, dtype=bool))
    assert largest_part(mask) is mask


def test_no_nucleus_is_no_mistake() -> None:
    none = Instances(
        (4, 4),
        pred_masks=BoxMasks.empty((4, 4)),
        pred_boxes=Boxes(torch.zeros(0, 4)),
        scores=torch.zeros(0),
    )
    assert len(Selection(0.5, 3, True).of(none)) == 0
    assert count_in_pieces(none) == 0
