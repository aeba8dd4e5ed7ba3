"""Pictures in rows and columns, as papers compare methods: a row per method, a column per image."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .layout import (
    BACKGROUND,
    MARGIN,
    TEXT_COLOR,
    LegendItem,
    draw_legend,
    font_for,
    place_legend,
    shorten,
    text_width,
)


def picture_grid(
    rows: Mapping[str, Sequence[np.ndarray]], columns: Sequence[str], legend: Sequence[LegendItem]
) -> np.ndarray:
    """Arrange panels; titles of rows run upwards on their left, titles of columns stand on top.

    Args:
        rows: panels (H, W, 3) uint8 RGB of each row by its title; in a column all are of one size.
        columns: titles, one per column. Too long titles are shortened in their middle.
        legend: items below the panels.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    sizes = [panel.shape[1::-1] for panel in next(iter(rows.values()))]
    row_height = max(height for _, height in sizes)
    font = font_for(sum(width for width, _ in sizes) // 2)
    line = sum(font.getmetrics())
    widths = [width + MARGIN for width, _ in sizes]
    lefts = [2 * MARGIN + line + sum(widths[:index]) for index in range(len(widths))]
    right = lefts[-1] + sizes[-1][0]
    legend_top = MARGIN + line + MARGIN // 2 + len(rows) * (row_height + MARGIN)
    placed_legend = place_legend([item.text for item in legend], legend_top, right, font)
    picture = Image.new("RGB", (right + MARGIN, placed_legend[-1].box[3] + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for title, left, (width, _) in zip(columns, lefts, sizes, strict=True):
        draw.text((left, MARGIN), shorten(title, width, font), TEXT_COLOR, font)
    for index, (title, panels) in enumerate(rows.items()):
        top = MARGIN + line + MARGIN // 2 + index * (row_height + MARGIN)
        picture.paste(_upwards(shorten(title, row_height, font), row_height, font), (MARGIN, top))
        for panel, left in zip(panels, lefts, strict=True):
            picture.paste(Image.fromarray(panel), (left, top))
    draw_legend(draw, legend, placed_legend, font)
    return np.asarray(picture)


def _upwards(text: str, length: int, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Text that runs upwards in the middle of a strip of this length."""
    strip = Image.new("RGB", (length, sum(font.getmetrics())), BACKGROUND)
    left = (length - text_width(text, font)) // 2
    ImageDraw.Draw(strip).text((left, 0), text, TEXT_COLOR, font)
    return strip.transpose(Image.Transpose.ROTATE_90)
