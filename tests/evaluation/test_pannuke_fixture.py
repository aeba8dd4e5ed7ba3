"""Agreement with the official PanNuke script and HoVer-Net's scorer."""

from pathlib import Path

import numpy as np
import pytest
from pannuke_parity import compare_with_published

from cfrsam_d2.errors import UserError
from cfrsam_d2.evaluation import score_pannuke_arrays


def test_every_published_number_agrees(fixtures: Path):
    for name, ours, theirs, tolerance in compare_with_published(fixtures):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=name)


def test_arrays_of_different_shape_are_refused():
    masks = np.zeros((2, 8, 8, 6))
    with pytest.raises(
        UserError, match=r"\(2, 8, 8, 6\) .* \(2, 8, 8, 5\) do not match: both must"
    ):
        score_pannuke_arrays(masks, masks[..., :5], ["Colon"] * 2)
    with pytest.raises(UserError, match=r"1 tissue types for 2 images: pass the types.npy"):
        score_pannuke_arrays(masks, masks, ["Colon"])
