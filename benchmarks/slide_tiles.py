#!/usr/bin/env python
"""What SLIDE.TILE and SLIDE.HALO change: nuclei of tiles beside those of the same pixels whole.

    python benchmarks/slide_tiles.py [--side 1024] [--json]

A mosaic of synthetic tissue, whose nuclei are known, is segmented with the training demo's trained
model (`make train-demo`), on the CPU. Stage 1 sees tiles of each size with each halo; stage 2 sees
the same windows each time. Of the nuclei of the whole image it is told how many have a partner (an
IoU of at least 0.5), one of another class, and the very mask; F1 is of all nuclei found within
12 px of the known ones, and the mean over classes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import numpy as np
import pyarrow as pa
import torch
from detectron2.structures import Instances
from tabulate import tabulate

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.data.synthetic import SYNTHETIC_CLASSES
from cfrsam_d2.data.synthetic.rendering import render
from cfrsam_d2.data.synthetic.scene import SYNTHETIC_TISSUES, random_scene
from cfrsam_d2.errors import UserError, exits_on_user_error
from cfrsam_d2.evaluation.detection import (
    RADIUS_AT_40X,
    class_scores,
    count_pairs,
    detection_scores,
)
from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.meta_arch.cfrsam import EncodedWindows
from cfrsam_d2.modeling.postprocessing import suppress_within_radius
from cfrsam_d2.predictor import NucleusPredictor
from cfrsam_d2.slides.lattice import Lattice
from cfrsam_d2.slides.points import points_of_tile, proposals_of
from cfrsam_d2.structures.masks import BoxMasks

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "train_demo" / "cfrsam.yaml"
WEIGHTS = ROOT / "output" / "train_demo" / "cfrsam" / "model_best.pth"
KEYS = ["MODEL.DEVICE", "cpu", "MODEL.PROMPT_LEARNER.SAMPLING", "centred"]
TILES, HALOS = (128, 256, 512), (64, 128, 256)  # px
PIECE = 128  # px: a side of the tissue that the mosaic is made of
PARTNER = 0.5  # IoU


def mosaic(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Synthetic tissue: pixels (side, side, 3), centroids (N, 2) x, y and classes (N,)."""
    rng = np.random.default_rng(0)
    pixels = np.empty((side, side, 3), np.uint8)
    centers, classes = [np.zeros((0, 2))], []
    for number, (y, x) in enumerate(np.ndindex(side // PIECE, side // PIECE)):
        tissue = SYNTHETIC_TISSUES[number % len(SYNTHETIC_TISSUES)]
        scene = random_scene(rng, tissue, PIECE, empty=False)
        top, left = y * PIECE, x * PIECE
        pixels[top : top + PIECE, left : left + PIECE] = render(rng, scene)
        masks = [nucleus.mask(PIECE) for nucleus in scene.nuclei]
        inside = BoxMasks.from_box_masks(masks, (PIECE, PIECE)).centroids().numpy()
        centers.append(inside + np.array([left, top]))
        classes += [nucleus.class_index for nucleus in scene.nuclei]
    return pixels, np.concatenate(centers), np.array(classes)


def find_points(model: CFRSAM, pixels: np.ndarray, tile: int, halo: int) -> Instances:
    """The prompts that stage 1 finds tile by tile."""
    height, width = pixels.shape[:2]
    lattice = Lattice(width, height, tile, halo, model.sliding_window)
    tiles = [each for chunk in lattice.chunks() for each in lattice.tiles(chunk)]
    boxes = [each.region for each in tiles]
    regions = [pixels[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes]
    found = (points_of_tile(model, *each) for each in zip(tiles, regions, strict=True))
    table = pa.concat_tables(found)
    proposals = proposals_of(table, (height, width))
    proposals.proposal_points = proposals.proposal_points.float()
    scores = torch.from_numpy(table["score"].to_numpy().copy())
    radius = model.proposal_generator.suppression_radius
    return proposals[suppress_within_radius(proposals.proposal_points, scores, radius)]


def compare(
    nuclei: Instances, whole: Instances, centers: np.ndarray, classes: np.ndarray
) -> dict[str, float]:
    """Nuclei of tiles beside those of the whole image, and beside the known ones."""
    masks, matched, other_class, same_mask = list(nuclei.pred_masks), 0, 0, 0
    for mask, category in zip(whole.pred_masks, whole.pred_classes.tolist(), strict=True):
        best, number = max(((each.iou(mask), i) for i, each in enumerate(masks)), default=(0.0, 0))
        if best >= PARTNER:
            matched += 1
            other_class += nuclei.pred_classes[number].item() != category
            same_mask += best == 1
    confusion = count_pairs(
        centers,
        classes,
        nuclei.pred_masks.centroids().numpy(),
        nuclei.pred_classes.numpy(),
        num_classes=len(SYNTHETIC_CLASSES),
        radius=RADIUS_AT_40X,
    ).confusion
    of_classes = [class_scores(confusion, i).f1 for i in range(len(SYNTHETIC_CLASSES))]
    return {
        "nuclei": len(nuclei),
        "matched": matched,
        "other_class": other_class,
        "same_mask": same_mask,
        "f1": detection_scores(confusion).f1,
        "class_f1": float(np.mean(of_classes)),
    }


@torch.no_grad()
def measure(model: CFRSAM, side: int) -> list[dict[str, Any]]:
    """The whole image, and then tiles of each size with each halo."""
    pixels, centers, classes = mosaic(side)
    image = model.normalize(torch.from_numpy(pixels).permute(2, 0, 1))
    windows: list[EncodedWindows] = list(model.encode_windows([image]))
    whole, rows = None, []
    for tile, halo in [(side, 0), *((tile, halo) for tile in TILES for halo in HALOS)]:
        (nuclei,) = model.find_nuclei([find_points(model, pixels, tile, halo)], windows)
        whole = whole or nuclei
        rows.append({"tile": tile, "halo": halo, **compare(nuclei, whole, centers, classes)})
    return rows


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--side", type=int, default=1024, help="px of the mosaic")
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    args = parser.parse_args(arguments)
    if args.side < PIECE or args.side % PIECE:
        raise UserError(f"--side is {args.side}: give a multiple of {PIECE} px")
    if not WEIGHTS.is_file():
        raise UserError(f"{WEIGHTS} does not exist: run `make train-demo`")
    rows = measure(NucleusPredictor(CONFIG, WEIGHTS, KEYS).model, args.side)
    print(json.dumps(rows, indent=2) if args.json else tabulate(rows, "keys", floatfmt=".3f"))


if __name__ == "__main__":
    main()
