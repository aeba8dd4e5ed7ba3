"""Which of overlapping nuclei stay: by boxes as in one image, and none whose mask is doubled."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("shapely", reason="shapely is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
import pyarrow as pa
import torch
from detectron2.layers import batched_nms

from cfrsam_d2.modeling.postprocessing import keep_greedily
from cfrsam_d2.slides import overlaps
from cfrsam_d2.slides.candidates import BOX_COLUMNS, SCHEMA, kept_candidates, unpack
from cfrsam_d2.slides.lattice import Box, Chunk
from cfrsam_d2.slides.overlaps import overlapping_boxes
from cfrsam_d2.slides.parts import Parts
from cfrsam_d2.structures.masks import BoxMask

CHUNKS = [Chunk(0, Box(0, 0, 100, 100)), Chunk(1, Box(100, 0, 200, 100))]


def candidates(masks: list[BoxMask], scores: list[float], first: int) -> pa.Table:
    """A part; the prompts are those from `first` on."""
    sides = zip(*(mask.box for mask in masks), strict=True)
    columns = {
        "point": range(first, first + len(masks)),
        "score": scores,
        "class_id": [0] * len(masks),
        **dict(zip(BOX_COLUMNS, sides, strict=True)),
        "area": [mask.area for mask in masks],
        "hematoxylin_mean": [0.0] * len(masks),
        "hematoxylin_std": [0.0] * len(masks),
        "bits": [np.packbits(mask.pixels).tobytes() for mask in masks],
    }
    return pa.table(columns, SCHEMA)


def with_speck(left: int, top: int, far: int) -> BoxMask:
    """A square of 10×10 px with one pixel far away, which makes its box large."""
    frame = np.zeros((10, 10 + far), bool)
    frame[:, :10] = frame[0, -1] = True
    return BoxMask(left, top, frame)


def test_boxes_decide_as_in_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties of scores, and an IoU that is the threshold but for rounding."""
    monkeypatch.setattr(overlaps, "BOXES_AT_ONCE", 100)
    rng = np.random.default_rng(0)
    for thresh in (0.3, 0.5, 0.7):
        corners = rng.integers(0, 25, (700, 2))
        boxes = np.hstack([corners, corners + rng.integers(3, 14, (700, 2))])
        scores = (rng.integers(99, size=700) / 99).astype(np.float32)
        pairs, _ = overlapping_boxes(boxes, np.ones(700, int), thresh)
        tensors = [torch.from_numpy(each) for each in (boxes, scores, np.zeros(700, int))]
        assert len(pairs) > 100
        assert keep_greedily(scores, pairs).tolist() == batched_nms(*tensors, thresh).tolist()
    three_tenths = np.array([[0, 0, 13, 1], [7, 0, 20, 1]])
    assert len(overlapping_boxes(three_tenths, np.array([13, 13]), 0.3)[0]) == 1


def test_masks_that_may_overlap_too_much_are_all_named() -> None:
    rng = np.random.default_rng(1)
    frames = rng.random((60, 12, 12)) < np.linspace(0.1, 0.9, 60)[:, None, None]
    masks = [BoxMask.of_frame(frame, *rng.integers(0, 9, 2).tolist()) for frame in frames]
    boxes, areas = np.array([mask.box for mask in masks]), np.array([mask.area for mask in masks])
    for thresh in (0.2, 0.5):
        pairs, near = (each.tolist() for each in overlapping_boxes(boxes, areas, thresh))
        doubled = [[i, j] for j in range(60) for i in range(j) if masks[i].iou(masks[j]) > thresh]
        assert doubled
        assert all(pair in pairs or pair in near for pair in doubled)


def test_no_mask_is_doubled_though_boxes_differ(tmp_path: Path) -> None:
    masks = [
        with_speck(80, 10, 5),  # the worse of the first three, in either chunk
        with_speck(80, 10, 50),  # the best: its box holds the first, 25 %
        BoxMask(10, 10, np.ones((9, 9), bool)),
    ]
    later = [with_speck(82, 10, 30), with_speck(140, 60, 5), with_speck(144, 60, 40)]
    parts = Parts(tmp_path)
    parts.write(CHUNKS[0], candidates(masks, [0.5, 0.9, 0.1], 0))
    parts.write(CHUNKS[1], candidates(later, [0.8, 0.3, 0.4], 3))
    kept = kept_candidates(parts, CHUNKS, 0.5)
    # The last two share 60 of 142 px.
    assert [kept[chunk].tolist() for chunk in CHUNKS] == [[1, 2], [1, 2]]
    again = unpack(parts.read(CHUNKS[1]), (100, 200))
    assert [mask.area for mask in again] == [mask.area for mask in later]
    assert kept_candidates(parts, [], 0.5) == {}
