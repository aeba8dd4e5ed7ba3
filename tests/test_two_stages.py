"""Both stages trained, resumed and evaluated, with the configs of the training demo, smaller."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng
from interruption import interrupt

from cfrsam_d2.data.registration import register_nucleus_json, unregister
from cfrsam_d2.data.synthetic import SYNTHETIC_CLASSES, SYNTHETIC_TISSUES, make_synthetic_dataset
from cfrsam_d2.engine import NucleusTrainer, build_trained_model, load_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "train_demo"
ITERATIONS = 2  # one before a run is broken off, and one after


@pytest.fixture(scope="module", autouse=True)
def small_synthetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Three small sets, one image of which has no nucleus."""
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    splits = {"train": 16, "val": 2, "test": 2}
    make_synthetic_dataset(folder, splits)
    for split in splits:
        register_nucleus_json(
            f"small_{split}",
            folder / split / "nuclei.json",
            folder / split / "images",
            thing_classes=list(SYNTHETIC_CLASSES),
            tissues=list(SYNTHETIC_TISSUES),
        )
    yield
    for split in splits:
        unregister(f"small_{split}")


def config(stage: str, output: Path, *overrides: object) -> CfgNode:
    cfg = load_config(str(CONFIGS / f"{stage}.yaml"))
    values = [
        *("MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(output)),
        *("DATASETS.TRAIN", "('small_train',)"),
        *("DATASETS.VAL", "()", "DATASETS.TEST", "('small_test',)"),
        *("MODEL.PROMPT_LEARNER.DIMS", "[8, 16, 24, 32]", "MODEL.PROMPT_LEARNER.HIDDEN_DIM", 16),
        # An untrained learner sees nuclei everywhere: keep few of them.
        *("MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", 64.0),
        *("MODEL.SAM.EMBED_DIM", 48, "MODEL.SAM.ADAPTER_RANK", 8),
        *("MODEL.CFRSAM.MAX_TRAIN_NUCLEI", 2, "SOLVER.IMS_PER_BATCH", 2),
        *("SOLVER.MAX_ITER", ITERATIONS, "SOLVER.CHECKPOINT_PERIOD", ITERATIONS // 2),
        *("SOLVER.STEPS", f"({ITERATIONS - 1},)"),
    ]
    cfg.merge_from_list([*values, *overrides])
    return cfg


def train(cfg: CfgNode, *, resume: bool = False) -> dict:
    seed_all_rng(cfg.SEED)  # as default_setup does
    trainer = NucleusTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    return trainer.train()


def train_interrupted(cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The run of `cfg`, broken off at its middle and resumed."""
    interrupt(lambda: train(cfg), ITERATIONS // 2, monkeypatch)
    return train(cfg, resume=True)


def final_state(output: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(output / "model_final.pth", weights_only=True)
    return checkpoint["model"] | {f"ema.{k}": v for k, v in checkpoint.get("ema", {}).items()}


@pytest.mark.parametrize(
    ("generator", "beside"),
    [
        ("CentroidProposalGenerator", False),
        pytest.param("BoxProposalGenerator", False, marks=pytest.mark.slow),
        pytest.param("BoxProposalGenerator", True, marks=pytest.mark.slow),
    ],
)
def test_both_stages_resume_exactly_and_evaluate(
    generator: str, beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    negatives = 0 if generator == "BoxProposalGenerator" else 2  # boxes have none
    generator_keys: list[object] = [
        *("MODEL.PROPOSAL_GENERATOR.NAME", generator, "MODEL.CFRSAM.NEGATIVE_PROMPTS", negatives),
        *("MODEL.CFRSAM.BOX_BESIDE_POINT", beside),
    ]
    overrides = generator_keys
    for stage in ("prompt_learner", "cfrsam"):
        straight, broken = tmp_path / stage, tmp_path / f"{stage}_broken"
        scores = train(config(stage, straight, *overrides))
        resumed = train_interrupted(config(stage, broken, *overrides), monkeypatch)
        assert json.dumps(resumed) == json.dumps(scores)  # as text, in which NaN equals NaN
        expected, actual = final_state(straight), final_state(broken)
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[name], actual[name]) for name in expected)
        weights = ["MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS", str(straight / "model_final.pth")]
        overrides = [*generator_keys, *weights]

    assert {"segmentation", "tissue_bpq", "class_pq", "detection"} <= scores.keys()
    cfg = config("cfrsam", straight, *generator_keys)
    evaluated = NucleusTrainer.test(cfg, build_trained_model(cfg))
    assert json.dumps(evaluated) == json.dumps(scores)
    cfg.TEST.AUG.ENABLED = True
    assert NucleusTrainer.test(cfg, build_trained_model(cfg)).keys() == scores.keys()

    learner = final_state(tmp_path / "prompt_learner")
    frozen = {k: v for k, v in expected.items() if k.startswith("proposal_generator.")}
    assert all(torch.equal(v, learner.get(f"ema.{k}", learner[k])) for k, v in frozen.items())
