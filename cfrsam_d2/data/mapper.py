"""From a dataset dict to what the models take.

Letters: A annotations of an image, N nuclei of which a pixel is left, P prompts of n corners (see
`structures.prompts`), H×W px.
"""

import random
from collections.abc import Iterator
from typing import Any

import albumentations as A
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.structures import BitMasks, Boxes, Instances

from ..errors import UserError
from ..structures.masks import BoxMask
from ..structures.prompts import upright
from ..structures.rle import decode_mask
from .augmentation import build_augmentation
from .image import read_rgb
from .keypoints import from_keypoints, to_keypoints
from .label_layers import Nucleus, pack_layers, unpack_layers
from .magnification import (
    DEFAULT_MAGNIFICATION,
    rescaled_size,
    resize_image,
    resize_mask,
    resize_points,
)
from .points import piece_at
from .prompts import prompt_per_nucleus


class NucleusMapper:
    """Read an image and augment it together with the masks and the points of its nuclei.

    The callable takes a dataset dict and returns a copy of it with

    * "image": (3, H, W) uint8 tensor, RGB;
    * "instances" (training): Instances of the nuclei of which a pixel is left; N may be 0.
      gt_classes (N,) int64, -1 where unknown. gt_masks (N, H, W), all pixels of each, in however
      many pieces.
      gt_points (N, 2) float32 x, y in pixel-index units: the annotations' points, which have moved
      as keypoints; NaN where a point has left the image. gt_boxes (N, 4) XYXY, around the piece of
      the mask that the point lies on. Where the dict has "prompts": proposal_prompts (N, 2·n)
      float32, the one on each nucleus or NaN, see `prompt_per_nucleus`;

    and without "annotations" and "prompts". "height" and "width" stay those of the file. Without
    INPUT.MAGNIFICATION the image is the file's in evaluation, untouched.
    """

    @configurable
    def __init__(self, *, augmentation: A.Compose | None, magnification: float = 0) -> None:
        """
        Args:
            augmentation: of training, as `augmentation.compose` makes them; None maps for
                evaluation.
            magnification: to which images are rescaled before anything else; 0: none are.
        """
        self.augmentation = augmentation
        self.magnification = magnification

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool) -> dict[str, Any]:
        node = cfg.INPUT
        keys = node.AUGMENTATION, node.TRAIN_CROP_SIZE, node.STAIN_AUGMENTATION
        return {
            "augmentation": build_augmentation(*keys) if is_train else None,
            "magnification": cfg.INPUT.MAGNIFICATION,
        }

    def __call__(
        self, dataset_dict: dict[str, Any], rng: np.random.Generator | None = None
    ) -> dict[str, Any]:
        """
        Args:
            dataset_dict: one image of a registered dataset; not changed. May have "prompts" for
                stage 2, (P, 2·n) in px of the image at INPUT.MAGNIFICATION.
            rng: all randomness of the augmentation comes from it: equal generators give equal
                results, in whatever process. None: a fresh one.

        Raises:
            UserError: the image cannot be read, or image or masks are not of the size that the
                dataset states.
        """
        dataset_dict = dict(dataset_dict)
        annotations = dataset_dict.pop("annotations", [])
        prompts = dataset_dict.pop("prompts", None)
        # 1. The image.
        image = read_rgb(dataset_dict["file_name"])
        _check_size(dataset_dict, image)
        magnification = dataset_dict.get("magnification", DEFAULT_MAGNIFICATION)
        original_size = image.shape[:2]
        size = rescaled_size(original_size, magnification, self.magnification)
        image = resize_image(image, size)
        # 2. In training: the nuclei, augmented with the image.
        if self.augmentation is not None:
            annotations = [a for a in annotations if not a.get("iscrowd", 0)]
            masks = _decode_masks(dataset_dict, annotations)
            masks = (resize_mask(mask, original_size, size) for mask in masks)
            points = resize_points(_points(annotations), original_size, size)
            corners = np.empty((0, 2)) if prompts is None else prompts.reshape(-1, 2)
            image, nuclei, moved = _augment(
                self.augmentation,
                image,
                pack_layers(masks, *size),
                np.concatenate([points, corners]),
                rng or np.random.default_rng(),
            )
            # 3. What is left of them.
            points, corners = np.split(moved, [len(points)])
            classes = [annotation["category_id"] for annotation in annotations]
            instances = _build_instances(nuclei, classes, points, image.shape[:2])
            if prompts is not None:
                prompts = upright(torch.from_numpy(corners.reshape(prompts.shape))).numpy()
                masks = instances.gt_masks.tensor.numpy()
                instances.proposal_prompts = torch.from_numpy(prompt_per_nucleus(prompts, masks))
            dataset_dict["instances"] = instances
        # 4. The tensor.
        dataset_dict["image"] = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return dataset_dict


def _check_size(dataset_dict: dict[str, Any], image: np.ndarray) -> None:
    height, width = image.shape[:2]
    if (height, width) != (dataset_dict["height"], dataset_dict["width"]):
        raise UserError(
            f"{dataset_dict['file_name']} has {width}×{height} px but its dataset says "
            f"{dataset_dict['width']}×{dataset_dict['height']}: "
            "put back the image that was annotated, or correct the JSON's width and height"
        )


def _decode_masks(
    dataset_dict: dict[str, Any], annotations: list[dict[str, Any]]
) -> Iterator[BoxMask]:
    """Yield one mask per annotation."""
    size = [dataset_dict["height"], dataset_dict["width"]]
    for number, annotation in enumerate(annotations):
        rle = annotation["segmentation"]
        if list(rle["size"]) != size:
            raise UserError(
                f"mask {number} of {dataset_dict['file_name']} has the RLE size {rle['size']}, "
                f"height first, but the image has {size}: convert the dataset again"
            )
        yield decode_mask(rle)


def _augment(
    augmentation: A.Compose,
    image: np.ndarray,
    layers: np.ndarray,
    points: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[Nucleus], np.ndarray]:
    """The image, the nuclei of its layers and any points (P, 2), see `from_keypoints`."""
    # `set_random_seed` would seed every step alike, so that all of them decide alike (a horizontal
    # flip would always come with a vertical one): the steps share one state.
    augmentation.set_random_state(rng, random.Random(int(rng.integers(2**63))))
    keypoints = to_keypoints(points, *image.shape[:2])
    augmented = augmentation(image=image, mask=layers, keypoints=keypoints)
    points = from_keypoints(augmented["keypoints"], len(points))
    return augmented["image"], unpack_layers(augmented["mask"]), points


def _points(annotations: list[dict[str, Any]]) -> np.ndarray:
    """The annotations' points, (A, 2)."""
    return np.array([annotation["point"] for annotation in annotations], float).reshape(-1, 2)


def _build_instances(
    nuclei: list[Nucleus], classes: list[int], points: np.ndarray, image_size: tuple[int, int]
) -> Instances:
    """The nuclei with the classes and points of their annotations, A and (A, 2)."""
    masks = np.zeros((len(nuclei), *image_size), dtype=bool)
    boxes = np.zeros((len(nuclei), 4), dtype=np.float32)
    for k, (index, mask) in enumerate(nuclei):
        masks[k][mask.in_image] = mask.pixels
        boxes[k] = piece_at(mask, points[index]).box
    annotation = torch.tensor([nucleus.index for nucleus in nuclei], dtype=torch.int64)
    instances = Instances(image_size)
    instances.gt_boxes = Boxes(torch.from_numpy(boxes))
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)[annotation]
    instances.gt_masks = BitMasks(torch.from_numpy(masks))
    instances.gt_points = torch.from_numpy(points)[annotation]
    return instances
