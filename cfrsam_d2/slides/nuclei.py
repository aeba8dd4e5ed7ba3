"""Third pass: the nuclei that stay, with outlines and features."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from .candidates import unpack
from .table import STAIN, nuclei_table


def measured_nuclei(
    candidates: pa.Table,
    points: pa.Table,
    slide_size: tuple[int, int],
    *,
    class_names: Sequence[str],
    scale: float,
    mpp: float,
) -> pa.Table:
    """The nuclei of a chunk.

    Args:
        candidates: those that stay, by `candidates.SCHEMA`.
        points: of the slide, by `points.SCHEMA`.
        slide_size: height and width in px.
        class_names: of the model.
        scale: px of level 0 per px of the slide.
        mpp: µm per px of the slide.

    Returns:
        A table by `table.SCHEMA`.
    """
    prompts = points.take(candidates["point"])
    return nuclei_table(
        unpack(candidates, slide_size),
        points=np.column_stack([prompts["x"].to_numpy(), prompts["y"].to_numpy()]),
        classes=candidates["class_id"].to_numpy(),
        scores=candidates["score"].to_numpy(),
        stain=tuple(candidates[name].to_numpy() for name in STAIN),
        class_names=class_names,
        scale=scale,
        mpp=mpp,
    )
