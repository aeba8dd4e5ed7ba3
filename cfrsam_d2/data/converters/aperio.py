"""The annotation files of Aperio ImageScope."""

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from ...errors import UserError


class Region(NamedTuple):
    """
    Attributes:
        where: what errors call it.
        outline: (V, 2) x, y in px; V may be any number, 0 too.
        is_hole: of another region, `NegativeROA`.
    """

    where: str
    outline: np.ndarray
    is_hole: bool


def read_regions(path: str | Path) -> list[Region]:
    """Read the regions of an annotation file, of all its layers.

    Args:
        path: an XML file with `Region`s of `Vertex` elements that have `X` and `Y`.

    Raises:
        UserError: the file is damaged, defines entities, has no region, or a vertex without two
            numbers.
    """
    parser = ElementTree.XMLParser(target=_WithoutDoctype())
    try:
        root = ElementTree.parse(path, parser).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path} is damaged or no XML ({error}): download it again") from None
    regions = [_region(region, path) for region in root.iter("Region")]
    if not regions:
        raise UserError(f"{path} has no Region: give the annotations as ImageScope saves them")
    return regions


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Refuses what can define entities, which grow without bounds; ImageScope writes none."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE")


def _region(region: ElementTree.Element, path: str | Path) -> Region:
    where = f"{path}: region {region.get('Id')}"
    try:
        vertices = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
        outline = np.array(vertices).reshape(-1, 2)
        if not np.isfinite(outline).all():
            raise ValueError("not finite")
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{where} has a vertex without a number as X or Y ({error}): "
            "correct it or remove the region"
        ) from None
    return Region(where, outline, region.get("NegativeROA", "0").strip() == "1")
