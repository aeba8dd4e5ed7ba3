"""A run as its output folder has it. Nothing is computed here, no model is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from ...data.palette import UNKNOWN_COLOR, class_colors
from ...data.registration import register_custom_datasets
from ...engine import check_registered
from ...engine.config_file import leaves
from ...errors import UserError
from ...evaluation.predictions import PREDICTIONS_NAME, read_predictions
from ...structures.coco import UNKNOWN_CLASS, UNKNOWN_NAME
from .run_files import checked_nuclei, read_curves, read_image_scores, read_metrics

# What YAML and CfgNode make of all sorts of files.
_NO_CONFIG = (
    *(OSError, LookupError, AttributeError, TypeError, ValueError),
    *(AssertionError, RecursionError, yaml.YAMLError),
)
# What differs between the seeds of one training, and between what they were tested on.
_OF_SEEDS = {
    "SEED",
    "OUTPUT_DIR",
    "DATASETS.TEST",
    "MODEL.WEIGHTS",
    "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS",
}


@dataclass(frozen=True)
class Dataset:
    """The ground truth of a report.

    Attributes:
        name: registered.
        images: dataset dicts.
        class_names: by index.
        colors: RGB triples by index.
    """

    name: str
    images: list[dict[str, Any]]
    class_names: list[str]
    colors: list[tuple[int, int, int]]

    @property
    def has_unknown(self) -> bool:
        """Whether there are nuclei of unknown class."""
        return any(
            nucleus["category_id"] == UNKNOWN_CLASS
            for image in self.images
            for nucleus in image["annotations"]
        )

    @property
    def shown_classes(self) -> dict[int, tuple[str, tuple[int, int, int]]]:
        """Names and colours by index; of unknown class, -1, if there are such nuclei."""
        shown = dict(enumerate(zip(self.class_names, self.colors, strict=True)))
        return shown | ({UNKNOWN_CLASS: (UNKNOWN_NAME, UNKNOWN_COLOR)} if self.has_unknown else {})


@dataclass(frozen=True)
class Run:
    """A training or evaluation, as it is found in its OUTPUT_DIR.

    Attributes:
        name: of the run in the report.
        metrics: the groups of `inference/<dataset>/metrics.json`.
        image_scores: columns of `images.csv` by name, (B,) float, in the order of the dataset; NaN
            where undefined.
        predictions: the annotations of the images in that order, see `Predictions`.
        curves: the lines of `metrics.json` of the training; [] if there was none.
        unreadable_lines: of that file, which are left out.
        best_metric: the validation score that chose the weights.
        recipe: its config without the seed and the places of files: runs of one recipe differ by
            chance alone.
        seed: None if its config has none.
    """

    name: str
    metrics: dict[str, dict[str, float | None]]
    image_scores: dict[str, np.ndarray]
    predictions: list[list[dict[str, Any]]]
    curves: list[dict[str, float]]
    unreadable_lines: int
    best_metric: str
    recipe: str
    seed: int | None

    @property
    def has_masks(self) -> bool:
        """False of stage 1, which predicts points."""
        return "segmentation" in self.metrics


def read_runs(folders: Sequence[Path], dataset_name: str | None) -> tuple[Dataset, list[Run]]:
    """Read runs that were evaluated on one dataset.

    Args:
        folders: the OUTPUT_DIR of each.
        dataset_name: None: the first of the first run's DATASETS.TEST.

    Raises:
        UserError: a folder is not what training and evaluation leave, its images are not those of
            the dataset, or the dataset is not there.
    """
    configs = [_read_config(folder) for folder in folders]
    register_custom_datasets(configs[0])
    if dataset_name is None:
        dataset_name = _common_test_set(configs, folders)
    check_registered("--dataset or DATASETS.TEST", dataset_name)
    dataset = _load_dataset(dataset_name)
    titles = short_names(folders)
    return dataset, [
        _read_run(folder, title, cfg, dataset)
        for folder, title, cfg in zip(folders, titles, configs, strict=True)
    ]


def short_names(folders: Sequence[Path]) -> list[str]:
    """As few of the last parts of the paths as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise UserError(f"{folders[0]} and others are named twice: name each OUTPUT_DIR once")
    count = next(n for n in range(1, 1000) if len({each[-n:] for each in parts}) == len(parts))
    return ["/".join(each[-count:]) for each in parts]


def _read_config(folder: Path) -> CfgNode:
    """The run's config; its keys may be of another version of Detectron2."""
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path} does not exist: name the OUTPUT_DIR of a run of train_net.py")
    try:
        cfg = CfgNode(yaml.safe_load(path.read_text(encoding="utf-8")))
        names = [*cfg.DATASETS.TEST, cfg.TEST.BEST_METRIC]
        for node in cfg.DATASETS.CUSTOM.values():
            names += [node.JSON, node.IMAGES]
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"{names} are no names")
    except _NO_CONFIG as error:
        raise UserError(f"{path} is not a config of this project: {error}") from None
    return cfg


def _common_test_set(configs: Sequence[CfgNode], folders: Sequence[Path]) -> str:
    names = [(*cfg.DATASETS.TEST, "")[0] for cfg in configs]
    for name, folder in zip(names, folders, strict=True):
        if not name:
            raise UserError(f"DATASETS.TEST of {folder} is empty: name the dataset with --dataset")
        if name != names[0]:
            raise UserError(
                f"{folders[0]} was evaluated on {names[0]}, but {folder} on {name}: let --dataset "
                "name one on which all of them were"
            )
    return names[0]


def _load_dataset(name: str) -> Dataset:
    images = DatasetCatalog.get(name)
    # Loading a dataset may be what fills its metadata.
    metadata = MetadataCatalog.get(name)
    classes = list(metadata.thing_classes)
    colors = metadata.get("thing_colors", class_colors(len(classes)))
    return Dataset(name, images, classes, [tuple(color) for color in colors])


def _read_run(folder: Path, name: str, cfg: CfgNode, dataset: Dataset) -> Run:
    scores = folder / "inference" / dataset.name
    if not (scores / "metrics.json").is_file():
        raise UserError(
            f"{scores}/metrics.json does not exist: run `train_net.py --eval-only` with the run's "
            f"config and DATASETS.TEST \"('{dataset.name}',)\""
        )
    metrics = read_metrics(scores / "metrics.json")
    has_masks = "segmentation" in metrics
    table = read_image_scores(scores / "images.csv", has_masks=has_masks)
    if len(table["n_gt"]) != len(dataset.images):
        raise UserError(
            f"{scores} has other images than {dataset.name} has now: evaluate the run again"
        )
    curves, unreadable_lines = read_curves(folder / "metrics.json")
    return Run(
        name=name,
        metrics=metrics,
        image_scores=table,
        predictions=_read_nuclei(scores, dataset, has_masks),
        curves=curves,
        unreadable_lines=unreadable_lines,
        best_metric=cfg.TEST.BEST_METRIC,
        recipe=_recipe(cfg),
        seed=cfg.get("SEED"),
    )


def _recipe(cfg: CfgNode) -> str:
    return repr([(key, value) for key, value in leaves(cfg) if key not in _OF_SEEDS])


def _read_nuclei(scores: Path, dataset: Dataset, has_masks: bool) -> list[list[dict[str, Any]]]:
    path = scores / PREDICTIONS_NAME
    predictions = read_predictions(path)
    if list(predictions.annotations) != [image["image_id"] for image in dataset.images]:
        raise UserError(
            f"{scores} has other images than {dataset.name} has now: evaluate the run again"
        )
    if predictions.class_names != dataset.class_names:
        raise UserError(
            f"{scores} has the classes {predictions.class_names}, {dataset.name} has "
            f"{dataset.class_names}: evaluate the run again"
        )
    return [
        checked_nuclei(
            path,
            nuclei,
            (image["height"], image["width"]),
            len(dataset.class_names),
            has_masks=has_masks,
        )
        for image, nuclei in zip(dataset.images, predictions.annotations.values(), strict=True)
    ]
