"""Files of weights: what stands beside the tensors is read as data or not at all."""

import os
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from cfrsam_d2.checkpoint.files import read_checkpoint, read_file
from cfrsam_d2.errors import UserError

WEIGHTS = {"weight": torch.arange(6.0).view(2, 3)}


class Command:
    """Runs something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def replace_in_pickle(path: Path, old: bytes, new: bytes) -> None:
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    assert any(old in data for data in entries.values())
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data.replace(old, new) if name.endswith(".pkl") else data)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_a_released_file_holds_is_read(tmp_path: Path, legacy: bool):
    held = {"model": WEIGHTS, "args": Namespace(seed=42), "f1": np.float64(0.5), "epoch": 3}
    path = tmp_path / "released.pth"
    torch.save(held, path, _use_new_zipfile_serialization=not legacy)
    loaded = read_checkpoint(str(path))
    assert torch.equal(loaded["model"]["weight"], WEIGHTS["weight"])
    assert loaded["args"] == Namespace(seed=42)
    assert loaded["epoch"] == 3


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpys_scalars_of_either_version_are_dropped(tmp_path: Path, module: bytes):
    path = tmp_path / "released.pth"
    torch.save({"model": WEIGHTS, "metrics": {"PQ": np.float64(0.5)}}, path)
    written = np.float64(0).__reduce__()[0].__module__.encode()
    replace_in_pickle(path, written + b"\nscalar", module + b"\nscalar")
    loaded = read_file(str(path))
    assert torch.equal(loaded["model"]["weight"], WEIGHTS["weight"])
    assert loaded["metrics"]["PQ"] != 0.5


def test_nothing_else_is_read_or_run(tmp_path: Path):
    path = tmp_path / "bad.pth"
    torch.save({"model": WEIGHTS, "args": Command(tmp_path / "made")}, path)
    with pytest.raises(UserError, match=r"bad.pth cannot be loaded: .* which could run code: save"):
        read_checkpoint(str(path))
    assert not (tmp_path / "made").exists()


def test_what_others_take_stays_as_it_was(tmp_path: Path):
    torch.save(WEIGHTS, tmp_path / "weights.pth")
    before = set(torch.serialization.get_safe_globals())
    read_file(str(tmp_path / "weights.pth"))
    assert set(torch.serialization.get_safe_globals()) == before
    assert Namespace not in before
