"""Every text has its place: inside the picture, over no other text and no panel."""

import itertools

import numpy as np
import pytest

from cfrsam_d2.visualization.layout import LegendItem, place, side_by_side

Box = tuple[int, int, int, int]


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("num_classes", [0, 1, 5, 30])
@pytest.mark.parametrize("num_panels", [2, 3])
def test_no_text_overlaps_or_leaves_the_picture(num_panels: int, num_classes: int):
    size = (300, 200)
    legend = [f"a class with a long name {i} 120" for i in range(num_classes)]
    layout = place(num_panels, size, ["a title " * 30] * num_panels, legend, "a caption " * 100)
    panels = [(left, top, left + size[0], top + size[1]) for left, top in layout.panels]
    texts = [text.box for text in (*layout.titles, *layout.legend, layout.caption)]
    boxes = panels + texts
    assert not any(overlap(one, other) for one, other in itertools.combinations(boxes, 2))
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= layout.size[0]
        assert 0 <= top < bottom <= layout.size[1]
    assert len(layout.legend) == num_classes


def test_panels_and_swatches_are_in_the_picture():
    panels = [np.full((90, 120, 3), value, dtype=np.uint8) for value in (10, 90)]
    legend = [LegendItem((240, 1, 2), "one 3"), LegendItem((3, 240, 4), "two 5")]
    picture = side_by_side(panels, ["image", "ground truth"], legend, "tile.png")
    layout = place(2, (120, 90), ["image", "ground truth"], ["one 3", "two 5"], "tile.png")
    assert picture.shape == (layout.size[1], layout.size[0], 3)
    for (left, top), panel in zip(layout.panels, panels, strict=True):
        assert (picture[top : top + 90, left : left + 120] == panel).all()
    for item in legend:
        assert (picture == item.color).all(axis=2).sum() > 50
