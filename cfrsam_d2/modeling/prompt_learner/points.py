"""The points of stage 1: anchors on a grid, maps sampled at points, and which points are proposed.

B images, H×W px, gh×gw = A anchors, h×w cells of a map, N points, K classes. Points are
(x, y) in px.
"""

import torch
import torch.nn.functional as F
from detectron2.structures import Instances
from torch import Tensor


def anchor_grid(height: int, width: int, stride: int, device: torch.device | None = None) -> Tensor:
    """One anchor per `stride`-sized cell of an image, cells cut by the border included.

    Column j is at `j·stride + r/2`, where r is the width of the last column's cell (`width mod
    stride`, or `stride` if that is 0); rows likewise. Padding of the image belongs to it here.

    Returns:
        (gh, gw, 2) = (⌈H/stride⌉, ⌈W/stride⌉, 2) points (x, y) in px, float32.
    """
    y, x = (
        torch.arange(-(-length // stride), dtype=torch.float32, device=device) * stride
        + (length % stride or stride) / 2
        for length in (height, width)
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def sample_at_points(
    feature: Tensor, points: Tensor, stride: int, *, centred: bool = False
) -> Tensor:
    """Sample a map bilinearly at image points; outside of the map there are zeros.

    Args:
        feature: (B, C, h, w) map.
        points: (B, gh, gw, 2) points (x, y) in px of the image.
        stride: px of the image per cell of the map.
        centred: sample everywhere as published for the image's middle, at cell p/stride - 1/2; by
            default, as published, at (p/stride)·(1 - 1/w), which depends on the image's width.

    Returns:
        (B, C, gh, gw) samples.
    """
    grid = torch.stack(
        [2 * points[..., axis] / (stride * feature.shape[-1 - axis]) - 1 for axis in (0, 1)], dim=-1
    )
    return F.grid_sample(
        feature.to(points.dtype), grid, padding_mode="zeros", align_corners=not centred
    )


def enlarge_mask(
    logits: Tensor, size: tuple[int, int], stride: int, *, centred: bool = False
) -> Tensor:
    """Bring the auxiliary mask to the size of its image, bilinearly.

    Args:
        logits: (B, 1, h + 2, w + 2), a map with a cell more at each side.
        size: H, W of the image in px.
        stride: px of the image per cell of the map.
        centred: see `sample_at_points`; by default the outermost cells lie on the image's outermost
            pixels.

    Returns:
        (B, 1, H, W).
    """
    if not centred:
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
    logits = F.interpolate(logits, scale_factor=stride, mode="bilinear", align_corners=False)
    return logits[..., stride : stride + size[0], stride : stride + size[1]]


@torch.no_grad()
def foreground_points(
    points: Tensor,
    logits: Tensor,
    mask_logits: Tensor | None,
    cells: Tensor,
    image_size: tuple[int, int],
    *,
    keep_on_mask_only: bool,
    foreground_thresh: float = 0.0,
    class_probs: bool = False,
) -> Instances:
    """The anchors of one image that see a nucleus, their points moved into the image.

    As published, these are the ones that find a class likelier than background. With a threshold,
    they are those whose classes' probabilities add up to it: also where several compete.

    Args:
        points: (A, 2) points (x, y) in px.
        logits: (A, K+1) logits, background last.
        mask_logits: (H, W) logits of the foreground, H×W at least `image_size`; read with
            `keep_on_mask_only` alone.
        cells: (A, 2) upper left corners x, y of the anchors' cells; those in the padding see none.
        image_size: height and width of the image without padding, in px.
        keep_on_mask_only: drop points in whose pixel, coordinates cut off, the mask logit is 0 or
            less.
        foreground_thresh: that threshold; 0: as published.
        class_probs: whether `proposal_class_probs` are wanted.

    Returns:
        Instances with `proposal_points` (N, 2), `proposal_classes` (N,) in 0..K-1,
        `proposal_scores` (N,), the probability of the class (with a threshold, of all classes), and
        `proposal_anchors` (N,), the index of each one's anchor; if wanted `proposal_class_probs`
        (N, K), of all classes, which add up to 1 without background.
    """
    probabilities = logits.float().softmax(dim=-1)
    if foreground_thresh:
        scores, classes = 1 - probabilities[:, -1], logits[:, :-1].argmax(dim=-1)
        is_nucleus = scores >= foreground_thresh
    else:
        scores, classes = probabilities.max(dim=-1)
        is_nucleus = classes != logits.shape[-1] - 1
    height, width = image_size
    points = points.clamp(min=0).minimum(points.new_tensor([width - 1, height - 1]))
    keep = is_nucleus & (cells < cells.new_tensor([width, height])).all(1)
    if keep_on_mask_only:
        assert mask_logits is not None
        x, y = points.long().unbind(dim=-1)
        keep &= mask_logits[y, x] > 0
    kept = keep.nonzero().squeeze(1)
    found = Instances(
        image_size,
        proposal_points=points[kept],
        proposal_classes=classes[kept],
        proposal_scores=scores[kept],
        proposal_anchors=kept,
    )
    if class_probs:
        found.proposal_class_probs = logits[kept, :-1].float().softmax(dim=-1)
    return found
