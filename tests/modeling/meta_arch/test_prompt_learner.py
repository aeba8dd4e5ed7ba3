"""The meta-architecture of stage 1, built from a config as a trainer builds it."""

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Instances

from cfrsam_d2.modeling.meta_arch.prompt_learner import PromptLearner


@pytest.fixture(autouse=True)
def _two_classes(cfg: CfgNode) -> None:
    cfg.MODEL.META_ARCHITECTURE = "PromptLearner"
    cfg.MODEL.PROMPT_LEARNER.NUM_CLASSES = 2
    cfg.MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS = 3.0


def image(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


def test_every_config_key_reaches_the_generator(cfg: CfgNode):
    node = cfg.MODEL.PROMPT_LEARNER
    node.NUM_LEVELS, node.ANCHOR_STRIDE, node.KEEP_ON_MASK_ONLY = 2, 16, True
    node.DISTANCE_WEIGHT, node.BACKGROUND_WEIGHT, node.REGRESSION_WEIGHT = 0.2, 0.3, 0.4
    node.SUPPRESSION_RADIUS, node.CLASS_WEIGHTS = 7.0, [1.0, 2.0]
    generator = build_model(cfg).proposal_generator
    assert len(generator.neck.output_convs) == 2
    assert generator.anchor_stride == 16
    assert generator.keep_on_mask_only is True
    assert generator.distance_weight == 0.2
    assert generator.background_weight == 0.3
    assert generator.regression_weight == 0.4
    assert generator.suppression_radius == 7.0
    assert generator.class_weights == [1.0, 2.0]
    assert generator.classification_head[-1].out_features == 3
    assert generator.backbone.feature_info.channels() == [8, 8, 16, 16]


def test_training_returns_the_losses(cfg: CfgNode):
    model = build_model(cfg).train()
    batch = []
    for size, count in [((40, 64), 2), ((33, 47), 0)]:
        masks = torch.zeros(count, *size, dtype=torch.bool)
        masks[:, 4:8, 4:8] = True
        instances = Instances(
            size,
            gt_points=torch.full((count, 2), 5.5),
            gt_classes=torch.zeros(count, dtype=torch.int64),
            gt_masks=BitMasks(masks),
        )
        batch.append({"image": image(*size), "instances": instances})
    losses = model(batch)
    assert set(losses) == {"loss_point_cls", "loss_point_reg", "loss_point_mask"}
    sum(losses.values()).backward()


def test_evaluation_returns_instances_in_the_original_pixels(cfg: CfgNode):
    model = build_model(cfg).eval()
    model.proposal_generator.classification_head[-1].bias.data[-1] = -9.0  # no background
    pixels = image(32, 48)
    with torch.no_grad():
        (same,) = model([{"image": pixels}])
        (double,) = model([{"image": pixels, "height": 64, "width": 96}])
    same, double = same["instances"], double["instances"]
    assert same.image_size == (32, 48)
    assert double.image_size == (64, 96)
    assert len(same) > 0
    torch.testing.assert_close(double.pred_points, 2 * same.pred_points + 0.5)
    assert torch.equal(double.scores, same.scores)
    assert torch.equal(double.pred_classes, same.pred_classes)


def test_images_are_normalised_per_channel(cfg: CfgNode):
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [10.0, 20.0, 30.0], [1.0, 2.0, 4.0]
    model = build_model(cfg)
    assert isinstance(model, PromptLearner)
    image = torch.full((3, 4, 5), 34, dtype=torch.uint8)
    assert model.normalize(image)[:, 0, 0].tolist() == [24, 7, 1]
    assert not any("pixel" in name for name in model.state_dict())
