"""What `tools/export_pannuke.py` does: predictions on a fold in the official script's format."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Instances
from tqdm import tqdm

from ..data.converters.pannuke import pannuke_masks
from ..data.converters.pannuke_layout import NUM_CHANNELS, PANNUKE_CLASSES
from ..data.mapper import NucleusMapper
from ..engine import build_trained_model, load_config_for
from ..errors import UserError
from ..files import written_whole
from ..structures.coco import UNKNOWN_CLASS
from ..structures.label_map import label_masks
from ..structures.rle import decode_mask


def load_pannuke_dataset(name: str) -> list[dict[str, Any]]:
    """The dicts of a dataset that PanNuke's format can hold.

    Raises:
        UserError: it has other classes than PanNuke, or images of different sizes.
    """
    dataset_dicts = DatasetCatalog.get(name)
    classes = MetadataCatalog.get(name).thing_classes
    if tuple(classes) != PANNUKE_CLASSES:
        raise UserError(
            f"{name} has the classes {', '.join(classes)}, but PanNuke's format is for "
            f"{', '.join(PANNUKE_CLASSES)}: let --dataset name a dataset with these"
        )
    sizes = sorted({(each["height"], each["width"]) for each in dataset_dicts})
    if len(sizes) > 1:
        raise UserError(
            f"{name} has images of {sizes[0]} and of {sizes[1]} px, but PanNuke's format is one "
            "array: let --dataset name a dataset with images of one size"
        )
    return dataset_dicts


def check_known_classes(name: str, dataset_dicts: Iterable[dict[str, Any]]) -> None:
    """
    Raises:
        UserError: a nucleus is of unknown class, for which PanNuke's format has no channel.
    """
    classes = [
        nucleus["category_id"] for image in dataset_dicts for nucleus in image["annotations"]
    ]
    if count := classes.count(UNKNOWN_CLASS):
        raise UserError(
            f"{name} has {count} nuclei of unknown class, for which PanNuke's format has no place: "
            "leave out --ground-truth, or let --dataset name a dataset without such nuclei"
        )


def ground_truth_masks(dataset_dicts: Iterable[dict[str, Any]]) -> Iterator[np.ndarray]:
    """Yield (H, W, 6) instance ids per image."""
    for image in dataset_dicts:
        nuclei = image["annotations"]
        yield pannuke_masks(
            (decode_mask(nucleus["segmentation"]) for nucleus in nuclei),
            (nucleus["category_id"] for nucleus in nuclei),
            image["height"],
            image["width"],
        )


def predicted_masks(cfg: CfgNode, dataset_dicts: Iterable[dict[str, Any]]) -> Iterator[np.ndarray]:
    """Run the trained model and yield (H, W, 6) instance ids per image."""
    model = build_trained_model(cfg)
    read = NucleusMapper(cfg, is_train=False)
    for dataset_dict in tqdm(dataset_dicts, unit="image"):
        with torch.no_grad():
            instances = model([read(dataset_dict)])[0]["instances"].to("cpu")
        yield painted_masks(instances)


def painted_masks(instances: Instances) -> np.ndarray:
    """Lay predictions out as the evaluator scores them: the better-scored nucleus lies on top.

    A pixel then belongs to one nucleus in all channels together, so that the order in which the
    official script paints channels does not matter.

    Returns:
        (H, W, 6) int32 instance ids.

    Raises:
        UserError: the model predicts points alone.
    """
    if not instances.has("pred_masks"):
        raise UserError("--config-file is of stage 1, which predicts points: name one of stage 2")
    worst_first = instances.scores.argsort(stable=True)
    labels = instances.pred_masks.label_map(worst_first).numpy()
    visible = dict(label_masks(labels))
    classes = (int(instances.pred_classes[label - 1]) for label in visible)
    return pannuke_masks(visible.values(), classes, *instances.image_size)


def write_masks(path: Path, dataset_dicts: Sequence[dict], records: Iterable[np.ndarray]) -> None:
    """Write one (N, H, W, 6) array, image by image; the file appears whole or not at all."""
    height, width = dataset_dicts[0]["height"], dataset_dicts[0]["width"]
    shape = (len(dataset_dicts), height, width, NUM_CHANNELS)
    # A stream, not a memory map: on a full disk that would crash the process.
    with written_whole(path) as partial, open(partial, "wb") as file:
        header = {"descr": "<i4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for record in records:
            file.write(record.astype("<i4").tobytes())


def write_types(path: Path, dataset_dicts: Iterable[dict[str, Any]]) -> None:
    """Write the tissue of every image."""
    types = np.array([image.get("tissue", "unknown") for image in dataset_dicts])
    with written_whole(path) as partial, open(partial, "wb") as file:
        np.save(file, types)


def export(
    config_file: str,
    overrides: Sequence[str],
    dataset: str | None,
    output: Path | None,
    *,
    ground_truth: bool,
) -> None:
    """Predict a dataset and write the arrays, and its own nuclei if asked to.

    Args:
        config_file: of stage 2.
        overrides: key, value, key, value, …
        dataset: its name; by default the first of DATASETS.TEST.
        output: by default OUTPUT_DIR/pannuke/DATASET.
        ground_truth: whether to write that, too.

    Raises:
        UserError: the dataset or the model is not one that the format can hold.
    """
    cfg, name = load_config_for(config_file, overrides, dataset)
    folder = output or Path(cfg.OUTPUT_DIR, "pannuke", name)
    dataset_dicts = load_pannuke_dataset(name)
    if ground_truth:
        check_known_classes(name, dataset_dicts)
        masks = ground_truth_masks(dataset_dicts)
        write_masks(folder / "true" / "masks.npy", dataset_dicts, masks)
        write_types(folder / "true" / "types.npy", dataset_dicts)
    masks = predicted_masks(cfg, dataset_dicts)
    write_masks(folder / "pred" / "masks.npy", dataset_dicts, masks)
    print(f"{len(dataset_dicts)} images of {name} are in {folder}")
