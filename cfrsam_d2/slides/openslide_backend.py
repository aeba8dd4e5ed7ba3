"""Slides by OpenSlide: SVS, NDPI, MRXS, SCN, BIF, Philips, DICOM and tiled TIFF."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import openslide

from .backend import WHITE, Box, Color, Level, SlideFacts, no_brightfield, on_background


def detected_vendor(path: Path) -> str | None:
    """The vendor whose format the file has; None if OpenSlide does not know it."""
    try:
        return openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        return None


class OpenSlideBackend:
    """See `Backend`.

    Args:
        path: of a slide.

    Raises:
        OpenSlideError: the file is damaged, or of a kind that OpenSlide does not read.
        UserError: it is of fluorescence.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._slide = openslide.OpenSlide(path)
        self.facts = _facts(self._slide)
        kind = self._slide.properties.get("mirax.GENERAL.SLIDE_TYPE", "")
        if "FLUORESCENCE" in kind:
            raise no_brightfield(path, kind)

    def read(self, level: int, box: Box) -> np.ndarray:
        downsample = self.facts.levels[level].downsample
        corner = (round(box[0] * downsample), round(box[1] * downsample))
        size = (box[2] - box[0], box[3] - box[1])
        rgba = np.asarray(self._slide.read_region(corner, level, size))
        return on_background(rgba, self.facts.background)

    def reopen(self) -> Self:
        return type(self)(self.path)

    def close(self) -> None:
        self._slide.close()


def _facts(slide: openslide.OpenSlide) -> SlideFacts:
    properties = slide.properties
    mpp_x, mpp_y = (_number(properties, f"openslide.mpp-{axis}") for axis in "xy")
    vendor = properties.get("openslide.vendor", "")
    return SlideFacts(
        levels=tuple(_level(slide, index) for index in range(slide.level_count)),
        mpp=None if mpp_x is None or mpp_y is None else (mpp_x, mpp_y),
        objective=_number(properties, "openslide.objective-power"),
        background=_color(properties.get("openslide.background-color")),
        origin=(
            int(properties.get("openslide.bounds-x", 0)),
            int(properties.get("openslide.bounds-y", 0)),
        ),
        properties={
            "reader": f"OpenSlide {openslide.__library_version__}",
            "vendor": vendor,
            "objective": properties.get("openslide.objective-power", ""),
            "quickhash": properties.get("openslide.quickhash-1", ""),
        },
    )


def _level(slide: openslide.OpenSlide, index: int) -> Level:
    downsample = slide.level_downsamples[index]
    sides = (f"openslide.level[{index}].tile-{side}" for side in ("width", "height"))
    width, height = (int(slide.properties.get(side, 256)) for side in sides)
    # Corners are given in level-0 px: between two pixels of the level, OpenSlide interpolates.
    exact = downsample == round(downsample)
    return Level(slide.level_dimensions[index], downsample, (width, height), exact)


def _number(properties: Mapping[str, str], name: str) -> float | None:
    try:
        return float(properties[name])
    except (KeyError, ValueError):
        return None


def _color(text: str | None) -> Color:
    if text is None:
        return WHITE
    red, green, blue = bytes.fromhex(text)
    return red, green, blue
