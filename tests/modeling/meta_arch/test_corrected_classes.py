"""Classes that stage 2's class head corrects: who wins, in windows and views, and its training."""

import pytest
import torch
from detectron2.config import CfgNode
from label_oracle import LabelOracle, image_of, oracle_model, proposals_at, segment
from tiny_segmenter import random_image, squares, tiny_cfrsam, tiny_head
from torch import Tensor

from cfrsam_d2.modeling.mask_head import ImageMaps, PointPromptedMaskHead
from cfrsam_d2.modeling.mask_head.class_head import ClassHead
from cfrsam_d2.modeling.mask_head.head import MaskPredictions
from cfrsam_d2.modeling.meta_arch.test_time_augmentation import average_views
from cfrsam_d2.modeling.sliding_window import SlidingWindow
from cfrsam_d2.modeling.views import VIEWS
from cfrsam_d2.structures.coco import UNKNOWN_CLASS


class Votes(LabelOracle):
    """An oracle of masks that gives the n-th prompt of each call the n-th vote."""

    def __init__(self, *votes: list[float]) -> None:
        super().__init__()
        self.votes = torch.tensor(votes).log()

    def predict(self, maps: ImageMaps, prompts: Tensor, prompt_image: Tensor) -> MaskPredictions:
        predictions = super().predict(maps, prompts, prompt_image)
        predictions.class_log_probs = self.votes[: len(prompts)]
        return predictions

    def inference(self, maps: ImageMaps, prompts: Tensor, prompt_image: Tensor):
        masks, scores, _ = super().inference(maps, prompts, prompt_image)
        return masks, scores, self.votes[: len(prompts)]


LABELS = torch.zeros(64, 64)
LABELS[10:20, 10:20], LABELS[10:20, 40:50], LABELS[40:50, 10:20] = 1, 2, 3
POINTS = torch.tensor([[15.0, 15.0], [45.0, 15.0], [15.0, 45.0]])


@pytest.mark.parametrize("in_views", [False, True])
def test_the_likeliest_class_by_both_wins(in_views: bool):
    oracle = Votes([0.6, 0.3, 0.1], [0.9, 0.1, 0.0], [0.3, 0.3, 0.4])
    model = oracle_model(oracle, test_time_augmentation=in_views)
    # 0.24 : 0.18 : 0; 0.09 : 0.08 : 0; 0.03 : 0.15 : 0.16.
    probs = torch.tensor([[0.4, 0.6, 0.0], [0.1, 0.8, 0.1], [0.1, 0.5, 0.4]])
    for fields, expected in (({"proposal_class_probs": probs}, [0, 0, 2]), ({}, [0, 1, 2])):
        proposals = proposals_at((64, 64), POINTS, **fields)
        (found,) = segment(model, [image_of(LABELS)], [proposals])
        order = found.pred_points.tolist()
        assert [found.pred_classes[order.index(point)] for point in POINTS.tolist()] == expected


def test_the_class_is_of_the_best_mask():
    """One nucleus in two windows, in which the head votes otherwise."""
    labels = torch.zeros(64, 160)
    labels[20:30, 75:85] = 1
    votes = iter(([0.9, 0.1], [0.2, 0.8]))
    scores = iter((0.3, 0.7))
    oracle = LabelOracle(score=lambda numbers: torch.full_like(numbers, next(scores)))
    inference = oracle.inference
    oracle.inference = lambda *inputs: (
        *inference(*inputs)[:2],
        torch.tensor([next(votes)]).log(),
    )
    window = SlidingWindow(96, 32, edge_tolerance=3, repeat_prompts=True)
    proposals = proposals_at(
        (64, 160), torch.tensor([[80.0, 25.0]]), proposal_class_probs=torch.tensor([[0.5, 0.5]])
    )
    model = oracle_model(oracle, sliding_window=window)
    (found,) = segment(model, [image_of(labels)], [proposals])
    assert found.scores.tolist() == pytest.approx([0.7])
    assert found.pred_classes.tolist() == [1]


def test_views_vote_by_the_mean_of_their_logarithms():
    answers = iter(torch.tensor([[0.5, 0.5]] * 7 + [[0.1, 0.9]]).log())
    oracle = LabelOracle()
    predict = oracle.predict

    def voting(*inputs: Tensor) -> MaskPredictions:
        predictions = predict(*inputs)
        predictions.class_log_probs = next(answers)[None]
        return predictions

    oracle.predict = voting
    maps = [ImageMaps((64, 64), image_of(LABELS)[None])] * len(VIEWS)
    *_, found = average_views(oracle, maps, POINTS[:1], torch.zeros(1).long())
    expected = (7 * torch.tensor([0.5, 0.5]).log() + torch.tensor([0.1, 0.9]).log()) / 8
    torch.testing.assert_close(found[0], expected)


def test_training_reaches_the_head_and_leaves_unknown_classes_out():
    model = tiny_cfrsam(mask_head=tiny_head(refiner="none", class_head=ClassHead(3))).train()
    inputs = {"image": random_image(64, 64), "instances": squares((64, 64), [(8, 8), (40, 8)])}
    losses = model([inputs])
    assert list(losses) == model.mask_head.loss_names
    assert losses["loss_class"] > 0
    losses["loss_class"].backward()
    trained = {
        name for name, each in model.named_parameters() if each.grad is not None and each.grad.any()
    }
    assert {f"mask_head.class_head.{name}" for name in ClassHead(3).state_dict()} <= trained
    assert any(name.startswith("backbone.adapters.") for name in trained)

    inputs["instances"].gt_classes[:] = UNKNOWN_CLASS
    with torch.no_grad():
        losses = model([inputs])
    assert losses["loss_class"] == 0
    assert losses["loss_initial_dice"] > 0

    nothing = model([{**inputs, "instances": squares((64, 64), [])}])
    assert list(nothing) == model.mask_head.loss_names
    assert all(loss == 0 for loss in nothing.values())


def test_without_it_a_model_has_nothing_of_it(cfg: CfgNode):
    plain = PointPromptedMaskHead(cfg)
    assert plain.class_head is None
    assert not any("class" in name for name in plain.state_dict())
    assert "loss_class" not in plain.loss_names
    cfg.MODEL.MASK_HEAD.CLASS_HEAD = True
    cfg.MODEL.PROMPT_LEARNER.NUM_CLASSES = 4
    head = PointPromptedMaskHead(cfg)
    assert set(head.state_dict()) - set(plain.state_dict()) == {
        f"class_head.{name}" for name in ClassHead(4).state_dict()
    }
    assert head.class_head.mlp[-1].out_features == 4
