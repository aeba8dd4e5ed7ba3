"""Masks with all that makes outlines hard, and predictions made of them."""

import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from cfrsam_d2.export import Prediction, best_first
from cfrsam_d2.structures.masks import BoxMask, BoxMasks

SIZE = (40, 48)  # H, W in px
CLASSES = ["round", "long", "odd"]
COLORS = [(240, 228, 66), (0, 114, 178), (0, 158, 115)]


def disc(x: int, y: int, radius: int) -> np.ndarray:
    return cv2.circle(np.zeros(SIZE, np.uint8), (x, y), radius, 1, cv2.FILLED).astype(bool)


def pixels(*rows_columns: tuple[int | slice, int | slice]) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    for row, column in rows_columns:
        mask[row, column] = True
    return mask


def drawn(*rows: str) -> np.ndarray:
    """A mask at row 2, column 3 from text: # is inside."""
    mask = np.zeros(SIZE, dtype=bool)
    for y, row in enumerate(rows, start=2):
        for x, character in enumerate(row, start=3):
            mask[y, x] = character == "#"
    return mask


SHAPES = {
    "disc": disc(20, 18, 9),
    "ring": disc(20, 18, 12) & ~disc(20, 18, 5),
    "island in a ring": (disc(20, 18, 14) & ~disc(20, 18, 9)) | disc(20, 18, 4),
    "one pixel": pixels((5, 7)),
    "horizontal line": pixels((9, slice(4, 30))),
    "vertical line": pixels((slice(0, 40), 11)),
    "two diagonal pixels": pixels((5, 7), (6, 8)),
    "two diagonal pixels, mirrored": pixels((5, 8), (6, 7)),
    "two diagonal holes": drawn("####", "#.##", "##.#", "####"),
    "a hole at a corner of the outside": drawn(".###", "##.#", "####"),
    "a hole at two corners of the outside": drawn(".###", "##.#", "#.##", "###."),
    "a chain of corners": drawn("#.#.#", ".#.#.", "#.#.#"),
    "a stair of holes": drawn("#####", "#.###", "##.##", "###.#", "#####"),
    "corner of the image": disc(0, 0, 8),
    "opposite corner of the image": disc(47, 39, 8),
    "whole image": np.ones(SIZE, dtype=bool),
    "noise": np.random.default_rng(0).random(SIZE) < 0.6,
}


def instances(
    masks: list[np.ndarray], scores: list[float] | None = None, *, with_masks: bool = True
) -> Instances:
    """As a predictor returns them; classes in turn, points apart from the centroids."""
    scores = scores or [0.9 - 0.01 * i for i in range(len(masks))]
    result = Instances(
        SIZE,
        pred_points=torch.tensor([[3.25 + i, 7.5] for i in range(len(masks))]).reshape(-1, 2),
        pred_classes=torch.arange(len(masks)) % len(CLASSES),
        scores=torch.tensor(scores, dtype=torch.float32),
    )
    if with_masks:
        boxed = [BoxMask.of_frame(mask) for mask in masks]
        result.pred_masks = BoxMasks.from_box_masks(boxed, SIZE)
        result.pred_boxes = Boxes(torch.zeros(len(masks), 4))
    return result


def prediction(
    masks: list[np.ndarray], scores: list[float] | None = None, *, with_masks: bool = True
) -> Prediction:
    image = np.full((*SIZE, 3), 200, dtype=np.uint8)
    found = best_first(instances(masks, scores, with_masks=with_masks))
    return Prediction("slide/tile.png", image, found, CLASSES, COLORS)
