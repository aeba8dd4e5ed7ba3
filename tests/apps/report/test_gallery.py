"""The right images and nuclei are chosen, and drawn where they are."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from report_runs import rectangle

from cfrsam_d2.apps.report.error_analysis import Place
from cfrsam_d2.apps.report.gallery import (
    choose_by_difference,
    choose_by_score,
    choose_examples,
    error_examples,
    whole_images,
)
from cfrsam_d2.apps.report.picture import SCALE, image_uri, layer, longest_side, nucleus_path
from cfrsam_d2.apps.report.run import read_runs
from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.structures.rle import encode_mask


def segmentation(frame: np.ndarray) -> dict:
    return encode_mask(BoxMask.of_frame(frame), *frame.shape)


def decoded(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def vertices(d: str) -> np.ndarray:
    """The points (P, 2) of a path of one closed polygon, in px."""
    start, steps = re.fullmatch(r"M(-?\d+ -?\d+)l([-\d ]+)z", d).groups()
    first = np.array([int(each) for each in start.split()])
    numbers = np.array([int(each) for each in re.findall(r"-?\d+", steps)]).reshape(-1, 2)
    return np.concatenate([[first], first + numbers.cumsum(axis=0)]) / SCALE


def test_best_median_and_worst():
    scores = np.array([0.5, np.nan, 0.9, 0.1, 0.7, 0.3, 0.6, 0.2])
    assert choose_by_score(scores, 3) == {"best": [2], "median": [0], "worst": [3]}
    assert choose_by_score(scores, 4) == {"best": [2, 4], "median": [6, 0], "worst": [3, 7]}
    chosen = choose_by_score(scores, 100)
    assert chosen == {"best": [2, 4, 6], "median": [0], "worst": [3, 7, 5]}


@pytest.mark.parametrize("known", range(7))
@pytest.mark.parametrize("count", range(1, 12))
def test_no_image_is_chosen_twice(known: int, count: int):
    scores = np.append(np.linspace(1, 0, known), [np.nan, np.nan])
    groups = choose_by_score(scores, count)
    chosen = [index for group in groups.values() for index in group]
    assert len(set(chosen)) == len(chosen) <= known
    assert len(chosen) >= min(count, known)


def test_gains_and_losses():
    first = np.array([0.5, 0.5, 0.5, np.nan, 0.5])
    second = np.array([0.9, 0.5, 0.6, 0.5, 0.1])
    assert choose_by_difference(first, second, 2) == {"gains": [0, 2], "losses": [4]}
    assert choose_by_difference(first, first, 2) == {"gains": [], "losses": []}


def test_examples_are_of_all_classes_and_of_the_whole_dataset():
    places = [Place(image, 0, 0) for image in range(9)] + [Place(4, 1, 2)]
    chosen = choose_examples(places, 4)
    assert chosen == [Place(0, 0, 0), Place(4, 1, 2), Place(3, 0, 0), Place(5, 0, 0)]
    assert choose_examples(places[:2], 4) == places[:2]
    assert choose_examples([], 4) == []


def test_a_path_runs_around_the_nucleus():
    mask = rectangle(10, 20, 18, 40)
    path = nucleus_path({"segmentation": segmentation(mask)})
    x, y = vertices(path).T
    # Edges of pixels, from 20 to 40 and from 10 to 18.
    assert (x.min(), x.max()) == pytest.approx((20, 40), abs=0.6)
    assert (y.min(), y.max()) == pytest.approx((10, 18), abs=0.6)


def test_a_nucleus_of_two_parts_with_a_hole_has_three_outlines():
    mask = rectangle(5, 5, 25, 25) & ~rectangle(12, 12, 18, 18) | rectangle(40, 40, 44, 44)
    assert nucleus_path({"segmentation": segmentation(mask)}).count("z") == 3


def test_one_pixel_and_a_point_are_drawn():
    path = nucleus_path({"segmentation": segmentation(rectangle(3, 4, 4, 5))})
    np.testing.assert_allclose(vertices(path).mean(axis=0), (4.5, 3.5), atol=0.5)
    assert nucleus_path({"point": [4.0, 3.0]}) == f"M{4.5 * SCALE:.0f} {3.5 * SCALE:.0f}h0"


def test_a_layer_has_a_path_for_each_class_that_is_there():
    nuclei = [
        {"category_id": category, "segmentation": segmentation(rectangle(y, 0, y + 5, 5))}
        for category, y in ((3, 0), (0, 20), (3, 40))
    ]
    made = layer("truth", nuclei)
    assert list(made.paths) == [0, 3]
    assert made.paths[3].count("z") == 2
    assert not made.is_points
    assert layer("points", [{"category_id": 1, "point": [1, 1]}]).is_points
    assert layer("nothing", []).paths == {}


def test_images_are_made_small_enough_and_never_larger():
    image = np.full((200, 100, 3), (200, 120, 160), dtype=np.uint8)
    assert decoded(image_uri(image, 50)).shape == (50, 25, 3)
    same = decoded(image_uri(image, 1000))
    assert same.shape == image.shape
    assert abs(same.astype(int) - image).max() <= 4
    assert longest_side(500) ** 2 * 500 * 0.3 * 1.34 <= 15e6
    assert longest_side(1) == 1024


def test_pictures_of_whole_images(runs):
    dataset, read = read_runs([runs["good"], runs["points"]], None)
    scores = [np.linspace(0, 1, 9), np.linspace(1, 0, 9)]
    picture = whole_images(dataset, read, [3], "bPQ", scores)[3]
    assert picture.title == "3.png"
    assert picture.caption == "3.png · Colon · bPQ 0.375 / 0.625"
    assert [each.name for each in picture.layers] == ["ground truth", "good", "points"]
    assert [each.is_points for each in picture.layers] == [False, False, True]
    assert picture.layers[0].paths[0].count("z") == 2
    assert decoded(picture.image).shape == (64, 64, 3)
    picture = whole_images(dataset, read[1:], [3], "F1", scores[1:])[3]
    assert [each.is_points for each in picture.layers] == [True, True]


def test_an_example_shows_the_surroundings_of_its_nucleus(runs):
    dataset, (run,) = read_runs([runs["poor"]], None)
    # The last nucleus of the fourth image, 12×12 px at 40, 40, was missed.
    (picture,) = error_examples(dataset, run, "missed", [Place(3, 3, 1)], "key")
    assert picture.title == "missed long in 3.png"
    assert picture.box == (0, 0, 64, 64)
    assert picture.focus == (38, 38, 54, 54)
    assert [each.name for each in picture.layers] == ["ground truth", "poor"]
    assert decoded(picture.image).shape == (64, 64, 3)


def test_an_example_of_a_point(runs):
    dataset, (run,) = read_runs([runs["points"]], None)
    # The last nucleus of the fourth image has its centre at 45.5, 45.5.
    (picture,) = error_examples(dataset, run, "missed", [Place(3, 3, 1)], "key")
    assert picture.focus == (36, 36, 56, 56)
    assert [each.is_points for each in picture.layers] == [True, True]
    assert picture.layers[0].paths[1].endswith("M184 184h0")
