"""The library that reads a slide: OpenSlide, tifffile where that sees too little, else Pillow."""

from pathlib import Path

from PIL import Image

from ..errors import UserError
from ..remote_path import AnyPath, RemotePath
from .backend import Backend
from .image_backend import ImageBackend
from .tiff_backend import TiffBackend, is_ome_tiff
from .tiff_checks import check_opened

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_backend(path: AnyPath) -> Backend:
    """Open a slide or an image with the library that sees most of it.

    Args:
        path: of a file, or of an OME-TIFF in a store.

    Raises:
        UserError: the path is missing, a folder or empty, the file is damaged or no brightfield
            slide, or OpenSlide is not installed.
    """
    if isinstance(path, RemotePath):
        return _by_range(path)
    _check_path(path)
    reason = ""
    backend: Backend | None = None
    try:
        backend = _by_openslide(path)
    except UserError:
        raise
    except Exception as error:  # OpenSlideError, of a module that is imported late
        reason = str(error)
    if backend is not None:
        return backend
    if _is_tiff(path):
        return _by_tifffile(path, reason)
    if not reason and _is_image(path):
        return ImageBackend(path)
    raise UserError(
        f"{path} cannot be opened ({reason or 'its format is unknown'}): "
        "name a slide that OpenSlide reads, a TIFF, or a small PNG or JPEG"
    )


def _by_range(path: RemotePath) -> Backend:
    if not is_ome_tiff(path):
        raise UserError(f"{path} is no OME-TIFF, and nothing else is read by range: copy it")
    return _by_tifffile(path, "")


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the file of the slide in it")
    if not path.is_file():
        raise UserError(f"{path} does not exist: name a slide")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes): copy it again")


def _by_openslide(path: Path) -> Backend | None:
    try:
        from .openslide_backend import OpenSlideBackend, detected_vendor
    except ModuleNotFoundError as error:
        if error.name not in ("openslide", None):  # None: it lacks openslide-bin
            raise
        raise UserError(
            "OpenSlide is not installed: run `pip install 'cfrsam_d2[slides]'`, in a clone "
            "`pip install -e '.[slides]'`"
        ) from None
    vendor = detected_vendor(path)
    if vendor is None or is_ome_tiff(path):
        return None
    backend = OpenSlideBackend(path)
    if _is_tiff(path):
        check_opened(path, backend.facts.levels[0].size)
    return backend


def _by_tifffile(path: AnyPath, reason: str) -> Backend:
    """
    Args:
        path: of a TIFF.
        reason: why OpenSlide did not open it, if it tried.
    """
    try:
        return TiffBackend(path)
    except UserError as error:
        raise UserError(f"{error} (OpenSlide: {reason})" if reason else str(error)) from None
    except Exception as error:  # of many kinds: tifffile meets whatever the bytes are
        raise UserError(
            f"{path} cannot be opened ({reason or error}): copy it again, or save it as pyramidal "
            "TIFF"
        ) from None


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in _TIFF_STARTS


def _is_image(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except (OSError, SyntaxError, ValueError):
        return False
