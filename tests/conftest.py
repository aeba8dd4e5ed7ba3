"""Fixtures every test shares: where the published numbers and the real samples are."""

import os
from pathlib import Path

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # no test downloads weights

import cfrsam_d2  # noqa: F401  (puts the stand-in on the path where Detectron2 is missing)

ROOT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)  # the tests run in several processes, and their tensors are small


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real samples and published numbers, or a skip that names it."""
    folder = Path(os.environ.get("CFRSAM_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is missing: CI must not skip the published numbers")
        pytest.skip(f"{folder} is missing: set CFRSAM_SHARED to the folder of published numbers")
    return folder


@pytest.fixture(scope="session")
def fixtures(request: pytest.FixtureRequest) -> Path:
    """The folder of arrays computed by the published model."""
    if folder := os.environ.get("CFRSAM_FIXTURES"):
        return Path(folder)
    return request.getfixturevalue("shared") / "fixtures"
