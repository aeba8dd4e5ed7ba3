"""Weights as the project ships them: float16, as safetensors, with what they were trained on.

Vectors, which are few numbers, stay as they are: running variances have more range than float16.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from ..errors import UserError
from ..files import write_bytes
from .files import averaged_weights, read_checkpoint


def write_half_precision(checkpoint: Path, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the weights that `load_weights` would take of a checkpoint, at half their size.

    Args:
        checkpoint: of a run.
        path: a .safetensors.
        metadata: goes into its header.

    Raises:
        UserError: a file cannot be read or written, or a weight is too large for float16.
    """
    weights = averaged_weights(read_checkpoint(str(checkpoint)))
    halves = {name: _half(each) for name, each in weights.items()}
    for name, each in halves.items():
        if not each.isfinite().all():
            raise UserError(f"{name} in {checkpoint} does not fit float16: ship it as it is")
    write_bytes(path, save(halves, dict(metadata)))


def _half(weight: Tensor) -> Tensor:
    is_matrix = weight.is_floating_point() and weight.dim() > 1
    return (weight.half() if is_matrix else weight).contiguous()
