import numpy as np
import pytest

from cfrsam_d2.data.converters.instance_map import instance_masks, types_of_instances, whole_numbers
from cfrsam_d2.errors import UserError


def test_numbers_of_any_type_become_ids():
    for dtype in (bool, np.uint8, np.uint16, np.int32, np.float64):
        numbers = whole_numbers(np.array([[0, 1]], dtype=dtype), "a.npy")
        assert numbers.dtype == np.int64
        assert numbers.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 2.5]], "a.npy has the value 2.5: write whole numbers from 0 on"),
        ([[3, -1]], "a.npy has the value -1: write whole numbers"),
        ([[np.nan]], "a.npy is not made of numbers"),
        (["nucleus"], "a.npy is not made of numbers"),
        ([[1j]], "a.npy is not made of numbers"),
    ],
)
def test_what_is_no_id_is_named(values, message):
    with pytest.raises(UserError, match=message):
        whole_numbers(np.array(values), "a.npy")


def test_the_type_of_most_pixels_counts():
    inst_map = np.array([[0, 5, 5, 5], [9, 9, 0, 5]])
    type_map = np.array([[7, 2, 2, 3], [0, 4, 1, 3]])
    type_map[1, 0] = 4
    type_map[1, 3] = 2
    assert types_of_instances(inst_map, type_map, "a.npy") == {5: 2, 9: 4}
    assert types_of_instances(np.zeros_like(inst_map), type_map, "a.npy") == {}
    with pytest.raises(UserError, match=r"a.npy has the shape \(1, 4\), the map of instances \(2"):
        types_of_instances(inst_map, type_map[:1], "a.npy")


def test_masks_by_rising_id():
    inst_map = np.array([[8**20, 0, -1], [3, 8**20, 0]])  # ids may be large
    (first, mask), (second, other) = instance_masks(inst_map)
    assert (first, second) == (3, 8**20)
    assert (mask.box, other.box) == ((0, 1, 1, 2), (0, 0, 2, 2))
    assert mask.pixels.tolist() == [[True]]
    assert other.pixels.tolist() == [[True, False], [False, True]]
    assert list(instance_masks(np.zeros((2, 2), dtype=int))) == []
