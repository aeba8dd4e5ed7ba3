"""Exported networks: they find what their model finds, and refuse what they were not made for."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from PIL import Image

from cfrsam_d2.apps import export_model as app
from cfrsam_d2.data.image import read_rgb
from cfrsam_d2.deploy.exporting import RECORD, export_networks
from cfrsam_d2.engine import build_trained_model, load_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.model_zoo import SMALL_MODEL, get_config_file
from cfrsam_d2.predictor import NucleusPredictor

KEYS = ["MODEL.DEVICE", "cpu"]
REGION = Path(__file__).parents[2] / "datasets" / "example" / "cmu1_region.tif"


def shipped(*keys: str) -> CfgNode:
    """The config of the model that comes with the project: untrained ones find the same nowhere."""
    return load_config(get_config_file(SMALL_MODEL), [*KEYS, *keys])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of more than a window, and no multiple of 32 px."""
    path = tmp_path_factory.mktemp("image") / "tissue.png"
    Image.fromarray(read_rgb(str(REGION))[:270, :330]).save(path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, image: Path) -> tuple[CfgNode, Path]:
    """A model's config, and its export to ONNX."""
    folder = tmp_path_factory.mktemp("exported")
    cfg = shipped()
    agreement = app.export_model(cfg, folder / "onnx", "onnx", image)
    assert agreement.nuclei[0] == agreement.nuclei[1] > 10
    assert agreement.iou > 0.999
    return cfg, folder / "onnx"


def test_an_export_is_a_config_as_any_other(exported: tuple[CfgNode, Path], image: Path) -> None:
    cfg, folder = exported
    export = NucleusPredictor(folder / "config.yaml")
    model = NucleusPredictor(cfg)
    part = np.asarray(Image.open(image))[:50, :200]
    found = model(part)
    assert len(found) > 2
    assert app.mean_iou(found, export(part)) > 0.999
    assert sum(each.numel() for each in export.model.parameters()) == 0
    assert export.model.exported.item() == json.loads((folder / RECORD).read_text())["weights"]


def test_programs_of_torch_find_the_same_at_other_sizes(tmp_path: Path, image: Path) -> None:
    cfg = shipped("MODEL.CFRSAM.NEGATIVE_PROMPTS", "2")
    agreement = app.export_model(cfg, tmp_path / "programs", "torch", image)
    assert agreement.holds


def test_stage_1_alone(tmp_path: Path, image: Path) -> None:
    weights = {"model": build_trained_model(shipped()).state_dict()}
    torch.save(weights, tmp_path / "weights.pth")
    cfg = load_config(get_config_file("small/prompt_learner_all.yaml"), KEYS)
    cfg.MODEL.WEIGHTS = str(tmp_path / "weights.pth")
    agreement = app.export_model(cfg, tmp_path / "points", "torch", image)
    assert agreement.holds
    assert agreement.nuclei[0] > 10
    files = sorted(each.name for each in (tmp_path / "points").iterdir())
    assert files == ["config.yaml", "export.json", "points.pt2"]


def test_what_the_networks_were_not_made_for(
    exported: tuple[CfgNode, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, folder = exported
    with pytest.raises(UserError, match=r"SAMPLING published, and the run has centred"):
        NucleusPredictor(cfg, folder, ["MODEL.PROMPT_LEARNER.SAMPLING", "centred"])
    with pytest.raises(UserError, match=r"without a usable export\.json"):
        NucleusPredictor(cfg, tmp_path)
    shutil.copytree(folder, tmp_path / "cut")
    (tmp_path / "cut" / "encoder.onnx").write_bytes(b"\x08\x0a")
    with pytest.raises(UserError, match=r"encoder\.onnx cannot be loaded .* damaged"):
        NucleusPredictor(cfg, tmp_path / "cut")
    (tmp_path / "cut" / "encoder.onnx").unlink()
    with pytest.raises(UserError, match="has no network 'encoder'"):
        NucleusPredictor(cfg, tmp_path / "cut")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install cfrsam_d2\[export\]"):
        NucleusPredictor(cfg, folder)


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    model = build_trained_model(shipped())
    model.proposal_generator.proposes_boxes = True
    with pytest.raises(UserError, match="only models that points prompt"):
        export_networks(model, shipped(), tmp_path, "torch")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_differs_leaves_the_old_one(
    exported: tuple[CfgNode, Path], tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, folder = exported
    output = tmp_path / "export"
    shutil.copytree(folder, output)
    before = {each.name: each.read_bytes() for each in output.iterdir()}
    agreement = app.Agreement((3, 2), 0.5, (1.0, 1.0))
    monkeypatch.setattr(app, "export_networks", lambda *args: None)
    monkeypatch.setattr(app, "NucleusPredictor", lambda *args: NucleusPredictor(cfg))
    monkeypatch.setattr(app, "compare", lambda *args: agreement)
    with pytest.raises(UserError, match="does not agree"):
        app.export_model(cfg, output, "onnx", image)
    assert {each.name: each.read_bytes() for each in output.iterdir()} == before
