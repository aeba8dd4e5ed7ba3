"""The two picture scripts and the classical baseline, on a small synthetic dataset."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from PIL import Image

from cfrsam_d2.apps.hematoxylin_baseline import segment_nuclei, to_instances
from cfrsam_d2.data.palette import class_colors
from cfrsam_d2.data.registration import register_nucleus_json, unregister
from cfrsam_d2.data.synthetic import SYNTHETIC_CLASSES, make_synthetic_dataset
from cfrsam_d2.engine import load_config
from cfrsam_d2.visualization.pictures import choose_images
from tools import hematoxylin_baseline, visualize_data, visualize_predictions

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "train_demo"
NAME = "pictured"


@pytest.fixture(scope="module", autouse=True)
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    make_synthetic_dataset(folder, {"test": 3})
    register_nucleus_json(
        NAME,
        folder / "test" / "nuclei.json",
        folder / "test" / "images",
        thing_classes=list(SYNTHETIC_CLASSES),
    )
    yield
    unregister(NAME)


def test_visualize_data_draws_evenly_chosen_images(tmp_path: Path):
    visualize_data.main(["--dataset", NAME, "--count", "2", "--output", str(tmp_path)])
    chosen = choose_images(NAME, 2)
    assert [each["image_id"] for each in chosen] == [
        DatasetCatalog.get(NAME)[i]["image_id"] for i in (0, 2)
    ]
    pictures = sorted(tmp_path.iterdir())
    assert len(pictures) == 2
    picture = np.asarray(Image.open(pictures[0]))
    present = {nucleus["category_id"] for nucleus in chosen[0]["annotations"]}
    colors = class_colors(len(SYNTHETIC_CLASSES))
    for category in present:
        assert (picture == colors[category]).all(axis=2).sum() > 200


@pytest.mark.parametrize(
    ("stage", "magnification"), [("prompt_learner", "0"), ("cfrsam", "0"), ("cfrsam", "20")]
)
def test_visualize_predictions(tmp_path: Path, stage: str, magnification: str):
    """Also where the model sees images at another size than they are drawn."""
    overrides = [
        *("MODEL.DEVICE", "cpu", "MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", "64.0"),
        *("OUTPUT_DIR", str(tmp_path), "DATASETS.TEST", f"('{NAME}',)"),
        *("INPUT.MAGNIFICATION", magnification),
    ]
    config_file = str(CONFIGS / f"{stage}.yaml")
    cfg = load_config(config_file, overrides)
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, tmp_path / "model_final.pth")
    visualize_predictions.main(["--config-file", config_file, "--count", "1", *overrides])
    (picture,) = (tmp_path / "pictures" / NAME).iterdir()
    data_width = 2 * 128 * 8  # two panels
    assert Image.open(picture).width > data_width + 128 * 8


def test_unknown_dataset_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    for main in (visualize_data.main, hematoxylin_baseline.main):
        with pytest.raises(SystemExit) as stop:
            main(["--dataset", "nowhere", "--output", str(tmp_path)])
        assert stop.value.code == 2
        assert "'nowhere', which is not registered: take one of" in capsys.readouterr().err


def test_baseline_finds_dark_discs():
    rows, columns = np.mgrid[:100, :100]
    image = np.full((100, 100, 3), (235, 180, 210), dtype=np.uint8)
    centres = [(25, 25), (70, 30), (60, 75)]
    for y, x in centres:
        image[(rows - y) ** 2 + (columns - x) ** 2 <= 10**2] = (90, 60, 140)
    labels = segment_nuclei(image)
    assert len(np.unique(labels)) == 1 + len(centres)
    for y, x in centres:
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= 10**2
        found = labels == labels[y, x]
        assert (disc & found).sum() / (disc | found).sum() > 0.8


def test_baseline_on_a_blank_image_finds_nothing():
    image = np.full((64, 64, 3), 255, dtype=np.uint8)
    labels = segment_nuclei(image)
    assert not labels.any()
    assert len(to_instances(labels, 0).pred_classes) == 0


def test_baseline_scores_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    hematoxylin_baseline.main(["--dataset", NAME, "--output", str(tmp_path)])
    assert "baseline: bPQ=0." in capsys.readouterr().out
    assert (tmp_path / "metrics.json").is_file()
