"""Stage 2 on one image whose prompts come and go; every window is encoded once.

N nuclei, H×W px.
"""

import os
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from torch import Tensor

from ...errors import UserError
from ...export import Prediction, best_first
from ...modeling.meta_arch import CFRSAM
from ...predictor import NucleusPredictor, read_as_rgb
from ...structures.masks import BoxMask

POINT_RADIUS = 4.0  # px around a prompt in which a click removes it
_FIELDS = ("pred_points", "pred_masks", "pred_classes", "scores")


class AnnotationSession:
    """One image, its nuclei, and the clicks that change them.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        file_name: of the image.
        classes: names by index.
        colors: RGB triples by index.
        nuclei: at first those that the model finds; on the CPU, with `pred_points` (N, 2),
            `pred_masks` (`BoxMasks`), `pred_classes` (N,) and `scores` (N,), the estimated IoU.
        config: of the model, as YAML.
    """

    def __init__(self, predictor: NucleusPredictor, image: Any, file_name: str) -> None:
        """
        Args:
            predictor: of the whole of CFR-SAM, prompted with points.
            image: as `NucleusPredictor` takes it, at the magnification that the model works at.
            file_name: as exported files shall call the image.

        Raises:
            UserError: the model predicts points alone, or is prompted with boxes; or the image
                cannot be read.
        """
        if not isinstance(predictor.model, CFRSAM):
            raise UserError(
                "the config is of stage 1, which predicts points: take one of the whole of CFR-SAM"
            )
        self._model: CFRSAM = predictor.model
        if self._model.proposal_generator.proposes_boxes:
            raise UserError(
                "MODEL.PROPOSAL_GENERATOR.NAME is BoxProposalGenerator, and a click is no box: "
                "take a model that is prompted with points"
            )
        self.image = read_as_rgb(image)
        if isinstance(image, str | os.PathLike):
            predictor.take_as_it_is(image)
        self.file_name = file_name
        self.classes, self.colors = predictor.classes, predictor.colors
        self.config = predictor.cfg.dump()
        self._found = self._encode_and_find()
        self.nuclei = self._found

    def reset(self) -> None:
        """Go back to the nuclei that the model finds."""
        self.nuclei = self._found

    def nucleus_at(self, x: float, y: float) -> int | None:
        """The index of the nucleus that a click in px means; of several the one nearest by."""
        distances, place = self._distances(x, y), (round(x), round(y))
        hit = torch.tensor([_covers(mask, *place) for mask in self.nuclei.pred_masks]).bool()
        meant = (hit | (distances <= POINT_RADIUS)).nonzero().squeeze(1)
        return int(meant[distances[meant].argmin()]) if len(meant) else None

    def toggle(self, x: float, y: float, category: int | None = None) -> str:
        """Remove the nucleus at a place in the image, or else add one there.

        Args:
            x, y: in px.
            category: of a nucleus that is added; None: that of the nearest one, or the first.

        Returns:
            What was done, in a sentence.
        """
        index = self.nucleus_at(x, y)
        if index is not None:
            removed = self.classes[self.nuclei.pred_classes[index]]
            self.nuclei = self.nuclei[torch.arange(len(self.nuclei)) != index]
            return f"Removed a nucleus of class {removed}."
        if category is None:
            category = self._nearest_category(x, y)
        added = self._segment(x, y, category)
        if len(added) == 0:
            return "No mask here: the model cuts out nothing, or what it does leaves its window."
        self.nuclei = Instances.cat([self.nuclei, added])
        score = added.scores.item()
        return f"Added a nucleus of class {self.classes[category]}, estimated IoU {score:.2f}."

    def prediction(self) -> Prediction:
        """The nuclei as they are, for `cfrsam_d2.export`."""
        nuclei = best_first(self.nuclei)
        return Prediction(self.file_name, self.image, nuclei, self.classes, self.colors)

    @torch.no_grad()
    def _encode_and_find(self) -> Instances:
        """Encode the image's windows, and find the nuclei of the model's own prompts."""
        model = self._model
        pixels = torch.from_numpy(np.ascontiguousarray(self.image.transpose(2, 0, 1)))
        images = [model.normalize(pixels)]
        with model.precision.context(model.device, training=False):
            self._windows = list(model.encode_windows(images))
            (found,) = model.find_nuclei(model.propose(images), self._windows)
        return _on_cpu(found)

    @torch.no_grad()
    def _segment(self, x: float, y: float, category: int) -> Instances:
        """The nucleus of a prompt, or none; the nearest others are its negative prompts, if any."""
        model = self._model
        nearest = self._distances(x, y).argsort()[: model.negative_prompts]
        click = torch.tensor([[x, y]], dtype=torch.float32)
        points = torch.cat([click, self.nuclei.pred_points[nearest]])
        proposal = Instances(
            self.image.shape[:2],
            proposal_points=points,
            proposal_classes=torch.full((len(points),), category),
        )
        with model.precision.context(model.device, training=False):
            (found,) = model.segment(self._windows, [proposal.to(model.device)])
        found = _on_cpu(found)
        return found[(found.pred_points == click).all(dim=1)]

    def _nearest_category(self, x: float, y: float) -> int:
        if len(self.nuclei) == 0:
            return 0
        return int(self.nuclei.pred_classes[self._distances(x, y).argmin()])

    def _distances(self, x: float, y: float) -> Tensor:
        """Of all prompts from a place, in px, (N,)."""
        return (self.nuclei.pred_points - torch.tensor([x, y])).norm(dim=1)


def _on_cpu(found: Instances) -> Instances:
    return Instances(found.image_size, **{name: found.get(name) for name in _FIELDS}).to("cpu")


def _covers(mask: BoxMask, column: int, row: int) -> bool:
    x0, y0, x1, y1 = mask.box
    return y0 <= row < y1 and x0 <= column < x1 and bool(mask.pixels[row - y0, column - x0])
