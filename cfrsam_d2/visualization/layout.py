"""Panels side by side under their titles, over a legend and a caption.

Text is measured before it is placed: it never overlaps and never leaves the picture.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .drawing import RGB

BACKGROUND = (255, 255, 255)
TEXT_COLOR = (30, 30, 30)
MARGIN = 12  # px around the picture, between panels and between blocks of text

_MIN_FONT_SIZE = 16  # px
_PANEL_WIDTHS_PER_FONT_SIZE = 36


class LegendItem(NamedTuple):
    """A class in the legend: its colour, and its name with its counts."""

    color: RGB
    text: str


class PlacedText(NamedTuple):
    """Text that fits, and its box in the picture: left, top, right, bottom in px."""

    text: str
    box: tuple[int, int, int, int]


class Layout(NamedTuple):
    """Where everything goes, in px of the picture."""

    size: tuple[int, int]  # width, height
    panels: list[tuple[int, int]]  # left, top
    titles: list[PlacedText]
    legend: list[PlacedText]  # each has its swatch, a square of the text's height, on its left
    caption: PlacedText


def side_by_side(
    panels: Sequence[np.ndarray], titles: Sequence[str], legend: Sequence[LegendItem], caption: str
) -> np.ndarray:
    """One picture: titles, panels in a row, the legend and the caption.

    Args:
        panels: (H, W, 3) uint8 RGB, all of one size.
        titles: one per panel.
        legend: items in order, on as many lines as they need.
        caption: one line.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    height, width = panels[0].shape[:2]
    font = font_for(width)
    texts = [item.text for item in legend]
    layout = place(len(panels), (width, height), titles, texts, caption)
    picture = Image.new("RGB", layout.size, BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for panel, corner in zip(panels, layout.panels, strict=True):
        picture.paste(Image.fromarray(panel), corner)
    draw_legend(draw, legend, layout.legend, font)
    for text, (left, top, _, _) in [*layout.titles, layout.caption]:
        draw.text((left, top), text, TEXT_COLOR, font)
    return np.asarray(picture)


def draw_legend(
    draw: ImageDraw.ImageDraw,
    legend: Sequence[LegendItem],
    placed: Sequence[PlacedText],
    font: ImageFont.FreeTypeFont,
) -> None:
    """Draw each item's text where `place_legend` has put it, and its swatch on the left of it."""
    for item, (text, (left, top, _, bottom)) in zip(legend, placed, strict=True):
        inset = (bottom - top) // 6
        swatch = (left - (bottom - top), top + inset, left - 2 * inset, bottom - inset)
        draw.rectangle(swatch, fill=item.color, outline=TEXT_COLOR)
        draw.text((left, top), text, TEXT_COLOR, font)


def place(
    num_panels: int,
    panel_size: tuple[int, int],
    titles: Sequence[str],
    legend: Sequence[str],
    caption: str,
) -> Layout:
    """Find a place for every part of a picture.

    Args:
        num_panels: panels in the row.
        panel_size: width, height of each in px.
        titles, legend, caption: texts; one too long for its place is shortened in its middle.
    """
    panel_width, panel_height = panel_size
    font = font_for(panel_width)
    line = sum(font.getmetrics())
    lefts = [MARGIN + index * (panel_width + MARGIN) for index in range(num_panels)]
    right = lefts[-1] + panel_width
    placed_titles = [
        _placed(title, left, MARGIN, left + panel_width, font)
        for title, left in zip(titles, lefts, strict=True)
    ]
    panels_top = MARGIN + line + MARGIN // 2
    legend_top = panels_top + panel_height + MARGIN
    placed_legend = place_legend(legend, legend_top, right, font)
    caption_top = placed_legend[-1].box[3] + MARGIN if legend else legend_top
    placed_caption = _placed(caption, MARGIN, caption_top, right, font)
    size = (right + MARGIN, caption_top + line + MARGIN)
    corners = [(left, panels_top) for left in lefts]
    return Layout(size, corners, placed_titles, placed_legend, placed_caption)


def place_legend(
    texts: Sequence[str], top: int, right: int, font: ImageFont.FreeTypeFont
) -> list[PlacedText]:
    """Items from left to right, then on the next line; each has a line's height for its swatch."""
    line = sum(font.getmetrics())
    placed, left = [], MARGIN
    for text in texts:
        if left > MARGIN and left + line + text_width(text, font) > right:
            left, top = MARGIN, top + line + MARGIN // 2
        placed.append(_placed(text, left + line, top, right, font))
        left = placed[-1].box[2] + line
    return placed


def _placed(text: str, left: int, top: int, right: int, font: ImageFont.FreeTypeFont) -> PlacedText:
    text = shorten(text, right - left, font)
    return PlacedText(
        text, (left, top, left + text_width(text, font), top + sum(font.getmetrics()))
    )


@functools.cache
def font_for(panel_width: int) -> ImageFont.FreeTypeFont:
    """A font that stays legible when the whole picture is seen at once."""
    size = max(_MIN_FONT_SIZE, panel_width // _PANEL_WIDTHS_PER_FONT_SIZE)
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # as of every size that is named
    return font


def text_width(text: str, font: ImageFont.FreeTypeFont) -> int:
    """Width of a line of text in whole px."""
    return -int(-font.getlength(text) // 1)


def shorten(text: str, max_width: int, font: ImageFont.FreeTypeFont) -> str:
    """`text` if it is at most `max_width` px wide, else with an ellipsis in its middle."""
    if text_width(text, font) <= max_width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        short = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
        if text_width(short, font) <= max_width:
            return short
    return ""
