"""Missed, merged and split nuclei and false positives of label maps that were drawn by hand."""

import numpy as np
import pytest

from cfrsam_d2.evaluation.pairing import ERRORS, Pairing, pair_nuclei


def pairing(gt_rows: str, pred_rows: str) -> Pairing:
    """Compare two maps of one row: a digit is the id of a nucleus, a dot is background."""
    gt_map, pred_map = (
        np.array([[int(each.replace(".", "0")) for each in rows]]) for rows in (gt_rows, pred_rows)
    )
    return pair_nuclei(gt_map, pred_map)


def kinds(gt_rows: str, pred_rows: str) -> dict[str, list[int]]:
    """The ids of the nuclei of every kind of error."""
    paired = pairing(gt_rows, pred_rows)
    ids = {"gt": paired.gt_indices + 1, "pred": paired.pred_indices + 1}
    found = {kind: ids[ERRORS[kind]][each].tolist() for kind, each in paired.errors.items()}
    return {kind: each for kind, each in found.items() if each}


@pytest.mark.parametrize(
    ("gt_rows", "pred_rows", "expected"),
    [
        ("1111..2222", "1111..2222", {}),
        ("1111..2222", "1111......", {"missed": [2]}),
        ("1111......", "1111..2222", {"false positive": [2]}),
        # Below half of either: both a miss and a false positive. At half of one of them: neither.
        ("1111......", "...22222..", {"missed": [1], "false positive": [2]}),
        ("1111......", "..222222..", {}),
        ("111111....", "....2222..", {}),
        # A prediction over two nuclei, one of which it covers by half at least, or by less.
        ("1111.2222.", "3333333...", {"merged": [3]}),
        ("1111.2222.", "333333....", {"missed": [2]}),
        ("11.22.33..", "4444444444", {"merged": [4]}),
        # Two predictions in a nucleus that hold half of it together, or less; or one lies outside.
        ("11111111..", "22....33..", {"split": [1]}),
        ("11111111..", "22.....3..", {}),
        ("11111111..", "2222...333", {"false positive": [3]}),
        # The larger part of a split nucleus may match, and a merging prediction, too.
        ("1111111111", "222222.333", {"split": [1]}),
        ("111111..22", "3333333333", {"merged": [3]}),
        ("..........", "..........", {}),
        ("..........", "....1.....", {"false positive": [1]}),
        ("....1.....", "..........", {"missed": [1]}),
    ],
)
def test_errors(gt_rows: str, pred_rows: str, expected: dict[str, list[int]]):
    assert kinds(gt_rows, pred_rows) == expected


def test_matches_are_those_of_panoptic_quality():
    paired = pairing("1111..2222", "1111.22233")
    np.testing.assert_array_equal(paired.ious, [[1, 0, 0], [0, 2 / 5, 2 / 4]])
    np.testing.assert_array_equal(paired.matched, [[True, False, False], [False, False, False]])


def test_nuclei_that_others_cover_are_not_counted():
    # Ids are positions in the lists of nuclei; those of 2 and 1 do not show in the maps.
    paired = pairing("11...33", "22...44")
    assert paired.gt_indices.tolist() == [0, 2]
    assert paired.pred_indices.tolist() == [1, 3]
