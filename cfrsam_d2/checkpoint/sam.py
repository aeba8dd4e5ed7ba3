"""Load Segment Anything's weights as Meta distributes them."""

import hashlib
import re
from pathlib import Path

from detectron2.modeling.backbone import Backbone
from torch import Tensor, nn

from ..errors import UserError
from ..modeling.mask_head import PointPromptedMaskHead
from ..modeling.sam import SAMEncoder
from .files import read_weights

SOURCE = "https://github.com/facebookresearch/segment-anything#model-checkpoints"
# Meta ends a file's name with the start of its MD5, as in sam_vit_b_01ec64.pth.
_HASH_IN_NAME = re.compile(r"^sam_vit_[blh]_([0-9a-f]{6})\.pth$")

_ENCODER = "image_encoder."
_STATISTICS = ("pixel_mean", "pixel_std")  # which some files have; the config has them, too
_NAMES = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}  # by channels


def load_sam_weights(backbone: Backbone, mask_head: PointPromptedMaskHead, path: str) -> None:
    """Fill the encoder, the prompt encoder and the mask decoder, every key of them.

    Fine-tuned files do as well: with something before all names, as "module.", or with the state
    dict under a usual name, as micro-sam's "model_state".

    Args:
        backbone: its adapters stay as they are; all of it, where it is not SAM's.
        mask_head: what is not SAM's stays as it is.
        path: `sam_vit_{b,l,h}_*.pth`, or what was made of it.

    Raises:
        UserError: the file is missing, damaged, or of another size than the config's.
    """
    if not Path(path).is_file():
        raise UserError(
            f"MODEL.SAM.WEIGHTS: {path} does not exist: download it from {SOURCE} and put it there."
        )
    weights = _named_as_metas(read_weights(path), path)
    _verify_hash(Path(path))
    parts = {
        "prompt_encoder.": mask_head.prompt_encoder,
        "mask_decoder.": mask_head.mask_decoder,
    }
    strangers = [name for name in weights if not name.startswith((_ENCODER, *parts))]
    if strangers:
        raise UserError(
            f"{path} holds {len(strangers)} weights that are not Segment Anything's, for instance "
            f"{strangers[0]!r}: download the original from {SOURCE}."
        )
    if isinstance(backbone, SAMEncoder):
        parts = {_ENCODER: backbone.vit, **parts}
        _check_size(weights, backbone, path)
    for prefix, module in parts.items():
        own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        _check(own, module, prefix, path)
        module.load_state_dict(own)


def _named_as_metas(weights: dict[str, Tensor], path: str) -> dict[str, Tensor]:
    """The weights without what stands before all names, and without the pixels' statistics."""
    first = next((name for name in weights if _ENCODER in name), None)
    if first is None:
        raise UserError(
            f"{path} holds no {_ENCODER}*, which is where Segment Anything has its ViT, but "
            f"{', '.join([*weights][:3])}: download the original from {SOURCE}, or give these "
            "weights Meta's names."
        )
    prefix = first[: first.index(_ENCODER)]
    own = {name.removeprefix(prefix): name for name in weights if name.startswith(prefix)}
    if others := [name for name in weights if not name.startswith(prefix)]:
        raise UserError(
            f"{path} has {prefix!r} before the names of Segment Anything's weights, but "
            f"{len(others)} without it, for instance {others[0]!r}: save SAM's state dict alone."
        )
    return {name: weights[full] for name, full in own.items() if name not in _STATISTICS}


def _verify_hash(path: Path) -> None:
    match = _HASH_IN_NAME.match(path.name)
    if match is None:
        return
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    digest = md5.hexdigest()
    if not digest.startswith(match[1]):
        raise UserError(
            f"{path} is damaged: its MD5 starts with {digest[:6]}, its name says {match[1]}; "
            f"download it again from {SOURCE}, or rename it if it is not Meta's."
        )


def _check_size(weights: dict[str, Tensor], backbone: SAMEncoder, path: str) -> None:
    own: Tensor = backbone.vit.pos_embed
    own_dim = own.shape[-1]
    dim = next(reversed(weights.get(f"{_ENCODER}pos_embed", own).shape), own_dim)
    if dim != own_dim:
        raise UserError(
            f"{path} is SAM {_NAMES.get(dim, 'of another size')} ({dim} channels), but "
            f"MODEL.SAM.EMBED_DIM is {own_dim}: name the file of "
            f"{_NAMES.get(own_dim, 'that size')}, or use the config of the file's size."
        )


def _check(weights: dict[str, Tensor], module: nn.Module, prefix: str, path: str) -> None:
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    different = [name for name in own.keys() | shapes.keys() if own.get(name) != shapes.get(name)]
    if different:
        name = min(different)
        raise UserError(
            f"{path} does not fit MODEL.SAM: {len(different)} weights of {prefix[:-1]} differ, for "
            f"instance {prefix}{name}, {shapes.get(name, 'missing')} in the file and "
            f"{own.get(name, 'unknown')} in the model; use the file of the config's size (B, L or "
            "H)."
        )
