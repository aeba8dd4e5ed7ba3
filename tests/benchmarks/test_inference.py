"""The speed benchmark on a tiny model: what is timed beside what."""

from collections.abc import Callable

import pytest
import torch
from cfrsam_d2.published import JointBGFF
from detectron2.config import CfgNode
from tiny_config import TINY

from benchmarks import inference
from benchmarks.inference import compare, inference_of, iou, training_step_of


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    published = inference.config

    def config(name: str) -> CfgNode:
        cfg = published(name)
        cfg.merge_from_list(TINY)
        return cfg

    monkeypatch.setattr(inference, "config", config)


@pytest.mark.parametrize("work_of", [inference_of, training_step_of])
def test_plain_then_ours_then_bfloat16(work_of: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all of them refine the nuclei that are given."""
    model, work = work_of("b", 4)
    seen = []
    model.mask_head.bgmr.bgff.fuse.register_forward_hook(
        lambda module, args, output: seen.append(
            (type(model.mask_head.bgmr.bgff), len(output), output.shape[-1], output.dtype)
        )
    )
    monkeypatch.setattr(inference, "median_seconds", lambda work, runs: (work(), float(runs))[1])
    assert compare(model, work, 3) == [3.0, 3.0, 3.0]
    own = type(model.mask_head.bgmr.bgff)
    assert [each[:3] for each in seen] == [(JointBGFF, 4, 256), (own, 4, 32), (own, 4, 32)]
    assert [each[3] for each in seen[:2]] == [torch.float32] * 2


def test_iou_of_masks() -> None:
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    others = masks.clone()
    masks[0, :2], others[0, :1] = True, True
    masks[1], others[1] = True, True
    assert iou(masks, others).tolist() == [0.5, 1.0]  # the third pair has no pixel
