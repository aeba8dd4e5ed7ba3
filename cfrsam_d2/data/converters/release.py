"""Releases that come as a folder of images and labels for each of train and test.

Their names differ between archives and mirrors; upper and lower case, blanks and underscores do not
count here, nor do folders around them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from ...errors import UserError
from ...files import folder_lock, replaced_folder
from ...structures.coco import UNKNOWN_CLASS
from ...structures.masks import BoxMask
from ..coco import DEFAULT_TISSUE
from ..image import IMAGE_SUFFIXES, read_rgb
from .dataset_writer import JSON_NAME, NucleusJsonWriter
from .holdout import hold_out

RELEASE_SPLITS = ("train", "val", "test")
RELEASE_CLASSES = ("nucleus",)
RELEASE_TISSUES = (DEFAULT_TISSUE,)  # the files do not tell
MAGNIFICATION = 40
_DEPTH = 4  # of folders below the source that are looked at

Pair = tuple[Path, Path]  # the files of an image and of its label


def find_pairs(source: Path, split: str, dataset: str, label_suffix: str) -> list[Pair]:
    """Find the images of a split with their labels, which have the same names.

    Args:
        source: the folder into which the release was unpacked.
        split: "train" or "test".
        dataset: pattern of the dataset's name, with which the folder's name may begin.
        label_suffix: ".mat" or ".xml".

    Returns:
        Pairs in the order of their names.

    Raises:
        UserError: a folder is missing or there twice, or an image has no label or a label no image.
    """
    folder = _split_folder(source, split, dataset)
    images = _files(_inner(folder, "(tissue)?images?"), IMAGE_SUFFIXES, "images")
    labels = _files(
        _inner(folder, "annotations?|labels?"), (label_suffix,), f"{label_suffix} files"
    )
    for name in sorted(images.keys() ^ labels.keys()):
        if name in images:
            raise UserError(
                f"{images[name]} has no label {name}{label_suffix}: unpack the whole release, "
                "or remove the image"
            )
        raise UserError(
            f"{labels[name]} has no image of its name: unpack the whole release, "
            "or remove the label"
        )
    return [(images[name], labels[name]) for name in sorted(images)]


def with_validation(source: Path, train: list[Pair], test: list[Pair]) -> dict[str, list[Pair]]:
    """Hold out validation images (see `hold_out`) from those to train on.

    Args:
        source: what the error names.
        train: all training images with their labels.
        test: the test images with theirs.

    Returns:
        The pairs of "train", "val" and "test".

    Raises:
        UserError: there are fewer than two images to train on.
    """
    if len(train) < 2:
        raise UserError(
            f"{source} holds {len(train)} training images: unpack the whole release there "
            "(two are the least, as one of them is held out for validation)"
        )
    held_out = hold_out(image.stem for image, _ in train)
    return {
        "train": [pair for pair in train if pair[0].stem not in held_out],
        "val": [pair for pair in train if pair[0].stem in held_out],
        "test": test,
    }


def write_release(
    splits: dict[str, list[Pair]],
    output: Path,
    read_masks: Callable[[Path, int, int], Iterable[BoxMask]],
    changes: Counter[str],
    classes: Sequence[str] = (),
    magnification_of: Callable[[list[BoxMask]], float] = lambda masks: MAGNIFICATION,
) -> str:
    """Write the images and the JSON of every split; what was there before is replaced at the end.

    Args:
        splits: the files by name of the split.
        output: the folder that gets a folder for each split.
        read_masks: called with the file of a label and its image's height and width; returns one
            mask per nucleus.
        changes: what is repaired or left out, with counts; filled while labels are read.
        classes: among which the nuclei are of unknown class; none: all are `RELEASE_CLASSES`.
        magnification_of: called with the masks of an image.

    Returns:
        What was written, and what was repaired or left out and why, as text.

    Raises:
        UserError: an image cannot be read, or `output` holds other files.
    """
    summaries, category = [], UNKNOWN_CLASS if classes else 0
    with folder_lock(output), replaced_folder(output, f"train/{JSON_NAME}") as folder:
        for split, pairs in splits.items():
            writer = NucleusJsonWriter(folder / split, classes or RELEASE_CLASSES)
            for image_file, label_file in tqdm(pairs, desc=split, unit="image", disable=None):
                image = read_rgb(str(image_file))
                masks = [*read_masks(label_file, *image.shape[:2])]
                writer.add(
                    f"{image_file.stem}.png",
                    image,
                    ((mask, category) for mask in masks),
                    tissue=DEFAULT_TISSUE,
                    magnification=magnification_of(masks),
                )
            writer.write()
            summaries.append(f"{output / split}\n{writer.summary()}\n")
    counts = [f"{count} {what}" for what, count in sorted(changes.items()) if count]
    return "\n".join([*summaries, *(counts or ["every image and every nucleus, none left out"])])


def _split_folder(source: Path, split: str, dataset: str) -> Path:
    """The folder of a split: the innermost, as archives unpack into folders of their own names."""
    if not source.is_dir():
        raise UserError(f"{source} is not a folder: name the one where the release was unpacked")
    pattern = f"({dataset})?{split}(ing)?(data|set)?"
    found = [folder for folder in _folders(source, _DEPTH) if _is_called(folder, pattern)]
    innermost = [folder for folder in found if not any(folder in other.parents for other in found)]
    if not innermost:
        raise UserError(
            f"{source} holds no folder of {split} images ('{split}', '{split.title()}ing Data' or "
            "the like): unpack the whole release there"
        )
    return _only(innermost, source)


def _inner(folder: Path, pattern: str) -> Path:
    """The folder in `folder` that is called so, or `folder` itself if there is none."""
    found = [child for child in _folders(folder, 1) if _is_called(child, pattern)]
    return _only(found, folder) if found else folder


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    for child in sorted(folder.iterdir()):
        # macOS adds folders and files of its own to archives.
        if child.is_dir() and not child.name.startswith((".", "__MACOSX")):
            yield child
            if depth > 1:
                yield from _folders(child, depth - 1)


def _is_called(folder: Path, pattern: str) -> bool:
    return re.fullmatch(pattern, re.sub(r"[\W_]", "", folder.name.lower())) is not None


def _only(paths: list[Path], folder: Path) -> Path:
    if len(paths) > 1:
        first, second = (path.relative_to(folder) for path in paths[:2])
        raise UserError(f"{folder} holds both '{first}' and '{second}': keep one of them")
    return paths[0]


def _files(folder: Path, suffixes: tuple[str, ...], kind: str) -> dict[str, Path]:
    """The files of these kinds by name without suffix."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in files:
                _only([files[path.stem], path], folder)
            files[path.stem] = path
    if not files:
        raise UserError(f"{folder} holds no {kind}: unpack the whole release there")
    return files
