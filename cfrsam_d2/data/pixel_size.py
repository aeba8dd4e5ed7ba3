"""The magnification that an image file states, by the size of its pixels or in words."""

import logging
import math
import re
from typing import Any

import tifffile

from .magnification import DEFAULT_MAGNIFICATION
from .pil_image import opened
from .tiff import is_tiff, largest_image

_SIZES = (0.1, 2.5)  # µm; what is outside is of screens and printers
_IN_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
_RESOLUTION_UNITS = {2: 25_400.0, 3: 10_000.0}  # µm of TIFF's inch and cm
_IMAGEJ_UNITS = ("micron", "microns", "um", "µm", "\\u00B5m")
_NOMINAL = 1.15  # how far an objective is from the one that it is called
_DISAGREE = 1.2

logger = logging.getLogger(__name__)


class FileMagnifications:
    """The magnifications of a run's images; says once if a file states another than is taken."""

    def __init__(self) -> None:
        self._said = False

    def choose(self, file_name: str, given: float | None, instead: str) -> float | None:
        """The magnification of an image: what is given, else what its file states.

        Args:
            file_name: path of the image.
            given: by the user or a dataset; None: nothing is.
            instead: what is said behind "a.tif is of 20× as the file states, but".
        """
        if given is None or self._said:
            return given or stated_magnification(file_name)
        stated = stated_magnification(file_name)
        if stated and max(stated, given) / min(stated, given) > _DISAGREE:
            self._said = True
            logger.warning(
                "%s is of %g× as the file states, but %s (said of the first such file alone)",
                *(file_name, stated, instead),
            )
        return given


def stated_magnification(file_name: str) -> float | None:
    """What a file states, by OME's or ImageJ's metadata, Aperio's description, or its resolution.

    Returns:
        40 for pixels of about 0.25 µm, and so on; None if it states none that an objective has, or
        cannot be read.
    """
    try:
        if not is_tiff(file_name):
            with opened(file_name) as image:
                return _magnification(25_400 / image.info["dpi"][0])
        with tifffile.TiffFile(file_name, _multifile=False) as tif:
            return _of_tiff(tif, largest_image(tif, file_name).keyframe)
    except Exception:  # reading the image itself says what is wrong with it
        return None


def _of_tiff(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    description = page.description
    if tif.is_ome:
        return _magnification(_ome_pixel(tif.ome_metadata or "", page.imagewidth))
    if pixel := re.search(r"\bMPP\s*=\s*([\d.]+)", description):
        return _magnification(float(pixel[1]))
    if objective := re.search(r"\bAppMag\s*=\s*([\d.]+)", description):
        return float(objective[1]) or None
    return _magnification(_tagged_pixel(page, (tif.imagej_metadata or {}).get("unit")))


def _ome_pixel(xml: str, width: int) -> float:
    """µm; NaN if it is not stated. Of several images, the one of this width."""
    for tag in re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", xml):
        attributes = dict(re.findall(r"(\w+)\s*=\s*[\"']([^\"']*)[\"']", tag))
        if attributes.get("SizeX") == str(width):
            unit = _IN_MICROMETRES.get(attributes.get("PhysicalSizeXUnit", "µm"), math.nan)
            return float(attributes.get("PhysicalSizeX", math.nan)) * unit
    return math.nan


def _tagged_pixel(page: tifffile.TiffPage, imagej_unit: Any) -> float:
    """µm, by the tags XResolution and ResolutionUnit; NaN if they do not say it."""
    pixels, per_units = page.tags.valueof("XResolution", default=(1, 0))
    unit = _RESOLUTION_UNITS.get(page.tags.valueof("ResolutionUnit", default=2), math.nan)
    if imagej_unit in _IMAGEJ_UNITS:
        unit = 1.0
    return unit * per_units / pixels


def _magnification(pixel: float) -> float | None:
    """The objective's of pixels of so many µm: 40 or 20, say, where it is about that."""
    if not _SIZES[0] <= pixel <= _SIZES[1]:
        return None
    exact = 10 / pixel
    nominal = DEFAULT_MAGNIFICATION * 2.0 ** round(math.log2(exact / DEFAULT_MAGNIFICATION))
    is_nominal = max(exact, nominal) / min(exact, nominal) <= _NOMINAL
    return nominal if is_nominal else round(exact, 1)
