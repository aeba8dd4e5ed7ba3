"""The dataset of report_runs, and three runs on it: two with masks and one with points."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from report_runs import NAME, good, make_dataset, make_run, poor

from cfrsam_d2.data.registration import unregister


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("runs")
    make_dataset(folder / "data")
    yield {
        "good": make_run(folder / "good", good, masks=True),
        "poor": make_run(folder / "poor", poor, masks=True),
        "points": make_run(folder / "points", good, masks=False),
    }
    unregister(NAME)
