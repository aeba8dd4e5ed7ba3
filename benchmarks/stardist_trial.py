#!/usr/bin/env python
"""StarDist from scratch on the data of the trial, scored as the project's own model.

    python benchmarks/stardist_trial.py export FOLDER               # here
    python benchmarks/stardist_trial.py train FOLDER --minutes 180  # where StarDist is installed
    python benchmarks/stardist_trial.py score FOLDER                # here

`train` needs `pip install stardist tensorflow-cpu` in an environment of its own, and nothing of the
project. StarDist2D of its package trains with the package's defaults (32 rays, grid 2, U-Net of
depth 3, flips and rotations, and shifts and scales of intensity, as its examples have them) until
the time is over; one image in ten chooses thresholds. Folders of data as in
docs/real-data-trial.md.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CONFIG = "configs/small/cfrsam.yaml"
TEST_SET = "pannuke_fold3"
SIDE = 256  # px of a training patch


def export(folder: Path) -> None:
    """Write images and label maps at 40× as `train.npz` and `test.npz`."""
    from cfrsam_d2.engine import load_config

    folder.mkdir(parents=True, exist_ok=True)
    for name, datasets in (("train", load_config(CONFIG).DATASETS.TRAIN), ("test", [TEST_SET])):
        images, labels = zip(*(pair for each in datasets for pair in _pairs(each)), strict=True)
        arrays = {f"image{i}": image for i, image in enumerate(images)}
        arrays |= {f"labels{i}": label for i, label in enumerate(labels)}
        np.savez_compressed(folder / f"{name}.npz", **arrays)
        print(f"{name}: {len(images)} images, {sum(label.max() for label in labels)} nuclei")


def _pairs(dataset: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The images of a registered dataset at 40×, and their label maps."""
    from detectron2.data import DatasetCatalog

    from cfrsam_d2.data.image import read_rgb
    from cfrsam_d2.data.magnification import rescaled_size, resize_image, resize_mask
    from cfrsam_d2.structures.rle import decode_mask

    pairs = []
    for record in DatasetCatalog.get(dataset):
        image = read_rgb(record["file_name"])
        before = (image.shape[0], image.shape[1])
        size = rescaled_size(before, record["magnification"], 40)
        labels = np.zeros(size, np.int32)
        for number, nucleus in enumerate(record["annotations"], start=1):
            mask = resize_mask(decode_mask(nucleus["segmentation"]), before, size)
            labels[mask.in_image][mask.pixels] = number
        pairs.append((resize_image(image, size), labels))
    return pairs


def train(folder: Path, minutes: float) -> None:
    """Train StarDist, and write its label maps of the test images as `stardist.npz`."""
    # Of another environment.
    import tensorflow as tf  # pyright: ignore
    from csbdeep.utils import normalize  # pyright: ignore
    from stardist import fill_label_holes  # pyright: ignore
    from stardist.models import Config2D, StarDist2D  # pyright: ignore

    arrays = np.load(folder / "train.npz")
    count = len(arrays.files) // 2
    images = [normalize(arrays[f"image{i}"], 1, 99.8, axis=(0, 1)) for i in range(count)]
    labels = [fill_label_holes(arrays[f"labels{i}"]) for i in range(count)]
    padded = [_padded(*pair) for pair in zip(images, labels, strict=True)]
    held = [pair for i, pair in enumerate(padded) if i % 10 == 0]
    rest = [pair for i, pair in enumerate(padded) if i % 10]

    config = Config2D(
        n_rays=32,
        grid=(2, 2),
        n_channel_in=3,
        train_patch_size=(SIDE, SIDE),
        train_batch_size=4,
        train_epochs=10_000,
        train_steps_per_epoch=100,
        train_tensorboard=False,
        train_reduce_lr={"factor": 0.5, "patience": 40, "min_delta": 0},
    )
    model: Any = StarDist2D(config, name="model", basedir=str(folder))
    model.prepare_for_training()
    end = time.monotonic() + 60 * minutes

    class StopInTime(tf.keras.callbacks.Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if time.monotonic() > end:
                self.model.stop_training = True

    model.callbacks.append(StopInTime())
    model.train(*_lists(rest), validation_data=_lists(held), augmenter=_augment, seed=0)
    model.optimize_thresholds(*_lists(held))
    test = np.load(folder / "test.npz")
    found = {}
    for i in range(len(test.files) // 2):
        image = normalize(test[f"image{i}"], 1, 99.8, axis=(0, 1))
        found[f"labels{i}"], _ = model.predict_instances(image)
    np.savez_compressed(folder / "stardist.npz", **found)


def _padded(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At least as large as a patch; mirrored pixels, no nuclei there."""
    missing = [max(SIDE - side, 0) for side in labels.shape]
    return (
        np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="reflect"),
        np.pad(labels, [(0, missing[0]), (0, missing[1])]),
    )


def _lists(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[list, list]:
    return [image for image, _ in pairs], [labels for _, labels in pairs]


def _augment(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flips, rotations, and intensities, as StarDist's examples have them."""
    turns, flips = np.random.randint(4), np.random.rand() < 0.5
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if flips:
        image, labels = image[:, ::-1], labels[:, ::-1]
    image = image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)
    return image + 0.02 * np.random.uniform(0, 1) * np.random.normal(size=image.shape), labels


def score(folder: Path) -> None:
    """Print the project's scores of `stardist.npz`; all nuclei get the most frequent class."""
    import cfrsam_d2  # noqa: F401  (first: it may stand in for Detectron2)

    # isort: split
    from detectron2.data import DatasetCatalog

    from cfrsam_d2.apps.hematoxylin_baseline import to_instances
    from cfrsam_d2.evaluation import NucleusEvaluator

    evaluator = NucleusEvaluator(TEST_SET, str(folder), distributed=False)
    found = np.load(folder / "stardist.npz")
    records = DatasetCatalog.get(TEST_SET)
    categories = [nucleus["category_id"] for each in records for nucleus in each["annotations"]]
    category = int(np.bincount(categories).argmax())
    for i, record in enumerate(records):
        nuclei = to_instances(found[f"labels{i}"].astype(np.int32), category)
        evaluator.process([record], [{"instances": nuclei}])
    scores = evaluator.evaluate()
    print({**scores["segmentation"], **scores["detection"]})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("export", "train", "score"))
    parser.add_argument("folder", type=Path, help="of all that is written")
    parser.add_argument("--minutes", type=float, default=180.0)
    args = parser.parse_args()
    if args.step == "train":
        train(args.folder, args.minutes)
    else:
        {"export": export, "score": score}[args.step](args.folder)


if __name__ == "__main__":
    main()
