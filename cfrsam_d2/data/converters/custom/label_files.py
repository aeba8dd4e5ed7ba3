"""The files of labels: their form, and the image that each of them belongs to."""

from collections.abc import Collection, Sequence
from pathlib import Path

from ....errors import UserError
from ...image_files import InputImage, visible_files
from .label_maps import TYPES_ENDING

COCO = "a COCO JSON"
GEOJSON = "GeoJSON files"
LABEL_MAPS = "label maps"
MAT = ".mat files"
_FORMS = {
    ".json": COCO,
    **dict.fromkeys((".geojson", ".geojsonl", ".ndjson"), GEOJSON),
    ".mat": MAT,
    **dict.fromkeys((".png", ".tif", ".tiff", ".npy"), LABEL_MAPS),
}


def find_labels(labels: Path, images: Collection[Path]) -> tuple[str, list[Path]]:
    """List the label files, and tell by their suffixes which form they have.

    Args:
        labels: a folder, which may have folders in it, or one COCO JSON. Hidden files and those of
            other kinds are not looked at.
        images: resolved paths of files that are no labels, though they may lie in the same folder.

    Returns:
        One of the four forms, and its files in the order of their names: one, of a COCO JSON.

    Raises:
        UserError: there are no labels, or of two forms, or several COCO JSONs.
    """
    if not labels.exists():
        raise UserError(f"{labels} does not exist: let --labels name a folder or a COCO JSON")
    of_form: dict[str, list[Path]] = {}
    for file in sorted(visible_files(labels)) if labels.is_dir() else [labels]:
        if (form := _FORMS.get(file.suffix.lower())) and file.resolve() not in images:
            of_form.setdefault(form, []).append(file)
    if not of_form or (labels.is_file() and COCO not in of_form):
        raise UserError(
            f"{labels} holds no labels: name a COCO .json, or a folder of label maps (.png, .tif, "
            ".npy), .mat or .geojson files"
        )
    if len(of_form) > 1:
        found = " and ".join(f"{form} ({files[0].name})" for form, files in of_form.items())
        raise UserError(f"{labels} holds {found}: keep labels of one form there")
    ((form, files),) = of_form.items()
    if form == COCO and len(files) > 1:
        raise UserError(
            f"{labels} holds {files[0].name} and {files[1].name}: let --labels name one COCO JSON; "
            "the names of GeoJSON files end in .geojson"
        )
    return form, files


def pair_labels(images: Sequence[InputImage], labels: Path, files: Sequence[Path]) -> list[Path]:
    """Find the label of each image: the file of its name, folders included.

    Args:
        images: with their names.
        labels: the folder of the labels.
        files: the labels in it; of those that are maps of types nothing is asked.

    Returns:
        One file per image.

    Raises:
        UserError: an image has no label, a label has no image, or two labels have one name.
    """
    of_name: dict[str, Path] = {}
    for file in files:
        name = str(file.relative_to(labels).with_suffix(""))
        if name in of_name:
            raise UserError(f"{of_name[name]} and {file} are labels of one name: keep one of them")
        of_name[name] = file
    names = {image.name for image in images}
    if without := [image.path for image in images if image.name not in of_name]:
        raise UserError(
            f"{without[0]} has no label of its name in {labels} ({len(without)} such images): add "
            "them, empty ones of images without nuclei, or take the images away"
        )
    if unused := [
        file for name, file in of_name.items() if name.removesuffix(TYPES_ENDING) not in names
    ]:
        raise UserError(
            f"{unused[0]} has no image of its name ({len(unused)} such labels): add the images or "
            "take the labels away"
        )
    return [of_name[image.name] for image in images]
