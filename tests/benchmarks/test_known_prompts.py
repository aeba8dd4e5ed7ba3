"""The prompts and nuclei that benchmarks let models know."""

import math

import pytest
import torch

from benchmarks.known_prompts import discs, spread_points


def test_points_lie_on_a_grid_over_the_image() -> None:
    assert spread_points(1).tolist() == [[128, 128]]
    points = spread_points(25)
    assert points.shape == (25, 2)
    assert points[:2].tolist() == [
        [pytest.approx(25.6), pytest.approx(25.6 + d)] for d in (0, 51.2)
    ]
    assert points.min() == pytest.approx(256 - points.max().item())
    assert torch.equal(spread_points(25, 512), 2 * points)
    assert torch.equal(spread_points(22), points[:22])  # the last column is not full


def test_discs_are_of_20_px_and_apart() -> None:
    points = torch.tensor([[30.0, 100.0], [128.0, 7.0]])  # the second is cut by the image's edge
    masks = discs(points)
    assert masks.shape == (2, 256, 256)
    assert masks[0].sum() == pytest.approx(math.pi * 10**2, rel=0.03)
    rows, columns = masks[0].nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (91, 109, 21, 39)
    assert masks[1].sum() < masks[0].sum()
    assert discs(spread_points(100)).sum(dim=0).max() == 1
    assert torch.equal(discs(points, 120, 50), masks[:, :120, :50])
