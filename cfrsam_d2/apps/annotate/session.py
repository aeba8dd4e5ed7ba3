"""Stage 2 on one image whose prompts come and go; every window is encoded once.

Letters: N nuclei, H×W px.
"""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.structures import ImageList, Instances
from torch import Tensor

from ...errors import UserError
from ...export import Prediction, nuclei_from_instances
from ...modeling.mask_head import ImageMaps
from ...modeling.sliding_window import NucleusMasks
from ...predictor import NucleusPredictor, read_as_rgb

POINT_RADIUS = 4.0  # px around a prompt in which a click removes it


@dataclass(frozen=True)
class PromptedNucleus:
    """A prompt and what was cut out for it.

    Attributes:
        point: x, y in pixel-index units.
        category: index of its class.
        score: estimated IoU.
        mask: (H, W) bool.
    """

    point: tuple[float, float]
    category: int
    score: float
    mask: np.ndarray


class InspectionSession:
    """One image, its nuclei, and the clicks that change them.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        file_name: of the image.
        classes: names by index.
        colors: RGB triples by index.
        nuclei: at first those that the model finds.
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
        if not predictor.predicts_masks:
            raise UserError(
                "the config is of stage 1, which predicts points: take one of the whole of CFR-SAM"
            )
        self._model = predictor.model
        if self._model.proposal_generator.proposes_boxes:
            raise UserError(
                "MODEL.PROPOSAL_GENERATOR.NAME is BoxProposalGenerator, and a click is no box: "
                "take a model that is prompted with points"
            )
        self.image = read_as_rgb(image)
        self.file_name = file_name
        self.classes, self.colors = predictor.classes, predictor.colors
        self.config = predictor.cfg.dump()
        pixels = torch.from_numpy(np.ascontiguousarray(self.image.transpose(2, 0, 1)))
        self._normalized = self._model.normalize(pixels)
        # By size and pixels of a window, or of a view of it.
        self._maps: dict[tuple[torch.Size, bytes], ImageMaps] = {}
        self._found = self._find()
        self.nuclei = list(self._found)

    def reset(self) -> None:
        """Go back to the nuclei that the model finds."""
        self.nuclei = list(self._found)

    def nucleus_at(self, x: float, y: float) -> int | None:
        """The index of the nucleus that a click in px means; of several the one nearest by."""
        row, column = round(y), round(x)
        distances = self._distances(x, y)
        meant = [
            index
            for index, each in enumerate(self.nuclei)
            if distances[index] <= POINT_RADIUS or each.mask[row, column]
        ]
        return min(meant, key=distances.__getitem__, default=None)

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
            removed = self.nuclei.pop(index)
            return f"Removed a nucleus of class {self.classes[removed.category]}."
        if category is None:
            category = self._nearest_category(x, y)
        added = self._cut_out(torch.tensor([[x, y]], dtype=torch.float32), torch.tensor([category]))
        self.nuclei += added
        if not added:
            return "No mask here: the model cuts out nothing, or what it does leaves its window."
        name, score = self.classes[category], added[0].score
        return f"Added a nucleus of class {name}, estimated IoU {score:.2f}."

    def prediction(self) -> Prediction:
        """The nuclei as they are, for `cfrsam_d2.export`."""
        height, width = self.image.shape[:2]
        masks = np.array([each.mask for each in self.nuclei], dtype=bool)
        instances = Instances(
            (height, width),
            pred_points=torch.tensor([each.point for each in self.nuclei]).view(-1, 2),
            pred_masks=torch.from_numpy(masks.reshape(-1, height, width)),
            pred_classes=torch.tensor([each.category for each in self.nuclei]),
            scores=torch.tensor([each.score for each in self.nuclei]),
        )
        nuclei = nuclei_from_instances(instances)
        return Prediction(self.file_name, self.image, nuclei, self.classes, self.colors)

    @torch.no_grad()
    def _find(self) -> list[PromptedNucleus]:
        """The nuclei of the model's own prompts, as it predicts them."""
        with self._precision():
            images = ImageList.from_tensors([self._normalized])
            (proposal,), _ = self._model.proposal_generator(images, None)
            masks = self._masks(proposal.proposal_points)
            found = self._model.to_instances(proposal, masks)
        return _listed(found.pred_points, found.pred_classes, found.scores, found.pred_masks)

    @torch.no_grad()
    def _cut_out(self, points: Tensor, classes: Tensor) -> list[PromptedNucleus]:
        """A nucleus for each point (N, 2) that gets a mask."""
        with self._precision():
            masks = self._masks(points.to(self._model.device))
        found, pasted = masks.prompts.cpu(), masks.paste(*self.image.shape[:2])
        return _listed(points[found], classes[found], masks.scores, pasted)

    def _masks(self, points: Tensor) -> NucleusMasks:
        """Of prompts (P, 2), one window after the other, so that the maps of each can be kept."""
        (masks,) = self._model.cut_out([self._normalized], [points], self._encode, 1)
        return masks

    def _encode(self, images: Tensor) -> ImageMaps:
        """As `CFRSAM.encode`, once for each window."""
        key = images.shape, images.cpu().numpy().tobytes()
        if key not in self._maps:
            self._maps[key] = self._model.encode(images)
        return self._maps[key]

    def _precision(self) -> AbstractContextManager:
        return self._model.precision.context(self._model.device, training=False)

    def _nearest_category(self, x: float, y: float) -> int:
        if not self.nuclei:
            return 0
        return self.nuclei[int(np.argmin(self._distances(x, y)))].category

    def _distances(self, x: float, y: float) -> list[float]:
        """Of all prompts from a place, in px."""
        return [math.dist(each.point, (x, y)) for each in self.nuclei]


def _listed(
    points: Tensor, classes: Tensor, scores: Tensor, masks: Tensor
) -> list[PromptedNucleus]:
    return [
        PromptedNucleus(tuple(point), category, score, mask)
        for point, category, score, mask in zip(
            points.tolist(), classes.tolist(), scores.tolist(), masks.cpu().numpy(), strict=True
        )
    ]
