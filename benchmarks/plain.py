"""The plain formulation of CFR-SAM, as it was published: what the benchmarks compare with."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from cfrsam_d2.published import as_published
from torch import nn

ALL_AT_ONCE = 10**6  # prompts a chunk


@contextmanager
def plain(model: nn.Module) -> Iterator[None]:
    """A context in which `model`, a CFRSAM, computes plainly.

    As published, every nucleus refined at full frame, all prompts at once.
    """
    head = model.mask_head
    with ExitStack() as changed:
        changed.enter_context(as_published(model))
        changed.enter_context(patch.object(head, "crop_sizes", []))
        changed.enter_context(patch.object(head, "train_crop_sizes", []))
        changed.enter_context(patch.object(head.bgmr, "checkpoint_activations", False))
        changed.enter_context(patch.object(head, "prompts_per_chunk", ALL_AT_ONCE))
        yield
