"""The speed benchmark on a tiny model: what it times and measures beside what."""

from collections.abc import Callable

import pytest
import torch
from detectron2.config import CfgNode
from tiny_config import TINY

from benchmarks import inference
from benchmarks.inference import (
    IMAGE_SIZE,
    compare,
    inference_of,
    iou,
    masks,
    memory,
    training_step_of,
)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    published = inference.config

    def config(name: str) -> CfgNode:
        cfg = published(name)
        cfg.merge_from_list(TINY)
        return cfg

    monkeypatch.setattr(inference, "config", config)


@pytest.mark.parametrize(
    "work_of", [inference_of, pytest.param(training_step_of, marks=pytest.mark.slow)]
)
def test_plain_then_ours_then_bfloat16(work_of: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all of them refine the nucleus that is known."""
    model, work = work_of("b", 1)
    bgmr, seen = model.mask_head.bgmr, []
    bgmr.bgff.fuse.register_forward_hook(
        lambda module, args, output: seen.append(
            (bgmr.bgff.deform.fast, len(output), output.shape[-1], output.dtype)
        )
    )
    monkeypatch.setattr(inference, "median_seconds", lambda work, runs: (work(), float(runs))[1])
    both = {"": inference.FLOAT32, "_bfloat16": inference.MIXED}
    monkeypatch.setattr(inference, "PRECISIONS", both)
    assert compare(model, work, 3) == [3.0, 3.0, 3.0]
    assert [each[:3] for each in seen] == [(False, 1, 256), (True, 1, 32), (True, 1, 32)]
    assert [each[3] for each in seen[:2]] == [torch.float32] * 2
    monkeypatch.setattr(inference, "PRECISIONS", {"": inference.FLOAT32})
    assert compare(model, lambda: None, 3) == [3.0, 3.0]


def test_masks_of_crops_of_full_frames_and_in_bfloat16() -> None:
    model, _ = inference_of("b", 2)
    sizes, points = model.mask_head.crop_sizes, torch.tensor([[20.0, 30.0], [200.0, 100.0]])
    image = model.normalize(torch.zeros(3, IMAGE_SIZE, IMAGE_SIZE))[None]
    with torch.no_grad():
        crops, frames, mixed = masks(model, image, points)
    assert crops.shape == frames.shape == mixed.shape == (2, IMAGE_SIZE, IMAGE_SIZE)
    assert sizes
    assert model.mask_head.crop_sizes == sizes


def test_memory_of_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here of one process, whose peak does not fall."""
    monkeypatch.setattr(inference, "NUCLEI_OF_MEMORY", 4)
    own, plain = memory(is_plain=False), memory(is_plain=True)
    assert 0.1 < own <= plain < 10


def test_iou_of_masks() -> None:
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    others = masks.clone()
    masks[0, :2], others[0, :1] = True, True
    masks[1], others[1] = True, True
    assert iou(masks, others).tolist() == [0.5, 1.0]  # the third pair has no pixel
