"""The two published augmentation strategies, and the plain random crop.

Each is an albumentations `Compose` for `image` (uint8 RGB), `mask` (label maps, int32) and
`keypoints` (points of nuclei). Geometric steps move all three, label maps by nearest neighbour; the
others change the image alone. Points that a step moves out of the image are dropped. Area that a
step uncovers is black and belongs to no nucleus, as in the published code.
"""

from collections.abc import Sequence

import albumentations as A
import cv2

from ..config import choose
from ..errors import UserError
from .elastic import Elastic
from .noise import Noise
from .stains import Stains
from .superpixels import Superpixels

# Loader workers are processes: OpenCV's own threads would fight them for the cores, and a pool that
# was started before a fork can hang in the child.
cv2.setNumThreads(0)


def build_augmentation(name: str, crop_size: int, stain_strength: float = 0.0) -> A.Compose:
    """Build the augmentation that the configuration names.

    Args:
        name: cfg.INPUT.AUGMENTATION, one of `AUGMENTATIONS`.
        crop_size: cfg.INPUT.TRAIN_CROP_SIZE, px; 0 keeps images whole.
        stain_strength: cfg.INPUT.STAIN_AUGMENTATION, see `Stains`; 0 leaves the step out.

    Raises:
        UserError: another name, or a crop size or strength that the augmentation cannot use.
    """
    augmentation = choose(AUGMENTATIONS, name, "INPUT.AUGMENTATION")
    if crop_size < 0:
        raise UserError(f"INPUT.TRAIN_CROP_SIZE is {crop_size}: use a size in px, or 0 for none")
    if augmentation is sam_augmentation and crop_size < 2:
        raise UserError(
            f"INPUT.TRAIN_CROP_SIZE is {crop_size}: INPUT.AUGMENTATION {name!r} needs a crop, 256 "
            "in the paper"
        )
    if not 0 <= stain_strength < 1:
        raise UserError(
            f"INPUT.STAIN_AUGMENTATION is {stain_strength}: use a number from 0 (none) to below 1"
        )
    return augmentation(crop_size, stain_strength)


def compose(steps: Sequence[A.BasicTransform | A.BaseCompose]) -> A.Compose:
    """Join steps into one for images, label maps and points."""
    return A.Compose([*steps] or [A.NoOp()], keypoint_params=A.KeypointParams("xy"))


def no_augmentation(crop_size: int, stain_strength: float = 0.0) -> A.Compose:
    """Only the random crop, and the stains'.

    Args:
        crop_size: side of the crop in px; 0 keeps images whole.
        stain_strength: see `build_augmentation`.
    """
    return compose(_start(crop_size, stain_strength))


def prompt_learner_augmentation(crop_size: int, stain_strength: float = 0.0) -> A.Compose:
    """Stage 1: the published prompt learner's strategy.

    Args:
        crop_size: side of the random crop that comes first, in px; 0 keeps images whole.
        stain_strength: see `build_augmentation`.
    """
    return compose(
        [
            *_start(crop_size, stain_strength),
            A.RandomGridShuffle(grid=(4, 4), p=0.5),
            _color_jitter(p=0.2),
            A.RandomRotate90(p=0.5),
            _downscale(p=0.15),
            _blur(p=0.2),
            _noise(p=0.25),
            _zoom_blur(p=0.1),
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.Affine(
                translate_percent={"x": (-0.3, 0.3), "y": (-0.3, 0.3)},
                scale=(0.9, 1.1),
                keep_ratio=True,
                p=0.5,
            ),
        ]
    )


def sam_augmentation(crop_size: int, stain_strength: float = 0.0) -> A.Compose:
    """Stage 2: CellViT's strategy.

    Args:
        crop_size: side of the random crop in px, at least 2 (256 published); super-pixels, the
            random sized crop and the elastic step are measured by it.
        stain_strength: see `build_augmentation`.
    """
    corner_shift = 15 / 256 * crop_size
    return compose(
        [
            *_start(crop_size, stain_strength),
            A.RandomRotate90(p=0.5),
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            _downscale(p=0.15),
            _blur(p=0.2),
            _noise(p=0.25),
            _color_jitter(p=0.2),
            Superpixels(share=0.1, num_segments=200, max_size=crop_size // 2, p=0.1),
            _zoom_blur(p=0.1),
            A.RandomSizedCrop((crop_size // 2, crop_size), size=(crop_size, crop_size), p=0.1),
            Elastic(corner_shift=corner_shift, sigma=25, alpha=0.5, p=0.2),
        ]
    )


AUGMENTATIONS = {
    "none": no_augmentation,
    "prompt_learner": prompt_learner_augmentation,
    "sam": sam_augmentation,
}


def _random_crop(size: int) -> list[A.BasicTransform | A.BaseCompose]:
    """Crop to size × size px; smaller images are first padded at the bottom and the right."""
    if size == 0:
        return []
    return [A.RandomCrop(size, size, pad_if_needed=True, pad_position="top_left")]


def _start(crop_size: int, stain_strength: float) -> list[A.BasicTransform | A.BaseCompose]:
    stains = [Stains(strength=stain_strength, p=1.0)] if stain_strength else []
    return [*_random_crop(crop_size), *stains]


def _color_jitter(p: float) -> A.ColorJitter:
    return A.ColorJitter(
        brightness=(0.75, 1.25),
        contrast=(0.75, 1.25),
        saturation=(0.9, 1.1),
        hue=(-0.05, 0.05),
        p=p,
    )


def _downscale(p: float) -> A.Downscale:
    return A.Downscale(scale_range=(0.5, 0.5), p=p)


def _blur(p: float) -> A.Blur:
    return A.Blur(blur_limit=(3, 9), p=p)  # the odd kernels up to 10 px


def _noise(p: float) -> Noise:
    return Noise(max_variance=50, p=p)


def _zoom_blur(p: float) -> A.ZoomBlur:
    return A.ZoomBlur(max_factor=(1.0, 1.05), p=p)
