"""One nucleus as an annotation of a COCO JSON: the one form of it in all files of the project."""

from collections.abc import Sequence
from typing import Any

from .masks import BoxMask
from .rle import encode_mask

# A nucleus of unknown class: its class index, and the name of its category, whose id is 0.
UNKNOWN_CLASS = -1
UNKNOWN_NAME = "unknown"


def coco_annotation(
    mask: BoxMask | None,
    class_index: int,
    image_size: tuple[int, int],
    *,
    point: Sequence[float] | None = None,
    score: float | None = None,
) -> dict[str, Any]:
    """The annotation of a nucleus, without its own id and that of its image.

    Args:
        mask: cut to the box of its pixels, one at least; None where points alone are known.
        class_index: 0..K−1, or `UNKNOWN_CLASS`; the category's id is one more.
        image_size: H, W.
        point: x, y in pixel-index units.
        score: of a prediction.

    Returns:
        `category_id`, and as far as they are known `bbox` (XYWH), `area`, `segmentation`
        (compressed RLE), `point`, `score` and `iscrowd`.
    """
    record: dict[str, Any] = {"category_id": class_index + 1}
    if mask is not None:
        record["bbox"] = [mask.left, mask.top, *mask.pixels.shape[::-1]]
        record["area"] = mask.area
        record["segmentation"] = encode_mask(mask, *image_size)
    if point is not None:
        record["point"] = list(point)
    if score is not None:
        record["score"] = score
    if mask is not None:
        record["iscrowd"] = 0
    return record
