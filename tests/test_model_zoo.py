"""Configs by name, the model that comes with the project, and who takes it."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from cfrsam_d2 import model_zoo
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.predictor import NucleusPredictor, read_as_rgb, slide_predictor

ROOT = Path(__file__).resolve().parents[1]
REGION = ROOT / "datasets" / "example" / "cmu1_region.tif"
MOST_BYTES = 20_000_000


def test_a_config_is_found_by_its_name() -> None:
    assert Path(model_zoo.get_config_file("monuseg/cfrsam_b.yaml")).samefile(
        ROOT / "configs" / "monuseg" / "cfrsam_b.yaml"
    )


def test_another_name_is_refused_with_those_like_it() -> None:
    with pytest.raises(UserError, match=r"'cfrsam_x\.yaml'.*cfrsam_[blh]\.yaml"):
        model_zoo.get_config_file("cfrsam_x.yaml")


def test_its_weights_are_small_and_say_what_they_are_for() -> None:
    cfg = load_config(model_zoo.get_config_file(model_zoo.SMALL_MODEL))
    path = Path(model_zoo.local_path(cfg.MODEL.WEIGHTS))
    assert path.stat().st_size <= MOST_BYTES
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert "research use only" in metadata["license"]
    assert {"CoNSeP", "MoNuSeg", "CPM-17"} <= set(metadata["data"].replace(",", " ").split())


def test_without_a_config_it_finds_nuclei_of_real_tissue_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        predictor = NucleusPredictor(overrides=["MODEL.DEVICE", "cpu"])
    assert "small model that comes with the project" in caplog.text
    assert "research alone" in caplog.text
    tile = read_as_rgb(REGION)[100:228, 300:428]
    nuclei = predictor(tile, 20)
    assert nuclei.image_size == (128, 128)
    assert 15 < len(nuclei) < 60
    assert torch.isfinite(nuclei.scores).all()


def test_slides_take_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = slide_predictor(overrides=["MODEL.DEVICE", "cpu"])
    assert predictor.cfg.MODEL.PROMPT_LEARNER.SAMPLING == "centred"
    assert predictor.predicts_masks
