"""Checkpoints: whole on disk, safe to read, strict to load."""

import errno
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from torch import nn

from cfrsam_d2.checkpoint.checkpointer import NucleusCheckpointer, load_weights
from cfrsam_d2.checkpoint.files import read_checkpoint
from cfrsam_d2.errors import DiskError, UserError


class Counter:
    """Something with a state, as a trainer has."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.count = state_dict["count"]


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_round_trip_restores_model_and_checkpointables(model: nn.Module, tmp_path: Path) -> None:
    NucleusCheckpointer(model, tmp_path, trainer=Counter(7)).save("model_7", iteration=7)
    other, trainer = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), Counter()
    checkpointer = NucleusCheckpointer(other, tmp_path, trainer=trainer)
    rest = checkpointer.load(checkpointer.get_checkpoint_file())
    assert trainer.count == 7
    assert rest == {"iteration": 7}
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_7.pth"]


def test_weights_alone_are_not_the_last_checkpoint(model: nn.Module, tmp_path: Path) -> None:
    NucleusCheckpointer(model, tmp_path).save("model_best")
    assert (tmp_path / "model_best.pth").is_file()
    assert not NucleusCheckpointer(model, tmp_path).has_checkpoint()


def test_failed_save_leaves_the_old_file(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpointer = NucleusCheckpointer(model, tmp_path)
    checkpointer.save("model")
    before = (tmp_path / "model.pth").read_bytes()

    def full_disk(data: dict, file: BinaryIO) -> None:
        """As PyTorch, which fails again when it ends the file."""
        file.write(b"half")
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:672]")  # noqa: B904

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(DiskError, match=r"cannot write .*model\.pth \(No space.*make room"):
        checkpointer.save("model")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    assert (tmp_path / "model.pth").read_bytes() == before


def test_resuming_without_state_names_it(model: nn.Module, tmp_path: Path) -> None:
    NucleusCheckpointer(model, tmp_path).save("model")
    with pytest.raises(UserError, match=r"model\.pth holds no 'trainer': resume from"):
        NucleusCheckpointer(model, tmp_path, trainer=Counter()).load(str(tmp_path / "model.pth"))


def test_averages_are_preferred(model: nn.Module, tmp_path: Path) -> None:
    weights = model.state_dict()
    torch.save({"model": weights, "ema": {"0.bias": torch.ones(3)}}, tmp_path / "model.pth")
    load_weights(model, str(tmp_path / "model.pth"))
    assert model[0].bias.tolist() == [1, 1, 1]


def test_bare_state_dict(model: nn.Module, tmp_path: Path) -> None:
    weights = {name: torch.ones_like(each) for name, each in model.state_dict().items()}
    torch.save(weights, tmp_path / "bare.pth")
    load_weights(model, str(tmp_path / "bare.pth"))
    assert model[0].weight.eq(1).all()


def test_prefix_picks_a_part(model: nn.Module, tmp_path: Path) -> None:
    whole = nn.ModuleDict({"proposal_generator": model, "rest": nn.Linear(1, 1)})
    torch.save({"model": whole.state_dict()}, tmp_path / "whole.pth")
    part = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    load_weights(part, str(tmp_path / "whole.pth"), prefix="proposal_generator.")
    assert torch.equal(part[0].weight, model[0].weight)
    with pytest.raises(UserError, match=r"7 missing \(first: 0\.weight\)"):
        load_weights(part, str(tmp_path / "whole.pth"), prefix="proposals.")


def test_other_architecture_changes_nothing(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(2, 2), "c": torch.zeros(1)}, tmp_path / "other.pth")
    model = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(1, 1)})
    before = model["a"].weight.clone()
    with pytest.raises(UserError) as error:
        load_weights(model, str(tmp_path / "other.pth"))
    assert str(error.value) == (
        f"{tmp_path}/other.pth holds the weights of another architecture, 3 missing (first: "
        "a.bias); 1 unexpected (first: c); 1 of another shape (first: a.weight is (2, 2) there and "
        "(3, 2) here): use the config that it was trained with, and convert what the authors "
        "released (docs/model-zoo.md)"
    )
    assert torch.equal(model["a"].weight, before)


def write_cut(path: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("write", "remedy"),
    [
        (lambda path: None, r"does not exist: train it or download it"),
        (lambda path: path.mkdir(), r"does not exist"),
        (write_cut, r"cut short: download or copy it again"),
        (lambda path: path.write_bytes(b""), r"cut short: download or copy it again"),
        (lambda path: path.write_text("\n<!DOCTYPE html>"), r"web page, not weights: download"),
        (lambda path: torch.save(Counter(), path), r"could run code: save its state dict alone"),
        (lambda path: torch.save([1, 2], path), r"holds no weights: give a checkpoint"),
        (lambda path: torch.save({"epoch": 3}, path), r"holds no weights: give a checkpoint"),
        (lambda path: torch.save({"model": {}}, path), r"holds no weights: give a checkpoint"),
    ],
)
def test_no_checkpoint(write: object, remedy: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(UserError, match=rf"weights\.pth .*{remedy}"):
        read_checkpoint(str(path))
