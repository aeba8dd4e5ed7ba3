"""The benchmark of tiles: what it knows of its mosaic, and what it counts."""

import numpy as np
import pytest

pytest.importorskip("openslide", reason="openslide is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
import torch
from detectron2.modeling import build_model
from detectron2.structures import Instances
from known_prompts import find_discs
from tiny_demo import TINY

from benchmarks import slide_tiles
from cfrsam_d2.engine import load_config
from cfrsam_d2.structures.masks import BoxMask, BoxMasks


def nuclei_at(centers: np.ndarray, classes: list[int], side: int) -> Instances:
    """Squares of 5×5 px."""
    corners = (centers.astype(int) - 2).tolist()
    masks = [BoxMask(x, y, np.ones((5, 5), bool)) for x, y in corners]
    boxed = BoxMasks.from_box_masks(masks, (side, side))
    return Instances((side, side), pred_masks=boxed, pred_classes=torch.tensor(classes))


def test_it_counts_partners_classes_masks_and_known_nuclei() -> None:
    centers, classes = np.array([[20.0, 20], [60, 20], [20, 60], [60, 60]]), np.array([0, 1, 2, 0])
    whole = nuclei_at(centers, classes.tolist(), 99)
    same = slide_tiles.compare(whole, whole, centers, classes)
    assert same == {
        "nuclei": 4,
        "matched": 4,
        "other_class": 0,
        "same_mask": 4,
        "f1": 1.0,
        "class_f1": 1.0,
    }
    moved = centers + np.array([[0, 0], [1, 0], [4, 0], [0, 0]])  # IoU 1, 20/30, 5/45, 1
    tiles = slide_tiles.compare(nuclei_at(moved, [0, 1, 2, 2], 99), whole, centers, classes)
    assert [tiles[name] for name in ("matched", "other_class", "same_mask")] == [3, 1, 2]
    assert tiles["f1"] == 1.0
    assert tiles["class_f1"] < 1


def test_the_mosaic_is_what_it_says() -> None:
    pixels, centers, classes = slide_tiles.mosaic(256)
    assert pixels.shape == (256, 256, 3)
    assert len(centers) == len(classes) >= 4 * 5
    assert set(classes.tolist()) == {0, 1, 2}
    columns, rows = centers.round().astype(int).T
    assert pixels[rows, columns].mean() < pixels.mean() - 20  # nuclei are dark


def test_with_a_wide_halo_tiles_have_the_nuclei_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slide_tiles, "TILES", (128,))
    monkeypatch.setattr(slide_tiles, "HALOS", (256,))
    torch.manual_seed(0)
    cfg = load_config(str(slide_tiles.CONFIG), [*TINY, *slide_tiles.KEYS])
    model = build_model(cfg).eval()
    torch.nn.init.constant_(model.proposal_generator.classification_head[-1].bias[-1:], -10)
    find_discs(model.mask_head)
    whole, tiles = slide_tiles.measure(model, 256)
    assert (whole["tile"], whole["halo"], tiles["tile"], tiles["halo"]) == (256, 0, 128, 256)
    assert whole["nuclei"] == whole["matched"] == whole["same_mask"] > 20
    assert tiles["matched"] >= 0.95 * whole["nuclei"]
