"""Panels stand in their rows and columns, and no title covers one."""

import numpy as np

from cfrsam_d2.visualization.grid import picture_grid
from cfrsam_d2.visualization.layout import BACKGROUND, LegendItem

LEGEND = [LegendItem((240, 1, 2), "one"), LegendItem((3, 240, 4), "two")]


def panel(value: int, height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((height, width, 3), (value, 1, 200), dtype=np.uint8)


def places(picture: np.ndarray, value: int) -> tuple[int, int, int]:
    """Top, left and area of the panel of this value."""
    rows, columns = np.nonzero((picture == (value, 1, 200)).all(axis=2))
    return rows.min(), columns.min(), rows.size


def test_rows_and_columns():
    rows = {"image": [panel(10), panel(40, 50, 90)], "a run": [panel(70), panel(100, 50, 90)]}
    picture = picture_grid(rows, ["first.png", "second.png"], LEGEND)
    found = {value: places(picture, value) for value in (10, 40, 70, 100)}
    assert [found[value][2] for value in (10, 40, 70, 100)] == [4800, 4500, 4800, 4500]
    assert found[10][0] == found[40][0] < found[70][0] == found[100][0]
    assert found[10][1] == found[70][1] < found[40][1] == found[100][1]
    for item in LEGEND:
        assert (picture == item.color).all(axis=2).sum() > 50


def test_long_titles_are_shortened():
    long = "a very long title " * 20
    picture = picture_grid({long: [panel(10)], f"{long}2": [panel(40)]}, [long], LEGEND)
    assert places(picture, 10)[2] == places(picture, 40)[2] == 4800
    edge = np.concatenate([picture[:, -1], picture[:, 0], picture[0], picture[-1]])
    assert (edge == BACKGROUND).all()


def test_titles_of_rows_run_upwards_on_the_left():
    rows = {"M" * 5: [panel(10)], " ": [panel(10)]}
    picture = picture_grid(rows, ["x"], LEGEND)
    top, left, _ = places(picture, 10)
    strip = picture[top : top + 60, :left]
    dark = np.argwhere((strip < 100).all(axis=2))
    height, width = np.ptp(dark, axis=0)
    assert height > 2 * width > 0
