"""What `tools/export_model.py` does: export a trained model, and hold the export to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import shapely
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from tabulate import tabulate

from ..deploy.exporting import RECORD, export_networks
from ..engine import load_config
from ..errors import UserError
from ..files import folder_lock, make_folder, replaced_folder, write_bytes
from ..predictor import NucleusPredictor, read_as_rgb

# Of the masks of both, in the mean, by form.
LEAST_IOU = {"onnx": 0.999, "torch": 0.999, "int8": 0.95}
MOST_OTHERS = {"onnx": 0.0, "torch": 0.0, "int8": 0.02}  # share of nuclei by which both may differ
MOST_PX = 0.01  # between points of both
RUNS = 3


@dataclass
class Agreement:
    """How an export and its model compare on one image.

    Attributes:
        nuclei: of the model, and of the export.
        iou: mean over the model's nuclei, each with its best partner; of stage 1 alone, the share
            of its points that have one.
        seconds: of the model and of the export, medians of runs in turn.
    """

    nuclei: tuple[int, int]
    iou: float
    seconds: tuple[float, float]

    def holds(self, form: str) -> bool:
        """Whether they agree as far as an export of a form has to."""
        others = abs(self.nuclei[0] - self.nuclei[1])
        return others <= MOST_OTHERS[form] * self.nuclei[0] and self.iou >= LEAST_IOU[form]


def export_model(cfg: CfgNode, output: Path, form: str, image: Path) -> Agreement:
    """Export a trained model into a folder, which replaces an earlier export there.

    Args:
        cfg: of the model, with its weights.
        output: the folder.
        form: "onnx", "int8" (ONNX, too) or "torch".
        image: on which both have to find the same.

    Raises:
        UserError: the model cannot be exported, the image cannot be read, or they differ.
    """
    pixels = read_as_rgb(image)
    predictor = NucleusPredictor(cfg)
    make_folder(output.parent)
    with folder_lock(output), replaced_folder(output, RECORD) as partial:
        export_networks(predictor.model, predictor.cfg, partial, form)
        agreement = compare(predictor, NucleusPredictor(cfg, partial), pixels)
        if not agreement.holds(form):
            raise UserError(
                f"the export does not agree with its model on {image}: {agreement}; "
                "take another form, or other versions of PyTorch and ONNX"
            )
        exported = cfg.clone()
        exported.MODEL.WEIGHTS = str(output)
        write_bytes(partial / "config.yaml", exported.dump().encode())
    return agreement


def compare(model: NucleusPredictor, export: NucleusPredictor, pixels: np.ndarray) -> Agreement:
    """Let both find the nuclei of an image, in turn; the first time does not count."""
    found = model(pixels), export(pixels)
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(RUNS):
        for each, taken in zip((model, export), seconds, strict=True):
            taken.append(_seconds(each, pixels))
    same = mean_iou if model.predicts_masks else shared_points
    return Agreement(
        nuclei=(len(found[0]), len(found[1])),
        iou=same(*found),
        seconds=(median(seconds[0]), median(seconds[1])),
    )


def mean_iou(nuclei: Instances, others: Instances) -> float:
    """The mean IoU of nuclei with the best of others; 1 where there are none."""
    masks = list(others.pred_masks)
    tree = shapely.STRtree([shapely.box(*mask.box) for mask in masks])
    best = [
        max((mask.iou(masks[row]) for row in tree.query(shapely.box(*mask.box))), default=0.0)
        for mask in nuclei.pred_masks
    ]
    return float(np.mean(best)) if best else 1.0


def shared_points(nuclei: Instances, others: Instances) -> float:
    """The share of points that lie on one of others; 1 where there are none."""
    if not len(nuclei) or not len(others):
        return float(len(nuclei) == len(others))
    distances = torch.cdist(nuclei.pred_points.double(), others.pred_points.double())
    return (distances.min(dim=1).values <= MOST_PX).double().mean().item()


def as_text(agreement: Agreement) -> str:
    model, export = agreement.seconds
    rows = [("nuclei", *agreement.nuclei), ("seconds", f"{model:.2f}", f"{export:.2f}")]
    table = tabulate(rows, ["", "PyTorch", "exported"])
    return f"{table}\nmean IoU {agreement.iou:.5f}; {model / export:.2f} times as fast as PyTorch"


def _seconds(work: Callable[[np.ndarray], Instances], pixels: np.ndarray) -> float:
    begun = time.perf_counter()
    work(pixels)
    return time.perf_counter() - begun


def export_from_files(
    config: str, output: Path, form: str, image: Path, options: list[str]
) -> None:
    """The work of the tool."""
    print(as_text(export_model(load_config(config, options), output, form, image)))
    print(f"written to {output}: --config-file {output}/config.yaml runs it")
