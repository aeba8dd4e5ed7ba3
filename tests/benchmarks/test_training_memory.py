"""What a training step keeps: by part, each storage once, growing with the nuclei."""

import pytest
from detectron2.modeling import build_model
from tiny_config import TINY

from benchmarks import training_memory
from benchmarks.training_memory import CONFIG, PARTS, REST, SavedTensors
from cfrsam_d2.engine import load_config

OVERRIDES = [
    *TINY,
    *("MODEL.DEVICE", "cpu", "MODEL.CFRSAM.TRAIN_PROMPTS", "centroid"),
    *("MODEL.MASK_HEAD.TRAIN_CROP_SIZES", "[]"),
]
SIDE = 64
FULL, QUARTER = 4 * SIDE**2, 4 * (SIDE // 4) ** 2  # bytes of a channel


def test_what_each_part_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one nucleus more in both images; in the end the inputs of BGMR's parts alone."""
    monkeypatch.setattr(training_memory, "SIZE", SIDE)
    model = build_model(load_config(str(CONFIG), OVERRIDES)).train()
    saved, bgmr = SavedTensors(model), model.mask_head.bgmr
    growth = []
    for bgmr.checkpoint_activations in (False, True):
        one, two = saved.count(model, 1), saved.count(model, 2)
        assert one["encoder"] > 0
        assert one["encoder"] == two["encoder"]
        growth.append({part: (two[part] - one[part]) / 2 for part in (*PARTS, REST)})
    kept, checkpointed = growth
    # Twice a convolution with batch norm and ReLU, its input and both outputs, and a convolution;
    # batch norm's output is the ReLU's, in place.
    assert kept["BGMR: mask head"] == pytest.approx((32 + 2 * 32 + 2 * 16) * FULL, rel=0.01)
    assert not any(value for part, value in checkpointed.items() if part.startswith("BGMR"))
    inputs = 4 * 32 * FULL + 2 * 32 * QUARTER  # S, D, Y, the refined S; U and G
    assert checkpointed[REST] - kept[REST] == inputs
