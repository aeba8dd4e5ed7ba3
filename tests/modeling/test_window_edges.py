"""How near to its window's edge a mask is dropped."""

import torch

from cfrsam_d2.modeling.sliding_window import SlidingWindow, Window


def test_a_mask_that_starts_as_far_as_the_tolerance_is_cut_off():
    """At its left and its top a mask needs more than 7 px, at its right and its bottom 7."""
    boxes = torch.tensor([
        [108, 108, 193, 193],
        [107, 108, 193, 193],
        [108, 107, 193, 193],
        [108, 108, 194, 193],
        [108, 108, 193, 194],
    ])  # fmt: skip
    window = SlidingWindow(100, 0, edge_tolerance=7)
    kept = window.keeps(boxes, Window(0, 100, 100, 200, 200), (300, 300))
    assert kept.tolist() == [True, False, False, False, False]
    at_the_image = window.keeps(boxes - 100, Window(0, 0, 0, 100, 100), (300, 300))
    assert at_the_image.tolist() == [True, True, True, False, False]
