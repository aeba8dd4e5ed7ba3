"""The µm/px and the objective that a TIFF file names: in OME-XML, Aperio's text, or its tags."""

import re
from typing import Any

import tifffile

_MICROMETERS = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3}
_TAG_MICROMETERS = {2: 25400.0, 3: 1e4, 4: 1e3, 5: 1.0}  # by TIFF's ResolutionUnit


def tiff_mpp(file: tifffile.TiffFile, page: Any) -> tuple[float, float] | None:
    """µm/px in x and y of the finest level, whose page is given; None if nothing says."""
    if file.is_ome:
        return _ome_mpp(file, (page.imagewidth, page.imagelength)) or _tag_mpp(page)
    aperio = _aperio_number(page, "MPP")
    return (aperio, aperio) if aperio else _tag_mpp(page)


def tiff_objective(file: tifffile.TiffFile) -> float | None:
    """Magnification of the objective; None if nothing says."""
    if not file.is_ome:
        return _aperio_number(file.pages.first, "AppMag")
    found = re.search(r'NominalMagnification="([\d.]+)"', file.ome_metadata or "")
    return float(found.group(1)) if found else None


def _aperio_number(page: Any, name: str) -> float | None:
    found = re.search(rf"\|\s*{name}\s*=\s*([\d.]+)", page.description)
    return float(found.group(1)) if found else None


def _ome_mpp(file: tifffile.TiffFile, size: tuple[int, int]) -> tuple[float, float] | None:
    images = tifffile.xml2dict(file.ome_metadata or "")["OME"]["Image"]
    for image in images if isinstance(images, list) else [images]:
        pixels = image["Pixels"]
        if (pixels["SizeX"], pixels["SizeY"]) == size and "PhysicalSizeX" in pixels:
            x, y = (_micrometers(pixels, axis) for axis in "XY")
            return None if x is None or y is None else (x, y)
    return None


def _micrometers(pixels: dict[str, Any], axis: str) -> float | None:
    factor = _MICROMETERS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    size = pixels.get(f"PhysicalSize{axis}")
    return None if factor is None or size is None else float(size) * factor


def _tag_mpp(page: Any) -> tuple[float, float] | None:
    unit = _TAG_MICROMETERS.get(page.tags.valueof("ResolutionUnit", 2))
    values = (page.tags.valueof(f"{axis}Resolution") for axis in "XY")
    x, y = (value[0] / value[1] if value and value[1] else 0.0 for value in values)
    return (unit / x, unit / y) if unit and x and y else None
