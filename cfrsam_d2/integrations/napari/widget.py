"""napari's widget: from an image layer to labels and points of its nuclei.

N nuclei, H×W px.
"""

# pyright: reportMissingImports=false
from functools import lru_cache
from typing import Any

import numpy as np

from .. import imports_of

with imports_of("napari"):
    import napari.layers
    import pandas as pd
    from magicgui import magic_factory
    from napari.qt.threading import FunctionWorker, thread_worker
    from napari.types import LayerDataTuple

from ...errors import UserError
from ...export import best_first
from ...predictor import NucleusPredictor


@magic_factory(
    call_button="Find nuclei",
    config={"label": "config (empty: the small model)"},
    magnification={"label": "magnification (0: the layer's)", "max": 400},
)
def find_nuclei(
    image: napari.layers.Image, config: str = "", weights: str = "", magnification: float = 0
) -> FunctionWorker[list[LayerDataTuple]]:
    """The widget: nuclei are found in a thread and come as two layers; see `nuclei_layers`."""

    @thread_worker
    def work() -> list[LayerDataTuple]:
        return nuclei_layers(image, predictor_of(config, weights), magnification or None)

    return work()


@lru_cache(maxsize=1)
def predictor_of(config: str, weights: str) -> NucleusPredictor:
    """Of a config and weights, "" where none are named; kept until others are asked for."""
    return NucleusPredictor(config or None, weights or None)


def nuclei_layers(
    image: napari.layers.Image, predictor: NucleusPredictor, magnification: float | None = None
) -> list[LayerDataTuple]:
    """Find the nuclei of a layer.

    Args:
        image: RGB or grey, 2-D; of a pyramid its finest level.
        predictor: of either stage; of stage 1 there are no labels.
        magnification: None: by the layer's scale where that is in µm, else as it is.

    Returns:
        Data, options and type of the layers to add, which lie on the image: "labels" (H, W) int32
        and "points" (N, 2) row, column. Their `features` have the class and the score of each
        nucleus; those of labels begin with the background, 0.

    Raises:
        UserError: the layer is no such image, or see `NucleusPredictor`.
    """
    pixels = np.asarray(image.data[0] if image.multiscale else image.data)
    if pixels.ndim - image.rgb != 2:
        raise UserError(f"the layer {image.name} has {pixels.shape}: take an RGB image, H×W×3")
    magnification = magnification or _magnification(image)
    nuclei = best_first(predictor(pixels, magnification))
    classes = [predictor.classes[each] for each in nuclei.pred_classes.tolist()]
    scores = nuclei.scores.tolist()
    placed: dict[str, Any] = {"scale": image.scale[-2:], "translate": image.translate[-2:]}
    colors = {
        name: np.array(color) / 255
        for name, color in zip(predictor.classes, predictor.colors, strict=True)
    }
    points: LayerDataTuple = (
        nuclei.pred_points.numpy()[:, ::-1],
        placed
        | {
            "name": f"{image.name} nuclei",
            "features": pd.DataFrame({"class": classes, "score": scores}),
            "face_color": "class",
            "face_color_cycle": colors,
            "size": 6,
        },
        "points",
    )
    if not nuclei.has("pred_masks"):
        return [points]
    of_labels = {"class": ["background", *classes], "score": [np.nan, *scores]}
    labels: LayerDataTuple = (
        nuclei.pred_masks.label_map().numpy().astype(np.int32),
        placed
        | {
            "name": f"{image.name} labels",
            "features": pd.DataFrame(of_labels),
        },
        "labels",
    )
    return [labels, points]


def _magnification(image: napari.layers.Image) -> float | None:
    """40 of pixels of 0.25 µm, if the layer's scale is one of µm."""
    units = {str(unit) for unit in image.units[-2:]}
    return 10 / float(image.scale[-1]) if units == {"micrometer"} else None
