"""What `tools/predict.py` does: images in, files for other programs out."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ..data.image_files import InputImage, find_images
from ..errors import DiskError, UserError
from ..export import FORMATS, ExportFolder, Prediction, best_first
from ..predictor import NucleusPredictor, read_as_rgb

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
def failures_named(path: object, too_large: str = "cut it into tiles") -> Iterator[None]:
    """
    Args:
        path: of the image, or its URL.
        too_large: what helps where memory does not suffice.

    Raises:
        UserError: the block failed, for what reason ever: the other images shall have their turn.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise UserError(f"{path} does not fit into memory: {too_large}") from None
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


def predict(
    inputs: Sequence[Path],
    output: Path,
    formats: Sequence[str],
    config_file: str,
    overrides: Sequence[str],
    magnification: float | None,
    *,
    resume: bool,
) -> dict[Path, str]:
    """Find the nuclei of image files and of folders of images, and write them.

    Args:
        inputs: files and folders.
        output: folder of the results.
        formats: of `FORMATS`.
        config_file: of either stage.
        overrides: key, value, key, value, …
        magnification: of the images; by default what their files state, else
            INPUT.MAGNIFICATION.
        resume: skip images with complete results.

    Returns:
        Why it failed, by image that did.

    Raises:
        UserError: an argument cannot be used.
    """
    images = find_images(inputs, output)
    predictor = NucleusPredictor(config_file, overrides=overrides)
    check_masks(formats, predictor)
    record = predictor.cfg.dump()
    if magnification is not None:
        predictor.check_magnification(magnification)
        record += f"# --magnification {magnification}\n"
    folder = ExportFolder(output, formats)
    folder.start(record, resume=resume)
    failures = predict_images(predictor, images, folder, magnification)
    folder.finish([image.name for image in images], predictor.classes)
    print(f"Results of {len(images) - len(failures)} images are in {output}")
    if failures:
        print(f"error: {len(failures)} of {len(images)} images failed:", file=sys.stderr)
        print(*failures.values(), sep="\n", file=sys.stderr)
    return failures
