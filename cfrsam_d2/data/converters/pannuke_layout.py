"""Finding the three arrays of a PanNuke fold, and reading them image by image."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UserError

# Channels 0 to 4 of the masks.
PANNUKE_CLASSES = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")
NUM_CHANNELS = 6  # the last is background
PANNUKE_TISSUES = (
    "Adrenal_gland",
    "Bile-duct",
    "Bladder",
    "Breast",
    "Cervix",
    "Colon",
    "Esophagus",
    "HeadNeck",
    "Kidney",
    "Liver",
    "Lung",
    "Ovarian",
    "Pancreatic",
    "Prostate",
    "Skin",
    "Stomach",
    "Testis",
    "Thyroid",
    "Uterus",
)


@dataclass(frozen=True)
class PanNukeFold:
    """One fold of the release, found and checked as far as the arrays' headers tell."""

    number: int
    images_file: Path
    masks_file: Path
    tissues: list[str]

    def __len__(self) -> int:
        return len(self.tissues)

    def image(self, index: int) -> np.ndarray:
        """Image `index` as (H, W, 3) uint8.

        Raises:
            UserError: its values are not those of an 8-bit image.
        """
        values = _read_record(self.images_file, index)
        where = f"{self.images_file}: image {index}"
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255:
            raise UserError(f"{where} has values outside 0..255: download the release again")
        rounded = np.rint(values)
        if values.max() <= 1 and (rounded != values).any():
            raise UserError(f"{where} is scaled to 0..1: multiply the array by 255")
        return rounded.astype(np.uint8)

    def channels(self, index: int) -> np.ndarray:
        """Instance ids of image `index`, (H, W, 5) int64, by channel; 0 and below: no instance.

        Raises:
            UserError: its values are not whole numbers.
        """
        values = _read_record(self.masks_file, index)[..., : len(PANNUKE_CLASSES)]
        is_exact = np.isfinite(values).all() and (np.abs(values) < 2**53).all()
        ids = values.astype(np.int64) if is_exact else None
        if ids is None or (ids != values).any():
            raise UserError(
                f"{self.masks_file}: mask {index} has values that are no instance ids "
                "(whole numbers): download the release again"
            )
        return ids


def find_pannuke_fold(source: Path, number: int) -> PanNukeFold:
    """Find a fold below `source` and check that its arrays belong together.

    "Fold 1", "fold 1", "fold_1" and "Fold1" are the same name, also for the inner folders.

    Args:
        source: the folder into which the release was unpacked.
        number: of the fold, 1 to 3.

    Raises:
        UserError: a folder or array is missing, is damaged, or has another shape than the release.
    """
    fold_name = rf"fold[ _-]?{number}"
    fold = _child(source, fold_name, f"Fold {number}")
    if not _matches(fold, "images"):  # an archive unpacked into a folder of its own name
        fold = _child(fold, fold_name, f"Fold {number}")
    images = _child(_child(fold, "images", "images"), fold_name, f"fold{number}")
    masks = _child(_child(fold, "masks", "masks"), fold_name, f"fold{number}")
    images_file = _child(images, r"images\.npy", "images.npy")
    masks_file = _child(masks, r"masks\.npy", "masks.npy")
    types_file = _child(images, r"types\.npy", "types.npy")
    tissues = _read_tissues(types_file)
    _check_shapes(images_file, masks_file, len(tissues))
    return PanNukeFold(number, images_file, masks_file, tissues)


def _child(folder: Path, pattern: str, name: str) -> Path:
    """The only entry of `folder` whose name matches `pattern`."""
    matches = _matches(folder, pattern)
    if not matches:
        hint = " (or a spelling such as 'fold 1', 'fold_1')" if "fold" in pattern else ""
        raise UserError(
            f"{folder / name}{hint} does not exist: "
            "unpack the whole release and name the folder that holds its folds"
        )
    if len(matches) > 1:
        raise UserError(
            f"{folder} holds both {matches[0].name!r} and {matches[1].name!r}: keep one of them"
        )
    return matches[0]


def _matches(folder: Path, pattern: str) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name the folder that holds the release's folds")
    return sorted(
        path for path in folder.iterdir() if re.fullmatch(pattern, path.name, re.IGNORECASE)
    )


def _open(path: Path) -> np.ndarray:
    """Map an array into memory without reading it."""
    try:
        array = np.load(path, mmap_mode="r")
        if not isinstance(array, np.ndarray):
            raise TypeError("it is an archive")
    except Exception as error:  # damaged bytes make NumPy raise nearly anything
        raise UserError(
            f"{path} is damaged or truncated ({error}): download the release again"
        ) from None
    return array


def _read_record(path: Path, index: int) -> np.ndarray:
    # Mapped anew each time: the pages of a map that stays open count as the process's memory.
    return np.array(_open(path)[index])


def _read_tissues(path: Path) -> list[str]:
    types = np.array(_open(path))
    if types.ndim != 1 or types.dtype.kind not in "US":
        raise UserError(
            f"{path} has shape {types.shape} of {types.dtype} instead of (N,) of text: "
            "download the release again"
        )
    tissues = [str(tissue) for tissue in types.astype(str)]
    if unknown := sorted(set(tissues) - set(PANNUKE_TISSUES)):
        raise UserError(
            f"{path} names the tissue {unknown[0]!r}: rename it to one of PanNuke's 19 "
            f"({', '.join(PANNUKE_TISSUES)})"
        )
    return tissues


def _check_shapes(images_file: Path, masks_file: Path, num_types: int) -> None:
    images, masks = _open(images_file), _open(masks_file)
    for path, array, channels in ((images_file, images, 3), (masks_file, masks, NUM_CHANNELS)):
        if array.ndim != 4 or array.shape[-1] != channels or array.dtype.kind not in "fiu":
            raise UserError(
                f"{path} has shape {array.shape} of {array.dtype} instead of (N, H, W, {channels}) "
                "of numbers: download the release again"
            )
    if not len(images) == len(masks) == num_types:
        raise UserError(
            f"{images_file} holds {len(images)} images, {masks_file.name} {len(masks)} masks and "
            f"types.npy {num_types} tissues: take all three from one release"
        )
    if images.shape[1:3] != masks.shape[1:3]:
        raise UserError(
            f"{images_file} has images of {images.shape[1:3]} px, {masks_file.name} masks of "
            f"{masks.shape[1:3]} px: take both from one release"
        )
