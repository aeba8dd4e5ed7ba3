"""The nuclei of an image, as the writers take them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from detectron2.structures import Instances


@dataclass(frozen=True)
class Prediction:
    """All that is known of an image when its files are written.

    H×W px of the image, N nuclei. A nucleus's label, the same in all files, is its position plus 1.

    Attributes:
        file_name: of the image, as the files shall call it.
        image: (H, W, 3) uint8 RGB.
        instances: of `best_first`, with `pred_points` (N, 2), `pred_classes` (N,), `scores` (N,)
            and, where masks are predicted, `pred_masks` (`BoxMasks`), none of them empty.
        classes: names by index.
        colors: RGB triples by index.
    """

    file_name: str
    image: np.ndarray
    instances: Instances
    classes: Sequence[str]
    colors: Sequence[tuple[int, int, int]]

    @property
    def has_masks(self) -> bool:
        """False where points alone are predicted."""
        return self.instances.has("pred_masks")


def best_first(instances: Instances) -> Instances:
    """Nuclei on the CPU, best score first; those of one score stay in their order."""
    instances = instances.to("cpu")
    return instances[instances.scores.argsort(descending=True, stable=True)]
