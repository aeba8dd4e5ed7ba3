"""The nuclei of a chunk as a table, which all files of a slide are written from."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import shapely

from ..structures.masks import BoxMasks
from .features import MORPHOLOGY, morphology
from .geometry import outlines

STAIN = ("hematoxylin_mean", "hematoxylin_std")
FEATURES = (*MORPHOLOGY, *STAIN)

# Lengths are in px of level 0 where the name has no unit; x and y are the point that prompted.
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("class_id", pa.int16()),
        ("class", pa.dictionary(pa.int16(), pa.string())),
        ("score", pa.float32()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("bbox", pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])),
        ("geometry", pa.binary()),
        *((name, pa.float32()) for name in FEATURES),
    ]
)


def nuclei_table(
    masks: BoxMasks,
    *,
    points: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray,
    stain: tuple[np.ndarray, np.ndarray],
    class_names: Sequence[str],
    scale: float,
    mpp: float,
) -> pa.Table:
    """Outline and measure the N nuclei of a chunk.

    Args:
        masks: in px of the slide at the model's resolution, none of them empty.
        points: the prompts, x, y in the same px in pixel-index units (the centre of the slide's
            first pixel is 0, 0), (N, 2).
        classes: indices into `class_names`, (N,).
        scores: (N,).
        stain: of `features.hematoxylin`.
        class_names: of the model.
        scale: px of level 0 per px of the masks.
        mpp: µm per px of the masks.

    Returns:
        N rows of SCHEMA; `id` runs from 1.
    """
    geometries = outlines(masks, scale)
    names = pa.array(class_names, pa.string())
    columns = {
        "id": np.arange(1, len(masks) + 1),
        "class_id": classes,
        "class": pa.DictionaryArray.from_arrays(pa.array(classes, pa.int16()), names),
        "score": scores,
        "x": (points[:, 0] + 0.5) * scale,
        "y": (points[:, 1] + 0.5) * scale,
        "bbox": _boxes(masks.boxes.numpy(force=True) * scale),
        "geometry": shapely.to_wkb(geometries),
        **morphology(masks, mpp),
        **dict(zip(STAIN, stain, strict=True)),
    }
    return pa.table([pa.array(columns[each.name], each.type) for each in SCHEMA], SCHEMA)


def numbered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables of chunks with an `id` that runs on through all of them."""
    start = 1
    for table in tables:
        ids = pa.array(np.arange(start, start + len(table)))
        yield table.set_column(0, SCHEMA.field("id"), ids)
        start += len(table)


def _boxes(boxes: np.ndarray) -> pa.StructArray:
    sides = [pa.array(side) for side in boxes.astype(np.float64).T]
    return pa.StructArray.from_arrays(sides, fields=list(SCHEMA.field("bbox").type))
