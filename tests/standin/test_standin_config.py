"""Configs and what is built from them: the same on Detectron2 and on the stand-in."""

from pathlib import Path

import pytest
from detectron2.config import CfgNode, configurable, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    build_backbone,
    build_model,
    build_proposal_generator,
)
from detectron2.modeling.backbone import Backbone
from torch import nn


def test_configs_are_independent_copies() -> None:
    first, second = get_cfg(), get_cfg()
    first.SOLVER.BASE_LR = 5.0
    assert second.SOLVER.BASE_LR == 0.001
    clone = first.clone()
    clone.freeze()
    with pytest.raises(AttributeError):
        clone.SEED = 1
    assert clone.is_frozen()
    assert not first.is_frozen()


def test_base_files_come_first(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "VERSION: 2\nSOLVER: {BASE_LR: 0.5, STEPS: [10, 20]}\nDATASETS: {TRAIN: ['a']}\n"
    )
    leaf = tmp_path / "leaf.yaml"
    leaf.write_text("_BASE_: base.yaml\nSOLVER: {BASE_LR: 0.25}\n")
    cfg = get_cfg()
    cfg.merge_from_file(str(leaf))
    assert cfg.SOLVER.BASE_LR == 0.25
    assert cfg.SOLVER.STEPS == (10, 20)
    assert cfg.DATASETS.TRAIN == ("a",)
    assert cfg.SOLVER.MAX_ITER == 40000
    assert CfgNode.load_yaml_with_base(str(leaf))["SOLVER"] == {"BASE_LR": 0.25, "STEPS": [10, 20]}


def test_unknown_keys_and_other_versions_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("VERSION: 2\nSOLVER: {BASE_LRR: 0.5}\n")
    with pytest.raises(KeyError, match=r"SOLVER\.BASE_LRR"):
        get_cfg().merge_from_file(str(file))
    file.write_text("VERSION: 3\n")
    with pytest.raises(AssertionError, match="v3"):
        get_cfg().merge_from_file(str(file))


def test_command_line_values_are_parsed() -> None:
    cfg = get_cfg()
    cfg.merge_from_list(["SOLVER.STEPS", "(3, 4)", "MODEL.DEVICE", "cpu", "SOLVER.BASE_LR", "1e-4"])
    assert (cfg.SOLVER.STEPS, cfg.MODEL.DEVICE, cfg.SOLVER.BASE_LR) == ((3, 4), "cpu", 1e-4)
    with pytest.raises(ValueError, match="SEED"):
        cfg.merge_from_list(["SEED", "many"])


def test_dumped_configs_can_be_read_again(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.SOLVER.STEPS = (7,)
    file = tmp_path / "config.yaml"
    file.write_text(cfg.dump())
    again = get_cfg()
    again.merge_from_file(str(file))
    assert again.SOLVER == cfg.SOLVER
    assert again.SOLVER.STEPS == (7,)


class Scaled:
    @configurable
    def __init__(self, *, factor: float, offset: float = 1.0) -> None:
        self.numbers = (factor, offset)

    @classmethod
    def from_config(cls, cfg: CfgNode, offset: float = 2.0) -> dict:
        return {"factor": cfg.SOLVER.BASE_LR, "offset": offset}


class ScaledMore(Scaled):
    @classmethod
    def from_config(cls, cfg: CfgNode, *args, **kwargs) -> dict:
        return {"factor": 10 * cfg.SOLVER.BASE_LR, "offset": float(len(args))}


def test_configurable_init() -> None:
    cfg = get_cfg()
    assert Scaled(factor=3.0).numbers == (3.0, 1.0)
    assert Scaled(cfg).numbers == (0.001, 2.0)
    assert Scaled(cfg=cfg).numbers == (0.001, 2.0)
    assert Scaled(cfg, 5.0).numbers == (0.001, 5.0)
    assert Scaled(cfg, offset=6.0).numbers == (0.001, 6.0)
    assert Scaled(cfg, factor=4.0).numbers == (4.0, 2.0)  # overrides what the config says
    assert ScaledMore(cfg, "other").numbers == (0.01, 1.0)
    with pytest.raises(TypeError):
        Scaled(cfg, unknown=1)


def test_configurable_function() -> None:
    @configurable(from_config=lambda cfg: {"factor": cfg.SOLVER.BASE_LR})
    def scaled(factor: float, offset: float = 1.0) -> tuple[float, float]:
        return factor, offset

    assert scaled(2.0) == (2.0, 1.0)
    assert scaled(get_cfg()) == (0.001, 1.0)
    assert scaled(get_cfg(), offset=3.0) == (0.001, 3.0)


def test_models_are_built_by_name() -> None:
    @BACKBONE_REGISTRY.register()
    class StandinTestBackbone(Backbone):
        def __init__(self, cfg: CfgNode, input_shape: ShapeSpec) -> None:
            super().__init__()
            self.channels = input_shape.channels

        def forward(self, images):
            return {}

    @PROPOSAL_GENERATOR_REGISTRY.register()
    class StandinTestGenerator(nn.Module):
        def __init__(self, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> None:
            super().__init__()
            self.input_shape = input_shape

    @META_ARCH_REGISTRY.register()
    class StandinTestArchitecture(nn.Module):
        def __init__(self, cfg: CfgNode) -> None:
            super().__init__()
            self.backbone = build_backbone(cfg)
            shapes = {"all": ShapeSpec(channels=2, stride=4)}
            self.proposal_generator = build_proposal_generator(cfg, shapes)

    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "StandinTestArchitecture"
    cfg.MODEL.BACKBONE.NAME = "StandinTestBackbone"
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "StandinTestGenerator"
    model = build_model(cfg)
    assert model.backbone.channels == 3
    assert model.backbone.size_divisibility == 0
    assert model.proposal_generator.input_shape["all"] == ShapeSpec(2, None, None, 4)
    cfg.MODEL.META_ARCHITECTURE = "Unheard"
    with pytest.raises(KeyError, match="Unheard"):
        build_model(cfg)


def test_backbones_are_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Backbone()
