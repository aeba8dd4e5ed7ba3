"""CPM-17: from the release's images and label maps to the project's files."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import UserError
from ...structures.masks import BoxMask
from .instance_map import instance_masks
from .mat import read_mat
from .release import find_pairs, with_validation, write_release


def convert_cpm17(source: Path, output: Path, classes: Sequence[str] = ()) -> str:
    """Write train, val and test; every instance stays whole, also one in several pieces.

    Args:
        source: the folder into which the release was unpacked.
        output: the folder that gets `train/`, `val/` and `test/`; replaced at the end.
        classes: those of a model of several, of which each nucleus has one, but it is unknown
            which; none: all nuclei are of one class, "nucleus".

    Returns:
        A summary.

    Raises:
        UserError: the release is incomplete or damaged, a label map is of another size than its
            image, or `output` holds other files.
    """
    train, test = (find_pairs(source, split, "cpm17", ".mat") for split in ("train", "test"))
    return write_release(with_validation(source, train, test), output, _masks, Counter(), classes)


def _masks(label_file: Path, height: int, width: int) -> Iterator[BoxMask]:
    inst_map, _ = read_mat(label_file)
    if inst_map.shape != (height, width):
        raise UserError(
            f"{label_file}: `inst_map` is of {inst_map.shape} px, its image of {(height, width)}: "
            "take both from one release"
        )
    for _, mask in instance_masks(inst_map):
        yield mask
