"""Dataset dicts and predictions as pictures, and the files that these go to.

N nuclei, H×W image px.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Instances

from ..data.palette import UNKNOWN_COLOR
from ..errors import UserError
from ..files import write_png
from ..structures.coco import UNKNOWN_CLASS, UNKNOWN_NAME
from ..structures.rle import decode_mask
from .drawing import RGB, draw_instances, upscaling_factor
from .layout import LegendItem, side_by_side


def choose_images(dataset_name: str, count: int) -> list[dict[str, Any]]:
    """Choose images evenly from first to last: always the same ones.

    Args:
        dataset_name: a registered dataset; it is loaded.
        count: of images; a dataset with fewer gives all it has.

    Returns:
        Their dataset dicts, in order.

    Raises:
        UserError: the dataset cannot be loaded or is empty, or none are asked for.
    """
    if count < 1:
        raise UserError(f"--count is {count}: ask for 1 image or more")
    images = DatasetCatalog.get(dataset_name)
    if not images:
        raise UserError(f"{dataset_name} has no images: choose a dataset that has some")
    indices = np.linspace(0, len(images) - 1, min(count, len(images)))
    return [images[index] for index in indices.round().astype(int)]


def draw_picture(
    dataset_name: str,
    dataset_dict: dict[str, Any],
    image: np.ndarray,
    prediction: Instances | None = None,
) -> np.ndarray:
    """Draw image | ground truth | prediction, with the classes, their counts and a caption.

    Args:
        dataset_name: a dataset that was loaded; its metadata have `thing_classes` and
            `thing_colors`.
        dataset_dict: one image of it.
        image: (H, W, 3) uint8 RGB, of the size that the dict states.
        prediction: the model's nuclei, with `pred_points`, `pred_classes` and, where the model
            has them, `pred_masks`; None leaves the last panel out.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    metadata = MetadataCatalog.get(dataset_name)
    # The last of both is of unknown class, -1.
    names = [*metadata.thing_classes, UNKNOWN_NAME]
    colors: list[RGB] = [*(tuple(color) for color in metadata.thing_colors), UNKNOWN_COLOR]
    annotations = dataset_dict["annotations"]
    panels = {
        "image": draw_instances(image, None, [], None, colors, upscaling_factor(*image.shape[:2])),
        "ground truth": _draw_annotations(image, annotations, colors),
    }
    classes = [[nucleus["category_id"] for nucleus in annotations]]
    if prediction is not None:
        panels["prediction"] = _draw_prediction(image, prediction.to("cpu"), colors)
        classes.append(prediction.pred_classes.tolist())
    legend = _legend(names, colors, classes)
    name, tissue = Path(dataset_dict["file_name"]).name, dataset_dict.get("tissue", "unknown")
    return side_by_side(list(panels.values()), list(panels), legend, f"{name} · {tissue}")


def write_picture(folder: Path, dataset_dict: dict[str, Any], picture: np.ndarray) -> None:
    """Write a picture as `<image_id>_<name of the image's file>.png`; it appears as a whole.

    Args:
        folder: made if it is not there.
        dataset_dict: of the image that the picture shows.
        picture: (height, width, 3) uint8 RGB.

    Raises:
        UserError: the folder cannot be written to.
    """
    name = f"{dataset_dict['image_id']}_{Path(dataset_dict['file_name']).stem}.png"
    write_png(folder / name, picture)


def _draw_annotations(
    image: np.ndarray, annotations: Sequence[dict[str, Any]], colors: Sequence[RGB]
) -> np.ndarray:
    return draw_instances(
        image,
        [decode_mask(nucleus["segmentation"]) for nucleus in annotations],
        [nucleus["category_id"] for nucleus in annotations],
        np.array([nucleus["point"] for nucleus in annotations]).reshape(-1, 2),
        colors,
        upscaling_factor(*image.shape[:2]),
    )


def _draw_prediction(image: np.ndarray, instances: Instances, colors: Sequence[RGB]) -> np.ndarray:
    return draw_instances(
        image,
        instances.pred_masks if instances.has("pred_masks") else None,
        instances.pred_classes.tolist(),
        instances.pred_points.float().numpy(),
        colors,
        upscaling_factor(*image.shape[:2]),
    )


def _legend(
    names: Sequence[str], colors: Sequence[RGB], classes_of_panels: Sequence[Sequence[int]]
) -> list[LegendItem]:
    """Every class, also of no nucleus, with its nuclei in the panels of truth and prediction.

    The last, of unknown class, is there if there are such nuclei.
    """
    counts = [Counter(classes) for classes in classes_of_panels]
    indices = [*range(len(names) - 1)]
    if any(of_panel[UNKNOWN_CLASS] for of_panel in counts):
        indices.append(UNKNOWN_CLASS)
    return [
        LegendItem(
            colors[index],
            f"{names[index]} {' / '.join(str(of_panel[index]) for of_panel in counts)}",
        )
        for index in indices
    ]
