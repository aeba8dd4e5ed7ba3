"""Weights of the tiny model."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from finders import write_weights

    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    write_weights(path)
    return path
