"""Run BGMR, or what is in its place, on a window around each nucleus, and lay the result back.

R nuclei, H×W px of the frame.
"""

import torch
from torch import nn

from .crops import crop, paste
from .windows import ALIGNMENT, CropLadder

# Logit of what lies outside a nucleus's window: background beyond doubt.
OUTSIDE_LOGIT = -20.0


def refine(
    refiner: nn.Module,
    detail: torch.Tensor,
    deep_features: torch.Tensor,
    mask_features: torch.Tensor,
    prompt_image: torch.Tensor,
    boxes: torch.Tensor,
    ladder: CropLadder,
    *,
    enlarge: bool,
) -> tuple[torch.Tensor, ...]:
    """The logits that the refiner gives, the refined ones first, at full frame: each (R, H, W).

    Args:
        refiner: BGMR, or what is in its place.
        detail: D of each image, from the refiner's `detail`, (B, 32, H, W).
        deep_features: G of each image, (B, 32, H/4, W/4).
        mask_features: U of each nucleus, (R, 32, H/4, W/4).
        prompt_image: index of each nucleus's image, (R,).
        boxes: what each window has to hold, x0, y0, x1, y1 in px, (R, 4).
        ladder: the sizes of windows.
        enlarge: refine a nucleus again in a larger window if its mask reaches the window's edge.
    """
    rungs = ladder.rungs(boxes)
    frames, places, count = [], torch.zeros_like(rungs), 0  # of all windows; each nucleus's last
    for rung, (height, width) in enumerate(ladder.sizes):
        nuclei = (rungs == rung).nonzero().squeeze(1)
        if len(nuclei) == 0:
            continue
        corners = ladder.windows(boxes[nuclei], rung)
        images = prompt_image[nuclei]
        quarter = (corners // ALIGNMENT, (height // ALIGNMENT, width // ALIGNMENT))
        outputs = refiner(
            crop(detail, images, corners, (height, width)),
            crop(mask_features, nuclei, *quarter),
            crop(deep_features, images, *quarter),
        )
        frames.append([paste(each, corners, ladder.frame_size, OUTSIDE_LOGIT) for each in outputs])
        places[nuclei] = torch.arange(count, count + len(nuclei), device=places.device)
        count += len(nuclei)
        if enlarge:
            rungs[nuclei] += _reach_edge(outputs[0] > 0, corners, ladder.frame_size)
    return tuple(torch.cat(of_kind)[places] for of_kind in zip(*frames, strict=True))


def _reach_edge(masks: torch.Tensor, corners: torch.Tensor, frame_size: tuple[int, int]):
    """Whether a mask (n, h, w) reaches an edge of its window that is not the frame's: (n,)."""
    height, width = masks.shape[-2:]
    x, y = corners.unbind(dim=1)
    left = masks[:, :, 0].any(dim=1) & (x > 0)
    right = masks[:, :, -1].any(dim=1) & (x + width < frame_size[1])
    top = masks[:, 0].any(dim=1) & (y > 0)
    bottom = masks[:, -1].any(dim=1) & (y + height < frame_size[0])
    return left | right | top | bottom
