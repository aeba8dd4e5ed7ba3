"""What `tools/compare_figures.py` does: figures of several runs as files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files import write_bytes, write_png
from .report import read_comparison
from .report.figures import comparison_picture, comparison_plots, find_images
from .report.notes import notes
from .report.plots import figure_file


def compare(
    folders: Sequence[Path],
    dataset: str | None,
    names: Sequence[str] | None,
    count: int,
    output: Path,
) -> None:
    """Write a picture of nuclei, and plots.

    Args:
        folders: OUTPUT_DIR of each run.
        dataset: its name; by default the first of DATASETS.TEST.
        names: file names of the images that are columns.
        count: of columns, evenly from the dataset, where there are no names.
        output: folder of the files.

    Raises:
        UserError: a run cannot be read, there is no such image, or the files cannot be written.
    """
    comparison = read_comparison(folders, dataset)
    if names:
        indices = find_images(comparison, names)
    else:
        last = len(comparison.dataset.images) - 1
        indices = np.linspace(0, last, min(count, last + 1)).round().astype(int).tolist()
    write_png(output / "nuclei.png", comparison_picture(comparison, indices))
    plots, missing = comparison_plots(comparison)
    for name, figure in plots.items():
        for kind in ("svg", "pdf"):
            write_bytes(output / f"{name}.{kind}", figure_file(figure, kind))
    for said in filter(None, [*notes(comparison), missing]):
        print(said)
