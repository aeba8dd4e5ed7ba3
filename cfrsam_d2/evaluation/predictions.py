"""What was predicted, as one COCO-style JSON: whoever looks at it later needs no model.

Letters: N nuclei, H×W px.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from ..files import write_bytes
from ..structures.rle import encode_pixels
from ..errors import UserError

PREDICTIONS_NAME = "predictions.json"

_JSON = json.JSONEncoder(separators=(",", ":"))


class PredictedImage(NamedTuple):
    """The nuclei of an image.

    Attributes:
        file_name: as in the dataset.
        nuclei: dicts like a dataset dict's `annotations`: `category_id` (0..K-1), `score`, `point`
            ([x, y] in px) and, unless points alone were predicted, `segmentation` (compressed RLE).
    """

    file_name: str
    nuclei: list[dict[str, Any]]


class Predictions(NamedTuple):
    """The content of a file: class names by index, and its images by `image_id`."""

    class_names: list[str]
    images: dict[int | str, PredictedImage]


def nucleus_records(
    classes: np.ndarray,
    scores: np.ndarray,
    points: np.ndarray | None,
    masks: Sequence[np.ndarray] | None,
    size: tuple[int, int],
) -> list[str]:
    """The COCO annotations of an image as JSON texts, a fraction of the size of dicts.

    Args:
        classes: (N,) contiguous ids.
        scores: (N,) float32.
        points: (N, 2) x, y in px, or None.
        masks: N arrays of indices into the flattened image, or None; those without a pixel are no
            nuclei.
        size: H, W.

    Returns:
        One text a nucleus, in their order; ids of annotation and image are still missing.
    """
    records = []
    for index, (category, score) in enumerate(zip(classes.tolist(), scores, strict=True)):
        # As few digits as tell a float32 from its neighbours.
        record: dict[str, Any] = {"category_id": category + 1, "score": float(str(score))}
        if points is not None:
            record["point"] = [round(value, 2) for value in points[index].tolist()]
        if masks is not None:
            if not masks[index].size:
                continue
            rle = encode_pixels(masks[index], *size)
            record |= {"bbox": mask_utils.toBbox(rle).tolist(), "area": masks[index].size}
            record |= {"segmentation": rle, "iscrowd": 0}
        records.append(_JSON.encode(record))
    return records


def write_predictions(
    path: Path,
    images: Iterable[dict[str, Any]],
    records: dict[int | str, list[str]],
    class_names: Sequence[str],
) -> None:
    """Write the file; it appears as a whole.

    Args:
        path: of the file.
        images: the dataset's dicts.
        records: of `nucleus_records`, by `image_id`.
        class_names: names by index; category ids are index + 1.
    """
    image_records, annotations = [], []
    for image in images:
        image_id = image["image_id"]
        fields = {key: image[key] for key in ("file_name", "height", "width")}
        image_records.append({"id": image_id, **fields})
        for record in records[image_id]:
            ids = f'{{"id":{len(annotations) + 1},"image_id":{json.dumps(image_id)},'
            annotations.append(ids + record[1:])
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(class_names)]
    head = f'"images":{json.dumps(image_records)},"categories":{json.dumps(categories)}'
    write_bytes(path, f'{{{head},"annotations":[{",".join(annotations)}]}}\n'.encode())


def read_predictions(path: Path) -> Predictions:
    """Read the file that `write_predictions` has written.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        data = json.loads(path.read_bytes())
        images = {each["id"]: PredictedImage(each["file_name"], []) for each in data["images"]}
        for nucleus in data["annotations"]:
            nucleus["category_id"] -= 1
            images[nucleus["image_id"]].nuclei.append(nucleus)
        return Predictions([each["name"] for each in data["categories"]], images)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: evaluate the run again to write it") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}): evaluate the run again"
        ) from None
