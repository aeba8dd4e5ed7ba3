import random

import albumentations as A
import numpy as np

from cfrsam_d2.data.augmentation import build_augmentation
from cfrsam_d2.data.noise import Noise


def test_the_variance_of_the_noise_is_drawn_evenly_up_to_50():
    gray = np.full((64, 64, 3), 128, np.uint8)
    for name in ("prompt_learner", "sam"):
        steps = build_augmentation(name, 256).transforms
        (noise,) = (step for step in steps if isinstance(step, Noise))
        noise.p = 1.0
        augmentation, deviations = A.Compose([noise]), []
        for seed in range(400):
            augmentation.set_random_state(np.random.default_rng(seed), random.Random(seed))
            noisy = augmentation(image=gray)["image"]
            assert abs(noisy.mean() - 128) < 0.5
            deviations.append(noisy.std())
        assert 4.5 < np.mean(deviations) < 5.0
        variances = np.square(deviations) - 1 / 12  # of rounding
        counts, _ = np.histogram(variances, bins=4, range=(-0.1, 52))
        assert counts.sum() == 400
        assert counts.min() > 70  # 100 expected of each
