"""Handles that fail, once or for good."""

from pathlib import Path
from typing import Self

import numpy as np
import pytest

from cfrsam_d2.errors import UserError
from cfrsam_d2.slides.backend import Box, Level, SlideFacts
from cfrsam_d2.slides.steady import BadTile, SteadyBackend

SIZE = 40


class Flaky:
    """A backend that raises as a script says; like OpenSlide, it stays in error."""

    def __init__(self, faults: list[bool], gone: int = 0) -> None:
        self.path = Path("slide.svs")
        self.facts = SlideFacts(levels=(Level((SIZE, SIZE), tile=(16, 16)),), background=(1, 2, 3))
        self.faults, self.gone = faults, gone
        self.latched = self.closed = False

    def read(self, level: int, box: Box) -> np.ndarray:
        assert not self.closed
        self.latched = self.latched or (bool(self.faults) and self.faults.pop(0))
        if self.latched:
            raise RuntimeError("of a codec")
        x0, y0, x1, y1 = box
        return np.full((y1 - y0, x1 - x0, 3), 100, np.uint8)

    def reopen(self) -> Self:
        if self.gone:
            self.gone -= 1
            raise OSError("stale file handle")
        return type(self)(self.faults)

    def close(self) -> None:
        assert not self.closed  # OpenSlide raises
        self.closed = True


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("cfrsam_d2.slides.steady.time.sleep", slept.append)
    return slept


def test_a_handle_that_raised_is_closed_and_the_tile_read_once_more() -> None:
    for faults in ([True], [True, True], [True, False, True]):
        first = Flaky(faults)
        steady = SteadyBackend(first, set())
        assert (steady.read(0, (5, 5, 30, 20)) == 100).all()
        assert first.closed
        assert steady.bad_tiles == set()


def test_only_the_tile_that_fails_twice_is_lost() -> None:
    bad: set[BadTile] = set()
    steady = SteadyBackend(Flaky([True, False, True, True]), bad)
    pixels = steady.read(0, (5, 5, 40, 20))
    assert (pixels[:11, 11:27] == (1, 2, 3)).all()
    pixels[:11, 11:27] = 100
    assert (pixels == 100).all()
    assert bad == {BadTile(0, (16, 0, 32, 16))}


def test_a_file_that_comes_back_is_waited_for(pauses: list[float]) -> None:
    steady = SteadyBackend(Flaky([True], gone=3), set())
    assert (steady.read(0, (0, 0, 4, 4)) == 100).all()
    assert pauses == [0, 1, 4, 16]


def test_a_file_that_has_gone_is_named(pauses: list[float]) -> None:
    steady = SteadyBackend(Flaky([True], gone=9), set())
    with pytest.raises(UserError, match=r"slide.svs can no longer be read \(stale file handle\)"):
        steady.read(0, (0, 0, 4, 4))
    assert pauses == [0, 1, 4, 16]
    steady.close()


def test_lack_of_memory_is_no_damage() -> None:
    class Large(Flaky):
        def read(self, level: int, box: Box) -> np.ndarray:
            raise MemoryError

    with pytest.raises(MemoryError):
        SteadyBackend(Large([]), set()).read(0, (0, 0, 4, 4))
