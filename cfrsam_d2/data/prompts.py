"""The learner's prompts in a training image: whose each is.

P prompts of n corners as in `structures.prompts`, NaN where one has left the image; N nuclei.
"""

import numpy as np
import torch

from ..structures.prompts import centers


def prompt_per_nucleus(prompts: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Give each nucleus the topmost prompt on it, as released; of two in a row the left one.

    A prompt lies on a nucleus with its point, or without one with the middle of its box, and of
    nuclei that overlap on the first.

    Args:
        prompts: (P, 2·n).
        masks: (N, H, W) bool.

    Returns:
        (N, 2·n) float32; NaN for nuclei on which there is none.
    """
    chosen = np.full((len(masks), prompts.shape[1]), np.nan, dtype=np.float32)
    prompts = prompts[np.isfinite(prompts).all(axis=1)]
    middles = centers(torch.from_numpy(prompts)).numpy()
    last = np.array([masks.shape[2] - 1, masks.shape[1] - 1])
    columns, rows = np.rint(middles).astype(int).clip(0, last).T
    if len(masks):
        hits = masks[:, rows, columns]  # (N, P)
        lowest_first = np.lexsort((columns, rows))[::-1]  # so the topmost is assigned last
        hits, prompts = hits[:, lowest_first], prompts[lowest_first]
        on_nucleus = hits.sum(axis=0) > 0
        chosen[hits[:, on_nucleus].argmax(axis=0)] = prompts[on_nucleus]
    return chosen
