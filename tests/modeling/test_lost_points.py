"""Nuclei whose point has left the image, though pixels of theirs are in it."""

import pytest
import torch
from detectron2.structures import BitMasks, ImageList, Instances

from cfrsam_d2.modeling.prompt_learner import CentroidProposalGenerator
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext
from cfrsam_d2.modeling.training_prompts import centroid_prompts, random_prompts

SIZE = (40, 64)
LOST = [float("nan")] * 2


def nuclei(*points: list[float]) -> Instances:
    """Nuclei of class 0, 1, … on pixels of their own."""
    masks = torch.zeros(len(points), *SIZE, dtype=torch.bool)
    for number, mask in enumerate(masks):
        mask[4 : 4 + 4 * (number + 1), 10 * number] = True
    return Instances(
        SIZE,
        gt_points=torch.tensor(points).reshape(-1, 2),
        gt_classes=torch.arange(len(points)),
        gt_masks=BitMasks(masks),
    )


def test_no_anchor_answers_for_them_and_the_auxiliary_mask_has_their_pixels(
    monkeypatch: pytest.MonkeyPatch,
):
    torch.manual_seed(0)
    backbone = build_convnext("convnext_small", depths=[1, 1, 1, 1], dims=[8, 8, 16, 16])
    generator = CentroidProposalGenerator(backbone=backbone, num_classes=3, hidden_dim=16).train()
    images, targets = ImageList.from_tensors([torch.randn(3, *SIZE)]), []
    monkeypatch.setattr(
        "cfrsam_d2.modeling.prompt_learner.generator.mask_loss",
        lambda logits, masks: targets.append(masks) or logits.sum(),
    )

    def losses(gt: Instances) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)  # of dropout
        return generator(images, None, [gt])[1]

    gt = nuclei([5.0, 5.0], LOST, [30.0, 20.0])
    with_lost, without = losses(gt), losses(gt[torch.tensor([0, 2])])
    for name in ("loss_point_cls", "loss_point_reg"):
        assert torch.equal(with_lost[name], without[name])
    assert [int(each.sum()) for each in targets] == [4 + 8 + 12, 4 + 12]
    assert losses(nuclei(LOST))["loss_point_reg"] == 0


def test_they_have_no_centroid_to_prompt_with_but_pixels():
    gt = nuclei(LOST, [5.0, 5.0])
    points, nucleus = centroid_prompts(gt)
    assert points.tolist() == [[5, 5]]
    assert nucleus.tolist() == [1]
    points, nucleus = random_prompts(gt)
    assert nucleus.tolist() == [0, 1]
    x, y = points.long().unbind(dim=1)
    assert gt.gt_masks.tensor[nucleus, y, x].all()
