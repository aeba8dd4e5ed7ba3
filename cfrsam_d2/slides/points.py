"""First pass: the points of stage 1, tile by tile, and which of them stay."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from detectron2.structures import ImageList, Instances

from ..modeling.meta_arch import CFRSAM
from ..modeling.postprocessing import keep_greedily, pairs_within
from .lattice import Box, Chunk, Tile
from .parts import Parts
from .transfer import on_device

SCHEMA = pa.schema(
    [
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("score", pa.float32()),
        ("class_id", pa.int16()),
        ("class_probs", pa.list_(pa.float32())),  # null where no class head needs them
    ]
)


@torch.no_grad()
def points_of_tile(model: CFRSAM, tile: Tile, pixels: np.ndarray) -> pa.Table:
    """The foreground's points of the anchors in a tile's core, before suppression.

    Args:
        model: with SAMPLING centred: so where a tile ends does not matter.
        tile: of the slide.
        pixels: of its region, (h, w, 3) uint8 RGB.

    Returns:
        A table by `SCHEMA`, in px of the slide.
    """
    generator = model.proposal_generator
    image = on_device(pixels, model.device)
    with model.precision.context(model.device, training=False):
        images = ImageList.from_tensors([model.normalize(image)])
        predictions = generator.find(generator.pad(images))
    (found,) = generator.foreground(predictions, images.image_sizes)
    origin = np.array([tile.region.x0, tile.region.y0])
    anchors = predictions.anchors[0, found.proposal_anchors].cpu().numpy() + origin
    cells = anchors - generator.anchor_stride / 2  # the last one may have its middle outside
    x0, y0, x1, y1 = tile.core
    inside = ((cells >= (x0, y0)) & (cells < (x1, y1))).all(axis=1)
    found = found.to("cpu")[torch.from_numpy(inside)]
    points = found.proposal_points.double().numpy() + origin
    gives_probs = found.has("proposal_class_probs")
    return pa.table(
        {
            "x": points[:, 0],
            "y": points[:, 1],
            "score": found.proposal_scores.float().numpy(),
            "class_id": found.proposal_classes.numpy().astype(np.int16),
            "class_probs": (
                list(found.proposal_class_probs.numpy()) if gives_probs else pa.nulls(len(found))
            ),
        },
        schema=SCHEMA,
    )


def kept_points(parts: Parts, chunks: Sequence[Chunk], radius: float) -> pa.Table:
    """The points of a slide that suppression leaves.

    Args:
        parts: of all chunks.
        chunks: of the slide, in order.
        radius: px, of suppression.

    Returns:
        A table by `SCHEMA`, in the order of the chunks.
    """
    table = pa.concat_tables([SCHEMA.empty_table(), *(parts.read(chunk) for chunk in chunks)])
    points = np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
    kept = keep_greedily(table["score"].to_numpy(), pairs_within(points, radius))
    return table.take(np.sort(kept))


def proposals_of(points: pa.Table, slide_size: tuple[int, int]) -> Instances:
    """The proposals of a slide, as `CFRSAM.segment` takes those of an image.

    Args:
        points: by `SCHEMA`.
        slide_size: height and width in px.
    """
    xy = np.column_stack([points["x"].to_numpy(), points["y"].to_numpy()])
    proposals = Instances(
        slide_size,
        proposal_points=torch.from_numpy(xy),
        proposal_classes=torch.tensor(points["class_id"].to_numpy(), dtype=torch.int64),
    )
    probs = points["class_probs"].combine_chunks()
    if len(probs) > probs.null_count:
        of_classes = probs.flatten().to_numpy().reshape(len(points), -1)
        proposals.proposal_class_probs = torch.tensor(of_classes)
    return proposals


class PointIndex:
    """Finds the points in a box without looking at all of them."""

    def __init__(self, points: np.ndarray, cell: int) -> None:
        """
        Args:
            points: x, y in px of the slide, (N, 2).
            cell: side in px of the squares by which they are sorted.
        """
        self.points = points
        self._cell = cell
        columns, rows = (points // cell).astype(np.int64).reshape(-1, 2).T
        self._columns = int(columns.max(initial=0)) + 1
        keys = rows * self._columns + columns
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def inside(self, box: Box) -> np.ndarray:
        """Indices of the points whose pixels a box holds, rising."""
        first, last = box.x0 // self._cell, min((box.x1 - 1) // self._cell, self._columns - 1)
        rows = np.arange(box.y0 // self._cell, (box.y1 - 1) // self._cell + 1) * self._columns
        starts = np.searchsorted(self._keys, rows + first)
        ends = np.searchsorted(self._keys, rows + last, side="right")
        near = [self._order[start:end] for start, end in zip(starts, ends, strict=True)]
        indices = np.sort(np.concatenate(near))
        points = self.points[indices]
        first_pixel, last_pixel = (box.x0, box.y0), (box.x1 - 1, box.y1 - 1)
        return indices[((points >= first_pixel) & (points <= last_pixel)).all(axis=1)]

    def has(self, box: Box) -> bool:
        """Whether a point lies in a box, its last pixels' far edges excluded."""
        near = self.points[self.inside(Box(box.x0, box.y0, box.x1 + 1, box.y1 + 1))]
        return bool((near < (box.x1, box.y1)).all(axis=1).any())
