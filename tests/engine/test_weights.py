"""Weights of a newly built model: none are read before they are asked for."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from safetensors.torch import save_file
from tiny_demo import TINY
from torch import Tensor, nn

from cfrsam_d2.engine import build_trained_model, load_config, load_initial_weights
from cfrsam_d2.engine.weights import check_initial_weights
from cfrsam_d2.errors import UserError

DEMO = Path(__file__).resolve().parents[2] / "configs" / "train_demo"
LEARNER_WEIGHTS = "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS"


def config(stage: str, *overrides: object) -> CfgNode:
    return load_config(str(DEMO / f"{stage}.yaml"), [*TINY, *map(str, overrides)])


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in model.state_dict().items()}


def changed_parts(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """The first two levels of the names of weights that are not what they were."""
    after = model.state_dict()
    names = [name for name, each in before.items() if not torch.equal(each, after[name])]
    return {".".join(name.split(".")[:2]) for name in names}


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of stage 1 with weights of its own."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("learner") / "model_best.pth"
    torch.save({"model": build_model(config("prompt_learner")).state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as Meta's, of the size of the tiny config."""
    model = build_model(config("cfrsam"))
    weights = model.backbone.vit.state_dict(prefix="image_encoder.")
    for part in ("prompt_encoder", "mask_decoder"):
        weights |= getattr(model.mask_head, part).state_dict(prefix=f"{part}.")
    path = tmp_path_factory.mktemp("sam") / "sam.pth"
    torch.save({name: torch.randn_like(each) for name, each in weights.items()}, path)
    return path


def test_stage_1_starts_from_imagenet_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = timm.create_model("convnext_atto").state_dict()
    path = tmp_path / "model.safetensors"
    save_file({name: torch.randn_like(each) for name, each in weights.items()}, path)
    cfg = config(
        "prompt_learner",
        *("MODEL.PROMPT_LEARNER.BACKBONE", "convnext_atto", "MODEL.PROMPT_LEARNER.DEPTHS", "[]"),
        *("MODEL.PROMPT_LEARNER.DIMS", "[]", "MODEL.PROMPT_LEARNER.PRETRAINED_FILE", path),
    )
    model = build_model(cfg)
    before = copied(model)
    load_initial_weights(model, cfg)  # PRETRAINED is False
    assert changed_parts(model, before) == set()
    cfg.MODEL.PROMPT_LEARNER.PRETRAINED = True
    load_initial_weights(model, cfg)
    assert changed_parts(model, before) == {"proposal_generator.backbone"}


def test_stage_2_starts_from_stage_1_and_sam(learner: Path, sam: Path) -> None:
    cfg = config("cfrsam", LEARNER_WEIGHTS, learner, "MODEL.SAM.WEIGHTS", sam)
    model = build_model(cfg)
    before = copied(model)
    load_initial_weights(model, cfg)
    of_stage_1 = torch.load(learner, weights_only=True)["model"]
    assert all(torch.equal(model.state_dict()[name], each) for name, each in of_stage_1.items())
    of_sam = {"backbone.vit", "mask_head.prompt_encoder", "mask_head.mask_decoder"}
    parts = {each for each in changed_parts(model, before) if each.startswith(("back", "mask"))}
    assert parts == of_sam


def test_files_are_not_wanted_where_other_weights_follow(tmp_path: Path) -> None:
    """Neither for building, nor before a whole checkpoint."""
    keys = (LEARNER_WEIGHTS, "gone.pth", "MODEL.SAM.WEIGHTS", "gone.pth")
    pretrained = ("MODEL.PROMPT_LEARNER.PRETRAINED", True)  # of another size, too
    for stage, overrides in (("prompt_learner", pretrained), ("cfrsam", keys)):
        cfg = config(stage, *overrides)
        weights = tmp_path / f"{stage}.pth"
        torch.save({"model": build_model(cfg).state_dict()}, weights)
        cfg.MODEL.WEIGHTS = str(weights)
        check_initial_weights(cfg)
        model = build_trained_model(cfg)
        assert (
            getattr(model, "parts_from_files", ()) == ()
        )  # so nothing is left out when it is saved
        cfg.MODEL.WEIGHTS = ""
        with pytest.raises(UserError, match=r"gone.pth does not exist|do not fit a resized Conv"):
            load_initial_weights(build_model(cfg), cfg)


def test_a_learner_of_another_kind_is_refused(learner: Path) -> None:
    """Of another size, or of points where boxes are wanted."""
    for key, value, message in (
        ("MODEL.PROMPT_LEARNER.HIDDEN_DIM", 32, r"\d+ of another shape"),
        ("MODEL.PROPOSAL_GENERATOR.NAME", "BoxProposalGenerator", "4 missing .*size_head"),
    ):
        keys = (LEARNER_WEIGHTS, learner, key, value, "MODEL.CFRSAM.NEGATIVE_PROMPTS", 0)
        cfg = config("cfrsam", *keys)
        with pytest.raises(UserError, match=rf"model_best.pth .*another architecture, {message}"):
            load_initial_weights(build_model(cfg), cfg)


@pytest.mark.parametrize(
    ("stage", "overrides", "message"),
    [
        ("cfrsam", [LEARNER_WEIGHTS, ""], r"WEIGHTS is empty: train the prompt learner first"),
        ("cfrsam", ["MODEL.SAM.FREEZE", True],
         r"SAM.WEIGHTS is empty and MODEL.SAM.FREEZE is True: name SAM's weights"),
        ("prompt_learner", ["MODEL.PROMPT_LEARNER.PRETRAINED", True],
         r"PRETRAINED is True, but .* a resized ConvNeXt: set it False, or leave .*DIMS empty"),
    ],
)  # fmt: skip
def test_what_a_training_cannot_start_from(
    stage: str, overrides: list, message: str, tmp_path: Path
) -> None:
    """Unless it continues, or starts from a whole checkpoint."""
    cfg = config(stage, *overrides, "OUTPUT_DIR", tmp_path)
    for resume in (False, True):
        with pytest.raises(UserError, match=message):
            check_initial_weights(cfg, resume=resume)
    cfg.MODEL.WEIGHTS = "x.pth"
    check_initial_weights(cfg)
    cfg.MODEL.WEIGHTS = ""
    (tmp_path / "last_checkpoint").write_text("model_0000003.pth")
    (tmp_path / "model_0000003.pth").touch()
    check_initial_weights(cfg, resume=True)
    with pytest.raises(UserError, match=message):
        check_initial_weights(cfg)


def test_what_a_training_can_start_from() -> None:
    check_initial_weights(config("prompt_learner"))
    check_initial_weights(config("cfrsam"))


def test_best_weights_before_final_ones(toy_config: Callable[..., CfgNode], tmp_path: Path) -> None:
    cfg = toy_config("DATASETS.TRAIN", "()")
    with pytest.raises(UserError, match=r"no trained weights: .*output has neither .* train first"):
        build_trained_model(cfg)

    def write(path: Path, value: float) -> None:
        path.parent.mkdir(exist_ok=True)
        weights = {name: torch.full_like(each, value) for name, each in shapes.items()}
        torch.save({"model": weights}, path)

    shapes = build_model(cfg).state_dict()
    write(tmp_path / "output" / "model_final.pth", 1)
    assert build_trained_model(cfg).point.bias[0] == 1
    write(tmp_path / "output" / "model_best.pth", 2)
    model = build_trained_model(cfg)
    assert model.point.bias[0] == 2
    assert not model.training
    shutil.copy(tmp_path / "output" / "model_final.pth", tmp_path / "given.pth")
    cfg.MODEL.WEIGHTS = str(tmp_path / "given.pth")
    assert build_trained_model(cfg).point.bias[0] == 1
