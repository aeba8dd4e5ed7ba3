"""Exported networks: they find what their model finds, and refuse what they were not made for."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from PIL import Image
from tiny_demo import TINY
from torch import Tensor
from torch.export import Dim

from cfrsam_d2.apps import export_model as app
from cfrsam_d2.data.image import read_rgb
from cfrsam_d2.deploy import exporting, running
from cfrsam_d2.deploy.exporting import (
    RECORD,
    SUFFIXES,
    export_networks,
    exported_program,
    write_int8,
    write_program,
)
from cfrsam_d2.deploy.networks import Network, PointEncoder, networks_of
from cfrsam_d2.deploy.running import load_program, use_networks
from cfrsam_d2.engine import build_trained_model, load_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.model_zoo import SMALL_MODEL, get_config_file
from cfrsam_d2.modeling.mask_head import ImageMaps
from cfrsam_d2.modeling.mask_head.decoder import build_prompt_encoder
from cfrsam_d2.predictor import NucleusPredictor

KEYS = ["MODEL.DEVICE", "cpu"]
REGION = Path(__file__).parents[2] / "datasets" / "example" / "cmu1_region.tif"


def shipped(*keys: str) -> CfgNode:
    """The config of the model that comes with the project: untrained ones find the same nowhere."""
    return load_config(get_config_file(SMALL_MODEL), [*KEYS, *keys])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of which no side is a multiple of 32 px."""
    path = tmp_path_factory.mktemp("image") / "tissue.png"
    Image.fromarray(read_rgb(str(REGION))[100:250, 30:150]).save(path)
    return path


@pytest.fixture(scope="module")
def stage1(tmp_path_factory: pytest.TempPathFactory, image: Path) -> tuple[CfgNode, Path]:
    """The config of the model's stage 1, and its export to ONNX."""
    folder = tmp_path_factory.mktemp("stage1")
    weights = build_trained_model(shipped()).state_dict()
    weights = {name: each for name, each in weights.items() if name.startswith("proposal_gen")}
    torch.save({"model": weights}, folder / "weights.pth")
    cfg = load_config(get_config_file("small/prompt_learner_all.yaml"), KEYS)
    cfg.MODEL.WEIGHTS = str(folder / "weights.pth")
    agreement = app.export_model(cfg, folder / "onnx", "onnx", image)
    assert agreement.nuclei[0] == agreement.nuclei[1] > 4
    assert agreement.iou > 0.999
    return cfg, folder / "onnx"


@pytest.mark.slow
def test_an_export_is_a_config_as_any_other(tmp_path: Path, image: Path) -> None:
    folder = tmp_path / "programs"
    agreement = app.export_model(shipped(), folder, "torch", image)
    assert agreement.holds("torch")
    assert agreement.nuclei[0] > 4
    export, model = NucleusPredictor(folder / "config.yaml"), NucleusPredictor(shipped())
    part = np.asarray(Image.open(image))[20:, :110]
    found = model(part)
    assert len(found) > 2
    assert app.mean_iou(found, export(part)) > 0.999
    names = ("config.yaml", "decoder.pt2", "encoder.pt2", RECORD, "points.pt2", "refiner.pt2")
    assert {each.name for each in folder.iterdir()} == {*names}


@torch.no_grad()
def test_programs_take_any_number_of_prompts_and_any_size(tmp_path: Path) -> None:
    model = build_trained_model(shipped())
    decoder = next(each for each in networks_of(model) if each.name == "decoder")
    inputs = (torch.randn(3, 256, 7, 5), 80 * torch.rand(4, 2), torch.tensor([0, 2, 2, 1]))
    path = tmp_path / "decoder.pt2"
    write_program(decoder, exported_program(decoder), path)
    found = load_program(path, torch.device("cpu"))(*inputs)
    maps = ImageMaps((112, 80), inputs[0])
    expected = model.mask_head.decode(maps, *inputs[1:])
    for each, name in zip(found, ("logits", "pred_iou", "features"), strict=True):
        torch.testing.assert_close(each, getattr(expected, name), atol=1e-5, rtol=1e-5)


def test_stage_1_in_onnx_runtime(stage1: tuple[CfgNode, Path], image: Path) -> None:
    cfg, folder = stage1
    export, model = NucleusPredictor(folder / "config.yaml"), NucleusPredictor(cfg)
    part = np.asarray(Image.open(image))[20:, :110]
    assert len(model(part)) > 2
    assert app.shared_points(model(part), export(part)) == 1
    with pytest.raises(UserError, match="an image of 32×136 px is too small"):
        export(part[:, :30])
    assert {each.name for each in folder.iterdir()} == {"config.yaml", RECORD, "points.onnx"}
    assert sum(each.numel() for each in export.model.parameters()) == 0
    assert export.model.exported.item() == json.loads((folder / RECORD).read_text())["weights"]


@pytest.mark.slow
def test_everything_in_onnx_runtime(tmp_path: Path, image: Path) -> None:
    cfg = shipped("MODEL.CFRSAM.NEGATIVE_PROMPTS", "2")
    agreement = app.export_model(cfg, tmp_path / "onnx", "onnx", image)
    assert agreement.holds("onnx")
    assert agreement.nuclei[0] > 4


@pytest.mark.slow
@torch.no_grad()
def test_the_class_head_votes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For any number of prompts and any size; it alone is exported."""
    keys = [*TINY, "MODEL.MASK_HEAD.CLASS_HEAD", "True"]
    cfg = load_config(get_config_file("train_demo/cfrsam.yaml"), keys)
    model, export = (build_model(cfg).eval() for _ in range(2))
    (class_head,) = (each for each in networks_of(model) if each.name == "class_head")
    monkeypatch.setattr(exporting, "networks_of", lambda model: [class_head])
    monkeypatch.setattr(
        running,
        "_network",
        lambda folder, name, device, load=running._network: (
            load(folder, name, device) if name == "class_head" else None
        ),
    )
    inputs = torch.randn(4, 28, 20), torch.randn(4, 32, 28, 20), torch.randn(4, 256, 7, 5)
    expected = model.mask_head.class_head(*inputs)
    for form in SUFFIXES:
        folder = tmp_path / form
        folder.mkdir()
        export_networks(model, cfg, folder, form)
        use_networks(export, cfg, folder)
        torch.testing.assert_close(export.mask_head.class_head(*inputs), expected)
    cfg.MODEL.MASK_HEAD.CLASS_HEAD = False
    with pytest.raises(UserError, match="CLASS_HEAD True, and the run has False"):
        use_networks(export, cfg, tmp_path / "onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        ["MODEL.SAM.GLOBAL_ATTN_INDEXES", "[1, 3]", "MODEL.SAM.DEPTH", "4"],
        [
            *("MODEL.BACKBONE.NAME", "TimmEncoder", "MODEL.TIMM.NAME", "test_vit2"),
            *("MODEL.TIMM.OPTIONS", "depth=4"),
        ],
    ],
    ids=["SAM", "timm"],
)
def test_an_encoder_at_any_size(tmp_path: Path, keys: list[str]) -> None:
    cfg = load_config(get_config_file("train_demo/cfrsam.yaml"), [*TINY, *keys])
    model = build_model(cfg).eval()
    sizes = ((2, 256, 480), (1, 80, 304), (1, 64, 64), (3, 224, 224), (1, 256, 256))
    images = [torch.randn(count, 3, height, width) for count, height, width in sizes]
    with torch.no_grad():
        expected = [model.encode(each) for each in images]
    for form in SUFFIXES:
        folder = tmp_path / form
        folder.mkdir()
        export_networks(model, cfg, folder, form)
        export = build_model(cfg).eval()
        use_networks(export, cfg, folder)
        with torch.no_grad():
            found = [export.encode(each) for each in images]
        for of_export, of_model in zip(found, expected, strict=True):
            for name in ("embeddings", "detail", "deep_features"):
                torch.testing.assert_close(
                    getattr(of_export, name), getattr(of_model, name), atol=1e-4, rtol=1e-4
                )


@torch.no_grad()
def test_linear_layers_in_8_bit_integers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of encoders alone; products of two inputs stay as they are."""
    import onnx

    class Layers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(16, 24)

        def forward(self, x: Tensor) -> tuple[Tensor]:
            y = self.linear(x)
            return (y @ y.mT,)

    torch.manual_seed(0)
    layers, x = Layers(), torch.randn(5, 7, 16)
    networks = [
        Network(name, layers, {"x": x[:3]}, ({0: Dim("n", min=1, max=9)},))
        for name in ("encoder", "refiner")
    ]
    programs = [exported_program(each) for each in networks]
    for network, program in zip(networks, programs, strict=True):
        write_int8(network, program, tmp_path / f"{network.name}.onnx")
    assert {each.name for each in tmp_path.iterdir()} == {"encoder.onnx", "refiner.onnx"}
    kinds = {
        name: [node.op_type for node in onnx.load(tmp_path / f"{name}.onnx").graph.node]
        for name in ("encoder", "refiner")
    }
    assert kinds["encoder"].count("MatMulInteger") == kinds["encoder"].count("MatMul") == 1
    assert "MatMulInteger" not in kinds["refiner"]
    (expected,) = layers(x)
    (found,) = running._network(tmp_path, "encoder", x.device)(x)
    assert 0 < (found - expected).abs().mean() < 0.03 * expected.abs().mean()
    (found,) = running._network(tmp_path, "refiner", x.device)(x)
    torch.testing.assert_close(found, expected)
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(UserError, match=r"int8 needs ONNX Runtime: pip install cfrsam_d2"):
        write_int8(networks[0], programs[0], tmp_path / "encoder.onnx")


def test_an_export_in_8_bit_integers_may_differ_by_little() -> None:
    for nuclei, iou, forms in [
        ((100, 100), 0.9995, {"onnx", "torch", "int8"}),
        ((100, 98), 0.9995, {"int8"}),
        ((100, 97), 0.9995, set()),
        ((100, 100), 0.96, {"int8"}),
        ((100, 100), 0.94, set()),
        ((0, 0), 1.0, {"onnx", "torch", "int8"}),
        ((0, 1), 1.0, set()),
    ]:
        agreement = app.Agreement(nuclei, iou, (1.0, 1.0))
        assert {form for form in app.LEAST_IOU if agreement.holds(form)} == forms


def test_points_are_embedded_as_sams_encoder_does() -> None:
    torch.manual_seed(0)
    sams = build_prompt_encoder()
    encoder = build_prompt_encoder(PointEncoder)
    encoder.load_state_dict(sams.state_dict())
    points, labels = 100 * torch.rand(4, 3, 2), torch.tensor([[1, 0, -1]]).repeat(4, 1)
    points[:, 2] = torch.nan
    boxes = 100 * torch.rand(4, 4)
    for prompts in ({"points": (points, labels), "boxes": None}, {"points": None, "boxes": boxes}):
        for found, expected in zip(
            encoder(**prompts, masks=None), sams(**prompts, masks=None), strict=True
        ):
            torch.testing.assert_close(found, expected)


def test_what_the_networks_were_not_made_for(
    stage1: tuple[CfgNode, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, folder = stage1
    with pytest.raises(UserError, match=r"SAMPLING published, and the run has centred"):
        NucleusPredictor(cfg, folder, ["MODEL.PROMPT_LEARNER.SAMPLING", "centred"])
    with pytest.raises(UserError, match=r"without a usable export\.json"):
        NucleusPredictor(cfg, tmp_path)
    shutil.copytree(folder, tmp_path / "cut")
    for suffix in ("onnx", "pt2"):
        (tmp_path / "cut" / f"points.{suffix}").write_bytes(b"\x08\x0a")
        with pytest.raises(UserError, match=rf"points\.{suffix} cannot be loaded .* damaged"):
            NucleusPredictor(cfg, tmp_path / "cut")
        (tmp_path / "cut" / f"points.{suffix}").unlink()
    with pytest.raises(UserError, match="has no network 'points'"):
        NucleusPredictor(cfg, tmp_path / "cut")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install cfrsam_d2\[export\]"):
        NucleusPredictor(cfg, folder)


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_trained_model(shipped())
    model.proposal_generator.proposes_boxes = True
    with pytest.raises(UserError, match="only models that points prompt"):
        export_networks(model, shipped(), tmp_path, "torch")
    monkeypatch.setattr(torch, "__version__", "2.8.0+cpu")
    with pytest.raises(UserError, match=r"PyTorch 2\.8\.0\+cpu is too old .* takes 2\.9 or newer"):
        export_networks(model, shipped(), tmp_path, "torch")
    with pytest.raises(UserError, match="too old for programs"):
        load_program(tmp_path / "points.pt2", model.device)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_differs_leaves_the_old_one(
    stage1: tuple[CfgNode, Path], tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, folder = stage1
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
