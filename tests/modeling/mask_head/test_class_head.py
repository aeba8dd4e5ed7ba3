"""The class head: what lies under a mask, by known answers, and its loss."""

import math

import pytest
import torch
import torch.nn.functional as F

from cfrsam_d2.modeling.mask_head.class_head import ClassHead, class_loss, pool_under
from cfrsam_d2.structures.coco import UNKNOWN_CLASS

SURE = 100.0  # a logit whose probability is 1


def test_the_mean_under_a_mask():
    left = torch.zeros(4, 6)
    left[:, :3] = 1
    nowhere = torch.zeros(4, 6)
    maps = torch.stack([torch.full((4, 6), 7.0), 2 * left - 1, torch.arange(24.0).view(4, 6)])
    weights = torch.stack([left, 0.5 * (1 - left), torch.full((4, 6), 0.25), nowhere])
    pooled = pool_under(weights, maps.expand(4, -1, -1, -1))
    # Means of columns 0 to 2, 3 to 5 and all of 0, 1, …, 23 in rows of 6: 10, 13 and 11.5.
    expected = [[7.0, 1.0, 10.0], [7.0, -1.0, 13.0], [7.0, 0.0, 11.5], [0.0, 0.0, 0.0]]
    torch.testing.assert_close(pooled, torch.tensor(expected))


@torch.no_grad()
def test_only_what_lies_under_the_mask_counts():
    """In both maps, the coarse one at a quarter of the mask's size; and always finite."""
    torch.manual_seed(0)
    head = ClassHead(5)
    logits = torch.full((2, 16, 24), -SURE)
    logits[0, :, :12], logits[1, :, 12:] = SURE, SURE
    features, embeddings = torch.randn(1, 32, 16, 24), torch.randn(1, 256, 4, 6)
    two = [each.expand(2, -1, -1, -1) for each in (features, embeddings)]
    found = head(logits, *two)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(2))
    assert not torch.allclose(found[0], found[1])
    for maps, columns in ((features, slice(12, None)), (embeddings, slice(3, None))):
        maps[..., columns] += 10 * torch.randn_like(maps[..., columns])
        after = head(logits, *two)
        torch.testing.assert_close(after[0], found[0])
        assert not torch.allclose(after[1], found[1])
    assert head(torch.full_like(logits, -SURE), *two).isfinite().all()


def test_unknown_classes_are_left_out_of_the_loss():
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.25, 0.5, 0.25]])
    log_probs = probabilities.log().requires_grad_()
    loss = class_loss(log_probs, torch.tensor([0, UNKNOWN_CLASS, 2]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    loss.backward()
    assert torch.equal(
        log_probs.grad, torch.tensor([[-0.5, 0.0, 0.0], [0.0] * 3, [0.0, 0.0, -0.5]])
    )
    nothing = class_loss(log_probs, torch.full((3,), UNKNOWN_CLASS))
    assert nothing == 0
    assert not torch.autograd.grad(nothing, log_probs)[0].any()


def test_the_loss_moves_features_and_not_masks():
    shapes = ((2, 8, 8), (2, 32, 8, 8), (2, 256, 2, 2))
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    class_loss(ClassHead(3)(*inputs), torch.tensor([0, 1])).backward()
    assert inputs[0].grad is None
    assert all(each.grad.any() for each in inputs[1:])


def test_it_learns_what_tells_classes_apart():
    """Two of three classes raise a channel of their own under the mask, beside much noise."""
    torch.manual_seed(0)
    head = ClassHead(3, hidden_dim=16)
    classes = torch.arange(24) % 3

    def tissue() -> list[torch.Tensor]:
        masks = torch.rand(24, 8, 8) < 0.5
        maps = [torch.randn(24, 32, 8, 8), torch.randn(24, 256, 2, 2)]
        for each, under in zip(maps, (masks.float(), F.avg_pool2d(masks.float(), 4)), strict=True):
            for category in (0, 1):
                each[classes == category, category] += 9 * under[classes == category]
        return [(2.0 * masks - 1) * SURE, *maps]

    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        class_loss(head(*tissue()), classes).backward()
        optimizer.step()
    assert torch.equal(head(*tissue()).argmax(dim=1), classes)
