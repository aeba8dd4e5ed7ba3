"""Both stages train on two datasets of one list of classes, one of which knows no classes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from cfrsam_d2.data.converters.dataset_writer import NucleusJsonWriter
from cfrsam_d2.data.loader import build_train_loader
from cfrsam_d2.data.registration import register_nucleus_json, unregister
from cfrsam_d2.structures.coco import UNKNOWN_CLASS
from cfrsam_d2.structures.masks import BoxMask

NAMES = ("mixed_known", "mixed_unknown")
CLASSES = ("round", "long", "flat")
SIDE = 64  # px


@pytest.fixture
def mixed(tmp_path: Path, cfg: CfgNode) -> Iterator[CfgNode]:
    rng = np.random.default_rng(0)
    square = np.ones((10, 10), dtype=bool)
    for name, classes in zip(NAMES, ([2, 0], [UNKNOWN_CLASS] * 2), strict=True):
        writer = NucleusJsonWriter(tmp_path / name, CLASSES)
        nuclei = [(BoxMask(20 * n + 5, 20, square), each) for n, each in enumerate(classes)]
        image = rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        writer.add(f"{name}.png", image, nuclei, tissue="Colon")
        writer.write()
        register_nucleus_json(name, tmp_path / name / "nuclei.json", tmp_path / name / "images")
    cfg.DATASETS.TRAIN = NAMES
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.MODEL.PROMPT_LEARNER.NUM_CLASSES = len(CLASSES)
    yield cfg
    for name in NAMES:
        unregister(name)


@pytest.mark.parametrize("architecture", ["PromptLearner", "CFRSAM"])
def test_a_step_of_training(mixed: CfgNode, architecture: str):
    mixed.MODEL.META_ARCHITECTURE = architecture
    mixed.MODEL.CFRSAM.TRAIN_PROMPTS = "centroid"
    mixed.INPUT.AUGMENTATION = "sam" if architecture == "CFRSAM" else "prompt_learner"
    mixed.INPUT.TRAIN_CROP_SIZE = SIDE
    batch = next(iter(build_train_loader(mixed)))
    found = {each["instances"].gt_classes.min().item() for each in batch}
    assert UNKNOWN_CLASS in found
    assert len(found) == 2
    losses = build_model(mixed).train()(batch)
    assert len(losses) >= 3
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_the_class_loss_alone_knows_the_label(mixed: CfgNode):
    mixed.MODEL.META_ARCHITECTURE = "PromptLearner"
    model = build_model(mixed).train()
    generator = model.proposal_generator
    batch = next(iter(build_train_loader(mixed)))
    gt = [each["instances"] for each in batch]
    predictions = generator.predict(torch.stack([model.normalize(each["image"]) for each in batch]))
    matches = generator.match(predictions, gt)
    with_unknown = generator.losses(predictions, gt, matches)
    for each in gt:
        each.gt_classes = each.gt_classes.clamp(min=0)
    known = generator.losses(predictions, gt, matches)
    for name, loss in known.items():
        assert torch.equal(loss, with_unknown[name]) == (name != "loss_point_cls")
    assert with_unknown["loss_point_cls"] < known["loss_point_cls"]
