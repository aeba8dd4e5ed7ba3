"""The recipe of the small model: its steps in order, what is done skipped, failures named."""

from pathlib import Path

import pytest
import torch

from cfrsam_d2.apps import train_small as recipe
from cfrsam_d2.apps.train_small import Sources, final, join_stages, train_small
from cfrsam_d2.checkpoint.files import averaged_weights, read_checkpoint
from cfrsam_d2.errors import UserError

SOURCES = Sources(Path("p"), Path("d"), Path("m"), Path("c"))
DATA = ("pannuke/fold3", "monuseg_unknown/test", "cpm17_unknown/test", "dsb2018/train")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What is run, from a folder in which nothing has been done."""
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(recipe, "ROOT", tmp_path)
    monkeypatch.setattr(recipe, "run", lambda *command: done.append(command))
    monkeypatch.setattr(recipe, "join_stages", lambda *names: done.append(("join", *names)))
    monkeypatch.setattr(recipe, "write_half_precision", lambda *files: done.append(("weights",)))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    return done


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def training(name: str) -> tuple[str, ...]:
    return ("train_net.py", "--resume", "--config-file", f"configs/small/{name}.yaml")


def test_data_then_the_trial_then_all_data_then_weights(commands: list[tuple[str, ...]]) -> None:
    train_small(SOURCES, trial=False)
    assert [command[:2] for command in commands[:4]] == [
        ("datasets/prepare.py", name) for name in ("pannuke", "monuseg", "cpm17", "dsb2018")
    ]
    assert commands[4:] == [
        training("prompt_learner"),
        training("cfrsam"),
        training("prompt_learner_all"),
        ("join", "cfrsam", "prompt_learner_all", "cfrsam_all_start"),
        training("cfrsam_all"),
        ("weights",),
    ]


def test_the_trial_writes_no_weights_and_what_is_done_is_skipped(
    commands: list[tuple[str, ...]], tmp_path: Path
) -> None:
    touch(*(tmp_path / "data" / name / "nuclei.json" for name in DATA))
    touch(tmp_path / "output/small/prompt_learner/model_final.pth")
    train_small(SOURCES, trial=True)
    assert commands == [training("cfrsam")]


def test_the_whole_of_one_training_gets_the_averaged_stage_1_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "ROOT", tmp_path)
    first, second = "proposal_generator.a", "mask_head.b"
    touch(final("whole"), final("learner"))
    torch.save({"model": {first: torch.zeros(1), second: torch.ones(1)}}, final("whole"))
    learner = {"model": {first: torch.zeros(1)}, "ema": {first: torch.full((1,), 7.0)}}
    torch.save(learner, final("learner"))
    join_stages("whole", "learner", "start")
    joined = averaged_weights(read_checkpoint(str(tmp_path / "output/small/start.pth")))
    assert {name: each.item() for name, each in joined.items()} == {first: 7.0, second: 1.0}


def test_a_step_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "ROOT", tmp_path)
    with pytest.raises(UserError, match=r"^missing\.py ended with status 2.*goes on$"):
        recipe.run("missing.py")
