"""The whole model on a small scale: batches of all kinds, what trains, sizes, windows."""

import copy
from collections.abc import Iterator

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from detectron2.structures import ImageList, Instances
from tiny_segmenter import GivenPoints, GridBoxes, GridPoints, random_image, squares, tiny_cfrsam
from torch import nn

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.mask_head.fusions import Concatenation
from cfrsam_d2.modeling.mask_head.refiners import MLP
from cfrsam_d2.modeling.meta_arch import CFRSAM


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def batch(*images: tuple[tuple[int, int], list[tuple[int, int]]]) -> list[dict]:
    """Training inputs: sizes, and the upper left corners of 8 px squares."""
    return [
        {"image": random_image(*size), "instances": squares(size, corners)}
        for size, corners in images
    ]


def assert_same(ours: Instances, theirs: Instances) -> None:
    assert ours.image_size == theirs.image_size
    assert torch.equal(ours.pred_points, theirs.pred_points)
    assert torch.equal(ours.pred_classes, theirs.pred_classes)
    # Logits that are 0 but for rounding may fall to either side.
    assert (ours.pred_masks != theirs.pred_masks).float().mean() < 1e-3
    torch.testing.assert_close(ours.scores, theirs.scores, atol=1e-5, rtol=1e-5)


def test_training_gives_all_losses_and_reaches_all_that_trains():
    model = tiny_cfrsam().train()
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
    for name, parameter in model.named_parameters():
        if name.startswith(("proposal_generator.", "backbone.vit.", "mask_head.prompt_encoder.")):
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


@pytest.mark.parametrize(
    "images",
    [
        [((64, 64), []), ((64, 64), [])],  # no nuclei
        [((64, 64), [(50, 50)])],  # a nucleus without a point
    ],
)
def test_a_batch_without_prompts_is_skipped(images: list):
    """Momentum and weight decay included: the optimizer finds nothing to do."""
    model = tiny_cfrsam(GivenPoints([(20.0, 20.0)], [])).train()
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-2, weight_decay=0.1)
    sum(model(batch(((64, 64), [(18, 18)]))).values()).backward()
    optimizer.step()
    optimizer.zero_grad()
    before = copy.deepcopy(model.state_dict())
    losses = model(batch(*images))
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


@pytest.mark.parametrize(
    "sizes", [[(64, 64), (100, 72)], [(40, 30), (50, 48)], [(64, 130), (130, 64), (65, 65)]]
)
def test_images_of_different_sizes_train(sizes: list[tuple[int, int]]):
    """Also smaller than what the encoder takes."""
    model = tiny_cfrsam().train()
    losses = model(batch(*[(size, [(8, 8)]) for size in sizes]))
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_training_prompts_keep_to_their_images():
    """Points of a padded batch, one image's index each, and the masks of their own nuclei."""
    learner = GivenPoints(
        [(12.0, 12.0), (13.0, 12.0), (40.0, 50.0), (60.0, 5.0)], [], [(10.0, 30.0), (70.0, 8.0)]
    )
    model = tiny_cfrsam(learner).train()
    inputs = batch(
        ((64, 64), [(36, 46), (8, 8), (20, 50)]), ((64, 64), [(8, 8)]), ((40, 90), [(66, 4)])
    )
    images = [model.normalize(each["image"]) for each in inputs]
    points, prompt_image, masks = model.training_prompts(
        ImageList.from_tensors(images), [each["instances"] for each in inputs]
    )
    assert masks.shape == (3, 64, 90)
    found = {
        (image, *point): (*mask.nonzero()[0].flip(0).tolist(), int(mask.sum()))
        for image, point, mask in zip(prompt_image.tolist(), points.tolist(), masks, strict=True)
    }
    assert found == {
        (0, 12.0, 12.0): (8, 8, 64),
        (0, 40.0, 50.0): (36, 46, 64),
        (2, 70.0, 8.0): (66, 4, 64),
    }


def test_at_most_so_many_nuclei_an_image(monkeypatch: pytest.MonkeyPatch):
    model = tiny_cfrsam(train_prompts="centroid", max_train_nuclei=2).train()
    seen = {}
    monkeypatch.setattr(
        model.mask_head,
        "losses",
        lambda images, features, points, prompt_image, gt_masks: seen.update(
            points=points, prompt_image=prompt_image
        ),
    )
    corners = [(0, 0), (20, 0), (40, 0)]
    model(batch(((64, 64), corners), ((64, 64), [(4, 4)]), ((64, 64), corners)))
    assert seen["prompt_image"].tolist() == [0, 0, 1, 2, 2]
    assert seen["points"][2].tolist() == [7.5, 7.5]


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
    model = tiny_cfrsam(nms_thresh=1.0).eval()
    with torch.no_grad():
        (output,) = model([{"image": random_image(72, 100)}])
    instances = output["instances"]
    assert instances.image_size == (72, 100)
    assert len(instances) == 12  # 3 by 4 points
    assert instances.pred_masks.shape == (len(instances), 72, 100)
    assert instances.pred_masks.dtype == torch.bool
    assert instances.pred_masks.flatten(1).any(dim=1).all()
    assert (instances.scores[:-1] >= instances.scores[1:]).all()
    grid = model.proposal_generator.points(0, 72, 100).tolist()
    assert sorted(instances.pred_points.tolist()) == sorted(grid)
    assert instances.pred_points.tolist() != grid  # best first
    for point, label, mask, box in zip(
        instances.pred_points.tolist(),
        instances.pred_classes.tolist(),
        instances.pred_masks,
        instances.pred_boxes.tensor.tolist(),
        strict=True,
    ):
        assert label == grid.index(point) % 3
        rows, columns = mask.nonzero().unbind(dim=1)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_nuclei_come_back_in_the_pixels_of_the_file():
    model = tiny_cfrsam(nms_thresh=1.0).eval()
    image = random_image(64, 96)
    with torch.no_grad():
        (same,) = model([{"image": image, "height": 64, "width": 96}])
        (plain,) = model([{"image": image}])
        (half,) = model([{"image": image, "height": 32, "width": 48}])
        (double,) = model([{"image": image, "height": 128, "width": 192}])
    same, plain, half, double = (each["instances"] for each in (same, plain, half, double))
    assert len(plain) > 0
    assert torch.equal(same.pred_masks, plain.pred_masks)
    assert torch.equal(same.pred_points, plain.pred_points)
    assert double.image_size == (128, 192)
    assert torch.equal(double.pred_masks[:, ::2, ::2], plain.pred_masks)
    assert torch.equal(double.pred_masks[:, 1::2, 1::2], plain.pred_masks)
    torch.testing.assert_close(double.pred_points, 2 * plain.pred_points + 0.5)
    torch.testing.assert_close(double.pred_boxes.tensor, 2 * plain.pred_boxes.tensor)
    assert torch.equal(double.scores, plain.scores)
    assert half.image_size == (32, 48)
    assert half.pred_masks.flatten(1).any(dim=1).all()


@pytest.mark.parametrize("size", [(64, 64), (64, 104)], ids=["one window", "windows"])
def test_several_images_at_once_give_the_same_as_one_by_one(size: tuple[int, int]):
    model = tiny_cfrsam(window_size=64, window_overlap=24, nms_thresh=1.0, edge_tolerance=0).eval()
    inputs = [{"image": random_image(*size)} for _ in range(3)]
    with torch.no_grad():
        together = model(inputs)
        alone = [model([each])[0] for each in inputs]
    for ours, theirs in zip(together, alone, strict=True):
        assert len(ours["instances"]) > 0
        assert_same(ours["instances"], theirs["instances"])


def test_crops_change_nothing_within_their_halo():
    model = tiny_cfrsam(head={"crop_sizes": (64,)}).eval()
    frames = []
    model.mask_head.bgmr.register_forward_hook(
        lambda module, args, output: frames.append(tuple(args[0].shape))
    )
    image = model.normalize(random_image(96, 96))[None]
    prompt = torch.tensor([[47.0, 47.0]]), torch.tensor([0])
    nucleus = squares((96, 96), [(40, 40)], side=15).gt_masks.tensor
    with torch.no_grad():
        maps = model.mask_head.encode(image, model.backbone(image))
        cropped = model.mask_head.predict(maps, *prompt, nucleus).refined_logits
        model.mask_head.crop_sizes = []
        full = model.mask_head.predict(maps, *prompt, nucleus).refined_logits
    assert frames == [(1, 75, 64, 64), (1, 75, 96, 96)]
    torch.testing.assert_close(cropped[nucleus], full[nucleus], atol=1e-6, rtol=1e-5)


def test_training_in_crops_reaches_all_that_trains():
    model = tiny_cfrsam(head={"crop_sizes": (32,), "crop_halo": 8}).train()
    losses = model(batch(((64, 64), [(8, 8), (32, 32)]), ((64, 64), [])))
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.mask_head.bgmr.named_parameters():
        assert parameter.grad is not None, name


def test_initial_masks_can_be_final():
    """Then BGMR does not run, and the masks are the decoder's."""
    model = tiny_cfrsam(head={"final_mask": "initial"}, nms_thresh=1.0).eval()
    model.mask_head.bgmr.register_forward_hook(lambda *args: pytest.fail("BGMR ran"))
    image = random_image(64, 64)
    with torch.no_grad():
        instances = model([{"image": image}])[0]["instances"]
        normalised = model.normalize(image)[None]
        maps = model.mask_head.encode(normalised, model.backbone(normalised))
        one = torch.zeros(len(instances), dtype=torch.long)
        predictions = model.mask_head.predict(maps, instances.pred_points, one)
    assert torch.equal(instances.pred_masks, predictions.initial_logits > 0)
    torch.testing.assert_close(instances.scores, predictions.pred_iou)


def test_how_many_prompts_at_once_changes_nothing():
    model = tiny_cfrsam(nms_thresh=1.0).eval()
    image = [{"image": random_image(64, 64)}]
    with torch.no_grad():
        at_once = model(image)[0]["instances"]
        model.mask_head.prompts_per_chunk = 2
        in_chunks = model(image)[0]["instances"]
    assert len(at_once) > 2
    assert_same(in_chunks, at_once)


def test_of_nuclei_in_one_place_the_best_scored_stays():
    """Whatever their classes: a prompt given twice, with two classes, gives one nucleus."""
    model = tiny_cfrsam(GivenPoints([(30.0, 30.0), (30.0, 30.0)]), nms_thresh=1.0).eval()
    image = [{"image": random_image(64, 64)}]
    with torch.no_grad():
        both = model(image)[0]["instances"]
        model.nms_thresh = 0.5
        one = model(image)[0]["instances"]
    assert sorted(both.pred_classes.tolist()) == [0, 1]
    assert len(one) == 1


@pytest.mark.parametrize("size", [(20, 33), (64, 64), (130, 100)])
def test_images_of_all_sizes_and_without_points(size: tuple[int, int]):
    model = tiny_cfrsam(GivenPoints([], [(5.0, 6.0)])).eval()
    with torch.no_grad():
        outputs = model([{"image": random_image(*size)}, {"image": random_image(30, 40)}])
    empty, other = (each["instances"] for each in outputs)
    assert empty.image_size == size
    assert other.image_size == (30, 40)
    assert len(empty) == 0
    assert empty.pred_masks.shape == (0, *size)
    assert empty.pred_points.shape == (0, 2)
    assert empty.pred_boxes.tensor.shape == (0, 4)
    assert len(empty.pred_classes) == len(empty.scores) == 0
    assert empty.pred_classes.dtype == torch.int64
    assert len(other) <= 1


@pytest.mark.parametrize("overlap", [128, 200, -1])
def test_windows_that_do_not_advance_are_refused(overlap: int):
    with pytest.raises(UserError, match=rf"WINDOW_OVERLAP is {overlap} with windows of 128: give"):
        tiny_cfrsam(window_overlap=overlap)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"final_mask": "best"}, r"FINAL_MASK is 'best': choose one of \('refined', 'initial'\)"),
        ({"crop_sizes": (64, 30)}, r"CROP_SIZES is \[64, 30\]: give positive multiples of 4"),
        ({"crop_sizes": (0,)}, r"CROP_SIZES is \[0\]: give positive multiples of 4"),
        ({"fusion": "sum"}, r"FUSION is 'sum': choose one of HMFM, last, add, average, concaten"),
        ({"refinement": "None"}, r"REFINEMENT is 'None': choose one of BGMR, none, MLP, BGMR-with"),
    ],
)
def test_bad_settings_of_the_mask_head_are_refused(head: dict, message: str):
    with pytest.raises(UserError, match=message):
        tiny_cfrsam(head=head)


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    learner = cfg.MODEL.PROMPT_LEARNER
    learner.DEPTHS, learner.DIMS = [1, 1, 1, 1], [8, 8, 16, 16]
    learner.HIDDEN_DIM, learner.SUPPRESSION_RADIUS = 16, 40.0
    sam = cfg.MODEL.SAM
    sam.EMBED_DIM, sam.DEPTH, sam.NUM_HEADS, sam.ADAPTER_RANK = 48, 4, 3, 8
    sam.GLOBAL_ATTN_INDEXES = [1, 3]
    return cfg


def test_every_config_key_reaches_the_model(cfg: CfgNode):
    node = cfg.MODEL.CFRSAM
    node.MAX_TRAIN_NUCLEI, node.NMS_THRESH, node.TRAIN_PROMPTS = 7, 0.3, "random"
    window = cfg.MODEL.SLIDING_WINDOW
    window.SIZE, window.OVERLAP, window.EDGE_TOLERANCE, window.BATCH = 128, 16, 5, 3
    cfg.TEST.AUG.ENABLED = True
    head = cfg.MODEL.MASK_HEAD
    head.FOCAL_WEIGHT, head.BOUNDARY_WEIGHT, head.CROP_SIZES = 2.0, 3.0, [64, 32]
    head.CROP_HALO, head.PROMPTS_PER_CHUNK, head.FINAL_MASK = 8, 5, "initial"
    head.FUSION, head.REFINEMENT = "concatenate", "MLP"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [10.0, 20.0, 30.0], [1.0, 2.0, 4.0]
    model = build_model(cfg)
    assert isinstance(model, CFRSAM)
    assert (model.max_train_nuclei, model.nms_thresh) == (7, 0.3)
    assert model.prompt_source.__name__ == "random_prompts"
    assert (model.window_size, model.window_overlap) == (128, 16)
    assert (model.edge_tolerance, model.windows_per_batch) == (5, 3)
    assert model.test_time_augmentation
    assert (model.mask_head.focal_weight, model.mask_head.boundary_weight) == (2.0, 3.0)
    assert model.mask_head.crop_sizes == [32, 64]
    assert (model.mask_head.crop_halo, model.mask_head.prompts_per_chunk) == (8, 5)
    assert model.mask_head.final_mask == "initial"
    assert isinstance(model.mask_head.fusion, Concatenation)
    assert isinstance(model.mask_head.bgmr, MLP)
    normalised = model.normalize(torch.full((3, 4, 5), 34, dtype=torch.uint8))
    assert normalised[:, 0, 0].tolist() == [24, 7, 1]
    assert not any("pixel" in name for name in model.state_dict())


def test_built_from_a_config_it_trains_and_predicts_with_its_own_learner(cfg: CfgNode):
    cfg.MODEL.CFRSAM.TRAIN_PROMPTS = "centroid"
    model = build_model(cfg)
    losses = model(batch(((64, 64), [(8, 8)]), ((64, 80), [])))
    assert all(loss.isfinite() for loss in losses.values())
    with torch.no_grad():
        (output,) = model.eval()([{"image": random_image(64, 80)}])
    assert output["instances"].pred_masks.shape[1:] == (64, 80)


@pytest.mark.parametrize("source", ["learner", "centroid"])
def test_boxes_train_and_predict(cfg: CfgNode, source: str):
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "BoxProposalGenerator"
    cfg.MODEL.CFRSAM.TRAIN_PROMPTS = source
    model = build_model(cfg)
    seen = []
    model.mask_head.prompt_encoder.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(kwargs), with_kwargs=True
    )
    losses = model(batch(((64, 64), [(8, 8), (30, 40)]), ((64, 80), [])))
    assert all(loss.isfinite() for loss in losses.values())
    if source == "centroid":
        (prompts,) = seen
        assert prompts["points"] is None
        boxes = sorted(prompts["boxes"].tolist())
        assert boxes == [[8, 8, 15, 15], [30, 40, 37, 47]]
    with torch.no_grad():
        (output,) = model.eval()([{"image": random_image(64, 80)}])
    assert output["instances"].pred_masks.shape[1:] == (64, 80)
    assert seen[-1]["points"] is None
    assert seen[-1]["boxes"].shape[1:] == (4,)


def test_boxes_in_windows_give_each_prompt_a_mask():
    """The classes and points of the nuclei are those of their boxes."""
    model = tiny_cfrsam(GridBoxes(), nms_thresh=1.0, edge_tolerance=0, window_size=64).eval()
    with torch.no_grad():
        (output,) = model([{"image": random_image(72, 100)}])
    instances = output["instances"]
    grid = model.proposal_generator.points(0, 72, 100).tolist()
    assert sorted(instances.pred_points.tolist()) == sorted(grid)
    labels = [grid.index(point) % 3 for point in instances.pred_points.tolist()]
    assert instances.pred_classes.tolist() == labels


def test_random_points_cannot_train_a_model_of_boxes():
    with pytest.raises(UserError, match=r"TRAIN_PROMPTS is 'random' and .* one of boxes"):
        tiny_cfrsam(GridBoxes(), train_prompts="random")


def test_losses_take_the_configured_weights():
    def losses(**head: float) -> dict[str, float]:
        torch.manual_seed(0)
        model = tiny_cfrsam(head=head)
        torch.manual_seed(1)
        return {name: each.item() for name, each in model(batch(((64, 64), [(8, 8)]))).items()}

    plain, heavy = losses(), losses(focal_weight=40.0, boundary_weight=1.0)
    factors = {name: heavy[name] / plain[name] for name in plain}
    assert factors == pytest.approx(
        {
            name: {"loss_initial_focal": 2, "loss_refined_focal": 2, "loss_boundary": 100}.get(
                name, 1
            )
            for name in plain
        }
    )
