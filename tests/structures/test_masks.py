"""Masks in their boxes: what they know of themselves, and that the image's size costs nothing."""

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from torch import Tensor
from torch.nn import functional as F

from cfrsam_d2.structures.masks import BoxMask, BoxMasks, mask_boxes

SIZE = (11, 14)
HUGE = (1_000_000, 1_000_000)  # px; a frame would have 1 TB


def blobs(seed: int, count: int, size: tuple[int, int] = SIZE) -> Tensor:
    """Random spots of random places, (N, H, W) bool; a few are empty or reach over the border."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    frames = np.zeros((count, *size), dtype=bool)
    for frame in frames:
        y, x, radius = rng.uniform(-1, 1 + np.array([*size, max(size) / 4]))
        frame[:] = (np.hypot(rows - y, columns - x) < radius) & (rng.random(size) < 0.8)
    return torch.from_numpy(frames)


def frames_of(masks: BoxMasks) -> Tensor:
    frames = [torch.from_numpy(mask.frame(*masks.image_size)) for mask in masks]
    return torch.stack(frames) if frames else torch.zeros(0, *masks.image_size, dtype=torch.bool)


def far_masks() -> BoxMasks:
    """A square, an L and nothing, in an image without a frame."""
    corner = np.array([[True, False], [True, True]])
    square, none = np.ones((3, 4), dtype=bool), np.zeros((0, 0), dtype=bool)
    masks = [
        BoxMask(999_990, 70_000, square),
        BoxMask(999_991, 70_002, corner),
        BoxMask(0, 0, none),
    ]
    return BoxMasks.from_box_masks(masks, HUGE)


def test_one_mask_is_cut_from_its_frame_and_put_back() -> None:
    frame = np.zeros(SIZE, dtype=bool)
    frame[2:5, 3] = frame[4, 3:9] = True
    mask = BoxMask.of_frame(frame)
    assert mask.box == (3, 2, 9, 5)
    assert mask.area == 8
    assert mask.in_image == (slice(2, 5), slice(3, 9))
    assert np.array_equal(mask.frame(*SIZE), frame)
    assert np.array_equal(mask.indices(SIZE[1]), np.flatnonzero(frame))
    moved = BoxMask.of_frame(7 * frame, left=20, top=10)
    assert moved.box == (23, 12, 29, 15)
    assert np.array_equal(moved.pixels, mask.pixels)


def test_no_pixel_is_a_box_of_nothing() -> None:
    mask = BoxMask.of_frame(np.zeros(SIZE))
    assert mask.pixels.shape == (0, 0)
    assert mask.area == mask.indices(SIZE[1]).size == 0
    assert not mask.frame(*SIZE).any()
    masks = BoxMasks.empty(SIZE)
    assert len(masks) == 0
    assert list(masks) == masks.indices() == []
    assert masks.areas().shape == (0,)
    assert masks.centroids().shape == (0, 2)
    assert masks.get_bounding_boxes().tensor.shape == (0, 4)
    assert masks.to_bitmasks().tensor.shape == (0, *SIZE)
    assert not masks.label_map().any()
    assert masks.label_map().shape == SIZE
    assert masks.rescaled((5, 5)).image_size == (5, 5)
    assert len(BoxMasks.from_box_masks([], SIZE)) == len(BoxMasks.cat([masks, masks])) == 0


def test_iou_of_two_masks() -> None:
    square = BoxMask(0, 0, np.ones((4, 4), bool))
    corners = np.array([[1, 0], [0, 1]], bool)
    for other, iou in (
        (square, 1.0),
        (BoxMask(2, 1, np.ones((4, 4), bool)), 6 / 26),
        (BoxMask(3, 3, corners), 1 / 17),
        (BoxMask(3, 2, ~corners), 1 / 17),
        (BoxMask(4, 0, corners), 0.0),
        (BoxMask(0, 9, corners), 0.0),
    ):
        assert square.iou(other) == other.iou(square) == iou


def test_many_masks_come_back_from_every_form() -> None:
    frames = blobs(0, 30)
    masks = BoxMasks.from_frames(frames)
    assert 0 < masks.nonempty().sum() < 30
    assert torch.equal(frames_of(masks), frames)
    assert torch.equal(masks.to_bitmasks().tensor, frames)
    assert torch.equal(frames_of(BoxMasks.from_box_masks(list(masks), SIZE)), frames)
    assert torch.equal(frames_of(masks.to("cpu")), frames)
    assert torch.equal(masks.areas(), frames.flatten(1).sum(dim=1))
    assert torch.equal(masks.nonempty(), frames.flatten(1).any(dim=1))
    assert torch.equal(masks.boxes, mask_boxes(frames))
    boxes = masks.to_bitmasks().get_bounding_boxes().tensor
    assert torch.equal(masks.get_bounding_boxes().tensor, boxes)
    for indices, frame in zip(masks.indices(), frames, strict=True):
        assert np.array_equal(indices, np.flatnonzero(frame))
    assert repr(masks) == "BoxMasks(30 masks of an image of 11×14 px)"


def test_frames_of_parts_of_the_image() -> None:
    frames, corners = blobs(1, 8, (5, 6)), torch.tensor([[3, 1]]) + torch.arange(8)[:, None] // 4
    expected = torch.zeros(8, *SIZE, dtype=torch.bool)
    for whole, part, (x, y) in zip(expected, frames, corners.tolist(), strict=True):
        whole[y : y + 5, x : x + 6] = part
    assert torch.equal(frames_of(BoxMasks.from_frames(frames, SIZE, corners)), expected)


def test_indexing() -> None:
    frames = blobs(2, 9)
    masks = BoxMasks.from_frames(frames)
    for item in (
        slice(2, 7),
        slice(None, None, 3),
        torch.tensor([4, 0, 0, 8]),
        torch.tensor([], dtype=torch.long),
        frames.flatten(1).sum(dim=1) > 5,
        masks.nonempty(),
    ):
        assert torch.equal(frames_of(masks[item]), frames[item])
    for index in (0, 3, -1):  # as of `BitMasks`: a length of one
        assert torch.equal(frames_of(masks[index]), frames[index][None])


def test_unions() -> None:
    """Of masks apart, upon each other and without a partner; with the boxes that they have."""
    frames = blobs(4, 12)
    frames = frames[frames.flatten(1).any(dim=1)][:8]
    numbers = torch.tensor([2, 0, 1, 0, 2, 3, 0, 2])
    masks = BoxMasks.from_frames(frames)
    unions = masks.unions(numbers)
    expected = torch.stack([frames[numbers == number].any(dim=0) for number in range(4)])
    assert torch.equal(frames_of(unions), expected)
    assert torch.equal(unions.boxes, mask_boxes(expected))
    assert torch.equal(frames_of(masks.unions(torch.arange(8))), frames)
    assert far_masks()[:2].unions(torch.zeros(2, dtype=torch.long)).areas().tolist() == [14]
    assert len(BoxMasks.empty(SIZE).unions(torch.zeros(0, dtype=torch.long))) == 0


def test_pixels_must_fill_their_boxes() -> None:
    with pytest.raises(ValueError, match="3 pixels do not fill 1 boxes"):
        BoxMasks(torch.tensor([[0, 0, 2, 2]]), torch.ones(3), SIZE)


def test_they_are_a_field_of_instances() -> None:
    frames = blobs(3, 6)
    scores = torch.arange(6)
    all_of_them = Instances(SIZE, pred_masks=BoxMasks.from_frames(frames), scores=scores)
    some, others = all_of_them[scores > 3], all_of_them[:2]
    joined = Instances.cat([some, others, all_of_them[torch.zeros(0, dtype=torch.long)]]).to("cpu")
    assert joined.scores.tolist() == [4, 5, 0, 1]
    assert torch.equal(joined.pred_masks.to_bitmasks().tensor, frames[[4, 5, 0, 1]])
    assert joined.pred_masks.image_size == SIZE


def test_centroids_are_means_of_pixels() -> None:
    frames = blobs(4, 20)
    centroids = BoxMasks.from_frames(frames).centroids()
    assert centroids.dtype == torch.float64
    for frame, centroid in zip(frames, centroids, strict=True):
        rows, columns = np.nonzero(frame.numpy())
        if rows.size:
            assert centroid.tolist() == [columns.mean(), rows.mean()]
        else:
            assert centroid.isnan().all()


def test_painting_is_the_same_as_one_mask_after_the_other() -> None:
    frames = blobs(5, 12)
    masks = BoxMasks.from_frames(frames)
    order = torch.tensor([3, 11, 0, 7, 5, 1, 2, 10, 4, 6, 9, 8])
    for given, painted in ((order, order), (None, torch.arange(11, -1, -1))):
        expected = torch.zeros(SIZE, dtype=torch.int32)
        for index in painted.tolist():
            expected[frames[index]] = index + 1
        labels = masks.label_map(given)
        assert labels.dtype == torch.int32
        assert torch.equal(labels, expected)


def test_rescaling_is_that_of_whole_frames() -> None:
    for seed, new_size in enumerate([(22, 28), (5, 7), (8, 21), (37, 13), (11, 14), (1, 1)]):
        for size in (SIZE, (31, 40)):
            frames = blobs(seed, 25, size)
            weights = F.interpolate(frames[None].float(), new_size, mode="bilinear", antialias=True)
            rescaled = BoxMasks.from_frames(frames).rescaled(new_size)
            differing = frames_of(rescaled) != (weights[0] > 0.5)
            assert (weights[0][differing] - 0.5).abs().le(1e-6).all()
            assert differing.float().mean() < 0.01


def test_the_size_of_the_image_costs_nothing() -> None:
    masks = far_masks()
    assert masks.areas().tolist() == [12, 3, 0]
    assert [indices[0] for indices in masks.indices()[:2]] == [70_000_999_990, 70_002_999_991]
    assert masks.centroids()[0].tolist() == [999_991.5, 70_001]
    assert masks[1:].boxes.tolist() == [[999_991, 70_002, 999_993, 70_004], [0, 0, 0, 0]]
    assert BoxMasks.cat([masks, masks]).areas().tolist() == [12, 3, 0] * 2
    rescaled = masks.rescaled((2_000_000, 2_000_000))
    assert rescaled.boxes[0].tolist() == [1_999_980, 140_000, 1_999_988, 140_006]
    assert rescaled.areas().tolist() == [48, 12, 0]
