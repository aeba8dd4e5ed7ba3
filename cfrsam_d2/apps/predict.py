"""What `tools/predict.py` does: images in, files for other programs out."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..data.image_files import InputImage, find_images
from ..errors import DiskError, UserError
from ..export import FORMATS, ExportFolder, Prediction, best_first
from ..export.selection import ALL, Selection, count_in_pieces
from ..predictor import NucleusPredictor, read_as_rgb

logger = logging.getLogger(__name__)

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


@dataclass
class Found:
    """What a run has found.

    Attributes:
        images: that were predicted by it.
        nuclei: of these.
        in_pieces: those whose masks have several parts.
        failures: why it failed, by image that did.
    """

    images: int = 0
    nuclei: int = 0
    in_pieces: int = 0
    failures: dict[Path, str] = field(default_factory=dict)

    def add(self, prediction: Prediction) -> None:
        self.images += 1
        self.nuclei += len(prediction.instances)
        if prediction.instances.has("pred_masks"):
            self.in_pieces += count_in_pieces(prediction.instances)


def predict_images(
    predictor: NucleusPredictor,
    images: Sequence[InputImage],
    folder: ExportFolder,
    magnification: float | None,
    selection: Selection,
) -> Found:
    """Predict the images that are not complete."""
    found = Found()
    for image in tqdm(images, unit="image"):
        if folder.is_complete(image.name):
            continue
        try:
            with failures_named(image.path):
                prediction = predict_image(predictor, image, magnification, selection)
                folder.write(image.name, folder.encode(prediction))
                found.add(prediction)
        except DiskError:  # every other image would fail, too
            raise
        except UserError as error:
            found.failures[image.path] = str(error)
    return found


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
    predictor: NucleusPredictor,
    image: InputImage,
    magnification: float | None,
    selection: Selection,
) -> Prediction:
    """Read an image and find its nuclei."""
    rgb = read_as_rgb(image.path)
    magnification = predictor.file_magnification(image.path, magnification)
    instances = selection.of(best_first(predictor(rgb, magnification)))
    file_name = image.relative.as_posix()
    return Prediction(file_name, rgb, instances, predictor.classes, predictor.colors)


def check_masks(formats: Sequence[str], selection: Selection, predictor: NucleusPredictor) -> None:
    """
    Raises:
        UserError: a format or a selection needs masks, and the model predicts points.
    """
    if selection.needs_masks and not predictor.predicts_masks:
        raise UserError(
            "--min-area and --largest-part need masks, but the config is of stage 1, which "
            "predicts points: leave them out"
        )
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
    config_file: str | None,
    overrides: Sequence[str],
    magnification: float | None,
    selection: Selection = ALL,
    *,
    resume: bool,
) -> dict[Path, str]:
    """Find the nuclei of image files and of folders of images, and write them.

    Args:
        inputs: files and folders.
        output: folder of the results.
        formats: of `FORMATS`.
        config_file: of either stage; None: the small model of the project.
        overrides: key, value, key, value, …
        magnification: of the images; by default what their files state, else
            INPUT.MAGNIFICATION.
        selection: which nuclei are written.
        resume: skip images with complete results.

    Returns:
        Why it failed, by image that did.

    Raises:
        UserError: an argument cannot be used.
    """
    start = time.monotonic()
    images = find_images(inputs, output)
    predictor = NucleusPredictor(config_file, overrides=overrides)
    model: Any = predictor.model
    model.shows_progress = True  # of windows; stage 1 has none
    check_masks(formats, selection, predictor)
    record = predictor.cfg.dump()
    if magnification is not None:
        predictor.check_magnification(magnification)
        record += f"# --magnification {magnification}\n"
    if selection != ALL:
        record += f"# {selection}\n"
    folder = ExportFolder(output, formats)
    folder.start(record, resume=resume)
    found = predict_images(predictor, images, folder, magnification, selection)
    folder.finish([image.name for image in images], predictor.classes)
    failures = found.failures
    if found.in_pieces > found.nuclei / 2:
        logger.warning(
            "%d of %d masks are in pieces: is the magnification the model's? --largest-part keeps "
            "the largest piece of each",
            *(found.in_pieces, found.nuclei),
        )
    seconds = time.monotonic() - start
    print(f"Found {found.nuclei} nuclei in {found.images} images in {seconds:.0f} s")
    print(f"Results of {len(images) - len(failures)} images are in {output}")
    if failures:
        print(f"error: {len(failures)} of {len(images)} images failed:", file=sys.stderr)
        print(*failures.values(), sep="\n", file=sys.stderr)
    return failures
