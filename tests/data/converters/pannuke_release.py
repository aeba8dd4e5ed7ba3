"""A small release in PanNuke's layout, made by the tests."""

from pathlib import Path

import numpy as np

SIDE = 16  # px
NUM_IMAGES = 3


def small_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three images: nuclei that overlap across channels and in two pieces, none, and one."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (NUM_IMAGES, SIDE, SIDE, 3))
    images[0, 0, 0] = 0, 128, 255
    masks = np.zeros((NUM_IMAGES, SIDE, SIDE, 6), dtype=np.int64)
    masks[0, 2:6, 2:6, 0] = 4
    masks[0, 8:10, 1:3, 0] = 300  # two pieces of one nucleus
    masks[0, 8:10, 6:8, 0] = 300
    masks[0, 4:9, 4:9, 4] = 4  # the same id in another channel, over the first nucleus
    masks[2, 15, 15, 3] = 1  # a single pixel
    masks[..., 5] = ~masks[..., :5].any(axis=-1)
    return images, masks, np.array(["Breast", "Bile-duct", "Breast"])


def write_fold(
    source: Path,
    number: int,
    *,
    folder: str = "Fold {}",
    inner: str = "fold{}",
    dtype: str = "float64",
) -> Path:
    """Write `small_arrays` as a fold of a release; returns the fold's folder."""
    fold = source / folder.format(number)
    images, masks, types = small_arrays()
    for name in ("images", "masks"):
        (fold / name / inner.format(number)).mkdir(parents=True)
    np.save(images_file(fold), images.astype(dtype))
    np.save(masks_file(fold), masks.astype("uint16" if dtype == "uint8" else dtype))
    np.save(types_file(fold), types)
    return fold


def images_file(fold: Path) -> Path:
    return _inner(fold, "images") / "images.npy"


def types_file(fold: Path) -> Path:
    return _inner(fold, "images") / "types.npy"


def masks_file(fold: Path) -> Path:
    return _inner(fold, "masks") / "masks.npy"


def _inner(fold: Path, name: str) -> Path:
    (inner,) = (fold / name).iterdir()
    return inner
