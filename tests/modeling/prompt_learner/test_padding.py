"""Images that end within an anchor cell go on as their mirror image."""

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, ImageList, Instances

from cfrsam_d2.modeling.prompt_learner import CentroidProposalGenerator
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext
from cfrsam_d2.modeling.prompt_learner.padding import reflect_pad


@pytest.fixture
def generator() -> CentroidProposalGenerator:
    torch.manual_seed(0)
    backbone = build_convnext("convnext_small", depths=[1, 1, 1, 1], dims=[8, 8, 16, 16])
    return CentroidProposalGenerator(
        backbone=backbone, num_classes=3, hidden_dim=16, suppression_radius=0.0
    )


def test_a_map_is_padded_as_by_numpy():
    for size in [(1, 1), (1, 7), (2, 3), (5, 3), (30, 31), (32, 40)]:
        maps = np.random.default_rng(0).random((2, *size))
        height, width = 32, 40
        expected = np.pad(maps, ((0, 0), (0, 32 - size[0]), (0, 40 - size[1])), mode="reflect")
        padded = reflect_pad(torch.from_numpy(maps), height, width)
        np.testing.assert_array_equal(padded.numpy(), expected)


@torch.no_grad()
def test_at_a_padded_border_are_the_points_of_an_image_that_goes_on_so(
    generator: CentroidProposalGenerator,
):
    """An image that mirrors itself, and what is before the mirror: the same points, bit by bit."""
    size = (61, 83)
    generator.classification_head[-1].bias[-1] = -9  # no anchor is background
    image = torch.randn(3, *size)
    whole = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 3), (0, 5)), mode="reflect"))
    predictions = generator.eval().predict(whole[None])
    (expected,) = generator.inference(predictions, [size])
    (found,), _ = generator(ImageList.from_tensors([image]), None)
    assert len(found) == 8 * 11
    assert torch.equal(found.proposal_anchors, expected.proposal_anchors)
    assert torch.equal(found.proposal_points, expected.proposal_points)
    assert torch.equal(found.proposal_scores, expected.proposal_scores)


@torch.no_grad()
def test_each_image_of_a_batch_is_mirrored_by_itself(
    generator: CentroidProposalGenerator, monkeypatch: pytest.MonkeyPatch
):
    seen = []
    predict = generator.predict
    monkeypatch.setattr(generator, "predict", lambda each, **_: seen.append(each) or predict(each))
    images = [torch.randn(3, *size) for size in ((40, 64), (33, 35))]
    generator.eval()(ImageList.from_tensors(images), None)
    (batch,) = seen
    assert batch.shape == (2, 3, 40, 64)
    for image, padded in zip(images, batch, strict=True):
        assert torch.equal(padded, reflect_pad(image, 40, 64))


def test_nuclei_of_the_auxiliary_mask_are_mirrored_as_well(
    generator: CentroidProposalGenerator, monkeypatch: pytest.MonkeyPatch
):
    """The network sees them there, though no point is sought for them."""
    seen = []
    monkeypatch.setattr(
        "cfrsam_d2.modeling.prompt_learner.generator.mask_loss",
        lambda logits, masks: seen.append(masks) or logits.sum(),
    )
    size = (40, 61)
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[0, 10, 58] = True
    gt = Instances(
        size,
        gt_points=torch.tensor([[58.0, 10.0]]),
        gt_classes=torch.tensor([0]),
        gt_masks=BitMasks(mask),
    )
    generator.train()(ImageList.from_tensors([torch.randn(3, *size)]), None, [gt])
    assert seen[0].shape == (1, 40, 64)
    assert seen[0].nonzero().tolist() == [[0, 10, 58], [0, 10, 62]]
