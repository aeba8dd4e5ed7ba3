"""Whose µm/px are believed, and which cannot be."""

import logging
from pathlib import Path

import pytest

from cfrsam_d2.errors import UserError
from cfrsam_d2.slides.backend import Level, SlideFacts
from cfrsam_d2.slides.resolution import resolve_mpp

PATH = Path("slide.svs")


def facts(mpp: tuple[float, float] | None = None, objective: float | None = None) -> SlideFacts:
    return SlideFacts(levels=(Level((100, 100)),), mpp=mpp, objective=objective)


def test_the_user_overrules_the_file_and_the_file_its_objective(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert resolve_mpp(PATH, facts((0.5, 0.5), 20), 0.25) == (0.25, "--mpp")
    assert resolve_mpp(PATH, facts((500, 0.2), 1), 0.25) == (0.25, "--mpp")
    assert resolve_mpp(PATH, facts((0.25, 0.254), 40), None) == (0.252, "file")
    assert resolve_mpp(PATH, facts((0.4532, 0.4532), 20), None) == (0.4532, "file")
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        assert resolve_mpp(PATH, facts(None, 20), None) == (0.5, "objective")
    assert "slide.svs does not say its µm/px: taking 0.5" in caplog.text


def test_what_cannot_be_names_the_option() -> None:
    nan = float("nan")
    faults: list[tuple[SlideFacts, float | None, str]] = [
        (facts(), None, "neither its µm/px nor its objective"),
        (facts(None, 0), None, "neither its µm/px nor its objective"),
        (facts((352.8, 352.8)), None, "352.8 µm/px that it says"),
        (facts((0.05, 0.05)), None, "0.05 µm/px"),
        (facts((-0.25, -0.25)), None, "-0.25 µm/px"),
        (facts((nan, nan)), None, "nan µm/px"),
        (facts((0.25, 0.256)), None, "0.25 µm/px in x and 0.256 in y"),
        (facts((0.25, 0.25), 20), None, "its objective of 20x means 0.5"),
        (facts((0.31, 0.31), 40), None, "its objective of 40x means 0.25"),
        (facts(None, 4), None, "2.5 µm/px that its objective of 4x means"),
        (facts((0.25, 0.25)), 40.0, "--mpp is 40 for slide.svs"),
        (facts((0.25, 0.25)), 0.0, "--mpp is 0 "),
        (facts((0.25, 0.25)), nan, "--mpp is nan"),
    ]
    for file, given, message in faults:
        with pytest.raises(UserError) as raised:
            resolve_mpp(PATH, file, given)
        assert message in str(raised.value)
        assert "--mpp" in str(raised.value)
        assert "slide.svs" in str(raised.value)
