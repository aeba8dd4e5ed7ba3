"""Weights as they are shipped: float16, the averaged ones, and a header that says what they are."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from cfrsam_d2.checkpoint.checkpointer import load_weights
from cfrsam_d2.checkpoint.half_precision import write_half_precision
from cfrsam_d2.errors import UserError


def test_the_averages_come_back_at_half_the_size(tmp_path: Path) -> None:
    def layers() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 4, kernel_size=3), nn.BatchNorm2d(4))

    trained, averaged = layers(), layers()
    nn.init.constant_(trained[1].running_var, 1e6)
    averages = {"0.weight": averaged[0].weight.detach()}
    torch.save({"model": trained.state_dict(), "ema": averages}, tmp_path / "run.pth")
    path = tmp_path / "shipped.safetensors"
    write_half_precision(tmp_path / "run.pth", path, {"license": "research"})

    with safe_open(path, "pt") as file:
        assert file.metadata() == {"license": "research"}
        assert file.get_tensor("0.weight").dtype == torch.float16
        assert file.get_tensor("1.running_var").dtype == torch.float32
        assert file.get_tensor("1.num_batches_tracked").dtype == torch.int64
    loaded = layers()
    load_weights(loaded, str(path))
    assert loaded[0].weight.dtype == torch.float32
    assert torch.equal(loaded[0].weight, averaged[0].weight.half().float())
    assert torch.equal(loaded[1].running_var, trained[1].running_var)


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.tensor([[1e6]])}, tmp_path / "run.pth")
    with pytest.raises(UserError, match=r"weight in .*run\.pth does not fit float16"):
        write_half_precision(tmp_path / "run.pth", tmp_path / "shipped.safetensors", {})
    assert not (tmp_path / "shipped.safetensors").exists()
