"""From a folder of the user's images, their labels and the names of classes to a dataset."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ....errors import UserError
from ....files import folder_lock, replaced_folder
from ...coco import DEFAULT_TISSUE
from ...image import read_rgb
from ...image_files import InputImage, find_images
from ...magnification import DEFAULT_MAGNIFICATION, check_magnification
from ...pixel_size import FileMagnifications
from ..dataset_writer import JSON_NAME, NucleusJsonWriter
from .classes import ClassNames, read_classes
from .coco import coco_images
from .geojson import geojson_nuclei
from .label_files import COCO, GEOJSON, find_labels, pair_labels
from .label_maps import label_map_nuclei
from .labelled_image import LabelledImage


def convert_custom(
    images: Path, labels: Path, classes_file: Path, output: Path, magnification: float | None
) -> str:
    """Write the images and their nuclei; what was there before is replaced at the end.

    Args:
        images: a folder, which may have folders in it.
        labels: a folder of label maps, `.mat` or GeoJSON files, one per image and of its name; or
            a COCO JSON, or a folder of one.
        classes_file: see `read_classes`.
        output: the folder that gets `nuclei.json` and `images/`.
        magnification: of the images, unless a COCO JSON states theirs; None: what their files
            state, else 40.

    Returns:
        What was written, and what was left out or cut and why, as text.

    Raises:
        UserError: images and labels do not belong together, a file is damaged or holds something
            else, a class has no name, or `output` holds other files.
    """
    if magnification is not None:
        check_magnification("--magnification", magnification)
    classes = read_classes(classes_file)
    changes: Counter[str] = Counter()
    labelled = _labelled_images(images, labels, output, magnification, classes, changes)
    _check_names(labelled)
    with folder_lock(output), replaced_folder(output, made_with=JSON_NAME) as folder:
        writer = NucleusJsonWriter(folder, classes.names)
        for each in tqdm(labelled, unit="image", disable=None):
            image = read_rgb(str(each.path))
            writer.add(
                each.png_name,
                image,
                each.nuclei(image.shape[:2]),
                tissue=each.tissue,
                magnification=each.magnification,
            )
        writer.write()
    counts = [f"{count} {change}" for change, count in sorted(changes.items())]
    return "\n".join([str(output), writer.summary(), *(counts or ["every nucleus, none left out"])])


def _labelled_images(
    images: Path,
    labels: Path,
    output: Path,
    magnification: float | None,
    classes: ClassNames,
    changes: Counter[str],
) -> list[LabelledImage]:
    found = _find_images(images, labels, output)
    form, files = find_labels(labels, {image.path.resolve() for image in found})
    if form == COCO:
        listed = coco_images(files[0], images, magnification, classes, changes)
        if others := {each.path.resolve() for each in found} - {e.path.resolve() for e in listed}:
            changes["images left out: the JSON does not list them"] = len(others)
        return listed
    of_files, instead = FileMagnifications(), f"--magnification says {magnification}, which counts"
    nuclei_of = geojson_nuclei if form == GEOJSON else label_map_nuclei
    return [
        LabelledImage(
            image.path,
            image.relative,
            partial(nuclei_of, file, classes=classes, changes=changes),
            DEFAULT_TISSUE,
            of_files.choose(str(image.path), magnification, instead) or DEFAULT_MAGNIFICATION,
        )
        for image, file in zip(found, pair_labels(found, labels, files), strict=True)
    ]


def _find_images(images: Path, labels: Path, output: Path) -> list[InputImage]:
    """The images; files in a folder of labels that lies in theirs are none."""
    if not images.is_dir():
        raise UserError(f"{images} is not a folder: name the folder of the images")
    image_root, label_root, out = images.resolve(), labels.resolve(), output.resolve()
    if out in (label_root, *label_root.parents):
        raise UserError(f"--output {output} holds the labels {labels}: name another folder")
    found = find_images([images], output)
    if label_root in (image_root, *image_root.parents):
        return found
    return [image for image in found if label_root not in image.path.resolve().parents]


def _check_names(labelled: Sequence[LabelledImage]) -> None:
    path_of: dict[str, Path] = {}
    for each in labelled:
        key = each.png_name.casefold()  # some file systems do not tell cases apart
        if key in path_of:
            raise UserError(
                f"{path_of[key]} and {each.path} would both become {each.png_name}: rename one"
            )
        path_of[key] = each.path
