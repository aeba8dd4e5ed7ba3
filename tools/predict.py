#!/usr/bin/env python
"""Find the nuclei of image files and of folders of images, and write them for other programs.

    python tools/predict.py INPUT… --output DIR [--formats geojson csv tiff npy coco overlay]
        [--magnification M] [--resume] --config-file configs/cfrsam_b.yaml [KEY VALUE …]

Weights are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR. Images that cannot be
predicted, because they are damaged or do not fit into memory, say, are listed at the end, and the
exit status is 1. docs/prediction.md describes the files.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from cfrsam_d2.data.image_files import InputImage, find_images
from cfrsam_d2.errors import DiskError, UserError, exits_on_user_error
from cfrsam_d2.export import FORMATS, ExportFolder, Prediction, best_first
from cfrsam_d2.predictor import NucleusPredictor, read_as_rgb

# As PyTorch says it of a GPU and of the machine, OpenCV, CUDA's libraries, C++ and Linux.
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "defaultcpuallocator",
    "insufficient memory",
    "alloc_failed",
    "bad_alloc",
    "cannot allocate memory",
)


def predict_images(
    predictor: NucleusPredictor,
    images: Sequence[InputImage],
    folder: ExportFolder,
    magnification: float | None,
) -> dict[Path, str]:
    """Predict the images that are not complete.

    Returns:
        Why it failed, by image that did.
    """
    failures = {}
    for image in tqdm(images, unit="image"):
        if folder.is_complete(image.name):
            continue
        try:
            with failures_named(image.path):
                contents = folder.encode(predict_image(predictor, image, magnification))
                folder.write(image.name, contents)
        except DiskError:  # every other image would fail, too
            raise
        except UserError as error:
            failures[image.path] = str(error)
    return failures


@contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """
    Raises:
        UserError: the block failed, for what reason ever: the other images shall have their turn.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise UserError(f"{path} does not fit into memory: cut it into tiles") from None
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path} failed ({reason}): leave it out, and report this") from None


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error is of Python's or NumPy's memory, or others' words for it."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in OUT_OF_MEMORY)


def predict_image(
    predictor: NucleusPredictor, image: InputImage, magnification: float | None
) -> Prediction:
    """Read an image and find its nuclei."""
    rgb = read_as_rgb(image.path)
    magnification = predictor.file_magnification(image.path, magnification)
    instances = best_first(predictor(rgb, magnification))
    file_name = image.relative.as_posix()
    return Prediction(file_name, rgb, instances, predictor.classes, predictor.colors)


def check_formats(formats: Sequence[str]) -> None:
    """
    Raises:
        UserError: there is no such format.
    """
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"--formats has {name!r}: take some of {', '.join(FORMATS)}")


def check_masks(formats: Sequence[str], predictor: NucleusPredictor) -> None:
    """
    Raises:
        UserError: a format needs masks, and the model predicts points.
    """
    of_points = [name for name in FORMATS if not FORMATS[name].needs_masks]
    for name in formats:
        if name not in of_points and not predictor.predicts_masks:
            raise UserError(
                f"--formats has {name}, which needs masks, but the config is of stage 1, which "
                f"predicts points: take some of {', '.join(of_points)}"
            )


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", type=Path, help="image files, or folders of them")
    parser.add_argument("--config-file", required=True, help="of either stage")
    parser.add_argument("--output", required=True, type=Path, help="folder of the results")
    parser.add_argument("--formats", nargs="+", default=["geojson", "csv"], help="of the results")
    parser.add_argument(
        "--magnification",
        type=float,
        help="of the images; default: what their files state, else INPUT.MAGNIFICATION",
    )
    parser.add_argument("--resume", action="store_true", help="skip images with complete results")
    args, overrides = parser.parse_known_args(arguments)
    if unknown := [word for word in overrides if word.startswith("--")]:
        parser.error(f"{unknown[0]} is no option")
    formats, more_overrides = split_formats(args.formats)

    check_formats(formats)
    images = find_images(args.inputs, args.output)
    predictor = NucleusPredictor(args.config_file, overrides=[*more_overrides, *overrides])
    check_masks(formats, predictor)
    record = predictor.cfg.dump()
    if args.magnification is not None:
        predictor.check_magnification(args.magnification)
        record += f"# --magnification {args.magnification}\n"
    folder = ExportFolder(args.output, formats)
    folder.start(record, resume=args.resume)
    failures = predict_images(predictor, images, folder, args.magnification)
    folder.finish([image.name for image in images], predictor.classes)
    print(f"Results of {len(images) - len(failures)} images are in {args.output}")
    if failures:
        print(f"error: {len(failures)} of {len(images)} images failed:", file=sys.stderr)
        print(*failures.values(), sep="\n", file=sys.stderr)
        sys.exit(1)


def split_formats(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Formats, and the KEY VALUE pairs that follow them: keys are in upper case, formats not."""
    count = next((i for i, word in enumerate(words) if word.isupper()), len(words))
    return words[:count], words[count:]


if __name__ == "__main__":
    main()
