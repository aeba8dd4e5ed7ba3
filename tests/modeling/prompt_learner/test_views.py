"""Points averaged over flips and rotations: what turns with the image, and what does not change."""

import pytest
import torch
from detectron2.structures import ImageList

from cfrsam_d2.modeling.prompt_learner import CentroidProposalGenerator, PointPredictions
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext
from cfrsam_d2.modeling.prompt_learner.points import anchor_grid
from cfrsam_d2.modeling.views import VIEWS

HEIGHT, WIDTH, STRIDE = 64, 96, 8


def generator(**changes: bool) -> CentroidProposalGenerator:
    torch.manual_seed(0)
    backbone = build_convnext("convnext_tiny", depths=[1, 1, 1, 1], dims=[8, 12, 16, 20])
    return CentroidProposalGenerator(
        backbone=backbone, num_classes=3, hidden_dim=8, **changes
    ).eval()


def of_pixels(images: torch.Tensor, *, finds_mask: bool = True) -> PointPredictions:
    """What a network would say that only looks at each anchor's cell, whichever way it lies."""
    cells = (
        images.unfold(2, STRIDE, STRIDE).unfold(3, STRIDE, STRIDE).flatten(4)
    )  # (B, 3, gh, gw, 64)
    height, width = images.shape[-2:]
    # The brightest pixel of each cell.
    place = cells[:, 0].argmax(dim=-1)
    corners = anchor_grid(height, width, STRIDE) - STRIDE / 2
    points = corners + torch.stack([place % STRIDE, place // STRIDE], dim=-1)
    logits = torch.stack([cells[:, i].mean(dim=-1) for i in range(3)], dim=-1)
    return PointPredictions(
        points.flatten(1, 2), points.flatten(1, 2), logits.flatten(1, 2), images[:, 1], logits, []
    )


def test_what_all_views_agree_on_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 3, HEIGHT, WIDTH)
    learner = generator()
    monkeypatch.setattr(learner, "predict", of_pixels)
    expected, found = of_pixels(images), learner.predict_views(images)
    torch.testing.assert_close(found.points, expected.points)
    torch.testing.assert_close(found.logits.exp(), expected.logits.softmax(dim=-1))
    torch.testing.assert_close(found.mask_logits, expected.mask_logits)


@torch.no_grad()
def test_the_result_turns_with_the_image() -> None:
    images = torch.randn(1, 3, HEIGHT, WIDTH)
    learner = generator()
    found = learner.predict_views(images)
    grid = (HEIGHT // STRIDE, WIDTH // STRIDE)
    for view in VIEWS:
        turned = learner.predict_views(view.of_maps(images))
        sides = grid[::-1] if view.transposed else grid
        logits = view.undo(turned.logits.unflatten(1, sides).movedim(-1, 1))
        torch.testing.assert_close(
            logits.movedim(1, -1).flatten(1, 2), found.logits, atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(
            view.undo(turned.mask_logits), found.mask_logits, atol=1e-4, rtol=1e-4
        )
        points = view.undo_points(turned.points, HEIGHT, WIDTH).unflatten(1, sides).movedim(-1, 1)
        points = view.undo(points).movedim(1, -1).flatten(1, 2)
        torch.testing.assert_close(points, found.points, atol=1e-3, rtol=1e-4)
    assert (found.logits - learner.predict(images).logits.log_softmax(-1)).abs().max() > 1e-3


@torch.no_grad()
def test_a_key_asks_for_it_and_training_does_not() -> None:
    images = ImageList.from_tensors([torch.randn(3, 50, 70)])
    averaging, plain = generator(averages_views=True), generator()
    padded = plain.pad(images)
    torch.testing.assert_close(averaging.find(padded).points, plain.predict_views(padded).points)
    torch.testing.assert_close(plain.find(padded).points, plain.predict(padded).points)
    averaging.train()
    assert averaging.find(padded).logits.shape == plain.predict(padded).logits.shape
    assert averaging.find(padded).logits.max() > 0  # no logarithm of a mean of probabilities
    (proposals,), losses = averaging.eval()(images)
    assert not losses
    assert proposals.image_size == (50, 70)
