"""What every test shares: the device, and where published numbers and real samples are."""

import os
from collections.abc import Iterator
from pathlib import Path

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import pytest
import torch

from cfrsam_d2 import files

os.environ["HF_HUB_OFFLINE"] = "1"  # no test downloads weights

ROOT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)  # the tests run in several processes, and their tensors are small


@pytest.fixture(scope="session", autouse=True)
def _files_stay_in_memory() -> Iterator[None]:
    """No test outlives a power failure, and a disk takes milliseconds for each file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_sync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where a test computes that asks for it; `tests/cuda` runs those on CUDA."""
    return torch.device("cpu")


@pytest.fixture(scope="session")
def atol() -> float:
    """How far float32 may be from numbers of the published model, or of another form."""
    return 1e-4


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real samples, which does not come with the project, or a skip that names it."""
    folder = Path(os.environ.get("CFRSAM_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: set CFRSAM_SHARED to the folder of real samples")
    return folder


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of numbers that the published model computed."""
    return Path(os.environ.get("CFRSAM_FIXTURES") or ROOT / "tests" / "fixtures")
