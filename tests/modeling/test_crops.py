"""Windows cut from maps and laid back into frames, with the gradients of plain slices."""

import torch

from cfrsam_d2.modeling.mask_head.crops import crop, paste

INDEX = torch.tensor([1, 0, 1])
CORNERS = torch.tensor([[4, 0], [0, 3], [2, 1]])  # the first and the last overlap


def test_crops_come_from_their_own_map_and_place():
    maps = torch.arange(2 * 1 * 8 * 10).view(2, 1, 8, 10)
    crops = crop(maps, INDEX, CORNERS, (5, 6))
    assert crops.shape == (3, 1, 5, 6)
    assert torch.equal(crops[0], maps[1, :, 0:5, 4:10])
    assert torch.equal(crops[1], maps[0, :, 3:8, 0:6])
    assert torch.equal(crops[2], maps[1, :, 1:6, 2:8])


def test_gradients_of_crops_that_overlap_add_up():
    maps = torch.randn(2, 3, 8, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda maps: crop(maps, INDEX, CORNERS, (5, 6)), (maps,))


def test_frames_hold_their_window_and_nothing_else():
    crops = torch.randn(3, 5, 6)
    frames = paste(crops, CORNERS, (8, 10), -20.0)
    assert frames.shape == (3, 8, 10)
    for frame, (x, y), each in zip(frames, CORNERS.tolist(), crops, strict=True):
        assert torch.equal(frame[y : y + 5, x : x + 6], each)
        assert (frame == -20).sum() == 8 * 10 - 5 * 6


def test_gradients_of_frames():
    crops = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda crops: paste(crops, CORNERS, (8, 10), -20.0), (crops,))
