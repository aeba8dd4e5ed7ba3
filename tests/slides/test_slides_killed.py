"""tools/slides.py killed by -9 in each pass: the same command goes on to the same bytes."""

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openslide", reason="openslide is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
import pyarrow.parquet as pq
from finders import command_on_three_chunks
from killed_commands import Command

# What is there when the process is killed: a part or two of each pass, or some of the results.
MOMENTS = (
    "parts/points/000000.parquet",
    "parts/candidates/000001.parquet",
    "parts/nuclei/000001.parquet",
    "nuclei.parquet",
)


def kill_when_there(command: Command, path: Path) -> None:
    process = command.start()
    while not path.exists():
        assert process.is_alive(), f"it ended without {path}"
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -9


@pytest.mark.slow
def test_killed_by_9_it_goes_on_to_the_same_bytes(
    tissue_pixels: np.ndarray, tmp_path: Path
) -> None:
    command = command_on_three_chunks(tissue_pixels, tmp_path)
    command.run()
    folder = command.output / "strip"
    nuclei, undisturbed = pq.read_table(folder / "nuclei.parquet"), command.results()
    assert len(nuclei) > 20
    assert pq.ParquetFile(folder / "nuclei.parquet").num_row_groups >= 3
    command.output.rename(tmp_path / "undisturbed")
    for moment in MOMENTS:
        kill_when_there(command, folder / moment)
        assert not (folder / "summary.json").exists()
    command.run()
    assert command.results() == undisturbed
