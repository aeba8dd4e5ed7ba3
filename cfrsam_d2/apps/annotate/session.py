"""Stage 2 on one image whose prompts come and go; every window is encoded once, every step undone.

N nuclei, H×W px.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from torch import Tensor

from ...data.converters.custom.classes import ClassNames
from ...data.converters.custom.geojson import geojson_nuclei
from ...data.magnification import DEFAULT_MAGNIFICATION
from ...errors import UserError
from ...export import Prediction, best_first
from ...modeling.meta_arch import CFRSAM
from ...modeling.postprocessing import rescale_points, rescale_to_input
from ...predictor import NucleusPredictor, read_as_rgb
from ...structures.masks import BoxMask, BoxMasks

POINT_RADIUS = 4.0  # px around a prompt in which a click means its nucleus
MOST_STEPS = 200  # that can be undone
_FIELDS = ("pred_points", "pred_masks", "pred_classes", "scores")


class AnnotationSession:
    """One image, its nuclei, and the clicks that change them.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        file_name: of the image.
        classes: names by index.
        colors: RGB triples by index.
        magnification: of the image, as far as it is known.
        config: of the model, as YAML.
    """

    def __init__(self, predictor: NucleusPredictor, image: Any, file_name: str) -> None:
        """
        Args:
            predictor: of the whole of CFR-SAM, prompted with points.
            image: as `NucleusPredictor` takes it, which sees a file at the model's magnification.
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
        stated = None
        if isinstance(image, str | os.PathLike):
            stated = predictor.file_magnification(image)
        self.magnification: float = (
            stated or predictor.cfg.INPUT.MAGNIFICATION or DEFAULT_MAGNIFICATION
        )
        self._seen = predictor.as_seen(self.image, stated)
        self.file_name = file_name
        self.classes, self.colors = predictor.classes, predictor.colors
        self.config = predictor.cfg.dump()
        self._states = [self._encode_and_find()]
        self._now = 0
        self._found = self.nuclei

    @property
    def nuclei(self) -> Instances:
        """At first those that the model finds; on the CPU, with `pred_points` (N, 2), `pred_masks`
        (`BoxMasks`), `pred_classes` (N,) and `scores` (N,), the estimated IoU."""
        return self._states[self._now]

    @nuclei.setter
    def nuclei(self, nuclei: Instances) -> None:
        """A step that can be undone; those that were, cannot be done again."""
        self._states = [*self._states[: self._now + 1], nuclei][-MOST_STEPS - 1 :]
        self._now = len(self._states) - 1

    @property
    def can_undo(self) -> bool:
        return self._now > 0

    @property
    def can_redo(self) -> bool:
        return self._now < len(self._states) - 1

    def undo(self) -> str:
        """Take the last step back; returns what was done, in a sentence, as all that follow."""
        if not self.can_undo:
            return "Nothing to undo."
        self._now -= 1
        return f"Undone: {len(self.nuclei)} nuclei."

    def redo(self) -> str:
        if not self.can_redo:
            return "Nothing to redo."
        self._now += 1
        return f"Done again: {len(self.nuclei)} nuclei."

    def reset(self) -> str:
        """Go back to the nuclei that the model finds."""
        self.nuclei = self._found
        return "Back to what the model finds."

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

    def change_class(self, x: float, y: float, category: int) -> str:
        """Give the nucleus at a place in the image another class."""
        index = self.nucleus_at(x, y)
        if index is None:
            return "No nucleus here."
        changed = self.nuclei[:]
        changed.pred_classes = changed.pred_classes.clone()
        changed.pred_classes[index] = category
        self.nuclei = changed
        return f"Class {self.classes[category]} now."

    def read_geojson(self, path: Path) -> str:
        """Take the nuclei of a GeoJSON file, this program's or QuPath's, in place of all.

        Raises:
            UserError: see `geojson_nuclei`.
        """
        height, width = self.image.shape[:2]
        classes = ClassNames(Path("the model"), dict(enumerate(self.classes, start=1)))
        changes: Counter[str] = Counter()
        nuclei = [*geojson_nuclei(path, (height, width), classes, changes)]
        masks = BoxMasks.from_box_masks([mask for mask, _ in nuclei], (height, width))
        self.nuclei = Instances(
            (height, width),
            pred_points=masks.centroids().float(),
            pred_masks=masks,
            pred_classes=torch.tensor([category for _, category in nuclei], dtype=torch.int64),
            scores=torch.ones(len(nuclei)),
        )
        left_out = "".join(f"; {count} {what}" for what, count in changes.items())
        return f"Read {len(nuclei)} nuclei{left_out}."

    def prediction(self) -> Prediction:
        """The nuclei as they are, for `cfrsam_d2.export`."""
        nuclei = best_first(self.nuclei)
        return Prediction(self.file_name, self.image, nuclei, self.classes, self.colors)

    @torch.no_grad()
    def _encode_and_find(self) -> Instances:
        """Encode the image's windows, and find the nuclei of the model's own prompts."""
        model = self._model
        pixels = torch.from_numpy(np.ascontiguousarray(self._seen.transpose(2, 0, 1)))
        images = [model.normalize(pixels)]
        with model.precision.context(model.device, training=False):
            self._windows = [*model.encode_windows(images)]
            (found,) = model.find_nuclei(model.propose(images), self._windows)
        return self._in_image(found)

    @torch.no_grad()
    def _segment(self, x: float, y: float, category: int) -> Instances:
        """The nucleus of a prompt, or none; the nearest others are its negative prompts, if any."""
        model = self._model
        nearest = self._distances(x, y).argsort()[: model.negative_prompts]
        click = torch.tensor([[x, y]], dtype=torch.float32)
        points = torch.cat([click, self.nuclei.pred_points[nearest]])
        seen_size = self._seen.shape[:2]
        points = rescale_points(points, self.image.shape[:2], seen_size)
        proposal = Instances(
            seen_size,
            proposal_points=points,
            proposal_classes=torch.full((len(points),), category),
        )
        with model.precision.context(model.device, training=False):
            (found,) = model.segment(self._windows, [proposal.to(model.device)])
        of_click = (found.pred_points == points[:1].to(found.pred_points)).all(dim=1)
        return self._in_image(found[of_click])

    def _in_image(self, found: Instances) -> Instances:
        """Nuclei of what the model sees in px of the image, on the CPU."""
        height, width = self.image.shape[:2]
        nuclei = rescale_to_input(found.to("cpu"), {"height": height, "width": width})
        return Instances((height, width), **{name: nuclei.get(name) for name in _FIELDS})

    def _nearest_category(self, x: float, y: float) -> int:
        if len(self.nuclei) == 0:
            return 0
        return int(self.nuclei.pred_classes[self._distances(x, y).argmin()])

    def _distances(self, x: float, y: float) -> Tensor:
        """Of all prompts from a place, in px, (N,)."""
        return (self.nuclei.pred_points - torch.tensor([x, y])).norm(dim=1)


def _covers(mask: BoxMask, column: int, row: int) -> bool:
    x0, y0, x1, y1 = mask.box
    return y0 <= row < y1 and x0 <= column < x1 and bool(mask.pixels[row - y0, column - x0])
