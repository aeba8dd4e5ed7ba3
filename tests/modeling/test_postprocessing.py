"""Predictions come back in the pixels that the caller asks for."""

import pytest
import torch
from detectron2.structures import Boxes, Instances

from cfrsam_d2.data.magnification import resize_mask
from cfrsam_d2.modeling.boxes import mask_boxes
from cfrsam_d2.modeling.postprocessing import rescale_masks, rescale_points, rescale_to_input


def nuclei(masks: torch.Tensor) -> Instances:
    count = len(masks)
    return Instances(
        tuple(masks.shape[1:]),
        pred_points=torch.arange(2.0 * count).reshape(count, 2),
        pred_masks=masks,
        pred_boxes=Boxes(mask_boxes(masks).float()),
        pred_classes=torch.arange(count),
        scores=torch.linspace(1, 0.5, count),
    )


def test_points_move_with_their_image():
    points = torch.tensor([[0.0, 0.0], [3.5, 1.5], [7.0, 3.0]])
    assert rescale_points(points, (4, 8), (4, 8)).tolist() == points.tolist()
    assert rescale_points(points, (4, 8), (8, 16)).tolist() == [[0.5, 0.5], [7.5, 3.5], [14.5, 6.5]]
    assert rescale_points(points, (4, 8), (2, 4)).tolist() == [[0, 0], [1.5, 0.5], [3, 1]]
    assert rescale_points(points[:0], (4, 8), (2, 4)).shape == (0, 2)


@pytest.mark.parametrize("new_size", [(36, 44), (13, 15), (9, 11), (31, 5)])
def test_masks_are_rescaled_as_those_of_training(new_size: tuple[int, int]):
    masks = (
        torch.nn.functional.avg_pool2d(torch.rand(20, 20, 24), 3, stride=1) > 0.5
    )  # (20, 18, 22)
    expected = torch.stack([torch.from_numpy(resize_mask(m.numpy(), new_size)) for m in masks])
    rescaled = rescale_masks(masks, new_size)
    assert rescaled.dtype == torch.bool
    assert rescaled.shape == (20, *new_size)
    assert (rescaled != expected).float().mean() < 1e-2  # one half, rounded
    assert 0.2 < rescaled.float().mean() < 0.8


def test_a_pixel_becomes_four_and_one_again():
    masks = torch.rand(3, 5, 7) < 0.5
    doubled = masks.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    assert torch.equal(rescale_masks(masks, (10, 14)), doubled)
    squares = torch.zeros(1, 20, 20, dtype=torch.bool)
    squares[:, 4:10, 6:12] = True
    assert torch.equal(rescale_masks(squares, (10, 10)), squares[:, ::2, ::2])
    assert rescale_masks(masks[:0], (10, 14)).shape == (0, 10, 14)


@pytest.mark.parametrize("model_input", [{}, {"height": 6, "width": 8}])
def test_without_another_size_nothing_changes(model_input: dict):
    instances = nuclei(torch.ones(2, 6, 8, dtype=torch.bool))
    assert rescale_to_input(instances, model_input) is instances


def test_all_fields_are_rescaled():
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 4:, :3] = True
    instances = nuclei(masks)
    rescaled = rescale_to_input(instances, {"height": 12, "width": 16})
    assert rescaled.image_size == (12, 16)
    assert rescaled.pred_boxes.tensor.tolist() == [[4, 2, 10, 6], [0, 8, 6, 12]]
    assert rescaled.pred_masks.dtype == torch.bool
    assert rescaled.pred_masks.sum(dim=(1, 2)).tolist() == [24, 24]
    assert rescaled.pred_points.tolist() == [[0.5, 2.5], [4.5, 6.5]]
    assert torch.equal(rescaled.scores, instances.scores)
    assert torch.equal(rescaled.pred_classes, instances.pred_classes)
    assert instances.image_size == (6, 8)  # the model's own are not touched
    assert instances.pred_masks is masks


def test_a_nucleus_without_a_pixel_left_is_dropped():
    masks = torch.zeros(3, 6, 8, dtype=torch.bool)
    masks[0, 0, 0] = True
    masks[1, 2:5, 2:5] = True
    masks[2, 5, 7] = True
    rescaled = rescale_to_input(nuclei(masks), {"height": 2, "width": 3})
    assert rescaled.pred_classes.tolist() == [1]
    assert rescaled.pred_masks.tolist() == [[[False, False, False], [False, True, False]]]
    assert rescaled.pred_boxes.tensor.tolist() == [[1, 1, 2, 2]]


def test_an_image_without_nuclei():
    rescaled = rescale_to_input(nuclei(torch.zeros(0, 6, 8, dtype=torch.bool)), {"height": 9})
    assert rescaled.image_size == (9, 8)
    assert len(rescaled) == 0
    assert rescaled.pred_masks.shape == (0, 9, 8)
    assert rescaled.pred_boxes.tensor.shape == (0, 4)
