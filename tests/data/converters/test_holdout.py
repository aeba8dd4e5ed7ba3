import random

import pytest

from cfrsam_d2.data.converters.holdout import hold_out


@pytest.mark.parametrize(("total", "held_out"), [(0, 0), (1, 1), (3, 1), (20, 3), (30, 4), (32, 5)])
def test_15_percent_and_at_least_one(total, held_out):
    assert len(hold_out(f"image_{i:02d}" for i in range(total))) == held_out


def test_the_same_names_always_and_in_any_order():
    names = [f"image_{i:02d}" for i in range(32)]  # CPM-17's
    drawn = hold_out(names)
    assert sorted(drawn) == [f"image_{i:02d}" for i in (3, 7, 12, 15, 25)]
    random.Random(7).shuffle(names)
    assert hold_out(names) == drawn


def test_the_draw_leaves_the_program_s_random_numbers_alone():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    hold_out(["a", "b"])
    assert random.random() == expected
