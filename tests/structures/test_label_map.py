import numpy as np
import torch

from cfrsam_d2.structures.label_map import label_masks
from cfrsam_d2.structures.masks import BoxMasks


def test_labels_are_cut_out_with_all_their_pieces():
    labels = np.array([[0, 5, 5, 0], [2, 0, 0, -1], [2, 0, 5, 0]])
    (first, two), (second, five) = label_masks(labels)
    assert (first, second) == (2, 5)
    assert (two.box, five.box) == ((0, 1, 1, 3), (1, 0, 3, 3))
    assert five.pixels.tolist() == [[True, True], [False, False], [False, True]]
    assert list(label_masks(np.zeros((2, 3), dtype=np.int32))) == []


def test_it_undoes_painting():
    frames = torch.from_numpy(np.random.default_rng(0).random((40, 20, 30)) < 0.01)
    labels = BoxMasks.from_frames(frames).label_map()
    repainted = np.zeros_like(labels)
    for label, mask in label_masks(labels.numpy()):
        repainted[mask.in_image][mask.pixels] += label
    np.testing.assert_array_equal(repainted, labels)
