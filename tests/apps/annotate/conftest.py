"""Predictors whose masks are known, and an untrained one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from disc_predictor import CONFIG, tiny_weights, with_discs
from tiny_demo import TINY

from cfrsam_d2.predictor import NucleusPredictor


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def predictor(weights: Path) -> Callable[..., NucleusPredictor]:
    """A function: overrides to a predictor, of discs or as the untrained model predicts."""

    def build(*overrides: str, discs: bool = False) -> NucleusPredictor:
        made = NucleusPredictor(CONFIG, weights, [*TINY, *overrides])
        return with_discs(made) if discs else made

    return build
