"""The prompt learner of boxes: what it adds to points, with known answers."""

import copy
import math

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_proposal_generator
from detectron2.structures import ImageList, Instances
from tiny_segmenter import squares
from torch import nn

from cfrsam_d2.modeling.prompt_learner import BoxProposalGenerator, CentroidProposalGenerator
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext
from cfrsam_d2.modeling.prompt_learner.box_generator import boxes_around
from cfrsam_d2.structures.prompts import prompts_of

SIZE = (40, 64)


def tiny(kind: type[CentroidProposalGenerator]) -> CentroidProposalGenerator:
    torch.manual_seed(0)
    backbone = build_convnext("convnext_small", depths=[1, 1, 1, 1], dims=[8, 8, 16, 16])
    return kind(backbone=backbone, num_classes=3, hidden_dim=16)


@pytest.fixture
def generator() -> BoxProposalGenerator:
    return tiny(BoxProposalGenerator)


@pytest.fixture
def images() -> ImageList:
    torch.manual_seed(1)
    return ImageList.from_tensors([torch.randn(3, *SIZE) for _ in range(2)])


def say_sizes(generator: BoxProposalGenerator, width: float, height: float) -> None:
    """Let it predict these sizes in px everywhere."""
    nn.init.zeros_(generator.size_head[-1].weight)
    sizes = torch.tensor([width, height]) / generator.anchor_stride
    generator.size_head[-1].bias.data = sizes.log()


def test_all_that_finds_points_is_as_without_boxes(generator: BoxProposalGenerator, images):
    points_alone = tiny(CentroidProposalGenerator)
    weights = generator.state_dict()
    own = points_alone.state_dict()
    assert all(torch.equal(weights[name], own[name]) for name in own)
    assert {name for name in weights if name not in own} == {
        "size_head.0.weight", "size_head.0.bias", "size_head.3.weight", "size_head.3.bias",
    }  # fmt: skip

    gt = [squares(SIZE, [(4, 4), (30, 20)]), squares(SIZE, [(50, 9)])]
    losses = {}
    for each in (generator, points_alone):
        torch.manual_seed(2)  # of dropout
        losses[each] = each.train()(images, None, gt)[1]
    size_loss = losses[generator].pop("loss_box_size")
    assert losses[generator] == losses[points_alone]
    assert size_loss > 0

    proposals, _ = generator.eval()(images)
    expected, _ = points_alone.eval()(images)
    for ours, theirs in zip(proposals, expected, strict=True):
        assert len(ours) == len(theirs) > 0
        for name in ("proposal_points", "proposal_classes", "proposal_scores"):
            assert torch.equal(ours.get(name), theirs.get(name))


def test_the_loss_is_of_the_logarithms_of_both_sides(generator: BoxProposalGenerator, images):
    """Three nuclei of 8×8 px for which 16×6 are predicted."""
    say_sizes(generator, 16, 6)
    gt = [squares(SIZE, [(4, 4), (30, 20)]), squares(SIZE, [(50, 9)])]
    loss = generator.train()(images, None, gt)[1]["loss_box_size"]
    assert loss.item() == pytest.approx(math.log(16 / 8) + math.log(8 / 6), rel=1e-5)


def test_sizes_are_compared_with_those_of_the_matched_nuclei(generator: BoxProposalGenerator):
    """Predictions are right for each anchor's own nucleus, and wrong for every other."""
    gt = [squares(SIZE, [(4, 4), (40, 20)], side=4), squares(SIZE, [(20, 9)], side=12)]
    gt[0].gt_boxes.tensor[1] = torch.tensor([40.0, 20.0, 41.0, 36.0])  # 1×16 px
    matches = [
        (torch.tensor([3, 7]), torch.tensor([1, 0])),
        (torch.tensor([5]), torch.tensor([0])),
    ]
    log_sizes = torch.full((2, 40, 2), 9.0)
    for image, anchor, size in [(0, 3, (1, 16)), (0, 7, (4, 4)), (1, 5, (12, 12))]:
        log_sizes[image, anchor] = (torch.tensor(size) / 8).log()
    generator._log_sizes = lambda predictions: log_sizes
    predictions = generator.eval().predict(torch.randn(2, 3, *SIZE))
    assert generator.losses(predictions, gt, matches)["loss_box_size"].item() < 1e-6


def test_gradients_reach_every_parameter(generator: BoxProposalGenerator, images):
    gt = [squares(SIZE, [(4, 4), (30, 20)]), squares(SIZE, [(50, 9)])]
    losses = generator.train()(images, None, gt)[1]
    sum(losses.values()).backward()
    assert all(each.grad is not None and each.grad.any() for each in generator.parameters())


def test_images_without_nuclei_train(generator: BoxProposalGenerator, images):
    for corners in ([[], [(30, 20)]], [[], []]):
        generator.zero_grad()
        losses = generator.train()(images, None, [squares(SIZE, each) for each in corners])[1]
        assert all(loss.isfinite() for loss in losses.values())
        assert (losses["loss_box_size"] > 0) == any(corners)
        sum(losses.values()).backward()
        assert all(each.grad is not None for each in generator.parameters())


def test_proposals_have_boxes_around_their_points(generator: BoxProposalGenerator, images):
    say_sizes(generator, 16, 6)
    for each in generator.eval()(images)[0]:
        boxes = each.proposal_boxes.tensor
        expected = boxes_around(each.proposal_points, torch.tensor([16.0, 6.0]), SIZE)
        torch.testing.assert_close(boxes, expected)
        assert boxes.shape == (len(each), 4)


def test_each_proposal_has_the_size_of_its_own_anchor(generator: BoxProposalGenerator, images):
    """Sizes that tell the anchor, 2 px and 0.1 px more an anchor."""
    sizes = 2 + 0.1 * torch.arange(40).float()[:, None].expand(2, 40, 2)
    generator._log_sizes = lambda predictions: (sizes / 8).log()
    generator.suppression_radius = 0.1
    predictions = generator.eval().predict(images.tensor)
    for points, each in zip(predictions.points, generator(images)[0], strict=True):
        assert len(each) > 5
        distances = (points - each.proposal_points[:, None]).norm(dim=-1)
        inside = distances.amin(dim=1) < 1e-3  # and not moved into the image
        assert inside.any()
        anchors = distances.argmin(dim=1)
        assert torch.equal(anchors[inside], each.proposal_anchors[inside])
        expected = boxes_around(each.proposal_points, sizes[0][each.proposal_anchors], SIZE)
        torch.testing.assert_close(each.proposal_boxes.tensor, expected)


def test_boxes_end_at_the_image_and_have_a_pixel():
    points = torch.tensor([[10.0, 10.0], [0.0, 39.0], [63.0, 0.0], [20.25, 5.0], [30.0, 20.0]])
    sizes = torch.tensor([[5.0, 3.0], [9.0, 9.0], [4.0, 8.0], [0.0, 0.2], [math.inf, 2.0]])
    assert boxes_around(points, sizes, SIZE).tolist() == [
        [8, 9, 13, 12],
        [0, 35, 5, 40],
        [61.5, 0, 64, 4.5],
        [20.25, 5, 21.25, 6],
        [0, 19.5, 64, 21.5],
    ]


def test_the_prompt_of_a_single_pixel_is_that_pixel_twice():
    proposals = Instances(SIZE, proposal_points=torch.tensor([[20.0, 5.0]]))
    boxes = boxes_around(proposals.proposal_points, torch.tensor([[0.1, 0.1]]), SIZE)
    proposals.proposal_boxes = copy.copy(squares(SIZE, [(0, 0)]).gt_boxes)
    proposals.proposal_boxes.tensor = boxes
    assert prompts_of(proposals).tolist() == [[20, 5, 20, 5]]


def test_without_proposals_there_are_no_boxes(generator: BoxProposalGenerator, images):
    nn.init.zeros_(generator.classification_head[-1].weight)
    generator.classification_head[-1].bias.data = torch.tensor([0.0, 0.0, 0.0, 9.0])
    for each in generator.eval()(images)[0]:
        assert each.proposal_boxes.tensor.shape == (0, 4)
        assert prompts_of(each).shape == (0, 4)


def test_it_is_built_by_its_name(cfg: CfgNode):
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "BoxProposalGenerator"
    cfg.MODEL.PROMPT_LEARNER.HIDDEN_DIM, cfg.MODEL.PROMPT_LEARNER.ANCHOR_STRIDE = 24, 16
    generator = build_proposal_generator(cfg, None)
    assert isinstance(generator, BoxProposalGenerator)
    assert generator.size_head[-1].weight.shape == (2, 24)
    assert (generator.anchor_stride, generator.proposes_boxes) == (16, True)
