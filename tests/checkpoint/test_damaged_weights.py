"""Files of weights that are damaged or hold other things: read, or refused in one sentence."""

import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cfrsam_d2.checkpoint.checkpointer import NucleusCheckpointer, load_weights
from cfrsam_d2.checkpoint.files import read_checkpoint, read_weights
from cfrsam_d2.errors import UserError

SECONDS = 10  # of one file, on a busy machine


class State:
    """A part of a training."""

    def state_dict(self) -> dict[str, int]:
        return {"iteration": 3}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.next = state["iteration"] + 1


def checkpoint() -> dict[str, Any]:
    model = nn.Linear(3, 2)
    return {
        "model": dict(model.state_dict()),
        "ema": {"bias": torch.ones(2)},
        "trainer": {"iteration": 3},
        "left_out": {},
        "iteration": 3,
    }


def outcomes(path: Path) -> list[str]:
    """What every way of reading a file ends with: "", or one sentence."""
    checkpointer = NucleusCheckpointer(nn.Linear(3, 2), str(path.parent), trainer=State())
    ways: list[Callable[[], Any]] = [
        lambda: load_weights(nn.Linear(3, 2), str(path)),
        lambda: checkpointer.load(str(path)),
        lambda: read_weights(str(path)),
    ]
    said = []
    for read in ways:
        start = time.monotonic()
        try:
            read()
            said.append("")
        except UserError as error:
            said.append(str(error))
        assert time.monotonic() - start < SECONDS
    assert all(len(each) < 1000 and "\n" not in each for each in said)
    return said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pth"


HUGE = torch.ones(()).expand(10**6, 10**6)
# What a bug of another program, or malice, puts in place of an entry, and what is said then.
WRONG = {
    "model": {
        "holds no weights": [None, 3, [], {}, HUGE, {1: torch.ones(2)}, {"weight": [1.0]}],
        "names no dense tensor": [
            {"weight": torch.ones(2, 3).to_sparse(), "bias": torch.ones(2)},
            {"weight": torch.ones(2, 3, device="meta"), "bias": torch.ones(2)},
            {"weight": torch.quantize_per_tensor(torch.ones(2, 3), 1, 0, torch.qint8)},
        ],
        "of another shape": [{"weight": HUGE, "bias": torch.ones(2)}],
        "of another type": [
            {"weight": torch.ones(2, 3, dtype=torch.int64), "bias": torch.ones(2)},
            {"weight": torch.ones(2, 3, dtype=torch.complex64), "bias": torch.ones(2)},
        ],
    },
    "ema": {
        "holds no weights": [None, 1e308, [], HUGE, {"bias": 3}, {1: torch.ones(2)}],
        "unexpected": [{"other": torch.ones(2)}],
        "of another shape": [{"bias": HUGE}],
    },
    "left_out": {
        "as 'left_out' no dict, but a": [[], None, 2**63, HUGE, [[1e9, 0]]],
        "which is none of the parts": [{"size": [64, 64]}, {1: 2}, {"backbone.vit.": "x"}],
        "leaves out the frozen weights": [{"backbone.vit.": 3}],
    },
    "trainer": {"as 'trainer' no dict, but a": [[], None, 3, HUGE]},
    "iteration": {"as 'iteration' no int, but a": [[], None, "3", True, {1: HUGE}, HUGE]},
}


@pytest.mark.filterwarnings("ignore:Sparse invariant", "ignore:TypedStorage")
def test_entries_of_other_types(path: Path) -> None:
    for entry, by_message in WRONG.items():
        for message, values in by_message.items():
            for value in values:
                torch.save(checkpoint() | {entry: value}, path)
                said = outcomes(path)[: 1 if entry == "ema" else 2]  # there are no averages here
                assert all(message in each for each in said), (entry, said)


def test_a_part_of_a_training_that_does_not_fit(path: Path) -> None:
    for state in ({}, {"iteration": "x"}, {"iteration": None}):
        torch.save(checkpoint() | {"trainer": state}, path)
        said = outcomes(path)
        assert said[0] == ""
        assert f"{path} has a 'trainer' that does not fit this training (" in said[1]


def test_a_flipped_bit_is_noticed(path: Path) -> None:
    """In every part of the file, the numbers included, of which PyTorch checks nothing."""
    torch.save(checkpoint(), path)
    data = path.read_bytes()
    numbers = data.index(checkpoint()["ema"]["bias"].numpy().tobytes())
    path.write_bytes(data[: numbers + 2] + bytes([data[numbers + 2] ^ 1]) + data[numbers + 3 :])
    for said in outcomes(path):
        assert said == (
            f"{path} cannot be loaded: it is no PyTorch file, is damaged or is cut short: download "
            "or copy it again"
        )


def test_a_packed_file_is_not_unpacked(path: Path) -> None:
    torch.save({"weight": torch.zeros(10**6), "bias": torch.ones(2)}, path.with_suffix(".big"))
    with (
        zipfile.ZipFile(path.with_suffix(".big")) as big,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in big.namelist():
            packed.writestr(name, big.read(name))
    assert path.stat().st_size < 10**5
    assert all("is no PyTorch file, is damaged" in said for said in outcomes(path))


def test_a_storage_that_is_said_to_be_larger_than_the_file(path: Path) -> None:
    for legacy in (False, True):
        weights = {"weight": torch.zeros(70001)}
        torch.save(weights, path, _use_new_zipfile_serialization=not legacy)
        claimed = (70001).to_bytes(4, "little"), (2**31 - 1).to_bytes(4, "little")
        data = path.read_bytes().replace(b"J" + claimed[0], b"J" + claimed[1])
        path.write_bytes(data)
        assert all("cannot be loaded" in said for said in outcomes(path))


ENTRIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(["model", "ema", "trainer", "left_out", "iteration", "state_dict"])


@settings(max_examples=30, derandomize=True, database=None, deadline=None)
@given(changes=st.dictionaries(NAMES, ENTRIES, min_size=1, max_size=3))
def test_any_entries(changes: dict, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any_entries.pth"
    torch.save(checkpoint() | changes, path)
    assert len(outcomes(path)) == 3


@settings(max_examples=50, derandomize=True, database=None, deadline=None)
@given(seed=st.integers(0, 2**32), legacy=st.booleans(), data=st.binary(max_size=9))
def test_any_bytes(
    seed: int, legacy: bool, data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Cut short, or with bytes replaced; also within a zip whose checksums are right again."""
    draw = random.Random(seed)
    path = tmp_path_factory.getbasetemp() / "any_bytes.pth"
    torch.save(checkpoint(), path, _use_new_zipfile_serialization=not legacy)
    if legacy or draw.random() < 0.3:
        path.write_bytes(damage(path.read_bytes(), data, draw))
    else:
        with zipfile.ZipFile(path) as file:
            entries = {name: file.read(name) for name in file.namelist()}
        name = draw.choice([name for name in entries if name.endswith(".pkl") or "data/" in name])
        with zipfile.ZipFile(path, "w") as file:
            for each, content in entries.items():
                file.writestr(each, damage(content, data, draw) if each == name else content)
    assert len(outcomes(path)) == 3


def damage(content: bytes, data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content) + 1)
    return content[:start] + data + draw.choice([content[start + len(data) :], b""])


@pytest.mark.filterwarnings("ignore:Sparse invariant")
def test_files_that_ended_in_something_else(shared: Path) -> None:
    files = sorted((shared / "cases" / "malformed").glob("ckpt_*"))
    assert files
    for path in files:
        assert any(outcomes(path)), path


def test_read_checkpoint_gives_a_whole_file_back(path: Path) -> None:
    torch.save(checkpoint(), path)
    assert outcomes(path) == ["", "", ""]
    assert read_checkpoint(str(path)).keys() == checkpoint().keys()
