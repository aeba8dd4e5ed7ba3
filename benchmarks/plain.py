"""The plain formulation of CFR-SAM, as it was published: what the benchmarks compare with.

Same weights, same results, none of the short cuts of docs/performance.md.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from cfrsam_d2.modeling.mask_head import bgmr, layers
from cfrsam_d2.modeling.sam.published import as_published

ALL_AT_ONCE = 10**6  # prompts a chunk


@contextmanager
def plain(model: nn.Module) -> Iterator[None]:
    """A context in which `model`, a CFRSAM, computes plainly.

    Windows of the encoder with their padding, three unfolded copies of every adapter's map, every
    nucleus refined at full frame, all prompts at once, torchvision's deformable convolution.
    """
    head = model.mask_head
    with ExitStack() as changed:
        changed.enter_context(as_published(model.backbone))
        for owner, name, value in (
            (layers, "deform_conv3x3", _torchvisions),
            (bgmr, "_smooth", lambda x: F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)),
            (head, "crop_sizes", []),
            (head, "prompts_per_chunk", ALL_AT_ONCE),
        ):
            changed.enter_context(patch.object(owner, name, value))
        yield


def _torchvisions(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    return deform_conv2d(x, offset.flatten(1, 2), weight, padding=1, mask=mask)
