#!/usr/bin/env python
"""Draw what the small model finds in the slide region that comes with the project.

    python docs/figures/tissue.py

writes docs/images/tissue.jpg, image and nuclei side by side, and docs/images/failures.jpg, three
parts of the same picture in which it fails. A minute on two cores; run it when the weights change.
"""

from pathlib import Path

import numpy as np
from PIL import Image

import cfrsam_d2  # noqa: F401  (before PyTorch: it sets how threads wait)
from cfrsam_d2.predictor import NucleusPredictor, read_as_rgb
from cfrsam_d2.visualization.drawing import draw_instances
from cfrsam_d2.visualization.layout import LegendItem, side_by_side

ROOT = Path(__file__).resolve().parents[2]
REGION = ROOT / "datasets" / "example" / "cmu1_region.tif"
IMAGES = ROOT / "docs" / "images"
SCALE = 2
# Left and top of the parts, px of the region, and what they show.
FAILURES = {(355, 0): "keratin", (150, 0): "long nuclei", (330, 260): "crowded epithelium"}
SIDE = 120  # px of a part


def draw() -> tuple[np.ndarray, np.ndarray, list[LegendItem]]:
    """The region and its nuclei at twice the size, and the legend of their classes."""
    predictor = NucleusPredictor(overrides=["MODEL.DEVICE", "cpu"])
    image, nuclei = read_as_rgb(REGION), predictor(REGION)
    classes = nuclei.pred_classes.tolist()
    drawn = draw_instances(image, nuclei.pred_masks, classes, None, predictor.colors, SCALE)
    plain = image.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    legend = [
        LegendItem(color, f"{name} {classes.count(index)}")
        for index, (name, color) in enumerate(zip(predictor.classes, predictor.colors, strict=True))
        if index in classes
    ]
    return plain, drawn, legend


def save(picture: np.ndarray, name: str, width: int) -> None:
    image = Image.fromarray(picture)
    size = (width, round(image.height * width / image.width))
    image.resize(size, Image.Resampling.LANCZOS).save(IMAGES / name, quality=85)


def main() -> None:
    plain, drawn, legend = draw()
    title = "CMU-1 (OpenSlide's test data, CC0), skin at 20x"
    save(side_by_side([plain, drawn], ["image", "nuclei"], legend, title), "tissue.jpg", 1400)
    parts, titles = [], []
    for number, ((left, top), what) in enumerate(FAILURES.items(), start=1):
        rows, columns = (slice(SCALE * a, SCALE * (a + SIDE)) for a in (top, left))
        parts.append(drawn[rows, columns].repeat(2, axis=0).repeat(2, axis=1))
        titles.append(f"{number}: {what}")
    save(side_by_side(parts, titles, legend, title), "failures.jpg", 1200)


if __name__ == "__main__":
    main()
