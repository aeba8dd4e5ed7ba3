import random
import warnings

import albumentations as A
import cv2
import numpy as np
import pytest

from cfrsam_d2.data.augmentation import (
    build_augmentation,
    prompt_learner_augmentation,
    sam_augmentation,
)
from cfrsam_d2.errors import UserError

CROP = 128
STRATEGIES = {"prompt_learner": prompt_learner_augmentation, "sam": sam_augmentation}
STEPS = [(name, i) for name, build in STRATEGIES.items() for i in range(len(build(CROP)))]


def step_alone(name, index):
    """One step of a strategy, always applied."""
    step = STRATEGIES[name](CROP).transforms[index]
    step.p = 1.0
    return A.Compose([step])


def apply(augmentation, image, labels, seed):
    augmentation.set_random_state(np.random.default_rng(seed), random.Random(seed))
    result = augmentation(image=image, mask=labels)
    return result["image"], result["mask"]


@pytest.fixture(scope="module")
def discs():
    """Discs all over an image whose red channel is their label map."""
    rng = np.random.default_rng(0)
    labels = np.zeros((160, 160), dtype=np.int32)
    for label in range(1, 200):
        center = [int(v) for v in rng.integers(0, 160, 2)]
        cv2.circle(labels, center, int(rng.integers(5, 12)), label, -1)
    image = np.full((160, 160, 3), 90, dtype=np.uint8)
    image[:, :, 0] = labels
    return image, labels[:, :, None]


def test_probabilities_and_ranges_are_the_published_ones_of_stage_1():
    steps = prompt_learner_augmentation(0).transforms
    assert [(type(step).__name__, step.p) for step in steps] == [
        ("RandomGridShuffle", 0.5),
        ("ColorJitter", 0.2),
        ("RandomRotate90", 0.5),
        ("Downscale", 0.15),
        ("Blur", 0.2),
        ("Noise", 0.25),
        ("ZoomBlur", 0.1),
        ("HorizontalFlip", 0.5),
        ("VerticalFlip", 0.5),
        ("Affine", 0.5),
    ]
    shuffle, jitter, _, downscale, blur, _, zoom, _, _, affine = steps
    assert shuffle.grid == (4, 4)
    assert (jitter.brightness, jitter.contrast) == ((0.75, 1.25), (0.75, 1.25))
    assert (jitter.saturation, jitter.hue) == ((0.9, 1.1), (-0.05, 0.05))
    assert downscale.scale_range == (0.5, 0.5)
    assert blur.blur_limit == (3, 9)
    assert zoom.max_factor == (1.0, 1.05)
    assert affine.translate_percent == {"x": (-0.3, 0.3), "y": (-0.3, 0.3)}
    assert affine.scale == {"x": (0.9, 1.1), "y": (0.9, 1.1)}
    assert affine.keep_ratio
    assert affine.rotate == (0.0, 0.0)


def test_probabilities_and_ranges_are_the_published_ones_of_stage_2():
    steps = sam_augmentation(256).transforms
    assert [(type(step).__name__, step.p) for step in steps] == [
        ("RandomCrop", 1.0),
        ("RandomRotate90", 0.5),
        ("HorizontalFlip", 0.5),
        ("VerticalFlip", 0.5),
        ("Downscale", 0.15),
        ("Blur", 0.2),
        ("Noise", 0.25),
        ("ColorJitter", 0.2),
        ("Superpixels", 0.1),
        ("ZoomBlur", 0.1),
        ("RandomSizedCrop", 0.1),
        ("Elastic", 0.2),
    ]
    superpixels, sized_crop, elastic = steps[8], steps[10], steps[11]
    assert (superpixels.share, superpixels.num_segments) == (0.1, 200)
    assert (sized_crop.min_max_height, sized_crop.size) == ((128, 256), (256, 256))
    assert (elastic.corner_shift, elastic.sigma, elastic.alpha) == (15, 25, 0.5)
    for of_stage, place in ((prompt_learner_augmentation(0), 5), (sam_augmentation(256), 6)):
        assert of_stage.transforms[place].max_variance == 50


GEOMETRIC = [step for step in STEPS if isinstance(step_alone(*step)[0], A.DualTransform)]
IMAGE_ONLY = [step for step in STEPS if step not in GEOMETRIC]


@pytest.mark.parametrize(("name", "index"), GEOMETRIC)
def test_geometric_steps_move_image_and_labels_together(discs, name, index):
    image, labels = discs
    for seed in range(5):
        new_image, new_labels = apply(step_alone(name, index), image, labels, seed)
        new_labels = new_labels[:, :, 0]
        assert set(np.unique(new_labels)) <= set(np.unique(labels))
        # Linear interpolation against nearest: they differ beside the borders of labels.
        gradient = cv2.morphologyEx(
            new_labels.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))
        )
        agrees = new_image[:, :, 0] == new_labels
        assert agrees[gradient == 0].mean() >= 0.95
        # The measure notices labels that lag behind by two pixels.
        lagging = np.roll(new_labels, 2, axis=(0, 1))
        assert (new_image[:, :, 0] == lagging)[gradient == 0].mean() < 0.95


@pytest.mark.parametrize(("name", "index"), IMAGE_ONLY)
def test_the_other_steps_change_the_image_alone(discs, name, index):
    image, labels = discs
    results = [apply(step_alone(name, index), image, labels, seed) for seed in range(5)]
    assert any((new_image != image).any() for new_image, _ in results)
    for _, new_labels in results:
        np.testing.assert_array_equal(new_labels, labels)


@pytest.mark.parametrize(("name", "index"), STEPS)
def test_large_labels_and_many_layers_survive_every_step(name, index):
    rng = np.random.default_rng(1)
    layers = rng.integers(0, 2**30, (160, 160, 6), dtype=np.int32)
    image = rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)
    _, new_layers = apply(step_alone(name, index), image, layers, seed=0)
    assert new_layers.dtype == np.int32
    assert new_layers.shape[2] == 6
    for old, new in zip(np.moveaxis(layers, 2, 0), np.moveaxis(new_layers, 2, 0), strict=True):
        assert set(np.unique(new)) <= set(np.unique(old)) | {0}
        assert new.any()


@pytest.mark.parametrize("name", ["none", "prompt_learner", "sam"])
def test_the_crop_has_its_size_whatever_the_image(discs, name):
    image, labels = discs
    augmentation = build_augmentation(name, 64)
    for height, width in [(160, 160), (40, 160), (100, 30), (1, 1)]:
        crop = image[:height, :width], labels[:height, :width]
        new_image, new_labels = apply(augmentation, *crop, seed=3)
        assert new_image.shape == (64, 64, 3)
        assert new_image.dtype == np.uint8
        assert new_labels.shape == (64, 64, 1)


def test_small_images_are_padded_at_the_bottom_and_the_right(discs):
    image, labels = discs
    crop = image[:40, :50], labels[:40, :50]
    new_image, new_labels = apply(build_augmentation("none", 64), *crop, seed=0)
    np.testing.assert_array_equal(new_image[:40, :50], image[:40, :50])
    np.testing.assert_array_equal(new_labels[:40, :50], labels[:40, :50])
    for padded in (new_image, new_labels):
        assert not padded[40:].any()
        assert not padded[:, 50:].any()


def test_without_a_crop_images_keep_their_shape(discs):
    image, labels = discs[0][:, :100], discs[1][:, :100]
    new_image, new_labels = apply(build_augmentation("none", 0), image, labels, 0)
    np.testing.assert_array_equal(new_image, image)
    np.testing.assert_array_equal(new_labels, labels)
    shapes = {
        apply(build_augmentation("prompt_learner", 0), image, labels, seed)[0].shape
        for seed in range(10)
    }
    assert shapes == {(160, 100, 3), (100, 160, 3)}  # turned by 90° or not


def test_building_and_running_is_silent(discs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in STRATEGIES:
            for seed in range(5):
                apply(build_augmentation(name, CROP), *discs, seed)


@pytest.mark.parametrize(
    ("name", "crop_size", "message"),
    [
        ("strong", 0, r"INPUT\.AUGMENTATION is 'strong': choose one of none, prompt_learner, sam"),
        ("none", -1, r"INPUT\.TRAIN_CROP_SIZE is -1: use a size in px, or 0"),
        ("sam", 0, r"INPUT\.TRAIN_CROP_SIZE is 0: .*'sam' needs a crop, 256 in the paper"),
    ],
)
def test_unusable_values_are_refused(name, crop_size, message):
    with pytest.raises(UserError, match=message):
        build_augmentation(name, crop_size)
