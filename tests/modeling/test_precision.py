"""Mixed precision: where it is on, what it changes little, and what it leaves alone."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from tiny_segmenter import random_image, squares, tiny_cfrsam
from torch import nn

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.modeling.mask_head.decoder import decode_points
from cfrsam_d2.modeling.precision import FLOAT32, Precision

CPU = torch.device("cpu")
MIXED = Precision(mixed_in_training=True, mixed_in_inference=True)
SIZE = (128, 128)


def dtype_inside(precision: Precision, *, training: bool) -> torch.dtype:
    """Of a product."""
    with precision.context(CPU, training=training):
        return torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype


def test_each_mode_has_its_own_key():
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    assert Precision.from_config(cfg) == FLOAT32
    cfg.SOLVER.AMP.ENABLED = True
    training_only = Precision.from_config(cfg)
    assert dtype_inside(training_only, training=True) == torch.bfloat16
    assert dtype_inside(training_only, training=False) == torch.float32
    cfg.TEST.AMP.ENABLED = True
    assert Precision.from_config(cfg) == MIXED
    assert dtype_inside(MIXED, training=False) == torch.bfloat16


def test_a_trainers_own_autocast_stays():
    with torch.autocast("cpu", torch.bfloat16):
        assert dtype_inside(FLOAT32, training=True) == torch.bfloat16


def test_predictions_are_float32_and_nearly_the_same():
    torch.manual_seed(0)
    model = tiny_cfrsam(head={"crop_sizes": (64,)}).eval()
    image, points = model.normalize(random_image(*SIZE))[None], torch.tensor([[40.0, 60.0]])
    predictions = []
    for precision in (FLOAT32, MIXED):
        with torch.no_grad(), precision.context(CPU, training=False):
            maps = model.mask_head.encode(image, model.backbone(image))
            predictions.append(vars(model.mask_head.predict(maps, points, torch.tensor([0]))))
    for name, exact in predictions[0].items():
        mixed = predictions[1][name]
        assert mixed.dtype == torch.float32, name
        assert 0 < (mixed - exact).norm() < 0.05 * exact.norm(), name


def test_the_whole_model_infers_in_mixed_precision():
    seen = []
    model = tiny_cfrsam(precision=MIXED).eval()
    model.backbone.vit.neck[0].register_forward_hook(
        lambda module, args, output: seen.append(output.dtype)
    )
    with torch.no_grad():
        (found,) = model([{"image": random_image(*SIZE)}])
    assert set(seen) == {torch.bfloat16}
    assert found["instances"].scores.dtype == torch.float32


def test_losses_are_float32_and_nearly_the_same():
    image, gt = random_image(*SIZE), squares(SIZE, [(10, 20), (60, 70)])
    losses, gradients = [], []
    for precision in (FLOAT32, MIXED):
        torch.manual_seed(0)
        model = tiny_cfrsam(precision=precision, train_prompts="centroid").train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        losses.append(model([{"image": image, "instances": gt}]))
        sum(losses[-1].values()).backward()
        gradients.append(
            torch.cat([each.grad.flatten() for each in model.backbone.adapters.parameters()])
        )
    for name, loss in losses[0].items():
        assert losses[1][name].dtype == torch.float32
        assert losses[1][name].item() == pytest.approx(loss.item(), rel=0.05, abs=1e-3), name
    assert not torch.equal(*gradients)
    assert nn.functional.cosine_similarity(*gradients, dim=0) > 0.9


def test_positions_of_prompts_stay_exact():
    """In bfloat16, points half a pixel apart would be the same."""
    head = tiny_cfrsam().mask_head
    tokens = []
    head.mask_decoder.transformer.register_forward_pre_hook(
        lambda module, inputs: tokens.append(inputs[1:])
    )
    points = torch.tensor([[100.0, 100.0], [100.5, 100.0]])
    for enabled in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            decode_points(
                head.prompt_encoder,
                head.mask_decoder,
                torch.zeros(1, 256, 8, 8),
                points,
                torch.tensor([0, 0]),
            )
    for exact, mixed in zip(*tokens, strict=True):
        assert torch.equal(exact, mixed)


def test_points_are_nearly_those_of_float32():
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.DEVICE = "PromptLearner", "cpu"
    node = cfg.MODEL.PROMPT_LEARNER
    node.HIDDEN_DIM = 16
    node.DEPTHS, node.DIMS = [1, 1, 1, 1], [8, 8, 16, 16]
    image, points = random_image(*SIZE), []
    for cfg.TEST.AMP.ENABLED in (False, True):
        torch.manual_seed(0)
        generator = build_model(cfg).eval().proposal_generator
        with torch.no_grad(), Precision.from_config(cfg).context(CPU, training=False):
            points.append(generator.predict(image[None] / 60 - 2).points)
    assert points[1].dtype == torch.float32
    assert not torch.equal(*points)
    torch.testing.assert_close(points[1], points[0], atol=0.05, rtol=0)
