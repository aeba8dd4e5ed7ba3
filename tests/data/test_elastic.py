import random

import albumentations as A
import numpy as np

from cfrsam_d2.data.augmentation import sam_augmentation

SIDE = 256


def elastic_step(crop_size=SIDE):
    step = sam_augmentation(crop_size).transforms[-1]
    step.p = 1.0
    return A.Compose([step], keypoint_params=A.KeypointParams("xy"))


def moved(augmentation, seed, mask, keypoints=()):
    """The mask and the keypoints after the step, as a generator of the seed draws it."""
    augmentation.set_random_state(np.random.default_rng(seed), random.Random(seed))
    image = np.zeros((*mask.shape[:2], 3), np.uint8)
    keypoints = np.array(keypoints, np.float32).reshape(-1, 3)
    moved = augmentation(image=image, mask=mask[..., None], keypoints=keypoints)
    return moved["mask"][..., 0], moved["keypoints"].reshape(-1, 3)


def mean_distance(side, seed):
    """How far the pixels of a mask move, px: each is a label of its own."""
    rows, columns = np.mgrid[:side, :side]
    origin, _ = moved(elastic_step(side), seed, (rows * side + columns).astype(np.int32))
    return np.hypot(origin // side - rows, origin % side - columns).mean()


def test_a_mask_moves_by_12_px_on_average():
    """By a little less here, since what is mirrored at the border lies nearer to its origin."""
    distances = [mean_distance(SIDE, seed) for seed in range(100)]
    assert 10.5 < np.mean(distances) < 12.5
    assert np.std(distances) > 2


def test_it_is_measured_by_the_crop():
    distances = [mean_distance(128, seed) for seed in range(100)]
    assert 5.25 < np.mean(distances) < 6.25


def test_points_move_with_their_nuclei():
    """Within a pixel, as the places of the mask are whole numbers."""
    squares = [(x, y, x // 16 + y) for x in range(64, 200, 16) for y in range(64, 200, 16)]
    labels = np.zeros((SIDE, SIDE), np.int32)
    for x, y, number in squares:
        labels[y - 2 : y + 3, x - 2 : x + 3] = number
    for seed in range(10):
        new_labels, points = moved(elastic_step(), seed, labels, squares)
        assert len(points) == len(squares)
        for x, y, number in points:
            rows, columns = np.nonzero(new_labels == number)
            assert np.hypot(columns.mean() - x, rows.mean() - y) < 1
