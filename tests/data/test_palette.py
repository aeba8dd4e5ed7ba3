import itertools

import numpy as np

from cfrsam_d2.data.palette import class_colors, line_colors

# Dichromats' view of linear RGB (Viénot, Brettel and Mollon 1999): protanopia, deuteranopia.
DICHROMACY = (
    np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
)


def seen_by_dichromats(colors, matrix):
    return ((np.array(colors) / 255) ** 2.2 @ matrix.T).clip(0, 1) ** (1 / 2.2) * 255


def smallest_distance(colors):
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(np.asarray(colors), 2))


def test_colors_of_a_class_do_not_depend_on_how_many_there_are():
    assert class_colors(3) == class_colors(8)[:3]
    assert class_colors(0) == []


def test_colors_are_rgb_and_all_different():
    colors = class_colors(18)
    assert all(isinstance(value, int) and 0 <= value <= 255 for c in colors for value in c)
    assert len(set(colors)) == 18


def test_lines_have_the_classes_colours_but_for_one_that_paper_hides():
    yellow = class_colors(1)[0]
    assert set(line_colors(5)) == set(class_colors(6)) - {yellow}
    assert line_colors(2) == line_colors(7)[:2]
    assert len(set(line_colors(9))) == 9


def test_colour_blind_readers_tell_the_six_apart():
    colors = class_colors(6)
    for matrix in DICHROMACY:
        assert smallest_distance(seen_by_dichromats(colors, matrix)) > 30
    # The measure notices a palette that dichromats confuse: red and green.
    red_and_green = [(200, 60, 0), (110, 110, 0)]
    assert smallest_distance(seen_by_dichromats(red_and_green, DICHROMACY[1])) < 30
