"""Class colours that colour-blind readers can tell apart on pink and purple tissue."""

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


def class_colors(num: int) -> list[tuple[int, int, int]]:
    """The colours of `num` classes: fixed by position, the same in every picture.

    Args:
        num: number of classes; beyond six the palette comes again, darker each time.

    Returns:
        `num` RGB triples in 0..255.
    """
    colors = []
    for index in range(num):
        round_, position = divmod(index, len(_OKABE_ITO))
        colors.append(tuple(round(value * 0.6**round_) for value in _OKABE_ITO[position]))
    return colors
