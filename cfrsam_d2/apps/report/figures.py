"""Figures for a paper: images with the nuclei of the ground truth and of every run, and plots."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...data.image import read_rgb
from ...data.palette import UNKNOWN_COLOR
from ...errors import UserError
from ...structures.rle import decode_mask
from ...visualization.drawing import draw_instances
from ...visualization.grid import picture_grid
from ...visualization.layout import LegendItem
from .comparison import Comparison
from .gallery import file_name
from .plot_sections import (
    calibration_figures,
    distribution_figures,
    empty_plots,
    size_figures,
)
from .plots import is_empty

_TARGET_SIDE = 512  # px of a panel; an image that is larger stays as it is


def comparison_picture(comparison: Comparison, indices: Sequence[int]) -> np.ndarray:
    """Rows are the images, the ground truth and the runs; columns are images of the dataset.

    Args:
        comparison: of the runs.
        indices: positions of the images.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    dataset = comparison.dataset
    images = [dataset.images[index] for index in indices]
    rows = {
        "image": [[] for _ in indices],
        "ground truth": [image["annotations"] for image in images],
        **{run.name: [run.predictions[index] for index in indices] for run in comparison.runs},
    }
    colors = [*dataset.colors, UNKNOWN_COLOR]  # the last of unknown class, -1
    pixels = [read_rgb(image["file_name"]) for image in images]
    panels = {
        title: [_drawn(*pair, colors) for pair in zip(pixels, nuclei, strict=True)]
        for title, nuclei in rows.items()
    }
    legend = [LegendItem(color, name) for name, color in dataset.shown_classes.values()]
    return picture_grid(panels, [file_name(image) for image in images], legend)


def comparison_plots(comparison: Comparison) -> tuple[dict[str, Figure], str]:
    """The plots of the report that compare runs, by a name for their files.

    Returns:
        The plots, and a sentence about those that would show nothing, or "".
    """
    figures = distribution_figures(comparison)
    if comparison.with_masks:
        figures += [*size_figures(comparison), *calibration_figures(comparison)]
    named = {
        figure.axes[0].get_title().lower().replace(" ", "_"): figure
        for figure in figures
        if not is_empty(figure)
    }
    return named, empty_plots(figures)


def find_images(comparison: Comparison, names: Sequence[str]) -> list[int]:
    """The positions of images by their file names, without folders.

    Raises:
        UserError: there is no such image.
    """
    positions = {file_name(image): index for index, image in enumerate(comparison.dataset.images)}
    for name in names:
        if name not in positions:
            raise UserError(
                f"--images has {name!r}, which {comparison.dataset.name} has not: take file names "
                f"such as {next(iter(positions))}"
            )
    return [positions[name] for name in names]


def _drawn(
    image: np.ndarray, nuclei: Sequence[dict[str, Any]], colors: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    has_masks = all("segmentation" in nucleus for nucleus in nuclei)
    masks = [decode_mask(nucleus["segmentation"]) for nucleus in nuclei] if has_masks else None
    points = None if has_masks else np.array([nucleus["point"] for nucleus in nuclei])
    classes = [nucleus["category_id"] for nucleus in nuclei]
    scale = max(1, _TARGET_SIDE // max(image.shape[:2]))
    return draw_instances(image, masks, classes, points, colors, scale)
