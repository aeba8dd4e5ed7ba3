"""Second pass: the masks of stage 2, window by window, and which of them stay.

R masks, h×w px of a window.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
import shapely
import torch
from detectron2.structures import Instances

from ..modeling.meta_arch import CFRSAM
from ..modeling.meta_arch.cfrsam import EncodedWindows
from ..modeling.postprocessing import keep_greedily
from ..modeling.sliding_window import Window
from ..structures.masks import BoxMasks
from .features import hematoxylin
from .lattice import Box, Chunk
from .parts import Parts
from .points import PointIndex

BOX_COLUMNS = ("x0", "y0", "x1", "y1")
SCHEMA = pa.schema(
    [
        ("point", pa.int64()),
        ("score", pa.float32()),
        *((name, pa.int32()) for name in BOX_COLUMNS),
        ("hematoxylin_mean", pa.float32()),
        ("hematoxylin_std", pa.float32()),
        ("bits", pa.binary()),  # of the mask in its box, row after row
    ]
)
BOXES_AT_ONCE = 100_000  # of which pairs are looked for; bounds memory


@torch.no_grad()
def masks_in_windows(
    model: CFRSAM,
    points: PointIndex,
    slide_size: tuple[int, int],
    windows: Iterable[tuple[Window, np.ndarray]],
) -> Iterator[pa.Table]:
    """The masks of the points in each window but those that it cuts off.

    Args:
        model: in evaluation mode.
        points: of the slide.
        slide_size: height and width in px.
        windows: of the slide, each with its pixels, (h, w, 3) uint8 RGB.

    Yields:
        For each window a table by `SCHEMA`; "point" is the index of the mask's prompt.
    """
    # On a CPU a batch saves nothing, and its size would show in the last bits of the scores.
    batch_size = 1 if model.device.type == "cpu" else model.sliding_window.batch
    stream = iter(windows)
    while batch := list(islice(stream, batch_size)):
        inside = [points.inside(Box(*window[1:])) for window, _ in batch]
        proposals = [
            Instances(slide_size, proposal_points=torch.from_numpy(points.points[each]))
            for each in inside
        ]
        numbered = [window._replace(image=i) for i, (window, _) in enumerate(batch)]
        tables: list[list[pa.Table]] = [[] for _ in batch]
        with model.precision.context(model.device, training=False):
            images = [model.normalize(_as_tensor(pixels)) for _, pixels in batch]
            encoded = EncodedWindows(numbered, model.encode_cut(images))
            on_device = [proposal.to(model.device) for proposal in proposals]
            for window, found in model.candidates(encoded, on_device):
                pixels, indices = batch[window.image][1], inside[window.image]
                tables[window.image].append(_table(found.to("cpu"), window, pixels, indices))
        for of_window in tables:
            yield pa.concat_tables([SCHEMA.empty_table(), *of_window])


def best_of_each_point(candidates: pa.Table) -> np.ndarray:
    """The rows of the best mask of each point, rising; of equal ones the first counts."""
    points, scores = candidates["point"].to_numpy(), candidates["score"].to_numpy()
    order = np.lexsort((-scores, points))  # stable
    _, first = np.unique(points[order], return_index=True)
    return np.sort(order[first])


def kept_candidates(
    parts: Parts, chunks: Sequence[Chunk], nms_thresh: float
) -> dict[Chunk, np.ndarray]:
    """The rows of each chunk's part that are nuclei.

    Args:
        parts: of all chunks.
        chunks: of the slide, in order.
        nms_thresh: box IoU above which the lower-scored of two nuclei is dropped.
    """
    columns = ("point", "score", *BOX_COLUMNS)
    tables = [parts.read(chunk, columns) for chunk in chunks]
    table = pa.concat_tables([SCHEMA.empty_table().select(columns), *tables])
    rows = best_of_each_point(table)
    boxes = np.column_stack([table[name].to_numpy()[rows] for name in BOX_COLUMNS])
    pairs = overlapping_boxes(boxes, nms_thresh)
    kept = np.sort(rows[keep_greedily(table["score"].to_numpy()[rows], pairs)])
    starts = np.cumsum([0, *map(len, tables)])
    places = np.searchsorted(kept, starts)
    return {
        chunk: kept[places[number] : places[number + 1]] - starts[number]
        for number, chunk in enumerate(chunks)
    }


def overlapping_boxes(boxes: np.ndarray, iou: float) -> np.ndarray:
    """The pairs of boxes (N, 4), ends excluded, whose IoU is above a threshold, (E, 2)."""
    shapes = shapely.box(*boxes.T.astype(np.float64)) if len(boxes) else np.empty(0, object)
    tree = shapely.STRtree(shapes)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(boxes), BOXES_AT_ONCE):
        one, other = tree.query(shapes[start : start + BOXES_AT_ONCE])
        one = one + start
        one, other = one[one < other], other[one < other]
        above = box_iou(boxes[one], boxes[other]) > iou
        found.append(np.column_stack([one[above], other[above]]))
    return np.concatenate(found)


def box_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """IoU of each of N boxes (N, 4) with its partner."""
    first = np.maximum(one[:, :2], other[:, :2])
    end = np.minimum(one[:, 2:], other[:, 2:])
    common = (end - first).clip(0).prod(axis=1, dtype=np.int64)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1, dtype=np.int64) for boxes in (one, other)]
    return common / (sum(areas) - common)


def _as_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _table(found: Instances, window: Window, pixels: np.ndarray, points: np.ndarray) -> pa.Table:
    masks: BoxMasks = found.pred_masks
    corner = masks.boxes.new_tensor([window.x0, window.y0] * 2)
    in_window = BoxMasks(masks.boxes - corner, masks.pixels, pixels.shape[:2])
    mean, deviation = hematoxylin(pixels, in_window)
    boxes = masks.boxes.numpy().astype(np.int32).T
    return pa.table(
        {
            "point": points[found.proposal.numpy()],
            "score": found.scores.float().numpy(),
            **dict(zip(BOX_COLUMNS, boxes, strict=True)),
            "hematoxylin_mean": mean,
            "hematoxylin_std": deviation,
            "bits": [np.packbits(mask.pixels).tobytes() for mask in masks],
        },
        schema=SCHEMA,
    )
