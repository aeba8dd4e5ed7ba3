"""Fragments of nuclei joined and slivers at the edge dropped, on masks whose answers are known."""

import pytest
import torch
from detectron2.structures import Instances
from tiny_segmenter import tiny_cfrsam
from torch import Tensor

from cfrsam_d2.modeling.fragments import drop_slivers, merge_fragments
from cfrsam_d2.structures.masks import BoxMasks

SIZE = (30, 40)


def rectangles(*corners: tuple[int, int, int, int]) -> Tensor:
    """Frames of filled boxes x0, y0, x1, y1, (N, H, W)."""
    frames = torch.zeros(len(corners), *SIZE, dtype=torch.bool)
    for frame, (x0, y0, x1, y1) in zip(frames, corners, strict=True):
        frame[y0:y1, x0:x1] = True
    return frames


def nuclei_of(frames: Tensor, classes: list[int] | None = None) -> Instances:
    masks = BoxMasks.from_frames(frames)
    return Instances(
        SIZE,
        pred_points=masks.centroids().float(),
        pred_masks=masks,
        pred_boxes=masks.get_bounding_boxes(),
        pred_classes=torch.tensor(classes or [0] * len(frames), dtype=torch.int64),
        scores=torch.linspace(0.9, 0.5, len(frames)),
    )


def frames_of(nuclei: Instances) -> Tensor:
    return nuclei.pred_masks.to_bitmasks().tensor


def test_fragments_become_the_union_with_what_the_best_one_has():
    """Of the third 8 of 12 px lie in the first; of the last, in two pieces, 10 of 15 in its own."""
    frames = rectangles(
        (0, 0, 10, 10), (20, 20, 25, 25), (8, 2, 11, 6), (30, 0, 40, 3), (35, 0, 40, 2)
    )
    frames[4, 5, 35:] = True
    nuclei = nuclei_of(frames, [1, 0, 1, 2, 2])
    found = merge_fragments(nuclei, 0.6)
    joined = torch.stack([frames[0] | frames[2], frames[1], frames[3] | frames[4]])
    assert torch.equal(frames_of(found), joined)
    for name in ("pred_points", "pred_classes", "scores"):
        assert torch.equal(found.get(name), nuclei.get(name)[[0, 1, 3]])
    boxes = torch.tensor([[0.0, 0, 11, 10], [20, 20, 25, 25], [30, 0, 40, 6]])
    assert torch.equal(found.pred_boxes.tensor, boxes)


def test_the_share_counts_from_the_threshold_on():
    frames = rectangles((0, 0, 10, 10), (8, 0, 12, 3))  # of 12 px, 6 in the first
    for share, count in ((0.4, 1), (0.5, 1), (0.51, 2), (1.0, 2)):
        assert len(merge_fragments(nuclei_of(frames), share)) == count


def test_nuclei_that_only_touch_or_are_of_two_classes_stay():
    frames = rectangles((0, 0, 10, 10), (10, 0, 20, 10), (2, 2, 5, 5))
    found = merge_fragments(nuclei_of(frames, [0, 0, 1]), 0.01)
    assert torch.equal(frames_of(found), frames)
    assert found.pred_classes.tolist() == [0, 0, 1]


def test_groups_hang_together_through_others():
    """The second and third have nothing in common, but each with the fourth; the first is apart."""
    frames = rectangles((0, 20, 9, 29), (0, 0, 9, 4), (11, 0, 20, 4), (6, 0, 14, 4))
    found = merge_fragments(nuclei_of(frames), 0.3)
    assert torch.equal(frames_of(found), torch.stack([frames[0], frames[1:].any(dim=0)]))
    assert torch.equal(found.scores, torch.linspace(0.9, 0.5, 4)[:2])


def test_an_image_without_nuclei():
    nothing = nuclei_of(rectangles())
    assert len(merge_fragments(nothing, 0.5)) == 0
    assert len(drop_slivers(nothing, 20)) == 0


def test_slivers_of_each_edge_are_dropped():
    """Of 9 px at each edge, of 10 px at one, and of 1 px elsewhere."""
    left, right = (0, 5, 1, 14), (39, 5, 40, 14)
    top, bottom = (9, 0, 12, 3), (9, 27, 12, 30)
    frames = rectangles(left, (5, 0, 7, 5), right, top, (1, 1, 2, 2), bottom)
    assert torch.equal(frames_of(drop_slivers(nuclei_of(frames), 10)), frames[[1, 4]])
    assert torch.equal(frames_of(drop_slivers(nuclei_of(frames), 9)), frames)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, [[0], [1], [2]]),
        ({"merge_overlap": 0.5}, [[0, 1], [2]]),
        ({"min_border_area": 9}, [[0]]),
        ({"merge_overlap": 0.5, "min_border_area": 9}, [[0, 1]]),  # merged first
    ],
)
def test_the_model_merges_after_nms_and_then_drops(changes: dict, kept: list[list[int]]):
    """Of the second's 8 px, at the left edge, 4 lie in the first; the third's 6 are at the top."""
    frames = rectangles((2, 5, 12, 15), (0, 8, 4, 10), (20, 0, 23, 2), (2, 5, 12, 14))
    model = tiny_cfrsam(**changes)
    model.segment = lambda windows, proposals: [nuclei_of(frames)]
    (found,) = model.find_nuclei([], [])
    expected = torch.stack([frames[some].any(dim=0) for some in kept])
    assert torch.equal(frames_of(found), expected)
