"""The prompts that train stage 2: found once on clean images, kept, and never those of others."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from tiny_segmenter import GivenPoints, GridBoxes, GridPoints, tiny_cfrsam

from cfrsam_d2.data.loader import build_train_loader
from cfrsam_d2.engine.learner_prompts import FILE_NAME, learner_prompts
from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.meta_arch import CFRSAM


class CountedPoints(GridPoints):
    """A grid that moves with its weights, and counts the images that it sees."""

    seen = 0

    def points(self, image: int, height: int, width: int) -> torch.Tensor:
        self.seen += 1
        return super().points(image, height, width) + self.norm.weight[:2].detach()


@pytest.fixture
def cfg(toy_config: Callable[..., CfgNode], toy_data: None, tmp_path: Path) -> CfgNode:
    folder = tmp_path / "run"
    folder.mkdir()
    return toy_config("OUTPUT_DIR", folder)


@pytest.fixture
def images(toy_data: None) -> list[dict[str, Any]]:
    return DatasetCatalog.get("toy_train")


def seen(model: CFRSAM) -> int:
    return model.proposal_generator.seen


def test_they_are_what_the_learner_finds_on_the_images_as_evaluation_sees_them(
    cfg: CfgNode, images: list[dict[str, Any]]
) -> None:
    for model, expected in [
        (tiny_cfrsam(GridPoints()), [[12.0, 12.0]]),
        (tiny_cfrsam(GridBoxes()), [[5.0, 8.0, 19.0, 16.0]]),
        (tiny_cfrsam(GridBoxes(), box_beside_point=True), [[12.0, 12.0, 5.0, 8.0, 19.0, 16.0]]),
        (tiny_cfrsam(GivenPoints([])), np.empty((0, 2))),
    ]:
        found = learner_prompts(model, cfg, images)
        assert len(found) == len(images)
        for prompts in found:
            assert prompts.dtype == np.float32
            np.testing.assert_array_equal(prompts, expected)
        (Path(cfg.OUTPUT_DIR) / FILE_NAME).unlink()
    cfg.INPUT.MAGNIFICATION = 80  # the images are of 40: on 64 px lie nine points
    assert [len(each) for each in learner_prompts(tiny_cfrsam(), cfg, images)] == [9] * len(images)


def test_they_are_found_once(cfg: CfgNode, images: list[dict[str, Any]]) -> None:
    model = tiny_cfrsam(CountedPoints())
    found = learner_prompts(model, cfg, images)
    again = learner_prompts(model, cfg, images)
    assert seen(model) == len(images)
    np.testing.assert_array_equal(again, found)
    assert [each.name for each in Path(cfg.OUTPUT_DIR).iterdir()] == [FILE_NAME]


def test_those_of_other_weights_keys_or_images_are_found_anew(
    cfg: CfgNode, images: list[dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_cfrsam(CountedPoints())
    first = learner_prompts(model, cfg, images)
    path = tmp_path / "copy.png"
    cv2.imwrite(str(path), cv2.imread(images[0]["file_name"]))

    def is_found_anew() -> bool:
        before = seen(model)
        caplog.clear()
        learner_prompts(model, cfg, images)
        anew = seen(model) == before + len(images)
        assert anew == ("is of other weights, keys or images" in caplog.text)
        assert anew or seen(model) == before
        return anew

    caplog.set_level(logging.INFO, logger="cfrsam_d2")
    assert not is_found_anew()
    with torch.no_grad():
        model.proposal_generator.norm.weight += 1
    assert is_found_anew()
    np.testing.assert_array_equal(learner_prompts(model, cfg, images), np.array(first) + 1)
    cfg.MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS += 1
    assert is_found_anew()
    cfg.MODEL.CFRSAM.BOX_BESIDE_POINT = True
    assert is_found_anew()
    cfg.TEST.AUG.POINTS = True
    assert is_found_anew()
    images[0] = images[0] | {"file_name": str(path)}
    assert is_found_anew()
    cv2.imwrite(str(path), 255 - cv2.imread(str(path)))  # the same name
    assert is_found_anew()
    del images[1]
    assert is_found_anew()
    assert not is_found_anew()


def test_a_damaged_file_is_named_and_made_anew(
    cfg: CfgNode, images: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_cfrsam(CountedPoints())
    found = learner_prompts(model, cfg, images)
    path = Path(cfg.OUTPUT_DIR) / FILE_NAME
    whole = path.read_bytes()
    with np.load(path) as arrays:
        few = dict(arrays) | {"counts": arrays["counts"][:-1]}
        nameless = {"key": arrays["key"]}
        pickled = {"key": np.array([{}])}
    middle = len(whole) // 2
    damaged: list[bytes | dict] = [b"", b"nonsense", whole[:middle], whole[:-30], whole[middle:]]
    damaged += [whole[:200] + bytes(20) + whole[220:], few, nameless, pickled]
    for content in damaged:
        path.write_bytes(content) if isinstance(content, bytes) else np.savez(path, **content)
        before = seen(model)
        caplog.clear()
        np.testing.assert_array_equal(learner_prompts(model, cfg, images), found)
        assert seen(model) == before + len(images)
        assert f"{path} is damaged" in caplog.text
        assert path.read_bytes() == whole


def test_a_failure_leaves_the_old_file(
    cfg: CfgNode, images: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_cfrsam(CountedPoints())
    learner_prompts(model, cfg, images)
    path = Path(cfg.OUTPUT_DIR) / FILE_NAME
    whole = path.read_bytes()

    def fail(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    with torch.no_grad():
        model.proposal_generator.norm.weight += 1
    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(UserError, match=r"cannot write .*training_prompts\.npz \(disk full"):
        learner_prompts(model, cfg, images)
    assert path.read_bytes() == whole
    assert [each.name for each in path.parent.iterdir()] == [FILE_NAME]


def test_a_missing_image_is_named(cfg: CfgNode, images: list[dict[str, Any]]) -> None:
    images[2] = images[2] | {"file_name": "no/such.png"}
    with pytest.raises(UserError, match=r"cannot read no/such\.png"):
        learner_prompts(tiny_cfrsam(), cfg, images)


def test_the_loader_hands_each_image_its_own(cfg: CfgNode) -> None:
    """Each toy has one nucleus: its centroid as the prompt of its image comes back on it."""

    def centroids(dataset_dicts: list[dict[str, Any]]) -> list[np.ndarray]:
        return [
            np.array([each["annotations"][0]["point"]], dtype=np.float32) for each in dataset_dicts
        ]

    cfg.INPUT.AUGMENTATION, cfg.INPUT.TRAIN_CROP_SIZE = "none", 20  # which loses some
    batches = iter(build_train_loader(cfg, find_prompts=centroids))
    found = [each["instances"] for _ in range(6) for each in next(batches)]
    assert sum(len(each) for each in found) >= 6
    for each in found:
        np.testing.assert_array_equal(each.proposal_prompts, each.gt_points)
