import random

import albumentations as A
import numpy as np
import pytest
from detectron2.config import get_cfg
from skimage.color import hed_from_rgb, rgb_from_hed

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.data.augmentation import AUGMENTATIONS, build_augmentation
from cfrsam_d2.data.mapper import NucleusMapper
from cfrsam_d2.data.stains import Stains
from cfrsam_d2.errors import UserError


@pytest.fixture
def tissue() -> np.ndarray:
    """An image of hematoxylin and eosin in known amounts, left white."""
    amounts = np.random.default_rng(0).uniform(0.2, 0.8, (32, 32, 3)) * (1, 1, 0)
    amounts[:, :4] = 0
    return np.rint(255 * np.exp(-amounts @ rgb_from_hed)).astype(np.uint8)


def stained(image: np.ndarray, strength: float, seed: int) -> np.ndarray:
    augmentation = A.Compose([Stains(strength=strength, p=1.0)])
    augmentation.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return augmentation(image=image)["image"]


def amounts_of(image: np.ndarray) -> np.ndarray:
    return -np.log((image.astype(float) + 1) / 256) @ hed_from_rgb


def test_without_strength_every_colour_stays():
    values = np.arange(0, 256, 5, dtype=np.uint8)
    colours = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(52, -1, 3)
    np.testing.assert_array_equal(stained(colours, 0.0, 0), colours)
    for name in AUGMENTATIONS:
        assert not any(isinstance(s, Stains) for s in build_augmentation(name, 64).transforms)


def test_white_stays_white_and_a_seed_is_a_picture(tissue: np.ndarray):
    for seed in range(20):
        image = stained(tissue, 0.3, seed)
        assert (image[:, :4] == 255).all()
        np.testing.assert_array_equal(image, stained(tissue, 0.3, seed))
        assert not np.array_equal(image, stained(tissue, 0.3, seed + 1))


def test_stains_change_as_drawn_and_in_the_range(tissue: np.ndarray):
    before = amounts_of(tissue[:, 4:])
    total = before[..., :2].sum(axis=-1)
    found = []
    for seed in range(200):
        after = amounts_of(stained(tissue[:, 4:], 0.2, seed))
        for stain in (0, 1):
            terms = np.stack([before[..., stain], total], axis=-1).reshape(-1, 2)
            found.append(np.linalg.lstsq(terms, after[..., stain].ravel(), rcond=None)[0])
        np.testing.assert_allclose(after[..., 2], before[..., 2], atol=0.03)  # the residue stays
    scale, shift = np.array(found).T
    for values, middle in ((scale, 1), (shift, 0)):
        assert abs(values - middle).max() == pytest.approx(0.2, abs=0.02)
        assert values.mean() == pytest.approx(middle, abs=0.02)
        assert values.std() == pytest.approx(0.2 / np.sqrt(3), abs=0.01)  # drawn evenly


def test_the_key_adds_the_step_behind_the_crop():
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    cfg.INPUT.TRAIN_CROP_SIZE = 64
    for name in AUGMENTATIONS:
        cfg.INPUT.AUGMENTATION = name
        cfg.INPUT.STAIN_AUGMENTATION = 0.0
        plain = NucleusMapper(cfg, is_train=True).augmentation.transforms
        cfg.INPUT.STAIN_AUGMENTATION = 0.1
        crop, stains, *others = NucleusMapper(cfg, is_train=True).augmentation.transforms
        assert isinstance(stains, Stains)
        assert stains.strength == 0.1
        assert [type(step) for step in (crop, *others)] == [type(step) for step in plain]
    for strength in (-0.1, 1.0):
        with pytest.raises(UserError, match=r"INPUT\.STAIN_AUGMENTATION is"):
            build_augmentation("none", 0, strength)
