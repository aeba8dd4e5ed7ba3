"""Training that ends when validation no longer improves: scores are given, the rest is real."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng

from cfrsam_d2.engine import NucleusTrainer

PERIOD = 2


@pytest.fixture
def config(toy_config: Callable[..., CfgNode]) -> Callable[..., CfgNode]:
    """A function: patience and overrides to a run of up to 20 iterations, scored every second."""

    def with_patience(patience: int, *overrides: object) -> CfgNode:
        keys = {
            "TEST.EARLY_STOPPING_PATIENCE": patience,
            "TEST.EVAL_PERIOD": PERIOD,
            "SOLVER.MAX_ITER": 20,
            "SOLVER.CHECKPOINT_PERIOD": PERIOD,
        }
        return toy_config(*(each for pair in keys.items() for each in pair), *overrides)

    return with_patience


class Scores:
    """In place of evaluation: gives scores on the validation set by iteration, and 0.5 on test."""

    def __init__(self, scores: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.scores = scores
        self.trainer: NucleusTrainer | None = None
        self.tested: list[dict[str, torch.Tensor]] = []
        monkeypatch.setattr(NucleusTrainer, "test", self)

    def __call__(self, cfg: CfgNode, model: torch.nn.Module) -> dict:
        if cfg.DATASETS.TEST == ("toy_val",):
            return {"detection": {"F1": self.scores[(self.trainer.iter + 1) // PERIOD - 1]}}
        self.tested.append({name: each.clone() for name, each in model.state_dict().items()})
        return {"detection": {"F1": 0.5}}

    def train(self, cfg: CfgNode, *, resume: bool = False, until: int = -1) -> NucleusTrainer:
        """Train, or do so until it is killed before the iteration `until`."""
        seed_all_rng(cfg.SEED)
        self.trainer = NucleusTrainer(cfg)
        self.trainer.resume_or_load(resume=resume)
        self.trainer.iterations = []
        run_step = self.trainer.run_step

        def step() -> None:
            if self.trainer.iter == until:
                raise RuntimeError("killed")
            self.trainer.iterations.append(self.trainer.iter)
            run_step()

        self.trainer.run_step = step
        self.trainer.train()
        return self.trainer


def final(cfg: CfgNode) -> dict:
    return torch.load(Path(cfg.OUTPUT_DIR) / "model_final.pth", weights_only=True)


def assert_same_weights(first: dict, second: dict) -> None:
    for part in ("model", "ema"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])
    assert first["iteration"] == second["iteration"] == first["trainer"]["iteration"]
    assert first["trainer"]["iteration"] == second["trainer"]["iteration"]


def test_training_ends_after_so_many_evaluations_without_a_better_score(
    config: Callable[..., CfgNode],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """The best score is the second; an equal one is no better, and NaN is none."""
    scores = Scores([0.2, 0.7, 0.7, math.nan, 0.3, 0.9], monkeypatch)
    cfg = config(3)
    with caplog.at_level("INFO"):
        trainer = scores.train(cfg)
    assert trainer.iterations == list(range(5 * PERIOD))
    assert "No better score in 3 evaluations: training ends after 10 iterations" in caplog.text
    assert "Exception during training" not in caplog.text
    assert "Traceback" not in caplog.text

    best = torch.load(tmp_path / "output" / "model_best.pth", weights_only=True)
    assert best["iteration"] == 2 * PERIOD - 1
    (tested,) = scores.tested
    assert all(torch.equal(tested[name], each) for name, each in best["model"].items())
    assert not torch.equal(tested["point.weight"], final(cfg)["ema"]["point.weight"])

    # It leaves what a training of so many iterations leaves.
    short = config(0, "SOLVER.MAX_ITER", 10, "OUTPUT_DIR", tmp_path / "short")
    scores.train(short)
    assert_same_weights(final(cfg), final(short))
    for folder in ("output", "short"):
        names = {path.name for path in (tmp_path / folder).glob("*.pth")}
        assert names == {"model_0000009.pth", "model_best.pth", "model_final.pth"}


@pytest.mark.parametrize("patience", [0, 9])
def test_all_iterations_are_trained(
    patience: int, config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no patience set, or one that is not used up before the end."""
    scores = Scores([0.7, *(9 * [0.1])], monkeypatch)
    assert len(scores.train(config(patience)).iterations) == 20
    assert len(scores.tested) == 1


def test_scores_that_grow_do_not_end_training(
    config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = Scores([0.1, 0.2, 0.2, 0.3, 0.1, 0.4, 0.5, 0.6, 0.2, 0.7], monkeypatch)
    assert len(scores.train(config(2)).iterations) == 20


def test_without_any_score_the_final_weights_are_tested(
    config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = Scores(10 * [math.nan], monkeypatch)
    cfg = config(2)
    assert len(scores.train(cfg).iterations) == 2 * PERIOD
    (tested,) = scores.tested
    assert all(torch.equal(tested[name], each) for name, each in final(cfg)["ema"].items())


@pytest.mark.parametrize("until", [5, 6, 7])
def test_a_resumed_run_counts_on(
    until: int, config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed after one of three evaluations without a better score, or at one of them."""
    scores = Scores([0.2, 0.7, 0.7, 0.1, 0.3, 0.9], monkeypatch)
    straight = config(3, "OUTPUT_DIR", tmp_path / "straight")
    scores.train(straight)
    cfg = config(3)
    with pytest.raises(RuntimeError, match="killed"):
        scores.train(cfg, until=until)
    resumed = scores.train(cfg, resume=True)
    assert resumed.iterations == list(range(until // PERIOD * PERIOD, 10))
    assert_same_weights(final(cfg), final(straight))


def test_an_ended_run_does_not_train_further(
    config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = Scores([0.7, 0.1, 0.1, 0.9, 0.9], monkeypatch)
    cfg = config(2)
    scores.train(cfg)
    before = final(cfg)
    assert scores.train(cfg, resume=True).iterations == []
    assert_same_weights(final(cfg), before)
    first, again = scores.tested
    assert all(torch.equal(each, again[name]) for name, each in first.items())

    # Nor if it was killed when it was about to write its last file.
    output = Path(cfg.OUTPUT_DIR)
    (output / "model_final.pth").unlink()
    (output / "last_checkpoint").write_text("model_0000005.pth")
    assert scores.train(cfg, resume=True).iterations == []
    assert_same_weights(final(cfg), before)


def test_more_patience_goes_on_with_an_ended_run(
    config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = Scores([0.7, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1], monkeypatch)
    scores.train(config(2))
    resumed = scores.train(config(3), resume=True)
    assert resumed.iterations == list(range(6, 14))
    assert resumed.validation.best_iteration == 7


def test_the_end_of_all_iterations_may_come_at_the_same_time(
    config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = Scores([0.7, 0.1, 0.1], monkeypatch)
    cfg = config(2, "SOLVER.MAX_ITER", 6, "SOLVER.STEPS", "()")
    assert len(scores.train(cfg).iterations) == 6
    assert final(cfg)["iteration"] == 5
    assert scores.train(cfg, resume=True).iterations == []
