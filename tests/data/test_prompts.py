"""The learner's prompts in augmented images: on which nucleus."""

import numpy as np

from cfrsam_d2.data.prompts import prompt_per_nucleus

SIZE = (40, 60)
NOWHERE = (np.nan, np.nan)


def squares(*corners: tuple[int, int], side: int = 8) -> np.ndarray:
    masks = np.zeros((len(corners), *SIZE), dtype=bool)
    for mask, (x, y) in zip(masks, corners, strict=True):
        mask[y : y + side, x : x + side] = True
    return masks


def chosen(masks: np.ndarray, *prompts: tuple[float, ...], width: int = 2) -> list:
    """One prompt per nucleus, None where there is none."""
    found = prompt_per_nucleus(np.array(prompts, dtype=np.float32).reshape(-1, width), masks)
    assert found.dtype == np.float32
    assert found.shape == (len(masks), width)
    return [None if np.isnan(each).all() else tuple(each.tolist()) for each in found]


def test_a_nucleus_has_its_topmost_prompt():
    """Whatever the order in which they come; in a row the left one."""
    masks = squares((2, 3), (20, 10), (50, 30))
    given = [(21.0, 12.0), (6.0, 4.0), (3.0, 4.0), (15.0, 15.0), (22.0, 11.0), (4.0, 7.0), NOWHERE]
    for prompts in (given, given[::-1]):
        assert chosen(masks, *prompts) == [(3, 4), (22, 11), None]


def test_a_prompt_on_two_nuclei_is_the_firsts():
    masks = squares((0, 0), (10, 10), side=20)
    assert chosen(masks, (12.0, 12.0)) == [(12, 12), None]
    assert chosen(masks[::-1], (12.0, 12.0)) == [(12, 12), None]


def test_its_pixel_is_the_nearest_and_x_is_the_column():
    masks = squares((50, 30), side=1)
    for prompt, hit in [
        ((50.4, 29.6), True),
        ((49.6, 30.4), True),
        ((50.6, 30.0), False),
        ((50.0, 29.4), False),
        ((30.0, 39.0), False),
    ]:
        assert (chosen(masks, prompt) != [None]) == hit
    assert chosen(squares((59, 39), side=1), (59.4, 39.4)) != [None]


def test_boxes_stand_for_the_nucleus_in_their_middle():
    masks = squares((2, 3), (20, 10), (50, 30))
    given = [
        (0.0, 0.0, 59.0, 39.0),  # holds all, and has none in its middle
        (18.0, 8.0, 29.0, 19.0),
        (0.0, 0.0, 6.0, 8.0),
        (17.0, 6.0, 29.0, 18.0),
        (2.0, 3.0, *NOWHERE),
    ]
    assert chosen(masks, *given, width=4) == [given[2], given[3], None]


def test_points_with_their_boxes_stand_for_the_nucleus_at_the_point():
    masks = squares((2, 3), (20, 10), (50, 30))
    given = [
        (52.0, 32.0, 18.0, 8.0, 59.0, 39.0),  # the middle of its box is on none
        (4.0, 5.0, 18.0, 8.0, 29.0, 19.0),  # and of this one on the second
        (21.0, 12.0, 17.0, 6.0, *NOWHERE),
        (*NOWHERE, 18.0, 8.0, 29.0, 19.0),
    ]
    assert chosen(masks, *given, width=6) == [given[1], None, given[0]]


def test_without_nuclei_or_prompts():
    for width in (2, 4, 6):
        assert chosen(squares(), (5.0,) * width, width=width) == []
        assert chosen(squares((2, 3)), width=width) == [None]
        assert chosen(squares(), width=width) == []
