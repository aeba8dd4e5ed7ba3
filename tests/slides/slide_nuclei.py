"""Nuclei of a small slide in chunks, as the writers take them."""

import cv2
import numpy as np
import pyarrow as pa

from cfrsam_d2.slides.table import nuclei_table, numbered
from cfrsam_d2.structures.masks import BoxMask, BoxMasks

SIZE = (1800, 1000)  # W, H in px at the model's resolution
CLASSES = ["tumour", "stroma", "immune"]
COLORS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
MPP = 0.25


def ellipse(x: int, y: int, axes: tuple[int, int], angle: int = 0) -> BoxMask:
    frame = np.zeros((80, 80), np.uint8)
    cv2.ellipse(frame, (40, 40), axes, angle, 0, 360, 1, cv2.FILLED)
    return BoxMask.of_frame(frame, x - 40, y - 40)


def l_with_a_hole(x: int, y: int) -> BoxMask:
    """30 px high and wide, arms 12 px, a hole of 4×4 px: 560 px."""
    frame = np.zeros((30, 30), bool)
    frame[:, :12] = frame[18:] = True
    frame[20:24, 4:8] = False
    return BoxMask(x, y, frame)


def table_of(masks: list[BoxMask], scale: float = 1.0, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    boxed = BoxMasks.from_box_masks(masks, SIZE[::-1])
    return nuclei_table(
        boxed,
        points=boxed.centroids().numpy(),
        classes=np.arange(len(masks)) % len(CLASSES),
        scores=rng.random(len(masks)).astype(np.float32),
        stain=(rng.random(len(masks)), rng.random(len(masks))),
        class_names=CLASSES,
        scale=scale,
        mpp=MPP,
    )


def chunks(scale: float = 1.0) -> list[pa.Table]:
    """Three chunks, the second without a nucleus; some overlap, one has two parts, one a hole."""
    rng = np.random.default_rng(3)
    places = rng.integers((40, 40, 7), (900, 950, 14), (60, 3)).tolist()
    first = [ellipse(x, y, (radius, 8), 7 * radius) for x, y, radius in places]
    two_parts = BoxMask(985, 500, np.hstack([np.ones((9, 9)), np.eye(9)]).astype(bool))
    second = [ellipse(930, 300, (12, 9)), l_with_a_hole(1700, 960), two_parts]
    tables = [table_of(first, scale), table_of([], scale), table_of(second, scale, seed=1)]
    return list(numbered(tables))


NONE = [table_of([])]
