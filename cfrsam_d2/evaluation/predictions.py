"""Predictions of a dataset as one COCO-style JSON: whoever looks at them later needs no model."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.structures import Instances

from ..errors import UserError
from ..files import write_bytes
from ..structures.coco import coco_annotation

PREDICTIONS_NAME = "predictions.json"

_JSON = json.JSONEncoder(separators=(",", ":"))


class Predictions(NamedTuple):
    """The content of a file.

    Attributes:
        class_names: by index.
        annotations: by `image_id` the nuclei of each image, as those of a dataset dict:
            `category_id` (0..K-1), `score`, `point` ([x, y] in px) and, unless points alone were
            predicted, `segmentation` (compressed RLE).
    """

    class_names: list[str]
    annotations: dict[int | str, list[dict[str, Any]]]


def prediction_records(instances: Instances) -> list[str]:
    """The COCO annotations of an image as JSON texts, a fraction of the size of dicts.

    Args:
        instances: on the CPU, with `pred_classes`, `scores`, and `pred_points`, `pred_masks` or
            both. A mask without a pixel is no nucleus.

    Returns:
        One text per nucleus, in their order; ids of annotation and image are still missing.
    """
    masks = points = [None] * len(instances)
    if instances.has("pred_points"):
        points = [[round(value, 2) for value in each] for each in instances.pred_points.tolist()]
    if instances.has("pred_masks"):
        masks = instances.pred_masks
    scores = instances.scores.float().numpy()
    records = []
    for category, score, point, mask in zip(
        instances.pred_classes.tolist(), scores, points, masks, strict=True
    ):
        if mask is None or mask.area:
            # As few digits as tell a float32 from its neighbours.
            score = float(str(score))
            record = coco_annotation(mask, category, instances.image_size, point=point, score=score)
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
        records: of `prediction_records`, by `image_id`.
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
        annotations = {image["id"]: [] for image in data["images"]}
        for nucleus in data["annotations"]:
            nucleus["category_id"] -= 1
            annotations[nucleus["image_id"]].append(nucleus)
        return Predictions([each["name"] for each in data["categories"]], annotations)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: evaluate the run again to write it") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): evaluate it again") from None
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}): evaluate the run again"
        ) from None
