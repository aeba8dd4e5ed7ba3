"""Load Segment Anything's weights as Meta distributes them."""

import hashlib
import re
from pathlib import Path

from torch import Tensor, nn

from ..errors import UserError
from .files import read_checkpoint

SOURCE = "https://github.com/facebookresearch/segment-anything#model-checkpoints"
# Meta ends a file's name with the start of its SHA-256, as in sam_vit_b_01ec64.pth.
_HASH_IN_NAME = re.compile(r"^sam_vit_[blh]_([0-9a-f]{6})\.pth$")

_NAMES = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}  # by channels


def load_sam_weights(backbone: nn.Module, mask_head: nn.Module, path: str) -> None:
    """Fill the encoder, the prompt encoder and the mask decoder, every key of them.

    Args:
        backbone: a `SAMEncoder`; its adapters stay as they are.
        mask_head: a `PointPromptedMaskHead`; what is not SAM's stays as it is.
        path: `sam_vit_{b,l,h}_*.pth`.

    Raises:
        UserError: the file is missing, damaged, or of another size than the config's.
    """
    if not Path(path).is_file():
        raise UserError(
            f"MODEL.SAM.WEIGHTS: {path} does not exist: download it from {SOURCE} and put it there."
        )
    weights = read_checkpoint(path)["model"]  # says what it is, where it is something else
    _verify_hash(Path(path))
    parts = {
        "image_encoder.": backbone.get_submodule("vit"),
        "prompt_encoder.": mask_head.get_submodule("prompt_encoder"),
        "mask_decoder.": mask_head.get_submodule("mask_decoder"),
    }
    strangers = [name for name in weights if not name.startswith(tuple(parts))]
    if strangers:
        raise UserError(
            f"{path} holds {len(strangers)} weights that are not Segment Anything's, for instance "
            f"{strangers[0]!r}: download the original from {SOURCE}."
        )
    _check_size(weights, backbone, path)
    for prefix, module in parts.items():
        own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        _check(own, module, prefix, path)
        module.load_state_dict(own)


def _verify_hash(path: Path) -> None:
    match = _HASH_IN_NAME.match(path.name)
    if match is None:
        return
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            sha256.update(block)
    digest = sha256.hexdigest()
    if not digest.startswith(match[1]):
        raise UserError(
            f"{path} is damaged: its SHA-256 starts with {digest[:6]}, its name says {match[1]}; "
            f"download it again from {SOURCE}."
        )


def _check_size(weights: dict[str, Tensor], backbone: nn.Module, path: str) -> None:
    own: Tensor = backbone.state_dict()["vit.pos_embed"]
    own_dim, dim = own.shape[-1], weights.get("image_encoder.pos_embed", own).shape[-1]
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
