"""Nuclei as COCO instances: a part for each image, and one JSON of all parts."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..structures.coco import coco_annotation
from .prediction import Prediction


def coco_part(prediction: Prediction) -> dict[str, Any]:
    """The records of one image, without the ids that count over images.

    Args:
        prediction: of one image, with masks.

    Returns:
        `{"image": record, "annotations": records}`.
    """
    instances = prediction.instances
    size = height, width = instances.image_size
    columns = instances.pred_masks, instances.pred_classes.tolist(), instances.scores.tolist()
    return {
        "image": {"file_name": prediction.file_name, "height": height, "width": width},
        "annotations": [
            coco_annotation(mask, category, size, score=score)
            for mask, category, score in zip(*columns, strict=True)
        ],
    }


def merge_coco_parts(parts: Iterable[dict[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Number the images and nuclei of all parts from 1 on.

    Args:
        parts: of `coco_part`.
        classes: names by index; category ids are index + 1.

    Returns:
        What COCO's tools and `cfrsam_d2.data.coco` read: `images`, `annotations`, `categories`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, part in enumerate(parts, start=1):
        images.append({"id": image_id, **part["image"]})
        for annotation in part["annotations"]:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **annotation})
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes)]
    return {"images": images, "annotations": annotations, "categories": categories}
