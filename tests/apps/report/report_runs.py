"""A small dataset with class names that need escaping, and runs that were evaluated on it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from detectron2.structures import Instances

from cfrsam_d2.data.converters.dataset_writer import NucleusJsonWriter
from cfrsam_d2.data.registration import register_nucleus_json
from cfrsam_d2.evaluation import NucleusEvaluator
from cfrsam_d2.structures.masks import BoxMask, BoxMasks

NAME = "reported"
CLASSES = ['<b>&"', "long"]
SIDE = 64  # px
NUM_IMAGES = 9

Nucleus = tuple[np.ndarray, int]  # (H, W) mask, class


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def gt_nuclei(index: int) -> list[Nucleus]:
    """One to four nuclei of both classes, all of 12×12 px; none in the last image."""
    places = [(4, 4), (4, 40), (40, 4), (40, 40)]
    count = 0 if index == NUM_IMAGES - 1 else 1 + index % 4
    return [(rectangle(y, x, y + 12, x + 12), n % 2) for n, (y, x) in enumerate(places[:count])]


def make_dataset(
    folder: Path,
    nuclei: Callable[[int], Sequence[Nucleus]] = gt_nuclei,
    num_images: int = NUM_IMAGES,
) -> None:
    """Write and register the dataset."""
    writer = NucleusJsonWriter(folder, CLASSES)
    rng = np.random.default_rng(0)
    for index in range(num_images):
        image = rng.integers(120, 250, size=(SIDE, SIDE, 3), dtype=np.uint8)
        tissue = "Colon" if index % 2 else "Bile-duct"
        boxed = [(BoxMask.of_frame(mask), category) for mask, category in nuclei(index)]
        writer.add(f"{index}.png", image, boxed, tissue=tissue)
    writer.write()
    register_nucleus_json(
        NAME, folder / "nuclei.json", folder / "images", thing_classes=list(CLASSES)
    )


def good(index: int) -> list[Nucleus]:
    """All nuclei, a little smaller."""
    return [(_without_rows(mask, 2), category) for mask, category in gt_nuclei(index)]


def poor(index: int) -> list[Nucleus]:
    """The first nucleus alone, much smaller, and one that is not there."""
    return [
        *((_without_rows(mask, 5), category) for mask, category in gt_nuclei(index)[:1]),
        (rectangle(24, 24, 32, 32), 1),
    ]


def make_run(
    folder: Path,
    predict: Callable[[int], Sequence[Nucleus]],
    *,
    masks: bool,
    num_images: int = NUM_IMAGES,
) -> Path:
    """Leave in a folder what train_net.py does.

    Args:
        folder: to make.
        predict: the nuclei of an image by its position.
        masks: False: predict the centres alone.
        num_images: of the dataset.
    """
    evaluator = NucleusEvaluator(NAME, str(folder / "inference" / NAME), distributed=False)
    for index in range(num_images):
        output = {"instances": _instances(predict(index), masks)}
        evaluator.process([{"image_id": index + 1}], [output])
    evaluator.evaluate()
    splits = {split: {"JSON": "", "IMAGES": ""} for split in ("TRAIN", "VAL", "TEST")}
    config = {
        "DATASETS": {"TEST": [NAME], "CUSTOM": splits},
        "TEST": {"BEST_METRIC": "segmentation/bPQ"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    lines = [
        {"iteration": 19, "total_loss": 3.0, "loss_mask": 2.0, "lr": 0.001},
        {"iteration": 39, "total_loss": 2.0, "loss_mask": 1.0, "lr": 0.001},
        {"iteration": 39, "segmentation/bPQ": 0.5},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.json").write_text(text + '{"iteration": 59, "tot')
    return folder


def _without_rows(mask: np.ndarray, count: int) -> np.ndarray:
    """A mask without its first rows."""
    mask = mask.copy()
    top = np.flatnonzero(mask.any(axis=1))[0]
    mask[top : top + count] = False
    return mask


def _instances(nuclei: Sequence[Nucleus], masks: bool) -> Instances:
    boxed = [BoxMask.of_frame(mask) for mask, _ in nuclei]
    found = BoxMasks.from_box_masks(boxed, (SIDE, SIDE))
    instances = Instances(
        (SIDE, SIDE),
        pred_points=found.centroids().float(),
        pred_classes=torch.tensor([category for _, category in nuclei], dtype=torch.int64),
        scores=torch.linspace(0.9, 0.6, len(nuclei)),
    )
    if masks:
        instances.pred_masks = found
    return instances
