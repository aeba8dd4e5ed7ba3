"""The images that are named on a command line, and the names of what is made from them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


class InputImage(NamedTuple):
    """An image file, and its path below the folder that was named (else its bare name)."""

    path: Path
    relative: Path

    @property
    def name(self) -> str:
        """The start of its output files' names, folders included."""
        return str(self.relative.with_name(self.relative.stem))


def find_images(inputs: Sequence[Path], output: Path) -> list[InputImage]:
    """List files, and the images of folders and of folders in them, in order of their names.

    Hidden files and what lies in the output folder are left out of folders.

    Args:
        inputs: image files and folders.
        output: the folder that results go to.

    Raises:
        UserError: an input does not exist, a folder has no images, results would go where images
            are, or those of two images would have one name.
    """
    output = output.resolve()
    images = [image for path in inputs for image in _images_of(path, output)]
    seen: dict[str, Path] = {}
    for image in images:
        key = image.name.casefold()  # some file systems do not tell cases apart
        if key in seen:
            raise UserError(
                f"results of {seen[key]} and {image.path} would both be named {image.name}: "
                "rename one, or run them with different --output"
            )
        seen[key] = image.path
    return images


def _images_of(path: Path, output: Path) -> Iterable[InputImage]:
    if not path.exists():
        raise UserError(f"{path} does not exist: name image files or folders of images")
    folder = path if path.is_dir() else path.parent
    if output in (folder.resolve(), *folder.resolve().parents):
        raise UserError(
            f"--output {output} holds the input {path}, which results could overwrite: "
            "name another folder"
        )
    if not path.is_dir():
        return [InputImage(path, Path(path.name))]
    found = [file for file in sorted(path.rglob("*")) if _is_image(file, output)]
    if not found:
        raise UserError(f"{path} has no images: put {', '.join(IMAGE_SUFFIXES)} files there")
    return [InputImage(file, file.relative_to(path)) for file in found]


def _is_image(file: Path, output: Path) -> bool:
    return (
        file.suffix.lower() in IMAGE_SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
        and output not in file.resolve().parents
    )
