"""The learner's prompts in a training image: where augmentation moved them, and whose each is.

P prompts of n corners (1 of a point, 2 of a box), x and y in pixel-index units, NaN where one has
left the image; N nuclei.
"""

import numpy as np


def order_corners(prompts: np.ndarray) -> np.ndarray:
    """The first corner of a box is its upper left one, however the image was turned.

    A box that leans afterwards is replaced by the upright one through its two corners; one that has
    lost a corner, whose nucleus is cut off with it, is NaN.

    Args:
        prompts: (P, 2·n).

    Returns:
        (P, 2·n).
    """
    num_corners = prompts.shape[1] // 2
    corners = np.sort(prompts.reshape(len(prompts), num_corners, 2), axis=1)
    return corners.reshape(prompts.shape)


def prompt_per_nucleus(prompts: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Give each nucleus the topmost prompt on it, as released; of two in a row the left one.

    A prompt lies on a nucleus with its middle, and of nuclei that overlap on the first.

    Args:
        prompts: (P, 2·n).
        masks: (N, H, W) bool.

    Returns:
        (N, 2·n) float32; NaN for nuclei on which there is none.
    """
    chosen = np.full((len(masks), prompts.shape[1]), np.nan, dtype=np.float32)
    prompts = prompts[np.isfinite(prompts).all(axis=1)]
    middles = prompts.reshape(len(prompts), prompts.shape[1] // 2, 2).mean(axis=1)
    last = np.array([masks.shape[2] - 1, masks.shape[1] - 1])
    columns, rows = np.rint(middles).astype(int).clip(0, last).T
    if len(masks):
        hits = masks[:, rows, columns]  # (N, P)
        lowest_first = np.lexsort((columns, rows))[::-1]  # so the topmost is assigned last
        hits, prompts = hits[:, lowest_first], prompts[lowest_first]
        on_nucleus = hits.sum(axis=0) > 0
        chosen[hits[:, on_nucleus].argmax(axis=0)] = prompts[on_nucleus]
    return chosen
