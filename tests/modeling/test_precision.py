"""Mixed precision: where it is on, what it changes little, and what it leaves alone."""

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tiny_segmenter import (
    encode,
    nuclei_of,
    random_image,
    squares,
    tiny_cfrsam,
    tiny_head,
)
from torch import nn

from cfrsam_d2.modeling.mask_head import ImageMaps
from cfrsam_d2.modeling.precision import FLOAT32, Precision
from cfrsam_d2.modeling.training_prompts import centroid_prompts

CPU = torch.device("cpu")
MIXED = Precision(mixed_in_training=True, mixed_in_inference=True)
SIZE = (128, 128)


def dtype_inside(precision: Precision, *, training: bool) -> torch.dtype:
    """Of a product."""
    with precision.context(CPU, training=training):
        return torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype


def test_each_mode_has_its_own_key(cfg: CfgNode):
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


@torch.no_grad()
def test_predictions_are_float32_and_nearly_the_same(device: torch.device):
    model = tiny_cfrsam(mask_head=tiny_head(crop_sizes=(64,))).eval().to(device)
    image, point = random_image(*SIZE), torch.tensor([[40.0, 60.0]], device=device)
    first = torch.tensor([0], device=device)
    predictions = []
    for precision in (FLOAT32, MIXED):
        with precision.context(device, training=False):
            predicted = model.mask_head.predict(encode(model, image), point, first)
        decoded = predicted.decoded
        predictions.append(
            {**predicted.logits, "quarter": decoded.logits, "pred_iou": decoded.pred_iou}
        )
    for name, exact in predictions[0].items():
        mixed = predictions[1][name]
        assert mixed.dtype == torch.float32, name
        assert 0 < (mixed - exact).norm() < 0.05 * exact.norm(), name


def test_the_whole_model_infers_in_mixed_precision(device: torch.device):
    seen = []
    model = tiny_cfrsam(precision=MIXED).to(device)
    model.backbone.vit.neck[0].register_forward_hook(
        lambda module, args, output: seen.append(output.dtype)
    )
    found = nuclei_of(model, random_image(*SIZE))
    assert set(seen) == {torch.bfloat16}
    assert found.scores.dtype == torch.float32


def test_losses_are_float32_and_nearly_the_same(device: torch.device):
    image, gt = random_image(*SIZE), squares(SIZE, [(10, 20), (60, 70)])
    losses, gradients = [], []
    for precision in (FLOAT32, MIXED):
        torch.manual_seed(0)
        model = tiny_cfrsam(precision=precision, train_prompts=centroid_prompts).to(device)
        model.train()
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
    maps = ImageMaps(SIZE, torch.zeros(1, 256, 8, 8))
    points = torch.tensor([[100.0, 100.0], [100.5, 100.0]])
    for enabled in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            head.decode(maps, points, torch.tensor([0, 0]))
    for exact, mixed in zip(*tokens, strict=True):
        assert torch.equal(exact, mixed)


def test_points_are_nearly_those_of_float32(cfg: CfgNode):
    cfg.MODEL.META_ARCHITECTURE = "PromptLearner"
    generator = build_model(cfg).eval().proposal_generator
    image = random_image(*SIZE)[None] / 60 - 2
    exact, mixed = [], []
    for precision, predicted in ((FLOAT32, exact), (MIXED, mixed)):
        with torch.no_grad(), precision.context(CPU, training=False):
            predictions = generator.predict(image)
            predicted += [predictions.points, predictions.logits]
    assert mixed[0].dtype == torch.float32
    assert not torch.equal(mixed[0], exact[0])
    torch.testing.assert_close(mixed[0], exact[0], atol=0.05, rtol=0)
    torch.testing.assert_close(mixed[1].float(), exact[1], atol=0.1, rtol=0)
