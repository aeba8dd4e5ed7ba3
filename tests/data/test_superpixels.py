"""Super-pixels: mean colours where they shall be, and nothing else."""

import random

import numpy as np

from cfrsam_d2.data.superpixels import Superpixels, paint_means


def quarters() -> np.ndarray:
    """64×64 px in four colours, with a little noise."""
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[:32, 32:], image[32:, :32], image[32:, 32:] = (200, 40, 90), (30, 220, 60), (240, 240, 20)
    return image + np.random.default_rng(0).integers(0, 9, image.shape, dtype=np.uint8)


def test_means_are_painted_where_wanted():
    image = np.array([[[10, 0, 7], [21, 0, 8]], [[90, 4, 0], [50, 5, 1]]], dtype=np.uint8)
    segments = np.array([[0, 0], [1, 2]])
    painted = paint_means(image, segments, np.array([[True, False], [True, True]]))
    assert painted.tolist() == [[[16, 0, 8], [21, 0, 8]], [[90, 4, 0], [50, 5, 1]]]
    assert image[0, 0].tolist() == [10, 0, 7]


def test_all_super_pixels_smooth_within_borders_of_colour():
    image = quarters()
    step = Superpixels(share=1.0, num_segments=16, max_size=64, p=1.0)
    painted = step(image=image)["image"].astype(int)
    assert painted.shape == image.shape
    assert 4 <= len(np.unique(painted.reshape(-1, 3), axis=0)) < 40
    assert np.abs(painted - image).max() <= 9


def test_a_share_of_them_is_replaced():
    image = quarters()
    step = Superpixels(share=0.3, num_segments=64, max_size=64, p=1.0)
    step.set_random_state(np.random.default_rng(3), random.Random(3))
    changed = (step(image=image)["image"] != image).any(axis=2).mean()
    assert 0.1 < changed < 0.5


def test_large_images_are_painted_at_the_size_that_is_set():
    image = quarters().repeat(4, axis=0).repeat(4, axis=1)
    none = Superpixels(share=0.0, num_segments=16, max_size=64, p=1.0)
    assert none(image=image)["image"] is image or (none(image=image)["image"] == image).all()
    step = Superpixels(share=1.0, num_segments=16, max_size=64, p=1.0)
    assert step(image=image[:, :200])["image"].shape == (256, 200, 3)
