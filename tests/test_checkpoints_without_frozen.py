"""Checkpoints of stage 2 without its frozen weights: small, resumed exactly, evaluated alike."""

from collections.abc import Callable
from pathlib import Path

import pytest
import test_two_stages
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from test_two_stages import config, train, train_interrupted
from torch import Tensor

from cfrsam_d2.checkpoint.checkpointer import without
from cfrsam_d2.checkpoint.files import read_checkpoint
from cfrsam_d2.checkpoint.frozen import SOURCES
from cfrsam_d2.engine import build_trained_model, load_config
from cfrsam_d2.errors import UserError

small_synthetic = test_two_stages.small_synthetic
OF_SAM = SOURCES.keys() - {"backbone.network."}  # with its own encoder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a SAM and a prompt learner of random weights, and another SAM."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = build_model(config("cfrsam", folder))
    sam = model.backbone.vit.state_dict(prefix="image_encoder.")
    for part in ("prompt_encoder", "mask_decoder"):
        sam |= getattr(model.mask_head, part).state_dict(prefix=f"{part}.")
    torch.save(sam, folder / "sam.pth")
    torch.save({name: each + 1e-3 for name, each in sam.items()}, folder / "other_sam.pth")
    learner = model.proposal_generator.state_dict(prefix="proposal_generator.")
    torch.save({"model": learner}, folder / "learner.pth")
    return folder


@pytest.fixture
def stage_2(weights: Path, tmp_path: Path) -> Callable[..., CfgNode]:
    """A function: a folder and overrides to the config of a run that leaves out what is frozen."""

    def make(name: str, *overrides: object) -> CfgNode:
        values = {
            "MODEL.SAM.FREEZE": True,
            "MODEL.SAM.WEIGHTS": str(weights / "sam.pth"),
            "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS": str(weights / "learner.pth"),
            "MODEL.CFRSAM.SAVE_FROZEN": False,
            "DATASETS.TEST": "()",
            "SOLVER.EMA_DECAY": 0.9,  # of the frozen buffers, too
        }
        pairs = [each for pair in values.items() for each in pair]
        return config("cfrsam", tmp_path / name, *pairs, *overrides)

    return make


def final(cfg: CfgNode) -> dict:
    return read_checkpoint(f"{cfg.OUTPUT_DIR}/model_final.pth")


def assert_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_what_is_left_out_is_had_from_its_files(
    stage_2: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
):
    whole, small, broken = stage_2("whole", "MODEL.CFRSAM.SAVE_FROZEN", True), *map(stage_2, "ab")
    train(whole)
    train(small)
    train_interrupted(broken, monkeypatch)

    expected = final(whole)
    assert "left_out" not in expected
    left_out = final(small)["left_out"]
    assert left_out.keys() == OF_SAM
    for cfg in (small, broken):
        assert_equal(final(cfg)["model"], without(expected["model"], left_out))
        assert_equal(final(cfg)["ema"], expected["ema"])
        assert final(cfg)["left_out"] == left_out
        assert_equal(build_trained_model(cfg).state_dict(), build_trained_model(whole).state_dict())


def test_what_trains_is_never_left_out(stage_2: Callable[..., CfgNode]):
    cfg = stage_2("trained", "MODEL.SAM.FREEZE", False, "SOLVER.MAX_ITER", 1, "SOLVER.STEPS", "()")
    train(cfg)
    assert final(cfg)["left_out"].keys() == OF_SAM - {"backbone.vit."}


def test_missing_and_other_files_are_named(stage_2: Callable[..., CfgNode], weights: Path):
    cfg = stage_2("trained", "SOLVER.MAX_ITER", 1, "SOLVER.STEPS", "()")
    train(cfg)
    for key, value, message in (
        ("SAM.WEIGHTS", "", r"leaves out the frozen weights backbone.vit.\*: let MODEL.SAM.WEI"),
        ("SAM.WEIGHTS", weights / "other_sam.pth", r"with other frozen weights backbone.vit.\* th"),
        ("CFRSAM.PROMPT_LEARNER_WEIGHTS", "", r"proposal_generator.\*: let MODEL.CFRSAM.PROMPT_LE"),
    ):
        changed = cfg.clone()
        changed.merge_from_list([f"MODEL.{key}", str(value)])
        with pytest.raises(UserError, match=rf"model_final.pth .*{message}"):
            build_trained_model(changed)
        with pytest.raises(UserError, match=rf"model_final.pth .*{message}"):
            train(changed, resume=True)


def test_a_checkpoint_of_vit_b_is_about_34_mb():
    cfg = load_config(str(test_two_stages.CONFIGS.parent / "cfrsam_b.yaml"))
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        weights = build_model(cfg).state_dict()
    megabytes = sum(4 * each.numel() for each in without(weights, SOURCES).values()) / 1e6
    assert 33 < megabytes < 34
