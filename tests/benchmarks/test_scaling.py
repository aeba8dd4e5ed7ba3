"""Times against nuclei and area, on a tiny model."""

from pathlib import Path

import pytest
from tiny_config import TINY

from benchmarks import scaling
from benchmarks.scaling import Series


def test_the_line_and_what_is_off_it() -> None:
    exact = Series("nuclei", [1, 2, 3], [1.5, 2.0, 2.5])
    assert exact.line() == pytest.approx((0.5, 1.0))
    assert exact.deviation() == pytest.approx(0, abs=1e-12)
    bent = Series("nuclei", [0, 1, 2], [0, 0, 3])  # its line: 1.5 x - 0.5
    assert bent.deviation() == pytest.approx(1 / 3)


def test_an_image_of_many_windows_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def once(work, runs_asked):
        runs.append(work()[0]["instances"])
        return 0.25

    monkeypatch.setattr(scaling, "median_seconds", once)
    assert scaling.seconds(TINY, count=4, size=320, runs=1) == 0.25
    assert runs[0].image_size == (320, 320)


def test_report_and_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "seconds", lambda overrides, count, size, runs: 1 + count / 50)
    path = tmp_path / "scaling.svg"
    monkeypatch.setattr("sys.argv", ["scaling.py", "--plot", str(path)])
    scaling.main()
    printed = capsys.readouterr().out
    assert "1.00 s + 0.0200 s per unit, off the line by at most 0.0 %" in printed
    assert path.read_text().startswith("<?xml")
