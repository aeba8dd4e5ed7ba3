import numpy as np
import pytest
from pycocotools import mask as mask_utils

from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.structures.rle import decode_mask, encode_mask, rle_from_segmentation

# Columns first: a pixel at (row 1, column 0), one at (row 0, column 2), in 2 rows by 3 columns.
SMALL = np.array([[0, 0, 1], [1, 0, 0]], dtype=bool)
SMALL_COUNTS = [1, 1, 2, 1, 1]


def encoded(frame):
    return encode_mask(BoxMask.of_frame(frame), *frame.shape)


def decoded(rle):
    return decode_mask(rle).frame(*rle["size"])


def random_masks():
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 40, size=2)
        yield rng.random((height, width)) < rng.choice([0, 0.02, 0.5, 0.98, 1])
    for side in (300, 700):  # long runs take several characters
        mask = np.zeros((side, side), dtype=bool)
        mask[3, 5] = mask[-1, -1] = True
        yield mask
        yield ~mask


def test_masks_come_back_in_their_boxes():
    for mask in random_masks():
        rle = encoded(mask)
        assert rle["size"] == list(mask.shape)
        assert isinstance(rle["counts"], str)
        box, expected = decode_mask(rle), BoxMask.of_frame(mask)
        np.testing.assert_array_equal(box.pixels, expected.pixels)
        if mask.any():
            assert box.box == expected.box


def test_pycocotools_writes_the_same():
    for mask in random_masks():
        rle = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert encoded(mask) == {"size": list(mask.shape), "counts": rle["counts"].decode()}


def test_the_box_may_be_larger_than_the_mask():
    pixels = np.zeros((6, 8), dtype=bool)
    pixels[2:4, 3:5] = True
    loose, tight = BoxMask(1, 2, pixels), BoxMask.of_frame(pixels, 1, 2)
    assert encode_mask(loose, 9, 10) == encode_mask(tight, 9, 10)


def test_the_size_of_the_image_costs_nothing():
    """A frame would have 3.6 GB; 4.3 are the most that pycocotools counts."""
    mask = BoxMask(59_980, 40_000, np.random.default_rng(0).random((30, 20)) < 0.5)
    mask.pixels[[0, -1]] = mask.pixels[:, [0, -1]] = True
    again = decode_mask(encode_mask(mask, 60_000, 60_000))
    assert again.box == mask.box
    np.testing.assert_array_equal(again.pixels, mask.pixels)


def test_compressed_rle_is_kept():
    for mask in random_masks():
        rle = encoded(mask)
        assert rle_from_segmentation(rle, *mask.shape) == rle


def test_uncompressed_rle_becomes_compressed():
    rle = rle_from_segmentation({"size": [2, 3], "counts": SMALL_COUNTS}, 2, 3)
    assert rle == encoded(SMALL)


def test_polygons_become_one_mask():
    square, far_square = [1, 1, 4, 1, 4, 4, 1, 4], [6, 6, 8, 6, 8, 8, 6, 8]
    expected = np.zeros((10, 12), dtype=bool)
    expected[1:4, 1:4] = expected[6:8, 6:8] = True
    mask = decoded(rle_from_segmentation([square, far_square], 10, 12))
    np.testing.assert_array_equal(mask, expected)


def test_polygons_are_clipped_to_the_image():
    mask = decoded(rle_from_segmentation([[-5, -5, 3, -5, 3, 3, -5, 3]], 6, 6))
    expected = np.zeros((6, 6), dtype=bool)
    expected[:3, :3] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    "segmentation", [[], [[]], [[1, 1]], [[1, 1, 4, 4]], [[20, 20, 30, 20, 30, 30]]]
)
def test_outlines_without_area_have_no_pixel(segmentation):
    rle = rle_from_segmentation(segmentation, 10, 10)
    assert rle["size"] == [10, 10]
    assert mask_utils.area(rle) == 0


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, r"neither polygons nor RLE .*: export it with outlines"),
        ("abc", r"neither polygons nor RLE .*: export it with outlines"),
        ({"counts": [6]}, r"neither polygons nor RLE .*: export it with outlines"),
        ([["a", 1, 2, 3, 4, 5]], r"not a list of numbers: export it again"),
        ([{"x": 1}], r"not a list of numbers: export it again"),
        ([[1, 2, 3, 4, 5, 6, 7]], r"not made of x, y pairs: export it again"),
        ([[1, 2, 3, 4, 5, float("nan")]], r"not made of x, y pairs: export it again"),
        (
            {"size": [3, 2], "counts": [6]},
            r"RLE of size \[3, 2\] in an image of \[height, width\] = \[2, 3\]: export masks and",
        ),
        ({"size": [2, 3], "counts": [5]}, r"does not cover its image: it is damaged, export it"),
        ({"size": [2, 3], "counts": [1, 6]}, r"does not cover its image: it is damaged"),
        ({"size": [2, 3], "counts": [-1, 7]}, r"does not cover its image: it is damaged"),
        ({"size": [2, 3], "counts": ["6"]}, r"does not cover its image: it is damaged"),
        ({"size": [2, 3], "counts": 6}, r"does not cover its image: it is damaged"),
        ({"size": [2, 3], "counts": ""}, r"does not cover its image: it is damaged"),
        ({"size": [2, 3], "counts": "é~"}, r"does not cover its image: it is damaged"),
        ({"size": [2, 3], "counts": "o" * 40}, r"does not cover its image: it is damaged"),
    ],
)
def test_what_is_no_outline_of_this_image_is_refused(segmentation, message):
    with pytest.raises(UserError, match=message):
        rle_from_segmentation(segmentation, 2, 3)


def test_truncated_compressed_rle_is_refused():
    for mask in random_masks():
        rle = encoded(mask)
        if len(rle["counts"]) > 1:
            with pytest.raises(UserError, match="does not cover its image"):
                rle_from_segmentation({**rle, "counts": rle["counts"][:-1]}, *mask.shape)
