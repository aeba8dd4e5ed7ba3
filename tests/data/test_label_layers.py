import numpy as np
import pytest

from cfrsam_d2.data.label_layers import Nucleus, pack_layers, split_cut_nuclei, unpack_layers
from cfrsam_d2.structures.masks import BoxMask

SIZE = (40, 60)


def box_mask(top, left, height, width):
    return BoxMask(left, top, np.ones((height, width), dtype=bool))


def nucleus_at(index, top, left, pixels):
    return Nucleus(index, BoxMask(left, top, pixels))


def frame(mask):
    return mask.frame(*SIZE)


@pytest.mark.parametrize(
    ("masks", "num_layers"),
    [
        ([], 1),
        ([box_mask(0, 0, 5, 5), box_mask(5, 0, 5, 5)], 1),  # touching
        ([box_mask(0, 0, 5, 5), box_mask(4, 4, 5, 5), box_mask(20, 20, 3, 3)], 2),
        ([box_mask(0, 0, 9, 9), box_mask(2, 2, 9, 9), box_mask(4, 4, 9, 9)], 3),
        ([box_mask(3, 3, 5, 5)] * 2, 2),  # the same nucleus twice
    ],
)
def test_overlapping_masks_survive_packing(masks, num_layers):
    layers = pack_layers(masks, *SIZE)
    assert layers.shape == (*SIZE, num_layers)
    nuclei = unpack_layers(layers)
    assert [nucleus.index for nucleus in nuclei] == list(range(len(masks)))
    for nucleus, mask in zip(nuclei, masks, strict=True):
        np.testing.assert_array_equal(frame(nucleus.mask), frame(mask))


def test_more_than_255_nuclei_keep_their_numbers():
    masks = [box_mask(2 * (i // 30), 2 * (i % 30), 1, 1) for i in range(600)]
    nuclei = unpack_layers(pack_layers(masks, *SIZE))
    assert [(n.index, n.mask.top, n.mask.left) for n in nuclei] == [
        (i, 2 * (i // 30), 2 * (i % 30)) for i in range(600)
    ]


def test_an_empty_mask_leaves_no_trace():
    masks = [box_mask(0, 0, 0, 0), box_mask(3, 3, 2, 2)]
    assert [nucleus.index for nucleus in unpack_layers(pack_layers(masks, *SIZE))] == [1]


def test_a_cut_nucleus_becomes_its_pieces():
    whole = [nucleus_at(0, 0, 0, np.ones((4, 9), dtype=bool))]
    halves = np.ones((4, 9), dtype=bool)
    halves[:, 4] = False
    first, second = split_cut_nuclei(whole, [nucleus_at(0, 10, 20, halves)])
    np.testing.assert_array_equal(frame(first.mask), frame(box_mask(10, 20, 4, 4)))
    np.testing.assert_array_equal(frame(second.mask), frame(box_mask(10, 25, 4, 4)))
    assert first.index == second.index == 0


def test_a_nucleus_annotated_in_two_pieces_stays_one():
    two_pieces = np.ones((4, 9), dtype=bool)
    two_pieces[:, 4] = False
    before = [nucleus_at(0, 0, 0, two_pieces)]
    moved = [nucleus_at(0, 5, 5, two_pieces)]
    half_gone = [nucleus_at(0, 5, 5, two_pieces[:, :4])]
    assert split_cut_nuclei(before, moved) == moved
    assert split_cut_nuclei(before, half_gone) == half_gone


def test_pieces_that_touch_at_a_corner_are_one():
    diagonal = [nucleus_at(0, 0, 0, np.eye(3, dtype=bool))]
    assert split_cut_nuclei(diagonal, diagonal) == diagonal
    assert len(split_cut_nuclei([nucleus_at(0, 0, 0, np.ones((2, 2), bool))], diagonal)) == 1


def test_pieces_stay_beside_each_other_in_the_order_of_annotations():
    bar = np.ones((1, 3), dtype=bool)
    cut = np.array([[True, False, True]])
    before = [nucleus_at(i, 0, 0, bar) for i in range(3)]
    after = [nucleus_at(0, 0, 0, bar), nucleus_at(1, 2, 0, cut), nucleus_at(2, 4, 0, bar)]
    assert [nucleus.index for nucleus in split_cut_nuclei(before, after)] == [0, 1, 1, 2]
