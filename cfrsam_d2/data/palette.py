"""Colours that colour-blind readers can tell apart: of classes on tissue, of lines in plots."""

from collections.abc import Sequence

# Okabe and Ito's palette without its black and its reddish purple, which stained tissue hides;
# in the order that keeps the first classes furthest apart.
_OKABE_ITO = (
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (0, 158, 115),  # bluish green
    (213, 94, 0),  # vermillion
    (86, 180, 233),  # sky blue
    (230, 159, 0),  # orange
)
# Of nuclei of unknown class; no class has it.
UNKNOWN_COLOR = (220, 220, 220)
# For lines, without yellow, which paper hides.
_LINES = tuple(_OKABE_ITO[index] for index in (1, 3, 2, 5, 4))


def class_colors(num: int) -> list[tuple[int, int, int]]:
    """The colours of `num` classes: fixed by position, the same in every picture.

    Args:
        num: number of classes; beyond six the palette comes again, darker each time.

    Returns:
        `num` RGB triples in 0..255.
    """
    return _repeated(_OKABE_ITO, num)


def line_colors(num: int) -> list[tuple[int, int, int]]:
    """The colours of `num` lines or bars of a plot.

    Args:
        num: number of lines; beyond five the palette comes again, darker each time.

    Returns:
        `num` RGB triples in 0..255.
    """
    return _repeated(_LINES, num)


def _repeated(palette: Sequence[tuple[int, int, int]], num: int) -> list[tuple[int, int, int]]:
    colors = []
    for index in range(num):
        round_, position = divmod(index, len(palette))
        colors.append(tuple(round(value * 0.6**round_) for value in palette[position]))
    return colors
