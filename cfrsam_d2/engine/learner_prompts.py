"""The prompts that train stage 2: the frozen learner's on the clean training images, found once.

`OUTPUT_DIR/training_prompts.npz` keeps them for whoever resumes or repeats the run. It holds the
`prompts` of all n images below each other, the `counts` (n,) of each one's, and the `key` of the
weights and images that they belong to.
"""

import hashlib
import json
import logging
import zlib
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.utils import comm

from ..checkpoint.frozen import checksum
from ..data.mapper import NucleusMapper
from ..errors import UserError
from ..files import written_whole
from ..modeling.meta_arch import CFRSAM

logger = logging.getLogger(__name__)

FILE_NAME = "training_prompts.npz"


def learner_prompts(
    model: CFRSAM, cfg: CfgNode, dataset_dicts: list[dict[str, Any]]
) -> list[np.ndarray]:
    """The learner's prompts on each image as evaluation sees it, from the file or found anew.

    Args:
        model: with the weights of its prompt learner.
        cfg: of the training.
        dataset_dicts: the n training images.

    Returns:
        n arrays (P, 2), (P, 4) or (P, 6), float32, see `structures.prompts`; in px of the image at
        INPUT.MAGNIFICATION.
    """
    path = Path(cfg.OUTPUT_DIR) / FILE_NAME
    key = _key(model, cfg, dataset_dicts)
    found = _read(path, key, len(dataset_dicts))
    if found is None:
        # Processes read before any of them writes: all wait here for the prompts of all.
        found = list(chain(*comm.all_gather(_predict(model, cfg, dataset_dicts))))
        if comm.is_main_process():
            with written_whole(path) as partial, partial.open("wb") as file:
                counts = [len(prompts) for prompts in found]
                np.savez(file, key=key, counts=counts, prompts=np.concatenate(found))
    return found


def _key(model: CFRSAM, cfg: CfgNode, dataset_dicts: list[dict[str, Any]]) -> str:
    """A digest of all that the prompts follow from: the weights, keys and images."""
    follows_from = {
        "weights": checksum(model, "proposal_generator."),
        "keys": [
            cfg.MODEL.PROMPT_LEARNER,
            cfg.MODEL.PROPOSAL_GENERATOR.NAME,
            cfg.MODEL.CFRSAM.BOX_BESIDE_POINT,
            cfg.MODEL.PIXEL_MEAN,
            cfg.MODEL.PIXEL_STD,
            cfg.INPUT.MAGNIFICATION,
            cfg.TEST.AMP,
            cfg.TEST.AUG.POINTS,
        ],
        "images": [
            (each["file_name"], _file_checksum(each["file_name"]), each.get("magnification"))
            for each in dataset_dicts
        ],
    }
    return hashlib.sha256(json.dumps(follows_from).encode()).hexdigest()


def _file_checksum(path: str) -> int:
    try:
        return zlib.crc32(Path(path).read_bytes())
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}): convert the dataset again"
        ) from error


def _read(path: Path, key: str, num_images: int) -> list[np.ndarray] | None:
    """The prompts in the file; None if it is missing, damaged, or of another key."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            its_key, counts, prompts = (arrays[name] for name in ("key", "counts", "prompts"))
        if its_key != key:
            logger.info("%s is of other weights, keys or images: finding the prompts anew", path)
            return None
        if len(counts) != num_images or counts.sum() != len(prompts):
            raise ValueError("counts do not fit")
    except Exception as error:  # damaged bytes make NumPy and zipfile raise almost anything
        logger.warning("%s is damaged (%s): finding the prompts anew", path, error)
        return None
    logger.info("Training prompts from %s", path)
    return np.split(prompts, counts.cumsum()[:-1])


def _predict(model: CFRSAM, cfg: CfgNode, dataset_dicts: list[dict[str, Any]]) -> list[np.ndarray]:
    """The prompts on this process's share of the images, in order."""
    logger.info("Finding the training prompts on %d images", len(dataset_dicts))
    loader = build_detection_test_loader(
        dataset_dicts,
        mapper=NucleusMapper(cfg, is_train=False),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    return [
        prompts.float().cpu().numpy()
        for batch in loader
        for prompts in model.find_prompts([each["image"] for each in batch])
    ]
