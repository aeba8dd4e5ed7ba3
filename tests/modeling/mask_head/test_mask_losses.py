"""Losses of the masks: known answers, batches, nuclei without foreground."""

import numpy as np
import pytest
import torch

from cfrsam_d2.modeling.mask_head.losses import boundary_bce, boundary_map, mask_losses


def square(size: int, x0: int, y0: int, side: int) -> torch.Tensor:
    mask = torch.zeros(size, size)
    mask[y0 : y0 + side, x0 : x0 + side] = 1
    return mask


def test_terms_equal_their_formulas():
    torch.manual_seed(0)
    logits, pred_iou = 2 * torch.randn(3, 6, 7), torch.rand(3)
    gt = (torch.rand(3, 6, 7) > 0.6).float()
    p, g = 1 / (1 + np.exp(-logits.double().numpy())), gt.double().numpy()
    p_true = np.where(g == 1, p, 1 - p)
    overlap, areas = (p * g).sum(axis=(1, 2)), (p + g).sum(axis=(1, 2))
    expected = {
        "focal": (-((1 - p_true) ** 2) * np.log(p_true)).mean(),
        "dice": 1 - 2 * overlap.sum() / areas.sum(),
        "iou": ((overlap / (areas - overlap) - pred_iou.double().numpy()) ** 2).mean(),
    }
    actual = mask_losses(logits, gt, pred_iou)
    assert {name: loss.item() for name, loss in actual.items()} == pytest.approx(expected, rel=1e-5)


def test_known_answers():
    """Two nuclei of 4 px; certain of 2 of the first one's pixels and of all the second one's."""
    gt = torch.stack([square(8, 0, 0, 2), square(8, 4, 4, 2)])
    found = gt.clone()
    found[0, 1] = 0
    losses = mask_losses(200 * found - 100, gt, torch.tensor([0.0, 0.5]))
    assert losses["dice"].item() == pytest.approx(1 - 2 * 6 / (6 + 8))
    assert losses["iou"].item() == pytest.approx((0.5**2 + 0.5**2) / 2)
    assert losses["focal"].item() == pytest.approx(2 * 100 / 128)


def test_a_perfect_mask_costs_nothing():
    gt = square(8, 2, 2, 3)[None]
    losses = mask_losses(200 * gt - 100, gt, torch.tensor([1.0]))
    assert all(loss.item() == pytest.approx(0, abs=1e-6) for loss in losses.values())


def test_dice_is_one_ratio_over_the_batch():
    torch.manual_seed(0)
    gt = torch.stack([square(16, 0, 0, 12), square(16, 3, 3, 2)])
    logits, pred_iou = torch.randn(2, 16, 16), torch.rand(2)
    alone = [mask_losses(logits[i : i + 1], gt[i : i + 1], pred_iou[i : i + 1]) for i in range(2)]
    together = mask_losses(logits, gt, pred_iou)
    for name in ("focal", "iou"):
        mean = (alone[0][name] + alone[1][name]) / 2
        torch.testing.assert_close(together[name], mean)
    p = logits.sigmoid()
    torch.testing.assert_close(together["dice"], 1 - 2 * (p * gt).sum() / (p + gt).sum())
    assert not torch.allclose(together["dice"], (alone[0]["dice"] + alone[1]["dice"]) / 2)


def test_without_foreground_dice_is_zero():
    logits = torch.randn(2, 8, 8, requires_grad=True)
    losses = mask_losses(logits, torch.zeros(2, 8, 8), torch.zeros(2))
    assert losses["dice"] == 0
    assert losses["iou"] == 0
    assert losses["focal"] > 0
    sum(losses.values()).backward()
    assert logits.grad.isfinite().all()


def test_one_nucleus_without_foreground_leaves_the_others():
    gt = torch.stack([torch.zeros(8, 8), square(8, 2, 2, 3)])
    losses = mask_losses(torch.zeros(2, 8, 8), gt, torch.zeros(2))
    assert losses["dice"].item() == pytest.approx(1 - 9 / (64 + 9))
    assert losses["iou"].item() == pytest.approx((4.5 / 36.5) ** 2 / 2)


def test_gradients_reach_logits_and_estimate():
    logits = torch.randn(2, 8, 8, requires_grad=True)
    pred_iou = torch.rand(2, requires_grad=True)
    gt = torch.stack([square(8, 0, 0, 4), square(8, 2, 2, 3)])
    sum(mask_losses(logits, gt, pred_iou).values()).backward()
    assert logits.grad.all()
    assert pred_iou.grad.all()


def test_boundary_of_a_square_is_a_ring_of_two_pixels():
    ring = square(16, 3, 4, 8) - square(16, 5, 6, 4)
    assert torch.equal(boundary_map(square(16, 4, 5, 6)[None])[0], ring)


def test_boundary_at_the_frames_edge_is_none():
    """The mask goes on beyond the frame, as far as can be told."""
    expected = torch.zeros(8, 8)
    expected[:4, 3:5] = 1
    expected[3:5, :4] = 1
    expected[4, 4] = 1
    assert torch.equal(boundary_map(square(8, 0, 0, 4)[None])[0], expected)


def test_boundary_of_each_mask_of_its_own():
    masks = torch.stack([torch.zeros(8, 8), torch.ones(8, 8), square(8, 3, 3, 1)])
    maps = boundary_map(masks)
    assert not maps[:2].any()
    # Sobel's kernels are 0 in the middle: a single pixel is its surroundings.
    assert torch.equal(maps[2], square(8, 2, 2, 3) - square(8, 3, 3, 1))


def test_boundary_loss_is_cross_entropy_over_all_pixels():
    torch.manual_seed(0)
    targets = boundary_map(torch.stack([square(8, 2, 2, 4), torch.zeros(8, 8)]))
    logits = torch.randn(2, 8, 8, requires_grad=True)
    p = logits.detach().sigmoid()
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()
    loss = boundary_bce(logits, targets)
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()
    assert logits.grad.all()
