"""The whole model on a small scale: batches of all kinds, what trains, sizes, configs."""

import copy

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances
from label_oracle import frames
from tiny_segmenter import (
    GivenPoints,
    GridPoints,
    encode,
    random_image,
    squares,
    tiny_cfrsam,
    tiny_head,
)
from torch import nn

from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.mask_head import PointPromptedMaskHead
from cfrsam_d2.modeling.mask_head.fusions import FUSIONS, Concatenation
from cfrsam_d2.modeling.mask_head.refiners import MLP, REFINERS
from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.sam.adapters import ADAPTERS
from cfrsam_d2.modeling.sliding_window import SlidingWindow
from cfrsam_d2.modeling.training_prompts import (
    BOX_SOURCES,
    POINT_AND_BOX_SOURCES,
    POINT_SOURCES,
    centroid_prompts,
    random_prompts,
)


def batch(*images: tuple[tuple[int, int], list[tuple[int, int]]]) -> list[dict]:
    """Training inputs: sizes, and the upper left corners of 8 px squares."""
    return [
        {"image": random_image(*size), "instances": squares(size, corners)}
        for size, corners in images
    ]


@torch.no_grad()
def nuclei_of(model: CFRSAM, *inputs: dict) -> list[Instances]:
    return [each["instances"] for each in model(list(inputs))]


def test_training_gives_all_losses_and_reaches_all_that_trains():
    """At full frame and in crops, kept activations and not."""
    for options in (
        {},
        {"train_crop_sizes": (32,), "crop_halo": 8},
        {"checkpoint_activations": True},
    ):
        model = tiny_cfrsam(mask_head=tiny_head(**options)).train()
        losses = model(batch(((64, 64), [(8, 8), (32, 32)]), ((64, 64), [(10, 34)])))
        assert list(losses) == model.mask_head.loss_names
        assert set(losses) == {
            "loss_initial_focal",
            "loss_initial_dice",
            "loss_initial_iou",
            "loss_refined_focal",
            "loss_refined_dice",
            "loss_refined_iou",
            "loss_boundary",
        }
        assert all(loss.isfinite() and loss > 0 for loss in losses.values())
        sum(losses.values()).backward()
        frozen = ("proposal_generator.", "backbone.vit.", "mask_head.prompt_encoder.")
        for name, parameter in model.named_parameters():
            if name.startswith(frozen):
                assert not parameter.requires_grad, name
            elif "output_hypernetworks_mlps" in name and "mlps.0." not in name:
                assert parameter.grad is None, name  # of SAM's three further masks
            else:
                assert parameter.requires_grad, name
                assert parameter.grad is not None, name


def test_a_training_step_changes_only_what_trains():
    model = tiny_cfrsam().train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam((each for each in model.parameters() if each.requires_grad), 1e-2)
    sum(model(batch(((64, 64), [(8, 8)]))).values()).backward()
    optimizer.step()
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed
    assert all(name.startswith(("backbone.adapters.", "mask_head.")) for name in changed)
    assert not any(name.startswith("mask_head.prompt_encoder.") for name in changed)


def test_a_batch_without_prompts_is_skipped():
    """Momentum and weight decay included: the optimizer finds nothing to do."""
    model = tiny_cfrsam().train()
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-2, weight_decay=0.1)
    sum(model(batch(((64, 64), [(18, 18)]))).values()).backward()
    optimizer.step()
    optimizer.zero_grad()
    before = copy.deepcopy(model.state_dict())
    no_nuclei = [((64, 64), []), ((64, 64), [])]
    without_prompt = batch(((64, 64), [(50, 50)]))
    without_prompt[0]["instances"].proposal_prompts[:] = torch.nan
    for images in (batch(*no_nuclei), without_prompt):
        losses = model(images)
        assert list(losses) == model.mask_head.loss_names
        assert all(loss == 0 for loss in losses.values())
        sum(losses.values()).backward()
        optimizer.step()
        after = model.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())


def test_beside_other_processes_a_batch_without_prompts_brings_zero_gradients(
    monkeypatch: pytest.MonkeyPatch,
):
    """They wait for the gradients of all; None would leave them waiting for ever."""
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    model = tiny_cfrsam().train()
    losses = model(batch(((64, 64), [])))
    assert all(loss == 0 for loss in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert not parameter.grad.any(), name


def test_a_half_empty_batch_trains():
    """The image without nuclei gives nothing but its part in batch norm."""
    model = tiny_cfrsam().train()
    losses = model(batch(((64, 64), []), ((64, 64), [(8, 8), (32, 32)]), ((64, 64), [])))
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert model.backbone.adapters[0]["attn"].up.weight.grad.any()


def test_images_of_different_sizes_train():
    """Also smaller than the adapters' kernels."""
    model = tiny_cfrsam().train()
    for sizes in ([(64, 64), (100, 72)], [(40, 30), (20, 48)], [(64, 130), (130, 64), (65, 65)]):
        losses = model(batch(*[(size, [(8, 8)]) for size in sizes]))
        assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_training_prompts_keep_to_their_images():
    """Points of a padded batch, one image's index each, and the masks of their own nuclei."""
    nowhere = (torch.nan, torch.nan)
    inputs = batch(
        ((64, 64), [(36, 46), (8, 8), (20, 50)]), ((64, 64), [(8, 8)]), ((40, 90), [(66, 4)])
    )
    gt_instances = [each["instances"] for each in inputs]
    for gt, prompts in zip(
        gt_instances,
        ([(40.0, 50.0), (12.0, 12.0), nowhere], [nowhere], [(70.0, 8.0)]),
        strict=True,
    ):
        gt.proposal_prompts = torch.tensor(prompts)
    model = tiny_cfrsam().train()
    points, prompt_image, masks, classes = model.draw_training_prompts(gt_instances, (64, 96))
    assert masks.shape == (3, 64, 96)
    found = {
        (image, *point): (*mask.nonzero()[0].flip(0).tolist(), int(mask.sum()), category)
        for image, point, mask, category in zip(
            prompt_image.tolist(), points.tolist(), masks, classes.tolist(), strict=True
        )
    }
    assert found == {
        (0, 12.0, 12.0): (8, 8, 64, 1),
        (0, 40.0, 50.0): (36, 46, 64, 0),
        (2, 70.0, 8.0): (66, 4, 64, 0),
    }


def test_at_most_so_many_nuclei_per_image():
    model = tiny_cfrsam(train_prompts=centroid_prompts, max_train_nuclei=2).train()
    size = (64, 64)
    gt = [squares(size, [(0, 0), (20, 0), (40, 0)]), squares(size, [(4, 4)])]
    points, prompt_image, *_ = model.draw_training_prompts([*gt, gt[0]], size)
    assert prompt_image.tolist() == [0, 0, 1, 2, 2]
    assert points[2].tolist() == [7.5, 7.5]


def test_prompt_learner_stays_frozen_and_in_evaluation_mode():
    learner = GridPoints()
    assert learner.training
    model = tiny_cfrsam(learner)
    for each in (model, model.train(), model.eval(), model.train()):
        assert not any(module.training for module in each.proposal_generator.modules())
        assert not any(p.requires_grad for p in each.proposal_generator.parameters())
    assert model.backbone.training
    assert model.mask_head.training
    # As inside a wrapper, which sets its parts' modes one by one.
    nn.Sequential(model).train()
    assert not learner.training


def test_evaluation_gives_instances():
    model = tiny_cfrsam(mask_head=tiny_head(final_mask="initial"), nms_thresh=1.0).eval()
    (instances,) = nuclei_of(model, {"image": random_image(72, 100)})
    assert instances.image_size == instances.pred_masks.image_size == (72, 100)
    assert len(instances) == 12  # 3 by 4 points
    assert (instances.scores[:-1] >= instances.scores[1:]).all()
    grid = model.proposal_generator.points(0, 72, 100).tolist()
    assert sorted(instances.pred_points.tolist()) == sorted(grid)
    assert instances.pred_points.tolist() != grid  # best first
    for point, label, mask, box in zip(
        instances.pred_points.tolist(),
        instances.pred_classes.tolist(),
        frames(instances),
        instances.pred_boxes.tensor.tolist(),
        strict=True,
    ):
        assert label == grid.index(point) % 3
        rows, columns = mask.nonzero().unbind(dim=1)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_nuclei_come_back_in_the_pixels_of_the_file():
    model = tiny_cfrsam(mask_head=tiny_head(final_mask="initial"), nms_thresh=1.0).eval()
    image = random_image(64, 96)
    plain, same, double, half = (
        nuclei_of(model, {"image": image, **size})[0]
        for size in (
            {},
            {"height": 64, "width": 96},
            {"height": 128, "width": 192},
            {"height": 32, "width": 48},
        )
    )
    assert len(plain) > 0
    assert torch.equal(frames(same), frames(plain))
    assert torch.equal(same.pred_points, plain.pred_points)
    assert double.image_size == (128, 192)
    assert torch.equal(frames(double)[:, ::2, ::2], frames(plain))
    assert torch.equal(frames(double)[:, 1::2, 1::2], frames(plain))
    torch.testing.assert_close(double.pred_points, 2 * plain.pred_points + 0.5)
    torch.testing.assert_close(double.pred_boxes.tensor, 2 * plain.pred_boxes.tensor)
    assert torch.equal(double.scores, plain.scores)
    assert half.image_size == (32, 48)
    assert half.pred_masks.nonempty().all()


def test_several_images_at_once_give_the_same_as_one_by_one():
    """Of one window and of two."""
    window = SlidingWindow(64, 24, edge_tolerance=0, batch=4)
    head = tiny_head(final_mask="initial")
    model = tiny_cfrsam(mask_head=head, sliding_window=window, nms_thresh=1.0).eval()
    for size in [(64, 64), (64, 104)]:
        inputs = [{"image": random_image(*size)} for _ in range(3)]
        together = nuclei_of(model, *inputs)
        for ours, each in zip(together, inputs, strict=True):
            (theirs,) = nuclei_of(model, each)
            assert len(ours) > 0
            assert torch.equal(ours.pred_points, theirs.pred_points)
            assert torch.equal(ours.pred_classes, theirs.pred_classes)
            torch.testing.assert_close(ours.scores, theirs.scores, atol=1e-5, rtol=1e-5)
            # Logits that are 0 but for rounding may fall to either side.
            assert (frames(ours) != frames(theirs)).float().mean() < 1e-3


@torch.no_grad()
def test_initial_masks_can_be_final():
    """Then BGMR does not run, and the masks are the decoder's."""
    model = tiny_cfrsam(mask_head=tiny_head(final_mask="initial"), nms_thresh=1.0).eval()
    model.mask_head.bgmr.register_forward_hook(lambda *args: pytest.fail("BGMR ran"))
    image = random_image(64, 64)
    (instances,) = nuclei_of(model, {"image": image})
    one = torch.zeros(len(instances), dtype=torch.long)
    predictions = model.mask_head.predict(encode(model, image), instances.pred_points, one)
    assert torch.equal(frames(instances), predictions.logits["initial"] > 0)
    torch.testing.assert_close(instances.scores, predictions.decoded.pred_iou)


def test_of_nuclei_in_one_place_the_best_scored_stays():
    """Whatever their classes: a prompt given twice, with two classes, gives one nucleus."""
    model = tiny_cfrsam(
        GivenPoints([(30.0, 30.0), (30.0, 30.0)]),
        tiny_head(final_mask="initial"),
        nms_thresh=1.0,
    ).eval()
    image = {"image": random_image(64, 64)}
    (both,) = nuclei_of(model, image)
    model.nms_thresh = 0.5
    (one,) = nuclei_of(model, image)
    assert sorted(both.pred_classes.tolist()) == [0, 1]
    assert len(one) == 1


def test_an_image_without_proposals_beside_one_with_some():
    """Of all sizes."""
    model = tiny_cfrsam(GivenPoints([], [(5.0, 6.0)]), tiny_head(final_mask="initial")).eval()
    for size in [(20, 33), (64, 64), (130, 100)]:
        empty, other = nuclei_of(
            model, {"image": random_image(*size)}, {"image": random_image(30, 40)}
        )
        assert empty.image_size == empty.pred_masks.image_size == size
        assert empty.pred_points.shape == (0, 2)
        assert empty.pred_boxes.tensor.shape == (0, 4)
        assert empty.pred_classes.dtype == torch.int64
        assert {len(value) for value in empty.get_fields().values()} == {0}
        assert other.image_size == (30, 40)
        assert other.pred_points.tolist() == [[5, 6]]


def test_every_config_key_reaches_the_model(cfg: CfgNode):
    node = cfg.MODEL.CFRSAM
    node.MAX_TRAIN_NUCLEI, node.NMS_THRESH, node.TRAIN_PROMPTS = 7, 0.3, "random"
    node.NEGATIVE_PROMPTS = 2
    window = cfg.MODEL.SLIDING_WINDOW
    window.SIZE, window.OVERLAP, window.EDGE_TOLERANCE, window.BATCH = 128, 16, 5, 3
    window.FRAME, window.REPEAT_PROMPTS = 64, True
    cfg.TEST.AUG.ENABLED = True
    cfg.MODEL.MASK_HEAD.CLASS_HEAD = True
    head = cfg.MODEL.MASK_HEAD
    head.FOCAL_WEIGHT, head.BOUNDARY_WEIGHT, head.CROP_SIZES = 2.0, 3.0, [64, 32]
    head.TRAIN_CROP_SIZES = [96, 80]
    head.CROP_HALO, head.PROMPTS_PER_CHUNK, head.FINAL_MASK = 8, 5, "initial"
    head.FUSION, head.REFINEMENT = "concatenate", "MLP"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [10.0, 20.0, 30.0], [1.0, 2.0, 4.0]
    model = build_model(cfg)
    assert isinstance(model, CFRSAM)
    assert (model.max_train_nuclei, model.nms_thresh) == (7, 0.3)
    assert model.train_prompts is random_prompts
    assert model.sliding_window == SlidingWindow(128, 16, 5, 3, frame=64, repeat_prompts=True)
    assert model.test_time_augmentation
    assert (model.mask_head.focal_weight, model.mask_head.boundary_weight) == (2.0, 3.0)
    assert model.mask_head.crop_sizes == [32, 64]
    assert model.mask_head.train_crop_sizes == [80, 96]
    assert model.negative_prompts == 2
    assert model.proposal_generator.gives_class_probs
    assert model.mask_head.class_head is not None
    assert (model.mask_head.crop_halo, model.mask_head.prompts_per_chunk) == (8, 5)
    assert model.mask_head.final_mask == "initial"
    assert isinstance(model.mask_head.fusion, Concatenation)
    assert isinstance(model.mask_head.bgmr, MLP)
    normalised = model.normalize(torch.full((3, 4, 5), 34, dtype=torch.uint8))
    assert normalised[:, 0, 0].tolist() == [24, 7, 1]
    assert not any("pixel" in name for name in model.state_dict())


def test_activations_are_kept_unless_a_key_says_otherwise(cfg: CfgNode):
    for cfg.MODEL.MASK_HEAD.CHECKPOINT_ACTIVATIONS in (False, True):
        head = PointPromptedMaskHead(cfg)
        assert head.bgmr.checkpoint_activations == cfg.MODEL.MASK_HEAD.CHECKPOINT_ACTIVATIONS


def test_crops_of_training_are_not_those_of_inference():
    """All of a step in the smallest size that holds its largest nucleus, each in its own later."""
    head = tiny_head(crop_sizes=(24, 32), train_crop_sizes=(40, 48), crop_halo=4)
    model = tiny_cfrsam(GivenPoints([(12.0, 12.0), (40.0, 40.0)]), head)
    seen = []
    head.bgmr.register_forward_hook(lambda module, args, out: seen.append(args[0].shape))
    nuclei = squares((64, 64), [(9, 9), (37, 37)], side=6)
    nuclei.gt_masks.tensor[1, 22:58, 22:58] = True
    inputs = [{"image": random_image(64, 64), "instances": nuclei}]
    model.train()(inputs)
    assert seen == [(2, 32, 48, 48)]
    nuclei_of(model.eval(), inputs[0])
    assert seen[1][2:] in [(24, 24), (32, 32), (64, 64)]


def test_negative_prompts_are_the_nearest_points_of_an_image(cfg: CfgNode):
    """In training and in inference, where prompts are decoded in chunks."""
    points = [(12.0, 12.0), (18.0, 12.0), (40.0, 40.0)]
    model = tiny_cfrsam(GivenPoints(points), tiny_head(prompts_per_chunk=1), negative_prompts=1)
    seen = []
    model.mask_head.prompt_encoder.register_forward_hook(
        lambda module, args, output: seen.append(args[0])
    )
    inputs = {"image": random_image(64, 64)}
    nuclei = squares((64, 64), [(9, 9), (16, 9), (38, 38)], side=6)
    nuclei.proposal_prompts = torch.tensor(points)
    model.train()([{**inputs, "instances": nuclei}])
    nuclei_of(model.eval(), inputs)
    expected = [[points[0], points[1]], [points[1], points[0]], [points[2], points[1]]]
    expected = torch.tensor(expected).tolist()
    (in_training, labels), *in_inference = seen
    assert sorted(in_training.tolist()) == expected
    assert [each.tolist() for each, _ in in_inference] == [[each] for each in expected]
    assert labels.tolist() == [[1, 0]] * 3


def test_boxes_have_no_negative_prompts(cfg: CfgNode):
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "BoxProposalGenerator"
    cfg.MODEL.CFRSAM.NEGATIVE_PROMPTS = 1
    for cfg.MODEL.CFRSAM.BOX_BESIDE_POINT in (False, True):
        with pytest.raises(
            UserError, match=r"^MODEL.CFRSAM.NEGATIVE_PROMPTS is 1, but boxes prompt"
        ):
            build_model(cfg)


def test_points_alone_have_no_box_beside_them(cfg: CfgNode):
    cfg.MODEL.CFRSAM.BOX_BESIDE_POINT = True
    with pytest.raises(
        UserError,
        match=r"^MODEL\.CFRSAM\.BOX_BESIDE_POINT is True, but MODEL\.PROPOSAL_GENERATOR\.NAME is "
        "CentroidProposalGenerator, which proposes no boxes: take BoxProposalGenerator",
    ):
        build_model(cfg)


def test_names_that_a_key_does_not_know_are_refused(cfg: CfgNode):
    """Random points, too, where boxes prompt."""
    for key, name, choices in [
        ("MODEL.MASK_HEAD.FUSION", "sum", FUSIONS),
        ("MODEL.MASK_HEAD.REFINEMENT", "bgmr", REFINERS),
        ("MODEL.SAM.ADAPTER", "mala", ADAPTERS),
        ("MODEL.CFRSAM.TRAIN_PROMPTS", "boxes", POINT_SOURCES),
        ("MODEL.CFRSAM.TRAIN_PROMPTS", "random", BOX_SOURCES),
    ]:
        wrong = cfg.clone()
        wrong.merge_from_list([key, name])
        if choices is BOX_SOURCES:
            wrong.MODEL.PROPOSAL_GENERATOR.NAME = "BoxProposalGenerator"
        message = f"^{key} is '{name}': choose one of {', '.join(choices)}$"
        with pytest.raises(UserError, match=message):
            build_model(wrong)


def test_built_from_a_config_it_trains_and_predicts_with_its_own_learner(cfg: CfgNode):
    cfg.MODEL.CFRSAM.TRAIN_PROMPTS = "centroid"
    model = build_model(cfg)
    losses = model(batch(((64, 64), [(8, 8)]), ((64, 80), [])))
    assert all(loss.isfinite() for loss in losses.values())
    (found,) = nuclei_of(model.eval(), {"image": random_image(64, 80)})
    assert found.pred_masks.image_size == (64, 80)


def test_boxes_train_and_predict(cfg: CfgNode):
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "BoxProposalGenerator"
    for cfg.MODEL.CFRSAM.TRAIN_PROMPTS, boxes in [
        ("learner", [[4, 4, 19, 19], [26, 36, 41, 51]]),
        ("centroid", [[8, 8, 15, 15], [30, 40, 37, 47]]),
    ]:
        model = build_model(cfg)
        seen = []
        model.mask_head.prompt_encoder.register_forward_hook(
            lambda module, args, kwargs, output, seen=seen: seen.append((*args, kwargs["boxes"])),
            with_kwargs=True,
        )
        inputs = batch(((64, 64), [(8, 8), (30, 40)]), ((64, 80), []))
        for each in inputs:  # twice as wide as the nuclei
            corners = each["instances"].gt_boxes.tensor.float()
            each["instances"].proposal_prompts = corners + torch.tensor([-4.0, -4.0, 3.0, 3.0])
        losses = model(inputs)
        assert all(loss.isfinite() for loss in losses.values())
        ((points, in_training),) = seen
        assert points is None
        assert sorted(in_training.tolist()) == boxes
        (found,) = nuclei_of(model.eval(), {"image": random_image(64, 80)})
        assert found.pred_masks.image_size == (64, 80)
        points, in_inference = seen[-1]
        assert points is None
        assert in_inference.shape[1:] == (4,)


def test_boxes_beside_points_train_and_predict(cfg: CfgNode):
    """Of each of the sources; SAM's prompt encoder sees each point with label 1 and its box."""
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "BoxProposalGenerator"
    cfg.MODEL.CFRSAM.BOX_BESIDE_POINT, cfg.MODEL.CFRSAM.TRAIN_PROMPTS = True, "centroid"
    model, seen = build_model(cfg), []
    model.mask_head.prompt_encoder.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((*args, kwargs["boxes"])),
        with_kwargs=True,
    )
    inputs = batch(((64, 64), [(8, 8), (30, 40)]), ((64, 80), []))
    prompts = torch.tensor([[9.0, 8, 4, 4, 19, 19], [31, 40, 26, 36, 41, 51]])
    inputs[0]["instances"].proposal_prompts = prompts
    inputs[1]["instances"].proposal_prompts = prompts[:0]
    gt_boxes = [[8, 8, 15, 15], [30, 40, 37, 47]]
    for name, points, boxes in [
        ("learner", [[9, 8], [31, 40]], [[4, 4, 19, 19], [26, 36, 41, 51]]),
        ("centroid", [[11.5, 11.5], [33.5, 43.5]], gt_boxes),
        ("random", None, gt_boxes),
    ]:
        model.train_prompts = POINT_AND_BOX_SOURCES[name]
        losses = model.train()(inputs)
        assert all(loss.isfinite() for loss in losses.values())
        (in_training, labels), in_boxes = seen[-1]
        assert labels.tolist() == [[1], [1]]
        assert sorted(in_boxes.tolist()) == boxes
        assert points is None or sorted(in_training[:, 0].tolist()) == points
    sum(losses.values()).backward()
    assert all(each.grad.isfinite().all() for each in model.mask_head.bgmr.parameters())
    (found,) = nuclei_of(model.eval(), {"image": random_image(64, 80)})
    assert found.pred_masks.image_size == (64, 80)
    (points, labels), boxes = seen[-1]
    assert (points.shape[1:], labels.shape[1:], boxes.shape[1:]) == ((1, 2), (1,), (4,))
    assert (boxes[:, :2] <= points[:, 0]).all()
    assert (points[:, 0] <= boxes[:, 2:]).all()


def test_a_bar_over_windows_is_shown_if_wanted_and_there_are_several(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tiny_cfrsam(sliding_window=SlidingWindow(64, 16, edge_tolerance=3, batch=1)).eval()
    for shows_progress, side, shown in [(False, 96, False), (True, 64, False), (True, 96, True)]:
        model.shows_progress = shows_progress
        nuclei_of(model, {"image": random_image(side, side)})
        assert ("windows" in capsys.readouterr().err) == shown
