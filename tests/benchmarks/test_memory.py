"""The memory of prediction: what is measured, and how its growth is told."""

import json

import numpy as np
import pytest

from benchmarks import memory
from benchmarks.memory import Measurement, growth, measure


def test_the_nuclei_of_an_image_are_found() -> None:
    measured = measure(256, 9)
    assert (measured.size, measured.nuclei) == (256, 9)
    assert 0 < measured.found <= 9
    assert measured.seconds > 0
    assert 1e8 < measured.peak_memory < 1e10


def known(size: int, nuclei: int) -> Measurement:
    """500 MB, 10 MB per 1,000 nuclei and 20 MB per million px; less in one window."""
    peak = 1e6 if size == 256 else 500e6 + 10e3 * nuclei + 20 * size**2
    return Measurement(size, nuclei, nuclei, 1.5, round(peak))


def test_growth_is_that_of_images_of_several_windows() -> None:
    cases = [(256, 25), (1024, 25), (1024, 4000), (2048, 400), (4096, 25)]
    fit = growth([known(*case) for case in cases])
    figures = [fit.process, fit.per_1000_nuclei, fit.per_million_px, fit.deviation]
    assert np.allclose(figures, [500, 10, 20, 0], atol=1e-6)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements that are known beforehand."""
    monkeypatch.setattr(memory, "run_apart", lambda work, *case: known(*case))


@pytest.mark.usefixtures("_quick")
def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As many nuclei as fit."""
    monkeypatch.setattr("sys.argv", ["memory.py", "--json"])
    memory.main()
    results = json.loads(capsys.readouterr().out)
    assert [(each["size"], each["nuclei"]) for each in results["cases"]] == [
        *[(256, 25), (256, 400)],
        *((size, nuclei) for size in (1024, 2048, 4096) for nuclei in (25, 400, 4000)),
    ]
    assert results["growth"]["per_million_px"] == pytest.approx(20)


@pytest.mark.usefixtures("_quick")
def test_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["memory.py"])
    memory.main()
    *table, last = capsys.readouterr().out.splitlines()
    assert table[-1].split() == ["4,096", "4000", "4000", "1.5", "876"]
    assert last == (
        "of several windows: 500 MB, 10 MB per 1,000 nuclei and 20 MB per million px, ±0 MB"
    )
