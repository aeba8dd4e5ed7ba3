"""The whole prompt learner: contract, odd sizes, empty images, gradients, parameter counts."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from detectron2.structures import BitMasks, ImageList, Instances

from cfrsam_d2.checkpoint.released_prompt_learner import PROMPT_LEARNER_RENAMES
from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.prompt_learner import CentroidProposalGenerator
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext
from cfrsam_d2.modeling.prompt_learner.generator import FeaturePyramid

LOSSES = {"loss_point_cls", "loss_point_reg", "loss_point_mask"}


def tiny(**changes) -> CentroidProposalGenerator:
    torch.manual_seed(0)
    backbone = build_convnext("convnext_small", depths=[1, 1, 1, 1], dims=[8, 8, 16, 16])
    return CentroidProposalGenerator(
        backbone=backbone, **{"num_classes": 3, "hidden_dim": 16, **changes}
    )


def nuclei(size: tuple[int, int], points: list[list[float]]) -> Instances:
    """Nuclei of class 0, 1, 2, 0, … whose masks are single pixels."""
    masks = torch.zeros(len(points), *size, dtype=torch.bool)
    for mask, (x, y) in zip(masks, points, strict=True):
        mask[round(y), round(x)] = True
    return Instances(
        size,
        gt_points=torch.tensor(points).reshape(-1, 2),
        gt_classes=torch.arange(len(points)) % 3,
        gt_masks=BitMasks(masks),
    )


def images_of(*sizes: tuple[int, int]) -> ImageList:
    return ImageList.from_tensors([torch.randn(3, *size) for size in sizes])


def test_pyramid_adds_the_nearest_coarser_cell_even_if_sizes_do_not_halve():
    pyramid = FeaturePyramid(in_channels=[1, 1], out_channels=1, num_outputs=1)
    for conv in pyramid.lateral_convs:
        torch.nn.init.ones_(conv.weight)
    torch.nn.init.dirac_(pyramid.output_convs[0].weight)
    fine, coarse = torch.zeros(1, 1, 3, 5), torch.tensor([[[[1.0, 2.0]]]])
    (out,) = pyramid([fine, coarse])
    assert out[0, 0].tolist() == [[1, 1, 1, 2, 2]] * 3


def test_training_gives_losses_and_gradients_to_every_parameter():
    generator = tiny().train()
    sizes = [(40, 64), (40, 64)]
    gt = [nuclei(sizes[0], [[5.0, 5.0], [30.0, 20.0]]), nuclei(sizes[1], [[60.0, 30.0]])]
    proposals, losses = generator(images_of(*sizes), None, gt)
    assert proposals == []
    assert set(losses) == LOSSES
    sum(losses.values()).backward()
    still = {
        name
        for name, parameter in generator.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    assert still == set()


def test_losses_take_the_configured_weights():
    sizes = [(40, 64)]
    gt = [nuclei(sizes[0], [[5.0, 5.0], [30.0, 20.0]])]
    images = images_of(*sizes)

    def losses(**changes) -> dict[str, float]:
        generator = tiny(**changes).train()
        torch.manual_seed(1)
        return {name: loss.item() for name, loss in generator(images, None, gt)[1].items()}

    plain = losses()
    assert losses(regression_weight=1.0)["loss_point_reg"] == pytest.approx(
        200 * plain["loss_point_reg"]
    )
    assert losses(background_weight=1.0)["loss_point_cls"] != plain["loss_point_cls"]


def test_images_without_nuclei_train():
    generator = tiny().train()
    for counts in [(0, 2), (0, 0)]:
        generator.zero_grad()
        gt = [nuclei((40, 64), [[9.0 * i, 9.0] for i in range(count)]) for count in counts]
        losses = generator(images_of((40, 64), (40, 64)), None, gt)[1]
        assert all(loss.isfinite() for loss in losses.values())
        assert losses["loss_point_cls"] > 0
        assert losses["loss_point_mask"] > 0
        assert (losses["loss_point_reg"] > 0) == any(counts)
        sum(losses.values()).backward()
        assert all(parameter.grad is not None for parameter in generator.parameters())


def test_any_size_trains_and_predicts():
    for anchor_stride in (8, 16):
        generator = tiny(anchor_stride=anchor_stride, num_levels=4)
        for size in [(97, 61), (32, 32), (5, 3), (64, 200)]:
            gt = [nuclei(size, [[1.0, 1.0]])]
            losses = generator.train()(images_of(size), None, gt)[1]
            assert all(loss.isfinite() for loss in losses.values())
            (proposals,), losses = generator.eval()(images_of(size), None)
            assert losses == {}
            assert proposals.image_size == size
            assert len(proposals) > 0
            assert (proposals.proposal_points >= 0).all()
            assert (proposals.proposal_points <= torch.tensor([size[1] - 1, size[0] - 1])).all()


def test_raw_predictions_of_an_odd_size_have_the_specified_shapes():
    predictions = tiny().eval().predict(torch.randn(2, 3, 97, 61))
    anchors = math.ceil(97 / 8) * math.ceil(61 / 8)
    assert predictions.anchors.shape == predictions.points.shape == (2, anchors, 2)
    assert predictions.logits.shape == (2, anchors, 4)
    assert predictions.mask_logits.shape == (2, 97, 61)
    assert [tuple(level.shape) for level in predictions.levels] == [
        (2, 16, 24, 15),
        (2, 16, 12, 7),
        (2, 16, 6, 3),
    ]


def test_the_auxiliary_mask_is_found_where_it_is_read():
    """The loss reads it, and of proposals those that have to lie on it."""
    images = torch.randn(1, 3, 64, 64)
    for averages in (False, True):
        for keeps in (False, True):
            generator = tiny(keep_on_mask_only=keeps, averages_views=averages)
            assert generator.train().find(images).mask_logits is not None
            found = generator.eval().find(images)
            assert (found.mask_logits is not None) == keeps
            whole = generator.predict_views(images) if averages else generator.predict(images)
            torch.testing.assert_close(found.logits, whole.logits)
            if keeps:
                torch.testing.assert_close(found.mask_logits, whole.mask_logits)


def test_each_image_of_a_batch_keeps_its_own_size():
    generator = tiny().eval()
    sizes = [(40, 64), (97, 61), (64, 64)]
    proposals, _ = generator(images_of(*sizes), None)
    assert [each.image_size for each in proposals] == sizes
    for each, (height, width) in zip(proposals, sizes, strict=True):
        assert (each.proposal_points <= torch.tensor([width - 1, height - 1])).all()


def test_images_where_all_is_background_give_empty_proposals():
    generator = tiny().eval()
    torch.nn.init.zeros_(generator.classification_head[-1].weight)
    generator.classification_head[-1].bias.data = torch.tensor([0.0, 0.0, 0.0, 9.0])
    for each in generator(images_of((40, 64), (40, 64)), None)[0]:
        assert len(each) == 0
        assert each.proposal_points.shape == (0, 2)
        assert len(each.proposal_classes) == len(each.proposal_scores) == 0


def test_more_levels_than_the_backbone_has_are_refused():
    with pytest.raises(UserError, match=r"(?i)num_levels is 5.*choose 1 to 4"):
        tiny(num_levels=5)


@pytest.mark.parametrize(
    ("kind", "num_levels", "num_classes", "millions"),
    [("stage1", 3, 5, 55.11), ("stage1_cpm17", 4, 1, 56.29), ("stage1_tiny", None, None, None)],
)
def test_published_names_map_one_to_one(
    fixtures: Path,
    kind: str,
    num_levels: int | None,
    num_classes: int | None,
    millions: float | None,
):
    names = json.loads((fixtures / f"{kind}_names.json").read_text())
    if kind == "stage1_tiny":
        tiny_sizes = json.loads((fixtures / "manifest.json").read_text())["stage1_tiny.npz"]
    else:
        tiny_sizes = {"depths": (), "dims": (), "hidden_dim": 256}
    with torch.device("meta"):
        backbone = build_convnext(
            "convnext_small", depths=tiny_sizes["depths"], dims=tiny_sizes["dims"]
        )
        generator = CentroidProposalGenerator(
            backbone=backbone,
            num_classes=num_classes or tiny_sizes["num_classes"],
            num_levels=num_levels or tiny_sizes["num_levels"],
            hidden_dim=tiny_sizes["hidden_dim"],
        )
    own = {f"proposal_generator.{k}": list(v.shape) for k, v in generator.state_dict().items()}
    renamed = {}
    for name, shape in names.items():
        hits = [
            re.sub(*rename, name) for rename in PROMPT_LEARNER_RENAMES if re.match(rename[0], name)
        ]
        assert len(hits) == 1, name
        renamed[hits[0]] = shape
    assert len(renamed) == len(names)
    assert renamed == own
    if millions:
        count = sum(parameter.numel() for parameter in generator.parameters())
        assert count / 1e6 == pytest.approx(millions, abs=0.005)
