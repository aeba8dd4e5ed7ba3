"""Pieces of nuclei among the nuclei of an image: fragments to join, slivers at the edge to drop.

N nuclei of one image of H×W px.
"""

import numpy as np
import scipy.sparse
import torch
from detectron2.structures import Instances
from scipy.sparse.csgraph import connected_components

from ..structures.masks import BoxMasks


def merge_fragments(nuclei: Instances, min_share: float) -> Instances:
    """Join nuclei of one class that lie in each other, directly or through others.

    Args:
        nuclei: with `pred_masks`, each of a pixel at least, `pred_boxes` and `pred_classes`;
            highest score first.
        min_share: two are one nucleus if at least this share of the smaller mask lies in the other;
            above 0.

    Returns:
        Of each nucleus the union of its masks, and of all else what its best one has; highest score
        first.
    """
    classes = nuclei.pred_classes.cpu().numpy()
    shares = overlapping_shares(nuclei.pred_masks)
    joined = (shares.data >= min_share) & (classes[shares.row] == classes[shares.col])
    pairs = (shares.row[joined], shares.col[joined])
    graph = scipy.sparse.coo_array((joined[joined], pairs), shares.shape)
    _, group = connected_components(graph, directed=False)
    _, first, group = np.unique(group, return_index=True, return_inverse=True)
    best, number = (
        torch.from_numpy(each).to(nuclei.scores.device)
        for each in np.unique(first[group], return_inverse=True)
    )
    merged = nuclei[best]
    merged.pred_masks = nuclei.pred_masks.unions(number)
    merged.pred_boxes = merged.pred_masks.get_bounding_boxes()
    return merged


def overlapping_shares(masks: BoxMasks) -> scipy.sparse.coo_array:
    """Which share of the smaller mask each pair of masks has in common, (N, N).

    Pairs without a common pixel are left out.
    """
    owner, x, y = (each.cpu().numpy() for each in masks.inside())
    height, width = masks.image_size
    pixels = (np.ones(len(owner), dtype=np.int64), (owner, y * width + x))
    covers = scipy.sparse.csr_array(pixels, (len(masks), height * width))
    common = (covers @ covers.T).tocoo()
    areas = masks.areas().cpu().numpy()
    common.data = common.data / np.minimum(areas[common.row], areas[common.col])
    return common


def drop_slivers(nuclei: Instances, min_area: int) -> Instances:
    """Drop the nuclei that the image's edge has left little of.

    Args:
        nuclei: with `pred_masks`.
        min_area: px that a mask which touches the edge has to have.
    """
    masks: BoxMasks = nuclei.pred_masks
    height, width = masks.image_size
    x0, y0, x1, y1 = masks.boxes.unbind(dim=1)
    touches = (x0 == 0) | (y0 == 0) | (x1 == width) | (y1 == height)
    return nuclei[~touches | (masks.areas() >= min_area)]
