import numpy as np
import pytest

from cfrsam_d2.data.label_layers import pack_layers, unpack_layers
from cfrsam_d2.structures.masks import BoxMask

SIZE = (40, 60)


def box_mask(top, left, height, width):
    return BoxMask(left, top, np.ones((height, width), dtype=bool))


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
