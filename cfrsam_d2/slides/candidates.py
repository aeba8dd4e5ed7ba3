"""Second pass: the masks of stage 2, window by window, and which of them stay.

R masks, h×w px of a window.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa
import torch
from detectron2.structures import Instances

from ..modeling.meta_arch import CFRSAM
from ..modeling.meta_arch.cfrsam import EncodedWindows
from ..modeling.postprocessing import keep_greedily
from ..modeling.sliding_window import Window
from ..structures.masks import BoxMask, BoxMasks
from .features import hematoxylin
from .lattice import Box, Chunk
from .overlaps import overlapping_boxes
from .parts import Parts
from .points import PointIndex
from .transfer import on_device

BOX_COLUMNS = ("x0", "y0", "x1", "y1")
SCHEMA = pa.schema(
    [
        ("point", pa.int64()),
        ("score", pa.float32()),
        ("class_id", pa.int16()),
        *((name, pa.int32()) for name in BOX_COLUMNS),
        ("area", pa.int32()),  # px
        ("hematoxylin_mean", pa.float32()),
        ("hematoxylin_std", pa.float32()),
        ("bits", pa.binary()),  # of the mask in its box, row after row
    ]
)


@torch.no_grad()
def masks_in_windows(
    model: CFRSAM,
    points: PointIndex,
    proposals: Instances,
    windows: Iterable[tuple[Window, np.ndarray]],
) -> Iterator[pa.Table]:
    """The masks of the points in each window but those that it cuts off.

    Args:
        model: in evaluation mode.
        points: finds those of a window.
        proposals: that the points are, of the whole slide, see `points.proposals_of`.
        windows: of the slide, each with its pixels, (h, w, 3) uint8 RGB.

    Yields:
        For each window a table by `SCHEMA`; "point" is the index of the mask's prompt.
    """
    # On a CPU a batch saves nothing, and its size would show in the last bits of the scores.
    batch_size = 1 if model.device.type == "cpu" else model.sliding_window.at_once
    stream = iter(windows)
    while batch := list(islice(stream, batch_size)):
        inside = [points.inside(Box(*window[1:])) for window, _ in batch]
        of_windows = [proposals[torch.from_numpy(each)].to(model.device) for each in inside]
        numbered = [window._replace(image=i) for i, (window, _) in enumerate(batch)]
        tables: list[list[pa.Table]] = [[] for _ in batch]
        with model.precision.context(model.device, training=False):
            images = [model.normalize(on_device(pixels, model.device)) for _, pixels in batch]
            encoded = EncodedWindows(numbered, model.encode_cut(images))
            for window, found in model.candidates(encoded, of_windows):
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
        nms_thresh: IoU above which the lower-scored of two nuclei is dropped: of their boxes as
            published, or of their masks, as boxes say little of masks in pieces.
    """
    columns = ("point", "score", *BOX_COLUMNS, "area")
    tables = [parts.read(chunk, columns) for chunk in chunks]
    starts = np.cumsum([0, *map(len, tables)])
    table = pa.concat_tables([SCHEMA.empty_table().select(columns), *tables])
    rows = best_of_each_point(table)
    table = table.take(rows)
    pairs, near = overlapping_boxes(_boxes(table), table["area"].to_numpy(), nms_thresh)
    doubled = [
        some[_mask_ious(parts, chunks, starts, rows[some]) > nms_thresh]
        for some in _by_chunk(near, np.searchsorted(rows, starts))
    ]
    excluded = np.concatenate([pairs, *doubled])
    kept = np.sort(rows[keep_greedily(table["score"].to_numpy(), excluded)])
    places = np.searchsorted(kept, starts)
    return {
        chunk: kept[places[number] : places[number + 1]] - starts[number]
        for number, chunk in enumerate(chunks)
    }


def unpack(candidates: pa.Table, slide_size: tuple[int, int]) -> BoxMasks:
    """The masks of a table by `SCHEMA`, on a slide of height and width."""
    boxes = _boxes(candidates)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    pixels = [
        np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=area)
        for bits, area in zip(candidates["bits"].to_pylist(), areas.tolist(), strict=True)
    ]
    joined = np.concatenate([np.zeros(0, np.uint8), *pixels]).astype(bool)
    return BoxMasks(torch.from_numpy(boxes), torch.from_numpy(joined), slide_size)


def _by_chunk(pairs: np.ndarray, starts: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs of which the first lies in the same chunk."""
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    places = np.searchsorted(pairs[:, 0], starts)
    return (pairs[start:end] for start, end in pairwise(places.tolist()) if start < end)


def _mask_ious(
    parts: Parts, chunks: Sequence[Chunk], starts: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """IoU of the masks of pairs (E, 2) of rows of all parts, one behind the other."""
    masks: dict[int, BoxMask] = {}
    rows = np.unique(pairs)
    places = np.searchsorted(rows, starts)
    for number, (start, end) in enumerate(pairwise(places.tolist())):
        if start < end:
            inside = rows[start:end]
            table = parts.read(chunks[number], (*BOX_COLUMNS, "bits"))
            of_rows = unpack(table.take(inside - starts[number]), (0, 0))
            masks |= zip(inside.tolist(), of_rows, strict=True)
    return np.array([masks[one].iou(masks[other]) for one, other in pairs.tolist()])


def _boxes(candidates: pa.Table) -> np.ndarray:
    """(N, 4) int64."""
    columns = [candidates[name].to_numpy() for name in BOX_COLUMNS]
    return np.column_stack(columns).astype(np.int64)


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
            "class_id": found.pred_classes.numpy().astype(np.int16),
            **dict(zip(BOX_COLUMNS, boxes, strict=True)),
            "area": masks.areas().numpy().astype(np.int32),
            "hematoxylin_mean": mean,
            "hematoxylin_std": deviation,
            "bits": [np.packbits(mask.pixels).tobytes() for mask in masks],
        },
        schema=SCHEMA,
    )
