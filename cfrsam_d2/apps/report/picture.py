"""An image with contours as one SVG: the pixels once, and over them its layers.

H×W px, s units of the SVG per px.
"""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from ...structures.rle import decode_mask
from ...visualization.drawing import mask_outlines

SCALE = 4  # s
_TOLERANCE = 1.0  # SVG units that a contour may be off where it is made of fewer points
_WEBP_QUALITY = 80
_WEBP_BYTES_A_PIXEL = 0.3  # about, of stained tissue at that quality
_IMAGES_BYTES = 15e6  # of all images of a page, so that it stays below 30 MB with the contours
_LARGEST_SIDE = 1024  # px

Box = tuple[int, int, int, int]  # left, top, right, bottom in px


class Layer(NamedTuple):
    """The nuclei that are drawn over the image.

    Attributes:
        name: "ground truth" or that of a run.
        paths: the `d` of one SVG path per class that has nuclei, by class.
        is_points: the nuclei are points.
    """

    name: str
    paths: dict[int, str]
    is_points: bool


class Picture(NamedTuple):
    """An image of the page.

    Attributes:
        key: no two pictures of a page have the same; letters, digits and hyphens.
        title: of the picture.
        caption: a line below it.
        image: data URI.
        box: the part of the image that is shown.
        layers: ground truth first.
        focus: a frame around the nucleus that the picture is about, if it is about one.
    """

    key: str
    title: str
    caption: str
    image: str
    box: Box
    layers: list[Layer]
    focus: Box | None = None


def longest_side(num_images: int) -> int:
    """How large images may be, in px of the longer side, for a page with so many of them."""
    pixels = _IMAGES_BYTES / 1.34 / _WEBP_BYTES_A_PIXEL / max(num_images, 1)
    return int(np.clip(np.sqrt(pixels), 64, _LARGEST_SIDE))


def image_uri(image: np.ndarray, side: int) -> str:
    """An image as WebP in a data URI.

    Args:
        image: (H, W, 3) uint8 RGB.
        side: px; a larger image is made smaller.
    """
    factor = side / max(image.shape[:2])
    if factor < 1:
        size = [max(1, round(factor * length)) for length in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=_WEBP_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def layer(name: str, nuclei: Sequence[dict[str, Any]]) -> Layer:
    """Trace nuclei.

    Args:
        name: of the layer.
        nuclei: dicts with `category_id` and `segmentation`, or `point` where there are no masks.
    """
    paths: dict[int, list[str]] = {}
    for nucleus in nuclei:
        paths.setdefault(nucleus["category_id"], []).append(nucleus_path(nucleus))
    return Layer(
        name,
        {category: "".join(paths[category]) for category in sorted(paths)},
        is_points=any("segmentation" not in nucleus for nucleus in nuclei),
    )


def nucleus_path(nucleus: dict[str, Any]) -> str:
    """The `d` of a nucleus: its outlines, or a line without length, which is drawn as a dot."""
    if "segmentation" not in nucleus:
        x, y = (round(SCALE * (value + 0.5)) for value in nucleus["point"])
        return f"M{x} {y}h0"
    outlines = mask_outlines(decode_mask(nucleus["segmentation"]), SCALE)
    return "".join(_path(cv2.approxPolyDP(each, _TOLERANCE, closed=True)) for each in outlines)


def svg(picture: Picture) -> str:
    """All of a picture as one SVG element; the page's style says which layers are seen."""
    left, top, right, bottom = (SCALE * value for value in picture.box)
    image = (
        f'<image x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"'
        f' preserveAspectRatio="none" href="{picture.image}"/>'
    )
    frame = _frame(picture.focus) if picture.focus else ""
    layers = "".join(
        f'<g class="layer" data-layer="{index}" data-name="{html.escape(each.name)}">'
        f'<use class="halo" href="#{picture.key}-{index}"/>'
        f'<g id="{picture.key}-{index}">{_class_paths(each)}</g></g>'
        for index, each in enumerate(picture.layers, start=1)
    )
    return _element(picture, f'<g id="{picture.key}-0">{image}{frame}</g>{layers}')


def panel(picture: Picture, index: int) -> str:
    """One layer, counted from 1, as an SVG element that refers to that of `svg` for all it shows.

    The page's script makes such elements, too, where it enlarges a picture.
    """
    key = picture.key
    return _element(
        picture,
        f'<use href="#{key}-0"/><use class="halo" href="#{key}-{index}"/>'
        f'<use href="#{key}-{index}"/>',
    )


def _element(picture: Picture, content: str) -> str:
    left, top, right, bottom = (SCALE * value for value in picture.box)
    return (
        f'<svg class="picture" viewBox="{left} {top} {right - left} {bottom - top}"'
        f' aria-hidden="true">{content}</svg>'
    )


def _frame(box: Box) -> str:
    left, top, right, bottom = (SCALE * value for value in box)
    d = f"M{left} {top}H{right}V{bottom}H{left}z"
    return f'<path class="outline focus" d="{d}"/><path class="outline dashes" d="{d}"/>'


def _class_paths(each: Layer) -> str:
    kind = "point" if each.is_points else "outline"
    return "".join(
        f'<path class="{kind} c{category}" d="{d}"/>' for category, d in each.paths.items()
    )


def _path(polygon: np.ndarray) -> str:
    """A closed path of a (P, 1, 2) polygon; after the first, points are steps."""
    points = polygon.reshape(-1, 2)
    x, y = points[0].tolist()
    steps = [number for step in np.diff(points, axis=0).tolist() for number in step]
    # A sign separates as well as a space.
    text = "".join(str(number) if number < 0 else f" {number}" for number in steps)
    return f"M{x} {y}l{text.lstrip() or '0 0'}z"
