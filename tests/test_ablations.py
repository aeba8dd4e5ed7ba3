"""Ablations on a small scale, one of each code path: trained, resumed, converted, evaluated."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import test_train_net
import torch
import yaml
from detectron2.modeling import build_model

import train_net
from cfrsam_d2.checkpoint.files import read_checkpoint
from cfrsam_d2.engine import load_config
from cfrsam_d2.modeling.mask_head.fusions import FUSIONS

ROOT = Path(__file__).resolve().parents[1]
CHOOSE_PARTS = {"ADAPTER", "FREEZE", "FUSION", "REFINEMENT"}
sys.path.insert(0, str(ROOT / "tools"))
import convert_checkpoint  # noqa: E402

tiles = test_train_net.tiles

SMALL = {
    "MODEL.DEVICE": "cpu",
    "MODEL.PROMPT_LEARNER.NUM_CLASSES": 2,
    "MODEL.PROMPT_LEARNER.BACKBONE": "convnext_tiny",
    "MODEL.PROMPT_LEARNER.DEPTHS": [1, 1, 1, 1],
    "MODEL.PROMPT_LEARNER.DIMS": [8, 8, 16, 16],
    "MODEL.PROMPT_LEARNER.HIDDEN_DIM": 16,
    # An untrained learner sees nuclei everywhere: keep few of them, and train on the true ones.
    "MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS": 40.0,
    "MODEL.CFRSAM.TRAIN_PROMPTS": "centroid",
    "MODEL.SAM.EMBED_DIM": 24,
    "MODEL.SAM.DEPTH": 4,
    "MODEL.SAM.NUM_HEADS": 2,
    "MODEL.SAM.GLOBAL_ATTN_INDEXES": [1, 3],
    "MODEL.MASK_HEAD.CROP_SIZES": [32],
    "MODEL.MASK_HEAD.TRAIN_CROP_SIZES": [32],
    "MODEL.MASK_HEAD.CROP_HALO": 4,
    "DATALOADER.NUM_WORKERS": 0,
    "DATASETS.VAL": (),
    "INPUT.AUGMENTATION": "none",
    "INPUT.TRAIN_CROP_SIZE": 64,
    "SOLVER.STEPS": (),
    "SOLVER.MAX_ITER": 2,
}


def as_arguments(keys: dict[str, object]) -> list[str]:
    return [str(each) for pair in keys.items() for each in pair]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a SAM and a prompt learner of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    cfg = load_config(str(ROOT / "configs" / "cfrsam_b.yaml"), as_arguments(SMALL))
    torch.manual_seed(0)
    model = build_model(cfg)
    sam = model.backbone.vit.state_dict(prefix="image_encoder.")
    for part in ("prompt_encoder", "mask_decoder"):
        sam |= getattr(model.mask_head, part).state_dict(prefix=f"{part}.")
    torch.save(sam, folder / "sam.pth")
    learner = model.proposal_generator.state_dict(prefix="proposal_generator.")
    torch.save({"model": learner}, folder / "learner.pth")
    return folder


@pytest.fixture
def run(tiles: Path, weights: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function: runs train_net.py on a config, and gives the folder of the run."""

    def run(config: Path, name: str, *switches: str, **overrides: object) -> Path:
        keys = {
            **SMALL,
            "MODEL.SAM.WEIGHTS": weights / "sam.pth",
            "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS": weights / "learner.pth",
            "DATASETS.TRAIN": ("custom_train",),
            "DATASETS.TEST": ("custom_test",),
            "OUTPUT_DIR": tmp_path / name,
        }
        for split in ("train", "test"):
            keys[f"DATASETS.CUSTOM.{split.upper()}.JSON"] = tiles / split / "nuclei.json"
            keys[f"DATASETS.CUSTOM.{split.upper()}.IMAGES"] = tiles / split / "images"
        keys |= {key.replace("__", "."): value for key, value in overrides.items()}
        train_net.main(["--config-file", str(config), *switches, *as_arguments(keys)])
        return tmp_path / name

    return run


def trained(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(str(folder / "model_final.pth"))["model"]


def scores(folder: Path) -> str:
    """As text, in which NaN equals NaN."""
    return (folder / "inference" / "custom_test" / "metrics.json").read_text()


def differences(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> set[str]:
    assert ours.keys() == theirs.keys()
    return {name for name, each in ours.items() if not torch.equal(each, theirs[name])}


def parts_that_train(config: Path) -> set[str]:
    node = load_config(str(config)).MODEL
    parts = {
        "backbone.vit": not node.SAM.FREEZE,
        "backbone.adapters": node.SAM.ADAPTER != "none",
        "mask_head.fusion": bool(list(FUSIONS[node.MASK_HEAD.FUSION](256).parameters())),
        "mask_head.mask_decoder": True,
        "mask_head.deep_branch": node.MASK_HEAD.REFINEMENT != "none",
        "mask_head.bgmr": node.MASK_HEAD.REFINEMENT != "none",
    }
    return {part for part, trains in parts.items() if trains}


def one_of_each_path() -> list[Path]:
    """Of the configs that choose the same parts, the first; none that changes only numbers."""
    configs: dict[frozenset, Path] = {}
    for path in sorted((ROOT / "configs" / "ablations").glob("*.yaml")):
        nodes = yaml.safe_load(path.read_text())["MODEL"].values()
        keys = {key: value for node in nodes for key, value in node.items()}
        parts = frozenset((key, keys[key]) for key in keys.keys() & CHOOSE_PARTS)
        configs.setdefault(parts, path)
    return [path for parts, path in configs.items() if parts]


# One of each table; the others repeat what these do.
OFTEN = ("adapter_lora", "bgmr_mlp", "finetune_full", "hmfm_none", "mala_static")


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in OFTEN else pytest.mark.slow)
        for path in one_of_each_path()
    ],
)
def test_train_resume_convert_evaluate(config: Path, run: Callable[..., Path], tmp_path: Path):
    folder = run(config, "trained", SOLVER__MAX_ITER=1, DATASETS__TEST=())
    halfway = trained(folder)
    run(config, "trained", "--resume")
    changed = {".".join(name.split(".")[:2]) for name in differences(trained(folder), halfway)}
    assert changed == parts_that_train(config)

    converted = str(tmp_path / "converted.pth")
    overrides = ["--config-file", str(config), *as_arguments(SMALL)]
    convert_checkpoint.main([str(folder / "model_final.pth"), converted, *overrides])
    evaluated = run(config, "evaluated", "--eval-only", MODEL__WEIGHTS=converted)
    assert scores(evaluated) == scores(folder)
    assert "bPQ" in json.loads(scores(folder))["segmentation"]
