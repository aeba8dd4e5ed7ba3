"""Predictions come back in the pixels that the caller asks for."""

import torch
import torch.nn.functional as F
from detectron2.structures import Instances
from label_oracle import frames

from cfrsam_d2.modeling.postprocessing import rescale_points, rescale_to_input
from cfrsam_d2.structures.masks import BoxMasks


def nuclei(frames: torch.Tensor) -> Instances:
    count, masks = len(frames), BoxMasks.from_frames(frames)
    return Instances(
        masks.image_size,
        pred_points=torch.arange(2.0 * count).reshape(count, 2),
        pred_masks=masks,
        pred_boxes=masks.get_bounding_boxes(),
        pred_classes=torch.arange(count),
        scores=torch.linspace(1, 0.5, count),
    )


def test_points_move_with_their_image():
    points = torch.tensor([[0.0, 0.0], [3.5, 1.5], [7.0, 3.0]])
    assert rescale_points(points, (4, 8), (4, 8)).tolist() == points.tolist()
    assert rescale_points(points, (4, 8), (8, 16)).tolist() == [[0.5, 0.5], [7.5, 3.5], [14.5, 6.5]]
    assert rescale_points(points, (4, 8), (2, 4)).tolist() == [[0, 0], [1.5, 0.5], [3, 1]]
    assert rescale_points(points[:0], (4, 8), (2, 4)).shape == (0, 2)


def test_masks_are_rescaled_as_their_whole_frames_would_be():
    masks = F.avg_pool2d(torch.rand(20, 20, 24), 3, stride=1) > 0.5
    assert masks.shape == (20, 18, 22)
    for new_size in [(36, 44), (13, 15), (9, 11), (31, 5)]:
        expected = F.interpolate(masks[None].float(), new_size, mode="bilinear", antialias=True)[0]
        rescaled = rescale_to_input(nuclei(masks), {"height": new_size[0], "width": new_size[1]})
        assert rescaled.pred_masks.image_size == new_size
        pixels = frames(rescaled)
        wrong = pixels != (expected[rescaled.pred_classes] > 0.5)
        assert wrong.float().mean() < 1e-2  # one half, rounded
        assert 0.2 < pixels.float().mean() < 0.8


def test_a_pixel_becomes_four_and_one_again():
    masks = torch.rand(3, 5, 7) < 0.5
    doubled = masks.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    large = rescale_to_input(nuclei(masks), {"height": 10, "width": 14})
    assert torch.equal(frames(large), doubled)
    squares = torch.zeros(1, 20, 20, dtype=torch.bool)
    squares[:, 4:10, 6:12] = True
    small = rescale_to_input(nuclei(squares), {"height": 10, "width": 10})
    assert torch.equal(frames(small), squares[:, ::2, ::2])


def test_without_another_size_nothing_changes():
    instances = nuclei(torch.ones(2, 6, 8, dtype=torch.bool))
    for model_input in ({}, {"height": 6, "width": 8}):
        assert rescale_to_input(instances, model_input) is instances


def test_all_fields_are_rescaled():
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 4:, :3] = True
    instances = nuclei(masks)
    rescaled = rescale_to_input(instances, {"height": 12, "width": 16})
    assert rescaled.image_size == (12, 16)
    assert rescaled.pred_boxes.tensor.tolist() == [[4, 2, 10, 6], [0, 8, 6, 12]]
    assert rescaled.pred_masks.areas().tolist() == [24, 24]
    assert rescaled.pred_points.tolist() == [[0.5, 2.5], [4.5, 6.5]]
    assert torch.equal(rescaled.scores, instances.scores)
    assert torch.equal(rescaled.pred_classes, instances.pred_classes)
    assert instances.image_size == (6, 8)  # the model's own are not touched
    assert torch.equal(frames(instances), masks)


def test_a_nucleus_without_a_pixel_left_is_dropped():
    masks = torch.zeros(3, 6, 8, dtype=torch.bool)
    masks[0, 0, 0] = True
    masks[1, 2:5, 2:5] = True
    masks[2, 5, 7] = True
    rescaled = rescale_to_input(nuclei(masks), {"height": 2, "width": 3})
    assert rescaled.pred_classes.tolist() == [1]
    assert frames(rescaled).tolist() == [[[False, False, False], [False, True, False]]]
    assert rescaled.pred_boxes.tensor.tolist() == [[1, 1, 2, 2]]


def test_an_image_without_nuclei():
    rescaled = rescale_to_input(nuclei(torch.zeros(0, 6, 8, dtype=torch.bool)), {"height": 9})
    assert rescaled.image_size == (9, 8)
    assert len(rescaled) == 0
    assert rescaled.pred_masks.image_size == (9, 8)
    assert len(rescaled.pred_masks) == 0
    assert rescaled.pred_boxes.tensor.shape == (0, 4)
