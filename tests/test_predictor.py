"""One call from any kind of image to nuclei, with tiny untrained models of both stages."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances
from PIL import Image
from tiny_demo import TINY

from cfrsam_d2.data.magnification import resize_image
from cfrsam_d2.data.synthetic import SYNTHETIC_CLASSES
from cfrsam_d2.engine import build_trained_model, load_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.predictor import NucleusPredictor, read_as_rgb

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "train_demo"
RGB = np.random.default_rng(0).integers(0, 256, (72, 100, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function: the name of a training demo config to a file of weights for it."""
    folder = tmp_path_factory.mktemp("weights")

    def of_stage(stage: str) -> Path:
        file = folder / f"{stage}.pth"
        if not file.is_file():
            torch.manual_seed(0)
            model = build_model(load_config(str(CONFIGS / f"{stage}.yaml"), TINY))
            torch.save({"model": model.state_dict()}, file)
        return file

    return of_stage


@pytest.fixture(scope="module")
def segmenter(weights: Callable[[str], Path]) -> NucleusPredictor:
    return NucleusPredictor(CONFIGS / "cfrsam.yaml", weights("cfrsam"), TINY)


def assert_equal(actual: Instances, expected: Instances) -> None:
    assert actual.get_fields().keys() == expected.get_fields().keys()
    assert torch.equal(actual.pred_masks.boxes, expected.pred_masks.boxes)
    assert torch.equal(actual.pred_masks.pixels, expected.pred_masks.pixels)
    assert torch.equal(actual.pred_points, expected.pred_points)
    assert torch.equal(actual.scores, expected.scores)


def test_all_kinds_of_images_give_the_nuclei_of_the_model(
    segmenter: NucleusPredictor, weights: Callable[[str], Path], tmp_path: Path
) -> None:
    cfg = load_config(str(CONFIGS / "cfrsam.yaml"), TINY)
    cfg.MODEL.WEIGHTS = str(weights("cfrsam"))
    image = torch.from_numpy(RGB).permute(2, 0, 1)
    with torch.no_grad():
        expected = build_trained_model(cfg)([{"image": image}])[0]["instances"]
    areas = expected.pred_masks.areas()
    assert 0 < areas.sum() < len(areas) * 72 * 100

    path = tmp_path / "image.png"
    Image.fromarray(RGB).save(path)
    alpha = np.full((*RGB.shape[:2], 1), 7, dtype=np.uint8)
    for each in (path, str(path), Image.fromarray(RGB), RGB, np.concatenate([RGB, alpha], 2)):
        nuclei = segmenter(each)
        assert nuclei.image_size == (72, 100)
        assert_equal(nuclei, expected)
    assert nuclei.pred_masks.image_size == (72, 100)
    assert nuclei.pred_masks.nonempty().all()
    assert nuclei.pred_boxes.tensor.shape == (len(nuclei), 4)
    assert not nuclei.scores.requires_grad
    assert segmenter.predicts_masks
    assert segmenter.classes == list(SYNTHETIC_CLASSES)
    assert len(segmenter.colors) == len(SYNTHETIC_CLASSES)


@pytest.mark.parametrize("stage", ["prompt_learner", "cfrsam"])
def test_images_of_another_magnification(weights: Callable[[str], Path], stage: str) -> None:
    overrides = [*TINY, "INPUT.MAGNIFICATION", "40"]
    predictor = NucleusPredictor(CONFIGS / f"{stage}.yaml", weights(stage), overrides)
    plain, same, half = predictor(RGB), predictor(RGB, magnification=40), predictor(RGB, 80)
    assert same.image_size == half.image_size == (72, 100)
    assert torch.equal(same.pred_points, plain.pred_points)
    if stage == "cfrsam":
        assert_equal(same, plain)
        frames = half.pred_masks.to_bitmasks().tensor
        blocks = frames.reshape(len(half), 36, 2, 50, 2)  # one pixel of the model each
        assert torch.equal(blocks.any(dim=4).any(dim=2), blocks.all(dim=4).all(dim=2))
    small = predictor(resize_image(RGB, (36, 50)))
    assert len(small) == len(half) > 0
    torch.testing.assert_close(half.pred_points, 2 * small.pred_points + 0.5)
    assert torch.equal(half.scores, small.scores)


def test_a_magnification_far_from_the_model_is_said_once(
    weights: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    overrides = [*TINY, "INPUT.MAGNIFICATION", "40"]
    config = CONFIGS / "prompt_learner.yaml"
    predictor = NucleusPredictor(config, weights("prompt_learner"), overrides)
    for magnification in (40, 20, 80):
        predictor(RGB, magnification)
    assert not caplog.records
    for magnification in (10, 10):
        predictor(RGB, magnification)
    (record,) = caplog.records
    assert "an image of 10× is far from the model's 40×" in record.getMessage()


def test_a_magnification_that_does_not_help_is_refused(segmenter: NucleusPredictor) -> None:
    with pytest.raises(UserError, match=r"magnification is 20, but INPUT.MAGNIFICATION, the model"):
        segmenter(RGB, magnification=20)
    with pytest.raises(UserError, match=r"the magnification is 0.25: give the objective's"):
        segmenter(RGB, magnification=0.25)


def test_a_config_that_was_read_is_taken_and_not_changed(weights: Callable[[str], Path]) -> None:
    cfg: CfgNode = load_config(str(CONFIGS / "prompt_learner.yaml"), TINY)
    predictor = NucleusPredictor(cfg, weights("prompt_learner"))
    assert cfg.MODEL.WEIGHTS == ""
    assert not predictor.predicts_masks
    nuclei = predictor(RGB)
    assert len(nuclei) > 0
    assert nuclei.get_fields().keys() == {"pred_points", "pred_classes", "scores"}


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (33, 17), (300, 280)])
@pytest.mark.parametrize("stage", ["prompt_learner", "cfrsam"])
def test_any_size(size: tuple[int, int], stage: str, weights: Callable[[str], Path]) -> None:
    predictor = NucleusPredictor(CONFIGS / f"{stage}.yaml", weights(stage), TINY)
    nuclei = predictor(np.full((*size, 3), 128, dtype=np.uint8))
    assert nuclei.image_size == size
    if stage == "cfrsam":
        assert nuclei.pred_masks.image_size == size


def test_gray_and_16_bits_become_rgb_as_those_of_files(tmp_path: Path) -> None:
    gray = RGB[:, :, 0]
    expected = np.repeat(gray[:, :, None], 3, axis=2)
    deep = gray.astype(np.uint16) * 256 + 0x5A
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for image in (
        *(gray, gray[:, :, None], deep, Image.fromarray(gray), Image.fromarray(deep)),
        *(tmp_path / "deep.png", np.ascontiguousarray(deep).astype(">u2")),
    ):
        np.testing.assert_array_equal(read_as_rgb(image), expected)
    color = RGB.astype(np.uint16) * 256 + 0x5A
    np.testing.assert_array_equal(read_as_rgb(color), RGB)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 40, 50), np.uint8), r"shape \(3, 40, 50\): give \(H, W\) or \(H, W, 3\)"),
        (np.zeros((40, 50, 2), np.uint8), r"shape \(40, 50, 2\)"),
        (np.zeros(40, np.uint8), r"shape \(40,\)"),
        (np.zeros((0, 50, 3), np.uint8), r"shape \(0, 50, 3\)"),
        (np.zeros((40, 50, 3), np.float32), "samples of type float32: give uint8 from 0 to 255"),
        (np.zeros((40, 50, 3), np.int64), "samples of type int64"),
        (Image.new("I", (4, 4)), "the PIL image has int32 samples"),
        ("gone.png", "gone.png does not exist"),
    ],
)
def test_what_is_no_image_is_named(
    image: np.ndarray | Image.Image | str, message: str, segmenter: NucleusPredictor
) -> None:
    with pytest.raises(UserError, match=message):
        segmenter(image)


def test_no_dataset_and_no_weights_are_named(weights: Callable[[str], Path], tmp_path: Path):
    config = CONFIGS / "prompt_learner.yaml"
    splits = [word for split in ("TRAIN", "VAL", "TEST") for word in (f"DATASETS.{split}", "()")]
    with pytest.raises(UserError, match=r"DATASETS.TEST is empty: name a dataset"):
        NucleusPredictor(config, weights("prompt_learner"), [*TINY, *splits])
    with pytest.raises(UserError, match="there are no trained weights"):
        NucleusPredictor(config, overrides=[*TINY, "OUTPUT_DIR", str(tmp_path)])
