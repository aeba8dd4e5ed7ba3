"""From one image to its nuclei: a config, trained weights, and a call.

N nuclei, H×W px.
"""

import logging
import os
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances
from PIL import Image

from .data.image import read_rgb
from .data.magnification import (
    DEFAULT_MAGNIFICATION,
    check_magnification,
    rescaled_size,
    resize_image,
)
from .data.palette import class_colors
from .data.pil_image import rgb_from_pil
from .data.pixel_size import FileMagnifications
from .data.pixels import rgb_from_array
from .engine import build_trained_model, load_config
from .errors import UserError
from .model_zoo import small_model

logger = logging.getLogger(__name__)

FAR = 2  # times the model's magnification, or less than its half: what it was not trained on


class NucleusPredictor:
    """Finds the nuclei of images with a trained model of either stage.

    Attributes:
        cfg: the config of the model.
        classes: names of the classes by index.
        colors: RGB triples of the classes by index.
        predicts_masks: False for stage 1 alone, which predicts points.
    """

    def __init__(
        self,
        config: CfgNode | str | os.PathLike | None = None,
        weights: str | os.PathLike | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        """
        Args:
            config: a config file, or a config that `load_config` has read; None: the small model
                that comes with the project, for research alone (docs/model-card.md).
            weights: of the trained model; None: the config's MODEL.WEIGHTS, or else the best or
                final ones in its OUTPUT_DIR.
            overrides: key, value, key, value, … change the config.

        Raises:
            UserError: the config or the weights are not usable (see `load_config` and
                `build_trained_model`), or the config names no dataset to take the classes from.
        """
        if isinstance(config, CfgNode):
            cfg = config.clone()
            cfg.defrost()
            cfg.merge_from_list(list(overrides))
        else:
            cfg = load_config(os.fspath(config or small_model()), overrides)
        if weights is not None:
            cfg.MODEL.WEIGHTS = os.fspath(weights)
        self.cfg = cfg
        metadata = MetadataCatalog.get(_dataset_of_classes(cfg))
        self.classes: list[str] = list(metadata.thing_classes)
        colors = metadata.get("thing_colors", class_colors(len(self.classes)))
        self.colors: list[tuple[int, int, int]] = [tuple(color) for color in colors]
        self.model = build_trained_model(cfg)
        self.predicts_masks = hasattr(self.model, "mask_head")
        self._file_magnifications = FileMagnifications()
        self._said_far = False

    @torch.no_grad()
    def __call__(
        self,
        image: str | os.PathLike | Image.Image | np.ndarray,
        magnification: float | None = None,
    ) -> Instances:
        """Find the nuclei of one image.

        Args:
            image: path of an image file, PIL image, or array: (H, W, 3) RGB, (H, W, 4) or (H, W),
                uint8 or uint16. All become 8-bit RGB as in training (`cfrsam_d2.data.image`).
            magnification: of the image, which the model then sees at INPUT.MAGNIFICATION; None:
                what an image file states (see `file_magnification`), else as it is.

        Returns:
            Instances of size (H, W) on the CPU: `pred_points` (N, 2) x, y in pixel-index units,
            `pred_classes` (N,) indices into `classes`, `scores` (N,) and, of the whole of CFR-SAM,
            `pred_boxes` (N, 4) XYXY and `pred_masks`, the N `BoxMasks`.

        Raises:
            UserError: the image cannot be read or is not such an image, or see
                `check_magnification`.
        """
        rgb = read_as_rgb(image)
        if isinstance(image, str | os.PathLike):
            magnification = self.file_magnification(image, magnification)
        height, width = rgb.shape[:2]
        rgb = self.as_seen(rgb, magnification)
        tensor = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        (output,) = self.model([{"image": tensor, "height": height, "width": width}])
        return output["instances"].to("cpu")

    def as_seen(self, rgb: np.ndarray, magnification: float | None) -> np.ndarray:
        """An image, (H, W, 3), at the magnification at which the model works; None: as it is.

        Raises:
            UserError: see `check_magnification`.
        """
        if magnification is None:
            return rgb
        self.check_magnification(magnification)
        wanted = self.cfg.INPUT.MAGNIFICATION
        self._say_if_far(magnification, wanted)
        size = (rgb.shape[0], rgb.shape[1])
        return resize_image(rgb, rescaled_size(size, magnification, wanted))

    def file_magnification(
        self, path: str | os.PathLike, given: float | None = None
    ) -> float | None:
        """The magnification of an image file: what is given, else what the file states.

        The log says once if a file states another than the one that counts.

        Returns:
            None where nothing is stated, or INPUT.MAGNIFICATION is 0: images are taken as they are.
        """
        path = os.fspath(path)
        if given is None and not self.cfg.INPUT.MAGNIFICATION:
            instead = (
                "it is taken as it is: set INPUT.MAGNIFICATION, unless the model was trained on "
                "such images"
            )
            self._file_magnifications.choose(path, DEFAULT_MAGNIFICATION, instead)
            return None
        instead = f"{given} was given as the magnification, which counts"
        return self._file_magnifications.choose(path, given, instead)

    def _say_if_far(self, magnification: float, wanted: float) -> None:
        """Say once in the log that an image is of much more or less than the model was made for."""
        if self._said_far or max(magnification, wanted) / min(magnification, wanted) <= FAR:
            return
        self._said_far = True
        logger.warning(
            "an image of %g× is far from the model's %g×: it is rescaled, but what is not in its "
            "pixels, the model cannot see; expect missed nuclei and rough outlines (said once)",
            *(magnification, wanted),
        )

    def check_magnification(self, magnification: float) -> None:
        """
        Raises:
            UserError: it is none, or it is not known at which the model works.
        """
        check_magnification("the magnification", magnification)
        if not self.cfg.INPUT.MAGNIFICATION:
            raise UserError(
                f"the magnification is {magnification}, but INPUT.MAGNIFICATION, the model's, is "
                "0: set it, to 40 for PanNuke's"
            )


def slide_predictor(
    config: CfgNode | str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    overrides: Sequence[str] = (),
) -> NucleusPredictor:
    """A predictor whose points are the same however a slide is cut; arguments as of its own.

    Raises:
        UserError: see `NucleusPredictor`, or the model predicts no masks, is prompted with boxes,
            merges or drops nuclei of whole images, or its resolution is not known.
    """
    sampling = ("MODEL.PROMPT_LEARNER.SAMPLING", "centred")
    predictor = NucleusPredictor(config, weights, [*overrides, *sampling])
    if not predictor.predicts_masks:
        raise UserError("the config is of stage 1, which predicts points: name one of stage 2")
    if predictor.cfg.MODEL.PROPOSAL_GENERATOR.NAME == "BoxProposalGenerator":
        raise UserError(
            "MODEL.PROPOSAL_GENERATOR.NAME prompts with boxes, and slides are segmented by points: "
            "name a config of CentroidProposalGenerator"
        )
    if not predictor.cfg.INPUT.MAGNIFICATION:
        raise UserError(
            "INPUT.MAGNIFICATION, at which the model works, is 0: set it, to 40 for PanNuke's"
        )
    for key in ("MERGE_OVERLAP", "MIN_BORDER_AREA"):
        if value := predictor.cfg.MODEL.CFRSAM[key]:
            raise UserError(
                f"MODEL.CFRSAM.{key} is {value}: it is of the nuclei of whole images, which slides "
                "are not, set it to 0"
            )
    return predictor


def read_as_rgb(image: str | os.PathLike | Image.Image | np.ndarray) -> np.ndarray:
    """Any image that `NucleusPredictor` takes as an (H, W, 3) uint8 RGB array.

    Raises:
        UserError: see `cfrsam_d2.data.image`.
    """
    if isinstance(image, Image.Image):
        return rgb_from_pil(image, "the PIL image")
    if isinstance(image, np.ndarray):
        return rgb_from_array(image)
    return read_rgb(os.fspath(image))


def _dataset_of_classes(cfg: CfgNode) -> str:
    names = (*cfg.DATASETS.TEST, *cfg.DATASETS.VAL, *cfg.DATASETS.TRAIN)
    if not names:
        raise UserError(
            "DATASETS.TEST is empty: name a dataset of the model's classes; it is not read"
        )
    return names[0]
